"""Lazy canvases: arrays of maps at their places, added or averaged where they overlap.

Every map is cut at the borders of the canvas' blocks and filled up to whole blocks; where the same maps meet,
their blocks are merged in one task. The canvas is made of such areas, so that a task sees the few maps that
reach it and memory follows blocks, not the canvas.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import dask.array as da
import numpy as np

BLOCK, IMAGE_BLOCK = 64, 512  # pixels along y and x of a block: of counts as the store has them, of images
_WIDER = {1: np.uint16, 2: np.uint32, 4: np.uint32}


@dataclass(frozen=True, eq=False)
class Layer:
    """One map's array on the canvas.

    Attributes
    ----------
    data : lazy array
    origin : row and column of the canvas that it begins at
    weight : for means: lazy array (y, x) of the same map
    """

    data: da.Array
    origin: tuple[int, int]
    weight: da.Array | None = None


def added(layers: Sequence[Layer], shape: tuple[int, int], *, axes: tuple[int, int], block: int) -> da.Array:
    """Add maps on a canvas of this shape; whole numbers get a type that holds sums, 0 where no map is.

    Notes
    -----
    *Chunks*: blocks of ``block`` × ``block`` pixels; a task takes the chunks of the maps that reach its
    block.

    Examples
    --------
    >>> one = da.ones((2, 3), dtype="u2")
    >>> added([Layer(one, (0, 0)), Layer(one, (1, 1))], (3, 4), axes=(0, 1), block=2).compute().tolist()
    [[1, 1, 1, 0], [1, 2, 2, 1], [0, 1, 1, 1]]
    """
    dtype = np.result_type(*(layer.data.dtype for layer in layers))
    wide = np.dtype(_WIDER[dtype.itemsize]) if dtype.kind in "ui" and dtype.itemsize in _WIDER else dtype
    canvas = _Canvas(shape, axes, block)
    placed = [canvas.placed(layer.data, layer.origin, fill=0) for layer in layers]
    return canvas.assembled([(one,) for one in placed], _added, wide, fill=0)


def averaged(
    layers: Sequence[Layer],
    shape: tuple[int, int],
    *,
    axes: tuple[int, int],
    block: int,
    errors: bool = False,
) -> da.Array:
    """Average maps by their weights; NaN where no map is.

    Parameters
    ----------
    layers : sequence of Layer
        Maps with weights.
    shape : (int, int)
        Rows and columns of the canvas.
    axes : (int, int)
        Axes of rows and columns in the arrays.
    block : int
        Pixels along y and x of a block.
    errors : bool
        The values are standard errors, which get smaller where maps overlap.

    Examples
    --------
    >>> one, weight = da.ones((1, 2)), da.ones((1, 2))
    >>> layers = [Layer(one, (0, 0), weight), Layer(3 * one, (0, 1), 3 * weight)]
    >>> averaged(layers, (1, 3), axes=(0, 1), block=2).compute().tolist()
    [[1.0, 2.5, 3.0]]
    """
    dtype = np.result_type(
        np.float32, *(layer.data.dtype for layer in layers if layer.data.dtype.kind == "f")
    )
    canvas, flat = _Canvas(shape, axes, block), _Canvas(shape, (0, 1), block)
    placed = []
    for layer in layers:
        if layer.weight is None:
            raise ValueError("a mean needs weights")
        values = canvas.placed(layer.data.astype(dtype), layer.origin, fill=np.nan)
        placed.append((values, flat.placed(layer.weight.astype(np.float64), layer.origin, fill=0.0)))
    return canvas.assembled(placed, _averaged_errors if errors else _averaged, dtype, fill=np.nan)


@dataclass(frozen=True)
class _Placed:
    """An array filled up to whole blocks: the first block, and the blocks."""

    first: tuple[int, int]
    data: da.Array


@dataclass(frozen=True)
class _Canvas:
    shape: tuple[int, int]
    axes: tuple[int, int]
    block: int

    def placed(self, data: da.Array, origin: tuple[int, int], *, fill: float) -> _Placed:
        """Cut an array at the borders of blocks, and fill its outer blocks up."""
        chunks: list[tuple[int, ...] | int] = [(n,) for n in data.shape]
        whole = list(chunks)
        pads: dict[int, tuple[int, int]] = {}
        first = []
        for axis, begin, size in zip(self.axes, origin, self.shape, strict=True):
            end = begin + data.shape[axis]
            low, high = begin // self.block, -(-end // self.block)
            borders = [begin, *range((low + 1) * self.block, end, self.block), end]
            chunks[axis] = tuple(b - a for a, b in pairwise(borders))
            ends = [min((i + 1) * self.block, size) for i in range(low, high)]
            whole[axis] = tuple(b - a for a, b in pairwise([low * self.block, *ends]))
            pads[axis] = (begin - low * self.block, ends[-1] - end)
            first.append(low)
        cut = data.rechunk(tuple(chunks))
        filled = da.map_blocks(
            _filled, cut, pads=pads, last=cut.numblocks, fill=fill, chunks=tuple(whole), dtype=data.dtype,
            meta=np.empty((0,) * data.ndim, data.dtype),
        )  # fmt: skip
        return _Placed((first[0], first[1]), filled)

    def assembled(
        self, placed: Sequence[tuple[_Placed, ...]], merge: object, dtype: np.dtype, *, fill: float
    ) -> da.Array:
        """Make the canvas of areas that the same maps cover."""
        spans = [self._span(group[0]) for group in placed]
        edges = [
            sorted({0, -(-size // self.block), *(end for span in spans for end in span[i])})
            for i, size in enumerate(self.shape)
        ]
        model = placed[0][0].data
        rows = []
        for top, bottom in pairwise(edges[0]):
            row = []
            for left, right in pairwise(edges[1]):
                inside = [
                    [self._blocks(one, top, bottom, left, right) for one in group]
                    for group, (y, x) in zip(placed, spans, strict=True)
                    if y[0] <= top and bottom <= y[1] and x[0] <= left and right <= x[1]
                ]
                row.append(
                    self._merged(inside, merge, dtype)
                    if inside
                    else self._empty(model, (top, bottom), (left, right), dtype, fill)
                )
            rows.append(da.concatenate(row, axis=self.axes[1]))
        return da.concatenate(rows, axis=self.axes[0])

    def _span(self, one: _Placed) -> tuple[tuple[int, int], tuple[int, int]]:
        (top, left), blocks = one.first, one.data.numblocks
        return (top, top + blocks[self.axes[0]]), (left, left + blocks[self.axes[1]])

    def _blocks(self, one: _Placed, top: int, bottom: int, left: int, right: int) -> da.Array:
        axes = self.axes if one.data.ndim > 2 else (0, 1)  # weights are (y, x)
        index = [slice(None)] * one.data.ndim
        index[axes[0]] = slice(top - one.first[0], bottom - one.first[0])
        index[axes[1]] = slice(left - one.first[1], right - one.first[1])
        return one.data.blocks[tuple(index)]

    def _merged(self, inside: Sequence[Sequence[da.Array]], merge: object, dtype: np.dtype) -> da.Array:
        arrays = [array for group in inside for array in group]
        model = arrays[0]
        return da.map_blocks(
            merge, *arrays, dtype=dtype, sum_to=dtype, chunks=model.chunks,
            meta=np.empty((0,) * model.ndim, dtype),
        )  # fmt: skip

    def _empty(
        self, model: da.Array, rows: tuple[int, int], columns: tuple[int, int], dtype: np.dtype, fill: float
    ) -> da.Array:
        chunks: list[tuple[int, ...]] = list(model.chunks)
        for axis, (low, high), size in zip(self.axes, (rows, columns), self.shape, strict=True):
            borders = [min(i * self.block, size) for i in range(low, high + 1)]
            chunks[axis] = tuple(b - a for a, b in pairwise(borders))
        return da.full(tuple(map(sum, chunks)), fill, chunks=tuple(chunks), dtype=dtype)


def _filled(
    block: np.ndarray,
    *,
    pads: dict[int, tuple[int, int]],
    last: tuple[int, ...],
    fill: float,
    block_id: tuple[int, ...] = (),
) -> np.ndarray:
    """Fill an outer block up to a whole one."""
    widths = [(0, 0)] * block.ndim
    for axis, (before, after) in pads.items():
        begins, ends = block_id[axis] == 0, block_id[axis] == last[axis] - 1
        widths[axis] = (before if begins else 0, after if ends else 0)
    if not any(map(any, widths)):
        return block
    return np.pad(block, widths, constant_values=fill)


def _added(*blocks: np.ndarray, sum_to: np.dtype) -> np.ndarray:
    total = blocks[0].astype(sum_to)
    for block in blocks[1:]:
        total += block
    return total


def _averaged(*blocks: np.ndarray, sum_to: np.dtype) -> np.ndarray:
    """Mean of values by their weights; blocks are values and weights in turn."""
    values, weights = blocks[::2], blocks[1::2]
    known = [np.isfinite(value) for value in values]
    parts = [np.where(ok, weight, 0.0) for ok, weight in zip(known, weights, strict=True)]
    # of pixels without weight, such as those without photons, the plain mean
    whole = np.sum(parts, axis=0)
    parts = [np.where(whole > 0, part, ok) for part, ok in zip(parts, known, strict=True)]
    whole = np.sum(parts, axis=0)
    total = sum(np.where(ok, value, 0.0) * part for ok, value, part in zip(known, values, parts, strict=True))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(whole > 0, total / whole, np.nan), dtype=sum_to)


def _averaged_errors(*blocks: np.ndarray, sum_to: np.dtype) -> np.ndarray:
    """Error of such a mean: the root of the weighted sum of squares."""
    values, weights = blocks[::2], blocks[1::2]
    parts = [np.where(np.isfinite(value), weight, 0.0) for value, weight in zip(values, weights, strict=True)]
    whole = np.sum(parts, axis=0)
    squares = sum((np.nan_to_num(value) * part) ** 2 for value, part in zip(values, parts, strict=True))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(whole > 0, np.sqrt(squares) / whole, np.nan), dtype=sum_to)
