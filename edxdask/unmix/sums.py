"""Sum spectra of groups of pixels, and sums of weights over photons, in one pass over a map's partitions."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from edxdask.engine.partition import Partition
from edxdask.engine.problem import Problem
from edxdask.engine.step import State
from edxdask.photons import SweepBlock, grouped_spectra, project

NO_GROUP = -1  # label of pixels that are in no group


def sums_by_label(problem: Problem, label: np.ndarray, groups: int) -> np.ndarray:
    """Sum the spectra of all pixels with the same label: (groups, E) int64.

    Parameters
    ----------
    problem : Problem
        Photons of one map.
    label : ndarray of int
        Of each pixel, of any shape: from 0 to ``groups - 1``, or ``NO_GROUP``.
    groups : int
        Number of sums.
    """
    rows = np.where(label == NO_GROUP, groups, label).ravel().astype(np.int32)
    total = np.zeros((groups + 1, problem.channels), dtype=np.int64)
    for part in problem.executor.collect(_labelled_sums, rows, groups + 1):
        total += part
    return total[:groups]


def projected(problem: Problem, columns: np.ndarray) -> np.ndarray:
    """Sum the values of ``columns``, (k, E), over the photons of every pixel: (pixels, k)."""
    table = np.ascontiguousarray(np.asarray(columns, dtype=np.float64).T)
    return np.concatenate(list(problem.executor.collect(_projected, table)))


def _labelled_sums(partition: Partition, state: State, label: np.ndarray, groups: int) -> np.ndarray:
    out: np.ndarray | None = None
    for pixels, block in _numbered(partition):
        if out is None:
            out = np.zeros((groups, block.channels), dtype=np.int64)
        grouped_spectra(block, label[pixels].astype(np.int64), out)
    return np.zeros((groups, 0), dtype=np.int64) if out is None else out


def _projected(partition: Partition, state: State, table: np.ndarray) -> np.ndarray:
    return np.concatenate([project(block, table) for _, block in partition.blocks()])


def _numbered(partition: Partition) -> Iterator[tuple[slice, SweepBlock]]:
    """Yield ``(numbers of the pixels within the collection, photons)`` block by block."""
    for tile in partition.tiles:
        for where, block in tile.blocks():
            first = tile.plan.first_pixel + where.start - tile.start
            yield slice(first, first + block.pixels), block
