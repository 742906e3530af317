"""Cropping: a part of the map, or of the energy axis, by coordinate."""

from __future__ import annotations

from typing import overload

import numpy as np
import xarray as xr

from edxdask.errors import ParameterError
from edxdask.ops._blocks import derived_attrs
from edxdask.ops.bin import scaled_times
from edxdask.results.collections import is_collection, on_each_map
from edxdask.schema import COORDINATE_UNITS, ENERGY, energy_axis, energy_coordinate, pixel_dims, validate_cube

Range = slice | tuple[float | None, float | None]


@overload
def crop_cube(data: xr.Dataset, *, energy: Range | None = None, **ranges: Range) -> xr.Dataset: ...
@overload
def crop_cube(data: xr.DataTree, *, energy: Range | None = None, **ranges: Range) -> xr.DataTree: ...
def crop_cube(
    data: xr.Dataset | xr.DataTree, *, energy: Range | None = None, **ranges: Range
) -> xr.Dataset | xr.DataTree:
    """Keep the pixels and channels with centres in the ranges, ends included.

    Every variable is cut too. The true spectra of a simulation are cut, not normalised again, so
    that total × abundance × spectrum is still what was expected.

    Parameters
    ----------
    data : Dataset or DataTree
        Cube, or collection of cubes: each map is cropped.
    energy : (float or None, float or None) or slice, optional
        First and last energy in keV; None leaves an end open.
    **ranges : (float or None, float or None) or slice
        Ranges of pixel dimensions in the units of their coordinates (nm): ``y=slice(0, 50)``,
        ``x=(10, None)``.

    Returns
    -------
    Dataset or DataTree
        The cropped cube, lazy; a collection of a collection.

    Raises
    ------
    ParameterError
        If a dimension is unknown or nothing is in the range.

    Notes
    -----
    *Chunks.* Any. Chunks outside are not read; a chunk that is cut is read whole.

    Examples
    --------
    >>> counts = (("y", "energy"), np.ones((4, 3), "u2"))
    >>> ds = xr.Dataset({"counts": counts}, {"y": range(4), "energy": [0.0, 0.1, 0.2]})
    >>> crop_cube(ds, y=slice(1, 2), energy=(0.1, None)).counts.shape
    (2, 2)
    """
    if is_collection(data):
        return on_each_map(lambda ds: crop_cube(ds, energy=energy, **ranges), data)
    ds = validate_cube(data)
    wanted = dict(ranges) if energy is None else {**ranges, ENERGY: energy}
    if not wanted:
        raise ParameterError("ranges", wanted, "a range", "Write crop(y=slice(0, 50), energy=(0.3, 10)).")
    picks = {dim: _indices(ds, dim, extent) for dim, extent in wanted.items()}
    cropped = ds.isel(picks).drop_encoding()
    if ENERGY in wanted:
        _, scale = energy_axis(ds)
        values = cropped[ENERGY].values
        axis = energy_coordinate(float(values[0]), scale, values.size)
        cropped = cropped.assign_coords({ENERGY: axis})
    kept = np.prod([cropped.sizes[d] / ds.sizes[d] for d in pixel_dims(ds)])
    entry = "crop(" + ", ".join(f"{dim}={_text(extent)}" for dim, extent in wanted.items()) + ")"
    cropped.attrs = scaled_times(derived_attrs(ds, entry, {}), float(kept))
    return validate_cube(cropped, name="the cropped cube")


def _ends(dim: str, extent: Range) -> tuple[float | None, float | None]:
    if isinstance(extent, slice):
        if extent.step is not None:
            raise ParameterError(dim, extent, "a slice without a step", "To thin the axis, bin it.")
        return extent.start, extent.stop
    if isinstance(extent, tuple | list) and len(extent) == 2:
        return extent[0], extent[1]
    raise ParameterError(dim, extent, "slice(lo, hi) or (lo, hi)")


def _text(extent: Range) -> str:
    return "{}…{}".format(*("" if end is None else f"{end:g}" for end in _ends("", extent)))


def _indices(ds: xr.Dataset, dim: str, extent: Range) -> slice | np.ndarray:
    """Rows with a coordinate in the range: a slice, or their numbers where the axis is not in order."""
    if dim not in (*pixel_dims(ds), ENERGY):
        raise ParameterError(
            dim, extent, f"one of the cube's dimensions, {', '.join(pixel_dims(ds))}, energy"
        )
    low, high = _ends(dim, extent)
    values = np.asarray(ds[dim].values, dtype=np.float64)
    # a thousandth of a millionth of a step: 0.1 * 3 must not fall out of (0, 0.3)
    slack = 1e-9 * (np.abs(np.diff(values)).min() if values.size > 1 else 0.0)
    inside = np.ones(values.size, dtype=bool)
    if low is not None:
        inside &= values >= low - slack
    if high is not None:
        inside &= values <= high + slack
    rows = np.flatnonzero(inside)
    if not rows.size:
        unit = ds[dim].attrs.get("units", COORDINATE_UNITS.get(dim, ""))
        span = f"{values.min():g} to {values.max():g} {unit}".rstrip()
        raise ParameterError(dim, extent, f"a range that holds a centre of this axis, which covers {span}")
    if rows[-1] - rows[0] + 1 == rows.size:
        return slice(int(rows[0]), int(rows[-1]) + 1)
    return rows
