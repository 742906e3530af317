"""Sums of weights over the photons of every pixel, in one pass over a map's partitions."""

from __future__ import annotations

import numpy as np

from edxdask.engine.partition import Partition
from edxdask.engine.problem import Problem
from edxdask.engine.step import State
from edxdask.photons import project


def projected(problem: Problem, columns: np.ndarray) -> np.ndarray:
    """Sum the values of ``columns``, (k, E), over the photons of every pixel: (pixels, k)."""
    table = np.ascontiguousarray(np.asarray(columns, dtype=np.float64).T)
    return np.concatenate(list(problem.executor.collect(_projected, table)))


def _projected(partition: Partition, state: State, table: np.ndarray) -> np.ndarray:
    return np.concatenate([project(block, table) for _, block in partition.blocks()])
