"""How the SNR of a trace grows with the pixels and maps that are summed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edxdask.unmix.detection import PeakSums


@dataclass(frozen=True, eq=False)
class GrowthStep:
    """Pixels that are summed.

    Attributes
    ----------
    pixels, maps : how many
    peaks : (lines,) counts in windows
    composition, errors : (elements,) of the phase in these pixels
    """

    pixels: float
    maps: int
    peaks: PeakSums
    composition: np.ndarray
    errors: np.ndarray


@dataclass(frozen=True, eq=False)
class RootLaw:
    """SNR = ``per_root`` √n, and the power of n that fits best.

    Attributes
    ----------
    per_root : (lines,)
    exponent, exponent_std : (lines,) NaN where the SNR is too small to tell
    """

    per_root: np.ndarray
    exponent: np.ndarray
    exponent_std: np.ndarray


def map_numbers(maps: int) -> list[int]:
    """Numbers of maps that are summed: 1, 2, 4, … and all.

    Examples
    --------
    >>> map_numbers(6), map_numbers(1)
    ([1, 2, 4, 6], [1])
    """
    doubled = [2**i for i in range(maps.bit_length()) if 2**i < maps]
    return [*doubled, maps]


def root_law(steps: Sequence[GrowthStep]) -> RootLaw:
    """Fit the growth of the SNR.

    Steps hold the counts of those before them, so what each step adds is compared, which is independent of
    the rest: the net counts that so many more pixels have. With net counts ∝ n^(α + 1/2) and a background
    ∝ n, the SNR grows as n^α; net counts ∝ n is the √n law.
    """
    pixels = np.array([step.pixels for step in steps])
    net = np.array([step.peaks.net for step in steps])
    background = np.array([step.peaks.background for step in steps])
    whole = pixels[-1]
    rate, level = net[-1] / whole, np.maximum(background[-1] / whole, 1e-300)
    fitted = [_power(pixels, net[:, i], background[:, i]) for i in range(net.shape[1])]
    found = np.array(fitted).reshape(net.shape[1], 2)
    return RootLaw(rate / np.sqrt(level), found[:, 0], found[:, 1])


def _power(pixels: np.ndarray, net: np.ndarray, background: np.ndarray) -> tuple[float, float]:
    """Power of n in the SNR, and its error: net counts A n^p by Poisson-weighted least squares."""
    added, noise = np.diff(net, prepend=0.0), np.diff(background, prepend=0.0)
    variance = np.maximum(noise + np.maximum(added, 0.0), 1.0)
    if len(pixels) < 2 or not net[-1] > 0:
        return float("nan"), float("nan")
    whole = pixels[-1]
    amount, power = float(net[-1]), 1.0
    for _ in range(20):
        at = (pixels / whole) ** power
        slopes = np.stack(
            [np.diff(at, prepend=0.0), np.diff(amount * at * np.log(pixels / whole), prepend=0.0)]
        )
        information = (slopes / variance) @ slopes.T
        step = np.linalg.lstsq(information, (slopes / variance) @ (added - amount * slopes[0]), rcond=1e-12)[
            0
        ]
        amount, power = amount + step[0], float(np.clip(power + step[1], -1.0, 4.0))
        if abs(step[1]) < 1e-6:
            break
    error = np.sqrt(np.linalg.pinv(information)[1, 1])
    return power - 0.5, float(error)
