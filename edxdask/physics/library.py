"""Columns to find elements with: each family of lines of each element, and a continuum too smooth for peaks.

Made of the same groups of lines as `edxdask.physics.basis`: escape peaks are part of their parents' columns,
lines above the axis have their flanks and escape peaks on it, and the continuum bends, but only over several
widths of a peak.
"""

from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import product
from typing import Any

import numpy as np
import xraylib
from scipy.interpolate import BSpline

from edxdask import schema
from edxdask.physics.absorption import mass_attenuation
from edxdask.physics.basis import basis_lines
from edxdask.physics.columns import LEAST_FAMILY, LineGroup, Seen, group_rows
from edxdask.physics.continuum import continuum_shapes
from edxdask.physics.emission import emission, line_cross_section
from edxdask.physics.energy_axis import EnergyAxis
from edxdask.physics.lines import atomic_number, element_symbols, family_of

logger = logging.getLogger(__name__)

# No sample, grid, holder or column holds these: gases that do not bind and are not used in ion sources, and
# elements without a stable isotope, except Th and U. Users who have them name them.
NEVER_FOUND = {
    *("H", "He", "Li", "Be", "Ne", "Kr", "Tc", "Pm", "Po", "At", "Rn", "Fr", "Ra", "Ac", "Pa"),
    *("Np", "Pu", "Am", "Cm", "Bk", "Cf"),
}
# Knots of the continuum's correction are this far apart: 6 to 20 widths of a peak, which no peak can fit.
KNOT_KEV, KNOT_GROWTH = 0.5, 0.25
FIRST_4F = 58  # cerium: M alpha is a strong line from here on
ABOVE_KEV = 2.0  # a peak's flank, or escape peak, comes from no further above the axis
LEAST_FLANK = 1e-3  # of a family with lines above the axis, the fraction that must be on it
LEAST_EDGE_KEV = 0.1  # attenuation tables begin
FIRST_L_EDGE, LEAST_L_EDGE_KEV = 18, 0.5  # argon; below 0.5 keV, continuum and edges are not known well


@dataclass(frozen=True, eq=False)
class Library:
    """One column for each family of each element.

    Attributes
    ----------
    matrix : (M, E), each sums to 1, apart from its escape peaks and what is off the axis
    per_atom : (M,) counts per atom of the element in that family: the ratios of theory
    elements, families : (M,) of each column
    line_kev : (M,) of the strongest line on the axis
    groups : (M,) groups of lines of each column
    """

    matrix: np.ndarray
    per_atom: np.ndarray
    elements: np.ndarray
    families: np.ndarray
    line_kev: np.ndarray
    groups: tuple[tuple[LineGroup, ...], ...]

    def column_at(self, column: int, energy: np.ndarray, axis: EnergyAxis) -> np.ndarray:
        """One column, (E,), on other energies (keV) and with another width."""
        rows = group_rows(self.groups[column], energy, axis.fwhm_mn_ka_ev, axis.escape)
        return np.asarray(rows.sum(axis=0) / self.per_atom[column])

    @cached_property
    def leads(self) -> np.ndarray:
        """(M,) whether a column alone may show an element: M lines of atoms without 4f electrons may not."""
        return np.array(
            [
                f != "M" or atomic_number(e) >= FIRST_4F
                for e, f in zip(self.elements, self.families, strict=True)
            ]
        )

    def members(self, element: str) -> np.ndarray:
        """Columns of an element, by falling energy of their lines."""
        found = np.flatnonzero(self.elements == element)
        return found[np.argsort(-self.line_kev[found])]

    def name(self, column: int) -> str:
        """Name of the strongest line of a column, "Fe_Ka"."""
        return str(best_lines(str(self.elements[column]), str(self.families[column]))[0][0])


@lru_cache(maxsize=1024)
def best_lines(element: str, family: str) -> tuple[tuple[str, float, float], ...]:
    """Name, energy (keV) and fraction of a family's lines, strongest first; the beam changes them little."""
    lines = [
        (line_cross_section(f"{element}_{n.siegbahn}", beam_energy=200.0), n)
        for n in family_of(element, family)
    ]
    whole = sum(sigma for sigma, _ in lines)
    return tuple(
        (n.name, n.centroid_kev, sigma / whole if whole > 0 else 0.0)
        for sigma, n in sorted(lines, key=lambda pair: -pair[0])
    )


def elements_on(energy: np.ndarray, *, beam_energy: float) -> tuple[str, ...]:
    """Elements with a line on an axis (keV) that a sample may hold without being listed."""
    return tuple(
        e for e in element_symbols() if e not in NEVER_FOUND and shows(e, energy, beam_energy=beam_energy)
    )


def shows(element: str, energy: np.ndarray, *, beam_energy: float) -> bool:
    """Whether an element has a line on an axis (keV)."""
    lines = emission(element, float(beam_energy))
    inside = (lines.energy_kev > energy[0]) & (lines.energy_kev < energy[-1])
    return bool((lines.cross_section_cm2[inside] > 0).any())


