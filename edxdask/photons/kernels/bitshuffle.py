"""Photons as shuffled bits: bit ``k`` of all counts of a piece of an array, eight per byte, lowest first.

That is how Blosc's bitshuffle lays out a piece before it is compressed. Nearly all of these bytes are zero in
an EDX cube, so only the bits that some count has are written, and no dense array is ever made.
"""

from typing import NamedTuple

import numpy as np
from numba import njit


class PhotonArrays(NamedTuple):
    """The arrays of a photon block, and its number of channels."""

    indptr: np.ndarray
    channel: np.ndarray
    counts: np.ndarray
    channels: int


class Pieces(NamedTuple):
    """Where photons are in an array: rows of the block's ``width`` pixels.

    In the array a row is ``stride`` pixels long, and it is cut into pieces of ``size`` elements.
    """

    width: int
    stride: int
    size: int


@njit(cache=True, nogil=True)
def piece_bits(photons, pieces, bits):
    """Combine the counts of each piece by bitwise or."""
    indptr, channel, count, channels = photons
    width, stride, size = pieces
    for p in range(indptr.size - 1):
        base = (p // width * stride + p % width) * channels
        for j in range(indptr[p], indptr[p + 1]):
            bits[(base + channel[j]) // size] |= count[j]


@njit(cache=True, nogil=True)
def fill_bits(photons, pieces, starts, lengths, stop, shuffled):
    """Set the bits of all counts before element ``stop``.

    The lowest bits of piece ``i``, zeroed, begin at byte ``starts[i]``; ``lengths[i]`` bytes hold each bit.
    """
    indptr, channel, count, channels = photons
    width, stride, size = pieces
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
                    shuffled[at] |= bit
                left >>= 1
                at += lengths[piece]


@njit(cache=True, nogil=True)
def fill_elements(photons, pieces, first, elements):
    """Write the counts from element ``first`` of the array on into zeroed ``elements``."""
    indptr, channel, count, channels = photons
    width, stride, _ = pieces
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
