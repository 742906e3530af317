"""Figures of maps with scale bars and colour bars; each is a matplotlib ``Figure`` to save or extend."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import xarray as xr
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Colormap
from matplotlib.figure import Figure, FigureBase
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import ScaledTranslation, offset_copy

from edxdask.errors import ParameterError
from edxdask.io.export.target import Axis, axis_of
from edxdask.report.labels import plain, pretty_line, scale_bar
from edxdask.report.style import (
    COLUMN,
    COUNTS_COLORS,
    INK,
    MM,
    NORMAL,
    PAGE,
    SMALL,
    draw_title,
    is_counts,
    new_figure,
    whole_of,
)

_BAR_ROOM, _TITLE_ROOM = 20 * MM, 9 * MM  # beside a map for its colour bar, above it for its title
Beyond = Literal["neither", "min", "max", "both"]
_CLIP = (
    99.8  # percentile of a map that gets the brightest colour, so that one hot pixel does not set the scale
)


def map_figure(
    array: xr.DataArray,
    *,
    title: str | None = None,
    label: str | None = None,
    colors: str | Colormap = COUNTS_COLORS,
    limits: tuple[float, float] | None = None,
    width: float = COLUMN,
    beyond: Beyond | None = None,
) -> Figure:
    """Draw one map with a scale bar and a colour bar.

    Parameters
    ----------
    array : (y, x)
    title, label : texts above the map and beside the colour bar
    colors : a matplotlib colour map, or its name
    limits : values of the darkest and the brightest colour; default 0 to the 99.8th percentile, and for
        other things than counts from the 0.2th percentile where that is negative
    width : of the image of a map that is as high as wide, inches
    beyond : at which end the colour bar is pointed; None: where values lie beyond the limits
    """
    rows, columns = extent_of(array)
    across = min(width, 1.25 * width * columns / rows)
    figure = new_figure(across + _BAR_ROOM, max(across * rows / columns, 12 * MM) + _TITLE_ROOM)
    axes = figure.add_subplot()
    draw_map(figure, axes, array, title=title, label=label, colors=colors, limits=limits, beyond=beyond)
    _make_room_for_bars(figure)
    return figure


def _make_room_for_bars(figure: Figure) -> None:
    """Widen ``figure`` until the texts of its colour bars are on it; the layout makes them too short.

    It takes free space beside a map of limited height for space that the bar does not need.
    """
    for _ in range(6):
        figure.draw_without_rendering()
        bars = [bar for axes in figure.axes for bar in axes.child_axes]
        right = max((box.x1 for bar in bars if (box := bar.get_tightbbox())), default=0.0)
        missing = (right - figure.bbox.x1) / figure.dpi + MM
        if missing <= 0:
            return
        figure.set_figwidth(figure.get_figwidth() + missing)


def maps_figure(
    maps: xr.DataArray | Mapping[str, xr.DataArray] | Sequence[xr.DataArray],
    *,
    titles: Sequence[str] | None = None,
    label: str | None = None,
    columns: int | None = None,
    colors: str | Colormap = COUNTS_COLORS,
    title: str | None = None,
) -> Figure:
    """Draw a panel of maps, each with its own colour bar and all with a scale bar.

    Parameters
    ----------
    maps : a stack ``(any, y, x)``, maps by title, or a list of maps
    titles : texts above the maps; default the coordinate of the stack's first dimension, or the keys
    label : text beside the colour bars
    columns : maps in a row; default what makes the panel about as wide as a page is long
    """
    named = _named(maps, titles)
    if not named:
        raise ParameterError("maps", maps, "at least one map")
    panel = MapPanel(named, label=label, columns=columns, colors=colors)
    figure = new_figure(PAGE, panel.height + (_TITLE_ROOM if title else 0))
    draw_title(figure, title)
    panel.draw(figure)
    return figure


class MapPanel:
    """Maps side by side, about as wide as a page is long: first its height, then its drawing."""

    def __init__(
        self,
        named: Sequence[tuple[str, xr.DataArray]],
        *,
        label: str | None = None,
        columns: int | None = None,
        colors: str | Colormap = COUNTS_COLORS,
        limits: tuple[float, float] | None = None,
    ) -> None:
        height, width = extent_of(named[0][1])
        self._named, self._label, self._colors, self._limits = named, label, colors, limits
        self._rows, self._across = _grid(len(named), min(max(height / width, 0.1), 5.0), columns)
        cell = PAGE / self._across
        self.height = self._rows * (max((cell - _BAR_ROOM) * height / width, 12 * MM) + _TITLE_ROOM)

    def draw(self, figure: FigureBase) -> None:
        """Fill a figure, or a part of one, with the maps."""
        for i, (name, array) in enumerate(self._named):
            axes = figure.add_subplot(self._rows, self._across, i + 1)
            last = (i + 1) % self._across == 0 or i + 1 == len(self._named)
            text = self._label if last or self._label is None else ""
            draw_map(
                figure,
                axes,
                array,
                title=pretty_line(name),
                label=text,
                colors=self._colors,
                limits=self._limits,
            )


def _grid(count: int, shape: float, columns: int | None) -> tuple[int, int]:
    """Rows and columns for which the panel is nearest to 4 : 3, with maps no narrower than 20 mm."""

    def badness(across: int) -> float:
        rows = math.ceil(count / across)
        height = rows * ((PAGE / across - _BAR_ROOM) * shape + _TITLE_ROOM)
        return abs(math.log(PAGE / height / (4 / 3))) + 0.1 * (rows * across - count)

    if columns is None and count == 3 and shape <= 1.2:
        columns = 3  # in a row: otherwise a place would be empty
    most = int(PAGE / (_BAR_ROOM + 20 * MM))
    across = columns or min(range(1, min(count, most) + 1), key=badness)
    return math.ceil(count / across), across


def _named(
    maps: xr.DataArray | Mapping[str, xr.DataArray] | Sequence[xr.DataArray], titles: Sequence[str] | None
) -> list[tuple[str, xr.DataArray]]:
    if isinstance(maps, xr.DataArray):
        stack = maps if maps.ndim == 3 else maps.expand_dims("map")
        first = str(stack.dims[0])
        names = (
            [str(v) for v in stack.coords[first].values] if first in stack.coords else [""] * stack.shape[0]
        )
        arrays = [stack.isel({first: i}) for i in range(stack.shape[0])]
    elif isinstance(maps, Mapping):
        names, arrays = list(maps), list(maps.values())
    else:
        arrays = list(maps)
        names = [str(a.name or "") for a in arrays]
    if titles is not None and len(titles) != len(arrays):
        raise ParameterError("titles", list(titles), f"{len(arrays)} texts, one per map")
    return list(zip(titles or names, arrays, strict=True))


def extent_of(array: xr.DataArray) -> tuple[float, float]:
    """Height and width of a map in the unit of its axes."""
    if array.ndim != 2:
        raise ParameterError(
            "array", dict(array.sizes), "a map with two dimensions", "Pick one with .isel(...)."
        )
    rows, columns = (axis_of(array, str(dim)) for dim in array.dims)
    return rows.values.size * _step(rows), columns.values.size * _step(columns)


def _step(axis: Axis) -> float:
    return abs(axis.scale or 1.0)


def draw_map(
    figure: FigureBase,
    axes: Axes,
    array: xr.DataArray,
    *,
    title: str | None,
    label: str | None,
    colors: str | Colormap,
    limits: tuple[float, float] | None,
    beyond: Beyond | None = None,
) -> None:
    """Draw a map, its colour bar beside it, and its scale bar."""
    height, width = extent_of(array)
    values = np.asarray(array.values, dtype=float)
    low, high = limits or color_limits(values, counted=is_counts(array))
    palette = (colormaps[colors] if isinstance(colors, str) else colors).with_extremes(bad="#d9dde2")
    image = axes.imshow(
        np.ma.masked_invalid(values),
        cmap=palette,
        vmin=low,
        vmax=high,
        extent=(0.0, width, height, 0.0),
        interpolation="auto",
        interpolation_stage="data",
    )
    axes.set_axis_off()
    axes.set_anchor("W")
    if title:
        axes.set_title(plain(title), fontsize=NORMAL, color=INK, loc="left", pad=3)
    inset = axes.inset_axes((1.03, 0.0, 0.05, 1.0))
    bar = figure.colorbar(image, cax=inset, extend=beyond or _beyond(values, low, high), extendfrac=0.04)
    bar.outline.set_linewidth(0.4)
    bar.ax.tick_params(labelsize=SMALL, colors=INK, width=0.5, length=2.5)
    bar.locator = MaxNLocator(nbins=4, min_n_ticks=2, integer=array.dtype.kind in "iu")
    bar.update_ticks()
    text = label if label is not None else str(array.attrs.get("units", ""))
    if text and text != "1":
        bar.set_label(text, fontsize=SMALL, color=INK)
    draw_scale_bar(figure, axes, axis_of(array, str(array.dims[1])).unit, width)


def _beyond(values: np.ndarray, low: float, high: float) -> Beyond:
    below, above = bool((values < low).any()), bool((values > high).any())
    return ("both" if above else "min") if below else ("max" if above else "neither")


def color_limits(values: np.ndarray, *, counted: bool) -> tuple[float, float]:
    """Zero for the darkest colour of counts: below it, net counts are noise of the background."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return 0.0, 1.0
    low = 0.0 if counted else min(0.0, float(np.percentile(finite, 100 - _CLIP)))
    high = float(np.percentile(finite, _CLIP))
    if high <= low:
        high = float(finite.max())
    return (low, high) if high > low else (low, low + 1.0)


def draw_scale_bar(figure: FigureBase, axes: Axes, unit: str, width: float) -> None:
    """White bar with a dark rim in the lower left corner: readable on any colour."""
    length, text = scale_bar(width, unit)
    whole = whole_of(figure)
    place = offset_copy(axes.transAxes, whole, x=5, y=6, units="points")
    axes.plot(
        [0.0, length / width],
        [0.0, 0.0],
        transform=place,
        color="white",
        linewidth=2.6,
        solid_capstyle="butt",
        path_effects=[withStroke(linewidth=3.8, foreground="black")],
    )
    axes.text(
        0.0,
        0.0,
        text,
        transform=place + ScaledTranslation(0.0, 3.5 / 72, whole.dpi_scale_trans),
        fontsize=SMALL,
        color="white",
        path_effects=[withStroke(linewidth=1.6, foreground="black")],
    )
