"""Short vectors: right sums at every width, and packed instructions where the machine has them."""

from __future__ import annotations

import platform
import re

import numpy as np
import pytest
from llvmlite import binding
from numba import njit

from edxdask.photons.kernels import factor
from edxdask.photons.kernels.strips import (
    find_places,
    keep_shapes,
    strip_count_gains,
    strip_counts,
    strip_ratio_gains,
    strip_ratio_gains_and_logs,
    strip_ratios,
    strip_spread,
)
from edxdask.photons.kernels.vector import bit_count, lowest_bit, nonzero_mask

HAS_FMA = platform.machine() in ("x86_64", "AMD64") and binding.get_host_cpu_features().get("fma", False)


@njit
def sixteen_strips(
    width, steps, owner, channel, place, count, table, tile, floor, weight, out, spread, log_sums, shapes
):  # fmt: skip
    gains, again, sums, curves = out
    apart = len(width)
    for n in range(steps[1]):
        find_places(channel, n, table.shape[1], place, n)
    strip_ratio_gains_and_logs(
        width, width, 0, steps, owner, place, place, count, table, table, tile, floor, gains, curves,
        log_sums, table, 0, 0,
    )  # fmt: skip
    strip_ratio_gains(
        width, (), 0, steps, owner, place, place, count, table, table, tile, floor, again, again, log_sums,
        shapes[0], 0, apart,
    )  # fmt: skip
    strip_count_gains(
        width, (), 0, steps, owner, place, place, count, table, table, tile, floor, sums, sums, log_sums,
        table, 0, 0,
    )  # fmt: skip
    keep_shapes(width, 0, steps, owner, place, table, shapes[1], 0, apart)
    strip_ratios(width, 0, steps, owner, count, table, tile, floor, weight, shapes[1], 0, apart)
    strip_spread(width, 0, steps, owner, place, weight, tile.astype(np.float64), spread)
    strip_counts(width, 0, steps, owner, count, table, tile, floor, weight, shapes[1], 0, apart)
    strip_spread(width, 0, steps, owner, place, weight, tile.astype(np.float64), spread)


@pytest.mark.parametrize("phases", [3, *(pytest.param(k, marks=pytest.mark.slow) for k in (1, 2, 4, 8, 12))])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_sixteen_strips_at_a_time_equal_numpy(phases, dtype):
    rng = np.random.default_rng(phases)
    columns = -(-phases // 4) * 4
    table, tile = np.zeros((30, columns), dtype), np.zeros((20, columns), dtype)
    table[:, :phases], tile[:, :phases] = rng.random((30, phases)), rng.random((20, phases))
    owner = rng.integers(0, 20, (1, 16)).astype(np.uint8)  # with pixels that have several strips
    channel = rng.integers(0, 30, (11, 16)).astype(np.uint16)  # with channels that come twice in one step
    count = rng.integers(0, 9, (11, 16)).astype(np.uint8)
    floor = np.dtype(dtype).type(0.3 * phases)
    out, shapes = np.zeros((4, 20, columns), dtype), np.zeros((2, 11, phases, 16), dtype)
    spread, log_sums = np.zeros((30, columns)), np.zeros((2, 16))
    sixteen_strips(
        (0,) * phases, np.array([0, 11]), owner, channel, np.zeros((64, 16), np.uint32), count, table, tile,
        floor, np.zeros((64, 16)), out, spread, log_sums, shapes.reshape(2, -1, 16),
    )  # fmt: skip
    close = {"rtol": 1e-5 if dtype == "f4" else 1e-12, "atol": 1e-30}
    fit = np.maximum(np.einsum("slk,lk->sl", table[channel], tile[owner[0]]), floor)
    ratio = count / fit
    np.testing.assert_array_equal(shapes, np.stack([np.moveaxis(table[channel][..., :phases], 1, 2)] * 2))
    for found, weights in zip(out, (ratio, ratio, count, ratio / fit), strict=True):
        expected = np.zeros((20, columns))
        np.add.at(expected, owner[0], np.einsum("sl,slk->lk", weights, table[channel]))
        np.testing.assert_allclose(found, expected, **close)
    both = np.zeros((30, columns))
    np.add.at(both, channel, (ratio + count)[..., None] * tile[owner[0]])
    np.testing.assert_allclose(spread, both, **close)
    logarithm = log_sums[0].sum() + np.log(2) * log_sums[1].sum()
    np.testing.assert_allclose(logarithm, np.sum(count * np.log(fit)), **close)


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
def test_phases_use_packed_multiply_adds_only(dtype, suffix):
    gains = njit(error_model="numpy")(factor._ratio_strips.py_func)
    spectra, tile = np.ones((8, 4), dtype=dtype), np.ones((16, 4), dtype=dtype)
    steps, owner = np.array([0, 5]), np.arange(16, dtype=np.uint8)[None]
    channel, count = np.zeros((5, 16), np.uint16), np.ones((5, 16), np.uint8)
    place, added = np.zeros((64, 16), np.uint32), np.zeros((16, 4), dtype=dtype)
    gains(
        (0,) * 3, (), False, (0, 1), steps, owner, channel, count, place, place, spectra, spectra,
        spectra.dtype.type(1e-7), tile, added, added, np.zeros((2, 16)), np.zeros((15, 16), dtype=dtype), 3,
    )  # fmt: skip
    np.testing.assert_allclose(added[:, :3], 5 / 3, rtol=1e-6)
    (assembly,) = gains.inspect_asm().values()
    assert len(re.findall(rf"vfmadd\d+{suffix}", assembly)) >= 3
    assert not re.findall(r"vfmadd\d+s[sd]", assembly)


@pytest.mark.skipif(not HAS_FMA, reason="looks for instructions of x86 processors with fused multiply-add")
def test_single_precision_divides_by_an_estimate_that_is_refined():
    """A division would take as long as all the rest."""
    ratios = njit(error_model="numpy")(factor._spread_ratio_strips.py_func)
    spectra, tile = np.ones((8, 4), dtype="f4"), np.ones((16, 4), dtype="f4")
    steps, owner = np.array([0, 5]), np.arange(16, dtype=np.uint8)[None]
    channel, count = np.zeros((5, 16), np.uint16), np.ones((5, 16), np.uint8)
    place, weight, wide, out = (
        np.zeros((64, 16), np.uint32),
        np.zeros((64, 16)),
        np.zeros((16, 4)),
        np.zeros((8, 4)),
    )
    ratios(
        (0,) * 3,
        (0, 1),
        steps,
        owner,
        channel,
        count,
        place,
        weight,
        spectra,
        np.float32(1e-7),
        tile,
        wide,
        out,
        np.zeros((15, 16), dtype="f4"),
        0,
    )
    np.testing.assert_allclose(weight[:5], 1 / 3, rtol=3e-7)
    (assembly,) = ratios.inspect_asm().values()
    assert "vrcp" in assembly
    assert "vdivps" not in assembly
