"""Cubes from arrays that are in memory or lazy already."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr

from edxdask.errors import ParameterError
from edxdask.schema import (
    ATTRIBUTES,
    BEAM_ENERGY,
    COORDINATE_UNITS,
    COUNTS,
    ENERGY,
    PIXEL_UNIT,
    TILT,
    X,
    Y,
    energy_coordinate,
    validate_cube,
    variable_attrs,
)

_DIMS = {2: (X, ENERGY), 3: (Y, X, ENERGY), 4: (TILT, Y, X, ENERGY)}
_MAX_COUNT = 0xFFFFFFFF


def from_array(
    counts: Any,
    *,
    energy_offset: float,
    energy_scale: float,
    pixel_size: float | tuple[float, float] | None = None,
    beam_energy: float | None = None,
    attrs: Mapping[str, Any] | None = None,
) -> xr.Dataset:
    """Make a cube from an array of counts.

    Parameters
    ----------
    counts : array
        NumPy or dask array of 2 to 4 dimensions, energy last: ``(x, energy)``, ``(y, x, energy)`` or
        ``(tilt, y, x, energy)``. Whole numbers, 0 to 2**32 - 1; of a dask array only the dtype is checked.
    energy_offset : float
        Energy of channel 0, keV.
    energy_scale : float
        Step between channels, keV.
    pixel_size : float or (float, float), optional
        Step between pixels, nm: one number, or (y, x). None: y and x count pixels.
    beam_energy : float, optional
        Energy of the beam's electrons, keV.
    attrs : mapping, optional
        More attributes, by the names of the schema.

    Returns
    -------
    Dataset
        The cube; lazy if the array is.

    Notes
    -----
    *Chunks*: those of the array; a NumPy array stays one.

    Examples
    --------
    >>> ds = from_array(np.ones((2, 3, 4), "u2"), energy_offset=-0.1, energy_scale=0.01, pixel_size=2.0)
    >>> dict(ds.sizes), ds.x.values.tolist(), ds.x.attrs["units"]
    ({'y': 2, 'x': 3, 'energy': 4}, [0.0, 2.0, 4.0], 'nm')
    """
    array = _whole(counts)
    if array.ndim not in _DIMS or 0 in array.shape:
        raise ParameterError("counts", array.shape, "2 to 4 dimensions, none empty, energy last")
    dims = _DIMS[array.ndim]
    coords = coordinates(dims, array.shape, offset=energy_offset, scale=energy_scale, pixel_size=pixel_size)
    merged = _attributes(beam_energy, attrs or {})
    ds = xr.Dataset({COUNTS: (dims, array, variable_attrs(COUNTS))}, coords=coords, attrs=merged)
    return validate_cube(ds, name="counts")


def coordinates(
    dims: Sequence[str],
    shape: Sequence[int],
    *,
    offset: float,
    scale: float,
    pixel_size: float | tuple[float, float] | None,
) -> dict[str, xr.Variable]:
    """Coordinates of a cube: energy in keV, y and x in nm or, without a pixel size, in pixels."""
    if not (_is_finite(offset) and _is_finite(scale) and scale > 0):
        raise ParameterError("energy_offset, energy_scale", (offset, scale), "keV, finite, the scale above 0")
    if scale > 1:
        raise ParameterError("energy_scale", scale, "keV per channel", "Divide eV by 1000.")
    sizes = pixel_size if isinstance(pixel_size, tuple | list) else (pixel_size, pixel_size)
    if len(sizes) != 2 or not all(s is None or (_is_finite(s) and s > 0) for s in sizes):
        raise ParameterError("pixel_size", pixel_size, "nm above 0, one number or (y, x), or None")
    coords = {}
    for dim, length in zip(dims, shape, strict=True):
        if dim == ENERGY:
            coords[dim] = energy_coordinate(float(offset), float(scale), length)
        elif dim in (Y, X) and (size := sizes[0 if dim == Y else 1]) is not None:
            values = np.arange(length) * float(size)
            coords[dim] = xr.Variable((dim,), values, {"units": COORDINATE_UNITS[dim], "scale": float(size)})
        else:
            unit = PIXEL_UNIT if dim in (Y, X) else "1"
            coords[dim] = xr.Variable((dim,), np.arange(length, dtype=np.float64), {"units": unit})
    return coords


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float | np.number) and math.isfinite(value)


def _whole(counts: Any) -> Any:
    """Return counts as an integer array; floats only if each is a whole number."""
    if isinstance(counts, xr.DataArray):
        counts = counts.data
    if isinstance(counts, da.Array):
        if counts.dtype.kind not in "ui":
            raise ParameterError(
                "counts",
                f"dask array of {counts.dtype}",
                "whole numbers",
                "If each is one: counts.astype('uint16').",
            )
        return counts
    array = np.asarray(counts)
    if array.dtype.kind not in "uif":
        raise ParameterError("counts", f"array of {array.dtype}", "whole numbers")
    if array.size and array.dtype.kind in "if":
        low, high = array.min(), array.max()
        if not (low >= 0 and high <= _MAX_COUNT):  # NaN fails too
            raise ParameterError(
                "counts", f"{low} to {high}", f"counts of photons, 0 to {_MAX_COUNT}, no NaN"
            )
        small = array.astype(np.uint16 if high <= 0xFFFF else np.uint32)
        if array.dtype.kind == "f" and not np.array_equal(small, array):
            raise ParameterError(
                "counts",
                "fractions",
                "whole numbers of photons",
                "Rates times live time, rounded, are counts.",
            )
        return small
    if array.size and array.dtype.itemsize > 4 and array.max() > _MAX_COUNT:
        raise ParameterError("counts", int(array.max()), f"counts of photons, at most {_MAX_COUNT}")
    return array


def _attributes(beam_energy: float | None, attrs: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(attrs)
    unknown = sorted(k for k in merged if k not in ATTRIBUTES)
    if unknown:
        raise ParameterError("attrs", unknown, f"names of the schema: {', '.join(ATTRIBUTES)}")
    if beam_energy is not None:
        merged[BEAM_ENERGY] = beam_energy
    energy = merged.get(BEAM_ENERGY)
    if energy is not None:
        if not (_is_finite(energy) and 0 < energy <= 1000):
            raise ParameterError(
                "beam_energy", energy, "a number in keV, above 0, at most 1000", "Divide eV by 1000."
            )
        merged[BEAM_ENERGY] = float(energy)
    return merged
