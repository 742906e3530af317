"""Where a volume lies against the truth of its series: moves of projections are known up to a move of it."""

from __future__ import annotations

import numpy as np
import xarray as xr

from edxdask import schema
from edxdask.results.volumes import VOXELS

LEAST_MOVE_PX = 0.02  # less changes no figure


def moved_against(volume: xr.Dataset, truth: xr.Dataset) -> dict[str, float]:
    """Find by how many voxels a volume lies off its truth, along z, y and x; empty where that is not known.

    Moves that all projections have in common along the tilt axis, and moves across it that go with cos θ and
    sin θ, move the volume instead: the projections are the same, so no alignment can know these.

    Examples
    --------
    >>> tilts = ("tilt", np.radians([-60.0, 0.0, 60.0]))
    >>> names = ("tilt_shift_y", "tilt_shift_x"), ("truth_shift_y", "truth_shift_x")
    >>> ones = np.ones(3)
    >>> vol = xr.Dataset({n: ("tilt", 0 * ones) for n in names[0]}, {"tilt": [-60.0, 0.0, 60.0]})
    >>> true = xr.Dataset({n: ("tilt", 2 * ones) for n in names[1]}, vol.coords)
    >>> {dim: round(move, 2) for dim, move in moved_against(vol, true).items()}
    {'z': 0.0, 'y': 2.0, 'x': 2.67}
    """
    along = {schema.Y: (schema.TILT_SHIFT_Y, schema.TRUTH_SHIFT_Y)}
    across = {schema.X: (schema.TILT_SHIFT_X, schema.TRUTH_SHIFT_X)}
    if volume.attrs.get(schema.TILT_AXIS) == schema.X:
        along, across = across, along
    needed = [(volume, names[0]) for names in (*along.values(), *across.values())]
    needed += [(truth, names[1]) for names in (*along.values(), *across.values())]
    if any(name not in data for data, name in needed) or schema.TILT not in truth.coords:
        return {}
    tilts = volume[schema.TILT].values.astype(float)
    order = {round(float(t), 6): i for i, t in enumerate(truth[schema.TILT].values)}
    places = [order.get(round(float(t), 6), -1) for t in tilts]
    if min(places) < 0:
        return {}
    fits = (
        volume[schema.TILT_FITS].values.astype(bool)
        if schema.TILT_FITS in volume
        else np.ones(len(tilts), bool)
    )

    def off(names: tuple[str, str]) -> np.ndarray:
        return (truth[names[1]].values[places] - volume[names[0]].values)[fits]

    (dim, names), (other, others) = next(iter(along.items())), next(iter(across.items()))
    angles = np.radians(tilts[fits])
    if len(angles) < 3:
        return {}
    model = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    (x, z), *_ = np.linalg.lstsq(model, off(others), rcond=None)
    return {schema.Z: float(z), dim: float(np.mean(off(names))), other: float(x)}


def moved(array: xr.DataArray, by: dict[str, float]) -> xr.DataArray:
    """Move voxels, lazily: fractions of a voxel mix two neighbours, and zeros come in at the edges.

    Examples
    --------
    >>> moved(xr.DataArray([0.0, 1.0, 0.0], dims="x"), {"x": 0.25}).values.tolist()
    [0.0, 0.75, 0.25]
    """
    for dim in VOXELS:
        whole = int(np.floor(by.get(dim, 0.0)))
        rest = by.get(dim, 0.0) - whole
        if abs(by.get(dim, 0.0)) < LEAST_MOVE_PX:
            continue
        near, far = (array.shift({dim: whole + i}, fill_value=0.0) for i in (0, 1))
        array = (1 - rest) * near + rest * far
    return array
