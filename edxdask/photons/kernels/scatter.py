"""Photons to dense rows."""

from numba import njit


@njit(cache=True, nogil=True)
def scatter(indptr, channel, count, dense):
    """Write the counts of all pixels into zeroed rows."""
    for i in range(indptr.size - 1):
        row = dense[i]
        for j in range(indptr[i], indptr[i + 1]):
            row[channel[j]] = count[j]
