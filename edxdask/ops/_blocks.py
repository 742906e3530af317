"""How the lazy operations use dask: one task per chunk, from the read to the small result.

A dense chunk exists only inside one task, because ``map_blocks`` on the array that reads is fused
with the read. Only what a chunk was reduced to travels, so peak memory is the number of threads times a chunk
or two.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr

from edxdask.errors import SchemaError
from edxdask.photons.kernels.dense import group_sums, group_sums_folded, window_sums
from edxdask.schema import COUNTS, with_history

NUMPY_CHUNK = "32MiB"  # what a 64 × 64 × 4096 chunk of the store holds
UNSIGNED = (np.uint8, np.uint16, np.uint32, np.uint64)


def lazy_counts(cube: xr.Dataset) -> da.Array:
    """Give ``counts`` as a dask array; one in memory gets chunks of whole spectra."""
    return lazy(cube[COUNTS].variable, whole_last=True)


def lazy(variable: xr.Variable, *, whole_last: bool = False) -> da.Array:
    """Give the data of ``variable`` as a dask array, chunked for the cores if they are in memory."""
    data = variable.data
    if isinstance(data, da.Array):
        return data
    values = np.asarray(data)
    wanted = tuple("auto" for _ in values.shape[:-1]) + ((-1,) if whole_last else ("auto",))
    chunks = da.core.normalize_chunks(wanted, shape=values.shape, limit=NUMPY_CHUNK, dtype=values.dtype)
    return da.from_array(values, chunks=chunks, name=False)  # a name from the content would hash all of it


def sum_dtype(dtype: np.dtype, terms: int) -> np.dtype:
    """Smallest unsigned type, not below 32 bits for 16, that holds ``terms`` of the largest ``dtype``.

    Examples
    --------
    >>> sum_dtype(np.dtype("u2"), 16), sum_dtype(np.dtype("u1"), 16), sum_dtype(np.dtype("u2"), 10**6)
    (dtype('uint32'), dtype('uint16'), dtype('uint64'))
    """
    largest = int(np.iinfo(dtype).max) * terms
    fitting = (t for t in UNSIGNED if np.iinfo(t).max >= largest and np.dtype(t).itemsize >= dtype.itemsize)
    return np.dtype(next(fitting, np.uint64))


def run_starts(ids: np.ndarray) -> np.ndarray:
    """Where a new id begins.

    Examples
    --------
    >>> run_starts(np.array([5, 5, 6, 6, 7])).tolist()
    [0, 2, 4]
    """
    return np.flatnonzero(np.r_[True, ids[1:] != ids[:-1]])


def as_unsigned(block: np.ndarray) -> np.ndarray:
    """Give counts as unsigned numbers in the machine's byte order; not copied where they are so already.

    Raises
    ------
    SchemaError
        If a signed block holds a negative number.
    """
    native = block.astype(block.dtype.newbyteorder("="), copy=False)
    if native.dtype.kind == "u":
        return native
    if native.size and int(native.min()) < 0:
        raise SchemaError(f"counts hold {int(native.min())}; counts of photons are never negative")
    return native.view(f"u{native.dtype.itemsize}")


def flat_counts(block: np.ndarray) -> np.ndarray:
    """Spectra of a block as unsigned (pixels, channels); a copy only where the block is a strided view."""
    return as_unsigned(np.ascontiguousarray(block).reshape(-1, block.shape[-1]))


def fold(array: da.Array, groups: Mapping[int, np.ndarray], dtype: np.dtype, *, spectra: bool) -> da.Array:
    """Sum ``array`` over runs of equal ids along the axes of ``groups``; ids of -1 (at an end) are left out.

    Every chunk is folded as it is read. Where a run crosses a border of chunks, the two chunks each give a
    partial sum, and only those partial sums are added: the counts themselves are not exchanged or copied.
    ``spectra`` says that the last axis is energy and the numbers are counts (then a numba kernel sums).
    """
    array, groups = _without_dropped_chunks(array, groups)
    runs = {axis: _chunk_runs(ids, array.chunks[axis]) for axis, ids in groups.items()}
    chunks = tuple(tuple(map(len, runs[a])) if a in runs else array.chunks[a] for a in range(array.ndim))
    function = _fold_spectra if spectra else _fold_values
    folded = da.map_blocks(
        function,
        array,
        groups=dict(groups),
        sum_to=dtype,
        chunks=chunks,
        dtype=dtype,
        meta=_meta(array.ndim, dtype),
    )
    ids = {axis: np.concatenate(parts) for axis, parts in runs.items()}
    if all(len(run_starts(axis_ids)) == axis_ids.size for axis_ids in ids.values()):
        return folded
    whole = {axis: _whole_runs(ids[axis], chunks[axis]) for axis in ids}
    return fold(folded.rechunk(whole), ids, dtype, spectra=spectra)


def _meta(ndim: int, dtype: np.dtype) -> np.ndarray:
    return np.empty((0,) * ndim, dtype=dtype)


def _without_dropped_chunks(
    array: da.Array, groups: Mapping[int, np.ndarray]
) -> tuple[da.Array, dict[int, np.ndarray]]:
    """Leave out chunks that hold only ids of -1, so that they are not read."""
    kept = {}
    for axis, ids in groups.items():
        ends = np.cumsum(array.chunks[axis])
        last = int(ends[np.searchsorted(ends, int((ids >= 0).sum()))])  # ids of -1 are at the end
        kept[axis] = ids[:last]
        if last < ids.size:
            array = array[(slice(None),) * axis + (slice(0, last),)]
    return array, kept


def _chunk_runs(ids: np.ndarray, sizes: Sequence[int]) -> list[np.ndarray]:
    """List the distinct ids each chunk holds."""
    parts = np.split(ids, np.cumsum(sizes)[:-1])
    return [part[run_starts(part)][part[run_starts(part)] >= 0] for part in parts]


def _whole_runs(ids: np.ndarray, sizes: Sequence[int]) -> tuple[int, ...]:
    """Chunks with borders at the next change of id at or after each border of ``sizes``."""
    changes = np.r_[run_starts(ids), ids.size]
    borders = changes[np.searchsorted(changes, np.cumsum(sizes))]
    return tuple(int(n) for n in np.diff(np.unique(np.r_[0, borders])))


def _local_groups(block: np.ndarray, groups: Mapping[int, np.ndarray], info: Any) -> dict[int, np.ndarray]:
    """Ids of this block's rows, counted from 0, with -1 where a row is left out."""
    place = info[0]["array-location"]
    local = {}
    for axis, ids in groups.items():
        mine = ids[slice(*place[axis])]
        local[axis] = np.where(mine < 0, -1, np.cumsum(np.r_[0, mine[1:] != mine[:-1]]))
    return local


