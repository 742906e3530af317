"""A mosaic's placement as tables: its maps and their pairs."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from edxdask import schema
from edxdask.errors import ParameterError
from edxdask.results.kinds import said

Row = dict[str, Any]
STD = schema.STD_SUFFIX


def tile_rows(data: xr.Dataset) -> list[Row]:
    """One row for each map: where it begins (px), how well that is known, and how far the start was off.

    Examples
    --------
    >>> import edxdask
    >>> made = edxdask.mosaic(edxdask.simulate(shape=(4, 4), counts=20), image=None)
    >>> tile_rows(made)
    [{'map': 'map', 'y': 0.0, 'x': 0.0, 'moved_y': 0.0, 'moved_x': 0.0}]
    """
    check_mosaic(data)
    moved = data[schema.TILE_POSITION].values - data[schema.TILE_START].values
    rows = []
    for i, name in enumerate(data[schema.TILE].values):
        at = data.isel({schema.TILE: i})
        y, x = at[schema.TILE_POSITION].values.tolist()
        row: Row = {"map": str(name), "y": y, "x": x}
        if schema.TILE_POSITION + STD in data:
            row |= dict(zip(("y_std", "x_std"), at[schema.TILE_POSITION + STD].values.tolist(), strict=True))
        row |= dict(zip(("moved_y", "moved_x"), (moved[i] + 0.0).tolist(), strict=True))
        if schema.TILE_PIECE in data:
            row |= {"piece": int(at[schema.TILE_PIECE])}
        rows.append(row)
    return rows


def pair_rows(data: xr.Dataset) -> list[Row]:
    """One row for each pair that may overlap: what was measured, and what the placement leaves (px)."""
    check_mosaic(data)
    if schema.PAIR_USED not in data:
        return []
    rows = []
    for i in range(data.sizes[schema.PAIR]):
        at = data.isel({schema.PAIR: i})
        row: Row = {name: str(at[name].values) for name in (schema.PAIR_FIRST, schema.PAIR_SECOND)}
        for name in (schema.PAIR_SHIFT, schema.PAIR_SHIFT + STD, schema.PAIR_RESIDUAL):
            values = [None if np.isnan(v) else float(v) for v in at[name].values]
            row |= dict(zip((f"{name}_y", f"{name}_x"), values, strict=True))
        correlation = float(at[schema.PAIR_CORRELATION])
        row |= {
            schema.PAIR_CORRELATION: None if np.isnan(correlation) else correlation,
            schema.PAIR_PIXELS: int(at[schema.PAIR_PIXELS]),
            schema.PAIR_USED: bool(at[schema.PAIR_USED]),
        }
        rows.append(row)
    return rows


def tile_cells(data: xr.Dataset) -> tuple[list[str], list[tuple[str, ...]]]:
    """Headings and cells of the table of maps, for people."""
    rows = tile_rows(data)
    known = rows and "y_std" in rows[0]
    heads = [
        "map",
        "y px",
        *(["±"] if known else []),
        "x px",
        *(["±"] if known else []),
        "moved y",
        "moved x",
    ]
    cells = []
    for row in rows:
        y, x = ([f"{row[k]:.2f}", *([f"{row[k + '_std']:.2f}"] if known else [])] for k in ("y", "x"))
        cells.append((row["map"], *y, *x, f"{row['moved_y']:+.2f}", f"{row['moved_x']:+.2f}"))
    return heads, cells


def pair_cells(data: xr.Dataset) -> tuple[list[str], list[tuple[str, ...]], list[int]]:
    """Headings and cells of the table of pairs, for people, and the rows that took no part."""
    heads = ["pair", "pixels", "correlation", "off y px", "off x px", "±", ""]
    rows, cells = pair_rows(data), []
    for row in rows:
        off = [row[f"{schema.PAIR_RESIDUAL}_{axis}"] for axis in ("y", "x")]
        error = [row[f"{schema.PAIR_SHIFT}{STD}_{axis}"] for axis in ("y", "x")]
        measured = None not in off
        cells.append(
            (
                f"{row[schema.PAIR_FIRST]}, {row[schema.PAIR_SECOND]}",
                str(row[schema.PAIR_PIXELS]),
                f"{row[schema.PAIR_CORRELATION]:.2f}" if measured else "",
                *(f"{one:+.2f}" if measured else "" for one in off),
                f"{max(error):.2f}" if measured else "",
                "" if row[schema.PAIR_USED] else "contradicts the others" if measured else "not measured",
            )
        )
    return heads, cells, [i for i, row in enumerate(rows) if not row[schema.PAIR_USED]]


def placement_text(data: xr.Dataset) -> str:
    """Sum a placement up in one line."""
    maps = data.sizes[schema.TILE]
    if schema.PAIR_USED not in data:
        return f"{maps} maps, placed as given"
    used = data[schema.PAIR_USED].values
    text = f"{maps} maps, {int(used.sum())} of {used.size} pairs"
    if used.any():
        off = data[schema.PAIR_RESIDUAL].values[used]
        text += f", residual {float(np.sqrt(np.mean(off**2))):.2f} px rms"
    return f"{text}, placed on {data.attrs.get(schema.PLACED_BY) or 'an image'}"


def check_mosaic(data: xr.Dataset) -> None:
    """Refuse what is no mosaic."""
    if schema.TILE_POSITION not in data:
        raise ParameterError("data", said(data), "a mosaic, as edxdask.mosaic gives it")
