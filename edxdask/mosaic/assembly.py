"""The mosaic as a Dataset: a cube or a result on one canvas, where its maps lie, how well that is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr

from edxdask import schema
from edxdask.mosaic.canvas import BLOCK, IMAGE_BLOCK, Layer, added, averaged
from edxdask.mosaic.images import PIXELS, is_scan, on_map
from edxdask.mosaic.pairs import PlacedPairs

AXES = (schema.Y, schema.X)
MADE_HERE = frozenset(
    name
    for name, one in schema.VARIABLES.items()
    if {schema.TILE, schema.PAIR} & set(one.dims) or name == schema.EXPOSURE
)
SUMMED = (schema.LIVE_TIME, schema.REAL_TIME)
SAME_DWELL = 0.02  # relative: dead times differ by that much between neighbours that were measured alike


@dataclass(frozen=True, eq=False)
class Tiles:
    """Maps and their places.

    Attributes
    ----------
    maps : by name
    positions : (n, 2) px
    origins : (n, 2) whole pixels on the canvas
    sizes : (n, 2) rows and columns of the maps
    shape : rows and columns of the canvas
    """

    maps: Mapping[str, xr.Dataset]
    positions: np.ndarray
    origins: np.ndarray
    sizes: np.ndarray
    shape: tuple[int, int]


def tiles_at(maps: Mapping[str, xr.Dataset], positions: np.ndarray) -> Tiles:
    """Put maps on the smallest canvas that holds them, each at the whole pixel nearest to its position."""
    own = positions - positions.min(axis=0)
    origins = np.rint(own).astype(int)
    sizes = np.array([[one.sizes[dim] for dim in PIXELS] for one in maps.values()])
    rows, columns = (origins + sizes).max(axis=0).tolist()
    return Tiles(maps, own, origins, sizes, (rows, columns))


def canvas_of(tiles: Tiles, *, step: tuple[float, float], unit: str) -> xr.Dataset:
    """Assemble every variable of the maps that has pixels, lazily, and their exposure.

    Counts, totals and exposures add; abundances are means by photons, images by exposure; what cannot be
    joined, such as numbers of clusters, is left out.
    """
    exposures = _exposures(tiles.maps)
    names = dict.fromkeys(str(name) for one in tiles.maps.values() for name in one.data_vars)
    made: dict[str, xr.Variable] = {}
    for name in names:
        if name not in MADE_HERE and (found := _joined(tiles, name, exposures)) is not None:
            made[name] = found
    seen = [Layer(exposures[name], origin) for name, origin in _places(tiles)]
    exposure = added(seen, tiles.shape, axes=(0, 1), block=IMAGE_BLOCK)
    made[schema.EXPOSURE] = xr.Variable(PIXELS, exposure, schema.variable_attrs(schema.EXPOSURE))
    coords = {}
    for dim, size, length in zip(PIXELS, step, tiles.shape, strict=True):
        scale = {} if unit == schema.PIXEL_UNIT else {"scale": size}
        coords[dim] = xr.Variable((dim,), np.arange(length) * size, {"units": unit, **scale})
    others = _others(tiles.maps, made)
    return xr.Dataset({**made, **others}, coords=coords)


def _places(tiles: Tiles) -> list[tuple[str, tuple[int, int]]]:
    return [(name, (int(y), int(x))) for name, (y, x) in zip(tiles.maps, tiles.origins, strict=True)]


def _exposures(maps: Mapping[str, xr.Dataset]) -> dict[str, da.Array]:
    """Exposure (y, x) of every map: its own where it has one, else its live time per pixel over the median.

    Maps with nearly the same live time per pixel have an exposure of 1.
    """
    times = [_dwell(one) for one in maps.values()]
    known = [time for time in times if time is not None]
    middle = float(np.median(known)) if len(known) == len(times) else 1.0
    even = len(known) < len(times) or all(abs(time / middle - 1) < SAME_DWELL for time in known)
    found = {}
    for (name, one), time in zip(maps.items(), times, strict=True):
        shape = tuple(one.sizes[dim] for dim in PIXELS)
        if schema.EXPOSURE in one:
            found[name] = _lazy(one[schema.EXPOSURE].transpose(*PIXELS)).astype(np.float32)
        else:
            value = 1.0 if even or time is None else time / middle
            found[name] = da.full(shape, value, dtype=np.float32, chunks=IMAGE_BLOCK)
    return found


def _dwell(one: xr.Dataset) -> float | None:
    live = one.attrs.get(schema.LIVE_TIME)
    if not isinstance(live, int | float | np.number) or not live > 0:
        return None
    return float(live) / (one.sizes[schema.Y] * one.sizes[schema.X])


def _lazy(array: xr.DataArray) -> da.Array:
    data = array.variable.data
    if isinstance(data, da.Array):
        return data
    return da.from_array(np.asarray(data), chunks=-1, name=False)


def _joined(tiles: Tiles, name: str, exposures: Mapping[str, da.Array]) -> xr.Variable | None:
    """One variable on the canvas; None for what has no pixels or cannot be joined."""
    spec = schema.VARIABLES.get(name.removesuffix(schema.STD_SUFFIX))
    layers, model = [], None
    for place, origin in _places(tiles):
        one = tiles.maps[place]
        if name not in one or (not is_scan(one[name], one) and name != schema.COUNTS):
            continue
        array, data = _on_pixels(name, one)
        if model is not None and data.shape[:-2] != model.shape[:-2] and name != schema.COUNTS:
            return None
        model = array if model is None else model
        weight = exposures[place]
        if spec is not None and spec.name == schema.ABUNDANCE and schema.TOTAL in one:
            weight = _lazy(one[schema.TOTAL].transpose(*PIXELS))
        layers.append(Layer(data, origin, weight))
    if model is None:
        return None
    rule = "mean" if spec is None else spec.binning
    if rule == "keep":
        return None
    axes = (0, 1) if name == schema.COUNTS else (model.ndim - 2, model.ndim - 1)
    block = BLOCK if name == schema.COUNTS else IMAGE_BLOCK
    if rule in ("sum", "all"):
        data = added(layers, tiles.shape, axes=axes, block=block)
        data = data > 0 if rule == "all" else data
    else:
        errors = name.endswith(schema.STD_SUFFIX)
        data = averaged(layers, tiles.shape, axes=axes, block=block, errors=errors)
    return xr.Variable(model.dims, data, model.attrs)


def _on_pixels(name: str, one: xr.Dataset) -> tuple[xr.DataArray, da.Array]:
    """Give a map's variable with its pixels last (of counts: first), and its lazy data."""
    array = one[name]
    if name == schema.COUNTS:
        array = array.transpose(*PIXELS, schema.ENERGY)
    elif set(PIXELS) <= set(array.dims):
        array = array.transpose(..., *PIXELS)
    else:
        array = xr.DataArray(on_map(array, one)[0], dims=PIXELS, attrs=array.attrs)
    return array, _lazy(array)


