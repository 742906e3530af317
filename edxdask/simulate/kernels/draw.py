"""Photons drawn one by one: a phase by its abundance, a channel by the phase's alias table.

The cost follows the photons; the only array as large as (pixel × channel) is the counts themselves.
"""

import numpy as np
from numba import njit

from edxdask.photons.kernels.random import STREAM_COUNTS, bits, pixel_key, poisson, uniform

_LOW = np.uint64(0xFFFFFFFF)
_S32 = np.uint64(32)


@njit(cache=True, nogil=True)
def alias_table(probability, accept, alias):
    """Fill the alias table (A. J. Walker 1977, M. D. Vose 1991) of one spectrum that sums to 1.

    ``accept`` is in units of 2**-32, so that one 64-bit number picks column and side.
    """
    n = probability.size
    height = probability * n
    small = np.empty(n, dtype=np.int64)
    large = np.empty(n, dtype=np.int64)
    n_small = n_large = 0
    for i in range(n):
        if height[i] < 1.0:
            small[n_small] = i
            n_small += 1
        else:
            large[n_large] = i
            n_large += 1
    while n_small > 0 and n_large > 0:
        s = small[n_small - 1]
        g = large[n_large - 1]
        accept[s] = np.uint64(height[s] * 4294967296.0)
        alias[s] = g
        height[g] -= 1.0 - height[s]
        n_small -= 1
        if height[g] < 1.0:
            n_large -= 1
            small[n_small] = g
            n_small += 1
    for i in range(n_large):
        accept[large[i]] = _LOW
        alias[large[i]] = large[i]
    for i in range(n_small):  # left over by rounding: their height is 1
        accept[small[i]] = _LOW
        alias[small[i]] = small[i]


@njit(cache=True, nogil=True)
def draw_photons(counts, first_y, first_x, width, total, abundance, accept, alias, seed):
    """Draw the counts of a chunk, in place, and return the number of photons.

    counts (y, x, channel) of zeros; total (y, x) expected photons; abundance (phase, y, x);
    accept, alias (phase, channel); ``width`` is that of the whole map, for the pixel's global index.
    """
    rows, columns, channels = counts.shape
    phases = abundance.shape[0]
    many = np.uint64(channels)
    photons = 0
    for i in range(rows):
        for j in range(columns):
            key = pixel_key(seed, STREAM_COUNTS, (first_y + i) * width + first_x + j)
            n, draw = poisson(total[i, j], key, 0)
            photons += n
            for _ in range(n):
                u = uniform(key, draw)
                phase = 0
                below = abundance[0, i, j]
                while u >= below and phase < phases - 1:
                    phase += 1
                    below += abundance[phase, i, j]
                r = bits(key, draw + 1)
                draw += 2
                column = ((r >> _S32) * many) >> _S32
                if (r & _LOW) >= accept[phase, column]:
                    column = np.uint64(alias[phase, column])
                counts[i, j, column] += 1
    return photons
