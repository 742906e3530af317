"""The panel of a fitted spectrum: counts, fit, continuum and named lines above, residuals in sigma below."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from edxdask.errors import ParameterError
from edxdask.report.figures import name_lines, set_scale
from edxdask.report.labels import plain
from edxdask.report.lines import label_lines
from edxdask.report.style import FAINT, INK, MM, NORMAL, PAGE, PALETTE, SMALL, new_figure, style_axes
from edxdask.schema import ENERGY

COUNTS_FILL, COUNTS_COLOR = "#cfdbe8", "#1f4e79"
FIT_COLOR, CONTINUUM_COLOR = "#d55e00", "#5f6b75"
COLORS = tuple(c for c in PALETTE if c not in (FIT_COLOR, CONTINUUM_COLOR))  # left for elements
MOST_RESIDUAL = 8.0  # sigma shown
LEAST_COUNTS = 0.5  # shown: a phase's spectrum falls far below one photon


@dataclass(frozen=True, eq=False)
class FitPanel:
    """One fitted spectrum.

    Attributes
    ----------
    energy, counts, expected, continuum : (E,); continuum None where the fit does not give it
    lines : energy (keV) by name of those to label
    colors : by element
    title : text above it
    """

    energy: np.ndarray
    counts: np.ndarray
    expected: np.ndarray
    continuum: np.ndarray | None
    lines: Mapping[str, float]
    colors: Mapping[str, str]
    title: str = ""


def draw_fits(figure: Figure, panels: list[FitPanel]) -> None:
    """Fill a figure with a pair of graphs for each fitted spectrum, one below another."""
    axes = figure.subplots(2 * len(panels), 1, squeeze=False, height_ratios=(4, 1) * len(panels))[:, 0]
    scales = [_draw(axes[2 * i], axes[2 * i + 1], panel) for i, panel in enumerate(panels)]
    figure.legend(
        handles=axes[0].get_legend_handles_labels()[0],
        loc="outside upper right",
        fontsize=SMALL,
        frameon=False,
        labelcolor=INK,
        ncols=3,
    )
    axes[-1].set_xlabel("Energy (keV)", fontsize=NORMAL, color=INK)
    for upper, panel, (floor, top) in zip(axes[::2], panels, scales, strict=True):
        if panel.lines:
            name_lines(figure, upper, panel.energy, panel.counts, panel.lines, floor, top, panel.colors)


def summed_figure(
    counts: xr.DataArray,
    expected: xr.DataArray,
    *,
    elements: Sequence[str],
    others: Sequence[str] = (),
    title: str | None = None,
) -> Figure:
    """Draw a sum spectrum, what a model expects of it, and the residuals in sigma below.

    Parameters
    ----------
    counts, expected : (energy,)
    elements : elements with named lines, in black
    others : elements that are named in colours, as those that nobody listed
    title : text above the graph
    """
    if counts.dims != (ENERGY,) or expected.shape != counts.shape:
        raise ParameterError(
            "expected", dict(expected.sizes), f"what counts has, {dict(counts.sizes)}, over '{ENERGY}'"
        )
    energy = counts[ENERGY].values
    low, high = float(energy[0]), float(energy[-1])
    colors = {e: INK for e in elements} | {e: COLORS[i % len(COLORS)] for i, e in enumerate(others)}
    figure = new_figure(PAGE, 120 * MM)
    draw_fits(
        figure,
        [FitPanel(energy, counts.values.astype(float), expected.values, None,
                  label_lines(colors, low, high), colors, plain(title or ""))],
    )  # fmt: skip
    return figure


def _draw(upper: Axes, lower: Axes, panel: FitPanel) -> tuple[float, float]:
    """Draw one pair; return where the filled area starts and where its ticks end."""
    energy, counts = panel.energy, panel.counts
    upper.sharex(lower)
    upper.tick_params(labelbottom=False)
    floor, top = set_scale(upper, np.where(counts < min(LEAST_COUNTS, 0.1 * counts.max()), 0, counts), True)
    upper.fill_between(energy, counts, floor, step="mid", color=COUNTS_FILL, linewidth=0)
    upper.step(energy, counts, where="mid", color=COUNTS_COLOR, linewidth=0.6, label="Counts")
    upper.plot(energy, panel.expected, color=FIT_COLOR, linewidth=0.8, label="Fit")
    if panel.continuum is not None:
        dashes = (0, (4, 2))
        upper.plot(
            energy, panel.continuum, color=CONTINUUM_COLOR, linewidth=0.8, linestyle=dashes, label="Continuum"
        )
    upper.set_ylabel("Counts", fontsize=NORMAL, color=INK)
    upper.spines["left"].set_bounds(floor, top)
    residual = (counts - panel.expected) / np.sqrt(np.maximum(panel.expected, 1.0))
    lower.axhspan(-2, 2, color="#eef1f4", linewidth=0)
    lower.step(energy, residual, where="mid", color=COUNTS_COLOR, linewidth=0.5)
    lower.axhline(0, color=FAINT, linewidth=0.5)
    bound = float(np.clip(np.abs(residual).max(), 4.0, MOST_RESIDUAL))
    lower.set_ylim(-bound, bound)
    lower.yaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
    lower.set_ylabel("Residual (σ)", fontsize=NORMAL, color=INK)
    lower.set_xlim(float(energy[0]), float(energy[-1]))
    lower.xaxis.set_major_locator(MaxNLocator(nbins=11, steps=[1, 2, 5, 10]))
    for axes in (upper, lower):
        style_axes(axes)
    if panel.title:
        upper.set_title(panel.title, fontsize=NORMAL, color=INK, loc="left")
    return floor, top
