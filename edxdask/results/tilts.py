"""Tilt series: maps of one tilt each become one lazy cube (tilt, y, x, energy), in the order of tilts."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Literal, get_args

import dask.array as da
import numpy as np
import xarray as xr

from edxdask import schema
from edxdask.errors import ParameterError, SchemaError
from edxdask.results.collections import check_same_axis

logger = logging.getLogger(__name__)

Fields = Literal["common", "all"]
MOST_DEG = 180.0
FEWEST_MAPS = 2
STEP_TOLERANCE = 5e-3  # relative; what magnifications of one setting differ by
SHOWN = 8  # names in a message
OWN_ATTRIBUTES = (schema.TILT_ALPHA, schema.LIVE_TIME, schema.REAL_TIME, schema.SOURCE_SHA256, schema.HISTORY)


def series_of_maps(
    maps: Mapping[str, xr.Dataset],
    *,
    tilts_deg: Sequence[float] | Mapping[str, float] | None = None,
    axis: str = schema.Y,
    fields: Fields = "common",
    said: bool = True,
) -> xr.Dataset:
    """Stack maps of one tilt each; see ``edxdask.collect_tilts``. ``said``: log that sizes differ.

    Examples
    --------
    >>> one = xr.Dataset({"counts": (("y", "x", "energy"), np.ones((4, 5, 2), "u2"))}, {"energy": [0.1, 0.2]})
    >>> series = series_of_maps({"b": one, "a": one.isel(x=slice(3))}, tilts_deg=[20, -20])
    >>> series.tilt_map.values.tolist(), series.counts.shape
    (['a', 'b'], (2, 4, 3, 2))
    """
    _check_choices(axis, fields)
    if len(maps) < FEWEST_MAPS:
        raise ParameterError("data", list(maps), "two maps or more, of one tilt each")
    for name, cube in maps.items():
        dims = schema.pixel_dims(cube)
        if dims != (schema.Y, schema.X):
            raise SchemaError(f"map {name!r} has the pixel dimensions {dims}; a map of one tilt has (y, x)")
    angles = _angles_of_maps(maps, tilts_deg)
    check_same_axis(maps, "edxdask.rebin_energy(maps) puts all on one axis")
    _check_steps(maps)
    order = sorted(maps, key=lambda name: angles[name])
    placed, notes = _placed({name: maps[name] for name in order}, fields)
    for note in notes if said else []:
        logger.warning("%s", note)
    stacked = xr.Dataset(
        {name: _stacked(name, placed) for name in _in_all(placed)},
        {**_coords(placed), schema.TILT: _coordinate([angles[name] for name in order])},
        _common_attributes(list(placed.values())),
    )
    return schema.validate_cube(_labelled(stacked, order, maps, axis, notes))


def ordered_series(
    cube: xr.Dataset, *, tilts_deg: Sequence[float] | None = None, axis: str = schema.Y
) -> xr.Dataset:
    """Put a cube of all tilts in their order, with angles from its coordinate or given.

    Examples
    --------
    >>> counts = (("frame", "y", "x", "energy"), np.ones((3, 2, 2, 2), "u2"))
    >>> cube = xr.Dataset({"counts": counts}, {"energy": [0.1, 0.2]})
    >>> ordered_series(cube, tilts_deg=[10, -10, 0]).tilt.values.tolist()
    [-10.0, 0.0, 10.0]
    """
    _check_choices(axis, "common")
    schema.validate_cube(cube)
    dims = schema.pixel_dims(cube)
    if len(dims) != 3 or set(dims[1:]) != {schema.Y, schema.X}:
        raise SchemaError(f"the cube has the pixel dimensions {dims}; a tilt series has ('tilt', 'y', 'x')")
    if dims[0] != schema.TILT:
        cube = cube.rename({dims[0]: schema.TILT})
        cube = cube.drop_vars(schema.TILT, errors="ignore")
    known = schema.TILT in cube.coords and cube[schema.TILT].attrs.get("units", "deg") == "deg"
    if tilts_deg is None and not known:
        raise _unknown(cube.sizes[schema.TILT], [])
    given = cube[schema.TILT].values if tilts_deg is None else tilts_deg
    names = [str(i) for i in range(cube.sizes[schema.TILT])]
    angles = np.array(list(_checked(names, given).values()))
    order = np.argsort(angles)
    made = cube.isel({schema.TILT: order}).assign_coords({schema.TILT: _coordinate(angles[order])})
    return made.assign_attrs({schema.TILT_AXIS: axis})


def tilts_text(tilts_deg: np.ndarray) -> str:
    """Describe the tilts of a series in a few words.

    Examples
    --------
    >>> tilts_text(np.array([-70.0, -65.0, -60.0])), tilts_text(np.array([-10.0, 0.0, 20.0]))
    ('3 tilts, -70° to -60° in steps of 5°', '3 tilts, -10° to 20° in steps of 10° to 20°')
    """
    angles = np.sort(np.asarray(tilts_deg, dtype=np.float64))
    text = f"{angles.size} tilts, {angles[0]:.4g}° to {angles[-1]:.4g}°"
    if angles.size < 2:
        return f"1 tilt, {angles[0]:.4g}°"
    low, high = (float(f"{step:.3g}") for step in (np.diff(angles).min(), np.diff(angles).max()))
    return f"{text} in steps of {low:g}°" + ("" if low == high else f" to {high:g}°")


def _check_choices(axis: Any, fields: Any) -> None:
    if axis not in (schema.Y, schema.X):
        raise ParameterError(
            "axis", axis, "'y' or 'x', the dimension of the maps that the tilt axis is along"
        )
    if fields not in get_args(Fields):
        raise ParameterError("fields", fields, "'common' or 'all'")


def _angles_of_maps(maps: Mapping[str, xr.Dataset], given: Any) -> dict[str, float]:
    """Tilt of every map, each once."""
    if isinstance(given, Mapping):
        missing = [name for name in maps if name not in given]
        if missing or len(given) != len(maps):
            raise ParameterError("tilts_deg", list(given), f"one tilt for each map: {_listed(list(maps))}")
        given = [given[name] for name in maps]
    if given is not None:
        return _checked(list(maps), given)
    found = {name: cube.attrs.get(schema.TILT_ALPHA) for name, cube in maps.items()}
    missing = [name for name, tilt in found.items() if tilt is None]
    if missing:
        raise _unknown(len(maps), missing)
    return _checked(list(maps), list(found.values()))


def _unknown(count: int, missing: list[str]) -> ParameterError:
    """Error for tilts that nobody knows."""
    whose = f"of {_listed(missing)} " if missing else ""
    return ParameterError(
        "tilts_deg",
        None,
        f"the tilts {whose}in degrees, which the data do not say",
        f"Give all {count}, in the order of the maps: tilts_deg=[-60, -55, …]",
    )


def _checked(names: Sequence[str], given: Any) -> dict[str, float]:
    """Tilts by name, if there is one for each, and no two are equal."""
    try:
        angles = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError):
        angles = np.empty((0, 0))
    if angles.shape != (len(names),):
        raise ParameterError("tilts_deg", given, f"{len(names)} numbers, one tilt for each map")
    if not (np.isfinite(angles).all() and (np.abs(angles) <= MOST_DEG).all()):
        raise ParameterError("tilts_deg", angles.tolist(), f"degrees from -{MOST_DEG:g} to {MOST_DEG:g}")
    for angle in angles:
        same = [name for name, other in zip(names, angles, strict=True) if other == angle]
        if len(same) > 1:
            raise ParameterError(
                "tilts_deg",
                float(angle),
                f"each tilt once; maps {_listed(same)} have this one",
                "Leave all but one out. Maps of single detectors: ingest them with detectors='sum'.",
            )
    return dict(zip(names, angles.tolist(), strict=True))


def _check_steps(maps: Mapping[str, xr.Dataset]) -> None:
    """Refuse maps whose pixels differ in size."""
    steps = {name: tuple(_step(cube, dim) for dim in (schema.Y, schema.X)) for name, cube in maps.items()}
    (first, known), *rest = steps.items()
    for name, step in rest:
        for a, b in zip(known, step, strict=True):
            if a is None and b is None:
                continue
            if a is None or b is None or abs(a / b - 1) > STEP_TOLERANCE:
                texts = [" × ".join("?" if s is None else f"{s:.5g}" for s in each) for each in (step, known)]
                raise SchemaError(
                    f"pixels of map {name!r} are {texts[0]} nm (y × x), those of {first!r} {texts[1]} nm: a "
                    "series has one pixel size. Leave out what was recorded at another magnification, bin "
                    "the finer maps (edxdask.bin_cube), or correct their coordinates y and x"
                )


def _step(cube: xr.Dataset, dim: str) -> float | None:
    """Nanometres between pixels; None without calibration."""
    if dim not in cube.coords or cube[dim].attrs.get("units") != schema.COORDINATE_UNITS[dim]:
        return None
    values = np.asarray(cube[dim].values, dtype=np.float64)
    stored = cube[dim].attrs.get("scale")
    return float(values[-1] - values[0]) / (values.size - 1) if values.size > 1 else stored


def _placed(maps: dict[str, xr.Dataset], fields: Fields) -> tuple[dict[str, xr.Dataset], list[str]]:
    """Cut maps, or fill them with zeros, to one size about their middles; say what to know."""
    sizes = {dim: [cube.sizes[dim] for cube in maps.values()] for dim in (schema.Y, schema.X)}
    if all(min(each) == max(each) for each in sizes.values()):
        return maps, []
    choose = min if fields == "common" else max
    wanted = {dim: choose(each) for dim, each in sizes.items()}
    shape = " × ".join(str(wanted[dim]) for dim in (schema.Y, schema.X))
    done = "cut" if fields == "common" else "filled with pixels without photons"
    note = f"maps of different sizes were put together by their middles and {done} to {shape} pixels"
    if fields == "all":
        note += "; a volume is right only where nothing is outside of the smaller ones"
    return {name: _resized(cube, wanted) for name, cube in maps.items()}, [note]


def _resized(cube: xr.Dataset, wanted: Mapping[str, int]) -> xr.Dataset:
    for dim, size in wanted.items():
        own = cube.sizes[dim]
        if own > size:
            first = (own - size) // 2
            cube = cube.isel({dim: slice(first, first + size)})
        elif own < size:
            before = (size - own) // 2
            cube = cube.drop_vars(dim, errors="ignore")
            cube = cube.pad({dim: (before, size - own - before)}, constant_values=0)
    return cube


def _in_all(maps: Mapping[str, xr.Dataset]) -> list[str]:
    """Variables of pixels that every map has with the same dimensions and sizes: counts, scanned images."""
    first, *rest = maps.values()
    return [
        str(name)
        for name, array in first.data_vars.items()
        if set(array.dims) - {schema.ENERGY}
        and all(name in cube and cube[name].sizes == array.sizes for cube in rest)
        and not {schema.PHASE, schema.ELEMENT} & set(array.dims)
    ]


def _stacked(name: str, maps: Mapping[str, xr.Dataset]) -> xr.Variable:
    arrays = [cube[name].variable for cube in maps.values()]
    lazy = [da.asarray(array.data) if name == schema.COUNTS else array.data for array in arrays]
    together = da.stack(lazy) if any(isinstance(one, da.Array) for one in lazy) else np.stack(lazy)
    return xr.Variable((schema.TILT, *arrays[0].dims), together, arrays[0].attrs)


def _coords(maps: Mapping[str, xr.Dataset]) -> dict[str, Any]:
    """Give energy, y and x: those of the first map; y and x start at 0 where they were cut or filled."""
    largest = max(maps.values(), key=lambda cube: len(cube.coords))
    coords: dict[str, Any] = {schema.ENERGY: largest[schema.ENERGY].variable}
    for dim in (schema.Y, schema.X):
        known = next((cube[dim].variable for cube in maps.values() if dim in cube.coords), None)
        if known is None:
            continue
        step = next((s for s in (_step(cube, dim) for cube in maps.values()) if s is not None), 1.0)
        coords[dim] = xr.Variable((dim,), np.arange(largest.sizes[dim]) * step, known.attrs)
    return coords


def _coordinate(angles: Sequence[float] | np.ndarray) -> xr.Variable:
    return xr.Variable((schema.TILT,), np.asarray(angles, dtype=np.float64), {"units": "deg"})


def _common_attributes(cubes: Sequence[xr.Dataset]) -> dict[Hashable, Any]:
    """Attributes that all maps have alike, without those of single maps; elements of any."""
    first, *rest = (cube.attrs for cube in cubes)
    attrs = {
        name: value
        for name, value in first.items()
        if name not in OWN_ATTRIBUTES and all(other.get(name) == value for other in rest)
    }
    elements = dict.fromkeys(e for cube in cubes for e in cube.attrs.get(schema.ELEMENTS) or [])
    return attrs | ({schema.ELEMENTS: list(elements)} if elements else {})


def _labelled(
    series: xr.Dataset, order: Sequence[str], maps: Mapping[str, xr.Dataset], axis: str, notes: list[str]
) -> xr.Dataset:
    """Add what only the maps said: their names, the dose of each, and how they came together."""
    words: dict[str, Any] = {schema.TILT_MAP: np.array(list(order))}
    doses = _doses([maps[name].attrs for name in order])
    if doses is not None:
        words[schema.TILT_DOSE] = doses
    made = series.assign(
        {name: ((schema.TILT,), value, schema.variable_attrs(name)) for name, value in words.items()}
    )
    entry = f"series of {tilts_text(series[schema.TILT].values)}, from {_listed(list(order))}"
    attrs = schema.with_history(series.attrs, entry) | {schema.TILT_AXIS: axis}
    if notes:
        attrs[schema.WARNINGS] = [*attrs.get(schema.WARNINGS, []), *notes]
    return made.assign_attrs(attrs)


def _doses(attrs: Sequence[Mapping[Any, Any]]) -> np.ndarray | None:
    """Live times, times currents where all maps know them, mean 1; None where a time is not known."""
    product = np.ones(len(attrs))
    for name, needed in ((schema.LIVE_TIME, True), (schema.BEAM_CURRENT, False)):
        values = np.array([float(each.get(name) or np.nan) for each in attrs])
        if (values > 0).all():
            product *= values
        elif needed:
            return None
    return product / product.mean()


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(map(repr, names[:SHOWN]))
    return shown if len(names) <= SHOWN else f"{shown} and {len(names) - SHOWN} more"
