"""Masks: which pixels count. Regions of interest in nm, masks from counts, and their algebra."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Literal, Protocol, runtime_checkable

import dask.array as da
import numpy as np
import xarray as xr

from edxdask.errors import ParameterError, SchemaError
from edxdask.ops._blocks import derived_attrs
from edxdask.ops.maps import total_map
from edxdask.schema import VALID, X, Y, pixel_dims, validate_cube, variable_attrs

MASK = "mask"


@runtime_checkable
class Region(Protocol):
    """A region of interest: it knows which pixels of a cube lie in it."""

    def mask(self, ds: xr.Dataset) -> xr.DataArray:
        """Boolean (y, x), true where the centre of a pixel lies inside."""
        ...


@dataclass(frozen=True)
class Rectangle:
    """Pixels with ``y`` and ``x`` (nm) within the ranges, ends included.

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

    def mask(self, ds: xr.Dataset) -> xr.DataArray:
        """Boolean (y, x), true inside."""
        y, x = _axes(ds)
        return _mask(ds, _within(y, "y", self.y) & _within(x, "x", self.x))


@dataclass(frozen=True)
class Ellipse:
    """Pixels within ``radii`` (y, x; nm) of ``centre`` (y, x; nm)."""

    centre: tuple[float, float]
    radii: tuple[float, float]

    def mask(self, ds: xr.Dataset) -> xr.DataArray:
        """Boolean (y, x), true inside and on the rim."""
        if not min(self.radii) > 0:
            raise ParameterError("radii", self.radii, "two lengths above 0 nm")
        y, x = _axes(ds)
        inside = ((y - self.centre[0]) / self.radii[0]) ** 2 + (
            (x - self.centre[1]) / self.radii[1]
        ) ** 2 <= 1
        return _mask(ds, inside)


@dataclass(frozen=True)
class Polygon:
    """Pixels inside the polygon of ``vertices`` ((y, x) in nm), by the even-odd rule."""

    vertices: Sequence[tuple[float, float]]

    def mask(self, ds: xr.Dataset) -> xr.DataArray:
        """Boolean (y, x), true inside."""
        corners = np.asarray(self.vertices, dtype=np.float64)
        if corners.ndim != 2 or corners.shape[0] < 3 or corners.shape[1] != 2:
            raise ParameterError("vertices", self.vertices, "three or more (y, x) pairs in nm")
        y, x = _axes(ds)
        inside = np.zeros((y.size, x.size), dtype=bool)
        for (y0, x0), (y1, x1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
            if y0 == y1:
                continue  # a ray along x meets no edge along x
            crosses = (y >= min(y0, y1)) & (y < max(y0, y1))
            inside ^= crosses & (x < x0 + (y - y0) * (x1 - x0) / (y1 - y0))
        return _mask(ds, inside)


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


def _mask(ds: xr.Dataset, inside: np.ndarray) -> xr.DataArray:
    return xr.DataArray(inside, dims=(Y, X), coords={d: ds[d] for d in (Y, X) if d in ds.coords}, name=MASK)


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


def combine_masks(
    ds: xr.Dataset,
    masks: Sequence[MaskLike],
    *,
    how: Literal["union", "intersection", "difference"] = "union",
) -> xr.DataArray:
    """One mask out of several; "difference" takes all the others away from the first.

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
    validate_cube(ds)
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


def valid_mask(ds: xr.Dataset, *, min_counts: int = 1) -> xr.DataArray:
    """Pixels that hold at least ``min_counts`` photons (a boolean map named ``valid``).

    Notes
    -----
    *Chunks.* Any; costs one read of the counts, and keeps a byte a pixel.

    Examples
    --------
    >>> counts = (("y", "energy"), np.array([[0, 0], [1, 1]], "u2"))
    >>> ds = xr.Dataset({"counts": counts}, {"energy": [0.0, 0.1]})
    >>> valid_mask(ds, min_counts=2).values.tolist()
    [False, True]
    """
    if min_counts < 1:
        raise ParameterError("min_counts", min_counts, "at least 1 photon")
    total = total_map(ds)
    attrs = derived_attrs(ds, f"valid_mask(min_counts={min_counts})", variable_attrs(VALID))
    return (total >= min_counts).rename(VALID).assign_attrs(attrs)
