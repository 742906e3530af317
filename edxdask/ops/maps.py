"""Maps: one number per pixel, the counts of a window of energy or of a line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, overload

import dask.array as da
import numpy as np
import xarray as xr

from edxdask.errors import ParameterError
from edxdask.ops._blocks import derived_attrs, labelled, lazy_counts, window_counts
from edxdask.physics.detector import fwhm_kev
from edxdask.physics.lines import line_centroid
from edxdask.results.collections import is_collection, on_each_map
from edxdask.schema import ENERGY, FWHM, LINE, TOTAL, pixel_dims, validate_cube, variable_attrs

Window = tuple[float, float]
WINDOW_MAP, LINE_MAP = "window_map", "line_map"
WIDTH_IN_FWHM = 1.2  # where signal over √background of a Gaussian peak is largest; holds 84 % of it
GAP_IN_FWHM = 1.2  # from the line to its background windows: 0.5 % of a Gaussian is farther out
BACKGROUND_IN_FWHM = 0.6


@overload
def total_map(data: xr.Dataset) -> xr.DataArray: ...
@overload
def total_map(data: xr.DataTree) -> xr.DataTree: ...
def total_map(data: xr.Dataset | xr.DataTree) -> xr.DataArray | xr.DataTree:
    """Count the photons of every pixel.

    Parameters
    ----------
    data : Dataset or DataTree
        Cube, or collection of cubes: each map separately.

    Returns
    -------
    DataArray or DataTree
        ``total``, whole numbers over the pixel dimensions, lazy; a collection of a collection.

    Notes
    -----
    *Chunks.* Any; costs one read of the counts, and keeps one number per pixel.

    Examples
    --------
    >>> counts = (("y", "energy"), np.array([[0, 3], [1, 1]], "u2"))
    >>> ds = xr.Dataset({"counts": counts}, {"energy": [0.0, 0.1]})
    >>> total_map(ds).values.tolist()
    [3, 2]
    """
    if is_collection(data):
        return on_each_map(total_map, data)
    ds = validate_cube(data)
    sums = window_counts(lazy_counts(ds), [(0, ds.sizes[ENERGY])])
    return labelled(
        ds, sums[..., 0], pixel_dims(ds), TOTAL, derived_attrs(ds, "total_map()", variable_attrs(TOTAL))
    )


@overload
def window_map(
    data: xr.Dataset, lo: float, hi: float, *, background: Sequence[Window] | None = None
) -> xr.DataArray: ...
@overload
def window_map(
    data: xr.DataTree, lo: float, hi: float, *, background: Sequence[Window] | None = None
) -> xr.DataTree: ...
def window_map(
    data: xr.Dataset | xr.DataTree, lo: float, hi: float, *, background: Sequence[Window] | None = None
) -> xr.DataArray | xr.DataTree:
    """Map the counts in channels with ``lo <= energy < hi`` (keV), above a background if asked.

    Parameters
    ----------
    data : Dataset or DataTree
        Cube, or collection of cubes: each map separately.
    lo : float
        Lower end of the window, keV.
    hi : float
        Upper end of the window, keV; a channel centred there is outside.
    background : sequence of (float, float), optional
        Two windows, one below and one above; a straight line through their mean counts per channel is
        subtracted. None: counts as they are, whole numbers.

    Returns
    -------
    DataArray or DataTree
        Counts over the pixel dimensions, lazy; a collection of a collection.

    Notes
    -----
    *Chunks.* Any. One task per chunk; only the channels of the windows are read through, and chunks of
    channels outside them are not read. Keeps one number per pixel.

    Examples
    --------
    >>> counts = np.array([[2, 2, 9, 2, 2]], "u2")
    >>> ds = xr.Dataset({"counts": (("y", "energy"), counts)}, {"energy": [0.0, 0.1, 0.2, 0.3, 0.4]})
    >>> window_map(ds, 0.15, 0.25).values.tolist()
    [9]
    >>> window_map(ds, 0.15, 0.25, background=[(0, 0.15), (0.25, 0.45)]).values.tolist()
    [7.0]
    """
    if is_collection(data):
        return on_each_map(lambda ds: window_map(ds, lo, hi, background=background), data)
    ds = validate_cube(data)
    windows = [(lo, hi), *_checked_background((lo, hi), background)]
    said = "".join(f", background {a:g}…{b:g} keV" for a, b in windows[1:])
    attrs = derived_attrs(ds, f"window_map({lo:g}…{hi:g} keV{said})", _map_attrs([windows]))
    return labelled(ds, _net_counts(ds, [windows])[..., 0], pixel_dims(ds), WINDOW_MAP, attrs)


@overload
def line_map(
    data: xr.Dataset,
    line: str | Sequence[str],
    *,
    width: float | None = None,
    background: bool | Sequence[Window] = True,
) -> xr.DataArray: ...
@overload
def line_map(
    data: xr.DataTree,
    line: str | Sequence[str],
    *,
    width: float | None = None,
    background: bool | Sequence[Window] = True,
) -> xr.DataTree: ...
def line_map(
    data: xr.Dataset | xr.DataTree,
    line: str | Sequence[str],
    *,
    width: float | None = None,
    background: bool | Sequence[Window] = True,
) -> xr.DataArray | xr.DataTree:
    """Map the counts in a window around a line, above the background beside it.

    Overlapping lines are not separated: use a fit or a factorization for that.

    Parameters
    ----------
    data : Dataset or DataTree
        Cube, or collection of cubes: each map separately.
    line : str or sequence of str
        "Mg_Ka", or several lines, which are then read in one pass and put along a dimension ``line``.
    width : float, optional
        Width of the window, keV; None: 1.2 times the detector's width at that energy, from the cube's
        ``fwhm_mn_ka_ev`` (130 eV where it has none).
    background : bool or sequence of (float, float)
        True: a window of 0.6 widths on either side, centred 1.5 widths from the line; or two windows
        (lo, hi) in keV; False: counts as they are, whole numbers.

    Returns
    -------
    DataArray or DataTree
        Counts over the pixel dimensions, lazy; a collection of a collection.

    Notes
    -----
    *Chunks.* As ``window_map``.

    Examples
    --------
    >>> counts = (("y", "energy"), np.ones((1, 300), "u2"))
    >>> ds = xr.Dataset({"counts": counts}, {"energy": np.arange(300) * 0.01})
    >>> line_map(ds, "Mg_Ka", width=0.1, background=False).values.tolist()
    [10]
    """
    if is_collection(data):
        return on_each_map(lambda ds: line_map(ds, line, width=width, background=background), data)
    ds = validate_cube(data)
    names = [line] if isinstance(line, str) else list(line)
    if not names:
        raise ParameterError("line", line, "a line such as 'Mg_Ka', or several")
    plans = [line_windows(ds, name, width=width, background=background) for name in names]
    attrs = derived_attrs(ds, f"line_map({', '.join(names)})", _map_attrs(plans))
    nets = _net_counts(ds, plans)
    if isinstance(line, str):
        return labelled(ds, nets[..., 0], pixel_dims(ds), line, attrs).assign_coords({LINE: line})
    one = labelled(ds, nets[..., 0], pixel_dims(ds), LINE_MAP, attrs)
    return xr.DataArray(
        da.moveaxis(nets, -1, 0), {**one.coords, LINE: names}, (LINE, *one.dims), LINE_MAP, one.attrs
    )


def _map_attrs(plans: Sequence[Sequence[Window]]) -> dict[str, Any]:
    return {
        "units": "counts",
        "window_kev": np.ravel([p[0] for p in plans]).tolist(),
        "background_kev": np.ravel([p[1:] for p in plans]).tolist(),
    }


def line_windows(
    ds: xr.Dataset, line: str, *, width: float | None = None, background: bool | Sequence[Window] = True
) -> list[Window]:
    """Place the window (keV) of a line and, if it is to have a background, the windows below and above."""
    centre = line_centroid(line)
    fwhm = float(fwhm_kev(centre, **_known_width(ds)))
    if width is not None and not width > 0:
        raise ParameterError("width", width, "a width above 0 keV, or None for the detector's")
    half = (WIDTH_IN_FWHM * fwhm if width is None else width) / 2
    window = (centre - half, centre + half)
    if background is False:
        return [window]
    if background is True:
        gap, wide = max(GAP_IN_FWHM * fwhm, half), BACKGROUND_IN_FWHM * fwhm
        background = [(centre - gap - wide, centre - gap), (centre + gap, centre + gap + wide)]
    return [window, *_checked_background(window, background)]


def _known_width(ds: xr.Dataset) -> dict[str, float]:
    fwhm = ds.attrs.get(FWHM)
    return {} if fwhm is None else {FWHM: float(fwhm)}


def _checked_background(window: Window, background: Sequence[Window] | None) -> list[Window]:
    if background is None:
        return []
    pairs = sorted((float(a), float(b)) for a, b in background)
    if len(pairs) != 2 or not pairs[0][1] <= window[0] or not window[1] <= pairs[1][0]:
        low, high = window
        raise ParameterError(
            "background", background, f"two windows, one below {low:.4g} and one above {high:.4g} keV"
        )
    return pairs


def _channels(ds: xr.Dataset, window: Window) -> tuple[int, int]:
    """First channel with its centre in ``lo <= energy < hi``, and one past the last."""
    energy = ds[ENERGY].values
    slack = 1e-6 * (energy[-1] - energy[0]) / max(energy.size - 1, 1)
    first, stop = np.searchsorted(energy, np.asarray(window) - slack)
    half = 0.5 * (energy[-1] - energy[0]) / max(energy.size - 1, 1)
    if first >= stop or window[0] < energy[0] - half - slack or window[1] > energy[-1] + half + slack:
        raise ParameterError(
            "window",
            tuple(round(float(end), 4) for end in window),
            f"(lo, hi) in keV that holds a channel, within the axis of {energy[0]:g} to {energy[-1]:g} keV",
            "A background window that leaves the axis can be moved: background=[(a, b), (c, d)].",
        )
    return int(first), int(stop)


def line_weights(ds: xr.Dataset, line: str, *, width: float | None = None) -> np.ndarray:
    """Weights of the channels, (E,), with which a spectrum's sum is what ``line_map`` finds in it.

    They give the line's map of what a result expects from the spectra of its phases, without a cube.

    Examples
    --------
    >>> counts, energy = (("y", "energy"), np.ones((1, 300), "u2")), np.arange(300) * 0.01
    >>> ds = xr.Dataset({"counts": counts}, {"energy": energy})
    >>> weights = line_weights(ds, "Mg_Ka")
    >>> bool(np.isclose(ds.counts.values @ weights, line_map(ds, "Mg_Ka")).all())
    True
    """
    weights = np.zeros(ds.sizes[ENERGY])
    for first, stop, weight in weighted_windows(ds, line_windows(ds, line, width=width)):
        weights[first:stop] += weight
    return weights


def weighted_windows(ds: xr.Dataset, windows: Sequence[Window]) -> list[tuple[int, int, float]]:
    """Give the channels of windows, and what a photon in each adds to the net counts of the first.

    Parameters
    ----------
    ds : Dataset
        Cube or result; only its energy axis is used.
    windows : sequence of (float, float)
        A window in keV, and none or two of background; a straight line through the mean counts of those two
        is subtracted.

    Returns
    -------
    list of (int, int, float)
        First channel, one past the last, weight.
    """
    channels = [_channels(ds, window) for window in windows]
    if len(channels) == 1:
        return [(*channels[0], 1.0)]
    energy = ds[ENERGY].values
    own, low, high = (float(energy[a:b].mean()) for a, b in channels)
    size, size_low, size_high = (b - a for a, b in channels)
    t = (own - low) / (high - low)
    weights = (1.0, -size * (1 - t) / size_low, -size * t / size_high)
    return [(a, b, weight) for (a, b), weight in zip(channels, weights, strict=True)]


def _net_counts(ds: xr.Dataset, plans: Sequence[Sequence[Window]]) -> da.Array:
    """First window of each plan, minus a straight line through its other two: (pixels…, plan).

    The line's sum over the window is its number of channels times the line's value at the window's middle.
    All in the task that reads, as a task per map and chunk would cost a fifth of the time of five maps.
    """
    weighted = [weighted_windows(ds, plan) for plan in plans]
    sums = window_counts(lazy_counts(ds), [(a, b) for plan in weighted for a, b, _ in plan])
    if len(plans[0]) == 1:
        return sums
    below, above = -np.array([[weight for _, _, weight in plan[1:]] for plan in weighted]).T
    return da.map_blocks(
        _less_background,
        sums,
        below=below,
        above=above,
        chunks=(*sums.chunks[:-1], (len(plans),)),
        dtype=np.float64,
        meta=np.empty((0,) * sums.ndim),
    )


def _less_background(sums: np.ndarray, below: np.ndarray, above: np.ndarray) -> np.ndarray:
    return sums[..., 0::3] - (below * sums[..., 1::3] + above * sums[..., 2::3])
