"""The matrix G: what one atom of each element, and the continuum, add to every channel of a spectrum.

S = W·G: weights on the columns of elements are proportional to atomic fractions. After A. Teurtrie et al.,
Ultramicroscopy 249 (2023) 113719.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from edxdask.physics.columns import LineGroup, Seen, group_rows, line_groups, summed
from edxdask.physics.continuum import continuum_shapes
from edxdask.physics.detector import efficiency
from edxdask.physics.emission import check_beam_energy
from edxdask.physics.ionisation import DEFAULT_TABLE
from edxdask.physics.lines import checked_elements

Kind = Literal["lines", "continuum"]
CONTINUUM_SHAPES = 2


@dataclass(frozen=True)
class Column:
    """What one column of the basis is.

    Attributes
    ----------
    name : "Fe", "Fe_L" where families have separate columns, "continuum_0"
    element : symbol, None of the continuum
    family : "K", "L" or "M"; None where the column holds all lines of the element
    kind : "lines" or "continuum"
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
    escape: float = 0.0,
) -> Basis:
    """Build G for an energy axis (keV) and elements.

    Parameters
    ----------
    energy : (E,) channel centres
    elements : symbols; each must have a line on the axis
    beam_energy : keV
    fwhm_mn_ka_ev : width at Mn Kα
    families : one column for each of an element's K, L and M lines instead of one for all
    continuum : 0, 1 or 2 shapes of bremsstrahlung (Lifshin's)
    seen : fraction of photons of an energy (keV) that leave the sample and are counted; without it a
        windowless detector and no absorption
    table : of ionisation cross-sections, "emtables" or "bote_salvat"; see `edxdask.physics.ionisation`
    escape : factor on each line's silicon escape peak, which is added to its column; 1 is the theory

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
    lines = basis_lines(
        energy, elements, beam_energy=beam_energy, fwhm_mn_ka_ev=fwhm_mn_ka_ev, seen=seen, table=table
    )
    return basis_of(
        lines,
        energy,
        beam_energy=beam_energy,
        fwhm_mn_ka_ev=fwhm_mn_ka_ev,
        families=families,
        continuum=continuum,
        seen=seen,
        escape=escape,
    )


def basis_lines(
    energy: np.ndarray,
    elements: Sequence[str],
    *,
    beam_energy: float,
    fwhm_mn_ka_ev: float,
    seen: Seen,
    table: str = DEFAULT_TABLE,
) -> tuple[LineGroup, ...]:
    """Find the groups of lines of all elements, in their order. Parameters as `basis`."""
    check_beam_energy(beam_energy)
    axis = np.asarray(energy, dtype=np.float64)
    return tuple(
        group
        for name in checked_elements(elements)
        for group in line_groups(
            name, axis, beam_energy=beam_energy, fwhm_mn_ka_ev=fwhm_mn_ka_ev, seen=seen, table=table
        )
    )


def basis_of(
    lines: Sequence[LineGroup],
    energy: np.ndarray,
    *,
    beam_energy: float,
    fwhm_mn_ka_ev: float,
    families: bool,
    continuum: int = CONTINUUM_SHAPES,
    seen: Seen = efficiency,
    escape: float = 0.0,
) -> Basis:
    """Build G from groups of lines, which stay the same while an axis or a width moves."""
    centres = np.asarray(energy, dtype=np.float64)
    keys = [(g.element, g.family if families else None) for g in lines]
    unique = list(dict.fromkeys(keys))
    column_of = np.array([unique.index(key) for key in keys], dtype=int)
    rows = summed(group_rows(lines, centres, fwhm_mn_ka_ev, escape), column_of)
    columns = [Column(e if f is None else f"{e}_{f}", e, f, "lines") for e, f in unique]
    shapes = continuum_shapes(centres, beam_energy=beam_energy)[:continuum] * seen(centres)
    shapes = shapes / np.maximum(shapes.sum(axis=1, keepdims=True), np.finfo(float).tiny)
    columns += [Column(f"continuum_{i}", None, None, "continuum") for i in range(len(shapes))]
    return Basis(centres, np.vstack([rows, shapes]), tuple(columns))
