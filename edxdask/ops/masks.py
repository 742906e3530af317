"""Masks: which pixels count. Regions of interest in nm, masks from counts, and their algebra."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, Literal, Protocol, overload, runtime_checkable

import dask.array as da
import numpy as np
import xarray as xr

from edxdask.errors import ParameterError, SchemaError
from edxdask.ops._blocks import derived_attrs
from edxdask.ops.maps import total_map
from edxdask.results.collections import cubes_in, is_collection, on_each_map, value_for_each_map
from edxdask.schema import VALID, X, Y, pixel_dims, validate_cube, variable_attrs

MASK = "mask"
How = Literal["union", "intersection", "difference"]


@runtime_checkable
class Region(Protocol):
    """A region of interest: it knows which pixels of a cube are in it."""

    def mask(self, data: xr.Dataset) -> xr.DataArray:
        """Boolean (y, x), true where the centre of a pixel is inside."""
        ...


class _Shape(ABC):
    """A region given by the positions of pixels; subclasses say which positions are inside."""

    @overload
    def mask(self, data: xr.Dataset) -> xr.DataArray: ...
    @overload
    def mask(self, data: xr.DataTree) -> xr.DataTree: ...
    def mask(self, data: xr.Dataset | xr.DataTree) -> xr.DataArray | xr.DataTree:
        """Give the region as a boolean map of a cube, or of every map of a collection.

        Parameters
        ----------
        data : Dataset or DataTree
            Cube, or collection of cubes.

        Returns
        -------
        DataArray or DataTree
            ``mask`` (y, x), true where the centre of a pixel is inside; a collection of a collection.
        """
        if is_collection(data):
            return on_each_map(self.mask, data)
        y, x = _axes(data)
        coords = {d: data[d] for d in (Y, X) if d in data.coords}
        return xr.DataArray(self._inside(y, x), dims=(Y, X), coords=coords, name=MASK)

    @abstractmethod
    def _inside(self, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Boolean (y, x) from a column and a row of positions in nm."""


