"""How large the particles of each phase are: histograms of diameters, with every particle as a mark."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from edxdask.report.labels import plain
from edxdask.report.phase_colors import phase_colors
from edxdask.report.style import FAINT, INK, MM, PAGE, SMALL, draw_title, new_figure, style_axes
from edxdask.results.volume_statistics import PhaseStatistics, VolumeStatistics, volume_statistics

ROW, BESIDES = 30 * MM, 14 * MM
PER_DECADE = 12  # bins
FEW = 6  # particles of which a histogram says nothing that marks do not


def sizes_figure(
    volume: xr.Dataset, *, statistics: VolumeStatistics | None = None, title: str | None = None
) -> Figure:
    """Draw how many particles of each phase have which diameter; a mark is a particle, hollow if it is cut.

    Parameters
    ----------
    volume : Dataset
        What ``tomography`` gave.
    statistics : VolumeStatistics, optional
        Of the volume, if they are known.
    title : str, optional
        Text above.
    """
    found = volume_statistics(volume) if statistics is None else statistics
    count = len(found.phases)
    figure = new_figure(PAGE, count * ROW + BESIDES + (8 * MM if title else 0))
    draw_title(figure, title)
    rows = figure.subplots(count, 1, squeeze=False, sharex=True)[:, 0]
    colors = phase_colors([one.phase for one in found.phases])
    diameters = np.concatenate([one.diameters for one in found.phases])
    edges = _edges(diameters)
    for axes, one in zip(rows, found.phases, strict=True):
        _draw(axes, one, edges, colors[one.phase], found.unit)
    rows[-1].set_xscale("log")
    rows[-1].set_xlim(edges[0], edges[-1])
    rows[-1].xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    rows[-1].xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    rows[-1].xaxis.set_minor_locator(NullLocator())
    rows[-1].set_xlabel(f"diameter of a ball of the same volume ({found.unit})", fontsize=SMALL, color=INK)
    figure.align_ylabels()
    return figure


def _edges(diameters: np.ndarray) -> np.ndarray:
    if not diameters.size:
        return np.array([1.0, 10.0])
    low, high = 0.8 * float(diameters.min()), 1.25 * float(diameters.max())
    return np.geomspace(low, high, max(3, int(np.ceil(PER_DECADE * np.log10(high / low)))) + 1)


def _draw(axes: Axes, one: PhaseStatistics, edges: np.ndarray, color: str, unit: str) -> None:
    number = len(one.diameters)
    if number >= FEW:
        axes.hist(one.diameters, edges.tolist(), color=color, alpha=0.55, linewidth=0)
    top = max(float(axes.get_ylim()[1]), 1.0) if number >= FEW else 1.0
    height = -0.12 * top if number >= FEW else 0.5
    for mine, face in ((~one.cut, color), (one.cut, "white")):
        places = np.full(int(mine.sum()), height)
        axes.plot(one.diameters[mine], places, "o", markersize=4, markerfacecolor=face, markeredgecolor=color,
                  markeredgewidth=0.9)  # fmt: skip
    axes.set_ylim(-0.24 * top if number >= FEW else 0.0, top * 1.1)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=3, integer=True))
    if number < FEW:
        axes.set_yticks([])
    text = f"{number} particle{'' if number == 1 else 's'}"
    if number > 1:
        text += f", median {np.median(one.diameters):.3g} {unit}"
    if one.cut.any():
        text += f", {int(one.cut.sum())} cut by the edge"
    if one.smaller:
        text += f"; {one.smaller} too small to be listed"
    axes.set_title(f"{plain(one.phase)}: {text}", fontsize=SMALL, color=INK, loc="left", pad=3)
    axes.set_ylabel("particles" if number >= FEW else "", fontsize=SMALL, color=INK)
    if number >= FEW:
        axes.axhline(0, color=FAINT, linewidth=0.6)
    style_axes(axes)
