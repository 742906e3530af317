"""Spectra and maps against NumPy on the dense array."""

from __future__ import annotations

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edxdask.errors import ParameterError
from edxdask.ops import line_map, maximum_pixel_spectrum, sum_spectrum, total_map, valid_mask, window_map
from edxdask.physics.lines import line_centroid
from edxdask.schema import energy_coordinate

DIMS = [("y", "x"), ("tilt", "y", "x"), ("frame", "y", "x"), ("x",)]


def irregular(size):
    return st.sets(st.integers(1, size - 1), max_size=5).map(lambda c: tuple(np.diff([0, *sorted(c), size])))


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    chunks=st.tuples(irregular(11), irregular(9), irregular(24)),
    low=st.integers(0, 20),
    width=st.integers(1, 4),
)
def test_spectra_and_maps_are_the_same_on_any_chunks(make_cube, chunks, low, width):
    ds = make_cube(chunks=chunks)
    dense = ds.counts.values.astype(int)
    window = 0.1 + 0.05 * (low - 0.5), 0.1 + 0.05 * (low + width - 0.5)
    mask = ds.valid.values
    made = dask.compute(
        sum_spectrum(ds),
        sum_spectrum(ds, mask=mask),
        total_map(ds),
        window_map(ds, *window),
        maximum_pixel_spectrum(ds),
        scheduler="sync",
    )
    oracle = (
        dense.sum(axis=(0, 1)),
        dense[mask].sum(axis=0),
        dense.sum(axis=2),
        dense[..., low : low + width].sum(axis=2),
        dense.max(axis=(0, 1)),
    )
    for ours, expected in zip(made, oracle, strict=True):
        np.testing.assert_array_equal(ours, expected)


@pytest.mark.parametrize("dims", DIMS)
@pytest.mark.parametrize("chunks", [None, 3])
def test_every_arrangement_of_pixels_works(make_cube, dims, chunks):
    ds = make_cube(dims, chunks=chunks)
    pixels = tuple(range(len(dims)))
    np.testing.assert_array_equal(sum_spectrum(ds), ds.counts.values.sum(axis=pixels, dtype=int))
    np.testing.assert_array_equal(maximum_pixel_spectrum(ds), ds.counts.values.max(axis=pixels))
    total = total_map(ds)
    np.testing.assert_array_equal(total, ds.counts.values.sum(axis=-1, dtype=int))
    assert total.dims == dims
    np.testing.assert_array_equal(valid_mask(ds, min_counts=15), total.values >= 15)


def test_the_sum_spectrum_is_named_typed_and_remembers(make_cube):
    ds = make_cube()
    out = sum_spectrum(ds)
    assert (out.name, out.dtype, out.dims) == ("sum_spectrum", np.uint64, ("energy",))
    assert out.attrs["history"] == ["made", "sum_spectrum()"]
    assert out.attrs["units"] == "counts"
    assert out.attrs["beam_energy_kev"] == 200.0
    xr.testing.assert_identical(out.energy, ds.energy)


def test_the_largest_counts_of_a_large_block_do_not_overflow():
    full = np.full((300, 300, 2), 65535, dtype="u2")
    ds = xr.Dataset({"counts": (("y", "x", "energy"), full)}, {"energy": [0.0, 0.1]})
    assert sum_spectrum(ds).values.tolist() == [65535 * 90000] * 2
    assert (window_map(ds, 0.0, 0.15) == 2 * 65535).all()


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("chunks", [None, (1, 4, 4, 10)])
def test_a_mask_may_be_lazy_in_other_chunks_or_over_some_dimensions(make_cube, lazy, chunks):
    ds = make_cube(("frame", "y", "x"), chunks=chunks)
    rng = np.random.default_rng(5)
    whole, flat = rng.random((5, 11, 9)) > 0.7, rng.random((11, 9)) > 0.7
    dense = ds.counts.values.astype(int)
    wrap = (lambda a: da.from_array(a, chunks=3)) if lazy else (lambda a: a)
    np.testing.assert_array_equal(sum_spectrum(ds, mask=wrap(whole)), dense[whole].sum(axis=0))
    np.testing.assert_array_equal(sum_spectrum(ds, mask=wrap(flat)), dense[:, flat].sum(axis=(0, 1)))
    named = xr.DataArray(wrap(flat.T.copy()), dims=("x", "y"))
    np.testing.assert_array_equal(sum_spectrum(ds, mask=named), dense[:, flat].sum(axis=(0, 1)))
    by_frame = xr.DataArray(wrap(np.array([True, False, True, False, False])), dims="frame")
    np.testing.assert_array_equal(sum_spectrum(ds, mask=by_frame), dense[[0, 2]].sum(axis=(0, 1, 2)))


def test_a_mask_of_nothing_gives_zeros(make_cube):
    ds = make_cube(chunks=(4, 4, 24))
    assert not sum_spectrum(ds, mask=np.zeros((11, 9), bool)).values.any()


def test_chunks_that_no_mask_and_no_window_touches_are_not_read(make_cube, counted):
    ds, read = counted(make_cube(), (4, 3, 8))
    mask = np.zeros((11, 9), bool)
    mask[5, 1] = mask[6, 4] = True
    sum_spectrum(ds, mask=mask).compute(scheduler="sync")
    assert {place[:2] for place in read} == {((4, 8), (0, 3)), ((4, 8), (3, 6))}
    read.clear()
    window_map(ds, 0.55, 0.75).compute(scheduler="sync")  # channels 9 to 12
    assert {place[2] for place in read} == {(8, 16)}


