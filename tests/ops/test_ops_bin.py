"""Binning against sums over reshaped NumPy arrays."""

from __future__ import annotations

import dask
import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edxdask.errors import ParameterError, SchemaError
from edxdask.ops import bin_cube
from edxdask.ops._blocks import sum_dtype
from edxdask.schema import energy_axis

FIXTURES_ARE_FACTORIES = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def summed(values, dims, factors):
    """Oracle: trim, then sum over reshaped axes, one after the other."""
    for axis, dim in enumerate(dims):
        b = factors.get(dim, 1)
        n = values.shape[axis] // b
        values = values.take(range(n * b), axis=axis)
        values = values.reshape(*values.shape[:axis], n, b, *values.shape[axis + 1 :]).sum(axis=axis + 1)
    return values


def irregular(size):
    """Chunks of any sizes that add up to ``size``."""
    return st.sets(st.integers(1, size - 1), max_size=5).map(lambda c: tuple(np.diff([0, *sorted(c), size])))


@FIXTURES_ARE_FACTORIES
@given(
    chunks=st.tuples(irregular(11), irregular(9), irregular(24)),
    factors=st.fixed_dictionaries(
        {"y": st.integers(1, 11), "x": st.integers(1, 9), "energy": st.integers(1, 5)}
    ),
)
def test_bins_are_exact_on_any_chunks_and_factors(make_cube, chunks, factors):
    ds = make_cube(chunks=chunks)
    binned = bin_cube(ds, **factors).compute(scheduler="sync")
    np.testing.assert_array_equal(
        binned.counts, summed(ds.counts.values.astype(int), ds.counts.dims, factors)
    )
    expected = summed(ds.truth_total.values, ("y", "x"), factors)
    np.testing.assert_allclose(binned.truth_total, expected, rtol=1e-12)  # float64 sums of at most 99 numbers


@pytest.mark.parametrize(
    "dims", [("y", "x"), ("tilt", "y", "x"), ("frame", "y", "x"), ("y", "frame", "x"), ("x",)]
)
@pytest.mark.parametrize("chunks", [None, 4])
def test_a_single_factor_bins_y_and_x_only(make_cube, dims, chunks):
    ds = make_cube(dims, chunks=chunks)
    factors = {d: 3 for d in ("y", "x") if d in dims}
    expected = summed(ds.counts.values.astype(int), ds.counts.dims, factors)
    np.testing.assert_array_equal(bin_cube(ds, 3).counts, expected)


def test_each_variable_follows_its_rule(make_cube):
    ds = make_cube()
    out, dims = bin_cube(ds, y=2, x=3), ("y", "x")
    factors = {"y": 2, "x": 3}
    mean = summed(ds.truth_abundance.values, ("phase", *dims), factors) / 6
    np.testing.assert_allclose(out.truth_abundance, mean, rtol=1e-12)
    np.testing.assert_allclose(out.haadf, summed(ds.haadf.values.astype(float), dims, factors) / 6, rtol=1e-6)
    np.testing.assert_array_equal(out.valid, summed(ds.valid.values.astype(int), dims, factors) == 6)
    std = np.sqrt(summed(ds.abundance_std.values**2, ("phase", *dims), factors)) / 6
    np.testing.assert_allclose(out.abundance_std, std, rtol=1e-12)
    assert out.haadf.dtype == ds.haadf.dtype
    xr.testing.assert_identical(out.truth_spectrum, ds.truth_spectrum)


def test_spectra_follow_the_energy_axis(make_cube):
    ds = make_cube()
    out = bin_cube(ds, energy=4)
    np.testing.assert_allclose(out.truth_spectrum, ds.truth_spectrum.values.reshape(2, 6, 4).sum(axis=2))
    xr.testing.assert_identical(out.truth_total, ds.truth_total)


def test_coordinates_are_the_centres_of_the_bins(make_cube):
    ds = make_cube()
    out = bin_cube(ds, 4, energy=3)
    np.testing.assert_allclose(out.y, [4.0, 12.0])
    np.testing.assert_allclose(out.x, [4.0, 12.0])
    assert out.y.attrs == {"units": "nm"}
    np.testing.assert_allclose(out.energy, ds.energy.values.reshape(-1, 3).mean(axis=1), rtol=1e-12)
    offset, scale = energy_axis(out)
    assert (offset + np.arange(8) * scale == out.energy.values).all()


def test_trimming_is_said_in_the_history_and_time_per_pixel_stays_true(make_cube):
    ds = make_cube()
    out = bin_cube(ds, 4)
    assert out.attrs["history"] == ["made", "bin(y=4, x=4); left out at the end: y 3, x 1"]
    assert out.attrs["live_time_s"] / (8 * 8) == pytest.approx(60.0 / (11 * 9))
    assert out.attrs["beam_energy_kev"] == 200.0
    assert ds.attrs["history"] == ["made"]


