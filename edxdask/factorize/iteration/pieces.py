"""Split blocks for kernels that walk photons, or dense counts, only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from edxdask.engine.partition import Partition
from edxdask.engine.step import State
from edxdask.photons import Block, PhotonBlock, as_photons, pixel_totals, to_dense

ROWS = 1024  # pixels at once


def photon_pieces(block: Block) -> Iterator[tuple[slice, PhotonBlock]]:
    """Yield ``(rows, photons)`` of a block, piece by piece.

    Counts come as uint32, so that a kernel is compiled once and not once for each width of counts.

    Examples
    --------
    >>> from edxdask.photons import for_sweeps, from_dense
    >>> block = for_sweeps(from_dense(np.ones((1500, 2), np.uint8)))
    >>> [(rows.stop, piece.total) for rows, piece in photon_pieces(block)]
    [(1024, 2048), (1500, 952)]
    """
    for rows in _row_groups(block):
        piece = as_photons(block, rows)
        yield rows, replace(piece, count=piece.count.astype(np.uint32, copy=False))


def dense_pieces(block: Block) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield ``(rows, counts as float64)`` of a block, piece by piece."""
    for rows in _row_groups(block):
        yield rows, to_dense(as_photons(block, rows), np.float64)


def _row_groups(block: Block) -> Iterator[slice]:
    for start in range(0, block.pixels, ROWS):
        yield slice(start, min(start + ROWS, block.pixels))


def pixel_counts(partition: Partition, state: State) -> np.ndarray:
    """Photons of every pixel of a partition."""
    total = np.zeros(partition.plan.pixels)
    for where, block in partition.blocks():
        total[where] = pixel_totals(block)
    return total
