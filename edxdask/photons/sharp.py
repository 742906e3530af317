"""Sharp voxels: counts in one channel that no detector can make, since its peaks are wider."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edxdask.photons.block import PhotonBlock, count_dtype
from edxdask.photons.kernels.sharp import find_sharp

FEW = 1024  # sharp entries that one search has room for


@dataclass(frozen=True, eq=False)
class PeakLimits:
    """How sharp a detector's peak can be at most, channel by channel.

    Attributes
    ----------
    most_share : (E,) largest fraction, of the counts in a channel and on one side of it, in the channel
    reach : (E,) channels of that side
    first : first channel that is judged
    """

    most_share: np.ndarray
    reach: np.ndarray
    first: int


@dataclass(frozen=True, eq=False)
class SharpVoxels:
    """Entries that are no photons of a sample: (n,) number of the pixel, channel and count of each."""

    pixel: np.ndarray
    channel: np.ndarray
    count: np.ndarray


def without_sharp(block: PhotonBlock, limits: PeakLimits) -> tuple[PhotonBlock, SharpVoxels]:
    """Block without its sharp voxels, and these; the same block where it has none.

    Examples
    --------
    >>> from edxdask.photons import from_dense
    >>> counts = np.zeros((2, 9), np.uint16)
    >>> counts[0, 2:6], counts[1, 4] = (20, 40, 40, 20), 90
    >>> limits = PeakLimits(np.full(9, 0.5), np.full(9, 3), 0)
    >>> kept, sharp = without_sharp(from_dense(counts), limits)
    >>> kept.total, sharp.pixel.tolist(), sharp.channel.tolist(), sharp.count.tolist()
    (120, [1], [4], [90])
    """
    places = np.empty(FEW, dtype=np.int64)
    found = _search(block, limits, places)
    if found > FEW:
        places = np.empty(found, dtype=np.int64)
        _search(block, limits, places)
    places = places[:found]
    pixel = np.searchsorted(block.indptr, places, side="right") - 1
    sharp = SharpVoxels(pixel, block.channel[places].astype(np.int64), block.count[places].astype(np.int64))
    if not found:
        return block, sharp
    kept = np.delete(block.count, places)
    gone = np.bincount(pixel, minlength=block.pixels)
    indptr = block.indptr - np.concatenate([[0], np.cumsum(gone)])
    narrow = kept.astype(count_dtype(int(kept.max(initial=0))), copy=False)
    return PhotonBlock(indptr, np.delete(block.channel, places), narrow, block.channels), sharp


def _search(block: PhotonBlock, limits: PeakLimits, out: np.ndarray) -> int:
    narrow = block.count.dtype == np.uint8  # the kernel is compiled for this type and for uint32
    count = block.count if narrow else block.count.astype(np.uint32, copy=False)
    shape = limits.most_share, limits.reach.astype(np.int64, copy=False)
    return int(find_sharp(block.indptr, block.channel, count, *shape, limits.first, out))
