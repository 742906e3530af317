"""Kernels over dense blocks against plain NumPy."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from edxdask.photons.kernels.dense import group_sums, group_sums_folded, window_sums


@pytest.fixture(params=["u1", "u2", "u4", "u8"])
def flat(request):
    return np.random.default_rng(1).poisson(0.4, size=(30, 17)).astype(request.param)


def test_group_sums_add_the_rows_of_each_group_and_leave_the_others_out(flat):
    order = np.array([4, 9, 2, 29, 0, 7])
    starts = np.array([0, 3, 3, 6])
    out = np.zeros((3, 17), dtype=np.uint64)
    group_sums(flat, order, starts, out)
    expected = [flat[order[a:b]].sum(axis=0) for a, b in pairwise(starts)]
    np.testing.assert_array_equal(out, expected)


def test_group_sums_add_to_what_is_there():
    out = np.full((1, 2), 5, dtype=np.uint32)
    group_sums(np.array([[1, 2], [3, 4]], dtype=np.uint16), np.arange(2), np.array([0, 2]), out)
    assert out.tolist() == [[9, 11]]


def test_sums_hold_more_than_the_counts_type():
    flat = np.full((64, 3), 65535, dtype=np.uint16)
    out = np.zeros((1, 3), dtype=np.uint32)
    group_sums(flat, np.arange(64), np.array([0, 64]), out)
    assert out.tolist() == [[64 * 65535] * 3]


def test_folded_sums_join_channels_between_the_edges(flat):
    edges = np.array([0, 5, 6, 15])  # the last two channels are left out
    out = np.zeros((2, 3), dtype=np.uint64)
    group_sums_folded(flat, np.arange(30), np.array([0, 12, 30]), edges, np.zeros(17, np.uint64), out)
    groups = np.stack([flat[:12].sum(axis=0), flat[12:].sum(axis=0)])
    expected = np.stack([groups[:, a:b].sum(axis=1) for a, b in [(0, 5), (5, 6), (6, 15)]], axis=1)
    np.testing.assert_array_equal(out, expected)


def test_window_sums_take_channels_from_first_up_to_stop(flat):
    first, stop = np.array([0, 3, 16, 4]), np.array([17, 8, 17, 4])
    out = np.full((30, 4), 99, dtype=np.uint64)
    window_sums(flat, first, stop, out)
    expected = np.stack([flat[:, a:b].sum(axis=1) for a, b in zip(first, stop, strict=True)], axis=1)
    np.testing.assert_array_equal(out, expected)
