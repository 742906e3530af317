"""Images as OME-TIFF: tiles, levels of half size as sub-images, names and pixel size in its XML."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from edxdask.io.export.pyramid import NANOMETRES, ROWS_AT_ONCE, TILE, Layers, halved
from edxdask.io.export.target import writing
from edxdask.progress import ProgressHook

BIG = 2**32 - 2**25  # bytes: above, a TIFF needs 64-bit offsets


def write(layers: Layers, path: Path, *, overwrite: bool, progress: ProgressHook | None = None) -> None:
    """Write images with all their levels, whole or not at all.

    Notes
    -----
    *Memory*: one strip of one image; levels wait on disk beside the file, in a folder that goes away.
    """
    import tifffile

    shapes = layers.levels()
    common: dict[str, Any] = {"tile": (TILE, TILE), "compression": "zlib", "photometric": "minisblack"}
    size = sum(int(np.prod(shape)) for shape in shapes) * layers.dtype.itemsize
    with (
        writing(path, overwrite=overwrite) as partial,
        tempfile.TemporaryDirectory(dir=path.absolute().parent, prefix=".levels-") as folder,
        tifffile.TiffWriter(partial, ome=True, bigtiff=size > BIG) as file,
    ):
        smaller = [scratch(Path(folder), i, s, layers.dtype) for i, s in enumerate(shapes[1:])]
        file.write(
            _first_level(layers, path, smaller[0] if smaller else None, progress),
            shape=shapes[0],
            dtype=layers.dtype,
            subifds=len(smaller),
            metadata=_metadata(layers),
            **common,
        )
        for i, level in enumerate(smaller):
            if i:
                fill_level(level, smaller[i - 1])
            tiles = tiles_of(level)
            file.write(tiles, shape=level.shape, dtype=level.dtype, subfiletype=1, metadata=None, **common)
        del smaller  # Windows removes no file that is mapped


def _metadata(layers: Layers) -> dict[str, Any]:
    metadata: dict[str, Any] = {"axes": "CYX", "Channel": {"Name": list(layers.names)}}
    if layers.columns.unit == NANOMETRES:
        y, x = layers.step
        metadata |= {"PhysicalSizeY": y, "PhysicalSizeX": x}
        metadata |= {"PhysicalSizeYUnit": "nm", "PhysicalSizeXUnit": "nm"}
    return metadata


def scratch(folder: Path, number: int, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Make room on disk for a level that is filled while the one above it is written."""
    return np.memmap(folder / str(number), dtype=dtype, mode="w+", shape=shape)


def _first_level(
    layers: Layers, path: Path, smaller: np.ndarray | None, progress: ProgressHook | None
) -> Iterator[np.ndarray]:
    """Yield tiles of the full images, and fill the level below on the go."""
    for number, top, strip in layers.strips(f"export {path.name}", progress):
        if smaller is not None:
            half = halved(strip)
            smaller[number, top // 2 : top // 2 + half.shape[0]] = half
        yield from _tiles(strip)


def fill_level(level: np.ndarray, above: np.ndarray) -> None:
    """Halve one level into the next, strip by strip."""
    for number in range(len(above)):
        for top in range(0, above.shape[1], ROWS_AT_ONCE):
            half = halved(above[number, top : top + ROWS_AT_ONCE])
            level[number, top // 2 : top // 2 + half.shape[0]] = half


def tiles_of(level: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the tiles of a level (image, y, x)."""
    for image in level:
        for top in range(0, image.shape[0], ROWS_AT_ONCE):
            yield from _tiles(np.asarray(image[top : top + ROWS_AT_ONCE]))


def _tiles(strip: np.ndarray) -> Iterator[np.ndarray]:
    """Cut a strip into whole tiles, row by row; what is beyond the image is zero."""
    for top in range(0, strip.shape[0], TILE):
        for left in range(0, strip.shape[1], TILE):
            tile = np.zeros((TILE, TILE), dtype=strip.dtype)
            part = strip[top : top + TILE, left : left + TILE]
            tile[: part.shape[0], : part.shape[1]] = part
            yield tile
