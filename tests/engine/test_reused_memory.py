"""Memory that is used again: copies are copies, and no array that is still seen is written over."""

import gc
import pickle

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from edxdask.engine import reused_memory
from edxdask.engine.reused_memory import LEAST_BYTES, MOST_SPARE, copied

ROWS = LEAST_BYTES // 8


def test_memory_is_used_again_once_the_last_view_is_gone():
    first = copied(np.arange(ROWS, dtype=np.float64))
    place, view = first.ctypes.data, first[5:7]
    del first
    gc.collect()
    other = copied(np.zeros(ROWS))
    assert other.ctypes.data != place
    assert view.tolist() == [5.0, 6.0]
    del view
    gc.collect()
    assert copied(np.zeros(ROWS)).ctypes.data == place


def test_a_copy_is_an_array_like_any_other():
    before = np.arange(3 * ROWS, dtype=np.float32).reshape(3, -1)[:, ::2]
    after = copied(before)
    assert after.flags.writeable
    assert after.flags.c_contiguous
    assert after.dtype == before.dtype
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(after)), before)
    after[:] = -1
    assert before.min() == 0


@settings(deadline=None)  # megabytes are copied, on machines that do other things as well
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 2)), max_size=40))
def test_living_copies_keep_their_numbers_and_few_pieces_are_spare(steps):
    held: dict[int, tuple[np.ndarray, int]] = {}
    for i, (slot, size) in enumerate(steps):
        held[slot] = (copied(np.full(ROWS * (1 + size), i, dtype=np.int64)), i)
        for array, number in held.values():
            assert array[0] == number == array[-1]
        assert len(reused_memory._spare) <= MOST_SPARE
