"""Faults of detectors and scans: voxels that no detector can make, pixels too bright, places without counts.

A fit takes a voxel with thousands of counts beside empty channels for the strongest line of the sample. Every
stage that fits therefore leaves such voxels out; the cube and its sums keep them. Bright pixels may be real
(a particle), and dead places cost nothing: these are only reported.

Nothing here depends on chunks: a voxel is judged by its own pixel, a pixel by its row.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import xarray as xr
from scipy.special import erf

from edxdask import schema
from edxdask.engine.layout import TilePlan
from edxdask.engine.maps import MapView
from edxdask.errors import ParameterError
from edxdask.photons import PhotonBlock, pixel_totals
from edxdask.photons.sharp import PeakLimits, SharpVoxels, without_sharp
from edxdask.physics.detector import FWHM_PER_SIGMA, fwhm_kev
from edxdask.physics.energy_axis import DEFAULT_FWHM_EV
from edxdask.physics.floor import LOWEST_KEV

NARROWEST = 0.5  # of a peak's width: no detector is so much better than its file says
BRIGHT, LEAST_BRIGHT = 50.0, 1000  # times both neighbours in the row; counts
LEAST_BESIDE = 25  # counts of both neighbours, between which an empty pixel, row or column is no chance
MOST_DEAD_ROWS = 3  # side by side; more are a gap of the sample
MOST_SHARP, FEW_SHARP = 0.01, 20  # of the pixels, and at least: more voxels are no faults
SHOWN = 4  # places that a warning names


def peak_limits(energy: np.ndarray, fwhm_mn_ka_ev: float | None) -> PeakLimits:
    """How sharp a peak can be on an energy axis (keV); the zero peak, which has no width of its own, is free.

    The narrowest peak is centred on a channel, and half of it may be cut off: the fraction of the rest that
    is in this channel is the largest one that photons can make.

    Examples
    --------
    >>> fine, coarse = (peak_limits(scale * np.arange(100), 130.0) for scale in (0.01, 0.1))
    >>> [round(float(limits.most_share[5]), 2) for limits in (fine, coarse)]
    [0.48, 1.0]
    """
    energy = np.asarray(energy, dtype=np.float64)
    scale = abs(float(energy[-1] - energy[0])) / max(energy.size - 1, 1) or 1.0
    width = _width(energy, DEFAULT_FWHM_EV if fwhm_mn_ka_ev is None else float(fwhm_mn_ka_ev))
    centre = erf(0.5 * scale / (NARROWEST * width / FWHM_PER_SIGMA * 2**0.5))
    reach = np.maximum(np.ceil(width / scale), 1).astype(np.int64)
    return PeakLimits(2 * centre / (1 + centre), reach, int(np.searchsorted(energy, LOWEST_KEV)))


def limits_of(cube: xr.Dataset) -> PeakLimits:
    """How sharp the peaks of a cube's detector can be."""
    return peak_limits(cube[schema.ENERGY].values, cube.attrs.get(schema.FWHM))


def _width(energy: np.ndarray, fwhm_mn_ka_ev: float) -> np.ndarray:
    """Width of peaks (keV); a detector that is sharper than silicon can be is that sharp everywhere."""
    try:
        return fwhm_kev(energy, fwhm_mn_ka_ev=fwhm_mn_ka_ev)
    except ParameterError:
        return np.full(energy.shape, max(1e-3 * fwhm_mn_ka_ev, 1e-6))


@dataclass(frozen=True, eq=False)
class TileFaults:
    """Faults of some rows of an image.

    Attributes
    ----------
    plan : where the rows are
    sharp : voxels that were left out; pixels numbered through all maps
    bright : (n, 2) number of a pixel, and its counts
    dark : (n,) numbers of empty pixels between counted ones
    row_counts, column_counts : (rows,), (width,) sums
    """

    plan: TilePlan
    sharp: SharpVoxels
    bright: np.ndarray
    dark: np.ndarray
    row_counts: np.ndarray
    column_counts: np.ndarray


