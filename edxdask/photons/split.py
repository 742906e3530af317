"""Blocks as sweeps take them: channels that most pixels have counts in dense, the others as photons.

A cube is nearly all zeros, but not evenly: its strong lines fill a few per cent of the channels nearly
everywhere, and hold half of the non-zeros.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edxdask.photons.block import PhotonBlock
from edxdask.photons.kernels.lanes import LANES
from edxdask.photons.kernels.split import (
    STRIP,
    TILE_PIXELS,
    add_dense_entries,
    add_strip_entries,
    count_entries,
    lay_strips,
    merge_dense,
    part_photons,
    sort_strips,
    unlay_strips,
)
from edxdask.photons.rebin import take_rows

# Measured on mantle maps, one thread, k = 3, single precision: an entry of a dense channel costs 0.4 ns an
# iteration, a photon 1.3; it takes 1 byte, a photon 3.
FULL_FILL = 0.3


@dataclass(frozen=True, slots=True)
class SplitBlock:
    """Counts of ``n`` pixels, some channels of them dense.

    Attributes
    ----------
    full : (h,) intp, the channels held dense, rising
    dense : (groups, h, 16), their counts; pixel ``i`` is lane ``i % 16`` of group ``i // 16``
    tiles : (tiles + 1,) int64; strips of the photons in other channels, of 256 pixels in a row each, are in
        groups ``tiles[t]`` to ``tiles[t + 1]``
    steps : (groups + 1,) int64; the photons of a group are in rows ``steps[g]`` to ``steps[g + 1]``
    owner : (groups, 16) uint8, pixel of the tile that each strip of a group belongs to
    channel, count : (steps, 16), the photons; strips rise, and end in counts of zero
    pixels : ``n``
    channels : length of the energy axis
    """

    full: np.ndarray
    dense: np.ndarray
    tiles: np.ndarray
    steps: np.ndarray
    owner: np.ndarray
    channel: np.ndarray
    count: np.ndarray
    pixels: int
    channels: int

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        arrays = (
            self.full, self.dense, self.tiles, self.steps, self.owner, self.channel, self.count
        )  # fmt: skip
        return sum(array.nbytes for array in arrays)

    @property
    def total(self) -> int:
        """Number of photons."""
        return sum(int(part.sum(dtype=np.int64)) for part in (self.count, self.dense))

    @property
    def nonzeros(self) -> int:
        """Number of counts that are not zero."""
        return sum(int(np.count_nonzero(part)) for part in (self.count, self.dense))


Block = PhotonBlock | SplitBlock


def choose(block: PhotonBlock) -> SplitBlock:
    """Split a block for sweeps: channels of which more than ``FULL_FILL`` is filled are held dense.

    Examples
    --------
    >>> from edxdask.photons import from_dense
    >>> counts = np.zeros((64, 8), dtype=np.uint16)
    >>> counts[:, 2] = counts[5, 7] = 1
    >>> block = choose(from_dense(counts))
    >>> block.full.tolist(), block.channel[:, 0].tolist(), block.owner[:, 0].tolist()
    ([2], [7], [5])
    """
    groups = -(-block.pixels // LANES)
    entries = np.zeros(block.channels, dtype=np.int64)
    count_entries(block.channel, entries)
    return hold_dense(block, np.flatnonzero(entries > FULL_FILL * LANES * groups))


def hold_dense(block: PhotonBlock, full: np.ndarray) -> SplitBlock:
    """Split ``block`` with the channels ``full``, which must rise, held dense."""
    place = np.full(block.channels, -1, dtype=np.int32)
    place[full] = np.arange(full.size)
    groups = -(-block.pixels // LANES)
    dense = np.zeros((groups, full.size, LANES), dtype=block.count.dtype)
    indptr = np.zeros_like(block.indptr)
    channel, count = np.empty_like(block.channel), np.empty_like(block.count)
    part_photons(block.indptr, block.channel, block.count, place, dense, indptr, channel, count)
    return SplitBlock(
        np.asarray(full, dtype=np.intp), dense, *_strips(indptr, channel, count), block.pixels, block.channels
    )


def _strips(
    indptr: np.ndarray, channel: np.ndarray, count: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Tiles, steps, owner, channel and count of the strips of some photons."""
    strips = -(-np.diff(indptr) // STRIP)
    each = np.add.reduceat(strips, np.arange(0, strips.size, TILE_PIXELS)) if strips.size else strips
    tiles = np.concatenate([[0], np.cumsum(-(-each // LANES))])
    owner, start, length = (np.zeros((tiles[-1], LANES), dtype=t) for t in (np.uint8, np.int64, np.uint8))
    sort_strips(indptr, tiles, owner.ravel(), start.ravel(), length.ravel())
    longest = length[:, 0]  # a group's first
    steps = np.concatenate([[0], np.cumsum(longest, dtype=np.int64)])
    shape = (steps[-1], LANES)
    side_by_side = np.empty(shape, dtype=channel.dtype), np.empty(shape, dtype=count.dtype)
    lay_strips(channel, count, start, length, steps, *side_by_side)
    return tiles, steps, owner, *side_by_side


def as_photons(block: Block, pixels: slice | None = None) -> PhotonBlock:
    """Photon block of either kind of block, or of a run of its pixels.

    Examples
    --------
    >>> from edxdask.photons import from_dense, to_dense
    >>> block = from_dense(np.array([[4, 0, 1], [1, 3, 0]], dtype=np.uint16))
    >>> to_dense(as_photons(hold_dense(block, np.array([0, 2])))).tolist()
    [[4, 0, 1], [1, 3, 0]]
    """
    start, stop, _ = (pixels or slice(None)).indices(block.pixels)
    if isinstance(block, PhotonBlock):
        return block if stop - start == block.pixels else take_rows(block, slice(start, stop))
    in_strips, entries = (np.zeros(stop - start, dtype=np.int64) for _ in range(2))
    if entries.size == 0:
        return PhotonBlock(np.zeros(1, np.int64), np.empty(0, np.uint16), block.count[:0, 0], block.channels)
    strips = (block.tiles, block.steps, block.owner)
    add_strip_entries(start, *strips, block.count, in_strips)
    add_dense_entries(start, block.dense, entries)
    indptr = np.concatenate([[0], np.cumsum(entries + in_strips)])
    channel, count = np.empty(indptr[-1], dtype=np.uint16), np.empty(indptr[-1], dtype=block.count.dtype)
    begin = indptr[:-1] + entries
    unlay_strips(start, *strips, block.channel, block.count, begin.copy(), channel, count)
    merge_dense(block.full, block.dense, start, indptr, begin, channel, count)
    return PhotonBlock(indptr, channel, count, block.channels)


def counts_of(block: Block) -> tuple[np.ndarray, ...]:
    """Flat arrays that hold every count of a block, and zeros."""
    return (block.count,) if isinstance(block, PhotonBlock) else (block.count.ravel(), block.dense.ravel())
