"""``.edx`` gives what the functions give, on one map and on each map of a collection."""

from __future__ import annotations

import dask
import numpy as np
import pytest
import xarray as xr

import edxdask  # noqa: F401  registers .edx
from edxdask import ops
from edxdask.errors import ParameterError, SchemaError

CALLS = {
    "bin": (lambda e: e.bin(2, energy=3), lambda ds: ops.bin_cube(ds, 2, energy=3)),
    "crop": (
        lambda e: e.crop(y=(1, 9), energy=(0.2, 0.9)),
        lambda ds: ops.crop_cube(ds, y=(1, 9), energy=(0.2, 0.9)),
    ),
    "sum_spectrum": (lambda e: e.sum_spectrum(), ops.sum_spectrum),
    "maximum": (lambda e: e.maximum_pixel_spectrum(), ops.maximum_pixel_spectrum),
    "total_map": (lambda e: e.total_map(), ops.total_map),
    "valid_mask": (lambda e: e.valid_mask(15), lambda ds: ops.valid_mask(ds, min_counts=15)),
    "window_map": (lambda e: e.window_map(0.2, 0.4), lambda ds: ops.window_map(ds, 0.2, 0.4)),
    "line_map": (
        lambda e: e.line_map("O_Ka", width=0.1, background=False),
        lambda ds: ops.line_map(ds, "O_Ka", width=0.1, background=False),
    ),
}


@pytest.fixture
def collection(make_cube):
    """Two maps of unequal shapes, one of them in a group of its own, under a root with attributes."""
    first, second = make_cube(seed=1, chunks=4), make_cube(seed=2, chunks=5).isel(y=slice(0, 7))
    root = xr.Dataset(attrs={"title": "two maps"})
    return xr.DataTree.from_dict({"/": root, "/a": first, "/group/b": second}, name="both")


@pytest.mark.parametrize("name", CALLS)
def test_a_method_gives_what_its_function_gives(make_cube, name):
    method, function = CALLS[name]
    ds = make_cube(chunks=4)
    xr.testing.assert_identical(method(ds.edx), function(ds))


@pytest.mark.parametrize("name", CALLS)
def test_a_collection_is_each_map_by_itself(collection, name, no_compute):
    method, _ = CALLS[name]
    out = method(collection.edx)
    assert out.attrs == {"title": "two maps"}
    with dask.config.set(scheduler="sync"):
        for path in ("/a", "/group/b"):
            alone = method(collection[path].to_dataset().edx)
            alone = alone if isinstance(alone, xr.Dataset) else alone.to_dataset(promote_attrs=True)
            xr.testing.assert_identical(out[path].to_dataset().compute(), alone.compute())


def test_frames_and_calibrate_are_methods_too(make_cube):
    ds = make_cube(("frame", "y", "x"))
    xr.testing.assert_identical(ds.edx.frames(1, 3), ops.sum_frames(ds, 1, 3))
    with pytest.raises(ParameterError, match="one line or more"):
        ds.edx.calibrate([])


def test_maps_that_share_an_axis_at_the_root_bin_alike(make_cube):
    ds = make_cube()
    shared = xr.Dataset(coords={"energy": ds.energy})
    tree = xr.DataTree.from_dict({"/": shared, "/a": ds.drop_vars("energy")})
    xr.testing.assert_identical(tree.edx.bin(energy=2)["a"].counts, ds.edx.bin(energy=2).counts)


def test_a_collection_takes_one_mask_a_map_or_one_for_all(collection):
    masks = {"a": np.eye(11, 9, dtype=bool), "group/b": np.eye(7, 9, dtype=bool)}
    out = collection.edx.sum_spectrum(masks)
    for path, mask in masks.items():
        alone = ops.sum_spectrum(collection[path].to_dataset(), mask=mask)
        np.testing.assert_array_equal(out[path]["sum_spectrum"], alone)
    region = ops.Rectangle(y=(1, 5), x=(1, 5))
    alone = ops.sum_spectrum(collection["a"].to_dataset(), mask=region)
    np.testing.assert_array_equal(collection.edx.sum_spectrum(region)["a/sum_spectrum"], alone)


def test_the_masks_of_a_collection_serve_the_collection(collection):
    out = collection.edx.sum_spectrum(collection.edx.valid_mask(18))
    dense = collection["group/b"].counts.values.astype(int)
    np.testing.assert_array_equal(out["group/b/sum_spectrum"], dense[dense.sum(axis=2) >= 18].sum(axis=0))


def test_masks_that_do_not_cover_the_collection_are_refused(collection):
    with pytest.raises(ParameterError, match="one mask for each map"):
        collection.edx.sum_spectrum({"a": np.eye(11, 9, dtype=bool)})


def test_a_subtree_is_a_collection(collection):
    out = collection["group"].edx.bin(2)
    assert out["b"].counts.shape == (3, 4, 24)


def test_a_tree_without_maps_is_refused():
    with pytest.raises(SchemaError, match="neither a cube nor a result"):
        xr.DataTree.from_dict({"/a": xr.Dataset()}).edx.bin(2)
