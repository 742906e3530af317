"""How the counts of a block are arranged for sweeps, and the kernels that arrange them and undo it.

All that a sweep does with a count is the same for every pixel and channel, so counts are side by side in
*lanes*, which a processor works on at once. A *group* is as many pixels, or strips, as there are lanes.
Channels that most pixels have counts in are held dense: the counts of a group of pixels in such a channel are
side by side, zeros too. The photons of the other channels are cut into *strips* of one pixel each, so that a
few bright pixels do not slow down the others. Sweeps go through the pixels in *batches*; their numbers stay
in the processor's cache; the strips of a batch are in its groups, sorted by length.

Every backend takes blocks in this arrangement (``contract.BlockArrays``); no other module knows its sizes.
"""

import numpy as np
from numba import njit

from edxdask.photons.kernels.contract import BlockArrays

LANES = 16
BATCH_PIXELS = 256
STRIP = 64  # photons at most


@njit(cache=True, nogil=True)
def count_entries(channel, out):
    """Add the number of entries of each channel."""
    for j in range(channel.size):
        out[channel[j]] += 1


@njit(cache=True, nogil=True)
def part_photons(indptr, channel, count, place, dense, out_indptr, out_channel, out_count):
    """Write entries with a ``place`` for their channel to ``dense``, the others to ``out``."""
    n = 0
    for i in range(indptr.size - 1):
        group = dense[i // LANES]
        lane = i % LANES
        for j in range(indptr[i], indptr[i + 1]):
            row = place[channel[j]]
            if row >= 0:  # entries rise, so that this changes rarely and is predicted
                group[row, lane] = count[j]
            else:
                out_channel[n] = channel[j]
                out_count[n] = count[j]
                n += 1
        out_indptr[i + 1] = n


@njit(cache=True, nogil=True)
def sort_strips(indptr, batch_starts, owner, start, length):
    """Cut the entries of each pixel into strips, and sort those of a batch, the longest first.

    Strips of the same length keep their order, so that a pixel's whole ones come in the order of its entries
    and before its last. Lanes without a strip are not changed.
    """
    ends = np.empty(STRIP + 1, dtype=np.int64)
    for b in range(batch_starts.size - 1):
        first = b * BATCH_PIXELS
        last = min(first + BATCH_PIXELS, indptr.size - 1)
        ends[:] = 0
        for i in range(first, last):
            size = indptr[i + 1] - indptr[i]
            ends[STRIP] += size // STRIP
            ends[size % STRIP] += 1
        place = batch_starts[b] * LANES
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
def lay_strips(channel, count, start, length, group_starts, out_channel, out_count):
    """Write the strips of each group side by side; ends of short ones repeat a channel, with no counts."""
    for g in range(group_starts.size - 1):
        for lane in range(LANES):
            j = start[g, lane]
            size = np.int64(length[g, lane])
            begin = group_starts[g]
            last = 0
            for n in range(size):
                last = channel[j + n]
                out_channel[begin + n, lane] = last
                out_count[begin + n, lane] = count[j + n]
            for n in range(begin + size, group_starts[g + 1]):
                out_channel[n, lane] = last
                out_count[n, lane] = 0


@njit(cache=True, nogil=True)
def add_strip_entries(first, block, out):
    """Add the number of entries in strips to the pixels from ``first`` on, as many as ``out`` has."""
    batch_starts, group_starts = block.batch_starts, block.group_starts
    owner, count = block.owner, block.counts
    found = np.empty(LANES, dtype=np.int64)
    for b in range(first // BATCH_PIXELS, (first + out.size - 1) // BATCH_PIXELS + 1):
        for g in range(batch_starts[b], batch_starts[b + 1]):
            found[:] = 0
            for n in range(group_starts[g], group_starts[g + 1]):
                for lane in range(LANES):
                    found[lane] += count[n, lane] != 0
            for lane in range(LANES):
                i = b * BATCH_PIXELS + owner[g, lane] - first
                if 0 <= i < out.size:
                    out[i] += found[lane]


@njit(cache=True, nogil=True)
def add_strip_totals(block, out):
    """Add the counts in strips to their pixels."""
    batch_starts, group_starts = block.batch_starts, block.group_starts
    owner, count = block.owner, block.counts
    for b in range(batch_starts.size - 1):
        for g in range(batch_starts[b], batch_starts[b + 1]):
            for n in range(group_starts[g], group_starts[g + 1]):
                for lane in range(LANES):
                    out[b * BATCH_PIXELS + owner[g, lane]] += count[n, lane]


@njit(cache=True, nogil=True)
def add_dense_entries(first, dense, out):
    """Add the number of entries of channels held dense to the pixels from ``first`` on."""
    for i in range(out.size):
        group = dense[(first + i) // LANES]
        for row in range(group.shape[0]):
            out[i] += group[row, (first + i) % LANES] != 0


@njit(cache=True, nogil=True)
def unlay_strips(first, block, at, out_channel, out_count):
    """Write the entries in strips of the pixels from ``first`` on, each pixel's from its place in ``at`` on.

    Moves each place to the end of what was written.
    """
    batch_starts, group_starts = block.batch_starts, block.group_starts
    owner, channel, count = block.owner, block.channel, block.counts
    for b in range(first // BATCH_PIXELS, (first + at.size - 1) // BATCH_PIXELS + 1):
        for g in range(batch_starts[b], batch_starts[b + 1]):
            for lane in range(LANES):
                i = b * BATCH_PIXELS + owner[g, lane] - first
                if i < 0 or i >= at.size:
                    continue
                place = at[i]
                for n in range(group_starts[g], group_starts[g + 1]):
                    if count[n, lane] == 0:
                        break
                    out_channel[place] = channel[n, lane]
                    out_count[place] = count[n, lane]
                    place += 1
                at[i] = place


@njit(cache=True, nogil=True)
def merge_dense(first, block, indptr, at, out_channel, out_count):
    """Merge the counts of channels held dense into each pixel's entries, which begin at ``at``.

    Both rise, so one walk along both is enough; it never overwrites what it has still to read.
    """
    dense_channels, dense = block.dense_channels, block.dense
    for i in range(indptr.size - 1):
        group = dense[(first + i) // LANES]
        lane = (first + i) % LANES
        n = indptr[i]
        row = 0
        for j in range(at[i], indptr[i + 1]):
            channel = out_channel[j]
            count = out_count[j]
            while row < dense_channels.size and dense_channels[row] < channel:
                out_channel[n] = dense_channels[row]  # a zero is overwritten by the next entry
                out_count[n] = group[row, lane]
                n += group[row, lane] != 0
                row += 1
            out_channel[n] = channel
            out_count[n] = count
            n += 1
        while row < dense_channels.size:
            if group[row, lane] != 0:
                out_channel[n] = dense_channels[row]
                out_count[n] = group[row, lane]
                n += 1
            row += 1


def padded_pixels(pixels):
    """Return the number of pixels of whole groups."""
    return -(-pixels // LANES) * LANES


def arrange(indptr, channel, count, channels, dense_channels):
    """Arrange photons, with ``dense_channels``, which rise, held dense; counts are uint8 or uint32.

    Returns
    -------
    BlockArrays
    """
    place = np.full(channels, -1, dtype=np.int32)
    place[dense_channels] = np.arange(dense_channels.size)
    dense = np.zeros((padded_pixels(indptr.size - 1) // LANES, dense_channels.size, LANES), dtype=count.dtype)
    rest = np.zeros_like(indptr), np.empty_like(channel), np.empty_like(count)
    part_photons(indptr, channel, count, place, dense, *rest)
    return BlockArrays(dense_channels.astype(np.intp), dense, *_strips(*rest))


def _strips(indptr, channel, count):
    """Return the last five fields of ``BlockArrays`` for some photons."""
    strips = -(-np.diff(indptr) // STRIP)
    each = np.add.reduceat(strips, np.arange(0, strips.size, BATCH_PIXELS)) if strips.size else strips
    batch_starts = np.concatenate([[0], np.cumsum(-(-each // LANES))])
    owner, start, length = (
        np.zeros((batch_starts[-1], LANES), dtype=t) for t in (np.uint8, np.int64, np.uint8)
    )
    sort_strips(indptr, batch_starts, owner.ravel(), start.ravel(), length.ravel())
    longest = length[:, 0]  # a group's first
    group_starts = np.concatenate([[0], np.cumsum(longest, dtype=np.int64)])
    shape = (group_starts[-1], LANES)
    side_by_side = np.empty(shape, dtype=channel.dtype), np.empty(shape, dtype=count.dtype)
    lay_strips(channel, count, start, length, group_starts, *side_by_side)
    return batch_starts, group_starts, owner, *side_by_side


def photons_of(block, start, stop):
    """Return indptr, channel and count of pixels ``start`` to ``stop``."""
    in_strips, entries = (np.zeros(stop - start, dtype=np.int64) for _ in range(2))
    if entries.size == 0:
        return np.zeros(1, np.int64), np.empty(0, np.uint16), block.counts[:0, 0]
    add_strip_entries(start, block, in_strips)
    add_dense_entries(start, block.dense, entries)
    indptr = np.concatenate([[0], np.cumsum(entries + in_strips)])
    channel, count = np.empty(indptr[-1], dtype=np.uint16), np.empty(indptr[-1], dtype=block.counts.dtype)
    begin = indptr[:-1] + entries
    unlay_strips(start, block, begin.copy(), channel, count)
    merge_dense(start, block, indptr, begin, channel, count)
    return indptr, channel, count


def totals_of(block, pixels):
    """Return the photons of each pixel: (n,) int64."""
    out = block.dense.sum(axis=1, dtype=np.int64).ravel()[:pixels].copy()
    add_strip_totals(block, out)
    return out
