"""Masks against geometry that can be counted by hand, and matplotlib's own point-in-polygon."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import xarray as xr
from matplotlib.path import Path

from edxdask.errors import ParameterError, SchemaError
from edxdask.ops import Ellipse, Polygon, Rectangle, combine_masks, sum_spectrum
from edxdask.ops.masks import as_mask


def test_a_rectangle_holds_centres_within_its_ends(make_cube):
    mask = Rectangle(y=(3, 7), x=(1, 4)).mask(make_cube())  # centres 1, 3, 5 … nm
    expected = np.zeros((11, 9), bool)
    expected[1:4, 0:2] = True
    np.testing.assert_array_equal(mask, expected)


@pytest.mark.parametrize(
    "vertices",
    [
        [(0, 0), (14.2, 3.3), (6.1, 17.7)],
        [(2, 2), (20, 2.5), (20.3, 15), (10.2, 6.1), (1.7, 14.8)],
        [(0.5, 0.5), (0.5, 16.5), (20.5, 0.5), (20.5, 16.5)],  # crosses itself
    ],
)
def test_a_polygon_agrees_with_matplotlib(make_cube, vertices):
    ds = make_cube()
    y, x = np.meshgrid(ds.y, ds.x, indexing="ij")
    inside = Path(vertices).contains_points(np.stack([y.ravel(), x.ravel()], axis=1)).reshape(y.shape)
    assert 0 < inside.sum() < inside.size
    np.testing.assert_array_equal(Polygon(vertices).mask(ds), inside)


def test_an_ellipse_is_its_equation(make_cube):
    mask = Ellipse(centre=(11, 9), radii=(4, 2)).mask(make_cube())
    assert int(mask.sum()) == 7  # five centres along y (7 … 15 nm), three along x (7 … 11), one counted twice
    assert mask.sel(y=7, x=9)
    assert not mask.sel(y=9, x=7)


def test_a_region_serves_as_mask_of_a_sum(make_cube):
    ds = make_cube(("frame", "y", "x"), chunks=4)
    out = sum_spectrum(ds, mask=Rectangle(y=(3, 7), x=(1, 4)))
    np.testing.assert_array_equal(out, ds.counts.values[:, 1:4, 0:2].sum(axis=(0, 1, 2), dtype=int))


def test_masks_combine(make_cube):
    ds = make_cube()
    a, b = Rectangle(y=(1, 9), x=(1, 9)), Rectangle(y=(5, 21), x=(5, 17))
    left, right = a.mask(ds).values, b.mask(ds).values
    np.testing.assert_array_equal(combine_masks(ds, [a, b]), left | right)
    np.testing.assert_array_equal(combine_masks(ds, [a, right], how="intersection"), left & right)
    np.testing.assert_array_equal(combine_masks(ds, [a, b], how="difference"), left & ~right)


def test_combining_lazy_masks_computes_nothing(make_cube, no_compute):
    ds = make_cube()
    lazy = da.from_array(np.ones((11, 9), bool), chunks=4)
    assert isinstance(combine_masks(ds, [lazy, Rectangle(y=(0, 9), x=(0, 9))]).data, da.Array)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.ones((9, 11), bool), "array of shape"),
        (np.ones((11, 9)), "true and false"),
        (xr.DataArray(np.ones((11, 24), bool), dims=("y", "energy")), "pixel dimensions"),
        (xr.DataArray(np.ones((11, 8), bool), dims=("y", "x")), "the size of the cube"),
        (xr.DataArray(np.ones(11, bool), dims="y", coords={"y": np.arange(11.0)}), "another map"),
    ],
)
def test_a_mask_that_does_not_fit_is_named(make_cube, mask, message):
    with pytest.raises(ParameterError, match=message):
        as_mask(make_cube(), mask)


@pytest.mark.parametrize(
    "region", [Polygon([(0, 0), (1, 1)]), Ellipse((0, 0), (0, 1)), Rectangle(y=(5, 1), x=(0, 1))]
)
def test_a_region_that_is_none_is_named(make_cube, region):
    with pytest.raises(ParameterError):
        region.mask(make_cube())


def test_a_region_needs_a_map(make_cube):
    with pytest.raises(SchemaError, match="y"):
        Rectangle(y=(0, 1), x=(0, 1)).mask(make_cube(("x",)))


def test_nothing_combined_is_an_error(make_cube):
    with pytest.raises(ParameterError, match="one mask or more"):
        combine_masks(make_cube(), [])
    with pytest.raises(ParameterError, match="'union'"):
        combine_masks(make_cube(), [np.ones((11, 9), bool)], how="xor")


def test_maps_told_apart_by_name_are_told_apart_in_masks(make_cube):
    ds = make_cube(("tilt", "y", "x")).assign_coords(tilt=["low", "high"])
    mask = ds.valid.drop_vars(["y", "x"])
    np.testing.assert_array_equal(as_mask(ds, mask), ds.valid)
    with pytest.raises(ParameterError, match="another map"):
        as_mask(ds, mask.assign_coords(tilt=["high", "low"]))