def listed_elements(
    attrs: Mapping[Hashable, Any], energy: np.ndarray, *, beam_energy: float
) -> tuple[str, ...]:
    """Elements that data list, if they have lines on the axis: operators list oxygen on any axis."""
    names = dict.fromkeys(attrs.get(schema.ELEMENTS, ()))
    found = tuple(n for n in names if energy.size and shows(n, energy, beam_energy=beam_energy))
    if len(found) < len(names):
        gone = ", ".join(n for n in names if n not in found)
        logger.warning("%s: listed by the data, but without a line on the energy axis; left out", gone)
    return found


def library(
    energy: np.ndarray, elements: Sequence[str], *, beam_energy: float, axis: EnergyAxis, seen: Seen
) -> Library:
    """Build the columns of ``elements`` on ``energy`` (keV), with the flanks of lines above it."""
    width = axis.fwhm_mn_ka_ev
    step = (energy[-1] - energy[0]) / (energy.size - 1)
    beyond = np.append(energy, energy[-1] + step * np.arange(1, int(ABOVE_KEV / step) + 1))
    lines = basis_lines(beyond, elements, beam_energy=beam_energy, fwhm_mn_ka_ev=width, seen=seen)
    columns: dict[tuple[str, str], list[LineGroup]] = {}
    for group in lines:
        columns.setdefault((group.element, group.family), []).append(group)
    keys, groups = list(columns), [tuple(of_family) for of_family in columns.values()]
    rows = np.array([group_rows(g, energy, width, axis.escape).sum(axis=0) for g in groups])
    sums = np.array([group_rows(g, energy, width).sum() for g in groups])
    whole = np.array([sum(one.barn.sum() for one in g) for g in groups])
    names = np.array([e for e, _ in keys])
    most = np.array([sums[names == e].max() for e in names])
    kept = (sums > LEAST_FAMILY * most) & (rows.sum(axis=1) > LEAST_FLANK * whole)
    families = np.array([f for _, f in keys])[kept]
    main = [_on_axis(e, f, energy) for e, f in zip(names[kept], families, strict=True)]
    return Library(
        rows[kept] / sums[kept, None],
        sums[kept],
        names[kept],
        families,
        np.array(main),
        tuple(g for g, inside in zip(groups, kept, strict=True) if inside),
    )


def _on_axis(element: str, family: str, energy: np.ndarray) -> float:
    lines = best_lines(str(element), str(family))
    inside = [at for _, at, _ in lines if energy[0] <= at <= energy[-1]]
    return inside[0] if inside else lines[0][1]


def continuum_columns(energy: np.ndarray, *, beam_energy: float, seen: Seen) -> np.ndarray:
    """Lifshin's shape as the detector sees it, times cubic splines wide against a peak: (K, E)."""
    shape = continuum_shapes(energy, beam_energy=beam_energy)[1] * seen(energy)
    return spline_columns(energy, shape)


def spline_columns(energy: np.ndarray, shape: np.ndarray) -> np.ndarray:
    """Cut ``shape`` (E,) into wide overlapping pieces that sum to it: (K, E)."""
    place = np.log(KNOT_KEV + KNOT_GROWTH * np.maximum(energy, 0.0)) / KNOT_GROWTH
    count = max(int(np.ceil(place[-1] - place[0])), 1)
    inner = np.linspace(place[0], place[-1], count + 1)
    knots = np.concatenate([[inner[0]] * 3, inner, [inner[-1]] * 3])
    pieces = BSpline.design_matrix(np.clip(place, inner[0], inner[-1]), knots, 3).toarray().T
    columns = pieces * shape
    return np.asarray(columns[columns.sum(axis=1) > 0])


def edge_columns(energy: np.ndarray, elements: Sequence[str], shape: np.ndarray) -> np.ndarray:
    """Multiply ``shape`` (E,) with the transmission of a layer of each element for its K and L3 edges.

    Only edges on the axis. The layer's thickness makes one absorption length just above the edge; thinner
    ones are sums of this and of ``shape``. L edges matter in thick samples.
    """
    rows = []
    for element, shell in product(elements, (xraylib.K_SHELL, xraylib.L3_SHELL)):
        number = atomic_number(element)
        edge = (
            xraylib.EdgeEnergy(number, shell) if shell == xraylib.K_SHELL or number >= FIRST_L_EDGE else 0.0
        )
        if max(energy[0], LEAST_L_EDGE_KEV if shell == xraylib.L3_SHELL else 0.0) < edge < energy[-1]:
            above = mass_attenuation(element, edge + 1e-3)
            rows.append(
                shape * np.exp(-mass_attenuation(element, np.maximum(energy, LEAST_EDGE_KEV)) / above)
            )
    return np.array(rows)
