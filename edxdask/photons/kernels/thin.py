"""Binomial thinning: every photon of small counts goes to one part or the other by its own random number.

Large counts are split by one binomial number each, so that time does not depend on how large they are.
"""

import numpy as np
from numba import njit

from edxdask.photons.kernels.binomial import binomial
from edxdask.photons.kernels.random import STREAM_THINNING, bits, pixel_key

ONE_BY_ONE = 128  # photons: from about 150 on a binomial number costs less than one number per photon
_PROBABILITY = 2.0**-53


@njit(cache=True, nogil=True)
def thin_photons(indptr, channel, count, pixel_index, seed, threshold, taken):
    """Write to ``taken`` how many of each entry's photons go to the first part.

    The probability is ``threshold`` in units of 2**-53. Number ``m`` of channel ``e`` is draw
    ``m * 65536 + e`` of its pixel's key, independent of everything else: of photon ``m``, where there are at
    most ``ONE_BY_ONE``.
    """
    probability = np.float64(threshold) * _PROBABILITY
    for i in range(indptr.size - 1):
        key = pixel_key(seed, STREAM_THINNING, pixel_index[i])
        for j in range(indptr[i], indptr[i + 1]):
            if count[j] > ONE_BY_ONE:
                taken[j] = binomial(np.float64(count[j]), probability, key, np.uint64(channel[j]))
                continue
            n = 0
            for m in range(count[j]):
                draw = (np.uint64(m) << np.uint64(16)) | np.uint64(channel[j])
                n += (bits(key, draw) >> np.uint64(11)) < threshold
            taken[j] = n


@njit(cache=True, nogil=True)
def split_lengths(indptr, count, taken, first_indptr, second_indptr):
    """Fill the two ``indptr`` of the parts."""
    a = 0
    b = 0
    for i in range(indptr.size - 1):
        for j in range(indptr[i], indptr[i + 1]):
            a += taken[j] != 0
            b += taken[j] != count[j]
        first_indptr[i + 1] = a
        second_indptr[i + 1] = b


@njit(cache=True, nogil=True)
def split_photons(channel, count, taken, first_channel, first_count, second_channel, second_count):
    """Distribute the entries to the two parts, which are one entry longer than what they get.

    Every entry is written to both and the place kept or not: a processor predicts a branch on a random number
    wrongly half of the time.
    """
    a = 0
    b = 0
    for j in range(channel.size):
        first_channel[a] = channel[j]
        first_count[a] = taken[j]
        a += taken[j] != 0
        second_channel[b] = channel[j]
        second_count[b] = count[j] - taken[j]
        b += taken[j] != count[j]
