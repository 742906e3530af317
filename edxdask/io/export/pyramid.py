"""Images of one grid in steps of half size, strip by strip: what viewers of large images open at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import dask.array as da
import numpy as np
import xarray as xr

from edxdask.errors import ParameterError
from edxdask.io.export.target import Axis, axis_of
from edxdask.progress import Progress, ProgressHook

TILE = 256  # pixels along each side of a tile, and of the smallest level
ROWS_AT_ONCE = 2 * TILE  # rows that are computed at once
NANOMETRES = "nm"


@dataclass(frozen=True, eq=False)
class Layers:
    """Images on one grid, lazy.

    Attributes
    ----------
    names : of the images
    arrays : (y, x) each
    rows, columns : axes that all have in common
    dtype : of the file, uint16 where all images are whole numbers of 16 bits, else float32
    """

    names: tuple[str, ...]
    arrays: tuple[xr.DataArray, ...]
    rows: Axis
    columns: Axis
    dtype: np.dtype

    @property
    def shape(self) -> tuple[int, int, int]:
        """Images, rows, columns."""
        return len(self.arrays), self.rows.values.size, self.columns.values.size

    @property
    def step(self) -> tuple[float, float]:
        """Size of a pixel along y and x, in the unit of the axes."""
        return abs(self.rows.scale or 1.0), abs(self.columns.scale or 1.0)

    def levels(self) -> list[tuple[int, int, int]]:
        """Shapes of all levels: halves until one tile holds the whole.

        Examples
        --------
        >>> image = xr.DataArray(np.zeros((700, 300), "f4"), dims=("y", "x"), name="haadf")
        >>> layers_of([image]).levels()
        [(1, 700, 300), (1, 350, 150), (1, 175, 75)]
        """
        count, rows, columns = self.shape
        shapes = [(count, rows, columns)]
        while max(rows, columns) > TILE:
            rows, columns = -(-rows // 2), -(-columns // 2)
            shapes.append((count, rows, columns))
        return shapes

    def strips(self, label: str, progress: ProgressHook | None) -> Iterator[tuple[int, int, np.ndarray]]:
        """Yield image, first row and values, computed strip by strip."""
        count, rows, columns = self.shape
        done, total = 0, count * rows * columns
        for number, array in enumerate(self.arrays):
            for top in range(0, rows, ROWS_AT_ONCE):
                strip = array.data[top : top + ROWS_AT_ONCE]
                values = strip.compute() if isinstance(strip, da.Array) else np.asarray(strip)
                yield number, top, values.astype(self.dtype, copy=False)
                done += values.size
                if progress is not None:
                    progress(Progress(label, done, total, "px", 0))


def layers_of(images: Sequence[xr.DataArray]) -> Layers:
    """Gather images of one grid.

    Raises
    ------
    ParameterError
        If they are no images, or not of one grid.
    """
    if not images:
        raise ParameterError("data", "no image", "one image (y, x) or more")
    first = images[0]
    for image in images:
        if image.ndim != 2 or image.shape != first.shape or image.dims != first.dims:
            raise ParameterError("data", dict(image.sizes), f"images of the size {dict(first.sizes)}")
    whole = all(image.dtype.kind in "ub" and image.dtype.itemsize <= 2 for image in images)
    rows, columns = (axis_of(first, str(dim)) for dim in first.dims)
    names = tuple(str(image.name or f"image {i + 1}") for i, image in enumerate(images))
    return Layers(names, tuple(images), rows, columns, np.dtype(np.uint16 if whole else np.float32))


def halved(values: np.ndarray) -> np.ndarray:
    """Means of 2 × 2 pixels of the last two axes, at odd ends of fewer; pixels that are NaN take no part.

    Examples
    --------
    >>> halved(np.array([[1.0, 3.0, 5.0], [1.0, 3.0, np.nan]])).tolist()
    [[2.0, 5.0]]
    """
    ends = [(0, 0)] * (values.ndim - 2) + [(0, n % 2) for n in values.shape[-2:]]
    padded = np.pad(values.astype(np.float64), ends, constant_values=np.nan)
    shape = (*padded.shape[:-2], padded.shape[-2] // 2, 2, padded.shape[-1] // 2, 2)
    blocks = padded.reshape(shape)
    known = np.isfinite(blocks)
    count = known.sum(axis=(-3, -1))
    total = np.where(known, blocks, 0.0).sum(axis=(-3, -1))
    means = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return (np.rint(means) if values.dtype.kind in "ui" else means).astype(values.dtype)
