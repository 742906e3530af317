"""Photons parted into channels held dense, for sixteen pixels side by side, and the rest; and back."""

from numba import njit

from edxdask.photons.kernels.full import LANES

TILE_PIXELS = 256  # that a sweep works on before it goes on
GROUP = 4  # photons whose dot products are made together
TURNS = 4  # sums that a pixel has, for one group after the other: what was just stored is slow to load
PAD = 16  # what vectors may read past the last photon


@njit(cache=True, nogil=True)
def count_entries(channel, out):
    """Add the number of entries of each channel."""
    for j in range(channel.size):
        out[channel[j]] += 1


@njit(cache=True, nogil=True)
def part_photons(indptr, channel, count, place, dense, out_indptr, out_channel, out_count, owner):
    """Write entries whose channel has a ``place`` to ``dense``, the others to ``out``.

    There each pixel begins a new group; groups end in counts of zero. A loop over the groups of many pixels
    then needs no branch at the end of a pixel, which is missed and costs as much as ten photons.
    """
    n = 0
    for i in range(indptr.size - 1):
        group = dense[i // LANES]
        lane = i % LANES
        first = n
        for j in range(indptr[i], indptr[i + 1]):
            row = place[channel[j]]
            if row >= 0:  # entries rise, so that this changes seldom and is foreseen
                group[row, lane] = count[j]
            else:
                out_channel[n] = channel[j]
                out_count[n] = count[j]
                n += 1
        while n % GROUP != 0:
            out_channel[n] = out_channel[n - 1]
            out_count[n] = 0
            n += 1
        for turn in range((n - first) // GROUP):
            owner[first // GROUP + turn] = i % TILE_PIXELS * TURNS + turn % TURNS
        out_indptr[i + 1] = n


@njit(cache=True, nogil=True)
def joined_lengths(dense, first, indptr, count, out_indptr):
    """Fill ``out_indptr`` with the entries of the pixels from ``first`` on, of both parts."""
    for i in range(out_indptr.size - 1):
        group = dense[(first + i) // LANES]
        lane = (first + i) % LANES
        n = out_indptr[i]
        for j in range(indptr[first + i], indptr[first + i + 1]):
            n += count[j] != 0
        for row in range(group.shape[0]):
            n += group[row, lane] != 0
        out_indptr[i + 1] = n


@njit(cache=True, nogil=True)
def join_photons(full, dense, first, indptr, channel, count, out_indptr, out_channel, out_count):
    """Merge both parts of the pixels from ``first`` on: both lists rise, so one walk along both does it."""
    for i in range(out_indptr.size - 1):
        group = dense[(first + i) // LANES]
        lane = (first + i) % LANES
        n = out_indptr[i]
        row = 0
        for j in range(indptr[first + i], indptr[first + i + 1]):
            if count[j] == 0:
                break
            while row < full.size and full[row] < channel[j]:
                out_channel[n] = full[row]  # a zero is written over by what follows
                out_count[n] = group[row, lane]
                n += group[row, lane] != 0
                row += 1
            out_channel[n] = channel[j]
            out_count[n] = count[j]
            n += 1
        while row < full.size:
            if group[row, lane] != 0:
                out_channel[n] = full[row]
                out_count[n] = group[row, lane]
                n += 1
            row += 1
