"""Cropping and frames against NumPy slices."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from edxdask.errors import ParameterError
from edxdask.ops import crop_cube, sum_frames
from edxdask.schema import energy_values


@pytest.mark.parametrize("chunks", [None, (3, 4, 7)])
def test_a_crop_keeps_the_centres_in_the_range_ends_included(make_cube, chunks):
    ds = make_cube(chunks=chunks)  # y = 1, 3, 5 … nm; energy = 0.1, 0.15 … keV
    out = crop_cube(ds, y=slice(3, 7), x=(None, 4.9), energy=(0.25, 0.6))
    np.testing.assert_array_equal(out.counts, ds.counts.values[1:4, 0:2, 3:11])
    np.testing.assert_array_equal(out.truth_abundance, ds.truth_abundance.values[:, 1:4, 0:2])
    np.testing.assert_array_equal(out.truth_spectrum, ds.truth_spectrum.values[:, 3:11])
    assert out.attrs["history"] == ["made", "crop(y=3…7, x=…4.9, energy=0.25…0.6)"]


def test_the_cropped_energy_axis_is_offset_plus_scale_times_channel(make_cube):
    energy = crop_cube(make_cube(), energy=(0.3, None)).energy
    np.testing.assert_array_equal(
        energy, energy_values(energy.attrs["offset"], energy.attrs["scale"], energy.size)
    )
    np.testing.assert_allclose(energy[0], 0.3)


def test_time_per_pixel_survives_a_crop(make_cube):
    out = crop_cube(make_cube(), y=(1, 3), x=(1, 5))
    assert out.attrs["live_time_s"] / 6 == pytest.approx(60 / 99)


def test_an_axis_out_of_order_is_cropped_by_value(make_cube):
    ds = make_cube(("tilt", "y", "x")).assign_coords(y=np.r_[5.0, 0.0, 9.0, np.arange(20.0, 28.0)])
    np.testing.assert_array_equal(crop_cube(ds, y=(4, 10)).counts, ds.counts.values[:, [0, 2]])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"y": slice(100, 200)}, r"y=slice\(100, 200, None\).*covers 1 to 21 nm"),
        ({"energy": (0.11, 0.12)}, "energy=.*covers 0.1 to 1.25 keV"),
        ({"y": slice(0, 9, 2)}, "bin it"),
        ({"z": (0, 1)}, "z=.*one of the cube's dimensions"),
        ({"y": 4}, r"y=4: expected slice\(lo, hi\)"),
        ({}, "Write crop"),
    ],
)
def test_wrong_ranges_are_named(make_cube, options, message):
    with pytest.raises(ParameterError, match=message):
        crop_cube(make_cube(), **options)


def test_cropping_computes_nothing_and_reads_only_what_it_keeps(make_cube, counted, no_compute):
    ds, read = counted(make_cube(), (4, 9, 24))
    out = crop_cube(ds, y=(1, 7))
    assert not read
    out.counts.data.compute(scheduler="sync")
    assert {place[0] for place in read} == {(0, 4)}


@pytest.mark.parametrize("chunks", [None, (1, 4, 4, 24), (2, 11, 9, 10)])
@pytest.mark.parametrize("dims", [("frame", "y", "x"), ("y", "frame", "x")])
def test_frames_are_summed_from_first_up_to_stop(make_cube, dims, chunks):
    ds = make_cube(dims, chunks=chunks)
    out = sum_frames(ds, 1, 4)
    axis = dims.index("frame")
    frames = ds.counts.values.astype(int).take([1, 2, 3], axis=axis)
    assert out.counts.dims == ("y", "x", "energy")
    np.testing.assert_array_equal(out.counts, frames.sum(axis=axis))
    total = ds.truth_total.values.take([1, 2, 3], axis=axis)
    np.testing.assert_allclose(out.truth_total, total.sum(axis=axis))
    np.testing.assert_allclose(
        out.haadf, ds.haadf.values.take([1, 2, 3], axis=axis).mean(axis=axis), rtol=1e-6
    )
    assert out.attrs["live_time_s"] == pytest.approx(36.0)
    assert "frame" not in out.coords


def test_all_frames_are_the_default(make_cube):
    ds = make_cube(("frame", "y", "x"))
    expected = ds.counts.values.astype(int).sum(axis=0)
    np.testing.assert_array_equal(sum_frames(ds).counts, expected)


def test_frames_outside_the_range_are_not_read(make_cube, counted, no_compute):
    ds, read = counted(make_cube(("frame", "y", "x")), (1, 11, 9, 24))
    out = sum_frames(ds, 1, 3)
    assert not read
    out.counts.data.compute(scheduler="sync")
    assert sorted(place[0] for place in read) == [(1, 2), (2, 3)]


@pytest.mark.parametrize("frames", [(3, 3), (0, 6), (-1, 2)])
def test_a_wrong_frame_range_is_named(make_cube, frames):
    with pytest.raises(ParameterError, match="first < stop within the 5 frames"):
        sum_frames(make_cube(("frame", "y", "x")), *frames)


def test_a_cube_without_frames_is_refused(make_cube):
    with pytest.raises(ParameterError, match="beside 'frame'"):
        sum_frames(make_cube())


def test_the_input_is_untouched(make_cube):
    ds = make_cube(("frame", "y", "x"))
    before = ds.copy(deep=True)
    crop_cube(ds, y=(1, 5), energy=(0.2, 0.5))
    sum_frames(ds, 0, 2)
    xr.testing.assert_identical(ds, before)
