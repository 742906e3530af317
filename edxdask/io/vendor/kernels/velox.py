"""Kernels over a Velox spectrum stream: index it, place its photons, merge them.

A stream is a run of uint16: 65535 ends a pixel, anything else is the channel of one photon.
"""

import numpy as np
from numba import njit

GATE = 0xFFFF
OK, BAD_CHANNEL, SURPLUS = 0, 1, 2
OVERFLOW = -(1 << 62)
# Fields of the scan's state, carried from slab to slab.
PIXEL, FRAME, ENTRY, STATUS, WHERE, STATE_SIZE = 0, 1, 2, 3, 4, 5

# Position of the lowest set bit by multiplication (Leiserson, Prokop and Randall, 1998): numba has no ctz.
_DE_BRUIJN = np.uint64(0x03F79D71B4CB0A89)
_BIT = np.zeros(64, dtype=np.uint8)
_BIT[[((0x03F79D71B4CB0A89 << i) & 0xFFFFFFFFFFFFFFFF) >> 58 for i in range(64)]] = np.arange(64)
_SMALL = 24  # below this, sorting by insertion is faster than the bitmap


@njit(cache=True, nogil=True)
def scan(slab, base, state, frames, pixels, step, chosen, starts, spectrum, totals):
    """Walk ``slab``, whose first element is number ``base`` of the stream; return whether it was all valid.

    ``starts`` gets the element at which every ``step``-th pixel of every frame begins, ``spectrum`` every
    photon, ``totals`` the photons per pixel of the frames ``chosen[0] <= frame < chosen[1]``.
    """
    pixel, frame, entry = state[PIXEL], state[FRAME], state[ENTRY]
    left = min(step - pixel % step, pixels - pixel)
    wanted = chosen[0] <= frame < chosen[1]
    status = OK
    for i in range(slab.size):
        if frame == frames:
            status = SURPLUS
            state[WHERE] = base + i
            break
        value = slab[i]
        if value != GATE:
            if value >= spectrum.size:
                status = BAD_CHANNEL
                state[WHERE] = base + i
                break
            spectrum[value] += 1
            if wanted:
                totals[pixel] += 1
            continue
        pixel += 1
        left -= 1
        if left == 0:
            if pixel == pixels:
                pixel = 0
                frame += 1
                wanted = chosen[0] <= frame < chosen[1]
            left = min(step, pixels - pixel)
            entry += 1
            starts[entry] = base + i + 1
    state[PIXEL], state[FRAME], state[ENTRY], state[STATUS] = pixel, frame, entry, status
    return status == OK


@njit(cache=True, nogil=True)
def count_gates(slab):
    """Count the pixels that end in ``slab``."""
    n = 0
    for i in range(slab.size):
        n += slab[i] == GATE
    return n


@njit(cache=True, nogil=True)
def place(slab, pixel, cursor, stop, channel):
    """Put the channels of ``slab`` where ``cursor`` says; return the pixel it ends in.

    ``pixel`` counts from the band's first and may start below zero: photons before the band are passed over.
    ``OVERFLOW`` says that a pixel holds more than ``stop`` has room for.
    """
    for i in range(slab.size):
        if pixel >= cursor.size:  # the index may end a few rows after the band
            break
        value = slab[i]
        if value == GATE:
            pixel += 1
        elif pixel >= 0:
            at = cursor[pixel]
            if at >= stop[pixel]:
                return OVERFLOW
            channel[at] = value
            cursor[pixel] = at + 1
    return pixel


@njit(cache=True, nogil=True)
def merge(indptr, channel, count, merged, channels):
    """Sort the channels of each pixel and join equal ones, in place; return the largest count.

    ``merged`` becomes the ``indptr`` of the joined entries, at the front of ``channel`` and ``count``.
    """
    seen = np.zeros(channels, dtype=np.uint32)
    words = np.zeros((channels + 63) // 64, dtype=np.uint64)
    out = 0
    largest = 0
    for pixel in range(indptr.size - 1):
        a, b = indptr[pixel], indptr[pixel + 1]
        begin = out
        if b - a <= _SMALL:
            for i in range(a + 1, b):
                value = channel[i]
                j = i - 1
                while j >= a and channel[j] > value:
                    channel[j + 1] = channel[j]
                    j -= 1
                channel[j + 1] = value
            for i in range(a, b):
                value = channel[i]
                if out > begin and channel[out - 1] == value:
                    count[out - 1] += 1
                else:
                    channel[out] = value
                    count[out] = 1
                    out += 1
        else:
            for i in range(a, b):
                value = channel[i]
                seen[value] += 1
                words[value >> 6] |= np.uint64(1) << np.uint64(value & 63)
            for w in range(words.size):
                word = words[w]
                while word != np.uint64(0):
                    low = word & (~word + np.uint64(1))
                    value = (w << 6) + _BIT[(low * _DE_BRUIJN) >> np.uint64(58)]
                    channel[out] = value
                    count[out] = seen[value]
                    seen[value] = 0
                    out += 1
                    word ^= low
                words[w] = np.uint64(0)
        for i in range(begin, out):
            largest = max(largest, count[i])
        merged[pixel + 1] = out
    return largest
