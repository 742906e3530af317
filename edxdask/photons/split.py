"""Blocks as sweeps take them: channels that most pixels have counts in dense, the others as photons.

A cube is nearly all zeros, but not evenly: its strong lines fill a few per cent of the channels nearly
everywhere, and hold half of the non-zeros.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edxdask.photons.block import PhotonBlock
from edxdask.photons.kernels.full import LANES
from edxdask.photons.kernels.split import (
    GROUP,
    PAD,
    count_entries,
    join_photons,
    joined_lengths,
    part_photons,
)
from edxdask.photons.rebin import take_rows

# Measured on mantle maps, one thread, k = 3, single precision: an entry of a dense channel costs 0.7 ns an
# iteration, a photon 2.7.
FULL_FILL = 0.25


@dataclass(frozen=True, slots=True)
class SplitBlock:
    """Counts of ``n`` pixels, some channels of them dense.

    Attributes
    ----------
    full : (h,) intp, the channels held dense, rising
    dense : (groups, h, 16), their counts; pixel ``i`` is lane ``i % 16`` of group ``i // 16``
    indptr : (n + 1,) int64; entries ``indptr[i]`` to ``indptr[i + 1]`` are of pixel ``i``, multiples of four
    channel, count : of the photons in other channels as in a ``PhotonBlock``, but for zeros at a pixel's end
    owner : (entries / 4,) uint16, where the sweep of a tile adds up what each four of them give their pixel
    channels : length of the energy axis
    """

    full: np.ndarray
    dense: np.ndarray
    indptr: np.ndarray
    channel: np.ndarray
    count: np.ndarray
    owner: np.ndarray
    channels: int

    @property
    def pixels(self) -> int:
        """Number of pixels."""
        return self.indptr.size - 1

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        arrays = (self.full, self.dense, self.indptr, self.channel, self.count, self.owner)
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
    >>> block.full.tolist(), block.channel[:4].tolist(), block.count[:4].tolist()
    ([2], [7, 7, 7, 7], [1, 0, 0, 0])
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
    most = block.count.size + (GROUP - 1) * block.pixels
    channel, count = np.empty(most, dtype=np.uint16), np.empty(most, dtype=block.count.dtype)
    owner = np.empty(most // GROUP, dtype=np.uint16)
    part_photons(block.indptr, block.channel, block.count, place, dense, indptr, channel, count, owner)
    size = int(indptr[-1])
    padded = np.zeros(size + PAD, dtype=count.dtype)
    padded[:size] = count[:size]
    return SplitBlock(
        np.asarray(full, dtype=np.intp), dense, indptr, channel[:size].copy(), padded,
        owner[: size // GROUP].copy(), block.channels,
    )  # fmt: skip


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
    indptr = np.zeros(stop - start + 1, dtype=np.int64)
    joined_lengths(block.dense, start, block.indptr, block.count, indptr)
    channel, count = np.empty(indptr[-1], dtype=np.uint16), np.empty(indptr[-1], dtype=block.count.dtype)
    join_photons(
        block.full, block.dense, start, block.indptr, block.channel, block.count, indptr, channel, count
    )
    return PhotonBlock(indptr, channel, count, block.channels)


def counts_of(block: Block) -> tuple[np.ndarray, ...]:
    """Flat arrays that hold every count of a block, and zeros."""
    return (block.count,) if isinstance(block, PhotonBlock) else (block.count, block.dense.reshape(-1))
