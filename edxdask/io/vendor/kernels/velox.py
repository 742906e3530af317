"""Kernels over a Velox spectrum stream: index it, place its photons, merge them.

A stream is a run of uint16: 65535 ends a pixel, anything else is the channel of one photon.
"""

import numpy as np
from numba import njit
from numba.cpython.unsafe.numbers import trailing_zeros

GATE = 0xFFFF
OK, BAD_CHANNEL, SURPLUS = 0, 1, 2
OVERFLOW = -(1 << 62)
# Fields of the scan's state, carried from slab to slab.
PIXEL, FRAME, ENTRY, STATUS, WHERE, STATE_SIZE = 0, 1, 2, 3, 4, 5

_ZERO, _ONE = np.uint64(0), np.uint64(1)


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
    A pixel's channels are bits of ``words``, whose words in use are bits of ``used``: they come out sorted.
    """
    n_words = (channels + 63) // 64
    words = np.zeros(n_words, dtype=np.uint64)
    used = np.zeros((n_words + 63) // 64, dtype=np.uint64)
    seen = np.zeros(64 * n_words, dtype=np.uint32)
    found = np.zeros(64 * n_words + 1, dtype=np.int64)
    out = 0
    for pixel in range(indptr.size - 1):
        for i in range(indptr[pixel], indptr[pixel + 1]):
            value = channel[i]
            seen[value] += 1
            words[value >> 6] |= _ONE << np.uint64(value & 63)
            used[value >> 12] |= _ONE << np.uint64((value >> 6) & 63)
        n = _drain(words, used, found)
        for i in range(n):
            value = found[i]
            channel[out + i] = value
            count[out + i] = seen[value]
            seen[value] = 0
        out += n
        merged[pixel + 1] = out
    largest = 0
    for i in range(out):
        largest = max(largest, count[i])
    return largest


@njit(cache=True, nogil=True, inline="always")
def _drain(words, used, found):
    """Put the set bits of ``words`` into ``found`` and clear them; return their number.

    The first four of a word are taken without a branch, which no processor could predict.
    """
    n = 0
    for block in range(used.size):
        rest = used[block]
        used[block] = _ZERO
        while rest != _ZERO:
            at = (block << 6) + trailing_zeros(rest)
            rest &= rest - _ONE
            word = words[at]
            words[at] = _ZERO
            for _ in range(4):
                found[n] = (at << 6) + trailing_zeros(word)
                n += word != _ZERO
                word &= word - _ONE
            while word != _ZERO:
                found[n] = (at << 6) + trailing_zeros(word)
                n += 1
                word &= word - _ONE
    return n
