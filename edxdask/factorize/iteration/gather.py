"""Abundances of all partitions in one array."""

from __future__ import annotations

import numpy as np

from edxdask.engine.partition import Partition
from edxdask.engine.problem import Problem
from edxdask.engine.step import State
from edxdask.factorize.iteration.sweep_step import ABUNDANCE


def abundances(partition: Partition, state: State) -> np.ndarray:
    """State ``abundance`` of a partition."""
    return state[ABUNDANCE]


def gather_abundance(problem: Problem) -> np.ndarray:
    """All abundances, ``(pixels of all maps, k)``, in the order of the pixels."""
    pieces = problem.executor.collect(abundances)
    first = next(pieces)
    out = np.empty((problem.pixels, first.shape[1]), first.dtype)
    out[: len(first)] = first
    at = len(first)
    for piece in pieces:
        out[at : at + len(piece)] = piece
        at += len(piece)
    return out
