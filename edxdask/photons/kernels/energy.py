"""Whole photons from one energy axis to another: each takes a random place within its channel."""

import numpy as np
from numba import njit

from edxdask.photons.kernels.random import STREAM_ENERGY, pixel_key, uniform


@njit(cache=True, nogil=True)
def move_photons(dense, pixel_index, seed, low, high, out):
    """Add the photons of ``dense`` (pixels, E) to ``out`` (pixels, channels).

    Channel ``e`` reaches from ``low[e]`` to ``high[e]`` of the new axis, counted in its channels. Photon
    ``m`` of channel ``e`` is draw ``m * 65536 + e`` of its pixel's key; those beyond the axis are left out.
    """
    for i in range(dense.shape[0]):
        key = pixel_key(seed, STREAM_ENERGY, pixel_index[i])
        for e in range(dense.shape[1]):
            for m in range(dense[i, e]):
                draw = (np.uint64(m) << np.uint64(16)) | np.uint64(e)
                place = int(np.floor(low[e] + uniform(key, draw) * (high[e] - low[e])))
                if 0 <= place < out.shape[1]:
                    out[i, place] += 1
