"""Short vectors: right sums at every width, and packed instructions where the machine has them."""

from __future__ import annotations

import platform
import re

import numpy as np
import pytest
from llvmlite import binding
from numba import njit

from edxdask.photons.kernels import factor
from edxdask.photons.kernels.vector import bit_count, dot4, load, lowest_bit, nonzero_mask, store

HAS_FMA = platform.machine() in ("x86_64", "AMD64") and binding.get_host_cpu_features().get("fma", False)


@njit
def dot_rows(like, table, index, vector, out):
    a = load(like, vector, 0)
    for j in range(0, index.size - 3, 4):
        dot4(table, index, j, a, out)


@pytest.mark.parametrize("lanes", [1, 2, 4, 8, 16])
def test_four_dot_products_at_a_time_equal_numpy(lanes):
    rng = np.random.default_rng(lanes)
    table, vector = rng.normal(size=(30, lanes)), rng.normal(size=(1, lanes))
    index = rng.integers(0, 30, 20).astype(np.uint16)
    out = np.empty(20)
    dot_rows((0,) * lanes, table, index, vector, out)
    np.testing.assert_allclose(out, table[index] @ vector[0], rtol=1e-12, atol=1e-12)


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
    gains = njit(error_model="numpy")(factor._gains.py_func)

    @njit(error_model="numpy")
    def one_pixel(like, index, ratio, spectra, out):
        store(out, 0, gains(like, 0, index.size // 4, index, ratio, spectra))

    spectra = np.ones((8, 4), dtype=dtype)
    out = np.empty((1, 4), dtype=dtype)
    one_pixel((0,) * 4, np.zeros(20, dtype=np.uint16), np.ones(20, dtype=dtype), spectra, out)
    np.testing.assert_array_equal(out, 20.0)
    (assembly,) = one_pixel.inspect_asm().values()
    assert len(re.findall(rf"vfmadd\d+{suffix}", assembly)) >= 4
    assert not re.findall(r"vfmadd\d+s[sd]", assembly)
