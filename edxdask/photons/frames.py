"""Series of frames: what offers them, and their sum when each frame moves by whole pixels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from edxdask.photons.block import PhotonBlock
from edxdask.photons.rebin import bin_block, concat_blocks


class FrameSeries(Protocol):
    """Frames of one map, counted from 0, wherever they are stored.

    Attributes
    ----------
    shape : rows, columns of a frame
    channels : length of the energy axis
    frames : number of frames
    images : names of the scanned images that have one image for each frame
    """

    @property
    def shape(self) -> tuple[int, int]: ...  # noqa: D102
    @property
    def channels(self) -> int: ...  # noqa: D102
    @property
    def frames(self) -> int: ...  # noqa: D102
    @property
    def images(self) -> tuple[str, ...]: ...  # noqa: D102

    def image(self, name: str, frame: int) -> np.ndarray:
        """One frame of a scanned image."""
        ...

    def rows(self, first: int, stop: int, top: int, bottom: int) -> PhotonBlock:
        """Photons of rows ``top`` to ``bottom``, summed over frames ``first`` to ``stop``."""
        ...


@dataclass(frozen=True)
class Moves:
    """Where each frame lies on the canvas that holds them all, in whole pixels.

    Attributes
    ----------
    shape : rows, columns of a frame
    offsets : (frames, 2) int64, row and column of the canvas that a frame's first pixel is at; the smallest
        ones of the frames that are kept are 0
    kept : (frames,) bool, frames that take part in the sum
    """

    shape: tuple[int, int]
    offsets: np.ndarray
    kept: np.ndarray

    @classmethod
    def of(cls, positions: np.ndarray, kept: np.ndarray, shape: tuple[int, int]) -> Moves:
        """Round positions (frames, 2) to whole pixels, and put the canvas around the frames that are kept.

        Examples
        --------
        >>> moves = Moves.of(np.array([[0.0, 0.0], [-1.6, 0.4]]), np.array([True, True]), (4, 5))
        >>> moves.offsets.tolist(), moves.canvas
        ([[2, 0], [0, 0]], (6, 5))
        """
        whole = np.round(positions).astype(np.int64)
        return cls(shape, whole - whole[kept].min(axis=0), kept)

    @property
    def canvas(self) -> tuple[int, int]:
        """Rows and columns of the canvas."""
        rows, columns = self.offsets[self.kept].max(axis=0)
        return int(self.shape[0] + rows), int(self.shape[1] + columns)

    def runs(self) -> Iterator[tuple[int, int, int, int]]:
        """Yield first frame, one past the last, row and column of neighbouring frames that move alike."""
        first = 0
        frames = self.kept.size
        while first < frames:
            stop = first + 1
            while (
                stop < frames
                and self.kept[stop] == self.kept[first]
                and np.array_equal(self.offsets[stop], self.offsets[first])
            ):
                stop += 1
            if self.kept[first]:
                yield first, stop, int(self.offsets[first, 0]), int(self.offsets[first, 1])
            first = stop

    def exposure(self) -> np.ndarray:
        """Count the frames that saw each pixel of the canvas.

        Examples
        --------
        >>> Moves((1, 2), np.array([[0, 0], [0, 1]]), np.array([True, True])).exposure().tolist()
        [[1, 2, 1]]
        """
        seen = np.zeros(self.canvas, dtype=np.uint32)
        for first, stop, row, column in self.runs():
            seen[row : row + self.shape[0], column : column + self.shape[1]] += np.uint32(stop - first)
        return seen


@dataclass(frozen=True)
class Drift:
    """What the frames of a map did.

    Attributes
    ----------
    path : (frames, 2) px, how far the sample has moved down and right since the first frame
    std : (frames, 2) px
    bad : frames that do not show what the others show, or are off the path
    image : scanned image that the frames were registered on, or "photons"
    group : frames registered together
    """

    path: np.ndarray
    std: np.ndarray
    bad: tuple[int, ...]
    image: str
    group: int

    def moves(self, shape: tuple[int, int], *, drop_bad_frames: bool) -> Moves:
        """Where each frame goes, so that the sample stays in place."""
        kept = np.ones(len(self.path), dtype=bool)
        if drop_bad_frames:
            kept[list(self.bad)] = False
        return Moves.of(-self.path, kept, shape)


def moved_rows(series: FrameSeries, moves: Moves, top: int, bottom: int) -> PhotonBlock:
    """Sum the photons of all kept frames in rows ``top`` to ``bottom`` of the canvas.

    Memory: the photons of these rows twice; each frame is read where it overlaps them, and nowhere else.
    """
    width = moves.canvas[1]
    pieces = []
    for first, stop, row, column in moves.runs():
        begin, end = max(top - row, 0), min(bottom - row, series.shape[0])
        if begin < end:
            block = series.rows(first, stop, begin, end)
            pieces.append(_placed(block, begin + row - top, column, (bottom - top, width), series.shape[1]))
    if not pieces:
        nothing = np.zeros((bottom - top) * width + 1, dtype=np.int64)
        return PhotonBlock(nothing, np.empty(0, np.uint16), np.empty(0, np.uint8), series.channels)
    if len(pieces) == 1:
        return pieces[0]
    together = concat_blocks(pieces)
    return bin_block(together, (len(pieces), (bottom - top) * width), (len(pieces), 1))


def _placed(block: PhotonBlock, row: int, column: int, canvas: tuple[int, int], width: int) -> PhotonBlock:
    """Put rows of ``width`` pixels on a larger canvas; the order of the photons stays, so none is copied."""
    sizes = np.zeros(canvas, dtype=np.int64)
    own = np.diff(block.indptr).reshape(-1, width)
    sizes[row : row + own.shape[0], column : column + width] = own
    indptr = np.zeros(sizes.size + 1, dtype=np.int64)
    np.cumsum(sizes.ravel(), out=indptr[1:])
    return PhotonBlock(indptr, block.channel, block.count, block.channels)


def moved_image(series: FrameSeries, moves: Moves, name: str) -> np.ndarray:
    """Average a scanned image over the frames that saw each pixel of the canvas; NaN where none did."""
    total = np.zeros(moves.canvas)
    for first, stop, row, column in moves.runs():
        own = total[row : row + moves.shape[0], column : column + moves.shape[1]]
        for frame in range(first, stop):
            own += series.image(name, frame)
    seen = moves.exposure()
    return np.divide(total, seen, out=np.full(total.shape, np.nan), where=seen > 0).astype(np.float32)
