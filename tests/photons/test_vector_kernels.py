"""Short vectors: right sums at every width, and packed instructions where the machine has them."""

from __future__ import annotations

import platform
import re

import numpy as np
import pytest
from llvmlite import binding
from numba import njit

from edxdask.photons import from_dense, hold_dense
from edxdask.photons.kernels import vector
from edxdask.photons.kernels.arrangement import STRIP
from edxdask.photons.kernels.contract import SweepOptions, UpdateRules
from edxdask.photons.kernels.vector import batches, scratch
from edxdask.photons.kernels.vector.registers import bit_count, lowest_bit, nonzero_mask
from edxdask.photons.kernels.vector.scratch import Model, Strips, Sums
from edxdask.photons.kernels.vector.strips import (
    find_places,
    keep_spectra,
    strip_count_gains,
    strip_counts,
    strip_ratio_gains,
    strip_ratio_gains_and_logs,
    strip_ratios,
    strip_spread,
)

HAS_FMA = platform.machine() in ("x86_64", "AMD64") and binding.get_host_cpu_features().get("fma", False)


@njit
def sixteen_strips(width, strips, again, model, sums, wide, spread):
    """Every kernel of one group; ``sums`` are those of ratios and curvatures, of ratios, and of counts."""
    rows = strips.group_starts[1]
    for n in range(rows):
        find_places(strips.channel, n, model.table.shape[1], strips.place, n)
        find_places(strips.channel, n, model.table.shape[1], strips.curve_place, n)
    strip_ratio_gains_and_logs(width, width, 0, strips, model, sums[0], 0, 0)
    strip_ratio_gains(width, (), 0, strips, model, sums[1], 0, len(width))
    strip_count_gains(width, (), 0, strips, model, sums[2], 0, 0)
    keep_spectra(width, 0, again, model, 0, len(width))
    strip_ratios(width, 0, again, model, 0, len(width))
    strip_spread(width, 0, again, wide, spread)
    strip_counts(width, 0, again, model, 0, 0)
    strip_spread(width, 0, again, wide, spread)


@pytest.mark.parametrize("phases", [1, 2, 3, 4, 8, 12])
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
    out, kept = np.zeros((4, 20, columns), dtype), np.zeros((2, 11, phases, 16), dtype)
    spread, log_sums = np.zeros((30, columns)), np.zeros((2, 16))
    place = np.zeros((64, 16), np.uint32)
    strips, again = (
        Strips(np.array([0, 11]), owner, channel, count, place, place.copy(), np.zeros((64, 16)), rows)
        for rows in kept.reshape(2, -1, 16)
    )
    again = again._replace(place=strips.place)
    sums = tuple(
        Sums(out[g], out[c], log)
        for g, c, log in ((0, 3, log_sums), (1, 1, 0 * log_sums), (2, 2, 0 * log_sums))
    )
    sixteen_strips(
        (0,) * phases, strips, again, Model(table, table, tile, floor), sums, tile.astype(float), spread
    )
    close = {"rtol": 1e-5 if dtype == "f4" else 1e-12, "atol": 1e-30}
    fit = np.maximum(np.einsum("slk,lk->sl", table[channel], tile[owner[0]]), floor)
    ratio = count / fit
    np.testing.assert_array_equal(kept, np.stack([np.moveaxis(table[channel][..., :phases], 1, 2)] * 2))
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


def one_group(dtype):
    """Five photons of each of sixteen pixels, all in channel 0, and a model of four columns."""
    spectra, amounts = np.ones((8, 4), dtype=dtype), np.ones((16, 4), dtype=dtype)
    place, rows = np.zeros((64, 16), np.uint32), np.zeros((15, 16), dtype=dtype)
    strips = Strips(
        np.array([0, 5]), np.arange(16, dtype=np.uint8)[None], np.zeros((5, 16), np.uint16),
        np.ones((5, 16), np.uint8), place, place, np.zeros((64, 16)), rows,
    )  # fmt: skip
    return strips, Model(spectra, spectra, amounts, spectra.dtype.type(1e-7))


def assembly_of(function, *arguments):
    """Instructions of a helper that is compiled alone."""
    alone = njit(error_model="numpy", _nrt=False)(function.py_func)
    alone(*arguments)
    (assembly,) = alone.inspect_asm().values()
    return assembly


@pytest.mark.skipif(not HAS_FMA, reason="looks for instructions of x86 processors with fused multiply-add")
@pytest.mark.parametrize(("dtype", "suffix"), [("float32", "ps"), ("float64", "pd")])
def test_phases_use_packed_multiply_adds_only(dtype, suffix):
    strips, model = one_group(dtype)
    gains = np.zeros((16, 4), dtype=dtype)
    sums = Sums(gains, gains, np.zeros((2, 16)))
    assembly = assembly_of(batches.ratio_strips, (0,) * 3, (), False, (0, 1), strips, model, sums, 3)
    np.testing.assert_allclose(gains[:, :3], 5 / 3, rtol=1e-6)
    assert len(re.findall(rf"vfmadd\d+{suffix}", assembly)) >= 3
    assert not re.findall(r"vfmadd\d+s[sd]", assembly)


@pytest.mark.skipif(not HAS_FMA, reason="looks for instructions of x86 processors with fused multiply-add")
def test_single_precision_divides_by_an_estimate_that_is_refined():
    """A division would take as long as all the rest."""
    strips, model = one_group("float32")
    wide, numerator = np.zeros((16, 4)), np.zeros((8, 4))
    assembly = assembly_of(batches.spread_ratio_strips, (0,) * 3, (0, 1), strips, model, wide, numerator, 0)
    np.testing.assert_allclose(strips.weight[:5], 1 / 3, rtol=3e-7)
    assert "vrcp" in assembly
    assert "vdivps" not in assembly


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_spectra_at_photons_are_the_same_kept_or_not(dtype, monkeypatch):
    """They are kept for the sums over pixels as far as a batch's fit near the processor."""
    rng = np.random.default_rng(5)
    counts = rng.poisson(0.1, (600, 400)).astype(np.uint16)
    counts[256:512] = rng.poisson(0.02, (256, 400))  # a batch that has room where others have none
    block = hold_dense(from_dense(counts), np.array([5, 17])).arrays
    spectra = rng.uniform(0.5, 1.5, (3, 400)).astype(dtype)
    start = rng.uniform(0.5, 1.5, (600, 3)).astype(dtype)
    results = []
    rules = UpdateRules(1 / spectra.sum(axis=1), np.zeros(3), np.zeros(3))
    for most in (scratch.KEPT_ROWS, 3 * STRIP * 4, 3 * STRIP):
        monkeypatch.setattr(scratch, "KEPT_ROWS", most)
        abundance = start.copy()
        options = SweepOptions(2, True, True, True)
        found = vector.likelihood_sweep(block, abundance, spectra, rules, 1e-7, options)
        results.append((found.numerator, abundance))
    rows = np.diff(block.group_starts[block.batch_starts])
    assert 3 * rows.max() <= 8192
    assert 3 * rows[1] <= 3 * STRIP * 4 < 3 * rows[0]
    assert min(rows) > STRIP
    for numerator, abundance in results[1:]:
        np.testing.assert_array_equal(numerator, results[0][0])
        np.testing.assert_array_equal(abundance, results[0][1])
