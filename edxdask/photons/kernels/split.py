"""Photons parted into channels held dense, sixteen pixels side by side, and strips of the rest; and back."""

import numpy as np
from numba import njit

from edxdask.photons.kernels.lanes import LANES

TILE_PIXELS = 256  # that a sweep works on before it goes on; they share groups of strips
STRIP = 64  # photons at most


@njit(cache=True, nogil=True)
def count_entries(channel, out):
    """Add the number of entries of each channel."""
    for j in range(channel.size):
        out[channel[j]] += 1


@njit(cache=True, nogil=True)
def part_photons(indptr, channel, count, place, dense, out_indptr, out_channel, out_count):
    """Write entries whose channel has a ``place`` to ``dense``, the others to ``out``."""
    n = 0
    for i in range(indptr.size - 1):
        group = dense[i // LANES]
        lane = i % LANES
        for j in range(indptr[i], indptr[i + 1]):
            row = place[channel[j]]
            if row >= 0:  # entries rise, so that this changes seldom and is foreseen
                group[row, lane] = count[j]
            else:
                out_channel[n] = channel[j]
                out_count[n] = count[j]
                n += 1
        out_indptr[i + 1] = n


@njit(cache=True, nogil=True)
def sort_strips(indptr, tiles, owner, start, length):
    """Cut the entries of each pixel into strips, and sort those of a tile, the longest first.

    Strips of the same length keep their order, so that a pixel's whole ones come in the order of its entries
    and before its last. Lanes that get no strip are left as they are.
    """
    ends = np.empty(STRIP + 1, dtype=np.int64)
    for t in range(tiles.size - 1):
        first = t * TILE_PIXELS
        last = min(first + TILE_PIXELS, indptr.size - 1)
        ends[:] = 0
        for i in range(first, last):
            size = indptr[i + 1] - indptr[i]
            ends[STRIP] += size // STRIP
            ends[size % STRIP] += 1
        place = tiles[t] * LANES
        for n in range(STRIP, 0, -1):
            place += ends[n]
            ends[n] = place - ends[n]
        for i in range(first, last):
            for j in range(indptr[i], indptr[i + 1], STRIP):
                size = min(STRIP, indptr[i + 1] - j)
                at = ends[size]
                ends[size] += 1
                owner[at] = i - first
                start[at] = j
                length[at] = size


@njit(cache=True, nogil=True)
def lay_strips(channel, count, start, length, steps, out_channel, out_count):
    """Write the strips of each group side by side; ends of short ones repeat a channel, with no counts."""
    for g in range(steps.size - 1):
        for lane in range(LANES):
            j = start[g, lane]
            size = np.int64(length[g, lane])
            begin = steps[g]
            last = 0
            for n in range(size):
                last = channel[j + n]
                out_channel[begin + n, lane] = last
                out_count[begin + n, lane] = count[j + n]
            for n in range(begin + size, steps[g + 1]):
                out_channel[n, lane] = last
                out_count[n, lane] = 0


@njit(cache=True, nogil=True)
def add_strip_entries(first, tiles, steps, owner, count, out):
    """Add the number of entries in strips to the pixels from ``first`` on, as many as ``out`` has."""
    found = np.empty(LANES, dtype=np.int64)
    for t in range(first // TILE_PIXELS, (first + out.size - 1) // TILE_PIXELS + 1):
        for g in range(tiles[t], tiles[t + 1]):
            found[:] = 0
            for n in range(steps[g], steps[g + 1]):
                for lane in range(LANES):
                    found[lane] += count[n, lane] != 0
            for lane in range(LANES):
                i = t * TILE_PIXELS + owner[g, lane] - first
                if 0 <= i < out.size:
                    out[i] += found[lane]


@njit(cache=True, nogil=True)
def add_strip_totals(tiles, steps, owner, count, out):
    """Add the counts in strips to their pixels."""
    for t in range(tiles.size - 1):
        for g in range(tiles[t], tiles[t + 1]):
            for n in range(steps[g], steps[g + 1]):
                for lane in range(LANES):
                    out[t * TILE_PIXELS + owner[g, lane]] += count[n, lane]


@njit(cache=True, nogil=True)
def add_dense_entries(first, dense, out):
    """Add the number of entries of channels held dense to the pixels from ``first`` on."""
    for i in range(out.size):
        group = dense[(first + i) // LANES]
        for row in range(group.shape[0]):
            out[i] += group[row, (first + i) % LANES] != 0


@njit(cache=True, nogil=True)
def unlay_strips(first, tiles, steps, owner, channel, count, at, out_channel, out_count):
    """Write the entries in strips of the pixels from ``first`` on, each pixel's from its place in ``at`` on.

    Moves each place to the end of what was written.
    """
    for t in range(first // TILE_PIXELS, (first + at.size - 1) // TILE_PIXELS + 1):
        for g in range(tiles[t], tiles[t + 1]):
            for lane in range(LANES):
                i = t * TILE_PIXELS + owner[g, lane] - first
                if i < 0 or i >= at.size:
                    continue
                place = at[i]
                for n in range(steps[g], steps[g + 1]):
                    if count[n, lane] == 0:
                        break
                    out_channel[place] = channel[n, lane]
                    out_count[place] = count[n, lane]
                    place += 1
                at[i] = place


@njit(cache=True, nogil=True)
def merge_dense(full, dense, first, indptr, at, out_channel, out_count):
    """Merge the counts of channels held dense into each pixel's entries, which stand from ``at`` on.

    Both rise, so one walk along both does it; it never writes over what it has still to read.
    """
    for i in range(indptr.size - 1):
        group = dense[(first + i) // LANES]
        lane = (first + i) % LANES
        n = indptr[i]
        row = 0
        for j in range(at[i], indptr[i + 1]):
            channel = out_channel[j]
            count = out_count[j]
            while row < full.size and full[row] < channel:
                out_channel[n] = full[row]  # a zero is written over by what follows
                out_count[n] = group[row, lane]
                n += group[row, lane] != 0
                row += 1
            out_channel[n] = channel
            out_count[n] = count
            n += 1
        while row < full.size:
            if group[row, lane] != 0:
                out_channel[n] = full[row]
                out_count[n] = group[row, lane]
                n += 1
            row += 1
