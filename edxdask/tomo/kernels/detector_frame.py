"""From projections in the frame of the tilt axis to pixels of the detector, and the exact transpose.

A pixel of the detector reads between the four places of the frame around it, or, where nothing is turned,
between two rows. What lies outside the frame is empty.
"""

import math

from edxdask.photons.kernels.jit import helper, kernel


@helper
def _between(place):
    """Whole number below ``to_detector``, and how far above that it is."""
    below = math.floor(place)
    return int(below), place - below


@helper
def _frame_place(view, column, row):
    """Place in the frame (column, row) that a pixel of the detector looks at."""
    cos, sin = view[0], view[1]
    across, down = column - view[2], row - view[3]
    return across * cos + down * sin + view[4], down * cos - across * sin + view[5]


@kernel
def to_detector(frame, views, images, first_row):
    """Fill ``images`` (tilt, column, phase, row) from ``frame``, which has the same order.

    ``views`` (tilt, 6): cos φ, sin φ, column and row of the detector where the middle of the volume is
    seen, and the column and row of the frame where it is. ``first_row`` is the detector's row of the first
    row of ``images``.
    """
    tilts, columns, phases, rows = images.shape
    _, width, _, height = frame.shape
    zero = images.dtype.type(0.0)
    for t in range(tilts):
        for column in range(columns):
            for row in range(rows):
                u, w = _frame_place(views[t], column, row + first_row)
                j, right = _between(u)
                i, below = _between(w)
                for k in range(phases):
                    images[t, column, k, row] = zero
                for side in range(2):
                    for step in range(2):
                        if 0 <= j + side < width and 0 <= i + step < height:
                            weight = images.dtype.type(
                                (right if side else 1.0 - right) * (below if step else 1.0 - below)
                            )
                            for k in range(phases):
                                images[t, column, k, row] += weight * frame[t, j + side, k, i + step]


@kernel
def from_detector(frame, views, images, first_row):
    """Add to ``frame`` what ``images`` give it: the transpose of ``to_detector``."""
    tilts, columns, phases, rows = images.shape
    _, width, _, height = frame.shape
    for t in range(tilts):
        for column in range(columns):
            for row in range(rows):
                u, w = _frame_place(views[t], column, row + first_row)
                j, right = _between(u)
                i, below = _between(w)
                for side in range(2):
                    for step in range(2):
                        if 0 <= j + side < width and 0 <= i + step < height:
                            weight = images.dtype.type(
                                (right if side else 1.0 - right) * (below if step else 1.0 - below)
                            )
                            for k in range(phases):
                                frame[t, j + side, k, i + step] += weight * images[t, column, k, row]
