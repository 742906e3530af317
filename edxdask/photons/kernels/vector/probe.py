"""A test of the parts of the vector kernels, on the smallest arrays; it compiles in a second."""

import numpy as np

from edxdask.photons.kernels.arrangement import LANES
from edxdask.photons.kernels.jit import kernel
from edxdask.photons.kernels.vector.batches import fetch_rows, turn_all
from edxdask.photons.kernels.vector.extrapolation import extrapolate
from edxdask.photons.kernels.vector.nonzeros import count_nonzeros, fill_nonzeros


@kernel
def _turn_and_fetch(phases, rows, across):
    turn_all(phases, 1, rows, across)
    fetch_rows(across, 0, 1)


def probe():
    """Raise what the compiler raises, or an ``ArithmeticError`` where compiled code gives wrong numbers.

    Bits of masks, loads and stores, logarithms and quotients of vectors, transposed rows, and prefetches:
    the kinds of code that a compiler may lack. It uses the types that come first in a run, so that
    little is compiled for this alone.
    """
    indptr = np.zeros(2, np.int64)
    counts = np.array([[0, 3] * 20], np.uint16)
    count_nonzeros(counts, indptr)
    channel, count = np.zeros(20, np.uint16), np.zeros(20, np.uint8)
    if indptr[1] == 20:  # else it would write beyond the end
        fill_nonzeros(counts, indptr, channel, count)
    now, before = np.array([4, 1, 0], np.float32), np.array([1, 100, 0], np.float32)
    extrapolate(now, before, 0.5)
    rows, across = np.zeros((LANES, 4), np.float32), np.zeros((3, LANES), np.float32)
    rows[:, :3] = np.arange(3 * LANES).reshape(LANES, 3)
    _turn_and_fetch((0,) * 3, rows, across)
    masks = np.array_equal(channel, np.arange(1, 40, 2)) and np.all(count == 3)
    if not (masks and np.allclose(now, [8, 0.5, 0]) and np.array_equal(across, rows[:, :3].T)):
        raise ArithmeticError("compiled vectors give wrong numbers")
