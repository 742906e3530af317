"""Frames: a series of frames becomes one map."""

from __future__ import annotations

from typing import overload

import dask.array as da
import numpy as np
import xarray as xr

from edxdask.errors import ParameterError
from edxdask.ops._blocks import as_unsigned, derived_attrs, lazy_counts, sum_dtype
from edxdask.ops.bin import grouped, scaled_times
from edxdask.results.collections import is_collection, on_each_map
from edxdask.schema import COUNTS, FRAME, pixel_dims, validate_cube


@overload
def sum_frames(data: xr.Dataset, first: int = 0, stop: int | None = None) -> xr.Dataset: ...
@overload
def sum_frames(data: xr.DataTree, first: int = 0, stop: int | None = None) -> xr.DataTree: ...
def sum_frames(
    data: xr.Dataset | xr.DataTree, first: int = 0, stop: int | None = None
) -> xr.Dataset | xr.DataTree:
    """Sum frames of a cube that has a frame dimension.

    Other variables that have frames follow the schema's rule for binning; live and real time follow the
    fraction of the frames taken.

    Parameters
    ----------
    data : Dataset or DataTree
        Cube with the dimension ``frame``, or collection of such cubes: the frames of each map are summed.
    first : int
        First frame, counted from 0.
    stop : int, optional
        Frame after the last; None: to the end.

    Returns
    -------
    Dataset or DataTree
        The cube without frames, lazy; a collection of a collection.

    Notes
    -----
    *Chunks.* Any. Frames outside the range are not read. Partial sums of up to four chunks are added at a
    time, so a thread needs about five chunks at the width of the sum.

    Examples
    --------
    >>> counts = np.ones((3, 2, 2, 2), "u2")
    >>> ds = xr.Dataset({"counts": (("frame", "y", "x", "energy"), counts)}, {"energy": [0.0, 0.1]})
    >>> int(sum_frames(ds, 0, 2).counts[0, 0, 0])
    2
    """
    if is_collection(data):
        return on_each_map(lambda ds: sum_frames(ds, first, stop), data)
    ds = validate_cube(data)
    if FRAME not in pixel_dims(ds) or len(pixel_dims(ds)) < 2:
        raise ParameterError("data", pixel_dims(ds), "a cube with pixel dimensions beside 'frame'")
    size = ds.sizes[FRAME]
    end = size if stop is None else stop
    if not 0 <= first < end <= size:
        raise ParameterError(
            "frames", (first, stop), f"first < stop within the {size} frames, counted from 0"
        )
    part = ds.isel({FRAME: slice(first, end)})
    axis = part[COUNTS].get_axis_num(FRAME)
    dtype = sum_dtype(part[COUNTS].dtype, end - first)
    counts = da.reduction(
        lazy_counts(part),
        chunk=_sum_unsigned,
        aggregate=np.sum,
        axis=axis,
        dtype=dtype,
        split_every=4,
        meta=np.empty((0,) * (part[COUNTS].ndim - 1), dtype=dtype),
    )
    groups = {FRAME: np.zeros(end - first, dtype=int)}
    rest = grouped(part.drop_vars(COUNTS), groups, {FRAME: end - first})
    rest = rest.isel({FRAME: 0}, drop=True, missing_dims="ignore")
    dims = tuple(d for d in part[COUNTS].dims if d != FRAME)
    attrs = derived_attrs(ds, f"frames({first}, {end}) of {size} summed", {})
    summed = rest.assign({COUNTS: xr.Variable(dims, counts, part[COUNTS].attrs)})
    return validate_cube(
        summed.assign_attrs(scaled_times(attrs, (end - first) / size)), name="the sum of frames"
    )


def _sum_unsigned(block: np.ndarray, axis: int, keepdims: bool, dtype: np.dtype) -> np.ndarray:
    return np.sum(as_unsigned(block), axis=axis, keepdims=keepdims, dtype=dtype)
