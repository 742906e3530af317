"""Streams any lazy cube into a store; memory does not depend on the size of the cube."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import itertools
import logging
import math
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import xarray as xr

from edxdask.errors import ParameterError
from edxdask.io.grid import ChunkGrid
from edxdask.io.groups import begin_group, finish_group, write_rest
from edxdask.io.store import open_store
from edxdask.io.target import Target
from edxdask.io.writer import ChunkCounts, Job, MapWriter
from edxdask.progress import Progress, ProgressHook, ProgressOption, shown
from edxdask.results.collections import is_collection
from edxdask.schema import COUNTS, energy_axis, pixel_dims, validate_cube

logger = logging.getLogger(__name__)

TILE_BYTES = 192 << 20  # of one computed piece; two exist at a time
_COMMAND: ContextVar[str | None] = ContextVar("command", default=None)


@contextlib.contextmanager
def continued_by(command: str) -> Iterator[None]:
    """In this block, a save that stops names ``command`` to continue, not the call in Python."""
    token = _COMMAND.set(command)
    try:
        yield
    finally:
        _COMMAND.reset(token)


def command_to_continue(call: str) -> str:
    """Give the command that ``continued_by`` named, or else the call in Python."""
    return _COMMAND.get() or call


def save(
    data: xr.Dataset | xr.DataTree,
    out: str | Path,
    *,
    overwrite: bool = False,
    resume: bool = False,
    progress: ProgressOption = None,
) -> xr.Dataset | xr.DataTree:
    """Write a cube, a result or a collection to a store and open it.

    Parameters
    ----------
    data : Dataset or DataTree
        All variables and attributes are kept; a DataTree may have one level.
    out : path
        The store; it appears only when it is complete.
    overwrite : bool
        Replace the store at ``out``, once the new one is complete.
    resume : bool
        Continue an unfinished save of the same data; finished bands are not computed again.
    progress : callable, bool or None
        None shows a bar in a terminal and in a notebook; False shows nothing; a callable is called with a
        ``Progress`` after every band.

    Returns
    -------
    Dataset or DataTree
        The store, opened.

    Notes
    -----
    Chunks: any. Counts are computed in pieces of whole 64 × 64 chunks, as large as the source's own
    chunks where those fit 192 MiB, two at a time, each once. The store's bytes depend on the counts only.

    Examples
    --------
    >>> import tempfile
    >>> from edxdask.io.arrays import from_array
    >>> ds = from_array(np.ones((2, 3, 4), "u2"), energy_offset=0.0, energy_scale=0.01)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     int(save(ds, folder + "/a.zarr").counts.sum())
    24
    """
    path = Path(out)
    maps, collection = _maps(data)
    identity = {"save": {name: identity_of(ds) for name, ds in maps.items()}}
    hint = command_to_continue(f"edxdask.io.save.save(ds, {str(path)!r}, resume=True)")
    with (
        shown(progress, f"save {path.name}") as hook,
        Target(path, identity=identity, hint=hint, resume=resume, overwrite=overwrite) as target,
    ):
        if not target.complete:
            for name, ds in maps.items():
                _save_map(target, name, ds, f"save {name or path.name}", hook)
            if collection:
                with target.writing():
                    begin_group(target.store, "")
                    finish_group(target.store, data.attrs)
        target.commit()
    return open_store(path)


def _maps(data: Any) -> tuple[dict[str, xr.Dataset], bool]:
    """Datasets by group name ("" for the root), and whether it is a collection."""
    if isinstance(data, xr.Dataset):
        return {"": _valid(data, "data")}, False
    if not is_collection(data):
        raise ParameterError("data", type(data).__name__, "a Dataset or a DataTree")
    deep = [node.path for node in data.subtree if node.path.count("/") > 1]
    if deep or not data.children:
        raise ParameterError("data", deep or "no children", "a DataTree of one level, one map per child")
    root = data.to_dataset(inherit=False)
    maps = {name: _valid(child.to_dataset(), f"data[{name!r}]") for name, child in data.children.items()}
    return ({"": root} if root.variables else {}) | maps, True


def _valid(ds: xr.Dataset, name: str) -> xr.Dataset:
    return validate_cube(ds, name=name) if COUNTS in ds else ds


def identity_of(ds: xr.Dataset) -> dict[str, Any]:
    """Describe the data for resume; dask's name of a lazy array depends on what it is computed from."""
    if COUNTS not in ds:
        return {"variables": sorted(map(str, ds.variables))}
    counts = ds[COUNTS]
    return {
        "dims": list(map(str, counts.dims)),
        "shape": list(counts.shape),
        "energy": list(energy_axis(ds)),
        "counts": _content(counts.variable) if counts.chunks is None else counts.data.name,
    }


