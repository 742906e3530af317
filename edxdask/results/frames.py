"""What is known of a map whose frames were aligned: its path, its exposure, the words for both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from edxdask.photons.frames import Drift, Moves
from edxdask.schema import (
    AXIS,
    BAD_FRAMES,
    DRIFT,
    DRIFT_IMAGE,
    EXPOSURE,
    FRAME,
    LIVE_TIME,
    REAL_TIME,
    STD_SUFFIX,
    WARNINGS,
    X,
    Y,
    variable_attrs,
)

MOST_NAMED = 12  # frames in a sentence


def drift_variables(drift: Drift, moves: Moves, numbers: np.ndarray) -> xr.Dataset:
    """Path, its errors and the exposure as variables; ``numbers`` are those of the frames in the file."""
    dims = (FRAME, AXIS)
    error = {"units": "px", "long_name": "standard error of the move"}
    return xr.Dataset(
        {
            DRIFT: (dims, drift.path.astype(np.float64), variable_attrs(DRIFT)),
            DRIFT + STD_SUFFIX: (dims, drift.std.astype(np.float64), error),
            EXPOSURE: ((Y, X), moves.exposure(), variable_attrs(EXPOSURE)),
        },
        coords={FRAME: numbers, AXIS: [Y, X]},
    )


def drift_attrs(drift: Drift, numbers: np.ndarray, *, dropped: bool) -> dict[str, Any]:
    """Attributes of an aligned map: bad frames by their numbers in the file, and what they mean."""
    bad = [int(numbers[i]) for i in drift.bad]
    warning = bad_frames_warning(bad, dropped=dropped)
    return {
        DRIFT_IMAGE: drift.image,
        BAD_FRAMES: bad,
        **({WARNINGS: [warning]} if warning else {}),
    }


def kept_times(attrs: Mapping[Any, Any], moves: Moves) -> dict[Any, Any]:
    """Live and real time of the frames that take part in the sum.

    Examples
    --------
    >>> moves = Moves((4, 5), np.zeros((4, 2), int), np.array([True, True, True, False]))
    >>> kept_times({"live_time_s": 8.0, "title": "a"}, moves)
    {'live_time_s': 6.0}
    """
    fraction = float(moves.kept.mean())
    return {key: attrs[key] * fraction for key in (LIVE_TIME, REAL_TIME) if attrs.get(key) is not None}


def bad_frames_warning(bad: list[int], *, dropped: bool) -> str:
    """Say which frames are bad, and what was done with them; "" where none is.

    Examples
    --------
    >>> bad_frames_warning([3, 7], dropped=True)
    'frames 3, 7 do not show what the others show, or are off the path of the drift; they were left out'
    """
    if not bad:
        return ""
    named = ", ".join(map(str, bad[:MOST_NAMED])) + (" …" if len(bad) > MOST_NAMED else "")
    one = len(bad) == 1
    what = "does not show what the others show, or is" if one else "do not show what the others show, or are"
    done = f"{'it was' if one else 'they were'} left out"
    kept = f"{'it is' if one else 'they are'} in the sum; drop_bad_frames=True changes that"
    return f"frame{'' if one else 's'} {named} {what} off the path of the drift; {done if dropped else kept}"


def drift_entry(drift: Drift, moves: Moves) -> str:
    """Line of the history of an aligned map.

    Examples
    --------
    >>> still = np.zeros((2, 2))
    >>> drift = Drift(still, still, (), "haadf", 1)
    >>> drift_entry(drift, drift.moves((4, 5), drop_bad_frames=False))
    '2 of 2 frames aligned on haadf by whole pixels: 0.0 px apart at most, 4 x 5 became 4 x 5 pixels'
    """
    farthest = float(np.ptp(drift.path, axis=0).max())
    rows, columns = moves.canvas
    return (
        f"{int(moves.kept.sum())} of {moves.kept.size} frames aligned on {drift.image} by whole pixels: "
        f"{farthest:.1f} px apart at most, {moves.shape[0]} x {moves.shape[1]} became "
        f"{rows} x {columns} pixels"
    )


def placed(variable: xr.Variable, moves: Moves) -> xr.Variable:
    """Place a map that has no frames where the first frame is; beyond it nothing is known."""
    ordered = variable.transpose(..., Y, X)
    sides = [
        (int(at), int(whole - at - size))
        for at, whole, size in zip(moves.offsets[0], moves.canvas, moves.shape, strict=True)
    ]
    cut = tuple(slice(max(-a, 0), n - max(-b, 0)) for (a, b), n in zip(sides, moves.shape, strict=True))
    kind = variable.dtype.kind
    fill: Any = np.nan if kind == "f" else variable.dtype.type()
    pad = {dim: (max(a, 0), max(b, 0)) for dim, (a, b) in zip((Y, X), sides, strict=True)}
    return ordered[(..., *cut)].pad(pad, mode="constant", constant_values=fill)


def longer(cube: xr.Dataset, dim: str, size: int, before: int) -> xr.Variable:
    """Coordinate of a larger field in equal steps; the first frame keeps its own values."""
    if dim not in cube.coords:
        return xr.Variable((dim,), np.arange(size, dtype=float) - before)
    values = np.asarray(cube[dim].values, dtype=float)
    step = (values[-1] - values[0]) / (values.size - 1) if values.size > 1 else 1.0
    return xr.Variable((dim,), values[0] + (np.arange(size) - before) * step, cube[dim].attrs)
