"""Dense to photons: zeros are skipped 64 bytes at a time."""

import numpy as np
from numba import njit

from edxdask.photons.kernels.vector.registers import bit_count, lowest_bit, nonzero_mask


@njit(cache=True, nogil=True)
def count_nonzeros(dense, indptr):
    """Fill ``indptr`` with the running number of non-zeros of unsigned rows."""
    rows, width = dense.shape
    step = 64 // dense.itemsize
    whole = width // step * step
    for i in range(rows):
        row = dense[i]
        n = 0
        for start in range(0, whole, step):
            n += bit_count(nonzero_mask(row, start))
        for e in range(whole, width):
            n += row[e] != 0
        indptr[i + 1] = indptr[i] + n


@njit(cache=True, nogil=True)
def fill_nonzeros(dense, indptr, channel, count):
    """Write channel and count of every non-zero."""
    rows, width = dense.shape
    step = 64 // dense.itemsize
    whole = width // step * step
    for i in range(rows):
        j = indptr[i]
        row = dense[i]
        for start in range(0, whole, step):
            word = nonzero_mask(row, start)
            while word != 0:
                e = start + np.int64(lowest_bit(word))
                channel[j] = e
                count[j] = row[e]
                j += 1
                word &= word - np.uint64(1)
        for e in range(whole, width):
            if row[e] != 0:
                channel[j] = e
                count[j] = row[e]
                j += 1
