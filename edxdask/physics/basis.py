"""The matrix G: what one atom of each element, and the continuum, add to every channel of a spectrum.

S = W·G: weights on the columns of elements are proportional to atomic fractions. After A. Teurtrie et al.,
Ultramicroscopy 249 (2023) 113719.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from edxdask.errors import ParameterError
from edxdask.physics.artefacts import escape_response
from edxdask.physics.continuum import continuum_shapes
from edxdask.physics.detector import channel_edges, efficiency, fwhm_kev, line_response
from edxdask.physics.emission import check_beam_energy, emission
from edxdask.physics.ionisation import DEFAULT_TABLE
from edxdask.physics.lines import checked_elements, lines_of

Seen = Callable[[np.ndarray], np.ndarray]
Kind = Literal["lines", "continuum", "artefact"]
LINE_REACH_FWHM = 4.0  # a line further outside the axis than this adds less than 1e-20 of itself
# A family is worth a column of its own if its strongest line on the axis has this share of the element's.
LEAST_FAMILY = 1e-4
CONTINUUM_SHAPES = 2
BARN_CM2 = 1e-24


@dataclass(frozen=True)
class Column:
    """What one column of the basis is.

    Attributes
    ----------
    name : "Fe", "Fe_L" where families have columns of their own, "continuum_0"
    element : symbol, None of the continuum
    family : "K", "L" or "M"; None where the column holds all lines of the element
    kind : "lines", "continuum" or "artefact" (sum and escape peaks)
    """

    name: str
    element: str | None
    family: str | None
    kind: Kind


@dataclass(frozen=True, eq=False)
class Basis:
    """Columns on an energy axis.

    Attributes
    ----------
    energy : (E,) keV
    matrix : (M, E). Elements: barn per atom seen by a detector over the full sphere, so that weights are
        atoms per barn and electron. Continuum: shapes that sum to 1.
    columns : M of them
    """

    energy: np.ndarray
    matrix: np.ndarray
    columns: tuple[Column, ...]

    @property
    def elements(self) -> tuple[str, ...]:
        """Elements, in the order of their first columns."""
        return tuple(dict.fromkeys(c.element for c in self.columns if c.element is not None))

    def members(self, element: str) -> np.ndarray:
        """Find the columns of an element."""
        return np.flatnonzero([c.element == element for c in self.columns])

    def times(self, factor: np.ndarray) -> Basis:
        """Basis whose columns are multiplied by ``factor`` of (E,) or (M, E)."""
        return replace(self, matrix=self.matrix * factor)

    def with_artefact(self, name: str, row: np.ndarray) -> Basis:
        """Basis with one more column, scaled to sum to 1; of sum peaks, say (`edxdask.physics.artefacts`)."""
        row = np.asarray(row, dtype=np.float64)
        if row.shape != self.energy.shape or not (row >= 0).all() or not row.sum() > 0:
            raise ParameterError("row", row.shape, f"{self.energy.size} channels, 0 or more, not all 0")
        matrix = np.vstack([self.matrix, row / row.sum()])
        return replace(self, matrix=matrix, columns=(*self.columns, Column(name, None, None, "artefact")))


def basis(
    energy: np.ndarray,
    elements: Sequence[str],
    *,
    beam_energy: float,
    fwhm_mn_ka_ev: float = 130.0,
    families: bool = False,
    continuum: int = CONTINUUM_SHAPES,
    seen: Seen = efficiency,
    table: str = DEFAULT_TABLE,
    escape: bool = False,
) -> Basis:
    """Build G for an energy axis (keV) and elements.

    Parameters
    ----------
    energy : (E,) channel centres
    elements : symbols; each must have a line on the axis
    beam_energy : keV
    families : one column for each of an element's K, L and M lines instead of one for all
    continuum : 0, 1 or 2 shapes of bremsstrahlung (Lifshin's)
    seen : share of photons of an energy (keV) that leave the sample and are counted; as it stands a
        windowless detector and no absorption
    table : of ionisation cross-sections, "emtables" or "bote_salvat"; see `edxdask.physics.ionisation`
    escape : add each line's silicon escape peak to its column

    Raises
    ------
    ParameterError
        If an element is unknown, named twice, or has no line on the axis.

    Examples
    --------
    >>> made = basis(0.3 + 0.01 * np.arange(970), ["O", "Fe"], beam_energy=200.0, families=True)
    >>> [column.name for column in made.columns]
    ['O_K', 'Fe_K', 'Fe_L', 'continuum_0', 'continuum_1']
    """
    check_beam_energy(beam_energy)
    centres = np.asarray(energy, dtype=np.float64)
    names = checked_elements(elements)
    rows: list[np.ndarray] = []
    columns: list[Column] = []
    lines = _Lines(centres, float(beam_energy), fwhm_mn_ka_ev, seen, table, escape)
    for element in names:
        found = _element_rows(element, lines)
        if families:
            rows.extend(found.values())
            columns.extend(Column(f"{element}_{f}", element, f, "lines") for f in found)
        else:
            rows.append(np.sum(list(found.values()), axis=0))
            columns.append(Column(element, element, None, "lines"))
    for i, shape in enumerate(continuum_shapes(centres, beam_energy=beam_energy)[:continuum]):
        shape = shape * seen(centres)
        rows.append(shape / max(shape.sum(), np.finfo(float).tiny))
        columns.append(Column(f"continuum_{i}", None, None, "continuum"))
    return Basis(centres, np.array(rows), tuple(columns))


@dataclass(frozen=True)
class _Lines:
    """How lines become rows; as the parameters of `basis`."""

    centres: np.ndarray
    beam_energy: float
    fwhm_mn_ka_ev: float
    seen: Seen
    table: str
    escape: bool

    def response(self, at_kev: np.ndarray) -> np.ndarray:
        """Channels of each line's photons."""
        rows = line_response(self.centres, at_kev, fwhm_mn_ka_ev=self.fwhm_mn_ka_ev)
        if self.escape:
            rows = rows + escape_response(self.centres, at_kev, fwhm_mn_ka_ev=self.fwhm_mn_ka_ev)
        return rows


def _element_rows(element: str, how: _Lines) -> dict[str, np.ndarray]:
    """Rows of the families that show on the axis, strongest shell first."""
    centres, seen, fwhm_mn_ka_ev = how.centres, how.seen, how.fwhm_mn_ka_ev
    lines = emission(element, how.beam_energy, table=how.table)
    edges = channel_edges(centres)
    width = fwhm_kev(lines.energy_kev, fwhm_mn_ka_ev=fwhm_mn_ka_ev)
    near = (lines.energy_kev > edges[0] - LINE_REACH_FWHM * width) & (
        lines.energy_kev < edges[-1] + LINE_REACH_FWHM * width
    )
    within = (lines.energy_kev > edges[0]) & (lines.energy_kev < edges[-1])
    weight = lines.cross_section_cm2 / BARN_CM2 * seen(lines.energy_kev)
    if not (weight[within] > 0).any():
        have = ", ".join(f"{line.name} {line.energy_kev:.2f}" for line in lines_of(element)) or "none"
        raise ParameterError(
            "elements",
            element,
            f"elements with a line between {centres[0]:.3g} and {centres[-1]:.3g} keV",
            f"Its lines (keV): {have}. Leave it out.",
        )
    response = how.response(lines.energy_kev[near])
    shell = np.array([t.subshell[0] for t in lines.transitions])[near]
    weight, inside = weight[near], within[near]
    strongest = weight[inside].max()
    rows = {}
    for family in ("K", "L", "M"):
        mine = shell == family
        if (weight * (mine & inside) > LEAST_FAMILY * strongest).any():
            rows[family] = weight[mine] @ response[mine]
    return rows
