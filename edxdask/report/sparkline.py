"""A spectrum in a few lines of text."""

from __future__ import annotations

import numpy as np

from edxdask.physics.floor import spectrum_floor

_BARS = "▁▂▃▄▅▆▇█"
_PARTS = " " + _BARS
FLOOR = 0.01  # of the tallest peak: up to here the scale is linear, above it is logarithmic
LEAST = 1.0  # count: where there are few, one is not a peak
UNSEEN = 0.005  # of the counts, at the high end, where there is only continuum
ROWS = 2


def spectrum_lines(values: np.ndarray, offset: float, scale: float, width: int = 80) -> list[str]:
    """Give the bars of a spectrum in two rows, and its energy axis in keV below them.

    A bar is the largest count of its stretch, as ``log(1 + counts / (1 % of the tallest peak))``: peaks of a
    few per cent stand out, and the continuum stays low. A zero peak, and what is above the last half per cent
    of the counts, are left out, so that peaks are not crowded.

    Parameters
    ----------
    values : ndarray
        (channels,) counts.
    offset, scale : float
        Energy of the first channel and of one channel, keV.
    width : int
        Letters in a row.

    Examples
    --------
    >>> spectrum_lines(np.array([0, 1, 4, 200, 4, 90, 1, 0]), 0.0, 0.5, 8)
    ['  █ ▅ ', '▁▄█▄█▁', ' 1 2 3  keV']
    """
    data = np.asarray(values, dtype=float).reshape(-1)
    if data.size < 3:
        return []
    first = spectrum_floor(offset + scale * np.arange(data.size), data).first
    data, offset = data[first:], offset + first * scale
    above = np.cumsum(data[::-1])[::-1]
    seen = np.flatnonzero(above > UNSEEN * above[0])
    shown = data[: int(seen[-1]) + 2] if seen.size else data
    heights = np.rint(_heights(shown, width) * ROWS * len(_BARS)).astype(int)
    rows = []
    for row in reversed(range(ROWS)):
        levels = np.clip(heights - row * len(_BARS), 0, len(_BARS))
        rows.append("".join(_PARTS[level] for level in levels))
    return [*rows, _axis(offset, scale * shown.size / heights.size, heights.size)]


def _heights(values: np.ndarray, width: int) -> np.ndarray:
    """Heights of the bars, from 0 to 1."""
    data = np.maximum(np.asarray(values, dtype=float).reshape(-1), 0.0)
    if not data.size:
        return data
    edges = np.linspace(0, data.size, min(width, data.size) + 1).astype(int)[:-1]
    peaks = np.maximum.reduceat(data, edges)
    top = peaks.max()
    floor = max(FLOOR * top, LEAST)
    return np.log1p(peaks / floor) / np.log1p(top / floor) if top > 0 else peaks


def _axis(offset: float, step: float, width: int) -> str:
    """Whole keV below the bars that they are at, as many as have room."""
    end = offset + step * width
    between = next(
        n for n in (1, 2, 5, 10, 20, 50, 100, 10**6) if n / step >= 2 * len(f"{end:.0f}") or n > 99
    )
    letters = [" "] * width
    for number in range(0, int(end) + 1, between):
        text, at = f"{number}", round((number - offset) / step)
        if 0 <= at <= width - len(text):
            letters[at : at + len(text)] = text
    return "".join(letters).rstrip() + "  keV"
