"""Figure of a sum spectrum with named lines: a matplotlib ``Figure`` to save or extend."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure, FigureBase
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullFormatter

from edxdask.errors import ParameterError
from edxdask.report.labels import plain, pretty_line, spread
from edxdask.report.style import (
    INK,
    MM,
    NORMAL,
    PAGE,
    PALETTE,
    SMALL,
    is_counts,
    new_figure,
    style_axes,
    whole_of,
)
from edxdask.schema import ENERGY

_LABEL_ROOM, _LEADER_ROOM = 36.0, 26.0  # pt kept free above the peaks for upright labels and their leaders
_LABEL_GAP = 1.25  # of the font's height, between upright labels
_NEAR_PEAK = 0.06  # keV; half the window in which a line's peak is searched


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
    spectrum : DataArray
        Counts (energy,).
    lines : mapping, optional
        Energy (keV) by name ("Mg_Ka"); where they do not all fit, those on the highest peaks are named.
    log : bool
        Logarithmic counts.
    energy_range : (float, float), optional
        First and last energy shown, in keV.
    title : str, optional
        Text above the graph.
    """
    figure = new_figure(PAGE, height_of_sum(lines))
    draw_sum_spectrum(figure, spectrum, lines=lines, log=log, energy_range=energy_range, title=title)
    return figure


def height_of_sum(lines: Mapping[str, float] | None) -> float:
    """Height, in inches, of the graph of a sum spectrum."""
    return (84 if lines else 70) * MM


def draw_sum_spectrum(
    figure: FigureBase,
    spectrum: xr.DataArray,
    *,
    lines: Mapping[str, float] | None = None,
    log: bool = True,
    energy_range: tuple[float, float] | None = None,
    title: str | None = None,
) -> None:
    """Fill a figure, or a part of one, with a sum spectrum; parameters as in ``sum_spectrum_figure``."""
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
    axes = figure.add_subplot()
    axes.set_ylabel("Counts" if is_counts(spectrum) else "Intensity", fontsize=NORMAL, color=INK)
    floor, top = set_scale(axes, counts[shown], log)
    axes.fill_between(energy, counts, floor, step="mid", color="#cfdbe8", linewidth=0)
    axes.step(energy, counts, where="mid", color="#1f4e79", linewidth=0.7)
    axes.set_xlim(low, high)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=11, steps=[1, 2, 5, 10]))
    axes.set_xlabel("Energy (keV)", fontsize=NORMAL, color=INK)
    axes.spines["left"].set_bounds(floor, top)
    if title:
        axes.set_title(plain(title), fontsize=NORMAL, color=INK, loc="left")
    style_axes(axes)
    if named:
        name_lines(figure, axes, energy, counts, named, floor, top)


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
    figure: FigureBase,
    axes: Axes,
    energy: np.ndarray,
    counts: np.ndarray,
    lines: Mapping[str, float],
    floor: float,
    top: float,
    colors: Mapping[str, str] | None = None,
) -> None:
    """Write the names upright above the peaks, each joined to its peak by a line; these never cross."""
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


def _make_headroom(figure: FigureBase, axes: Axes, floor: float, top: float) -> tuple[float, float]:
    """Raise the upper limit so that labels fit above ``top``; return height and width in points."""
    whole = whole_of(figure)
    whole.draw_without_rendering()  # fixes the layout, so that the graph can be measured
    box = axes.get_window_extent()
    height, width = box.height * 72 / whole.dpi, box.width * 72 / whole.dpi
    used = (height - _LABEL_ROOM - _LEADER_ROOM) / height
    axes.yaxis.label.set_y(used / 2)
    if axes.get_yscale() == "log":
        axes.set_ylim(floor, floor * (top / floor) ** (1 / used))
    else:
        axes.set_ylim(floor, floor + (top - floor) / used)
    return height, width
