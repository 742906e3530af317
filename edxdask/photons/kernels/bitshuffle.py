"""Photons as bit planes: bit ``k`` of every count of a piece of an array, eight counts a byte, lowest first.

That is how Blosc's bitshuffle lays out a piece before it is compressed. Nearly all planes of an EDX cube are
zero, so only those that hold a bit are written, and no dense array is ever made.
"""

from numba import njit


@njit(cache=True, nogil=True)
def piece_bits(indptr, channel, count, channels, width, stride, size, bits):
    """Or together the counts of each piece of ``size`` elements.

    The block's pixels are rows of ``width``; in the array a row is ``stride`` pixels long.
    """
    for p in range(indptr.size - 1):
        base = (p // width * stride + p % width) * channels
        for j in range(indptr[p], indptr[p + 1]):
            bits[(base + channel[j]) // size] |= count[j]


@njit(cache=True, nogil=True)
def fill_planes(indptr, channel, count, channels, width, stride, size, starts, lengths, stop, planes):
    """Set the bits of all counts before element ``stop``.

    The planes of piece ``i``, zeroed, begin at byte ``starts[i]``, ``lengths[i]`` bytes each.
    """
    piece = 0
    first = 0
    for p in range(indptr.size - 1):
        base = (p // width * stride + p % width) * channels
        for j in range(indptr[p], indptr[p + 1]):
            element = base + channel[j]
            if element >= stop:  # elements rise from photon to photon
                return
            while element - first >= size:
                piece += 1
                first += size
            at = starts[piece] + ((element - first) >> 3)
            bit = 1 << ((element - first) & 7)
            left = count[j]
            while left:
                if left & 1:
                    planes[at] |= bit
                left >>= 1
                at += lengths[piece]


@njit(cache=True, nogil=True)
def fill_elements(indptr, channel, count, channels, width, stride, first, elements):
    """Write the counts from element ``first`` of the array on into zeroed ``elements``."""
    for p in range(indptr.size - 1):
        base = (p // width * stride + p % width) * channels
        for j in range(indptr[p], indptr[p + 1]):
            if base + channel[j] >= first:
                elements[base + channel[j] - first] = count[j]


@njit(cache=True, nogil=True)
def add_spectrum(channel, count, spectrum):
    """Add all counts to the spectrum they make."""
    for j in range(channel.size):
        spectrum[channel[j]] += count[j]
