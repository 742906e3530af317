"""Figures of spectra and maps for papers and reports; each is a matplotlib ``Figure`` to save or extend."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import xarray as xr
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullFormatter
from matplotlib.transforms import ScaledTranslation, offset_copy

from edxdask.errors import ParameterError
from edxdask.io.export.target import Axis, axis_of
from edxdask.report.labels import pretty_line, scale_bar, spread
from edxdask.report.style import (
    COLUMN,
    COUNTS_COLORS,
    INK,
    MM,
    NORMAL,
    PAGE,
    PALETTE,
    SMALL,
    new_figure,
    style_axes,
)
from edxdask.schema import ENERGY

_LABEL_ROOM, _LEADER_ROOM = 36.0, 26.0  # pt kept free above the peaks for upright labels and their leaders
_LABEL_GAP = 1.25  # of the font's height, between upright labels
_NEAR_PEAK = 0.06  # keV; half the window in which a line's peak is looked for
_BAR_ROOM, _TITLE_ROOM = 20 * MM, 9 * MM  # beside a map for its colour bar, above it for its title
_CLIP = 99.8  # percentile of a map that gets the brightest colour, so that one hot pixel does not rule it


def sum_spectrum_figure(
    spectrum: xr.DataArray,
    *,
    lines: Mapping[str, float] | None = None,
    log: bool = True,
    energy_range: tuple[float, float] | None = None,
    title: str | None = None,
) -> Figure:
    """Draw counts against energy, with labelled lines.

    Parameters
    ----------
    spectrum : (energy,) counts
    lines : energy (keV) by name ("Mg_Ka"); where they do not all fit, those on the highest peaks are named
    log : logarithmic counts
    energy_range : first and last energy shown, in keV
    title : text above the graph
    """
    if spectrum.dims != (ENERGY,):
        raise ParameterError(
            "spectrum", spectrum.dims, f"one dimension, '{ENERGY}'", "Pick one with .isel(...)."
        )
    energy = spectrum.coords[ENERGY].values
    low, high = energy_range or (float(energy[0]), float(energy[-1]))
    shown = (energy >= low) & (energy <= high)
    counts = np.asarray(spectrum.values, dtype=float)
    if not shown.any():
        raise ParameterError(
            "energy_range", energy_range, f"a range within {energy[0]:.3f} to {energy[-1]:.3f} keV"
        )
    named = {n: e for n, e in (lines or {}).items() if low <= e <= high}
    figure = new_figure(PAGE, (84 if named else 70) * MM)
    axes = figure.add_subplot()
    axes.set_ylabel("Counts" if _is_counts(spectrum) else "Intensity", fontsize=NORMAL, color=INK)
    floor, top = set_scale(axes, counts[shown], log)
    axes.fill_between(energy, counts, floor, step="mid", color="#cfdbe8", linewidth=0)
    axes.step(energy, counts, where="mid", color="#1f4e79", linewidth=0.7)
    axes.set_xlim(low, high)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=11, steps=[1, 2, 5, 10]))
    axes.set_xlabel("Energy (keV)", fontsize=NORMAL, color=INK)
    axes.spines["left"].set_bounds(floor, top)
    if title:
        axes.set_title(title, fontsize=NORMAL, color=INK, loc="left")
    style_axes(axes)
    if named:
        name_lines(figure, axes, energy, counts, named, floor, top)
    return figure


def _is_counts(array: xr.DataArray) -> bool:
    return str(array.attrs.get("units", "counts")) == "counts"


def set_scale(axes: Axes, counts: np.ndarray, log: bool) -> tuple[float, float]:
    """Set the scale of the counts; return where the filled area starts and where the ticks end."""
    peak = max(float(counts.max()), 1e-12)
    if not log:
        exponent = 3 * (math.floor(math.log10(peak)) // 3)
        ticks = MaxNLocator(nbins=6, steps=[1, 2, 5, 10]).tick_values(0.0, peak)
        axes.yaxis.set_major_locator(FixedLocator(ticks))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / 10.0**exponent:g}"))
        if exponent:
            axes.set_ylabel(f"{axes.get_ylabel()} ($10^{{{exponent}}}$)")
        axes.set_ylim(0.0, float(ticks[-1]))
        return 0.0, float(ticks[-1])
    positive = counts[counts > 0]
    floor = 0.7 * float(positive.min()) if positive.size else 0.1
    top = max(1.5 * peak, 10 * floor)
    axes.set_yscale("log", nonpositive="clip")
    decades = range(math.ceil(math.log10(floor)), math.floor(math.log10(top)) + 1)
    axes.yaxis.set_major_locator(FixedLocator([10.0**d for d in decades]))
    minor = [m * 10.0**d for d in (decades.start - 1, *decades) for m in range(2, 10)]
    axes.yaxis.set_minor_locator(FixedLocator([m for m in minor if floor <= m <= top]))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_ylim(floor, top)
    return floor, top


def name_lines(
    figure: Figure,
    axes: Axes,
    energy: np.ndarray,
    counts: np.ndarray,
    lines: Mapping[str, float],
    floor: float,
    top: float,
    colors: Mapping[str, str] | None = None,
) -> None:
    """Write the names upright above the peaks, each tied to its own by a leader; leaders never cross."""
    height, width = _make_headroom(figure, axes, floor, top)
    gap = SMALL * _LABEL_GAP
    peaks = {n: counts[np.abs(energy - e) <= _NEAR_PEAK].max(initial=0.0) for n, e in lines.items()}
    kept = sorted(lines, key=lambda n: -peaks[n])[: max(int(width / gap), 1)]
    kept.sort(key=lambda n: lines[n])
    low, high = axes.get_xlim()
    wanted = [(lines[n] - low) / (high - low) * width for n in kept]
    places = spread(wanted, gap, gap / 2, width - gap / 2)
    elements = list(dict.fromkeys(n.partition("_")[0] for n in kept))
    foot = height - _LABEL_ROOM
    knee = foot - _LEADER_ROOM + 4
    to_axes = axes.transData + axes.transAxes.inverted()
    for name, start, place in zip(kept, wanted, places, strict=True):
        element = name.partition("_")[0]
        color = colors[element] if colors else PALETTE[elements.index(element) % len(PALETTE)]
        peak = float(to_axes.transform((lines[name], max(peaks[name], floor or 1e-12)))[1]) * height
        path = np.array([[start, min(peak + 2, knee)], [start, knee], [place, foot - 3], [place, foot]])
        axes.plot(
            *(path / [width, height]).T,
            transform=axes.transAxes,
            color=color,
            linewidth=0.5,
            alpha=0.8,
            clip_on=False,
        )
        axes.text(
            place / width,
            (foot + 2) / height,
            pretty_line(name),
            transform=axes.transAxes,
            rotation=90,
            ha="center",
            va="bottom",
            fontsize=SMALL,
            color=color,
        )


def _make_headroom(figure: Figure, axes: Axes, floor: float, top: float) -> tuple[float, float]:
    """Raise the upper limit so that labels fit above ``top``; return height and width in points."""
    figure.draw_without_rendering()  # fixes the layout, so that the graph can be measured
    box = axes.get_window_extent()
    height, width = box.height * 72 / figure.dpi, box.width * 72 / figure.dpi
    share = (height - _LABEL_ROOM - _LEADER_ROOM) / height
    axes.yaxis.label.set_y(share / 2)
    if axes.get_yscale() == "log":
        axes.set_ylim(floor, floor * (top / floor) ** (1 / share))
    else:
        axes.set_ylim(floor, floor + (top - floor) / share)
    return height, width


def map_figure(
    array: xr.DataArray,
    *,
    title: str | None = None,
    label: str | None = None,
    colors: str = COUNTS_COLORS,
    limits: tuple[float, float] | None = None,
) -> Figure:
    """Draw one map with a scale bar and a colour bar.

    Parameters
    ----------
    array : (y, x)
    title, label : texts above the map and beside the colour bar
    colors : name of a matplotlib colour map
    limits : values of the darkest and the brightest colour; default 0 to the 99.8th percentile, and for
        other things than counts from the 0.2th percentile where that is negative
    """
    height, width = _extent(array)
    across = min(COLUMN, 1.25 * COLUMN * width / height)
    figure = new_figure(across + _BAR_ROOM, max(across * height / width, 12 * MM) + _TITLE_ROOM)
    _draw_map(figure, figure.add_subplot(), array, title=title, label=label, colors=colors, limits=limits)
    _make_room_for_bars(figure)
    return figure


def _make_room_for_bars(figure: Figure) -> None:
    """Widen ``figure`` until the texts of its colour bars are on it; the layout misjudges them.

    It takes the slack beside a map that is bounded in height for room that the bar does not need.
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
    colors: str = COUNTS_COLORS,
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
    height, width = _extent(named[0][1])
    rows, across = _grid(len(named), min(max(height / width, 0.1), 5.0), columns)
    cell = PAGE / across
    tall = max((cell - _BAR_ROOM) * height / width, 12 * MM) + _TITLE_ROOM
    figure = new_figure(PAGE, rows * tall + (_TITLE_ROOM if title else 0))
    if title:
        figure.suptitle(title, fontsize=NORMAL + 1, color=INK, x=0.015, ha="left")
    for i, (name, array) in enumerate(named):
        axes = figure.add_subplot(rows, across, i + 1)
        text = label if (i + 1) % across == 0 or i + 1 == len(named) or label is None else ""
        _draw_map(figure, axes, array, title=pretty_line(name), label=text, colors=colors, limits=None)
    return figure


