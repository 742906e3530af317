"""Photon blocks summed, cut and joined, photon by photon: no dense cube in between.

A group of pixels is summed in one dense row of the energy axis, which stays in the first-level cache;
a bitmap of the channels that were hit gives them back in order without a walk over the zeros.
"""

import numpy as np
from numba import njit
from numba.cpython.unsafe.numbers import trailing_zeros


@njit(cache=True, nogil=True)
def _drop(total, touched, channel, count, j):
    """Move the sums in ``total`` to the lists from place ``j`` on and clear it; returns the next place."""
    for w in range(touched.size):
        word = touched[w]
        while word != 0:
            e = w * 64 + np.int64(trailing_zeros(word))
            channel[j] = e
            count[j] = total[e]
            total[e] = 0
            j += 1
            word &= word - np.uint64(1)
        touched[w] = 0
    return j


@njit(cache=True, nogil=True)
def _collect(channel, count, start, stop, total, touched):
    """Add photons to ``total``."""
    for j in range(start, stop):
        e = np.int64(channel[j])
        total[e] += np.int64(count[j])
        touched[e >> 6] |= np.uint64(1) << np.uint64(e & 63)


@njit(cache=True, nogil=True)
def bin_pixels(
    indptr, channel, count, channels, rows, columns, by, bx, out_indptr, out_channel, out_count
):  # fmt: skip
    """Sum bins of ``by`` rows and ``bx`` columns; those at the far edges may be smaller."""
    words = (channels + 63) >> 6
    total = np.zeros(words * 64, dtype=np.int64)
    touched = np.zeros(words, dtype=np.uint64)
    j = 0
    n = 0
    for top in range(0, rows, by):
        for left in range(0, columns, bx):
            right = min(left + bx, columns)
            for row in range(top, min(top + by, rows)):
                start = indptr[row * columns + left]
                _collect(channel, count, start, indptr[row * columns + right], total, touched)
            j = _drop(total, touched, out_channel, out_count, j)
            n += 1
            out_indptr[n] = j


@njit(cache=True, nogil=True)
def take_pixels(indptr, channel, count, pixels, out_indptr, out_channel, out_count):
    """Copy the photons of some pixels, in the order given; ``out_indptr`` is known."""
    for i in range(pixels.size):
        start = indptr[pixels[i]]
        first = out_indptr[i]
        for j in range(out_indptr[i + 1] - first):
            out_channel[first + j] = channel[start + j]
            out_count[first + j] = count[start + j]


@njit(cache=True, nogil=True)
def add_spectra(channel, count, out):
    """Add all photons to one spectrum."""
    for j in range(channel.size):
        out[channel[j]] += np.int64(count[j])


@njit(cache=True, nogil=True)
def add_grouped(indptr, channel, count, group, out):
    """Add the photons of each pixel to the spectrum of its group."""
    for i in range(indptr.size - 1):
        row = out[group[i]]
        for j in range(indptr[i], indptr[i + 1]):
            row[channel[j]] += np.int64(count[j])


@njit(cache=True, nogil=True)
def add_totals(indptr, count, out):
    """Photons of each pixel."""
    for i in range(indptr.size - 1):
        total = np.int64(0)
        for j in range(indptr[i], indptr[i + 1]):
            total += np.int64(count[j])
        out[i] = total
