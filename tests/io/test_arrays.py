from __future__ import annotations

import dask.array as da
import numpy as np
import pytest

from edxdask.errors import ParameterError
from edxdask.io import from_array

AXIS = {"energy_offset": -0.1, "energy_scale": 0.01}


@pytest.mark.parametrize(
    ("shape", "dims"),
    [
        ((3, 4), ("x", "energy")),
        ((2, 3, 4), ("y", "x", "energy")),
        ((5, 2, 3, 4), ("tilt", "y", "x", "energy")),
    ],
)
def test_dimensions_are_named_from_the_last_backwards(shape, dims):
    ds = from_array(np.ones(shape, np.uint8), **AXIS)
    assert ds.counts.dims == dims
    assert (ds.energy.values == -0.1 + np.arange(4) * 0.01).all()


def test_pixels_are_in_nm_with_a_size_and_in_px_without():
    known = from_array(np.ones((2, 3, 4), int), **AXIS, pixel_size=(4.0, 2.5))
    assert known.y.values.tolist() == [0.0, 4.0]
    assert known.x.values.tolist() == [0.0, 2.5, 5.0]
    assert known.x.attrs["units"] == "nm"
    unknown = from_array(np.ones((2, 3, 4), int), **AXIS)
    assert unknown.x.values.tolist() == [0.0, 1.0, 2.0]
    assert unknown.x.attrs["units"] == "px"


def test_whole_floats_become_integers_of_the_smallest_width_that_holds_them():
    assert from_array(np.full((1, 2, 3), 7.0), **AXIS).counts.dtype == np.uint16
    large = from_array(np.full((1, 2, 3), 70000.0), **AXIS)
    assert large.counts.dtype == np.uint32
    assert int(large.counts.max()) == 70000


@pytest.mark.parametrize(
    ("value", "text"),
    [(-1.0, "0 to 4294967295"), (np.nan, "no NaN"), (0.5, "whole numbers"), (2.0**33, "0 to 4294967295")],
)
def test_what_is_no_count_is_refused(value, text):
    with pytest.raises(ParameterError, match=text):
        from_array(np.full((1, 2, 3), value), **AXIS)


def test_negative_and_huge_integers_are_refused():
    with pytest.raises(ParameterError, match="-3 to -3"):
        from_array(np.full((1, 2, 3), -3), **AXIS)
    with pytest.raises(ParameterError, match="at most 4294967295"):
        from_array(np.full((1, 2, 3), 2**40, np.uint64), **AXIS)
    with pytest.raises(ParameterError, match="whole numbers"):
        from_array(np.full((1, 2, 3), True), **AXIS)


def test_a_dask_array_stays_lazy_and_must_be_of_integers():
    lazy = da.zeros((4, 4, 8), chunks=2, dtype="u2")
    assert from_array(lazy, **AXIS).counts.data is lazy
    with pytest.raises(ParameterError, match=r"counts.astype\('uint16'\)"):
        from_array(lazy.astype(float), **AXIS)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"beam_energy": 200e3}, "in keV"),
        ({"beam_energy": -1.0}, "above 0"),
        ({"energy_scale": 10.0}, "Divide eV by 1000"),
        ({"energy_scale": 0.0}, "above 0"),
        ({"energy_offset": np.nan}, "finite"),
        ({"pixel_size": 0.0}, "nm above 0"),
        ({"attrs": {"beam_energy": 200}}, "beam_energy_kev"),
    ],
)
def test_units_that_cannot_be_meant_are_refused(options, text):
    with pytest.raises(ParameterError, match=text):
        from_array(np.ones((1, 2, 3), int), **{**AXIS, **options})


@pytest.mark.parametrize("shape", [(4,), (1, 1, 1, 1, 4), (0, 3, 4)])
def test_shapes_that_are_no_cube_are_refused(shape):
    with pytest.raises(ParameterError, match="2 to 4 dimensions"):
        from_array(np.ones(shape, int), **AXIS)
