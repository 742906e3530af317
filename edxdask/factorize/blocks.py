"""Blocks of either kind for kernels that walk photons only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from edxdask.engine.partition import Partition
from edxdask.engine.step import State
from edxdask.photons import Block, DenseBlock, PhotonBlock, from_dense, pixel_totals, take_rows, to_dense

ROWS = 1024  # dense pixels at once


def photon_pieces(block: Block) -> Iterator[tuple[slice, PhotonBlock]]:
    """Yield ``(rows, photons)``: a photon block whole, a dense one in pieces.

    Counts come as uint32, so that a kernel is compiled once and not once for each width of counts.

    Examples
    --------
    >>> dense = DenseBlock(np.ones((1500, 2), np.uint8))
    >>> [(rows.stop, piece.total) for rows, piece in photon_pieces(dense)]
    [(1024, 2048), (1500, 952)]
    """
    if isinstance(block, PhotonBlock):
        yield slice(0, block.pixels), _wide(block)
        return
    for rows in _row_groups(block):
        yield rows, _wide(from_dense(block.counts[rows]))


def _wide(block: PhotonBlock) -> PhotonBlock:
    return replace(block, count=block.count.astype(np.uint32, copy=False))


def dense_pieces(block: Block) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield ``(rows, counts as float64)`` of a block of either kind, piece by piece."""
    for rows in _row_groups(block):
        if isinstance(block, DenseBlock):
            yield rows, block.counts[rows].astype(np.float64)
        else:
            yield rows, to_dense(take_rows(block, rows), np.float64)


def _row_groups(block: Block) -> Iterator[slice]:
    for start in range(0, block.pixels, ROWS):
        yield slice(start, min(start + ROWS, block.pixels))


def pixel_counts(partition: Partition, state: State) -> np.ndarray:
    """Photons of every pixel of a partition."""
    total = np.zeros(partition.plan.pixels)
    for where, block in partition.blocks():
        total[where] = pixel_totals(block)
    return total
