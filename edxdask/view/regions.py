"""Regions that a person marks, and the chunks that they are made of: whole ones, and those at the border."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from edxdask import schema
from edxdask.io.grid import SIDE
from edxdask.ops.masks import Polygon, Rectangle
from edxdask.view.viewport import ChunkPlane

_DIGITS = 6  # of positions, also in the Python lines that repeat a region
Part = tuple[int, int, np.ndarray | None]  # band, column, which pixels; None for all


@dataclass(frozen=True, eq=False)
class MarkedRegion:
    """Pixels of a map that a person marked.

    Attributes
    ----------
    shape : rectangle or polygon in the unit of the axes; None where it is a mask
    mask : (y, x) bool of the map; None where it is a shape
    code : Python expression that makes it
    """

    shape: Rectangle | Polygon | None
    mask: np.ndarray | None
    code: str

    def outline(self) -> tuple[list[float], list[float]]:
        """X and y of its corners; of a mask none."""
        if isinstance(self.shape, Rectangle):
            (y0, y1), (x0, x1) = self.shape.y, self.shape.x
            return [x0, x1, x1, x0], [y0, y0, y1, y1]
        if isinstance(self.shape, Polygon):
            return [x for _, x in self.shape.vertices], [y for y, _ in self.shape.vertices]
        return [], []

    def inside(self, y: np.ndarray, x: np.ndarray, rows: slice, columns: slice) -> np.ndarray:
        """Which pixels at these positions, of these rows and columns, are in it."""
        if self.mask is not None:
            return self.mask[rows, columns]
        assert self.shape is not None
        pixels = np.broadcast_to(np.uint8(0), (y.size, x.size, 1))
        only_axes = xr.Dataset(
            {schema.COUNTS: ((schema.Y, schema.X, schema.ENERGY), pixels)},
            {schema.Y: y, schema.X: x, schema.ENERGY: [0.0]},
        )
        return np.asarray(self.shape.mask(only_axes).values)


def rectangle(y: Sequence[float], x: Sequence[float]) -> MarkedRegion:
    """Give the region of a rectangle from two of its corners.

    Examples
    --------
    >>> rectangle((8.0, 1.0), (0.0, 4.00000001)).code
    'edxdask.Rectangle(y=(1, 8), x=(0, 4))'
    """
    (y0, y1), (x0, x1) = (sorted(map(_rounded, ends)) for ends in (y, x))
    code = (
        f"edxdask.Rectangle(y=({y0:.{_DIGITS}g}, {y1:.{_DIGITS}g}), x=({x0:.{_DIGITS}g}, {x1:.{_DIGITS}g}))"
    )
    return MarkedRegion(Rectangle(y=(y0, y1), x=(x0, x1)), None, code)


def polygon(y: Sequence[float], x: Sequence[float]) -> MarkedRegion:
    """Give the region of a polygon from its corners."""
    corners = [(_rounded(b), _rounded(a)) for b, a in zip(y, x, strict=True)]
    text = ", ".join(f"({_said(b)}, {_said(a)})" for b, a in corners)
    return MarkedRegion(Polygon(corners), None, f"edxdask.Polygon([{text}])")


def from_mask(mask: np.ndarray, name: str) -> MarkedRegion:
    """Give the region of a mask that was read from a file called ``name``."""
    return MarkedRegion(
        None, np.asarray(mask, dtype=bool), f"edxdask.unmix.masks_user.user_mask({name!r}, ds, name='mask')"
    )


def _said(value: float) -> str:
    return f"{value:.{_DIGITS}g}"


def _rounded(value: float) -> float:
    return float(_said(value))


def parts_of(region: MarkedRegion, plane: ChunkPlane, y: np.ndarray, x: np.ndarray) -> tuple[list[Part], int]:
    """Chunks that a region is made of, and its number of pixels; ``y`` and ``x`` are positions of pixels."""
    parts: list[Part] = []
    pixels = 0
    border, inner = _chunks_of(region, plane, y, x)
    for row, column in np.argwhere(border | inner):
        rows, columns = plane.region(int(row), int(column))
        area = (rows.stop - rows.start) * (columns.stop - columns.start)
        inside = None
        if border[row, column]:
            inside = region.inside(y[rows], x[columns], rows, columns)
            area = int(inside.sum())
        if area:
            whole = inside is None or inside.all()
            parts.append((plane.band(int(row)), int(column), None if whole else inside))
            pixels += area
    return parts, pixels


def _chunks_of(
    region: MarkedRegion, plane: ChunkPlane, y: np.ndarray, x: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Chunks that the border of a region may cross, and those that are wholly in it."""
    border, inner = np.zeros(plane.blocks, dtype=bool), np.zeros(plane.blocks, dtype=bool)
    if region.mask is not None:
        for row, column in np.ndindex(*plane.blocks):
            own = region.mask[plane.region(row, column)]
            inner[row, column] = own.all()
            border[row, column] = own.any() and not own.all()
        return border, inner
    across, down = region.outline()
    rows, columns = (_elements(np.array(at), axis) / SIDE for at, axis in ((down, y), (across, x)))
    for a, b, c, d in zip(rows, np.roll(rows, -1), columns, np.roll(columns, -1), strict=True):
        _mark_edge(border, (a, c), (b, d))
    middle_y, middle_x = (
        axis[np.minimum(np.arange(n) * SIDE + SIDE // 2, axis.size - 1)]
        for n, axis in zip(plane.blocks, (y, x), strict=True)
    )
    inner = region.inside(middle_y, middle_x, slice(None), slice(None)) & ~border
    return border, inner


def _elements(positions: np.ndarray, axis: np.ndarray) -> np.ndarray:
    """Positions in pixels from the first, also beyond the ends of an axis with equal steps."""
    step = (axis[-1] - axis[0]) / (axis.size - 1) if axis.size > 1 else 1.0
    return np.asarray((positions - axis[0]) / step)


def _mark_edge(border: np.ndarray, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Mark all chunks that an edge passes, and at most some beside it; positions are in chunks."""
    pieces = max(1, int(np.ceil(2 * max(abs(end[0] - start[0]), abs(end[1] - start[1])))))
    points = np.linspace(start, end, pieces + 1)
    slack = 1.0 / SIDE  # a pixel's centre is half a pixel from its corner
    for one, next_one in itertools.pairwise(points):
        low = np.floor(np.minimum(one, next_one) - slack).astype(int)
        high = np.floor(np.maximum(one, next_one) + slack).astype(int)
        if (high >= 0).all():
            first = np.maximum(low, 0)
            border[first[0] : high[0] + 1, first[1] : high[1] + 1] = True
