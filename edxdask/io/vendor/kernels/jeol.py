"""Walks through JEOL event streams: 16-bit words, four bits of type and twelve of value.

Type 8 sets the column, 9 the row (in 4096ths of the field), 10 is a value of the scanned image, 11 is one
photon's channel. A row lower than the last one starts a new frame.
"""

from __future__ import annotations

import numpy as np
from numba import njit

COLUMN, ROW, IMAGE, PHOTON = 0x8000, 0x9000, 0xA000, 0xB000


@njit(cache=True, nogil=True)
def count_frames(words):
    """Count the frames begun in the stream."""
    frames = 1 if words.size else 0
    previous = -1
    for word in words:
        if word & 0xF000 == ROW:
            row = np.int64(word & 0xFFF)
            if row < previous:
                frames += 1
            previous = row
    return frames


@njit(cache=True, nogil=True)
def frame_table(words, table):
    """Fill ``table`` (frames + 1, 4): first word, last row, last column, whether it holds an image."""
    frame = 0
    previous = -1
    table[0] = 0
    table[0, 1] = -1
    for i in range(words.size):
        kind = words[i] & 0xF000
        value = np.int64(words[i] & 0xFFF)
        if kind == ROW:
            if value < previous:
                frame += 1
                table[frame, 0] = i
                table[frame, 2] = 0
                table[frame, 3] = 0
            previous = value
            table[frame, 1] = value
        elif kind == COLUMN:
            table[frame, 2] = value
        elif kind == IMAGE:
            table[frame, 3] = 1
    table[frame + 1, 0] = words.size


@njit(cache=True, nogil=True)
def count_photons(words, step_y, step_x, pixels, image, spectrum):
    """Add photons to ``pixels`` and ``spectrum``, scanned values to ``image``; return photons off the map."""
    height, width = pixels.shape
    lost = 0
    x = np.int64(0)
    y = np.int64(0)
    previous = np.int64(-1)
    for word in words:
        kind = word & 0xF000
        value = np.int64(word & 0xFFF)
        if kind == COLUMN:
            x = value // step_x
        elif kind == ROW:
            if value < previous:
                x = 0
            previous = value
            y = value // step_y
        elif kind == PHOTON:
            if x < width and y < height:
                pixels[y, x] += 1
                spectrum[value] += 1
            else:
                lost += 1
        elif kind == IMAGE and x < width and y < height:
            image[y, x] += value
    return lost


@njit(cache=True, nogil=True)
def place_photons(words, step_y, step_x, width, cursor, channel):
    """Write each photon's channel at its pixel's cursor, which advances; all photons must be on the map."""
    x = np.int64(0)
    y = np.int64(0)
    previous = np.int64(-1)
    for word in words:
        kind = word & 0xF000
        value = np.int64(word & 0xFFF)
        if kind == COLUMN:
            x = value // step_x
        elif kind == ROW:
            if value < previous:
                x = 0
            previous = value
            y = value // step_y
        elif kind == PHOTON:
            pixel = y * width + x
            channel[cursor[pixel]] = value
            cursor[pixel] += 1


@njit(cache=True, nogil=True)
def sort_and_count(indptr, channel, merged):
    """Sort each pixel's channels in place; ``merged`` (pixels + 1) becomes the indptr of distinct ones."""
    merged[0] = 0
    for i in range(indptr.size - 1):
        mine = channel[indptr[i] : indptr[i + 1]]
        mine.sort()
        distinct = 0
        for j in range(mine.size):
            if j == 0 or mine[j] != mine[j - 1]:
                distinct += 1
        merged[i + 1] = merged[i] + distinct


@njit(cache=True, nogil=True)
def merge_sorted(indptr, channel, out_channel, out_count):
    """Distinct channels of each pixel and how often each occurs."""
    at = -1
    for i in range(indptr.size - 1):
        for j in range(indptr[i], indptr[i + 1]):
            if j == indptr[i] or channel[j] != channel[j - 1]:
                at += 1
                out_channel[at] = channel[j]
                out_count[at] = 0
            out_count[at] += 1
