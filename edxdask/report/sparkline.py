"""A spectrum in one line of text."""

from __future__ import annotations

import numpy as np

_BARS = "▁▂▃▄▅▆▇█"


def sparkline(values: np.ndarray, width: int = 60) -> str:
    """Bars of the square root of ``values``, the largest of each of ``width`` equal stretches.

    The square root is the natural scale of counts: it gives every photon count the same noise.

    Examples
    --------
    >>> sparkline(np.array([0, 1, 16, 4, 0, 0]), 6)
    '▁▃█▅▁▁'
    """
    data = np.asarray(values, dtype=float).reshape(-1)
    if not data.size:
        return ""
    edges = np.linspace(0, data.size, min(width, data.size) + 1).astype(int)[:-1]
    peaks = np.sqrt(np.maximum(np.maximum.reduceat(data, edges), 0.0))
    top = peaks.max()
    levels = np.rint(peaks / top * (len(_BARS) - 1)).astype(int) if top > 0 else np.zeros(peaks.size, int)
    return "".join(_BARS[level] for level in levels)
