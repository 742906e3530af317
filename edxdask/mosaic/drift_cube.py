"""A cube of frames as a series, and as a lazy sum whose frames have moved by whole pixels."""

from __future__ import annotations

import functools
import operator
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr

from edxdask.errors import ParameterError, SchemaError
from edxdask.photons import PhotonBlock, from_dense
from edxdask.photons.frames import Drift, Moves
from edxdask.results.frames import drift_attrs, drift_entry, drift_variables, kept_times, longer, placed
from edxdask.schema import (
    COUNTS,
    ENERGY,
    FRAME,
    VARIABLES,
    WARNINGS,
    X,
    Y,
    pixel_dims,
    validate_cube,
    with_history,
)

SIDE = 64  # pixels of a chunk, as in a store


class CubeFrames:
    """Frames of a cube with dimensions (frame, y, x, energy)."""

    def __init__(self, cube: xr.Dataset) -> None:
        self.cube = validate_cube(cube)
        if pixel_dims(cube) != (FRAME, Y, X):
            fix = "Velox and JEOL files that keep their frames are aligned on ingest."
            raise ParameterError("data", pixel_dims(cube), "a cube over ('frame', 'y', 'x')", fix)
        self.frames, rows, columns, self.channels = cube[COUNTS].shape
        self.shape = (rows, columns)
        self.images = tuple(
            str(name)
            for name, v in cube.data_vars.items()
            if v.dims == (FRAME, Y, X) and v.dtype.kind in "uif" and name not in VARIABLES
        )

    def image(self, name: str, frame: int) -> np.ndarray:
        """One frame of an image."""
        return np.asarray(self.cube[name].isel({FRAME: frame}).values)

    def rows(self, first: int, stop: int, top: int, bottom: int) -> PhotonBlock:
        """Photons of some rows, summed over some frames."""
        part = self.cube[COUNTS][first:stop, top:bottom]
        single = part[0].values if stop - first == 1 else part.sum(FRAME, dtype=np.int64).values
        return from_dense(_never_negative(single))


def aligned(cube: xr.Dataset, drift: Drift, *, drop_bad_frames: bool) -> xr.Dataset:
    """Sum of the frames of a cube, each moved by whole pixels; lazy."""
    frames = CubeFrames(cube)
    moves = drift.moves(frames.shape, drop_bad_frames=drop_bad_frames)
    counts = xr.Variable((Y, X, ENERGY), _moved_counts(cube[COUNTS], moves), cube[COUNTS].attrs)
    variables = {
        str(name): _moved(str(name), v, moves)
        for name, v in cube.variables.items()
        if name not in (COUNTS, Y, X, FRAME)
    }
    coords = {
        dim: longer(cube, dim, moves.canvas[i], int(moves.offsets[0, i])) for i, dim in enumerate((Y, X))
    }
    numbers = np.asarray(cube[FRAME].values) if FRAME in cube.coords else np.arange(frames.frames)
    found = drift_variables(drift, moves, numbers)
    names = [n for n in variables if n in cube.data_vars]
    summed = xr.Dataset(
        {COUNTS: counts, **{n: variables[n] for n in names}, **found.data_vars},
        coords={**{n: v for n, v in variables.items() if n not in names}, **coords, **found.coords},
    )
    summed.attrs = _attrs(cube, drift, moves, numbers, dropped=drop_bad_frames)
    return validate_cube(summed, name="the aligned map")


def _attrs(cube: xr.Dataset, drift: Drift, moves: Moves, numbers: np.ndarray, *, dropped: bool) -> Any:
    attrs = with_history(cube.attrs, drift_entry(drift, moves))
    own = drift_attrs(drift, numbers, dropped=dropped)
    warnings = [*attrs.get(WARNINGS, []), *own.pop(WARNINGS, [])]
    return {**attrs, **kept_times(attrs, moves), **own, **({WARNINGS: warnings} if warnings else {})}


def _moved_counts(counts: xr.DataArray, moves: Moves) -> da.Array:
    """Lazy sum of frames on the canvas; a run of frames that move alike is summed before it moves."""
    data = counts.data
    if not isinstance(data, da.Array):
        # named by its content: a save of the sum can be resumed
        data = da.from_array(np.asarray(data), chunks=(1, SIDE, SIDE, -1))
    if data.dtype.kind == "i":
        data = data.map_blocks(_never_negative, dtype=data.dtype)
    bits = 8 * data.dtype.itemsize
    dtype = np.uint32 if bits <= 16 else np.uint64
    (rows, columns), channels = moves.canvas, data.shape[-1]
    chunks = (*(min(SIDE, n) for n in (rows, columns)), channels)
    pieces = []
    for first, stop, row, column in moves.runs():
        part = data[first:stop].sum(axis=0, dtype=dtype, split_every=4)
        below, right = rows - row - part.shape[0], columns - column - part.shape[1]
        wide = da.pad(part, ((row, below), (column, right), (0, 0)))
        pieces.append(wide.rechunk(chunks))
    total: da.Array = functools.reduce(operator.add, pieces)
    return total


def _never_negative(counts: np.ndarray) -> np.ndarray:
    """Give counts as they are, or refuse them."""
    if counts.dtype.kind == "i" and counts.min(initial=0) < 0:
        raise SchemaError(f"counts hold {counts.min()}; counts of photons are never negative")
    return counts


def _moved(name: str, variable: xr.Variable, moves: Moves) -> xr.Variable:
    """Put another variable on the canvas: frames by its rule for binning; a map of none where frame 0 is."""
    if not {Y, X} <= set(variable.dims):
        return variable
    if FRAME not in variable.dims:
        return placed(variable, moves)
    ordered = variable.transpose(FRAME, ..., Y, X)
    rule = VARIABLES[name].binning if name in VARIABLES else "all" if variable.dtype.kind == "b" else "mean"
    total = np.zeros((*ordered.shape[1:-2], *moves.canvas))
    for first, stop, row, column in moves.runs():
        own = total[..., row : row + moves.shape[0], column : column + moves.shape[1]]
        for frame in range(first, stop):
            own += np.asarray(ordered[frame].data, dtype=float)
    seen = moves.exposure()
    if rule == "all":
        values = (total == seen) & (seen > 0)
    elif rule == "sum":
        values = total.astype(np.uint64 if variable.dtype.kind in "ui" else np.float64)
    else:
        values = np.where(seen > 0, total / np.maximum(seen, 1), np.nan).astype(np.float32)
    return xr.Variable(ordered.dims[1:], values, variable.attrs)
