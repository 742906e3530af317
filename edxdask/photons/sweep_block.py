"""Blocks as sweeps use them: channels that most pixels have counts in dense, the others as photons.

A cube is nearly all zeros, but not evenly: its strong lines fill a few per cent of the channels nearly
everywhere, and hold half of the non-zeros.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edxdask.photons.block import PhotonBlock
from edxdask.photons.kernels.arrangement import arrange, count_entries, padded_pixels, photons_of
from edxdask.photons.kernels.contract import BlockArrays
from edxdask.photons.rebin import take_rows

# Measured on mantle maps, one thread, k = 3, single precision: an entry of a dense channel costs 0.4 ns per
# iteration, a photon 1.3; it takes 1 byte, a photon 3.
LEAST_DENSE_FILL = 0.3


@dataclass(frozen=True, slots=True)
class SweepBlock:
    """Counts of ``n`` pixels, some channels of them dense.

    Attributes
    ----------
    arrays : BlockArrays, as the kernels take them
    pixels : int, ``n``
    channels : int, length of the energy axis
    """

    arrays: BlockArrays
    pixels: int
    channels: int

    @property
    def dense_channels(self) -> np.ndarray:
        """Channels held dense, rising."""
        return self.arrays.dense_channels

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return sum(array.nbytes for array in self.arrays)

    @property
    def total(self) -> int:
        """Number of photons."""
        return sum(int(part.sum(dtype=np.int64)) for part in counts_of(self))

    @property
    def nonzeros(self) -> int:
        """Number of counts that are not zero."""
        return sum(int(np.count_nonzero(part)) for part in counts_of(self))


Block = PhotonBlock | SweepBlock


def for_sweeps(block: PhotonBlock) -> SweepBlock:
    """Arrange a block for sweeps: channels that more than ``LEAST_DENSE_FILL`` of it fill are held dense.

    Examples
    --------
    >>> from edxdask.photons import from_dense
    >>> counts = np.zeros((64, 8), dtype=np.uint16)
    >>> counts[:, 2] = counts[5, 7] = 1
    >>> block = for_sweeps(from_dense(counts))
    >>> block.dense_channels.tolist(), block.arrays.channel[:, 0].tolist(), block.arrays.owner[:, 0].tolist()
    ([2], [7], [5])
    """
    entries = np.zeros(block.channels, dtype=np.int64)
    count_entries(block.channel, entries)
    return hold_dense(block, np.flatnonzero(entries > LEAST_DENSE_FILL * padded_pixels(block.pixels)))


def hold_dense(block: PhotonBlock, dense_channels: np.ndarray) -> SweepBlock:
    """Arrange a block for sweeps, with ``dense_channels``, which must rise, held dense.

    Counts become uint8 or uint32: sweeps are compiled for these two.
    """
    narrow = block.count.dtype == np.uint8
    count = block.count if narrow else block.count.astype(np.uint32, copy=False)
    arrays = arrange(block.indptr, block.channel, count, block.channels, np.asarray(dense_channels, np.intp))
    return SweepBlock(arrays, block.pixels, block.channels)


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
    indptr, channel, count = photons_of(block.arrays, start, max(start, stop))
    return PhotonBlock(indptr, channel, count, block.channels)


def counts_of(block: Block) -> tuple[np.ndarray, ...]:
    """Flat arrays that hold every count of a block, and zeros."""
    if isinstance(block, PhotonBlock):
        return (block.count,)
    return block.arrays.counts.ravel(), block.arrays.dense.ravel()