def _content(counts: xr.Variable) -> str:
    """Checksum of counts that are not a dask array."""
    grid = ChunkGrid(tuple(counts.shape[:-1]), counts.shape[-1])
    digest = hashlib.blake2b(str(counts.dtype).encode(), digest_size=16)
    for band, column in np.ndindex(grid.bands, grid.columns):
        digest.update(np.asarray(counts[(*grid.region(band, column), slice(None))]).tobytes())
    return digest.hexdigest()


def _save_map(target: Target, name: str, ds: xr.Dataset, label: str, progress: ProgressHook | None) -> None:
    if COUNTS not in ds:
        with target.writing():
            begin_group(target.store, name)
            folder = target.store / name if name else target.store
            write_rest(folder, ds)
            finish_group(folder, ds.attrs)
        return
    counts = ds[COUNTS]
    grid = ChunkGrid(tuple(counts.shape[:-1]), counts.shape[-1])
    writer = MapWriter(target, name, pixel_dims(ds), grid)
    writer.write(_jobs(counts.variable, writer), reporter(writer, label, progress))
    writer.finish(ds.drop_vars(COUNTS))


def reporter(writer: MapWriter, label: str, progress: ProgressHook | None) -> Callable[[int], None] | None:
    """Turn finished bands into ``Progress`` in pixels."""
    if progress is None:
        return None
    total = math.prod(writer.grid.pixels)
    resumed = sum(map(writer.grid.band_pixels, writer.done))
    done = resumed

    def on_band(band: int) -> None:
        nonlocal done
        done += writer.grid.band_pixels(band)
        progress(Progress(label, done, total, "px", resumed))

    return on_band


def _jobs(counts: xr.Variable, writer: MapWriter) -> Iterator[Job]:
    """Jobs over all missing bands, one per tile."""
    grid = writer.grid
    tile = _tile(counts, grid)
    steps = [range(0, n, t) for n, t in zip(grid.pixels, tile, strict=True)]
    for corner in itertools.product(*steps[:-1]):
        rows = tuple(slice(c, min(c + t, n)) for c, t, n in zip(corner, tile, grid.pixels, strict=False))
        if not _missing(writer, (*rows, slice(0, grid.pixels[-1]))):
            continue
        data = counts[rows]
        if counts.chunks is not None:
            # culled once per row of tiles: culling the whole graph for every tile costs chunks squared
            (data,) = dask.optimize(data.data)
        for left in steps[-1]:
            last = slice(left, min(left + tile[-1], grid.pixels[-1]))
            missing = _missing(writer, (*rows, last))
            if missing:
                yield functools.partial(_compute, data, last, (*corner, left), missing, grid)


def _tile(counts: xr.Variable, grid: ChunkGrid) -> tuple[int, ...]:
    """Pixels to compute at once: whole store chunks that cover a source chunk, if memory allows."""
    least = grid.chunk_pixels
    if counts.chunks is None:
        return least
    source = [max(c) for c in counts.chunks[:-1]]
    tile = [min(-(-s // c) * c, -(-n // c) * c) for s, c, n in zip(source, least, grid.pixels, strict=True)]
    pixel_bytes = grid.channels * max(counts.dtype.itemsize, 2)
    for axis in range(len(tile)):
        while tile[axis] > least[axis] and math.prod(tile) * pixel_bytes > TILE_BYTES:
            tile[axis] = max(least[axis], tile[axis] // 2 // least[axis] * least[axis])
    times = math.prod(-(-s // t) for s, t in zip(source, tile, strict=True))
    if times > 1:
        fit = dict(zip(counts.dims, grid.chunk_shape, strict=True))
        logger.warning(
            "chunks of counts are large: each is computed up to %d times; ds.chunk(%s) fixes it", times, fit
        )
    return tuple(tile)


def _missing(writer: MapWriter, region: tuple[slice, ...]) -> list[tuple[int, int]]:
    """Chunks (band, column) of a region, of bands that are not done."""
    sides = writer.grid.chunk_pixels
    spans = [range(s.start // c, -(-s.stop // c)) for s, c in zip(region, sides, strict=True)]
    places = (writer.grid.place(index) for index in itertools.product(*spans))
    return [place for place in places if place[0] not in writer.done]


def _compute(
    data: Any, last: slice, origin: tuple[int, ...], chunks: list[tuple[int, int]], grid: ChunkGrid
) -> Iterator[ChunkCounts]:
    """Compute one tile and cut it into chunks."""
    piece = data[(..., last, slice(None))]
    if isinstance(piece, da.Array):
        piece = piece.compute(scheduler="synchronous")  # the writer's threads are the parallelism
    piece = np.asarray(piece)
    for band, column in chunks:
        region = grid.region(band, column)
        local = tuple(slice(s.start - o, s.stop - o) for s, o in zip(region, origin, strict=True))
        yield ChunkCounts(band, column, piece[local])
