"""Volumes as OME-Zarr 0.5: a channel for each phase, levels of half size along all three axes."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.codecs import BloscCodec

from edxdask.io.export.ome_zarr import VERSION, writing_folder
from edxdask.io.export.volume_stack import VolumeStack
from edxdask.progress import ProgressHook

CHUNK = 64  # voxels along each side
SMALLEST = 128  # voxels along the longest side of the last level


def write(
    stack: VolumeStack,
    path: Path,
    *,
    colors: Sequence[str],
    overwrite: bool,
    progress: ProgressHook | None = None,
) -> None:
    """Write all volumes with all their levels, whole or not at all.

    Parameters
    ----------
    stack : VolumeStack
        What to write.
    path : Path
        Folder to make.
    colors : sequence of str
        Of the channels, as "#0072b2".
    overwrite : bool
        Replace an OME-Zarr that is there.
    progress : callable, optional
        Called after each layer.

    Notes
    -----
    *Chunks*: any; each is read once, one layer of them is in memory.
    """
    with writing_folder(path, overwrite=overwrite) as folder:
        group = zarr.open_group(folder, mode="w", zarr_format=3)
        chunks = _chunks(stack)
        arrays = [
            _array(group, i, (len(stack.names), *shape), chunks) for i, shape in enumerate(levels(stack))
        ]
        limits = [0.0] * len(stack.names)
        for number in range(len(stack.names)):
            for place, values in stack.pieces(number, f"export {path.name}", progress):
                arrays[0][(number, *place)] = values
                limits[number] = max(limits[number], float(values.max()))
        for above, level in pairwise(arrays):
            _fill(level, above)
        group.attrs.put({"ome": _metadata(stack, path, colors, limits)})


def levels(stack: VolumeStack) -> list[tuple[int, ...]]:
    """Shapes of all levels, z, y and x: halves until the longest side is short."""
    shapes = [tuple(stack.grid.shape)]
    while max(shapes[-1]) > SMALLEST:
        shapes.append(tuple(-(-n // 2) for n in shapes[-1]))
    return shapes


def halved(values: np.ndarray) -> np.ndarray:
    """Means of 2 × 2 × 2 voxels, at odd ends of fewer.

    Examples
    --------
    >>> halved(np.arange(3.0).reshape(1, 1, 3)).tolist()
    [[[0.5, 2.0]]]
    """
    for axis in range(3):
        size = values.shape[axis]
        sums = np.add.reduceat(values, np.arange(0, size, 2), axis=axis, dtype=np.float64)
        counts = np.minimum(2, size - 2 * np.arange(sums.shape[axis]))
        values = sums / np.expand_dims(counts, [a for a in range(3) if a != axis])
    return values


def _chunks(stack: VolumeStack) -> tuple[int, ...]:
    """Sides of chunks; along the axis of reading as the volume has them, so that none is written twice."""
    sides = [min(CHUNK, n) for n in stack.grid.shape]
    axis = stack.axis
    if stack.array.chunks is not None:
        thick = max(stack.array.chunks[axis + 1])
        sides[axis] = next(n for n in range(min(CHUNK, thick), 0, -1) if thick % n == 0)
    return (1, *sides)


def _array(group: zarr.Group, number: int, shape: tuple[int, ...], chunks: tuple[int, ...]) -> Any:
    return group.create_array(
        str(number),
        shape=shape,
        chunks=tuple(min(c, n) for c, n in zip(chunks, shape, strict=True)),
        dtype=np.float32,
        compressors=BloscCodec(cname="zstd", clevel=3, shuffle="shuffle"),
        fill_value=0,
        dimension_names=("c", "z", "y", "x"),
    )


def _fill(level: Any, above: Any) -> None:
    """Halve one level into the next, chunk by chunk."""
    starts = [range(0, n, c) for n, c in zip(level.shape[1:], level.chunks[1:], strict=True)]
    for number in range(level.shape[0]):
        for first in itertools.product(*starts):
            spans = [
                (f, min(f + c, n)) for f, c, n in zip(first, level.chunks[1:], level.shape[1:], strict=True)
            ]
            region = tuple(
                slice(2 * a, min(2 * b, n)) for (a, b), n in zip(spans, above.shape[1:], strict=True)
            )
            level[(number, *(slice(a, b) for a, b in spans))] = halved(np.asarray(above[(number, *region)]))


def _metadata(
    stack: VolumeStack, path: Path, colors: Sequence[str], limits: Sequence[float]
) -> dict[str, Any]:
    unit = {"unit": "nanometer"} if stack.grid.unit == "nm" else {}
    sides = stack.grid.sides
    datasets = []
    for number in range(len(levels(stack))):
        factor = 2**number
        # the first voxel of a smaller level is centred between those it is the mean of
        middle = [o + s * (factor - 1) / 2 for o, s in zip(stack.grid.origin, sides, strict=True)]
        transformations = [
            {"type": "scale", "scale": [1.0, *(s * factor for s in sides)]},
            {"type": "translation", "translation": [0.0, *middle]},
        ]
        datasets.append({"path": str(number), "coordinateTransformations": transformations})
    multiscale = {
        "name": stack.title or path.name.removesuffix(".ome.zarr"),
        "axes": [{"name": "c", "type": "channel"}, *({"name": d, "type": "space", **unit} for d in "zyx")],
        "datasets": datasets,
        "type": "mean",
    }
    channels = [
        {
            "label": name,
            "color": color.removeprefix("#").upper(),
            "active": True,
            "window": {"min": 0.0, "max": top or 1.0, "start": 0.0, "end": top or 1.0},
        }
        for name, color, top in zip(stack.names, colors, limits, strict=True)
    ]
    return {"version": VERSION, "multiscales": [multiscale], "omero": {"channels": channels}}