@dataclass(frozen=True)
class Rectangle(_Shape):
    """Pixels whose ``y`` and ``x`` are within ranges, ends included.

    Parameters
    ----------
    y : (float, float)
        First and last position along ``y``, nm.
    x : (float, float)
        First and last position along ``x``, nm.

    Examples
    --------
    >>> counts = np.ones((2, 3, 1), "u2")
    >>> coords = {"y": [0, 5], "x": [0, 5, 10], "energy": [1.0]}
    >>> ds = xr.Dataset({"counts": (("y", "x", "energy"), counts)}, coords)
    >>> Rectangle(y=(0, 9), x=(4, 10)).mask(ds).values.tolist()
    [[False, True, True], [False, True, True]]
    """

    y: tuple[float, float]
    x: tuple[float, float]

    def _inside(self, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        return _within(y, "y", self.y) & _within(x, "x", self.x)


@dataclass(frozen=True)
class Ellipse(_Shape):
    """Pixels inside an ellipse, and on its rim.

    Parameters
    ----------
    centre : (float, float)
        Centre (y, x), nm.
    radii : (float, float)
        Half the height and half the width (y, x), nm.

    Examples
    --------
    >>> counts = np.ones((1, 3, 1), "u2")
    >>> coords = {"y": [0.0], "x": [0.0, 5.0, 10.0], "energy": [1.0]}
    >>> ds = xr.Dataset({"counts": (("y", "x", "energy"), counts)}, coords)
    >>> Ellipse(centre=(0, 5), radii=(2, 4)).mask(ds).values.tolist()
    [[False, True, False]]
    """

    centre: tuple[float, float]
    radii: tuple[float, float]

    def _inside(self, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        if not min(self.radii) > 0:
            raise ParameterError("radii", self.radii, "two lengths above 0 nm")
        down, across = (y - self.centre[0]) / self.radii[0], (x - self.centre[1]) / self.radii[1]
        return np.asarray(down**2 + across**2 <= 1)


@dataclass(frozen=True)
class Polygon(_Shape):
    """Pixels inside a polygon, by the even-odd rule.

    Parameters
    ----------
    vertices : sequence of (float, float)
        Three or more corners (y, x), nm.

    Examples
    --------
    >>> counts = np.ones((1, 3, 1), "u2")
    >>> coords = {"y": [1.0], "x": [0.0, 5.0, 10.0], "energy": [1.0]}
    >>> ds = xr.Dataset({"counts": (("y", "x", "energy"), counts)}, coords)
    >>> Polygon([(0, 4), (0, 6), (8, 5)]).mask(ds).values.tolist()
    [[False, True, False]]
    """

    vertices: Sequence[tuple[float, float]]

    def _inside(self, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        corners = np.asarray(self.vertices, dtype=np.float64)
        if corners.ndim != 2 or corners.shape[0] < 3 or corners.shape[1] != 2:
            raise ParameterError("vertices", self.vertices, "three or more (y, x) pairs in nm")
        inside = np.zeros((y.size, x.size), dtype=bool)
        for (y0, x0), (y1, x1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
            if y0 == y1:
                continue  # a ray along x meets no edge along x
            crosses = (y >= min(y0, y1)) & (y < max(y0, y1))
            inside ^= crosses & (x < x0 + (y - y0) * (x1 - x0) / (y1 - y0))
        return inside


MaskLike = xr.DataArray | np.ndarray | da.Array | Region


def _axes(ds: xr.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates of the map, as a column and a row."""
    missing = [d for d in (Y, X) if d not in pixel_dims(ds)]
    if missing:
        raise SchemaError(f"a region of interest needs the pixel dimensions y and x; {missing} is missing")
    return np.asarray(ds[Y].values, float)[:, None], np.asarray(ds[X].values, float)[None, :]


def _within(values: np.ndarray, name: str, ends: tuple[float, float]) -> np.ndarray:
    if not ends[0] <= ends[1]:
        raise ParameterError(name, ends, "(lo, hi) in nm with lo <= hi")
    return (values >= ends[0]) & (values <= ends[1])


def as_mask(ds: xr.Dataset, mask: MaskLike) -> xr.DataArray:
    """``mask`` as a boolean DataArray over pixel dimensions of ``ds``, checked, lazy if it was.

    Raises
    ------
    ParameterError
        If it is not boolean, or its shape or coordinates are not the cube's.
    """
    dims = pixel_dims(ds)
    if isinstance(mask, Region):
        return mask.mask(ds)
    if not isinstance(mask, xr.DataArray):
        shapes = {
            tuple(ds.sizes[d] for d in names): names for names in ((Y, X), dims) if set(names) <= set(dims)
        }
        shape = tuple(np.shape(mask))
        if shape not in shapes:
            raise ParameterError(
                "mask", f"array of shape {shape}", f"the shape of the pixels, {list(shapes)}"
            )
        mask = xr.DataArray(mask, dims=shapes[shape], name=MASK)
    if mask.dtype != bool:
        raise ParameterError("mask", f"dtype {mask.dtype}", "true and false", "Write abundance > 0.5.")
    if not mask.dims or not set(mask.dims) <= set(dims):
        raise ParameterError("mask", f"dims {mask.dims}", f"pixel dimensions of the cube, {dims}")
    for dim in map(str, mask.dims):
        if mask.sizes[dim] != ds.sizes[dim]:
            raise ParameterError(
                "mask", f"{dim}: {mask.sizes[dim]}", f"{ds.sizes[dim]}, the size of the cube"
            )
        if dim in mask.coords and dim in ds.coords and not _same(mask[dim].values, ds[dim].values):
            raise ParameterError(
                "mask", f"other {dim} coordinates", "the cube's", "Was it made for another map?"
            )
    return mask.transpose(*[d for d in dims if d in mask.dims])


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two coordinates are the same: numbers to rounding, names exactly."""
    numbers = a.dtype.kind in "iuf" and b.dtype.kind in "iuf"
    return bool(np.allclose(a, b) if numbers else np.array_equal(a, b))


@overload
def combine_masks(data: xr.Dataset, masks: Sequence[MaskLike], *, how: How = "union") -> xr.DataArray: ...
@overload
def combine_masks(data: xr.DataTree, masks: Sequence[Any], *, how: How = "union") -> xr.DataTree: ...
def combine_masks(
    data: xr.Dataset | xr.DataTree, masks: Sequence[Any], *, how: How = "union"
) -> xr.DataArray | xr.DataTree:
    """Make one mask out of several.

    Parameters
    ----------
    data : Dataset or DataTree
        Cube, or collection of cubes: one mask for each map.
    masks : sequence of array of bool, Rectangle, Ellipse or Polygon
        What is combined. Of a collection each may also be a mapping by name of the map, or a collection of
        masks such as ``valid_mask`` gives.
    how : {"union", "intersection", "difference"}
        "difference" removes all the others from the first.

    Returns
    -------
    DataArray or DataTree
        ``mask`` over pixel dimensions; a collection of a collection.

    Notes
    -----
    *Chunks.* Those of the masks; lazy where one of them is.

    Examples
    --------
    >>> ds = xr.Dataset({"counts": (("y", "x", "energy"), np.ones((1, 3, 1), "u2"))}, {"energy": [1.0]})
    >>> a, b = np.array([[True, True, False]]), np.array([[False, True, False]])
    >>> combine_masks(ds, [a, b], how="difference").values.tolist()
    [[True, False, False]]
    """
    if is_collection(data):
        by_map = [value_for_each_map(one, data, name="masks") for one in masks]
        own = {name: [one[name] for one in by_map] for name in cubes_in(data)}
        return on_each_map(lambda ds, masks: combine_masks(ds, masks, how=how), data, each={"masks": own})
    ds = validate_cube(data)
    if not masks:
        raise ParameterError("masks", masks, "one mask or more")
    first, *rest = (as_mask(ds, m) for m in masks)
    if how == "union":
        out = reduce(lambda a, b: a | b, rest, first)
    elif how == "intersection":
        out = reduce(lambda a, b: a & b, rest, first)
    elif how == "difference":
        out = reduce(lambda a, b: a & ~b, rest, first)
    else:
        raise ParameterError("how", how, "'union', 'intersection' or 'difference'")
    return out.transpose(*[d for d in pixel_dims(ds) if d in out.dims]).rename(MASK)


@overload
def valid_mask(data: xr.Dataset, *, min_counts: int = 1) -> xr.DataArray: ...
@overload
def valid_mask(data: xr.DataTree, *, min_counts: int = 1) -> xr.DataTree: ...
def valid_mask(data: xr.Dataset | xr.DataTree, *, min_counts: int = 1) -> xr.DataArray | xr.DataTree:
    """Find the pixels that hold at least ``min_counts`` photons.

    Parameters
    ----------
    data : Dataset or DataTree
        Cube, or collection of cubes: one mask for each map.
    min_counts : int
        Smallest number of photons of a valid pixel.

    Returns
    -------
    DataArray or DataTree
        ``valid``, boolean over the pixel dimensions, lazy; a collection of a collection.

    Notes
    -----
    *Chunks.* Any; costs one read of the counts, and keeps a byte per pixel.

    Examples
    --------
    >>> counts = (("y", "energy"), np.array([[0, 0], [1, 1]], "u2"))
    >>> ds = xr.Dataset({"counts": counts}, {"energy": [0.0, 0.1]})
    >>> valid_mask(ds, min_counts=2).values.tolist()
    [False, True]
    """
    if min_counts < 1:
        raise ParameterError("min_counts", min_counts, "at least 1 photon")
    if is_collection(data):
        return on_each_map(lambda one: valid_mask(one, min_counts=min_counts), data)
    ds = validate_cube(data)
    total = total_map(ds)
    attrs = derived_attrs(ds, f"valid_mask(min_counts={min_counts})", variable_attrs(VALID))
    return (total >= min_counts).rename(VALID).assign_attrs(attrs)
