"""Short vectors: right sums at every width, and packed instructions where the machine has them."""

from __future__ import annotations

import platform
import re

import numpy as np
import pytest
from llvmlite import binding
from numba import njit

from edxdask.photons.kernels import factor
from edxdask.photons.kernels.four import count_spread4, ratio_gains4, ratio_spread4, weighted_gains4
from edxdask.photons.kernels.vector import bit_count, load, lowest_bit, nonzero_mask, store

HAS_FMA = platform.machine() in ("x86_64", "AMD64") and binding.get_host_cpu_features().get("fma", False)


@njit
def four_by_four(like, table, index, number, vector, floor, fit, gains, spread, sums):
    a = load(like, vector, 0)
    for j in range(0, index.size, 4):
        store(gains, j // 4, ratio_gains4(table, index, j, number, a, floor, fit, j))
        store(sums, j // 4, weighted_gains4(like, table, index, j, number, j))
        ratio_spread4(table, index, j, number, a, floor, spread)
        count_spread4(index, j, number, a, spread)


@pytest.mark.parametrize("lanes", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_four_photons_at_a_time_equal_numpy(lanes, dtype):
    rng = np.random.default_rng(lanes)
    table, vector = rng.random((30, lanes)).astype(dtype), rng.random((1, lanes)).astype(dtype)
    index = rng.integers(0, 30, 20).astype(np.uint16)  # with channels that come twice in one group
    number = rng.integers(0, 9, 20).astype(np.uint8)
    floor = np.dtype(dtype).type(0.3 * lanes)
    fit, gains, sums = np.empty(20, dtype), np.empty((5, lanes), dtype), np.empty((5, lanes), dtype)
    spread = np.zeros((30, lanes))
    four_by_four((0,) * lanes, table, index, number, vector, floor, fit, gains, spread, sums)
    close = {"rtol": 1e-5 if dtype == "f4" else 1e-12}
    expected = np.maximum(table[index] @ vector[0], floor)
    ratio = number / expected
    np.testing.assert_allclose(fit, expected, **close)
    np.testing.assert_allclose(gains, (ratio[:, None] * table[index]).reshape(5, 4, lanes).sum(1), **close)
    np.testing.assert_allclose(sums, (number[:, None] * table[index]).reshape(5, 4, lanes).sum(1), **close)
    both = np.zeros((30, lanes))
    np.add.at(both, index, (ratio + number)[:, None] * vector)
    np.testing.assert_allclose(spread, both, **close)


@njit
def masks(row):
    word = nonzero_mask(row, 0)
    return word, bit_count(word), lowest_bit(word)


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4"])
def test_masks_name_the_nonzeros(dtype):
    row = np.zeros(64, dtype=dtype)
    lanes = 64 // row.itemsize
    row[[3, 5, lanes - 1]] = np.iinfo(dtype).max
    assert masks(row) == ((1 << 3) | (1 << 5) | (1 << (lanes - 1)), 3, 3)


@pytest.mark.skipif(not HAS_FMA, reason="looks for instructions of x86 processors with fused multiply-add")
@pytest.mark.parametrize(("dtype", "suffix"), [("float32", "ps"), ("float64", "pd")])
def test_three_or_four_phases_use_packed_multiply_adds_only(dtype, suffix):
    gains = njit(error_model="numpy")(factor._count_gains.py_func)
    spectra = np.ones((8, 4), dtype=dtype)
    added = np.zeros((4, 4), dtype=dtype)
    index, number, owner = np.zeros(20, np.uint16), np.ones(20, np.uint8), np.zeros(5, np.uint8)
    gains(0, 20, index, number, owner, spectra, (0,) * 4, added)
    np.testing.assert_array_equal(added.sum(axis=0), 20.0)
    (assembly,) = gains.inspect_asm().values()
    assert len(re.findall(rf"vfmadd\d+{suffix}", assembly)) >= 3
    assert not re.findall(r"vfmadd\d+s[sd]", assembly)
