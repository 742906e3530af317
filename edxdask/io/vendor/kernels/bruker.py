"""Bruker's spectrum stream, decoded pixel by pixel straight into photons.

A row is the number of its pixels, then each pixel: a header of 22 bytes (x, last channel + 1, channels in
the runs, four constant bytes, packing, two unused bytes, pulses, bytes), then its spectrum. Packing 0 lists
the channel of every pulse in 16 bits; 1 in 12 bits, high bits first, in 16-bit words. Any other holds runs
of channels (width, number, base value, what comes on top in half the width each), then the size of a list of
additional pulses and that list.

No byte is read before it is known to be inside ``data``, and no channel is counted before it is known to
be below the last channel the pixel's header names. Every loop moves forward: damage ends in a status.
"""

import numpy as np
from numba import njit

HEADER = 22
MAX_CHANNELS = 65536
GROUP = 16  # channels with a common flag, so that gathering a pixel skips what it does not hold
MAX_PACKED = 1 << 20  # more bytes than 65536 runs of one channel take

# Places in the cursor. LEFT is -1 where the next thing is a row's pixel count; X is the last pixel's.
POSITION, ROW, LEFT, X, PIXELS, ENTRIES, LARGEST, WIDEST, UNORDERED, CURSOR = range(10)

DONE, MORE, FULL = 0, 1, 2
BAD_ROW, BAD_X, BAD_SIZE, BAD_CHANNEL, BAD_RUN, BAD_VALUE = -1, -2, -3, -4, -5, -6


@njit(cache=True, nogil=True)
def _u16(data, at):
    return np.int64(data[at]) | np.int64(data[at + 1]) << 8


@njit(cache=True, nogil=True)
def _u32(data, at):
    return _u16(data, at) | _u16(data, at + 2) << 16


@njit(cache=True, nogil=True)
def _pixel_size(data, at):
    """Bytes of the pixel with its header at ``at``, or a negative status."""
    packing, pulses, size = _u16(data, at + 12), _u16(data, at + 16), _u32(data, at + 18)
    if packing > 1:
        if size < 4 or size > MAX_PACKED:
            return BAD_SIZE
        return HEADER + size + 2 * pulses
    least = 2 * pulses if packing == 0 else (3 * pulses + 3) // 4 * 2  # whole words
    if size < least or size >= least + 4:  # a list may be padded
        return BAD_SIZE
    return HEADER + size


