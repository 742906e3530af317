"""Images on the grid of their maps, as arrays that can be registered."""

from __future__ import annotations

import numpy as np
import xarray as xr
from scipy import ndimage

from edxdask import schema
from edxdask.errors import ParameterError

PIXELS = (schema.Y, schema.X)


def is_scan(array: xr.DataArray, one: xr.Dataset) -> bool:
    """Whether a variable of a map is an image of it: over its pixels, or over finer or coarser ones.

    Examples
    --------
    >>> one = xr.Dataset({"haadf": (("haadf_y", "haadf_x"), np.zeros((4, 4)))}, coords={"y": [0], "x": [0]})
    >>> is_scan(one.haadf, one)
    True
    """
    if array.dtype.kind not in "buif" or array.ndim < 2:
        return False
    own = tuple(f"{array.name}_{dim}" for dim in PIXELS)
    return array.dims[-2:] == PIXELS or array.dims == own


def on_map(array: xr.DataArray, one: xr.Dataset) -> np.ndarray:
    """Bring an image to the pixels of its map, (channel, y, x): by areas, or interpolated if it is coarser.

    Examples
    --------
    >>> fine = (("haadf_y", "haadf_x"), np.arange(16.0).reshape(4, 4))
    >>> one = xr.Dataset({"haadf": fine}, coords={"y": [0, 1], "x": [0, 1]})
    >>> on_map(one.haadf, one).tolist()
    [[[2.5, 4.5], [10.5, 12.5]]]
    """
    if set(PIXELS) <= set(array.dims):
        values = np.asarray(array.transpose(..., *PIXELS).values, dtype=np.float32)
        return values.reshape(-1, *values.shape[-2:])
    values = np.asarray(array.values, dtype=np.float64)
    for axis, dim in enumerate(PIXELS):
        values = _resized(values, axis, one.sizes[dim])
    return values[None].astype(np.float32)


def _resized(values: np.ndarray, axis: int, size: int) -> np.ndarray:
    """Image with ``size`` pixels of equal area along one axis."""
    have = values.shape[axis]
    if have % size == 0:
        shape = (*values.shape[:axis], size, have // size, *values.shape[axis + 1 :])
        return np.asarray(values.reshape(shape).mean(axis=axis + 1))
    if have < size:
        places = (np.arange(size) + 0.5) * have / size - 0.5
        grid = [np.arange(n, dtype=float) for n in values.shape]
        grid[axis] = places
        return np.asarray(
            ndimage.map_coordinates(values, np.meshgrid(*grid, indexing="ij"), order=1, mode="nearest")
        )
    # areas: differences of the running sum at the borders of the new pixels
    running = np.concatenate([np.zeros_like(values.take([0], axis)), values.cumsum(axis)], axis)
    borders = np.arange(size + 1) * have / size
    below = np.floor(borders).astype(int)
    above = np.minimum(below + 1, have)
    part = np.expand_dims(borders - below, tuple(i for i in range(values.ndim) if i != axis))
    at = running.take(below, axis) * (1 - part) + running.take(above, axis) * part
    return np.asarray(np.diff(at, axis=axis) * size / have)


def require_pixels(name: str, one: xr.Dataset) -> None:
    """Refuse a map whose pixels are not (y, x)."""
    if not set(PIXELS) <= set(one.sizes) or (schema.COUNTS in one and schema.pixel_dims(one) != PIXELS):
        dims = schema.pixel_dims(one) if schema.COUNTS in one else tuple(map(str, one.sizes))
        raise ParameterError(
            f"data[{name!r}]",
            dims,
            "a map over y and x",
            "Sum its frames first: ds.edx.frames(), or pick one: ds.isel(tilt=0)",
        )
