"""The figure of a mosaic's placement: the canvas with its maps, and what is left of each pair."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from edxdask import schema
from edxdask.report.maps import MapPanel
from edxdask.report.placement import STD, check_mosaic, placement_text
from edxdask.report.style import (
    FAINT,
    INK,
    MM,
    PAGE,
    PALETTE,
    SMALL,
    draw_title,
    new_figure,
    style_axes,
)

MOST_ACROSS = 1500  # pixels of the canvas that are drawn along each axis
_GRAPH = 62 * MM


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
    draw_title(figure, title or placement_text(data))
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
    kept: dict[str, Any] = {"fmt": "o", "ms": 4, "lw": 0.7, "color": PALETTE[0]}
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