def _others(maps: Mapping[str, xr.Dataset], made: Mapping[str, Any]) -> dict[str, xr.DataArray]:
    """Variables without pixels that all maps have alike, such as spectra."""
    first, *rest = maps.values()
    kept = {}
    for name, array in first.data_vars.items():
        if name in made or name in MADE_HERE or set(array.dims) & set(PIXELS):
            continue
        if array.ndim and str(array.dims[0]).startswith(f"{name}_"):  # an image on pixels of its own
            continue
        if all(name in one and array.equals(one[name]) for one in rest):
            kept[str(name)] = array
    return kept


def placement_of(tiles: Tiles, start: np.ndarray, found: PlacedPairs | None) -> dict[str, xr.Variable]:
    """Where the maps are, and what was measured of their pairs, as variables."""
    own_start = start - (start - tiles.positions).mean(axis=0)
    names = list(tiles.maps)
    made = {
        schema.TILE_START: own_start,
        schema.TILE_POSITION: tiles.positions,
        schema.TILE_ORIGIN: tiles.origins,
        schema.TILE_SIZE: tiles.sizes,
    }
    if found is not None:
        placed, pairs = found.placement, found.pairs
        made |= {
            schema.TILE_POSITION + schema.STD_SUFFIX: placed.std,
            schema.TILE_PIECE: placed.pieces,
            schema.PAIR_FIRST: np.array([names[i] for i in pairs.first], dtype=str),
            schema.PAIR_SECOND: np.array([names[j] for j in pairs.second], dtype=str),
            schema.PAIR_SHIFT: pairs.shift,
            schema.PAIR_SHIFT + schema.STD_SUFFIX: pairs.std,
            schema.PAIR_RESIDUAL: placed.residual,
            schema.PAIR_CORRELATION: found.correlation,
            schema.PAIR_PIXELS: found.pixels,
            schema.PAIR_USED: placed.used,
        }
    variables = {}
    for name, values in made.items():
        base = name.removesuffix(schema.STD_SUFFIX)
        variables[name] = xr.Variable(schema.VARIABLES[base].dims, values, schema.variable_attrs(base))
    return variables


def joint_attrs(maps: Mapping[str, xr.Dataset]) -> dict[str, Any]:
    """Attributes of the mosaic: those that all maps have alike; elements of all; times summed."""
    first, *rest = [one.attrs for one in maps.values()]
    kept = {
        str(key): value
        for key, value in first.items()
        if key != schema.HISTORY and all(key in one and _same(value, one[key]) for one in rest)
    }
    for name in SUMMED:
        times = [one.attrs.get(name) for one in maps.values()]
        kept.pop(name, None)
        if all(isinstance(time, int | float) for time in times):
            kept[name] = float(sum(float(time) for time in times if time is not None))
    elements = dict.fromkeys(e for one in maps.values() for e in one.attrs.get(schema.ELEMENTS, ()))
    texts = [w for one in maps.values() for w in one.attrs.get(schema.WARNINGS, ())]
    if elements:
        kept[schema.ELEMENTS] = list(elements)
    histories = [one.attrs.get(schema.HISTORY, ()) for one in maps.values()]
    kept[schema.HISTORY] = [line for line in histories[0] if all(line in other for other in histories[1:])]
    if texts:
        kept[schema.WARNINGS] = list(dict.fromkeys(texts))
    return kept


def _same(one: Any, other: Any) -> bool:
    return bool(np.array_equal(np.asarray(one), np.asarray(other)))
