"""From lines to columns: what an element emits, in groups of lines, spread over the channels of an axis.

The one place where lines become numbers on an energy axis. A group is the smallest part that is fitted
separately: Kα, Kβ, or the lines of one subshell of L or M. Families (K, L, M) and whole elements are sums of
groups. Groups are found once; their rows follow the axis, the width and the escape peaks, which a fit may
move.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from edxdask.errors import ParameterError
from edxdask.physics.artefacts import SI_K_EDGE_KEV, SI_KA_KEV, escape_response
from edxdask.physics.detector import channel_edges, fwhm_kev, line_response
from edxdask.physics.emission import Emission, emission
from edxdask.physics.ionisation import DEFAULT_TABLE
from edxdask.physics.lines import Transition, lines_of

Seen = Callable[[np.ndarray], np.ndarray]
LINE_REACH_FWHM = 4.0  # a line further outside the axis than this adds less than 1e-20 of itself
# A family gets separate columns if its strongest line on the axis has this fraction of the element's.
LEAST_FAMILY = 1e-4
BARN_CM2 = 1e-24


@dataclass(frozen=True, eq=False)
class LineGroup:
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

    def row(self, energy: np.ndarray, fwhm_mn_ka_ev: float, escape: float = 0.0) -> np.ndarray:
        """Spread a weight of 1 over channels, ``escape`` times its escape peaks included: (channels,)."""
        out = np.zeros(energy.size)
        _add(out, line_response, energy, self.at_kev, self.at_kev, self.barn, fwhm_mn_ka_ev)
        escaping = self.at_kev > SI_K_EDGE_KEV
        if escape and escaping.any():
            at = self.at_kev[escaping]
            amount = escape * self.barn[escaping]
            _add(out, escape_response, energy, at, at - SI_KA_KEV, amount, fwhm_mn_ka_ev)
        return out


def _add(
    out: np.ndarray,
    response: Callable[..., np.ndarray],
    energy: np.ndarray,
    lines_kev: np.ndarray,
    peaks_kev: np.ndarray,
    amount: np.ndarray,
    fwhm_mn_ka_ev: float,
) -> None:
    """Add the peaks of lines, in the channels that they reach."""
    reach = LINE_REACH_FWHM * fwhm_kev(peaks_kev, fwhm_mn_ka_ev=fwhm_mn_ka_ev)
    first = int(np.searchsorted(energy, (peaks_kev - reach).min())) - 1
    stop = int(np.searchsorted(energy, (peaks_kev + reach).max())) + 1
    near = slice(max(min(first, energy.size - 2), 0), max(stop, 2))
    out[near] += amount @ response(energy[near], lines_kev, fwhm_mn_ka_ev=fwhm_mn_ka_ev)


def line_groups(
    element: str,
    energy: np.ndarray,
    *,
    beam_energy: float,
    fwhm_mn_ka_ev: float,
    seen: Seen,
    table: str = DEFAULT_TABLE,
) -> tuple[LineGroup, ...]:
    """Find the groups of an element with lines on an axis (keV), strongest shell first.

    Parameters
    ----------
    element : symbol
    energy : (E,) channel centres, keV
    beam_energy : keV
    fwhm_mn_ka_ev : width at Mn Kα: lines beside the axis have flanks on it
    seen : fraction of photons of an energy (keV) that leave the sample and are counted
    table : of ionisation cross-sections, see `edxdask.physics.ionisation`

    Raises
    ------
    ParameterError
        If the element has no line on the axis.

    Examples
    --------
    >>> axis = 0.3 + 0.01 * np.arange(970)
    >>> groups = line_groups("Fe", axis, beam_energy=200.0, fwhm_mn_ka_ev=130.0, seen=np.ones_like)
    >>> [group.part for group in groups]
    ['Ka', 'Kb', 'L1', 'L2', 'L3']
    """
    lines = emission(element, float(beam_energy), table=table)
    edges = channel_edges(energy)
    reach = LINE_REACH_FWHM * fwhm_kev(lines.energy_kev, fwhm_mn_ka_ev=fwhm_mn_ka_ev)
    barn = lines.cross_section_cm2 / BARN_CM2 * seen(lines.energy_kev)
    near = (lines.energy_kev > edges[0] - reach) & (lines.energy_kev < edges[-1] + reach) & (barn > 0)
    inside = near & (lines.energy_kev > edges[0]) & (lines.energy_kev < edges[-1])
    if not inside.any():
        raise _not_on_axis(element, energy)
    names = [_part(t) for t in lines.transitions]
    parts, families = np.array(names), np.array([name[0] for name in names])
    least = LEAST_FAMILY * barn[inside].max()
    kept = [f for f in ("K", "L", "M") if (barn * (inside & (families == f))).max() > least]
    shown = sorted({name for name, close in zip(names, near, strict=True) if close and name[0] in kept})
    return tuple(_group(lines, part, near & (parts == part), barn) for part in shown)


def _group(lines: Emission, part: str, mine: np.ndarray, barn: np.ndarray) -> LineGroup:
    transitions = tuple(t for t, inside in zip(lines.transitions, mine, strict=True) if inside)
    return LineGroup(lines.element, part[0], part, transitions, lines.energy_kev[mine], barn[mine])


def _not_on_axis(element: str, energy: np.ndarray) -> ParameterError:
    have = ", ".join(f"{line.name} {line.energy_kev:.2f}" for line in lines_of(element)) or "none"
    return ParameterError(
        "elements",
        element,
        f"elements with a line between {energy[0]:.3g} and {energy[-1]:.3g} keV",
        f"Its lines (keV): {have}. Leave it out.",
    )


def _part(transition: Transition) -> str:
    """Kα and Kβ; of L and M the subshell."""
    if transition.subshell == "K":
        return "Ka" if transition.iupac[1] == "L" else "Kb"
    return transition.subshell


def group_rows(
    groups: Sequence[LineGroup], energy: np.ndarray, fwhm_mn_ka_ev: float, escape: float = 0.0
) -> np.ndarray:
    """Spread groups over the channels of an axis (keV): (groups, channels)."""
    out = np.zeros((len(groups), energy.size))
    for row, group in zip(out, groups, strict=True):
        row[:] = group.row(energy, fwhm_mn_ka_ev, escape)
    return out


def summed(values: np.ndarray, column_of: np.ndarray) -> np.ndarray:
    """Add up what belongs to groups, (groups, …), over the groups of each column: (columns, …).

    Examples
    --------
    >>> summed(np.array([1.0, 2.0, 3.0]), np.array([0, 1, 0])).tolist()
    [4.0, 2.0]
    """
    count = int(column_of.max()) + 1 if column_of.size else 0
    out = np.zeros((count, *values.shape[1:]))
    np.add.at(out, column_of, values)
    return out