def test_building_computes_nothing_and_reads_once(make_cube, counted, no_compute):
    ds, read = counted(make_cube(), (4, 5, 24))
    made = [
        sum_spectrum(ds),
        sum_spectrum(ds, mask=valid_mask(ds)),
        maximum_pixel_spectrum(ds),
        total_map(ds),
        window_map(ds, 0.5, 0.7, background=[(0.2, 0.4), (0.8, 1.0)]),
    ]
    assert not read
    for out in made[:1] + made[2:]:
        read.clear()
        out.data.compute(scheduler="sync")
        assert len(read) == len(set(read)) == 6


def test_read_and_reduction_are_one_task(make_cube, counted):
    ds, _ = counted(make_cube(), (4, 3, 24))
    for out in (sum_spectrum(ds), total_map(ds), window_map(ds, 0.5, 0.7), maximum_pixel_spectrum(ds)):
        (optimised,) = dask.optimize(out.data)
        assert not [k for k in optimised.__dask_graph__() if str(k).startswith("('load")]


def test_a_window_holds_the_channels_whose_centres_lie_in_it(make_cube):
    ds = make_cube()  # centres 0.1, 0.15, 0.2 …
    out = window_map(ds, 0.2, 0.3)
    np.testing.assert_array_equal(out, ds.counts.values[..., 2:4].sum(axis=-1))
    assert out.dtype.kind == "u"
    assert out.attrs["window_kev"] == [0.2, 0.3]


def test_a_straight_background_leaves_exactly_the_peak():
    energy = energy_coordinate(0.0, 0.01, 400)
    slope = 2 * np.arange(400)
    peak = np.zeros(400, int)
    peak[120:131] = [1, 3, 9, 20, 40, 50, 40, 20, 9, 3, 1]
    ds = xr.Dataset(
        {"counts": (("y", "energy"), np.stack([slope, slope + peak]).astype("u4"))}, {"energy": energy}
    )
    # windows of different widths and distances: only a true interpolation gets 0
    out = window_map(ds, 1.195, 1.305, background=[(0.9, 1.0), (1.4, 1.43)])
    np.testing.assert_allclose(out, [0, peak.sum()], atol=1e-9)  # float64 round-off of sums near 3000


@pytest.mark.parametrize(
    ("window", "background"),
    [
        ((0.51, 0.54), None),
        ((0.0, 0.05), None),
        ((0.5, 2.0), None),
        ((0.7, 0.5), None),
        ((0.5, 0.7), [(0.2, 0.4)]),
        ((0.5, 0.7), [(0.2, 0.4), (0.3, 0.5)]),
        ((0.5, 0.7), [(0.2, 0.4), (0.6, 0.9)]),
        ((0.5, 0.7), [(0.2, 0.4), (0.9, 3.0)]),
    ],
)
def test_wrong_windows_are_refused(make_cube, window, background):
    with pytest.raises(ParameterError, match="keV"):
        window_map(make_cube(), *window, background=background)


@pytest.fixture
def lines_cube():
    """Two pixels, with Mg and Si and without, noiseless Gaussians of 130 eV at Mn Ka on a slope."""
    energy = energy_coordinate(-0.2, 0.005, 800)
    centres = {name: line_centroid(name) for name in ("Mg_Ka", "Si_Ka")}
    e = energy.values
    slope = 4000 - 800 * e
    peaks = {}
    for name, centre in centres.items():
        sigma = np.sqrt((0.130**2 - 2.3548**2 * 0.115 * 3.65e-3 * (5.8988 - centre)) / 2.3548**2)
        peaks[name] = 1e6 * 0.005 / (sigma * np.sqrt(2 * np.pi)) * np.exp(-0.5 * ((e - centre) / sigma) ** 2)
    counts = np.stack([slope, slope + peaks["Mg_Ka"] + peaks["Si_Ka"]])
    return xr.Dataset(
        {"counts": (("y", "energy"), np.rint(counts).astype("u4"))},
        {"energy": energy},
        {"fwhm_mn_ka_ev": 130.0},
    )


def test_a_line_map_finds_the_share_of_the_peak_that_its_window_holds(lines_cube):
    out = line_map(lines_cube, "Mg_Ka")
    # erf(1.2 * 1.17741 / √2) = 0.8423 of a Gaussian; one channel at each end is 2.5 % of it
    np.testing.assert_allclose(out[1], 0.8423e6, rtol=0.03)
    np.testing.assert_allclose(out[0], 0, atol=30)
    assert out.name == "Mg_Ka"
    assert out.line == "Mg_Ka"


def test_several_lines_stand_along_line_and_cost_one_read(lines_cube):
    out = line_map(lines_cube, ["Mg_Ka", "Si_Ka"], width=0.1)
    assert out.dims == ("line", "y")
    for name in ("Mg_Ka", "Si_Ka"):
        np.testing.assert_array_equal(out.sel(line=name), line_map(lines_cube, name, width=0.1))


def test_a_line_map_without_background_is_whole_counts(lines_cube):
    out = line_map(lines_cube, "Si_Ka", width=0.1, background=False)
    centre = line_centroid("Si_Ka")
    inside = abs(lines_cube.energy.values - centre) <= 0.05
    assert out.dtype.kind == "u"
    np.testing.assert_array_equal(out, lines_cube.counts.values[:, inside].sum(axis=1))


@pytest.mark.parametrize(("line", "width"), [("Fe_Ka", None), ("Mg_Ka", -1.0), ("Qq_Ka", None)])
def test_a_line_off_the_axis_or_unknown_is_named(lines_cube, line, width):
    with pytest.raises(ParameterError):
        line_map(lines_cube, line, width=width)
