"""Figures of traces (SNR against pixels, amounts by map), of verdicts on maps, and of profiles."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator

from edxdask import schema
from edxdask.report.labels import pretty_line
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
from edxdask.unmix.judge import AT_MOST

SNR_HEIGHT, ROW_HEIGHT = 78 * MM, 34 * MM
ONE_MAP = 2  # entries where there is one map: it, and all maps together
DETECTABLE = 3.0
MOST_SHOWN = 8  # elements with lines of their own in one graph
LEAST_SHARE = 0.002  # of a profile: elements that never reach this are not drawn
STD = schema.STD_SUFFIX


def traces_figure(found: xr.Dataset, *, title: str | None = None) -> Figure:
    """Draw the SNR of each trace against the pixels summed, with its √n law; and amounts by map, of several.

    Parameters
    ----------
    found : Dataset
        What ``traces`` gave.
    title : str, optional
        Text above all.
    """
    elements = [str(e) for e in found[schema.ELEMENT].values][:MOST_SHOWN]
    by_map = len(elements) * ROW_HEIGHT if found.sizes[schema.MAP] > ONE_MAP else 0.0
    figure = new_figure(PAGE, SNR_HEIGHT + by_map)
    text = f"traces in {found.attrs.get(schema.PHASE, 'a phase')}"
    draw_title(figure, f"{title}: {text}" if title else text)
    if not by_map:
        _draw_snr(figure.subplots(), found, elements)
        return figure
    above, below = figure.subfigures(2, 1, height_ratios=[SNR_HEIGHT, by_map], squeeze=False)[:, 0]
    _draw_snr(above.subplots(), found, elements)
    rows = below.subplots(len(elements), 1, squeeze=False, sharex=True)[:, 0]
    for i, (axes, element) in enumerate(zip(rows, elements, strict=True)):
        _draw_amounts(axes, found, i, element)
    rows[-1].set_xticks(range(found.sizes[schema.MAP]), [str(m) for m in found[schema.MAP].values])
    rows[-1].tick_params(axis="x", labelrotation=30 if found.sizes[schema.MAP] > 6 else 0)
    return figure


def _draw_snr(axes: Axes, found: xr.Dataset, elements: list[str]) -> None:
    pixels = found[schema.GROWTH_PIXELS].values
    fine = np.geomspace(pixels[0], pixels[-1], 50) if pixels[-1] > pixels[0] else pixels
    for i, element in enumerate(elements):
        line, color = str(found[schema.TRACE_LINE].values[i]), PALETTE[i % len(PALETTE)]
        snr = found[schema.GROWTH_SNR].values[:, i]
        shown = snr > 0
        label = pretty_line(line) if line else element
        axes.plot(pixels[shown], snr[shown], "o", color=color, markersize=4, label=label)
        axes.plot(fine, found[schema.SNR_PER_ROOT_PIXEL].values[i] * np.sqrt(fine), color=color, linewidth=1)
    axes.axhline(DETECTABLE, color=FAINT, linewidth=0.8, linestyle="--")
    axes.annotate(
        "limit of detection", (pixels[0], DETECTABLE), xytext=(0, 2), textcoords="offset points",
        color=FAINT, fontsize=SMALL,
    )  # fmt: skip
    axes.set_xscale("log")
    axes.set_yscale("log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_locator(LogLocator(subs=(2.0, 5.0)))
    axes.set_xlabel("pixels summed", fontsize=SMALL, color=INK)
    axes.set_ylabel("SNR (lines: ∝ √n)", fontsize=SMALL, color=INK)
    axes.legend(fontsize=SMALL, frameon=False, ncols=2)
    style_axes(axes)


def _draw_amounts(axes: Axes, found: xr.Dataset, i: int, element: str) -> None:
    """Draw the amount in every map, and in all together as a band."""
    ppm, error = (found[name].values[:, i] for name in (schema.ATOMIC_PPM, schema.ATOMIC_PPM + STD))
    belongs = found[schema.MAP_BELONGS].values
    at, color = np.arange(len(ppm)), PALETTE[i % len(PALETTE)]
    axes.axhspan(ppm[-1] - error[-1], ppm[-1] + error[-1], color=color, alpha=0.15, linewidth=0)
    for inside, mark in ((belongs, "o"), (~belongs, "x")):
        axes.errorbar(
            at[inside], ppm[inside], error[inside], fmt=mark, color=color, markersize=4, linewidth=0.8
        )
    axes.set_ylabel(f"{element}, ppm", fontsize=SMALL, color=INK)
    style_axes(axes)


def verdicts_figure(found: xr.Dataset, *, title: str | None = None) -> Figure:
    """Draw by map how far its composition is from that of the others, and how well its own fit explains it.

    Dashed lines are the limits for maps that belong; those that do not are crosses.

    Parameters
    ----------
    found : Dataset
        What ``judge`` gave.
    title : str, optional
        Text above all.
    """
    rows = (
        (schema.MAP_T1, "T1 (composition)"),
        (schema.MAP_SIGMA, "σ (one element)"),
        (schema.MAP_T2, "T2 (fit)"),
    )
    names, belongs = [str(name) for name in found[schema.MAP].values], found[schema.MAP_BELONGS].values
    figure = new_figure(PAGE, len(rows) * ROW_HEIGHT)
    text = f"{int(belongs.sum())} of {belongs.size} maps belong together"
    draw_title(figure, f"{title}: {text}" if title else text)
    at = np.arange(len(names))
    panels = figure.subplots(len(rows), 1, squeeze=False, sharex=True)[:, 0]
    for axes, (name, label) in zip(panels, rows, strict=True):
        for inside, mark, color in ((belongs, "o", PALETTE[0]), (~belongs, "X", PALETTE[1])):
            axes.plot(at[inside], found[name].values[inside], mark, color=color, markersize=5)
        limit = found[name].attrs.get(AT_MOST)
        if limit is not None:
            axes.axhline(limit, color=FAINT, linewidth=0.8, linestyle="--")
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_locator(LogLocator(subs=(2.0, 5.0)))
        axes.set_ylabel(label, fontsize=SMALL, color=INK)
        style_axes(axes)
    panels[-1].set_xticks(at, names)
    panels[-1].tick_params(axis="x", labelrotation=30 if len(names) > 6 else 0)
    return figure


def profile_figure(found: xr.Dataset, *, title: str | None = None) -> Figure:
    """Draw compositions against distance, one graph for each element that is there.

    Parameters
    ----------
    found : Dataset
        What ``profile`` gave.
    title : str, optional
        Text above all.
    """
    name = schema.PROFILE_COMPOSITION
    at, values = found[schema.DISTANCE].values, 100 * found[name].values
    errors = 100 * found[name + STD].values
    peaks = np.nanmax(values, axis=0)
    shown = [i for i in np.argsort(-peaks) if peaks[i] > 100 * LEAST_SHARE or len(peaks) <= MOST_SHOWN]
    shown = shown[: 2 * MOST_SHOWN]
    figure = new_figure(PAGE, len(shown) * ROW_HEIGHT)
    draw_title(figure, title)
    rows = figure.subplots(len(shown), 1, squeeze=False, sharex=True)[:, 0]
    for axes, i in zip(rows, shown, strict=True):
        color = PALETTE[int(i) % len(PALETTE)]
        axes.errorbar(at, values[:, i], errors[:, i], fmt="o-", color=color, markersize=3, linewidth=0.8)
        axes.set_ylabel(f"{found[schema.ELEMENT].values[i]}, at.%", fontsize=SMALL, color=INK)
        style_axes(axes)
    unit = found[schema.DISTANCE].attrs.get("units", "px")
    rows[-1].set_xlabel(f"{found.attrs.get('along', 'distance')}, {unit}", fontsize=SMALL, color=INK)
    return figure