@njit(cache=True, nogil=True)
def _pulses16(data, at, pulses, last, hist, groups):
    for i in range(pulses):
        channel = _u16(data, at + 2 * i)
        if channel >= last:
            return BAD_CHANNEL
        hist[channel] += np.uint32(1)
        groups[channel // GROUP] = 1
    return DONE


@njit(cache=True, nogil=True)
def _pulses12(data, at, pulses, last, hist, groups):
    for i in range(pulses):
        word = at + i // 4 * 6
        part = i % 4
        if part == 0:
            channel = _u16(data, word) >> 4
        elif part == 1:
            channel = (_u16(data, word) & 15) << 8 | _u16(data, word + 2) >> 8
        elif part == 2:
            channel = (_u16(data, word + 2) & 255) << 4 | _u16(data, word + 4) >> 12
        else:
            channel = _u16(data, word + 4) & 4095
        if channel >= last:
            return BAD_CHANNEL
        hist[channel] += np.uint32(1)
        groups[channel // GROUP] = 1
    return DONE


@njit(cache=True, nogil=True)
def _runs(data, at, stop, channels, last, hist, groups):
    """Add the runs from ``at`` to ``stop``, which must fill both the bytes and ``channels`` exactly."""
    channel = np.int64(0)
    while at < stop:
        if at + 2 > stop:
            return BAD_RUN
        width, number = np.int64(data[at]), np.int64(data[at + 1])
        at += 2
        if channel + number > channels:
            return BAD_RUN
        if width == 0:
            channel += number
            continue
        if width != 1 and width != 2 and width != 4 and width != 8:
            return BAD_RUN
        values = at + width
        after = values + (number * width + 1) // 2
        if after > stop:
            return BAD_RUN
        if width == 1:
            base = np.int64(data[at])
        elif width == 2:
            base = _u16(data, at)
        else:
            base = _u32(data, at)
        if width == 8 and _u32(data, at + 4) != 0:
            return BAD_VALUE
        for i in range(number):
            if width == 1:
                value = np.int64(data[values + i // 2]) >> (4 * (i & 1)) & 15
            elif width == 2:
                value = np.int64(data[values + i])
            elif width == 4:
                value = _u16(data, values + 2 * i)
            else:
                value = _u32(data, values + 4 * i)
            value += base
            if value:
                if channel + i >= last:
                    return BAD_CHANNEL
                if value > 0xFFFF0000:  # leaves room for the pulses that come on top
                    return BAD_VALUE
                hist[channel + i] = np.uint32(value)
                groups[(channel + i) // GROUP] = 1
        channel += number
        at = after
    return DONE if channel == channels else BAD_RUN


@njit(cache=True, nogil=True)
def _spectrum(data, at, size, hist, groups):
    """Add one pixel to ``hist`` (and flag its ``groups``)."""
    last, packing, pulses = _u16(data, at + 4), _u16(data, at + 12), _u16(data, at + 16)
    body = at + HEADER
    if packing == 0:
        return _pulses16(data, body, pulses, last, hist, groups)
    if packing == 1:
        return _pulses12(data, body, pulses, last, hist, groups)
    extra = at + size - 2 * pulses
    status = _runs(data, body, extra - 4, _u16(data, at + 6), last, hist, groups)
    if status == DONE and pulses > 0:
        if _u32(data, extra - 4) != 2 * pulses:
            return BAD_SIZE
        status = _pulses16(data, extra, pulses, last, hist, groups)
    return status


@njit(cache=True, nogil=True)
def _gather(last, cursor, hist, groups, channel, count):
    """Move ``hist`` to ``channel`` and ``count`` (which may be empty: then it is only checked)."""
    n = cursor[ENTRIES]
    keep = channel.size > 0
    for group in range((last + GROUP - 1) // GROUP):
        if groups[group] == 0:
            continue
        groups[group] = 0
        for c in range(group * GROUP, (group + 1) * GROUP):
            value = np.int64(hist[c])
            if value == 0:
                continue
            hist[c] = 0
            cursor[LARGEST] = max(cursor[LARGEST], value)
            cursor[WIDEST] = max(cursor[WIDEST], c + 1)
            if keep:
                channel[n] = c
                count[n] = value
                n += 1
    cursor[ENTRIES] = n


@njit(cache=True, nogil=True)
def _pixel(data, cursor, width, hist, groups, channel, count, pixel, ends):
    """Decode the pixel at the cursor and move on; or return why not."""
    at, keep = cursor[POSITION], channel.size > 0
    if at + HEADER > data.size:
        return MORE
    x, last, size = _u32(data, at), _u16(data, at + 4), _pixel_size(data, at)
    if x >= width:
        return BAD_X
    if size < 0:
        return size
    if at + size > data.size:
        return MORE
    if keep and (cursor[PIXELS] == pixel.size or cursor[ENTRIES] + last > channel.size):
        return FULL
    status = _spectrum(data, at, size, hist, groups)
    if status != DONE:
        return status
    _gather(last, cursor, hist, groups, channel, count)
    if keep:
        pixel[cursor[PIXELS]] = cursor[ROW] * width + x
        ends[cursor[PIXELS]] = cursor[ENTRIES]
        cursor[PIXELS] += 1
    if x <= cursor[X]:
        cursor[UNORDERED] = 1
    cursor[X] = x
    cursor[POSITION] += size
    cursor[LEFT] -= 1
    return DONE


@njit(cache=True, nogil=True)
def decode(data, cursor, last_row, width, hist, groups, channel, count, pixel, ends):
    """Decode up to row ``last_row``, or until ``data`` or the output is used up.

    Parameters
    ----------
    data : (n,) uint8, the stream from somewhere on
    cursor : (CURSOR,) int64, where it is and what it saw; moved to the next whole pixel
    width : pixels of a full row
    hist, groups : (MAX_CHANNELS,) uint32 and (MAX_CHANNELS / GROUP,) uint8, all zero; zero again on success
    channel, count : entries, at least MAX_CHANNELS; or empty arrays to check without keeping
    pixel, ends : pixel number (row * width + x) and end of its entries, for every pixel that is kept

    Returns
    -------
    DONE, MORE (bytes wanted), FULL (output to be taken) or a negative status
    """
    while cursor[ROW] < last_row:
        if cursor[LEFT] < 0:
            at = cursor[POSITION]
            if at + 4 > data.size:
                return MORE
            cursor[LEFT] = _u32(data, at)
            if cursor[LEFT] > width:
                return BAD_ROW
            cursor[POSITION] = at + 4
            cursor[X] = -1
        elif cursor[LEFT] == 0:
            cursor[LEFT] = -1
            cursor[ROW] += 1
        else:
            status = _pixel(data, cursor, width, hist, groups, channel, count, pixel, ends)
            if status != DONE:
                return status
    return DONE
