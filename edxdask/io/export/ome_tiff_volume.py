"""Volumes as OME-TIFF: a channel for each phase, sections in tiles, names and voxel size in its XML."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from edxdask.io.export.ome_tiff import BIG
from edxdask.io.export.pyramid import TILE
from edxdask.io.export.target import writing
from edxdask.io.export.volume_stack import VolumeStack
from edxdask.progress import ProgressHook


def write(stack: VolumeStack, path: Path, *, overwrite: bool, progress: ProgressHook | None = None) -> None:
    """Write all volumes, whole or not at all.

    Notes
    -----
    *Chunks*: any; each is read once. One volume waits on disk beside the file, in a folder that goes away, as
    a file has its sections in order and layers of chunks may lie across them.
    """
    import tifffile

    shape = (len(stack.names), *stack.grid.shape)
    size = int(np.prod(shape)) * 4
    with (
        writing(path, overwrite=overwrite) as partial,
        tempfile.TemporaryDirectory(dir=path.absolute().parent, prefix=".volume-") as folder,
        tifffile.TiffWriter(partial, ome=True, bigtiff=size > BIG) as file,
    ):
        file.write(
            _tiles(stack, Path(folder), f"export {path.name}", progress),
            shape=shape,
            dtype=np.float32,
            metadata=_metadata(stack),
            tile=_tile(stack),
            compression="zlib",
            photometric="minisblack",
        )


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
    stack: VolumeStack, folder: Path, label: str, progress: ProgressHook | None
) -> Iterator[np.ndarray]:
    """Yield the tiles of all sections; what is beyond the volume is zero."""
    rows, columns = _tile(stack)
    waiting = np.memmap(folder / "volume", dtype=np.float32, mode="w+", shape=stack.grid.shape)
    for number in range(len(stack.names)):
        for place, values in stack.pieces(number, label, progress):
            waiting[place] = values
        for section in waiting:
            for top in range(0, section.shape[0], rows):
                for left in range(0, section.shape[1], columns):
                    tile = np.zeros((rows, columns), np.float32)
                    part = section[top : top + rows, left : left + columns]
                    tile[: part.shape[0], : part.shape[1]] = part
                    yield tile
    del waiting  # Windows removes no file that is mapped
