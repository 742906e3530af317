"""The sum spectrum that fits use: without voxels that no detector can make, which sums for people keep."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr

from edxdask.engine.faults import are_faults, limits_of, sharp_everywhere, sharp_warning
from edxdask.engine.maps import maps_of
from edxdask.ops._blocks import flat_counts, lazy_counts, spectrum_of_block
from edxdask.ops.masks import MaskLike, as_mask
from edxdask.ops.spectra import counts_and_mask
from edxdask.photons import from_dense
from edxdask.photons.sharp import PeakLimits, SharpVoxels, without_sharp
from edxdask.schema import ENERGY, pixel_dims, validate_cube


@dataclass(frozen=True, eq=False)
class UsableSpectrum:
    """Sum spectrum of a map without its sharp voxels.

    Attributes
    ----------
    counts : (E,) int64
    warnings : what was left out
    """

    counts: np.ndarray
    warnings: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class _Part:
    """What one chunk, or several, add: sum spectrum and sharp voxels."""

    counts: np.ndarray
    sharp: SharpVoxels

    def __add__(self, other: _Part) -> _Part:
        joined = (
            np.concatenate([getattr(part.sharp, name) for part in (self, other)])
            for name in ("pixel", "channel", "count")
        )
        return _Part(self.counts + other.counts, SharpVoxels(*joined))


def usable_spectrum(cube: xr.Dataset, *, mask: MaskLike | None = None) -> UsableSpectrum:
    """Sum the spectra of all pixels, or of those in ``mask``, without voxels that no detector can make.

    Notes
    -----
    *Chunks.* Any; where the energy axis is cut, a task takes the chunks of a pixel's whole spectrum. **This
    operation computes**: one read of the counts.

    Examples
    --------
    >>> import edxdask
    >>> ds = edxdask.simulate(shape=(4, 4), counts=50).compute()
    >>> ds.counts[1, 2, 700] += 2000
    >>> found = usable_spectrum(ds)
    >>> int(ds.counts.sum()) - int(found.counts.sum()), len(found.warnings)
    (2000, 1)
    """
    ds = validate_cube(cube)
    counts = lazy_counts(ds)
    if counts.numblocks[-1] > 1:
        counts = counts.rechunk({counts.ndim - 1: -1})
    arrays: tuple[da.Array, ...] = (counts,)
    first: tuple[int, ...] = (0,) * (counts.ndim - 1)
    if mask is not None:
        arrays, first = counts_and_mask(ds, counts, as_mask(ds, mask))
    parts = da.map_blocks(
        _part_of_block,
        *arrays,
        limits=limits_of(ds),
        first=first,
        shape=tuple(ds.sizes[d] for d in pixel_dims(ds)),
        chunks=tuple((1,) * n for n in arrays[0].numblocks),
        dtype=object,
        meta=np.empty((0,) * counts.ndim, dtype=object),
    )
    whole = da.reduction(
        parts, chunk=_sum, combine=_sum, aggregate=_total, dtype=object, concatenate=True,
        meta=np.empty((), dtype=object),
    )  # fmt: skip
    found: _Part = whole.compute().item()
    number, pixels = found.sharp.count.size, int(np.prod([ds.sizes[d] for d in pixel_dims(ds)]))
    if not are_faults(number, pixels):
        counts_of_all = found.counts.copy()
        np.add.at(counts_of_all, found.sharp.channel, found.sharp.count)
        return UsableSpectrum(counts_of_all, (sharp_everywhere(number, pixels),))
    warning = sharp_warning(maps_of(ds), ds[ENERGY].values, found.sharp)
    return UsableSpectrum(found.counts, () if warning is None else (warning,))


def _part_of_block(
    block: np.ndarray,
    mask: np.ndarray | None = None,
    *,
    limits: PeakLimits,
    first: tuple[int, ...],
    shape: tuple[int, ...],
    block_info: Any = None,
) -> np.ndarray:
    """Sum of one chunk without its sharp voxels, with as many axes; ``first`` and ``shape`` place pixels."""
    _, sharp = without_sharp(from_dense(flat_counts(block)), limits)
    counts = spectrum_of_block(block, mask).ravel().astype(np.int64)
    if mask is not None:
        inside = np.broadcast_to(mask[..., 0], block.shape[:-1]).ravel()[sharp.pixel]
        sharp = SharpVoxels(sharp.pixel[inside], sharp.channel[inside], sharp.count[inside])
    np.subtract.at(counts, sharp.channel, sharp.count)
    begins = (begin for begin, _ in block_info[0]["array-location"])
    index = np.unravel_index(sharp.pixel, block.shape[:-1])
    places = [i + begin + skipped for i, begin, skipped in zip(index, begins, first, strict=False)]
    out = np.empty((1,) * block.ndim, dtype=object)
    pixel = np.asarray(np.ravel_multi_index(places, shape))
    out[...] = _Part(counts, SharpVoxels(pixel, sharp.channel, sharp.count))
    return out


def _sum(parts: np.ndarray, axis: Any, keepdims: bool) -> np.ndarray:
    """Add the parts of some chunks."""
    out = np.empty((1,) * parts.ndim, dtype=object)
    out[...] = reduce(_Part.__add__, parts.ravel())
    return out


def _total(parts: np.ndarray, axis: Any, keepdims: bool) -> np.ndarray:
    return np.asarray(_sum(parts, axis, keepdims).reshape(()))
