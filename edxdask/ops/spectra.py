"""Spectra: one spectrum from many pixels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import overload

import dask.array as da
import numpy as np
import xarray as xr

from edxdask.errors import ParameterError
from edxdask.ops._blocks import derived_attrs, labelled, lazy_counts, spectrum_of_block
from edxdask.ops.masks import MaskLike, as_mask
from edxdask.results.collections import is_collection, on_each_map, value_for_each_map
from edxdask.schema import ENERGY, SUM_SPECTRUM, pixel_dims, validate_cube, variable_attrs

MAXIMUM_SPECTRUM = "maximum_pixel_spectrum"


@overload
def sum_spectrum(data: xr.Dataset, *, mask: MaskLike | None = None) -> xr.DataArray: ...
@overload
def sum_spectrum(
    data: xr.DataTree, *, mask: MaskLike | Mapping[str, MaskLike] | xr.DataTree | None = None
) -> xr.DataTree: ...
def sum_spectrum(
    data: xr.Dataset | xr.DataTree,
    *,
    mask: MaskLike | Mapping[str, MaskLike] | xr.DataTree | None = None,
) -> xr.DataArray | xr.DataTree:
    """Sum the spectra of all pixels, or of those in ``mask``.

    Parameters
    ----------
    data : Dataset or DataTree
        Cube, or collection of cubes: one spectrum of each map.
    mask : array of bool, Rectangle, Ellipse, Polygon, mapping or DataTree, optional
        True for pixels that are used: a boolean array over pixel dimensions (one over some of them holds for
        all others), lazy or not, or a region. Of a collection also one mask by name of the map, or the
        collection of masks that ``valid_mask`` gives.

    Returns
    -------
    DataArray or DataTree
        ``sum_spectrum``, uint64 over energy, lazy; a collection of a collection.

    Notes
    -----
    *Chunks.* Any, also of energy. One task per chunk sums what it reads; sums are added as a tree. Chunks
    outside the bounding box of a mask that is in memory are not read.

    Examples
    --------
    >>> counts = (("y", "energy"), np.array([[0, 3], [1, 1]], "u2"))
    >>> ds = xr.Dataset({"counts": counts}, {"energy": [0.0, 0.1]})
    >>> sum_spectrum(ds).values.tolist(), sum_spectrum(ds, mask=np.array([True, False])).values.tolist()
    ([1, 4], [0, 3])
    """
    if is_collection(data):
        masks = value_for_each_map(mask, data, name="mask") if mask is not None else None
        return on_each_map(sum_spectrum, data, each=None if masks is None else {"mask": masks})
    ds = validate_cube(data)
    if is_collection(mask) or isinstance(mask, Mapping):
        raise ParameterError("mask", type(mask).__name__, "one mask, as data is one map")
    counts = lazy_counts(ds)
    arrays = (counts,) if mask is None else counts_and_mask(ds, counts, as_mask(ds, mask))[0]
    counts = arrays[0]
    partial = da.map_blocks(
        spectrum_of_block,
        *arrays,
        chunks=(*((1,) * n for n in counts.numblocks[:-1]), counts.chunks[-1]),
        dtype=np.uint64,
        meta=np.empty((0,) * counts.ndim, dtype=np.uint64),
    )
    total = partial.sum(axis=tuple(range(counts.ndim - 1)), dtype=np.uint64)
    return _as_spectrum(ds, total, SUM_SPECTRUM, "sum_spectrum()" if mask is None else "sum_spectrum(mask)")


@overload
def maximum_pixel_spectrum(data: xr.Dataset) -> xr.DataArray: ...
@overload
def maximum_pixel_spectrum(data: xr.DataTree) -> xr.DataTree: ...
def maximum_pixel_spectrum(data: xr.Dataset | xr.DataTree) -> xr.DataArray | xr.DataTree:
    """Give the largest count of any pixel, channel by channel: it shows what only a few pixels hold.

    Parameters
    ----------
    data : Dataset or DataTree
        Cube, or collection of cubes: one spectrum of each map.

    Returns
    -------
    DataArray or DataTree
        ``maximum_pixel_spectrum`` over energy, lazy; a collection of a collection.

    Notes
    -----
    *Chunks.* Any; one task per chunk.

    Examples
    --------
    >>> counts = (("y", "energy"), np.array([[0, 3], [1, 1]], "u2"))
    >>> ds = xr.Dataset({"counts": counts}, {"energy": [0.0, 0.1]})
    >>> maximum_pixel_spectrum(ds).values.tolist()
    [1, 3]
    """
    if is_collection(data):
        return on_each_map(maximum_pixel_spectrum, data)
    ds = validate_cube(data)
    counts = lazy_counts(ds)
    largest = counts.max(axis=tuple(range(counts.ndim - 1)))
    return _as_spectrum(ds, largest, MAXIMUM_SPECTRUM, "maximum_pixel_spectrum()")


def counts_and_mask(
    ds: xr.Dataset, counts: da.Array, mask: xr.DataArray
) -> tuple[tuple[da.Array, da.Array], tuple[int, ...]]:
    """Cut counts, and the mask as (…, 1) to equal chunks, without those that hold no pixel of the mask.

    Also gives the first row, column … of what is left.
    """
    dims = pixel_dims(ds)
    full = mask.expand_dims([d for d in dims if d not in mask.dims]).transpose(*dims).data[..., None]
    first = (0,) * len(dims)
    if not isinstance(full, da.Array):
        box = _chunks_in_use(full, counts)
        counts, first = counts[box], tuple(part.start or 0 for part in box)
        full = full[tuple(part if n > 1 else slice(None) for part, n in zip(box, full.shape, strict=False))]
    sizes = tuple(c if full.shape[axis] > 1 else (1,) for axis, c in enumerate(counts.chunks[:-1]))
    if isinstance(full, da.Array):  # the mask is rechunked like the counts, never the reverse
        return (counts, full.rechunk((*sizes, (1,)))), first
    return (counts, da.from_array(full, chunks=(*sizes, (1,)), name=False)), first


def _chunks_in_use(mask: np.ndarray, counts: da.Array) -> tuple[slice, ...]:
    """Find the mask's bounding box, grown to borders of chunks: cutting there copies nothing."""
    box = []
    for axis, sizes in enumerate(counts.chunks[:-1]):
        if mask.shape[axis] == 1:
            box.append(slice(None))
            continue
        rows = np.flatnonzero(mask.any(axis=tuple(a for a in range(mask.ndim) if a != axis)))
        ends = np.cumsum(sizes)
        low, high = np.searchsorted(ends, [rows[0], rows[-1]] if rows.size else [0, 0], side="right")
        box.append(slice(int(ends[low] - sizes[low]), int(ends[high])))
    return tuple(box)


def _as_spectrum(ds: xr.Dataset, data: da.Array, name: str, entry: str) -> xr.DataArray:
    attrs = derived_attrs(
        ds, entry, variable_attrs(SUM_SPECTRUM) if name == SUM_SPECTRUM else {"units": "counts"}
    )
    return labelled(ds, data, (ENERGY,), name, attrs)
