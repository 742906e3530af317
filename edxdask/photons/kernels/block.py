"""Dense to photons: two passes, count and fill, that skip zeros a 64-bit word at a time."""

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def count_nonzeros(dense, indptr):
    """Fill ``indptr`` with the running number of non-zeros of uint16 rows."""
    rows, width = dense.shape
    words = width // 4
    for i in range(rows):
        n = 0
        row = dense[i]
        packed = row[: words * 4].view(np.uint64)
        for w in range(words):
            if packed[w] != 0:
                for e in range(w * 4, w * 4 + 4):
                    n += row[e] != 0
        for e in range(words * 4, width):
            n += row[e] != 0
        indptr[i + 1] = indptr[i] + n


@njit(cache=True, nogil=True)
def fill_nonzeros(dense, indptr, channel, count):
    """Write channel and count of every non-zero."""
    rows, width = dense.shape
    words = width // 4
    for i in range(rows):
        j = indptr[i]
        row = dense[i]
        packed = row[: words * 4].view(np.uint64)
        for w in range(words):
            if packed[w] != 0:
                for e in range(w * 4, w * 4 + 4):
                    if row[e] != 0:
                        channel[j] = e
                        count[j] = row[e]
                        j += 1
        for e in range(words * 4, width):
            if row[e] != 0:
                channel[j] = e
                count[j] = row[e]
                j += 1
