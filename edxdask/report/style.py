"""The style of every figure: sizes in print millimetres, one font size scale, one palette.

Figures are built with matplotlib's object interface: no pyplot, no global settings, safe in threads.
"""

from __future__ import annotations

from pathlib import Path

import xarray as xr
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure, FigureBase
from matplotlib.layout_engine import ConstrainedLayoutEngine

from edxdask.io.export.target import writing
from edxdask.report.labels import plain

MM = 1 / 25.4  # inches
COLUMN, PAGE = 88 * MM, 180 * MM  # widths of one and two columns of a journal
SMALL, NORMAL = 8.0, 9.0  # pt
INK, FAINT = "#1c2733", "#8a94a0"
COUNTS_COLORS = "magma"  # perceptually uniform, black where nothing was counted

# Okabe and Ito's palette (colour-blind safe), darkened where it would be too pale for text on white.
PALETTE = (
    "#0072b2",
    "#d55e00",
    "#007a5a",
    "#a8467d",
    "#8a6100",
    "#2a86b8",
    "#5b4b9a",
    "#b02a37",
    "#3f6f1f",
    "#5f6b75",
)


def new_figure(width: float, height: float) -> Figure:
    """Empty figure (inches) on an Agg canvas that lays itself out."""
    figure = Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(w_pad=2 * MM, h_pad=2 * MM))
    FigureCanvasAgg(figure)
    return figure


def draw_title(figure: FigureBase, title: str | None) -> None:
    """Write the text above all, as it is: a dollar sign starts no formula; nothing where there is none."""
    if title:
        figure.suptitle(plain(title), fontsize=NORMAL + 1, color=INK, x=0.015, ha="left")


def whole_of(part: FigureBase) -> Figure:
    """Give the figure that a part of one is in; of a figure, itself."""
    whole = part.figure
    if not isinstance(whole, Figure):
        raise TypeError(f"a part of a figure is in a {type(whole).__name__}; expected a Figure")
    return whole


def is_counts(array: xr.DataArray) -> bool:
    """Whether an array holds counts, which are drawn from 0."""
    return str(array.attrs.get("units", "counts")) == "counts"


def style_axes(axes: Axes) -> None:
    """Ticks, frame and fonts of a graph."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(INK)
        axes.spines[side].set_linewidth(0.6)
    axes.tick_params(which="both", labelsize=SMALL, colors=INK, width=0.6, direction="out")
    axes.tick_params(which="major", length=3.5)
    axes.tick_params(which="minor", length=2.0)


def save_figure(figure: Figure, path: str | Path, *, dpi: float = 250.0, overwrite: bool = False) -> Path:
    """Write ``figure`` whole or not at all; PNG, PDF or SVG by the suffix of ``path``."""
    target = Path(path)
    with writing(target, overwrite=overwrite) as partial:
        figure.savefig(partial, dpi=dpi, facecolor="white")
    return target
