"""Blocks from blocks: bins, sums, joins and cuts, all exact."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from edxdask.errors import ParameterError
from edxdask.photons.block import PhotonBlock, count_dtype
from edxdask.photons.kernels.photon_lists import bin_pixels, take_pixels


def bin_block(block: PhotonBlock, shape: tuple[int, int], factor: int | tuple[int, int]) -> PhotonBlock:
    """Sum ``(by, bx)`` bins of a block of ``(rows, columns)`` pixels in C order.

    Bins start at the first row and column. Bins at the far edges hold the remaining pixels, so that bands of
    rows with edges at multiples of ``by`` give exactly the bins of the whole.

    Examples
    --------
    >>> from edxdask.photons import from_dense, to_dense
    >>> block = from_dense(np.ones((2, 3, 1), dtype=np.uint16))
    >>> to_dense(bin_block(block, (2, 3), 2)).ravel().tolist()
    [4, 2]
    """
    rows, columns = shape
    by, bx = (factor, factor) if isinstance(factor, int | np.integer) else factor
    if rows * columns != block.pixels:
        raise ParameterError("shape", shape, f"rows × columns of a block of {block.pixels} pixels")
    if by < 1 or bx < 1:
        raise ParameterError("factor", factor, "bins of at least one pixel")

    def fill(indptr: np.ndarray, channel: np.ndarray, count: np.ndarray) -> None:
        bin_pixels(
            block.indptr, block.channel, block.count, block.channels, rows, columns, by, bx,
            indptr, channel, count,
        )  # fmt: skip

    return _built(-(-rows // by) * -(-columns // bx), block.count.size, block.total, block.channels, fill)


def concat_blocks(blocks: Sequence[PhotonBlock]) -> PhotonBlock:
    """Return the pixels of all blocks, one block after the other.

    Examples
    --------
    >>> from edxdask.photons import from_dense, to_dense
    >>> block = from_dense(np.array([[1, 0]], dtype=np.uint16))
    >>> to_dense(concat_blocks([block, block])).tolist()
    [[1, 0], [1, 0]]
    """
    if not blocks:
        raise ParameterError("blocks", blocks, "at least one block")
    channels = blocks[0].channels
    for block in blocks:
        if block.channels != channels:
            raise ParameterError("blocks", f"{block.channels} channels", f"{channels} channels in each")
    starts = np.cumsum([0, *(block.count.size for block in blocks)])
    indptr = np.concatenate(
        [[0], *(block.indptr[1:] + start for block, start in zip(blocks, starts[:-1], strict=True))]
    )
    return PhotonBlock(
        indptr.astype(np.int64, copy=False),
        np.concatenate([block.channel for block in blocks]),
        np.concatenate([block.count for block in blocks]),
        channels,
    )


def take_rows(block: PhotonBlock, pixels: slice | np.ndarray) -> PhotonBlock:
    """Return some pixels of a block: a slice of step one is a view, numbers or a mask a copy in that order.

    Examples
    --------
    >>> from edxdask.photons import from_dense, to_dense
    >>> block = from_dense(np.array([[1, 0], [2, 3], [0, 4]], dtype=np.uint16))
    >>> to_dense(take_rows(block, np.array([2, 0]))).tolist()
    [[0, 4], [1, 0]]
    """
    if isinstance(pixels, slice) and pixels.step in (None, 1):
        start, stop, _ = pixels.indices(block.pixels)
        indptr = block.indptr[start : max(start, stop) + 1]
        photons = slice(int(indptr[0]), int(indptr[-1]))
        return PhotonBlock(indptr - indptr[0], block.channel[photons], block.count[photons], block.channels)
    chosen = np.arange(block.pixels)[pixels]
    indptr = np.zeros(chosen.size + 1, dtype=np.int64)
    np.cumsum(np.diff(block.indptr)[chosen], out=indptr[1:])
    channel = np.empty(indptr[-1], dtype=np.uint16)
    count = np.empty(indptr[-1], dtype=block.count.dtype)
    take_pixels(block.indptr, block.channel, block.count, chosen, indptr, channel, count)
    return PhotonBlock(indptr, channel, count, block.channels)


Fill = Callable[[np.ndarray, np.ndarray, np.ndarray], None]


def _built(pixels: int, most: int, photons: int, channels: int, fill: Fill) -> PhotonBlock:
    """Block that ``fill`` writes into space for ``most`` entries, cut to what it used.

    Sums are made in 32 bits where the number of photons shows that none can overflow, else in 64.
    """
    indptr = np.zeros(pixels + 1, dtype=np.int64)
    channel = np.empty(most, dtype=np.uint16)
    count = np.empty(most, dtype=np.uint32 if photons <= 0xFFFFFFFF else np.uint64)
    fill(indptr, channel, count)
    size = int(indptr[-1])
    kept = count[:size]
    return PhotonBlock(
        indptr, channel[:size].copy(), kept.astype(count_dtype(int(kept.max(initial=0)))), channels
    )
