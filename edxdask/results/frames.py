"""What is known of a map whose frames were aligned: its path, its exposure, the words for both."""

from __future__ import annotations

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
    kept = f"{'it is' if one else 'they are'} in the sum; drop_bad_frames=True leaves {'it' if one else 'them'} out"
    return f"frame{'' if one else 's'} {named} {what} off the path of the drift; {done if dropped else kept}"


def drift_entry(drift: Drift, moves: Moves) -> str:
    """Line of the history of an aligned map.

    Examples
    --------
    >>> still = np.zeros((2, 2))
    >>> drift_entry(Drift(still, still, (), "haadf", 1), Moves((4, 5), still.astype(int), np.array([True, True])))
    '2 of 2 frames aligned on haadf by whole pixels: 0.0 px apart at most, 4 x 5 became 4 x 5 pixels'
    """
    farthest = float(np.ptp(drift.path, axis=0).max())
    rows, columns = moves.canvas
    return (
        f"{int(moves.kept.sum())} of {moves.kept.size} frames aligned on {drift.image} by whole pixels: "
        f"{farthest:.1f} px apart at most, {moves.shape[0]} x {moves.shape[1]} became {rows} x {columns} pixels"
    )
