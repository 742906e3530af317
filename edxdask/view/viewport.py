"""Which part of the pixels is shown, and how many of them make one pixel of the screen."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from edxdask.io.grid import SIDE, ChunkGrid

MARGIN = 0.25  # of the part that is shown, on each side: small moves need no new picture
SCREEN = 700  # pixels of the screen across which a map is drawn
OVERVIEW = 512  # pixels, at most, of the picture of a whole map


@dataclass(frozen=True)
class Viewport:
    """A part of one image, in steps of ``step`` × ``step`` pixels.

    Attributes
    ----------
    rows, columns : first pixel and one past the last
    step : a power of 2
    """

    rows: tuple[int, int]
    columns: tuple[int, int]
    step: int

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of its picture."""
        return tuple(-(-(b - a) // self.step) for a, b in (self.rows, self.columns))  # type: ignore[return-value]

    @property
    def cells(self) -> np.ndarray:
        """Pixels that each pixel of the picture is made of; fewer at the lower and right ends."""
        sizes = [
            np.minimum(np.arange(n) * self.step + self.step, b - a) - np.arange(n) * self.step
            for n, (a, b) in zip(self.shape, (self.rows, self.columns), strict=True)
        ]
        return np.outer(*sizes)

    def covers(self, other: Viewport) -> bool:
        """Whether its picture shows all of another, as finely.

        Examples
        --------
        >>> Viewport((0, 64), (0, 64), 1).covers(Viewport((0, 32), (8, 32), 1))
        True
        """
        inside = (
            a[0] <= b[0] and a[1] >= b[1] for a, b in ((self.rows, other.rows), (self.columns, other.columns))
        )
        return self.step == other.step and all(inside)

    def averaged(self, values: np.ndarray) -> np.ndarray:
        """Means over its pixels of an image of just this part; pixels that are NaN take no part."""
        height, width = self.shape
        known = np.isfinite(values)
        padded = np.zeros((height * self.step, width * self.step))
        padded[: values.shape[0], : values.shape[1]] = np.where(known, values, 0.0)
        number = np.zeros(padded.shape, dtype=np.uint8)
        number[: values.shape[0], : values.shape[1]] = known
        blocks = (height, self.step, width, self.step)
        sums, numbers = (a.reshape(blocks).sum(axis=(1, 3), dtype=float) for a in (padded, number))
        return np.divide(sums, numbers, out=np.full(sums.shape, np.nan), where=numbers > 0)


def step_for(pixels: float, screen: int = SCREEN) -> int:
    """Largest power of 2 with which ``pixels`` still fill the screen.

    Examples
    --------
    >>> step_for(4096), step_for(600), step_for(1400)
    (4, 1, 2)
    """
    return 2 ** max(0, math.floor(math.log2(max(pixels / screen, 1.0))))


def whole(shape: tuple[int, int], screen: int = OVERVIEW) -> Viewport:
    """Give the viewport of all pixels, at most ``screen`` across."""
    step = 2 ** max(0, math.ceil(math.log2(max(*shape, 1) / screen)))
    return Viewport((0, shape[0]), (0, shape[1]), step)


def viewport_of(
    rows: tuple[float, float], columns: tuple[float, float], shape: tuple[int, int], *, margin: float = MARGIN
) -> Viewport:
    """Give the viewport of a range of pixels, with a margin, cut to the image and to whole steps.

    Examples
    --------
    >>> viewport_of((-10, 90), (0, 100), (4096, 2048))
    Viewport(rows=(0, 115), columns=(0, 125), step=1)
    """
    step = step_for(max(rows[1] - rows[0], columns[1] - columns[0]))
    cut = []
    for (low, high), size in zip((rows, columns), shape, strict=True):
        wide = margin * (high - low)
        first = min(max(0, math.floor((low - wide) / step) * step), (size - 1) // step * step)
        cut.append((first, min(size, max(first + 1, math.ceil((high + wide) / step) * step))))
    return Viewport(cut[0], cut[1], step)


@dataclass(frozen=True)
class ChunkPlane:
    """The chunks of one image of a cube: all of a map, one image of a series.

    Attributes
    ----------
    grid : chunks of the cube
    plane : number of the image among those before y and x
    """

    grid: ChunkGrid
    plane: int = 0

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of pixels."""
        return self.grid.pixels[-2], self.grid.pixels[-1]

    @property
    def blocks(self) -> tuple[int, int]:
        """Rows and columns of chunks."""
        return self.grid.blocks[-2], self.grid.blocks[-1]

    def band(self, row: int) -> int:
        """Band of a row of chunks."""
        return self.plane * self.blocks[0] + row

    def region(self, row: int, column: int) -> tuple[slice, slice]:
        """Rows and columns of pixels of a chunk."""
        return self.grid.region(self.band(row), column)[-2:]  # type: ignore[return-value]

    def touched(self, view: Viewport) -> list[tuple[int, int]]:
        """Row and column of all chunks under a viewport."""
        down, across = (range(a // SIDE, -(-b // SIDE)) for a, b in (view.rows, view.columns))
        return [(row, column) for row in down for column in across]

    def places(self, view: Viewport, row: int, column: int) -> np.ndarray:
        """Where each pixel of a chunk is in the flat picture of a viewport, -1 where it is outside."""
        parts = []
        for pixels, (first, stop), size in zip(
            self.region(row, column), (view.rows, view.columns), (view.shape[1], 1), strict=True
        ):
            at = np.arange(pixels.start, pixels.stop, dtype=np.int32)
            inside = (at >= first) & (at < stop)
            parts.append((np.where(inside, (at - first) // view.step * size, 0), inside))
        (rows, in_rows), (columns, in_columns) = parts
        places = rows[:, None] + columns[None, :]
        return np.where(in_rows[:, None] & in_columns[None, :], places, -1).astype(np.int32).ravel()