def _fold_spectra(
    block: np.ndarray, groups: Mapping[int, np.ndarray], sum_to: np.dtype, block_info: Any = None
) -> np.ndarray:
    local = _local_groups(block, groups, block_info)
    energy = local.pop(block.ndim - 1, None)
    ids = [local.get(axis, np.arange(n)) for axis, n in enumerate(block.shape[:-1])]
    shape = tuple(int(axis_ids.max()) + 1 for axis_ids in ids)
    order, starts = _pixel_order(ids, shape)
    flat = flat_counts(block)
    if energy is None:
        out = np.zeros((starts.size - 1, flat.shape[1]), dtype=sum_to)
        group_sums(flat, order, starts, out)
    else:
        kept = energy[energy >= 0]
        edges = np.r_[run_starts(kept), kept.size]
        out = np.zeros((starts.size - 1, edges.size - 1), dtype=sum_to)
        group_sums_folded(flat, order, starts, edges, np.zeros(flat.shape[1], dtype=sum_to), out)
    return out.reshape(*shape, -1)


def _pixel_order(ids: Sequence[np.ndarray], shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Flat pixels sorted by group, and where each group starts; pixels with an id of -1 are left out."""
    grids = np.meshgrid(*ids, indexing="ij")
    kept = np.logical_and.reduce([g >= 0 for g in grids]).ravel()
    group = np.ravel_multi_index([np.maximum(g, 0).ravel() for g in grids], shape)
    order = np.argsort(np.where(kept, group, np.prod(shape)), kind="stable")[: int(kept.sum())]
    return order, np.searchsorted(group[order], np.arange(np.prod(shape) + 1))


def _fold_values(
    block: np.ndarray, groups: Mapping[int, np.ndarray], sum_to: np.dtype, block_info: Any = None
) -> np.ndarray:
    out = block.astype(sum_to)
    for axis, ids in _local_groups(block, groups, block_info).items():
        kept = ids[ids >= 0]
        out = np.add.reduceat(
            out[(slice(None),) * axis + (slice(0, kept.size),)], run_starts(kept), axis=axis
        )
    return out


def spectrum_of_block(block: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    """Sum spectrum (uint64) of a block, or of its pixels where ``mask`` (…, 1) is true, with as many axes."""
    flat = flat_counts(block)
    if mask is None:
        pixels = np.arange(flat.shape[0])
    else:  # a mask over some of the pixel dimensions holds for all others
        pixels = np.flatnonzero(np.broadcast_to(mask[..., 0], block.shape[:-1]))
    # 32 bits add twice as fast and hold the sum of any 64 × 64 pixels of 16 bits
    out = np.zeros((1, flat.shape[1]), dtype=max(sum_dtype(flat.dtype, pixels.size), np.dtype(np.uint32)))
    group_sums(flat, pixels, np.array([0, pixels.size]), out)
    return out.astype(np.uint64).reshape((1,) * (block.ndim - 1) + (-1,))


def window_counts(counts: da.Array, windows: Sequence[tuple[int, int]]) -> da.Array:
    """Sum every pixel's counts in channel windows [first, stop): (pixels…, window), exact whole numbers."""
    first = np.array([w[0] for w in windows])
    stop = np.array([w[1] for w in windows])
    ends = np.cumsum(counts.chunks[-1])
    lowest = int(np.searchsorted(ends, first.min(), side="right"))
    highest = int(np.searchsorted(ends, stop.max()))
    start = int(ends[lowest - 1]) if lowest else 0
    if (lowest, highest) != (0, ends.size - 1):  # chunks of channels that no window touches are not read
        counts = counts[..., start : int(ends[highest])]
    dtype = max(sum_dtype(counts.dtype, int((stop - first).max())), np.dtype(np.uint32))
    parts = da.map_blocks(
        _windows_of_block,
        counts,
        first=first - start,
        stop=stop - start,
        sum_to=dtype,
        chunks=(*counts.chunks[:-1], (first.size,) * counts.numblocks[-1]),
        dtype=dtype,
        meta=_meta(counts.ndim, dtype),
    )
    if counts.numblocks[-1] == 1:
        return parts
    pieces = [parts[..., i : i + first.size] for i in range(0, parts.shape[-1], first.size)]
    return da.stack(pieces).sum(axis=0, dtype=dtype)


def _windows_of_block(
    block: np.ndarray, first: np.ndarray, stop: np.ndarray, sum_to: np.dtype, block_info: Any = None
) -> np.ndarray:
    begin, end = block_info[0]["array-location"][-1]
    flat = flat_counts(block)
    out = np.empty((flat.shape[0], first.size), dtype=sum_to)
    window_sums(flat, np.clip(first, begin, end) - begin, np.clip(stop, begin, end) - begin, out)
    return out.reshape(*block.shape[:-1], -1)


def derived_attrs(cube: xr.Dataset, entry: str, own: Mapping[str, Any]) -> dict[Any, Any]:
    """Attributes of something made from ``cube``: the cube's, one more line of history, and its own."""
    return {**with_history(cube.attrs, entry), **own}


def labelled(
    cube: xr.Dataset, data: da.Array, dims: Sequence[str], name: str, attrs: Mapping[Any, Any]
) -> xr.DataArray:
    """Label what was made from ``cube`` with its coordinates along ``dims``."""
    coords = {k: c for k, c in cube[COUNTS].coords.items() if set(c.dims) <= set(dims)}
    return xr.DataArray(data, dims=tuple(dims), coords=coords, name=name, attrs=dict(attrs))
