"""Where maps begin before anything is measured: as given, on a grid, by the stage, by their own axes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any, Literal, get_args

import numpy as np
import xarray as xr

from edxdask import schema
from edxdask.errors import ParameterError, SchemaError

Order = Literal["rows", "columns", "snake"]
Positions = Mapping[str, tuple[float, float]]
SAME_SIZE = 1e-3  # relative: over 1000 pixels a difference of that makes one pixel


def pixel_size_of(maps: Mapping[str, xr.Dataset]) -> tuple[float, float, str]:
    """Step between pixels (y, x) and its unit, which all maps must have in common.

    Raises
    ------
    SchemaError
        If two maps differ, which the error names.
    """
    found = {name: _step(name, one) for name, one in maps.items()}
    (first, (size, unit)), *rest = found.items()
    for name, (own, own_unit) in rest:
        if own_unit != unit or not np.allclose(own, size, rtol=SAME_SIZE, atol=0):
            raise SchemaError(
                f"pixels of map {name!r} are {own[0]:g} × {own[1]:g} {own_unit}, those of map {first!r} "
                f"{size[0]:g} × {size[1]:g} {unit}: the maps of a mosaic need one pixel size. Where one is a "
                "multiple of the other, bin the finer map: ds.edx.bin(2)"
            )
    return size[0], size[1], unit


def _step(name: str, one: xr.Dataset) -> tuple[tuple[float, float], str]:
    steps = []
    unit = schema.PIXEL_UNIT
    for dim in (schema.Y, schema.X):
        if dim not in one.coords:
            steps.append(float("nan") if one.sizes[dim] < 2 else 1.0)
            continue
        values = np.asarray(one[dim].values, dtype=float)
        unit = str(one[dim].attrs.get("units", schema.COORDINATE_UNITS[dim]))
        known = one[dim].attrs.get("scale", np.nan)
        step = (values[-1] - values[0]) / (values.size - 1) if values.size > 1 else float(known)
        if values.size > 1 and not np.allclose(np.diff(values), step, rtol=1e-6, atol=0):
            raise SchemaError(f"map {name!r}: its {dim} axis does not rise in equal steps")
        steps.append(step)
    other = next((s for s in steps if np.isfinite(s)), 1.0)
    y, x = (s if np.isfinite(s) else other for s in steps)
    return (y, x), unit


def start_positions(
    maps: Mapping[str, xr.Dataset],
    *,
    grid: tuple[int, int] | str | None,
    overlap: float | tuple[float, float] | None,
    order: Order,
    positions: Positions | None,
) -> list[np.ndarray]:
    """First pixels (n, 2) of all maps in px: as given, on a grid, by the stage, or by the maps' own axes.

    Of a stage there are eight possibilities: its axes may run along y or x, and in either direction.
    """
    y, x, _ = pixel_size_of(maps)
    if positions is not None:
        if grid is not None:
            raise ParameterError("grid", grid, "None where positions are given")
        return [_given(maps, positions) / (y, x)]
    if grid is not None:
        return [_on_grid(maps, grid_of(grid), 0.1 if overlap is None else overlap, order)]
    if overlap is not None:
        raise ParameterError("overlap", overlap, "None without a grid", "grid=(2, 4)")
    if _have_stages(maps):
        return _of_stage(maps, y, x)
    own = np.array([[_first(one, schema.Y), _first(one, schema.X)] for one in maps.values()])
    if len(maps) > 1 and np.all(own == own[0]):
        raise ParameterError(
            "grid",
            None,
            f"where the {len(maps)} maps lie: they name no stage position and all begin at the same place",
            f"grid={_likely(len(maps))}, overlap=0.1: rows and columns in the order of the maps' names",
        )
    return [own / (y, x)]


def grid_of(grid: tuple[int, int] | str) -> tuple[int, int]:
    """Rows and columns of maps.

    Examples
    --------
    >>> grid_of("2x4"), grid_of((3, 1))
    ((2, 4), (3, 1))
    """
    try:
        sides: Sequence[Any] = re.split(r"[x×]", grid) if isinstance(grid, str) else tuple(grid)
        rows, columns = (int(side) for side in sides)
    except (ValueError, TypeError):
        rows = columns = 0
    if rows < 1 or columns < 1:
        raise ParameterError("grid", grid, "rows and columns of maps", "grid=(2, 4)")
    return rows, columns


def _likely(number: int) -> tuple[int, int]:
    """Most nearly square grid of that many maps."""
    rows = next(r for r in range(int(number**0.5), 0, -1) if number % r == 0)
    return rows, number // rows


def _given(maps: Mapping[str, xr.Dataset], positions: Positions) -> np.ndarray:
    if not isinstance(positions, Mapping) or set(positions) != set(maps):
        have = list(positions) if isinstance(positions, Mapping) else positions
        raise ParameterError(
            "positions",
            have,
            f"(y, x) of the first pixel of each map, by its name: {', '.join(maps)}",
        )
    try:
        found = np.array([np.asarray(positions[name], dtype=float) for name in maps])
    except (TypeError, ValueError):
        found = np.empty(0)
    if found.shape != (len(maps), 2) or not np.isfinite(found).all():
        raise ParameterError("positions", dict(positions), "two numbers, (y, x), of each map")
    return found


def _on_grid(
    maps: Mapping[str, xr.Dataset],
    grid: tuple[int, int],
    overlap: float | tuple[float, float],
    order: Order,
) -> np.ndarray:
    """Rows and columns of maps in the order of their names, numbers in names taken as numbers."""
    rows, columns = grid
    if rows * columns != len(maps):
        raise ParameterError(
            "grid",
            grid,
            f"rows × columns that make {len(maps)}, the number of maps",
            f"Write grid={_likely(len(maps))}.",
        )
    if order not in get_args(Order):
        raise ParameterError("order", order, " or ".join(map(repr, get_args(Order))))
    both = np.broadcast_to(np.asarray(overlap, dtype=float), 2)
    if not np.all((both >= 0) & (both < 1)):
        raise ParameterError("overlap", overlap, "a fraction of a map, 0 to 1, or two of them (y, x)")
    sizes = np.array([[one.sizes[schema.Y], one.sizes[schema.X]] for one in maps.values()])
    steps = np.median(sizes, axis=0) * (1 - both)
    ordered = sorted(maps, key=by_name)
    places = np.array([_cell(ordered.index(name), rows, columns, order) for name in maps])
    return np.asarray(places * steps)


def _cell(number: int, rows: int, columns: int, order: Order) -> tuple[int, int]:
    """Row and column of the map with this number."""
    if order == "columns":
        return number % rows, number // rows
    row, column = divmod(number, columns)
    return row, columns - 1 - column if order == "snake" and row % 2 else column


def by_name(name: str) -> list[tuple[int, str]]:
    """Key for names in the order of people.

    Examples
    --------
    >>> sorted(["t10", "t2", "t1"], key=by_name)
    ['t1', 't2', 't10']
    """
    parts = re.split(r"(\d+)", name)
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]


def _have_stages(maps: Mapping[str, xr.Dataset]) -> bool:
    """Whether all maps name a stage position, and not all the same one."""
    found = [(one.attrs.get(schema.STAGE_Y), one.attrs.get(schema.STAGE_X)) for one in maps.values()]
    return len(set(found)) > 1 and all(None not in place for place in found)


def _of_stage(maps: Mapping[str, xr.Dataset], y: float, x: float) -> list[np.ndarray]:
    """First pixels from the centres that the stage was at, by every direction that its axes may have."""
    centres = np.array(
        [[float(one.attrs[schema.STAGE_Y]), float(one.attrs[schema.STAGE_X])] for one in maps.values()]
    )
    half = (np.array([[one.sizes[schema.Y], one.sizes[schema.X]] for one in maps.values()]) - 1) / 2
    turned = (centres, centres[:, ::-1])
    return [axes * signs / (y, x) - half for axes in turned for signs in product((1, -1), repeat=2)]


def _first(one: xr.Dataset, dim: str) -> float:
    return float(one[dim].values[0]) if dim in one.coords else 0.0
