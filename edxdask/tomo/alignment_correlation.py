"""First positions where the field cuts the object: neighbouring tilts are correlated.

A flat object looks narrower at a higher tilt, so the image of one tilt is stretched to the width that it
would have at the other. What such a chain of pairs gets wrong adds up; reprojection has to follow.
"""

from __future__ import annotations

import numpy as np
from scipy.fft import irfft2, rfft2
from scipy.ndimage import gaussian_filter, map_coordinates

from edxdask.tomo.alignment_images import Stack

FINE, COARSE = 1.5, 8.0  # px: structures between these sizes are compared
TAPER = 1 / 6  # of a side, at each end, over which an image fades
REACH = 1 / 4  # of a side: the largest move from one tilt to the next
WIDEST = 1.5  # most that an image is stretched


def correlated_shifts(stack: Stack, tilt_deg: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Chain the moves of neighbouring tilts, along y and x, outwards from the tilt nearest to 0.

    Parameters
    ----------
    stack : Stack
        Images.
    tilt_deg : ndarray
        Tilts, in order.
    """
    middle = int(np.abs(tilt_deg).argmin())
    shifts = np.zeros((2, len(tilt_deg)))
    for outwards in (range(middle + 1, len(tilt_deg)), range(middle - 1, -1, -1)):
        before = middle
        for tilt in outwards:
            stretch = np.cos(np.deg2rad(tilt_deg[tilt])) / np.cos(np.deg2rad(tilt_deg[before]))
            shifts[:, tilt] = _move(stack, before, tilt, float(stretch), shifts[:, before])
            before = tilt
    return shifts[0], shifts[1]


def _move(stack: Stack, first: int, second: int, stretch: float, at: np.ndarray) -> np.ndarray:
    """Position of the second image, where the first lies at ``at``."""
    stretch = float(np.clip(stretch, 1 / WIDEST, WIDEST))
    rows, columns = stack.shape
    y, x = np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij")
    middle = (columns - 1) / 2
    # the axis is at column ``middle + at[1]`` of the first image and stays there
    across = middle + at[1] + (x - middle - at[1]) / stretch
    images = [np.where(m, v, 0.0) for v, m in ((stack.values[i], stack.measured[i]) for i in (first, second))]
    images[0] = map_coordinates(images[0], [y, across], order=1, mode="nearest")
    fade = np.outer(_fade(rows), _fade(columns))
    seen = [fade * (gaussian_filter(i, FINE) - gaussian_filter(i, COARSE)) for i in images]
    whole = (2 * rows, 2 * columns)
    product = rfft2(seen[1], whole) * np.conj(rfft2(seen[0], whole))
    surface = irfft2(product, whole)
    return at + _peak(surface, (max(2, int(REACH * rows)), max(2, int(REACH * columns))))


def _fade(size: int) -> np.ndarray:
    edge = max(1, int(TAPER * size))
    ramp = np.minimum(np.arange(size) + 0.5, size - np.arange(size) - 0.5) / edge
    return np.asarray(np.sin(0.5 * np.pi * np.clip(ramp, 0, 1)) ** 2)


def _peak(surface: np.ndarray, reach: tuple[int, int]) -> np.ndarray:
    """Find the highest point within reach, with a parabola along each axis."""
    lags = [np.fft.fftfreq(n, 1 / n) for n in surface.shape]
    near = (np.abs(lags[0])[:, None] <= reach[0]) & (np.abs(lags[1])[None, :] <= reach[1])
    at = np.unravel_index(np.where(near, surface, -np.inf).argmax(), surface.shape)
    found = np.empty(2)
    for axis in range(2):
        size = surface.shape[axis]
        index = [[at[0]] * 3, [at[1]] * 3]
        index[axis] = [(at[axis] - 1) % size, at[axis], (at[axis] + 1) % size]
        low, top, high = surface[tuple(index)]
        bend = low - 2 * top + high
        found[axis] = lags[axis][at[axis]] + (0.5 * (low - high) / bend if bend < 0 else 0.0)
    return found
