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

_ZERO, _ONE, _SIX = np.uint64(0), np.uint64(1), np.uint64(6)


@njit(cache=True, nogil=True)
def scan(slab, base, state, frames, pixels, step, chosen, starts, spectrum, totals):
    """Walk ``slab``, which begins at element ``base`` of the stream; return whether it was all valid.

    ``starts`` gets the element at which every ``step``-th pixel of every frame begins, ``spectrum`` every
    photon, ``totals`` the photons per pixel of the frames ``chosen[0] <= frame < chosen[1]``.
    """
    pixel, frame, entry = state[PIXEL], state[FRAME], state[ENTRY]
    left = min(step - pixel % step, pixels - pixel)
    wanted = np.uint32(chosen[0] <= frame < chosen[1])
    total = totals[pixel]  # counted here: adding to memory again and again waits for the last addition
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
            total += wanted
            continue
        totals[pixel] = total
        pixel += 1
        left -= 1
        if left == 0:
            if pixel == pixels:
                pixel = 0
                frame += 1
                wanted = np.uint32(chosen[0] <= frame < chosen[1])
            left = min(step, pixels - pixel)
            entry += 1
            starts[entry] = base + i + 1
        total = totals[pixel]
    totals[pixel] = total
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
def count(slab, pixel, totals):
    """Add the photons of each pixel in ``slab`` to ``totals``; return the pixel it ends in.

    ``pixel`` counts as in ``place``.
    """
    for i in range(slab.size):
        if pixel >= totals.size:
            break
        if slab[i] == GATE:
            pixel += 1
        elif pixel >= 0:
            totals[pixel] += np.uint32(1)
    return pixel


@njit(cache=True, nogil=True)
def place(slab, pixel, cursor, stop, channel):
    """Put the channels of ``slab`` where ``cursor`` says; return the pixel it ends in.

    ``pixel`` counts from the band's first and may start below zero: photons before the band are passed over.
    ``OVERFLOW`` says that a pixel holds more than fits before ``stop``.
    """
    i = 0
    while pixel < 0 and i < slab.size:
        pixel += slab[i] == GATE
        i += 1
    while i < slab.size and pixel < cursor.size:  # the index may end a few rows after the band
        at, end = cursor[pixel], stop[pixel]
        value = slab[i]
        while value != GATE:
            if at >= end:
                return OVERFLOW
            channel[at] = value
            at += 1
            i += 1
            if i == slab.size:
                break
            value = slab[i]
        cursor[pixel] = at
        if i < slab.size:
            pixel += 1
            i += 1
    return pixel


@njit(cache=True, nogil=True)
def merge(indptr, channel, count, merged, channels):
    """Sort the channels of each pixel and join equal ones, in place; return the largest count.

    ``merged`` becomes the ``indptr`` of the joined entries, at the front of ``channel`` and ``count``.
    A pixel's channels are bits of ``words``, so they come out sorted; words in use are bits of ``used``, each
    for ``1 << wide`` neighbouring words.
    """
    wide = 0
    while (64 * 64) << wide < channels:
        wide += 1
    words = np.zeros(64 << wide, dtype=np.uint64)
    seen = np.zeros(64 * words.size, dtype=np.uint32)
    found = np.zeros(seen.size + 3, dtype=np.int64)
    largest = np.uint32(0)
    out = 0
    for pixel in range(indptr.size - 1):
        used = _ZERO
        for i in range(indptr[pixel], indptr[pixel + 1]):
            value = channel[i]
            seen[value] += np.uint32(1)
            words[value >> 6] |= _ONE << np.uint64(value & 63)
            used |= _ONE << np.uint64(value >> (6 + wide))
        n = _drain(words, used, wide, found)
        for i in range(n):
            value = found[i]
            times = seen[value]
            seen[value] = np.uint32(0)
            channel[out + i] = value
            count[out + i] = times
            largest = max(largest, times)
        out += n
        merged[pixel + 1] = out
    return largest


@njit(cache=True, nogil=True, inline="always")
def _drain(words, used, wide, found):
    """Put the set bits of ``words`` into ``found`` and clear them; return their number.

    The first four of a word are taken without a branch, which no processor could predict.
    """
    n = 0
    while used != _ZERO:
        at = trailing_zeros(used) << np.uint64(wide)
        last = at + (_ONE << np.uint64(wide))
        used &= used - _ONE
        while at < last:
            word = words[at]
            words[at] = _ZERO
            for _ in range(4):
                found[n] = (at << _SIX) + trailing_zeros(word)
                n += word != _ZERO
                word &= word - _ONE
            while word != _ZERO:
                found[n] = (at << _SIX) + trailing_zeros(word)
                n += 1
                word &= word - _ONE
            at += _ONE
    return n