def sorted_out(block: PhotonBlock, plan: TilePlan, limits: PeakLimits) -> tuple[PhotonBlock, TileFaults]:
    """Block of a tile's rows without the voxels that no detector can make, and all its faults."""
    kept, found = without_sharp(block, limits)
    sharp = SharpVoxels(found.pixel + plan.first_pixel, found.channel, found.count)
    counts = pixel_totals(kept).reshape(-1, plan.width)
    beside = np.zeros((2, *counts.shape), np.int64)  # none at the ends of a row
    beside[0, :, 1:-1], beside[1, :, 1:-1] = counts[:, :-2], counts[:, 2:]
    lower, higher = beside.min(axis=0).ravel(), beside.max(axis=0).ravel()
    own = counts.ravel()
    bright = np.flatnonzero((own >= LEAST_BRIGHT) & (own > BRIGHT * higher) & (lower > 0))
    dark = np.flatnonzero((own == 0) & (lower >= LEAST_BESIDE))
    places = np.stack([bright + plan.first_pixel, own[bright]], axis=1)
    sums = counts.sum(axis=1), counts.sum(axis=0)
    return kept, TileFaults(plan, sharp, places, dark + plan.first_pixel, *sums)


def fault_warnings(
    maps: Sequence[MapView], energy: np.ndarray, faults: Sequence[TileFaults]
) -> tuple[str, ...]:
    """Say what was found in the tiles of all maps: what was left out, and where to look."""
    if not faults:
        return ()
    sharp = [np.concatenate([getattr(f.sharp, n) for f in faults]) for n in ("pixel", "channel", "count")]
    dead, dead_pixels = _dead_lines(maps, faults)
    dark = np.setdiff1d(np.concatenate([f.dark for f in faults]), dead_pixels)
    bright = np.concatenate([f.bright for f in faults])
    return tuple(
        text
        for text in (
            sharp_warning(maps, energy, SharpVoxels(*sharp)),
            _bright_warning(maps, bright),
            _dead_warning(dead),
            _dark_warning(maps, dark),
        )
        if text
    )


def are_faults(sharp: int, pixels: int) -> bool:
    """Whether so many sharp voxels are faults; if they are common, the detector is sharper than thought."""
    return sharp <= max(FEW_SHARP, MOST_SHARP * pixels)


def sharp_everywhere(sharp: int, pixels: int) -> str:
    """Say that counts are taken as they are, since so many are sharper than peaks can be."""
    return (
        f"{sharp} voxels of {pixels} pixels hold counts that are sharper than the detector's peaks, too many "
        "to be faults: they are taken as they are. Is the energy axis in keV, and is "
        f"ds.attrs[{schema.FWHM!r}] the detector's width?"
    )


def sharp_warning(maps: Sequence[MapView], energy: np.ndarray, sharp: SharpVoxels) -> str | None:
    """Say which voxels were left out; None where there are none."""
    number = sharp.count.size
    if not number:
        return None
    most = np.argsort(-sharp.count, kind="stable")[:SHOWN]
    each = (
        f"{sharp.count[i]} counts at {energy[sharp.channel[i]]:.2f} keV in {place_of(maps, sharp.pixel[i])}"
        for i in most
    )
    what = "1 voxel was" if number == 1 else f"{number} voxels were"
    return (
        f"{what} left out: counts in one channel beside empty ones, which no detector can make "
        f"({sharp.count.sum()} counts: {_listed(list(each), number)})"
    )


def _bright_warning(maps: Sequence[MapView], bright: np.ndarray) -> str | None:
    if not len(bright):
        return None
    order = bright[np.argsort(-bright[:, 1], kind="stable")]
    each = [f"{counts} counts in {place_of(maps, pixel)}" for pixel, counts in order[:SHOWN]]
    return (
        f"bright pixels with more than {BRIGHT:.0f} times the counts of their neighbours "
        f"({_listed(each, len(bright))}): if they are a fault and no particle, set their counts to 0"
    )


