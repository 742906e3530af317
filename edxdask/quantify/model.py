"""What a spectrum is fitted with: lines in tied groups, each with one weight, and a continuum.

A family of lines (K, L, M of an element) has one weight, its lines tied by their rates; where the data say
that the rates do not fit, it is split into the groups of `edxdask.physics.columns`: Kα and Kβ, or subshells.
The continuum is Lifshin's shape times a smooth correction: cubic B-splines in the logarithm of the energy.
Their weights, at least 0, are fitted with those of the lines, so that the lines' errors include theirs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.interpolate import BSpline

from edxdask.physics.basis import basis_lines
from edxdask.physics.columns import LineGroup, Seen, group_rows, summed
from edxdask.physics.continuum import continuum_shapes
from edxdask.physics.detector import efficiency
from edxdask.physics.energy_axis import NOMINAL, EnergyAxis

SPLINES_PER_E = 4.0  # of the continuum, for each factor e of energy: wide against a peak at any energy
CUBIC = 3


@dataclass(frozen=True, eq=False)
class LineModel:
    """Columns on an energy axis.

    Attributes
    ----------
    nominal : (E,) channel centres as the file has them, keV
    axis : energy axis, width and escape peaks
    groups : the groups of lines
    split : families with a weight for each group, as (element, family)
    group_rows : (groups, E)
    continuum : (splines, E)
    beam_energy, seen : keV; fraction of photons of an energy that is counted
    """

    nominal: np.ndarray
    axis: EnergyAxis
    groups: tuple[LineGroup, ...]
    split: frozenset[tuple[str, str]]
    group_rows: np.ndarray
    continuum: np.ndarray
    beam_energy: float
    seen: Seen

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
        return np.vstack([summed(self.group_rows, self.column_of), self.continuum])

    def at(self, axis: EnergyAxis) -> LineModel:
        """Give the same model with another energy axis and width."""
        rows = group_rows(self.groups, axis.energy(self.nominal), axis.fwhm_mn_ka_ev, axis.escape)
        return replace(self, axis=axis, group_rows=rows)

    @property
    def elements(self) -> tuple[str, ...]:
        """Elements with lines in it."""
        return tuple(dict.fromkeys(g.element for g in self.groups))

    def with_elements(self, more: Sequence[str]) -> LineModel:
        """Give a model that also holds the lines of other elements."""
        width = self.axis.fwhm_mn_ka_ev
        groups = basis_lines(
            self.axis.energy(self.nominal),
            more,
            beam_energy=self.beam_energy,
            fwhm_mn_ka_ev=width,
            seen=self.seen,
        )
        return replace(self, groups=(*self.groups, *groups)).at(self.axis)

    def splitting(self, split: Sequence[tuple[str, str]]) -> LineModel:
        """Give the same model with these families also split."""
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
    axis: EnergyAxis = NOMINAL,
    seen: Seen = efficiency,
) -> LineModel:
    """Build the columns of ``elements`` on the channels ``nominal`` (keV), as ``axis`` corrects them.

    Raises
    ------
    ParameterError
        If an element is unknown, named twice, or has no line on the axis.
    """
    energy = axis.energy(nominal)
    width = axis.fwhm_mn_ka_ev
    groups = basis_lines(energy, elements, beam_energy=beam_energy, fwhm_mn_ka_ev=width, seen=seen)
    shape = continuum_shapes(nominal, beam_energy=beam_energy).mean(axis=0) * seen(nominal)
    rows = group_rows(groups, energy, width, axis.escape)
    continuum = splines(nominal) * shape
    return LineModel(nominal, axis, groups, frozenset(), rows, continuum, float(beam_energy), seen)


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
