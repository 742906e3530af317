"""The tilt series that a volume is made of: one lazy cube, its tilts in degrees, its axis along rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr

from edxdask import schema
from edxdask.engine.layout import ImageStack
from edxdask.engine.maps import MapView
from edxdask.errors import ParameterError, SchemaError

FEWEST_TILTS = 3
STEP_TOLERANCE = 1e-3  # relative, between the steps of y and x
SERIES = (schema.TILT, schema.Y, schema.X, schema.ENERGY)


@dataclass(frozen=True)
class Series:
    """A checked tilt series.

    Attributes
    ----------
    cube : counts (tilt, y, x, energy), tilts rising
    tilt_deg : of each projection
    along : dimension of the projections that the tilt axis is nearest to, y or x
    lean_deg : angle of the axis to it
    step : side of a pixel; None without calibration
    """

    cube: xr.Dataset
    tilt_deg: np.ndarray
    along: str
    lean_deg: float
    step: float | None

    @property
    def rows_dim(self) -> str:
        """Dimension along the tilt axis: rows, inside."""
        return self.along

    @property
    def columns_dim(self) -> str:
        """Dimension across the tilt axis: columns, inside."""
        return schema.X if self.along == schema.Y else schema.Y

    @property
    def counts(self) -> da.Array:
        """Lazy counts (tilt, row, column, energy), rows along the tilt axis."""
        ordered = self.cube.transpose(schema.TILT, self.rows_dim, self.columns_dim, schema.ENERGY)
        return MapView("", ordered, ImageStack(0, 0, 0, 0, ())).counts

    def image(self, array: xr.DataArray) -> np.ndarray:
        """Values of an array of pixels as (tilt, row, column)."""
        return np.asarray(array.transpose(schema.TILT, self.rows_dim, self.columns_dim).values)

    def without(self, tilts: Sequence[int]) -> Series:
        """Leave out projections by their number."""
        kept = np.setdiff1d(np.arange(self.tilt_deg.size), tilts)
        cube = self.cube.isel({schema.TILT: kept})
        return Series(cube, self.tilt_deg[kept], self.along, self.lean_deg, self.step)


def series_of(data: Any, *, tilts_deg: Sequence[float] | None, tilt_axis: str | float) -> Series:
    """Check a tilt series; reads no counts.

    Parameters
    ----------
    data : Dataset
        Cube of counts (tilt, y, x, energy).
    tilts_deg : sequence of float, optional
        Tilt of each projection; None takes the coordinate ``tilt``.
    tilt_axis : {"y", "x"} or float
        Dimension of the projections that the axis lies along, or its angle to y.

    Raises
    ------
    ParameterError, SchemaError
        If the tilts are unknown, too few or repeated, or pixels are not square.
    """
    cube = schema.validate_cube(data, name="tilts")
    dims = schema.pixel_dims(cube)
    if set(dims) != set(SERIES[:-1]):
        fix = "edxdask.collect_tilts({…}) makes a series of maps of one tilt each"
        raise SchemaError(f"tilts has the pixel dimensions {dims}, expected {SERIES[:-1]}: {fix}")
    angles = _angles(cube, tilts_deg)
    along, lean = _axis(tilt_axis)
    order = np.argsort(angles, kind="stable")
    if not np.array_equal(order, np.arange(order.size)):
        cube = cube.isel({schema.TILT: order})
    cube = cube.assign_coords({schema.TILT: (schema.TILT, angles[order], {"units": "deg"})})
    return Series(cube.transpose(*SERIES, ...), angles[order], along, lean, _step(cube))


def _angles(cube: xr.Dataset, given: Sequence[float] | None) -> np.ndarray:
    """Tilts in degrees, each once."""
    count = cube.sizes[schema.TILT]
    if given is None and not _in_degrees(cube):
        raise ParameterError(
            "tilts_deg",
            None,
            f"the tilt of each of the {count} projections in degrees, since the series does not say them",
            f"Give them: tilts_deg=[{', '.join(f'{a:g}' for a in np.linspace(-60, 60, min(count, 3)))}, …]",
        )
    angles = np.asarray(cube[schema.TILT].values if given is None else given, dtype=np.float64)
    if angles.shape != (count,):
        raise ParameterError("tilts_deg", angles.tolist(), f"{count} tilts, one per projection")
    if not np.isfinite(angles).all() or np.abs(angles).max(initial=0) > 180:
        raise ParameterError("tilts_deg", angles.tolist(), "finite degrees, between -180 and 180")
    if count < FEWEST_TILTS:
        expected = f"at least {FEWEST_TILTS} tilts: a volume cannot be had from fewer"
        raise ParameterError("tilts_deg", angles.tolist(), expected)
    values, times = np.unique(angles, return_counts=True)
    if (times > 1).any():
        twice = values[times > 1].tolist()
        fix = "Leave all but one of them out: tilts.isel(tilt=[…])."
        raise ParameterError("tilts_deg", twice, "each tilt once", fix)
    return angles


def _in_degrees(cube: xr.Dataset) -> bool:
    """Whether the coordinate says degrees, and not merely numbers of projections."""
    if schema.TILT not in cube.coords:
        return False
    units = cube[schema.TILT].attrs.get("units")
    return units is None or units == schema.COORDINATE_UNITS[schema.TILT]


def _axis(tilt_axis: str | float) -> tuple[str, float]:
    """Dimension that the axis is nearest to, and its angle to that.

    Examples
    --------
    >>> _axis("x"), _axis(1.5), _axis(89.0)
    (('x', 0.0), ('y', 1.5), ('x', 1.0))
    """
    if tilt_axis in (schema.Y, schema.X):
        return str(tilt_axis), 0.0
    number = isinstance(tilt_axis, int | float) and not isinstance(tilt_axis, bool)
    if not number or not -90 < float(tilt_axis) <= 90:
        raise ParameterError("tilt_axis", tilt_axis, "'y', 'x', or its angle to y: degrees, above -90 to 90")
    angle = float(tilt_axis)
    if abs(angle) <= 45:
        return schema.Y, angle
    # rows and columns change places: an axis (-sin a, cos a) becomes (cos a, -sin a)
    return schema.X, 90 - angle if angle > 0 else -90 - angle


def _step(cube: xr.Dataset) -> float | None:
    """Side of a pixel in nm; None without calibration."""
    steps = []
    for dim in (schema.Y, schema.X):
        if dim not in cube.coords or cube[dim].attrs.get("units") != schema.COORDINATE_UNITS[dim]:
            return None
        values = np.asarray(cube[dim].values, dtype=np.float64)
        steps.append((values[-1] - values[0]) / (values.size - 1) if values.size > 1 else np.nan)
    known = [step for step in steps if np.isfinite(step)]
    if not known:
        return None
    if max(known) > min(known) * (1 + STEP_TOLERANCE):
        raise SchemaError(
            f"pixels are {steps[0]:g} nm along y and {steps[1]:g} nm along x: voxels are cubes, so both must "
            "be equal. ds.edx.bin(…) along one of them, or correct the pixel size"
        )
    return float(known[0])
