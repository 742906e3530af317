"""A mosaic's placement: tables of its maps and pairs, and a figure of both."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from edxdask import schema
from edxdask.errors import ParameterError
from edxdask.report.maps import MapPanel
from edxdask.report.style import FAINT, INK, MM, NORMAL, PAGE, PALETTE, SMALL, new_figure, style_axes
from edxdask.results.kinds import said

Row = dict[str, Any]
STD = schema.STD_SUFFIX
MOST_ACROSS = 1500  # pixels of the canvas that are drawn along each axis
_GRAPH = 62 * MM


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


def placement_figure(data: xr.Dataset, *, title: str | None = None) -> Figure:
    """Draw the mosaic with the outlines of its maps, and what the placement leaves of each pair.

    Examples
    --------
    >>> import edxdask
    >>> figure = placement_figure(edxdask.mosaic(edxdask.simulate(shape=(8, 8), counts=20), image=None))
    >>> len(figure.axes)
    1
    """
    check_mosaic(data)
    name, image = _image(data)
    measured = schema.PAIR_USED in data and bool(np.isfinite(data[schema.PAIR_RESIDUAL].values).any())
    panel = MapPanel([(name, image)], columns=1)
    figure = new_figure(PAGE, panel.height + (_GRAPH if measured else 0) + 8 * MM)
    figure.suptitle(title or placement_text(data), fontsize=NORMAL + 1, color=INK, x=0.015, ha="left")
    ratios = [panel.height, _GRAPH] if measured else [panel.height]
    parts = figure.subfigures(len(ratios), 1, height_ratios=ratios, squeeze=False)[:, 0]
    panel.draw(parts[0])
    _draw_outlines(parts[0].axes[0], data)
    if measured:
        _draw_residuals(parts[1].add_subplot(), data)
    return figure


def _image(data: xr.Dataset) -> tuple[str, xr.DataArray]:
    """Image that the maps were registered on, if the mosaic holds it, else another, else the exposure."""
    flat = [
        str(n) for n, a in data.data_vars.items() if a.dims == (schema.Y, schema.X) and n != schema.EXPOSURE
    ]
    wanted = str(data.attrs.get(schema.PLACED_BY, ""))
    name = wanted if wanted in flat else next(iter(flat), schema.EXPOSURE)
    steps = {dim: -(-data.sizes[dim] // MOST_ACROSS) for dim in (schema.Y, schema.X)}
    image = data[name].isel({dim: slice(None, None, step) for dim, step in steps.items()}).load()
    return name, image if image.attrs.get("units") else image.assign_attrs(units="1")


def _draw_outlines(axes: Axes, data: xr.Dataset) -> None:
    """Outline every map; those of smaller pieces dashed."""
    y, x = (_step(data, dim) for dim in (schema.Y, schema.X))
    sizes = _sizes(data)
    pieces = data[schema.TILE_PIECE].values if schema.TILE_PIECE in data else np.zeros(len(sizes), dtype=int)
    main = int(np.bincount(pieces).argmax())
    for i, name in enumerate(data[schema.TILE].values):
        top, left = data[schema.TILE_ORIGIN].values[i] * (y, x)
        height, width = sizes[i] * (y, x)
        color = PALETTE[i % len(PALETTE)]
        style = "-" if pieces[i] == main else "--"
        axes.add_patch(
            Rectangle((left, top), width, height, fill=False, edgecolor=color, linestyle=style, lw=1.0)
        )
        if len(sizes) <= 40:
            axes.text(
                left + width / 2, top + height / 2, str(name), color="white", fontsize=SMALL, ha="center"
            )


def _step(data: xr.Dataset, dim: str) -> float:
    values = data[dim].values
    return float(values[1] - values[0]) if values.size > 1 else float(data[dim].attrs.get("scale", 1.0))


def _sizes(data: xr.Dataset) -> np.ndarray:
    return np.asarray(data[schema.TILE_SIZE].values)


def _draw_residuals(axes: Axes, data: xr.Dataset) -> None:
    """Residuals along x against y, in pixels, with their errors; pairs that were left out are crosses."""
    off, error = data[schema.PAIR_RESIDUAL].values, data[schema.PAIR_SHIFT + STD].values
    used = data[schema.PAIR_USED].values
    kept: Row = {"fmt": "o", "ms": 4, "lw": 0.7, "color": PALETTE[0]}
    axes.errorbar(off[used, 1], off[used, 0], error[used, 0], error[used, 1], label="used", **kept)
    wrong = ~used & np.isfinite(off).all(axis=1)
    spread = float(np.median(error[used])) if used.any() else 0.0
    reach = 1.4 * max(float(np.abs(off[used]).max(initial=0.0)) + spread, 0.1)
    beyond = wrong & (np.abs(off) > reach).any(axis=1)
    shown = np.clip(off[wrong], -reach, reach)
    if wrong.any():
        label = "left out" + (f" ({int(beyond.sum())} beyond this graph)" if beyond.any() else "")
        axes.plot(shown[:, 1], shown[:, 0], "x", color=PALETTE[1], ms=6, label=label)
    for line in (axes.axhline, axes.axvline):
        line(0.0, color=FAINT, lw=0.6, zorder=0)
    axes.set_xlim(-1.1 * reach, 1.1 * reach)
    axes.set_ylim(1.1 * reach, -1.1 * reach)
    axes.set_xlabel("measured minus placed, x (px)", fontsize=SMALL, color=INK)
    axes.set_ylabel("y (px)", fontsize=SMALL, color=INK)
    axes.legend(fontsize=SMALL, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    axes.set_aspect("equal")
    style_axes(axes)


def check_mosaic(data: xr.Dataset) -> None:
    """Refuse what is no mosaic."""
    if schema.TILE_POSITION not in data:
        raise ParameterError("data", said(data), "a mosaic, as edxdask.mosaic gives it")
