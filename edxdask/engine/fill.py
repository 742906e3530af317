"""Channels that most pixels have counts in: sweeps hold them dense.

The choice follows from the data alone, not from chunks, bands or partitions, so that rounding is the same
however the work is split.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edxdask.engine.layout import TilePlan
from edxdask.engine.maps import MapView, tile_array
from edxdask.photons import LEAST_DENSE_FILL

PATCHES, SIDE = 16, 4  # squares of pixels that are examined: 256 pixels give a fill of 0.2 to within 0.025
STEPS = 0.7548776662466927, 0.5698402909980532  # of a sequence that covers a square evenly, however long


def mean_counts(maps: Sequence[MapView]) -> np.ndarray:
    """Estimate the photons per pixel in each channel, (E,), from how many of some pixels have none.

    A few pixels with very many photons have no more weight than others.
    """
    images = [(view, image) for view in maps for image in range(view.stack.images)]
    filled, pixels = np.zeros(maps[0].counts.shape[-1]), 0
    for i in range(PATCHES):
        view, image = images[i * len(images) // PATCHES]
        top, left = (
            int((0.5 + i * step) % 1.0 * max(1, length - SIDE + 1))
            for step, length in zip(STEPS, (view.stack.rows, view.stack.width), strict=True)
        )
        rows = top, min(top + SIDE, view.stack.rows)
        tile = TilePlan(0, image, rows, view.stack.rows, view.stack.width, 0)
        patch = np.asarray(tile_array(view, tile)[:, left : left + SIDE].compute(scheduler="synchronous"))
        filled += np.count_nonzero(patch > 0, axis=(0, 1))
        pixels += patch.shape[0] * patch.shape[1]
    return -np.log1p(-np.minimum(filled / pixels, 1 - 0.5 / pixels))


def channels_to_hold_dense(mean: np.ndarray) -> np.ndarray:
    """Channels with more than ``LEAST_DENSE_FILL`` of the pixels filled, if photons come at random.

    Examples
    --------
    >>> channels_to_hold_dense(np.array([0.1, 0.4, 9.0])).tolist()
    [1, 2]
    """
    return np.flatnonzero(-np.expm1(-mean) > LEAST_DENSE_FILL)