def test_exact_refuses_what_is_left_over_and_names_the_ways_out(make_cube):
    with pytest.raises(ParameterError, match=r"y=4: expected a divisor of 11.*3 are left over.*trim.*pad"):
        bin_cube(make_cube(), 4, boundary="exact")
    assert bin_cube(make_cube(), y=11, x=3, boundary="exact").counts.shape == (1, 3, 24)


@pytest.mark.parametrize("chunks", [None, (3, 4, 24), (11, 9, 7)])
def test_pad_keeps_the_bin_that_is_not_full(make_cube, chunks):
    ds = make_cube(chunks=chunks)
    out = bin_cube(ds, 4, boundary="pad")
    padded = np.pad(ds.counts.values.astype(int), ((0, 1), (0, 3), (0, 0)))
    np.testing.assert_array_equal(out.counts, summed(padded, ds.counts.dims, {"y": 4, "x": 4}))
    np.testing.assert_allclose(out.y, [4.0, 12.0, 20.0])  # an even grid, though the last bin holds 3 rows
    np.testing.assert_allclose(out.haadf[2, 2], ds.haadf.values[8:, 8:].mean(), rtol=1e-6)


def test_no_photon_is_lost_when_16_bits_overflow(make_cube):
    ds = make_cube(chunks=(3, 4, 24))
    full = ds.assign(counts=(ds.counts.dims, np.full(ds.counts.shape, 65535, "u2")))
    out = bin_cube(full, 3)
    assert out.counts.dtype == np.uint32
    assert (out.counts == 9 * 65535).all()


@pytest.mark.parametrize(
    ("dtype", "terms", "expected"),
    [
        ("u1", 4, "u2"),
        ("u1", 1, "u1"),
        ("u2", 1, "u2"),
        ("u2", 2, "u4"),
        ("u2", 65538, "u8"),
        ("i4", 2, "u4"),
    ],
)
def test_the_sum_gets_the_smallest_type_that_cannot_overflow(dtype, terms, expected):
    assert sum_dtype(np.dtype(dtype), terms) == np.dtype(expected)


@pytest.mark.parametrize("dtype", ["u1", "i4", "u8", ">u2"])
def test_other_whole_numbers_bin_alike(make_cube, dtype):
    ds = make_cube(dtype=dtype)
    expected = summed(ds.counts.values.astype(int), ds.counts.dims, {"y": 2, "x": 2})
    np.testing.assert_array_equal(bin_cube(ds, 2).counts, expected)


def test_negative_counts_are_an_error_not_a_huge_number(make_cube):
    ds = make_cube(dtype="i4")
    ds["counts"][3, 3, 3] = -1
    with pytest.raises(SchemaError, match="counts hold -1"):
        bin_cube(ds, 2).compute()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"factor": 0}, "y=0: expected a whole number"),
        ({"factor": 2.0}, "y=2.0: expected a whole number"),
        ({"factor": 10}, "x=10: expected at most the size"),
        ({"z": 2}, "z=2: expected one of the cube's dimensions, y, x, energy"),
        ({}, "factor=None.*bin\\(4\\)"),
        ({"factor": 2, "boundary": "wrap"}, "boundary='wrap'"),
    ],
)
def test_wrong_factors_are_named(make_cube, options, message):
    with pytest.raises(ParameterError, match=message):
        bin_cube(make_cube(), **options)


def test_building_computes_nothing_and_each_chunk_is_read_once_in_one_task(make_cube, counted, no_compute):
    ds, read = counted(make_cube(), (4, 5, 24))
    out = bin_cube(ds, 3)
    assert not read
    (optimised,) = dask.optimize(out.counts.data)
    with dask.config.set(scheduler="sync"):
        optimised.compute()
    assert len(read) == len(set(read)) == 6


def test_chunks_that_are_all_trimmed_are_not_read(make_cube, counted):
    ds, read = counted(make_cube(), ((4, 4, 3), (9,), (24,)))
    bin_cube(ds, y=4).counts.compute(scheduler="sync")
    assert {place[0] for place in read} == {(0, 4), (4, 8)}


def test_dense_chunks_do_not_live_between_tasks(make_cube, counted):
    ds, _ = counted(make_cube(), (4, 5, 24))
    (optimised,) = dask.optimize(bin_cube(ds, 3).counts.data)
    reads = [k for k in optimised.__dask_graph__() if str(k).startswith("('load")]
    assert reads == []  # the read is inside the task that folds
