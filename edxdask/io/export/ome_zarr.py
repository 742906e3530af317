"""Images as OME-Zarr 0.5: one Zarr v3 array for each level, names and pixel size in the group's attributes.

Layout after the specification of OME-NGFF, version 0.5.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.codecs import BloscCodec

from edxdask.errors import StoreExistsError, StoreWriteError
from edxdask.io.export.pyramid import NANOMETRES, ROWS_AT_ONCE, TILE, Layers, halved
from edxdask.progress import ProgressHook

VERSION = "0.5"
_COLORS = ("FFFFFF", "FF7F0E", "1F77B4", "2CA02C", "D62728", "9467BD")


def write(layers: Layers, path: Path, *, overwrite: bool, progress: ProgressHook | None = None) -> None:
    """Write images with all their levels, whole or not at all; in memory is one strip of one image."""
    with writing_folder(path, overwrite=overwrite) as folder:
        group = zarr.open_group(folder, mode="w", zarr_format=3)
        arrays = [_array(group, i, shape, layers.dtype) for i, shape in enumerate(layers.levels())]
        limits = [(np.inf, -np.inf)] * len(layers.names)
        for number, top, strip in layers.strips(f"export {path.name}", progress):
            arrays[0][number, top : top + strip.shape[0]] = strip
            limits[number] = _wider(limits[number], strip)
        for above, level in pairwise(arrays):
            for number in range(level.shape[0]):
                for top in range(0, above.shape[1], ROWS_AT_ONCE):
                    half = halved(np.asarray(above[number, top : top + ROWS_AT_ONCE]))
                    level[number, top // 2 : top // 2 + half.shape[0]] = half
        group.attrs.put({"ome": _metadata(layers, path, limits)})


def _array(group: zarr.Group, number: int, shape: tuple[int, int, int], dtype: np.dtype) -> Any:
    return group.create_array(
        str(number),
        shape=shape,
        chunks=(1, min(TILE, shape[1]), min(TILE, shape[2])),
        dtype=dtype,
        compressors=BloscCodec(cname="zstd", clevel=3, shuffle="shuffle"),
        fill_value=0,
        dimension_names=("c", "y", "x"),
    )


def _wider(limits: tuple[float, float], strip: np.ndarray) -> tuple[float, float]:
    finite = strip[np.isfinite(strip)]
    if not finite.size:
        return limits
    return min(limits[0], float(finite.min())), max(limits[1], float(finite.max()))


def _metadata(layers: Layers, path: Path, limits: list[tuple[float, float]]) -> dict[str, Any]:
    unit = {"unit": "nanometer"} if layers.columns.unit == NANOMETRES else {}
    y, x = layers.step
    datasets = []
    for number in range(len(layers.levels())):
        factor = 2**number
        # the first pixel of a smaller level is centred between those it is the mean of
        middle = [0.0, y * (factor - 1) / 2, x * (factor - 1) / 2]
        transformations = [
            {"type": "scale", "scale": [1.0, y * factor, x * factor]},
            {"type": "translation", "translation": middle},
        ]
        datasets.append({"path": str(number), "coordinateTransformations": transformations})
    multiscale = {
        "name": path.name.removesuffix(".ome.zarr"),
        "axes": [
            {"name": "c", "type": "channel"},
            {"name": "y", "type": "space", **unit},
            {"name": "x", "type": "space", **unit},
        ],
        "datasets": datasets,
        "type": "mean",
    }
    channels = [
        {"label": name, "color": color, "active": i == 0, "window": _window(low, high)}
        for i, (name, color, (low, high)) in enumerate(
            zip(layers.names, _colors(len(layers.names)), limits, strict=True)
        )
    ]
    return {"version": VERSION, "multiscales": [multiscale], "omero": {"channels": channels}}


def _colors(count: int) -> list[str]:
    return [_COLORS[i % len(_COLORS)] for i in range(count)]


def _window(low: float, high: float) -> dict[str, float]:
    known = (low, high) if high > low else (0.0, 1.0)
    return {"min": known[0], "max": known[1], "start": known[0], "end": known[1]}


@contextmanager
def writing_folder(path: Path, *, overwrite: bool) -> Iterator[Path]:
    """Give a temporary folder beside ``path``, which takes its place when the block ends well.

    Raises
    ------
    StoreExistsError
        If ``path`` exists and may not be replaced, or is no OME-Zarr.
    StoreWriteError
        If it cannot be written.
    """
    if os.path.lexists(path) and not (overwrite and _is_ome_zarr(path)):
        instead = "overwrite=True (--overwrite)" if _is_ome_zarr(path) else "move it away"
        raise StoreExistsError(f"{path} exists: give another name, or {instead}")
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield partial
        if path.exists():
            shutil.rmtree(path)
        partial.rename(path)
    except OSError as error:
        raise StoreWriteError(f"{path} could not be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _is_ome_zarr(path: Path) -> bool:
    """Whether a folder is what this module writes."""
    try:
        attributes = json.loads((path / "zarr.json").read_text(encoding="utf-8")).get("attributes", {})
    except (OSError, ValueError, AttributeError):
        return False
    return isinstance(attributes, dict) and "ome" in attributes
