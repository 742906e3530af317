"""Used by all exports: targets that appear whole or not at all, axes as numbers, counts by blocks."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr

from edxdask.errors import ParameterError, StoreExistsError, StoreWriteError
from edxdask.schema import COORDINATE_UNITS, ENERGY, PIXEL_UNIT, energy_axis

BLOCK_PIXELS = 64  # edge of a block of counts that is held at a time where the array has no chunks


@dataclass(frozen=True)
class Axis:
    """One axis as file formats need it.

    Attributes
    ----------
    name, unit : as in the schema
    values : coordinate of every element
    offset, scale : such that ``values == offset + i * scale``; ``scale`` is None where the steps differ
    """

    name: str
    unit: str
    values: np.ndarray
    offset: float
    scale: float | None


@contextmanager
def writing(path: Path, *, overwrite: bool) -> Iterator[Path]:
    """Give a temporary name beside ``path``; rename it to ``path`` when the block ends well.

    Raises
    ------
    StoreExistsError
        If ``path`` exists and ``overwrite`` is not set.
    StoreWriteError
        If the file cannot be written: no folder, no permission, full disk.
    """
    refuse_existing(path, overwrite=overwrite)
    partial = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        yield partial
        partial.replace(path)
    except OSError as error:
        raise StoreWriteError(f"{path} could not be written: {error.strerror or error}") from error
    finally:
        partial.unlink(missing_ok=True)


def refuse_existing(path: Path, *, overwrite: bool) -> None:
    """Raise ``StoreExistsError`` if ``path`` may not be written."""
    if path.is_dir():
        raise StoreExistsError(f"{path} is a folder: name a file to export to")
    if path.exists() and not overwrite:
        raise StoreExistsError(f"{path} exists: give another name, or overwrite=True (--overwrite)")


def axis_of(array: xr.DataArray | xr.Dataset, dim: str) -> Axis:
    """Axis ``dim`` of ``array``; counted in elements where it has no numeric coordinate.

    Examples
    --------
    >>> axis = axis_of(xr.DataArray(np.zeros(3), dims="x", coords={"x": [0.0, 2.0, 4.0]}), "x")
    >>> axis.offset, axis.scale, axis.unit
    (0.0, 2.0, 'nm')
    """
    size = array.sizes[dim]
    if dim == ENERGY:
        offset, scale = energy_axis(array)
        return Axis(dim, "keV", array.coords[dim].values, offset, scale)
    coordinate = array.coords.get(dim)
    if coordinate is None or coordinate.dtype.kind not in "iuf":
        return Axis(dim, PIXEL_UNIT, np.arange(size, dtype=float), 0.0, 1.0)
    values = np.asarray(coordinate.values, dtype=float)
    unit = str(coordinate.attrs.get("units", COORDINATE_UNITS.get(dim, "1")))
    scale = float(values[-1] - values[0]) / (size - 1) if size > 1 else 1.0
    even = np.allclose(values, values[0] + scale * np.arange(size), rtol=0.0, atol=1e-6 * abs(scale))
    return Axis(dim, unit, values, float(values[0]), scale if even and scale else None)


def blocks(counts: xr.DataArray) -> Iterator[tuple[tuple[slice, ...], np.ndarray]]:
    """Every block of pixels as ``(slices of the pixel dimensions, dense counts)``, one in memory at a time.

    Blocks are the array's own chunks, so nothing is read twice.
    """
    for slices in itertools.product(*(_slices(counts, axis) for axis in range(counts.ndim - 1))):
        yield slices, np.ascontiguousarray(counts[slices].values)


def _slices(counts: xr.DataArray, axis: int) -> Sequence[slice]:
    size = counts.shape[axis]
    lengths = (
        counts.chunks[axis]
        if counts.chunks
        else [min(BLOCK_PIXELS, size - i) for i in range(0, size, BLOCK_PIXELS)]
    )
    ends = list(itertools.accumulate(lengths))
    return [slice(end - length, end) for end, length in zip(ends, lengths, strict=True)]


def require_dims(array: xr.DataArray, allowed: Sequence[int], what: str, suffix: str) -> None:
    """Refuse an array with a number of dimensions that the format cannot hold."""
    if array.ndim not in allowed:
        raise ParameterError(
            "data",
            dict(array.sizes),
            f"{what} for a {suffix} file",
            "Pick one with .isel(...) or .sel(...), or export to .hspy or .csv.",
            typed_fix="A .hspy file takes the whole cube.",
        )
