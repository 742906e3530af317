"""Photon blocks hold exactly the counts they were made from."""

from __future__ import annotations

import numpy as np
import pytest

from edxdask.errors import ParameterError
from edxdask.photons import from_dense, to_dense
from edxdask.photons.block import MAX_CHANNELS


def sparse_counts(pixels: int, channels: int, *, largest: int = 3, fill: float = 0.05, seed: int = 0):
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, largest, size=(pixels, channels), endpoint=True)
    return counts * (rng.random((pixels, channels)) < fill)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "int16", "int64", "float32", "float64"])
@pytest.mark.parametrize("channels", [1, 7, 15, 16, 31, 64, 65, 130])
def test_any_dtype_and_width_comes_back_as_it_was(dtype, channels):
    counts = sparse_counts(23, channels, fill=0.2).astype(dtype)
    block = from_dense(counts)
    pixel, channel = np.nonzero(counts)
    np.testing.assert_array_equal(block.channel, channel)
    np.testing.assert_array_equal(block.count, counts[pixel, channel])
    np.testing.assert_array_equal(np.diff(block.indptr), np.count_nonzero(counts, axis=1))
    np.testing.assert_array_equal(to_dense(block), counts)
    assert block.total == counts.sum()


@pytest.mark.parametrize(("largest", "dtype"), [(255, "u1"), (256, "u4"), (65536, "u4"), (2**32 - 1, "u4")])
def test_counts_take_the_narrowest_type_that_holds_them(largest, dtype):
    counts = np.array([[0, largest, 1]], dtype=np.int64)
    block = from_dense(counts)
    assert block.count.dtype == dtype
    np.testing.assert_array_equal(to_dense(block, np.int64), counts)


def test_pixels_are_the_leading_axes_in_c_order_whatever_the_memory_layout():
    counts = sparse_counts(24, 40).reshape(4, 6, 40).astype(np.uint16)
    flipped = np.asfortranarray(counts)
    np.testing.assert_array_equal(to_dense(from_dense(flipped)), counts.reshape(24, 40))
    np.testing.assert_array_equal(to_dense(from_dense(counts[:, ::2])), counts[:, ::2].reshape(12, 40))


def test_empty_pixels_and_no_pixels_work():
    assert from_dense(np.zeros((3, 50), dtype=np.uint16)).indptr.tolist() == [0, 0, 0, 0]
    assert from_dense(np.zeros((0, 50), dtype=np.uint16)).pixels == 0


def test_the_last_channel_of_the_widest_axis_is_kept():
    counts = np.zeros((1, MAX_CHANNELS), dtype=np.uint8)
    counts[0, -1] = 1
    assert from_dense(counts).channel.tolist() == [MAX_CHANNELS - 1]


@pytest.mark.parametrize(
    ("dense", "message"),
    [
        (np.array([[1, -1]]), "never negative"),
        (np.array([[1.0, 0.5]]), "whole numbers"),
        (np.array([[1.0, np.nan]]), "whole numbers"),
        (np.array([[1.0, np.inf]]), "at most"),
        (np.array([[2**32]]), "at most"),
        (np.array([[1j]]), "whole numbers"),
        (np.zeros((1, MAX_CHANNELS + 1), dtype=np.uint8), "channels"),
    ],
)
def test_what_is_no_count_is_refused(dense, message):
    with pytest.raises(ParameterError, match=message):
        from_dense(dense)


def test_a_dense_type_too_narrow_for_the_counts_is_refused():
    with pytest.raises(ParameterError, match="300"):
        to_dense(from_dense(np.array([[300]], dtype=np.uint16)), np.uint8)
