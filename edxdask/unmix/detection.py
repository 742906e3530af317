"""Is a line seen? SNR and limit of detection by their published definitions, from the spectra of a fit.

SNR = net counts of a peak over sigma of the background beside it, in a window of 1.2 FWHM. The background is
all that the fit expects there without the element's own lines: continuum, lines of others, other phases.
LOD = concentration at SNR 3. H. Chen et al., Ultramicroscopy (2024) 113981.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edxdask.physics.detector import channel_edges, fwhm_kev
from edxdask.physics.lines import Line, lines_of
from edxdask.unmix.grouped_maps import GroupedMap
from edxdask.unmix.normal_equations import GroupedCounts
from edxdask.unmix.pinned import FittedMap

WINDOW_FWHM = 1.2  # width of a peak's window, where signal over √background of a Gaussian is largest
DETECTABLE = 3.0  # SNR at the limit of detection
MAIN_LINES = ("Ka", "La", "Ma")  # of a family, that peaks are looked for at


@dataclass(frozen=True, eq=False)
class PeakSums:
    """Counts in the windows of lines, which add up over maps and parts of maps.

    Attributes
    ----------
    net : (lines,) counts beyond the background
    background : (lines,) counts expected without the element
    per_atom : (lines,) counts that the element gives at an atomic fraction of 1
    """

    net: np.ndarray
    background: np.ndarray
    per_atom: np.ndarray

    def __add__(self, other: PeakSums) -> PeakSums:
        return PeakSums(
            self.net + other.net, self.background + other.background, self.per_atom + other.per_atom
        )

    def at(self, lines: Sequence[int | None]) -> PeakSums:
        """Pick lines by number; NaN where there is none."""
        index = [len(self.net) if i is None else i for i in lines]
        padded = (np.append(values, np.nan) for values in (self.net, self.background, self.per_atom))
        return PeakSums(*(values[index] for values in padded))

    @property
    def noise(self) -> np.ndarray:
        """Sigma of the background, of at least one count."""
        return np.sqrt(np.maximum(self.background, 1.0))

    @property
    def snr(self) -> np.ndarray:
        """Net counts over the noise."""
        return np.asarray(self.net / self.noise)

    @property
    def lod(self) -> np.ndarray:
        """Atomic fraction at SNR 3; inf where a line cannot be seen."""
        with np.errstate(divide="ignore"):
            return np.asarray(DETECTABLE * self.noise / np.maximum(self.per_atom, 0.0))


def main_lines(elements: Sequence[str], maps: Sequence[GroupedMap]) -> list[Line]:
    """Strongest line of each family of each element, if its window is on the axes of all maps."""
    low = max(float(one.energy[0]) for one in maps)
    high = min(float(one.energy[-1]) for one in maps)
    found = []
    for element in elements:
        for line in lines_of(element, low, high):
            half = 0.5 * WINDOW_FWHM * float(fwhm_kev(line.centroid_kev))
            if (
                line.siegbahn in MAIN_LINES
                and low < line.centroid_kev - half < line.centroid_kev + half < high
            ):
                found.append(line)
    return found


def peak_sums(
    one: GroupedMap,
    numbers: GroupedCounts,
    fitted: FittedMap,
    composition: np.ndarray,
    phase: int,
    groups: np.ndarray,
    lines: Sequence[Line],
) -> PeakSums:
    """Sum the counts of a map in the windows of lines, over some of its groups.

    Parameters
    ----------
    one, numbers, fitted : GroupedMap, GroupedCounts, FittedMap
        A map, the numbers of its fit, and what was found.
    composition : ndarray
        (phases, elements) that was found.
    phase : int
        Number of the phase that the elements are looked for in.
    groups : ndarray of bool
        (groups,) which to sum.
    lines : sequence of Line
        One window each.
    """
    inside = _windows(one.energy, lines, one.guide.calibration.axis.fwhm_mn_ka_ev)
    counts = numbers.counts[groups].sum(axis=0)
    expected = fitted.amount[groups].sum(axis=0) @ fitted.spectra
    elements = [one.guide.elements.index(line.element) for line in lines]
    per_atom = fitted.amount[groups, phase].sum() * numbers.columns[phase, elements]
    own = per_atom * composition[phase, elements][:, None]
    background = np.maximum(expected - own, 0.0)
    return PeakSums(
        np.einsum("lc,lc->l", inside, counts - background),
        np.einsum("lc,lc->l", inside, background),
        np.einsum("lc,lc->l", inside, per_atom),
    )


def best_of_each(elements: Sequence[str], lines: Sequence[Line], sums: PeakSums) -> list[int | None]:
    """Find the number of the line with the lowest limit of detection, by element; None where it has none."""
    limits = sums.lod
    best: list[int | None] = []
    for element in elements:
        own = [i for i, line in enumerate(lines) if line.element == element and np.isfinite(limits[i])]
        best.append(min(own, key=lambda i: float(limits[i])) if own else None)
    return best


def _windows(energy: np.ndarray, lines: Sequence[Line], fwhm_mn_ka_ev: float) -> np.ndarray:
    """Part of each channel that is in the window of each line: (lines, E)."""
    edges = channel_edges(energy)
    rows = []
    for line in lines:
        half = 0.5 * WINDOW_FWHM * fwhm_kev(line.centroid_kev, fwhm_mn_ka_ev=fwhm_mn_ka_ev)
        overlap = np.minimum(edges[1:], line.centroid_kev + half) - np.maximum(
            edges[:-1], line.centroid_kev - half
        )
        rows.append(np.clip(overlap / np.diff(edges), 0.0, 1.0))
    return np.array(rows).reshape(len(lines), energy.size)
