"""Blocks out of blocks against the same work on dense arrays."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edxdask.errors import ParameterError
from edxdask.photons import (
    bin_block,
    concat_blocks,
    for_sweeps,
    from_dense,
    pixel_totals,
    sum_spectrum,
    take_rows,
    to_dense,
)


def draw(pixels: int, channels: int, *, seed: int = 0, scale: int = 1, mean: float = 0.3) -> np.ndarray:
    return np.random.default_rng(seed).poisson(mean, size=(pixels, channels)).astype(np.uint32) * scale


def dense_bins(cube: np.ndarray, by: int, bx: int) -> np.ndarray:
    """Reshape-sum of a cube padded with zeros to whole bins."""
    rows, columns, channels = cube.shape
    padded = np.pad(cube, ((0, -rows % by), (0, -columns % bx), (0, 0)))
    tall, wide = padded.shape[0] // by, padded.shape[1] // bx
    return padded.reshape(tall, by, wide, bx, channels).sum(axis=(1, 3))


@settings(max_examples=40, deadline=None)
@given(
    rows=st.integers(1, 9),
    columns=st.integers(1, 9),
    by=st.integers(1, 5),
    bx=st.integers(1, 5),
    scale=st.sampled_from([1, 100, 30000]),
    seed=st.integers(0, 99),
)
def test_bins_equal_reshape_sum_with_ragged_edges(rows, columns, by, bx, scale, seed):
    cube = draw(rows * columns, 70, seed=seed, scale=scale).reshape(rows, columns, 70)
    found = bin_block(from_dense(cube), (rows, columns), (by, bx))
    np.testing.assert_array_equal(to_dense(found, np.int64), dense_bins(cube, by, bx).reshape(-1, 70))


def test_bands_of_whole_bins_give_the_bins_of_the_whole():
    cube = draw(11 * 7, 40).reshape(11, 7, 40)
    whole = bin_block(from_dense(cube), (11, 7), 3)
    bands = [
        bin_block(from_dense(cube[top:end]), (end - top, 7), 3) for top, end in ((0, 6), (6, 9), (9, 11))
    ]
    joined = concat_blocks(bands)
    for name in ("indptr", "channel", "count"):
        np.testing.assert_array_equal(getattr(joined, name), getattr(whole, name))


def test_the_highest_channel_is_binned():
    counts = np.zeros((4, 65536), dtype=np.uint8)
    counts[:, -1] = 200
    found = bin_block(from_dense(counts), (2, 2), 2)
    assert (found.channel.tolist(), found.count.tolist()) == ([65535], [800])


def test_sums_beyond_32_bits_are_refused_not_wrapped():
    counts = np.full((1, 2, 1), 2**31, dtype=np.uint32)
    with pytest.raises(ParameterError, match=str(2**32)):
        bin_block(from_dense(counts), (1, 2), 2)


@pytest.mark.parametrize(
    "pixels",
    [slice(3, 9), slice(None), slice(9, 3), slice(0, None, 2), np.array([5, 0, 5]), np.arange(12) % 3 == 0],
)
def test_taken_rows_are_those_of_the_dense_array(pixels):
    counts = draw(12, 33)
    np.testing.assert_array_equal(to_dense(take_rows(from_dense(counts), pixels)), counts[pixels])


@pytest.mark.parametrize("mean", [0.02, 0.1, 2.0])
@pytest.mark.parametrize("form", [from_dense, lambda counts: for_sweeps(from_dense(counts))])
def test_moments_equal_those_of_the_dense_array(mean, form):
    counts = draw(90, 40, mean=mean)
    counts[5] = 0
    block = form(counts)
    wide = counts.astype(np.int64)
    np.testing.assert_array_equal(sum_spectrum(block), wide.sum(axis=0))
    np.testing.assert_array_equal(pixel_totals(block), wide.sum(axis=1))


@pytest.mark.parametrize(
    "call",
    [
        lambda b: bin_block(b, (2, 3), 2),
        lambda b: bin_block(b, (2, 2), 0),
        lambda b: concat_blocks([]),
        lambda b: concat_blocks([b, from_dense(draw(4, 2))]),
    ],
)
def test_impossible_requests_are_refused(call):
    with pytest.raises(ParameterError):
        call(from_dense(draw(4, 5)))
