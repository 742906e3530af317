"""Frames of a vendor file, read one by one from the child process, and their sum after each has moved."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from edxdask.errors import ParameterError
from edxdask.io.remote import RemoteReader
from edxdask.photons import PhotonBlock
from edxdask.photons.frames import Drift, FrameSeries, Moves, moved_image, moved_rows
from edxdask.results.frames import drift_attrs, drift_entry, drift_variables, kept_times, longer, placed
from edxdask.schema import FRAME, HISTORY, WARNINGS, X, Y


@dataclass(frozen=True)
class Alignment:
    """How frames are to be aligned.

    Attributes
    ----------
    find : gives the drift of a series of frames; the text is what progress is shown of
    drop_bad_frames : whether bad frames are left out of the sum
    options : what was asked for, as resume compares it and as it is typed
    """

    find: Callable[[FrameSeries, str], Drift]
    drop_bad_frames: bool
    options: dict[str, Any]


class RemoteFrames:
    """Frames of one map of an open vendor file."""

    def __init__(self, remote: RemoteReader, number: int) -> None:
        self._remote, self._number = remote, number
        header = remote.headers[number]
        if not header.frames:
            raise ParameterError(
                "align",
                True,
                f"a file whose frames can be read one by one; {remote.path} ({remote.reader} reader) gives "
                "their sum",
                "Leave it out.",
            )
        self.shape, self.channels, self.frames = header.shape, header.channels, header.frames
        self.images = header.frame_images

    def image(self, name: str, frame: int) -> np.ndarray:
        """One frame of a scanned image."""
        return self._remote.frame_image(self._number, name, frame)

    def rows(self, first: int, stop: int, top: int, bottom: int) -> PhotonBlock:
        """Photons of some rows, summed over some frames."""
        return self._remote.frame_rows(self._number, (first, stop), (top, bottom))


@dataclass(frozen=True)
class AlignedMap:
    """One map of a vendor file whose frames move."""

    frames: RemoteFrames
    drift: Drift
    moves: Moves
    numbers: np.ndarray
    dropped: bool

    @classmethod
    def of(cls, frames: RemoteFrames, drift: Drift, *, first: int, dropped: bool) -> AlignedMap:
        """Place frames by their drift; ``first`` is the number of the first one in the file."""
        moves = drift.moves(frames.shape, drop_bad_frames=dropped)
        return cls(frames, drift, moves, np.arange(first, first + frames.frames), dropped)

    def bands(self, rows: int, skip: Collection[int]) -> Iterator[tuple[int, PhotonBlock]]:
        """First row and photons of every band of the canvas, but for first rows in ``skip``."""
        for first in range(0, self.moves.canvas[0], rows):
            if first not in skip:
                yield (
                    first,
                    moved_rows(self.frames, self.moves, first, min(first + rows, self.moves.canvas[0])),
                )

    @property
    def left_out(self) -> str:
        """Why the photons cannot be compared with the file's own total; empty where they can."""
        return "" if self.moves.kept.all() else "bad frames were left out, and the file's total is of all"

    def described(self, rest: xr.Dataset) -> xr.Dataset:
        """Give everything but the counts for the canvas; ``rest`` is for frames that have not moved."""
        variables: dict[str, xr.Variable] = {}
        for name, variable in ((str(n), v) for n, v in rest.data_vars.items()):
            if name in self.frames.images:
                image = moved_image(self.frames, self.moves, name)
                variables[name] = xr.Variable((Y, X), image, variable.attrs)
            else:
                here = {Y, X} <= set(variable.dims)
                variables[name] = placed(variable.variable, self.moves) if here else variable.variable
        own = drift_variables(self.drift, self.moves, self.numbers)
        along = {
            dim: longer(rest, dim, size, int(before))
            for dim, size, before in zip((Y, X), self.moves.canvas, self.moves.offsets[0], strict=True)
        }
        others = {n: c.variable for n, c in rest.coords.items() if n not in (Y, X, FRAME)}
        attrs = drift_attrs(self.drift, self.numbers, dropped=self.dropped)
        warnings = [*rest.attrs.get(WARNINGS, []), *attrs.get(WARNINGS, [])]
        return xr.Dataset(
            {**variables, **own.data_vars},
            coords={**others, **along, **own.coords},
            attrs={
                **rest.attrs,
                **kept_times(rest.attrs, self.moves),
                **attrs,
                **({WARNINGS: warnings} if warnings else {}),
                HISTORY: [*rest.attrs[HISTORY], drift_entry(self.drift, self.moves)],
            },
        )


def keep_drift(note: Path, drift: Drift) -> None:
    """Write a drift to a file, whole or not at all."""
    plain = {
        "path": drift.path.tolist(),
        "std": drift.std.tolist(),
        "bad": list(drift.bad),
        "image": drift.image,
        "group": drift.group,
    }
    note.parent.mkdir(parents=True, exist_ok=True)
    scratch = note.with_suffix(".tmp")
    scratch.write_text(json.dumps(plain))
    scratch.replace(note)


def kept_drift(note: Path) -> Drift | None:
    """Drift that an earlier run found, if it found one: bands of both runs must agree."""
    if not note.exists():
        return None
    plain = json.loads(note.read_text())
    return Drift(
        np.array(plain["path"]),
        np.array(plain["std"]),
        tuple(plain["bad"]),
        plain["image"],
        plain["group"],
    )