def _grid(count: int, shape: float, columns: int | None) -> tuple[int, int]:
    """Rows and columns for which the panel is nearest to 4 : 3, with maps no narrower than 20 mm."""

    def badness(across: int) -> float:
        rows = math.ceil(count / across)
        height = rows * ((PAGE / across - _BAR_ROOM) * shape + _TITLE_ROOM)
        return abs(math.log(PAGE / height / (4 / 3))) + 0.1 * (rows * across - count)

    if columns is None and count == 3 and shape <= 1.2:
        columns = 3  # in a row: nothing else leaves no place empty
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


def _extent(array: xr.DataArray) -> tuple[float, float]:
    """Height and width of a map in the unit of its axes."""
    if array.ndim != 2:
        raise ParameterError(
            "array", dict(array.sizes), "a map with two dimensions", "Pick one with .isel(...)."
        )
    rows, columns = (axis_of(array, str(dim)) for dim in array.dims)
    return rows.values.size * _step(rows), columns.values.size * _step(columns)


def _step(axis: Axis) -> float:
    return abs(axis.scale or 1.0)


def _draw_map(
    figure: Figure,
    axes: Axes,
    array: xr.DataArray,
    *,
    title: str | None,
    label: str | None,
    colors: str,
    limits: tuple[float, float] | None,
) -> None:
    height, width = _extent(array)
    values = np.asarray(array.values, dtype=float)
    low, high = limits or _color_limits(values, counted=_is_counts(array))
    palette = colormaps[colors].with_extremes(bad="#d9dde2")
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
        axes.set_title(title, fontsize=NORMAL, color=INK, loc="left", pad=3)
    inset = axes.inset_axes((1.03, 0.0, 0.05, 1.0))
    bar = figure.colorbar(image, cax=inset, extend=_beyond(values, low, high), extendfrac=0.04)
    bar.outline.set_linewidth(0.4)
    bar.ax.tick_params(labelsize=SMALL, colors=INK, width=0.5, length=2.5)
    bar.locator = MaxNLocator(nbins=4, min_n_ticks=2, integer=array.dtype.kind in "iu")
    bar.update_ticks()
    text = label if label is not None else str(array.attrs.get("units", ""))
    if text and text != "1":
        bar.set_label(text, fontsize=SMALL, color=INK)
    _draw_scale_bar(figure, axes, axis_of(array, str(array.dims[1])).unit, width)


def _beyond(values: np.ndarray, low: float, high: float) -> Literal["neither", "min", "max", "both"]:
    below, above = bool((values < low).any()), bool((values > high).any())
    return ("both" if above else "min") if below else ("max" if above else "neither")


def _color_limits(values: np.ndarray, *, counted: bool) -> tuple[float, float]:
    """Zero for the darkest colour of counts: below it, net counts are noise of the background."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return 0.0, 1.0
    low = 0.0 if counted else min(0.0, float(np.percentile(finite, 100 - _CLIP)))
    high = float(np.percentile(finite, _CLIP))
    if high <= low:
        high = float(finite.max())
    return (low, high) if high > low else (low, low + 1.0)


def _draw_scale_bar(figure: Figure, axes: Axes, unit: str, width: float) -> None:
    """White bar with a dark rim in the lower left corner: readable on any colour."""
    length, text = scale_bar(width, unit)
    place = offset_copy(axes.transAxes, figure, x=5, y=6, units="points")
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
        transform=place + ScaledTranslation(0.0, 3.5 / 72, figure.dpi_scale_trans),
        fontsize=SMALL,
        color="white",
        path_effects=[withStroke(linewidth=1.6, foreground="black")],
    )
