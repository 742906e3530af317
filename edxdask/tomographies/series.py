"""The tilt series that a volume is made of: one lazy cube, its tilts in degrees, its axis along rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import dask.array as da
import numpy as np
import xarray as xr

from edxdask import schema
from edxdask.engine.layout import ImageStack
from edxdask.engine.maps import MapView
from edxdask.errors import ParameterError, SchemaError
from edxdask.results.collections import Data, cubes_in, is_collection
from edxdask.results.tilts import ordered_series, series_of_maps

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
    lean_deg : angle of the axis to it; None where that is to be found
    step : side of a pixel; None without calibration
    """

    cube: xr.Dataset
    tilt_deg: np.ndarray
    along: str
    lean_deg: float | None
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
        counts = self.cube[schema.COUNTS]
        ordered = counts.transpose(schema.TILT, self.rows_dim, self.columns_dim, schema.ENERGY)
        return MapView("", ordered.to_dataset(name=schema.COUNTS), ImageStack(0, 0, 0, 0, ())).counts

    def image(self, array: xr.DataArray) -> np.ndarray:
        """Values of an array of pixels as (tilt, row, column)."""
        return np.asarray(array.transpose(schema.TILT, self.rows_dim, self.columns_dim).values)

    def without(self, tilts: Sequence[int]) -> Series:
        """Leave out projections by their number."""
        kept = np.setdiff1d(np.arange(self.tilt_deg.size), tilts)
        cube = self.cube.isel({schema.TILT: kept})
        return Series(cube, self.tilt_deg[kept], self.along, self.lean_deg, self.step)


def series_of(data: Data, *, tilts_deg: Sequence[float] | None, tilt_axis: str | float | None) -> Series:
    """Check a tilt series; reads no counts.

    Parameters
    ----------
    data : Dataset or DataTree
        Cube of counts (tilt, y, x, energy), or collection of maps of one tilt each.
    tilts_deg : sequence of float, optional
        Tilt of each projection; None takes those that the data say.
    tilt_axis : {"y", "x"} or float, optional
        Dimension of the projections that the axis lies along, or its angle to y; None takes what the series
        says, or else y.

    Raises
    ------
    ParameterError, SchemaError
        If the tilts are unknown, too few or repeated, or pixels are not square.
    """
    if is_collection(data):
        cube = series_of_maps(cubes_in(data), tilts_deg=tilts_deg)
    else:
        cube = ordered_series(schema.validate_cube(data), tilts_deg=tilts_deg)
    angles = np.asarray(cube[schema.TILT].values, dtype=np.float64)
    if angles.size < FEWEST_TILTS:
        expected = f"at least {FEWEST_TILTS} tilts: a volume cannot be had from fewer"
        raise ParameterError("tilts_deg", angles.tolist(), expected)
    own = data.attrs.get(schema.TILT_AXIS, schema.Y)
    along, lean = axis_of(own if tilt_axis is None else tilt_axis)
    return Series(cube.transpose(*SERIES, ...), angles, along, lean, _step(cube))


def axis_of(tilt_axis: str | float) -> tuple[str, float | None]:
    """Dimension that the axis is nearest to, and its angle to that, if it was said.

    Examples
    --------
    >>> axis_of("x"), axis_of(1.5), axis_of(89.0)
    (('x', None), ('y', 1.5), ('x', 1.0))
    """
    if tilt_axis in (schema.Y, schema.X):
        return str(tilt_axis), None
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
