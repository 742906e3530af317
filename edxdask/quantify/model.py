"""What a spectrum is fitted with: lines in tied groups, each with one weight, and a continuum.

A family of lines (K, L, M of an element) has one weight, its lines tied by their rates; where the data say
that the rates do not hold, it is split into Kα and Kβ or into subshells. The continuum is Lifshin's shape
times a smooth correction: cubic B-splines in the logarithm of the energy whose weights, at least 0, are
fitted with those of the lines, so that its error is carried into them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.interpolate import BSpline

from edxdask.errors import ParameterError
from edxdask.physics.artefacts import escape_response
from edxdask.physics.basis import BARN_CM2, LEAST_FAMILY, LINE_REACH_FWHM, Seen
from edxdask.physics.continuum import continuum_shapes
from edxdask.physics.detector import channel_edges, efficiency, fwhm_kev, line_response
from edxdask.physics.emission import emission
from edxdask.physics.lines import Transition, checked_elements, lines_of

SPLINES_PER_E = 4.0  # of the continuum, for each factor e of energy: wide against a peak at any energy
CUBIC = 3


@dataclass(frozen=True, eq=False)
class Group:
    """Lines of one element from one subshell (K: Kα or Kβ), never split further.

    Attributes
    ----------
    element, family, part : "Fe", "K", "Ka"; "Nd", "L", "L3"
    transitions : the lines
    at_kev, barn : (lines,) energies; photons counted per atom and barn⁻¹ of electrons, over the full sphere
    """

    element: str
    family: str
    part: str
    transitions: tuple[Transition, ...]
    at_kev: np.ndarray
    barn: np.ndarray

    def rows(self, energy: np.ndarray, fwhm_mn_ka_ev: float, escape: float) -> np.ndarray:
        """Spread a weight of 1 over channels, ``escape`` times its escape peaks included: (channels,)."""
        lines = line_response(energy, self.at_kev, fwhm_mn_ka_ev=fwhm_mn_ka_ev)
        escaped = escape_response(energy, self.at_kev, fwhm_mn_ka_ev=fwhm_mn_ka_ev)
        return self.barn @ (lines + escape * escaped)


@dataclass(frozen=True)
class Calibration:
    """Energy axis, width and escape peaks as the data have them.

    Attributes
    ----------
    offset_kev, gain : energy = offset_kev + (1 + gain) × nominal energy
    fwhm_mn_ka_ev : width at Mn Kα
    escape : escape peaks over what theory says; 0 where a vendor's program took them away
    """

    offset_kev: float = 0.0
    gain: float = 0.0
    fwhm_mn_ka_ev: float = 130.0
    escape: float = 1.0

    def energy(self, nominal: np.ndarray) -> np.ndarray:
        """Refined channel centres, keV."""
        return self.offset_kev + (1.0 + self.gain) * np.asarray(nominal, dtype=np.float64)


@dataclass(frozen=True, eq=False)
class Model:
    """Columns on an energy axis.

    Attributes
    ----------
    nominal : (E,) channel centres before calibration, keV
    calibration : energy axis and width
    groups : what lines there are
    split : families whose groups have weights of their own, as (element, family)
    group_rows : (groups, E)
    continuum : (splines, E)
    """

    nominal: np.ndarray
    calibration: Calibration
    groups: tuple[Group, ...]
    split: frozenset[tuple[str, str]]
    group_rows: np.ndarray
    continuum: np.ndarray

    @property
    def column_of(self) -> np.ndarray:
        """Column that each group belongs to: (groups,)."""
        keys = [
            (g.element, g.family, g.part if (g.element, g.family) in self.split else "") for g in self.groups
        ]
        places = {key: i for i, key in enumerate(dict.fromkeys(keys))}
        return np.array([places[key] for key in keys], dtype=int)

    @property
    def line_columns(self) -> int:
        """Number of columns of lines; they come first."""
        return int(self.column_of.max()) + 1 if self.groups else 0

    @property
    def matrix(self) -> np.ndarray:
        """All columns: (M, E)."""
        return np.vstack([self.tied(self.group_rows), self.continuum])

    def tied(self, values: np.ndarray) -> np.ndarray:
        """Sum what belongs to groups, (groups, …), over the groups of each column of lines."""
        out = np.zeros((self.line_columns, *values.shape[1:]))
        np.add.at(out, self.column_of, values)
        return out

    def at(self, calibration: Calibration) -> Model:
        """Give the same model with another energy axis and width."""
        return _filled(self.nominal, calibration, self.groups, self.split, self.continuum)

    def splitting(self, split: Sequence[tuple[str, str]]) -> Model:
        """Give the same model with these families split, too."""
        return replace(self, split=self.split | set(split))

    def share(self, element: str, wanted: Sequence[str]) -> np.ndarray:
        """Photons counted in transitions (IUPAC) of an element for a weight of 1 on each column: (M,)."""
        out = np.zeros(self.line_columns + len(self.continuum))
        for group, column in zip(self.groups, self.column_of, strict=True):
            if group.element == element:
                inside = np.array([t.iupac in wanted for t in group.transitions])
                out[column] += float(group.barn @ inside)
        return out


def build_model(
    nominal: np.ndarray,
    elements: Sequence[str],
    *,
    beam_energy: float,
    fwhm_mn_ka_ev: float = 130.0,
    seen: Seen = efficiency,
) -> Model:
    """Build the columns of ``elements`` on an energy axis (keV).

    Raises
    ------
    ParameterError
        If an element is unknown, named twice, or has no line on the axis.
    """
    groups: list[Group] = []
    for name in checked_elements(elements):
        groups += _groups_of(name, nominal, beam_energy, fwhm_mn_ka_ev, seen)
    shape = continuum_shapes(nominal, beam_energy=beam_energy).mean(axis=0) * seen(nominal)
    continuum = splines(nominal) * shape
    calibration = Calibration(fwhm_mn_ka_ev=fwhm_mn_ka_ev)
    return _filled(nominal, calibration, tuple(groups), frozenset(), continuum)


def _filled(
    nominal: np.ndarray,
    calibration: Calibration,
    groups: tuple[Group, ...],
    split: frozenset[tuple[str, str]],
    continuum: np.ndarray,
) -> Model:
    energy = calibration.energy(nominal)
    rows = [group.rows(energy, calibration.fwhm_mn_ka_ev, calibration.escape) for group in groups]
    return Model(nominal, calibration, groups, split, np.array(rows).reshape(-1, energy.size), continuum)


def _groups_of(
    element: str, energy: np.ndarray, beam_energy: float, fwhm_mn_ka_ev: float, seen: Seen
) -> list[Group]:
    lines = emission(element, float(beam_energy))
    edges = channel_edges(energy)
    reach = LINE_REACH_FWHM * fwhm_kev(lines.energy_kev, fwhm_mn_ka_ev=fwhm_mn_ka_ev)
    barn = lines.cross_section_cm2 / BARN_CM2 * seen(lines.energy_kev)
    near = (lines.energy_kev > edges[0] - reach) & (lines.energy_kev < edges[-1] + reach) & (barn > 0)
    within = near & (lines.energy_kev > edges[0]) & (lines.energy_kev < edges[-1])
    if not within.any():
        have = ", ".join(f"{line.name} {line.energy_kev:.2f}" for line in lines_of(element)) or "none"
        raise ParameterError(
            "elements",
            element,
            f"elements with a line between {energy[0]:.3g} and {energy[-1]:.3g} keV",
            f"Its lines (keV): {have}. Leave it out.",
        )
    parts = np.array([_part(t) for t in lines.transitions])
    families = np.array([part[0] for part in parts])
    strongest = barn[within].max()
    out = []
    for part in sorted(set(parts[near])):
        family = part[0]
        if (barn * (within & (families == family))).max() > LEAST_FAMILY * strongest:
            mine = near & (parts == part)
            kept = tuple(t for t, inside in zip(lines.transitions, mine, strict=True) if inside)
            out.append(Group(element, family, part, kept, lines.energy_kev[mine], barn[mine]))
    return out


def _part(transition: Transition) -> str:
    """Kα and Kβ; of L and M the subshell."""
    if transition.subshell == "K":
        return "Ka" if transition.iupac[1] == "L" else "Kb"
    return transition.subshell


def splines(energy: np.ndarray) -> np.ndarray:
    """Cubic B-splines in the logarithm of the energy that sum to 1: (splines, channels).

    Examples
    --------
    >>> splines(np.linspace(0.5, 10, 200)).sum(axis=0).round(9).min()
    np.float64(1.0)
    """
    at = np.log(energy)
    pieces = max(round(SPLINES_PER_E * float(at[-1] - at[0])), 1)
    knots = np.linspace(at[0], at[-1], pieces + 1)
    padded = np.r_[[at[0]] * CUBIC, knots, [at[-1]] * CUBIC]
    return np.asarray(BSpline.design_matrix(np.clip(at, at[0], at[-1]), padded, CUBIC).toarray().T)
