"""Abundances of all partitions in one array, and sums that do not need it."""

from __future__ import annotations

from itertools import chain

import numpy as np

from edxdask.engine.partition import Partition
from edxdask.engine.states import PixelStates
from edxdask.engine.step import State
from edxdask.factorize.iteration.sweep_step import ABUNDANCE

TINY = 1e-30  # abundances are single precision


def gather_abundance(states: PixelStates, order: np.ndarray | None = None) -> np.ndarray:
    """All abundances, ``(pixels of all maps, k)``, in the order of the pixels.

    ``order`` lists the phases in the required order; None leaves them as they are.
    """
    pieces = states.collect(abundances)
    first = next(pieces)
    out = np.empty((states.problem.pixels, first.shape[1]), first.dtype)
    at = 0
    for piece in chain([first], pieces):
        out[at : at + len(piece)] = piece if order is None else piece[:, order]
        at += len(piece)
    return out


def abundances(partition: Partition, state: State) -> np.ndarray:
    """State ``abundance`` of a partition."""
    return state[ABUNDANCE]


def phase_sizes(states: PixelStates) -> np.ndarray:
    """Sum of the abundances of each phase, (k,)."""
    return np.sum(list(states.collect(summed_abundance)), axis=0)


def summed_abundance(partition: Partition, state: State) -> np.ndarray:
    """Sum the abundances of a partition over its pixels."""
    return state[ABUNDANCE].sum(axis=0, dtype=np.float64)


def brightest_pixels(states: PixelStates) -> np.ndarray:
    """Largest abundance of each phase in one pixel, (k,)."""
    return np.max(list(states.collect(largest_abundance)), axis=0)


def largest_abundance(partition: Partition, state: State) -> np.ndarray:
    """Largest abundances of a partition's pixels."""
    return state[ABUNDANCE].max(axis=0, initial=0)


def largest_fractions(states: PixelStates) -> np.ndarray:
    """Largest fraction of each phase in the photons of one pixel, (k,)."""
    return np.max(list(states.collect(largest_fraction)), axis=0)


def largest_fraction(partition: Partition, state: State) -> np.ndarray:
    """Largest fractions of a partition's pixels."""
    abundance = state[ABUNDANCE]
    total = np.maximum(abundance.sum(axis=1, keepdims=True), TINY)
    return (abundance / total).max(axis=0, initial=0)
