"""Weighted second moments of photon blocks."""

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def add_weighted_pairs(indptr, channel, count, weight, out):
    """Add ``weight[i] * count * count`` of all pairs of a pixel to the upper triangle of ``out``."""
    for i in range(indptr.size - 1):
        stop = indptr[i + 1]
        for j in range(indptr[i], stop):
            row = out[channel[j]]
            number = weight[i] * np.float64(count[j])
            for m in range(j, stop):
                row[channel[m]] += number * np.float64(count[m])


@njit(cache=True, nogil=True)
def add_weighted_squares(indptr, channel, count, weight, out):
    """Add ``weight[i] * count²`` to each channel."""
    for i in range(indptr.size - 1):
        for j in range(indptr[i], indptr[i + 1]):
            number = np.float64(count[j])
            out[channel[j]] += weight[i] * number * number