def _dead_warning(dead: Sequence[str]) -> str | None:
    if not dead:
        return None
    return f"no counts between counted neighbours in {_listed(dead[:SHOWN], len(dead))}"


def _dark_warning(maps: Sequence[MapView], dark: np.ndarray) -> str | None:
    if not dark.size:
        return None
    each = [place_of(maps, pixel) for pixel in dark[:SHOWN]]
    return f"no counts between counted neighbours in the pixels {_listed(each, dark.size)}"


def _listed(shown: Sequence[str], number: int) -> str:
    more = number - len(shown)
    return "; ".join(shown) + (f"; and {more} more" if more else "")


def place_of(maps: Sequence[MapView], pixel: int) -> str:
    """Name the pixel of that number by its place in its map.

    Examples
    --------
    >>> import edxdask
    >>> from edxdask.engine.maps import maps_of
    >>> cube = edxdask.from_array(np.ones((2, 3, 4), np.uint16), energy_offset=0.0, energy_scale=0.01)
    >>> place_of(maps_of(cube), 4)
    'y=1, x=1'
    """
    view = next(v for v in maps if pixel < v.stack.first_pixel + v.stack.pixels)
    dims = schema.pixel_dims(view.cube)
    index = np.unravel_index(int(pixel) - view.stack.first_pixel, [view.cube.sizes[d] for d in dims])
    return _named(view, {dim: int(i) for dim, i in zip(dims, index, strict=True)})


def _named(view: MapView, place: Mapping[str, int]) -> str:
    where = ", ".join(f"{dim}={i}" for dim, i in place.items())
    return f"{view.name}: {where}" if view.name else where


def _dead_lines(maps: Sequence[MapView], faults: Sequence[TileFaults]) -> tuple[list[str], np.ndarray]:
    """Names of rows and columns without counts, and the numbers of their pixels."""
    names: list[str] = []
    pixels: list[np.ndarray] = [np.zeros(0, np.int64)]
    for view, image, *sums in _sums_of_images(maps, faults):
        dims = schema.pixel_dims(view.cube)
        if len(dims) < 2:
            continue
        shape = sums[0].size, sums[1].size
        numbers = view.stack.first_pixel + image * shape[0] * shape[1] + np.arange(np.prod(shape))
        outer = np.unravel_index(image, [view.cube.sizes[d] for d in dims[:-2]]) if dims[:-2] else ()
        place = {dim: int(i) for dim, i in zip(dims[:-2], outer, strict=True)}
        for axis, along in enumerate(sums):
            for at in _dead(along):
                names.append(_named(view, {**place, dims[axis - 2]: at}))
                pixels.append(np.take(numbers.reshape(shape), [at], axis=axis).ravel())
    return names, np.concatenate(pixels)


def _sums_of_images(
    maps: Sequence[MapView], faults: Sequence[TileFaults]
) -> Iterator[tuple[MapView, int, np.ndarray, np.ndarray]]:
    """Yield each image of each map with the sums of its rows and of its columns."""
    of_image: dict[tuple[int, int], list[TileFaults]] = {}
    for fault in faults:
        of_image.setdefault((fault.plan.map_index, fault.plan.image), []).append(fault)
    for (index, image), tiles in of_image.items():
        ordered = sorted(tiles, key=lambda tile: tile.plan.first_row)
        rows = np.concatenate([tile.row_counts for tile in ordered])
        yield maps[index], image, rows, np.sum([tile.column_counts for tile in ordered], axis=0)


def _dead(sums: np.ndarray) -> list[int]:
    """Rows or columns without counts between two that have some; a wider gap belongs to the sample.

    Examples
    --------
    >>> _dead(np.array([0, 90, 0, 80, 85, 0, 0, 0, 0, 90, 0]))
    [2]
    """
    counted = np.flatnonzero(sums)
    found = []
    for before, after in pairwise(counted):
        if 1 < after - before <= MOST_DEAD_ROWS + 1 and min(sums[before], sums[after]) >= LEAST_BESIDE:
            found += list(range(int(before) + 1, int(after)))
    return found
