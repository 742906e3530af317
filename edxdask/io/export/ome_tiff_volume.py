"""Volumes as OME-TIFF: a channel for each phase, sections in tiles, names and voxel size in its XML.

Large sections have levels of half size along y and x, as sub-images; OME-TIFF knows none along z.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from edxdask.io.export.ome_tiff import BIG, fill_level, scratch, tiles_of
from edxdask.io.export.pyramid import TILE, halved
from edxdask.io.export.target import writing
from edxdask.io.export.volume_stack import VolumeStack
from edxdask.progress import ProgressHook


def write(stack: VolumeStack, path: Path, *, overwrite: bool, progress: ProgressHook | None = None) -> None:
    """Write all volumes, whole or not at all.

    Notes
    -----
    *Chunks*: any; each is read once. One volume, and all smaller levels, wait on disk beside the file, in a
    folder that goes away, as a file has its sections in order and layers of chunks may lie across them.
    """
    import tifffile

    shape, levels = (len(stack.names), *stack.grid.shape), smaller_levels(stack)
    size = 4 * (int(np.prod(shape)) + sum(int(np.prod(level)) for level in levels))
    common: dict[str, Any] = {"compression": "zlib", "photometric": "minisblack"}
    with (
        writing(path, overwrite=overwrite) as partial,
        tempfile.TemporaryDirectory(dir=path.absolute().parent, prefix=".volume-") as folder,
        tifffile.TiffWriter(partial, ome=True, bigtiff=size > BIG) as file,
    ):
        smaller = [scratch(Path(folder), i, level, np.dtype(np.float32)) for i, level in enumerate(levels)]
        file.write(
            _tiles(stack, Path(folder), f"export {path.name}", progress, smaller[0] if smaller else None),
            shape=shape,
            dtype=np.float32,
            subifds=len(smaller),
            metadata=_metadata(stack),
            tile=_tile(stack),
            **common,
        )
        for i, level in enumerate(smaller):
            if i:
                fill_level(level, smaller[i - 1])
            known: dict[str, Any] = {"tile": (TILE, TILE), "subfiletype": 1, "metadata": None, **common}
            file.write(tiles_of(level), shape=level.shape, dtype=level.dtype, **known)
        del smaller  # Windows removes no file that is mapped


def smaller_levels(stack: VolumeStack) -> list[tuple[int, int, int]]:
    """Shapes (section of a phase, y, x) below the first level: halves until one tile holds a section."""
    sections, rows, columns = stack.grid.shape
    found = []
    while max(rows, columns) > TILE:
        rows, columns = -(-rows // 2), -(-columns // 2)
        found.append((len(stack.names) * sections, rows, columns))
    return found


def _tile(stack: VolumeStack) -> tuple[int, int]:
    """Sides of a tile, multiples of 16 as TIFF has them."""
    rows, columns = (min(TILE, -(-n // 16) * 16) for n in stack.grid.shape[1:])
    return rows, columns


def _metadata(stack: VolumeStack) -> dict[str, Any]:
    metadata: dict[str, Any] = {"axes": "CZYX", "Channel": {"Name": list(stack.names)}}
    if stack.title:
        metadata["Name"] = stack.title
    if stack.grid.unit == "nm":
        for dim, side in zip("ZYX", stack.grid.sides, strict=True):
            metadata |= {f"PhysicalSize{dim}": side, f"PhysicalSize{dim}Unit": "nm"}
    return metadata


def _tiles(
    stack: VolumeStack,
    folder: Path,
    label: str,
    progress: ProgressHook | None,
    smaller: np.ndarray | None,
) -> Iterator[np.ndarray]:
    """Yield the tiles of all sections, and fill the level below; what is beyond the volume is zero."""
    rows, columns = _tile(stack)
    waiting = np.memmap(folder / "volume", dtype=np.float32, mode="w+", shape=stack.grid.shape)
    for number in range(len(stack.names)):
        for place, values in stack.pieces(number, label, progress):
            waiting[place] = values
        for place_in_z, section in enumerate(waiting):
            if smaller is not None:
                smaller[number * len(waiting) + place_in_z] = halved(section)
            for top in range(0, section.shape[0], rows):
                for left in range(0, section.shape[1], columns):
                    tile = np.zeros((rows, columns), np.float32)
                    part = section[top : top + rows, left : left + columns]
                    tile[: part.shape[0], : part.shape[1]] = part
                    yield tile
    del waiting  # Windows removes no file that is mapped
