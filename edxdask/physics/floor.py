"""Where the usable part of a spectrum begins: above the zero peak and what the detector cannot see.

Electronics that sample the baseline ("strobe"), and noise, leave a peak at 0 keV that can hold more counts
than the sample. Nothing in it is a photon. Channels below the floor take part in totals only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LOWEST_KEV = 0.15  # below are noise and, of an element that the detector sees at all, no line
ZERO_PEAK_KEV = 0.08  # a zero peak is no farther from 0
VALLEY_END_KEV = 0.25  # its foot ends before C Kα
LEAST_PEAK, PEAK_SIGMA = 2.0, 5.0  # over the lowest counts beside it, and sigma
CHANCE_SIGMA = 3.0
LEAST_JUMP = 6.0  # from one channel to the next, where a discriminator cuts


@dataclass(frozen=True)
class Floor:
    """First usable channel.

    Attributes
    ----------
    first : its number
    energy_kev : its energy
    zero_peak : whether the data show a peak at 0 keV
    """

    first: int
    energy_kev: float
    zero_peak: bool = False


def spectrum_floor(energy: np.ndarray, counts: np.ndarray | None = None) -> Floor:
    """Find the first usable channel; everything that fits spectra calls this.

    Parameters
    ----------
    energy : (E,) channel centres, keV
    counts : (E,) summed spectrum, in which a zero peak is searched; None: the detector alone decides

    Examples
    --------
    >>> axis = -0.1 + 0.01 * np.arange(200)
    >>> spectrum_floor(axis).energy_kev.__round__(2)
    0.15
    >>> noise = 1e4 * np.exp(-0.5 * (axis / 0.03) ** 2) + 100.0 * (axis > 0.195)
    >>> found = spectrum_floor(axis, noise)
    >>> round(found.energy_kev, 2), found.zero_peak
    (0.2, True)
    """
    energy = np.asarray(energy, dtype=np.float64)
    first = int(np.searchsorted(energy, LOWEST_KEV - 1e-9))
    valley = None if counts is None else _end_of_zero_peak(energy, np.asarray(counts, dtype=np.float64))
    if valley is not None:
        first = max(first, valley)
    first = min(first, energy.size - 2)
    return Floor(first, float(energy[first]), valley is not None)


def _end_of_zero_peak(energy: np.ndarray, counts: np.ndarray) -> int | None:
    """Channel after the lowest one beside the zero peak; None where there is no such peak."""
    inside = np.flatnonzero(np.abs(energy) <= ZERO_PEAK_KEV)
    beside = np.flatnonzero((energy > 0.0) & (energy <= VALLEY_END_KEV))
    if inside.size < 3 or beside.size < 3:
        return None
    top = int(inside[np.argmax(counts[inside])])
    beside = beside[beside > top]
    smooth = np.convolve(np.pad(counts, 1, mode="edge"), np.full(3, 1 / 3), mode="valid")
    if not beside.size:
        return None
    height, foot = float(smooth[top]), float(smooth[beside].min())
    if not height > LEAST_PEAK * foot or not 3 * (height - foot) > PEAK_SIGMA * np.sqrt(3 * max(height, 1.0)):
        return None
    # the first channel that is as low as the lowest within counting errors: chance does not move the floor
    low = smooth[beside] <= foot + CHANCE_SIGMA * np.sqrt((foot + 1.0) / 3.0)
    return max(int(beside[np.argmax(low)]) + 1, _end_of_cut(counts, beside))


def _end_of_cut(counts: np.ndarray, beside: np.ndarray) -> int:
    """First channel that a discriminator lets through, 0 where none cuts: no line rises so fast."""
    here = beside[beside + 1 < counts.size]
    below, above = counts[here], counts[here + 1]
    jumps = (above > LEAST_JUMP * (below + 1.0)) & (above - below > PEAK_SIGMA * np.sqrt(above + below + 1.0))
    return int(here[jumps][-1]) + 1 if jumps.any() else 0
