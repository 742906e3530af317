"""Figure of what can be detected: amounts with their errors, and the limit of detection of each element."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from edxdask import schema
from edxdask.errors import ParameterError
from edxdask.report.labels import plain
from edxdask.report.phase_colors import phase_colors
from edxdask.report.style import FAINT, INK, MM, NORMAL, PALETTE, SMALL, draw_title, new_figure, style_axes
from edxdask.report.tables import Row, rows_of
from edxdask.results.collections import Data
from edxdask.results.kinds import Kind, kind_of

ROW, HEAD, WIDTH = 5.5 * MM, 18 * MM, 125 * MM
MOST_ROWS = 120
STD = schema.STD_SUFFIX


@dataclass(frozen=True)
class Amount:
    """One element of one phase, region or map.

    Attributes
    ----------
    of, element : what it is of
    value, error, limit : atomic fractions; the limit is that of detection
    """

    of: str
    element: str
    value: float
    error: float
    limit: float


def amounts_of(data: Data) -> list[Amount]:
    """List amounts, errors and limits of what ``quantify`` or ``traces`` gave."""
    if kind_of(data) is Kind.TRACES:
        names, factor = (schema.ATOMIC_PPM, schema.ATOMIC_PPM + STD, schema.TRACE_LOD), 1e-6
    else:
        names, factor = (schema.COMPOSITION, schema.COMPOSITION + STD, schema.LOD), 1.0
    rows = rows_of(data)
    known = [row for row in rows if all(np.isfinite(row.get(name, np.nan)) for name in names)]
    if not known:
        raise ParameterError(
            "data",
            f"{len(rows)} rows without limits of detection",
            "what quantify(...) or traces(...) gave",
            "edxdask.quantify(result) adds them.",
        )
    return [_amount(row, names, factor) for row in known]


def _amount(row: Row, names: tuple[str, str, str], factor: float) -> Amount:
    value, error, limit = (factor * float(row[name]) for name in names)
    return Amount(str(row.get("of", row.get("map", ""))), str(row["element"]), value, error, limit)


def limits_figure(data: Data, *, title: str | None = None) -> Figure:
    """Draw the amount of every element with its error beside its limit of detection, by phase or map.

    A dot right of its bar is detected. An amount that is not drawn is below the scale.

    Parameters
    ----------
    data : Dataset or DataTree
        What ``quantify`` gave of phases, regions or a sum; or what ``traces`` gave.
    title : str, optional
        Text above all.

    Returns
    -------
    matplotlib.figure.Figure
        To show, change or save.

    Examples
    --------
    >>> import edxdask
    >>> cube = edxdask.simulate(shape=(16, 16), counts=200)
    >>> limits_figure(edxdask.quantify(cube, elements=["O", "Mg", "Si", "Fe"])).axes[0].get_xlabel()
    'Atomic fraction'
    """
    amounts = amounts_of(data)[:MOST_ROWS]
    names = list(dict.fromkeys(one.of for one in amounts))
    groups = {name: [one for one in amounts if one.of == name] for name in names}
    heights = [len(group) * ROW + 8 * MM for group in groups.values()]
    figure = new_figure(WIDTH, sum(heights) + HEAD)
    draw_title(figure, title)
    graphs = figure.subplots(len(groups), 1, sharex=True, height_ratios=heights, squeeze=False)[:, 0]
    colors = phase_colors(names) if kind_of(data) is Kind.PHASES else dict.fromkeys(names, PALETTE[0])
    least = 0.2 * min(one.limit for one in amounts if one.limit > 0)
    for axes, (name, group) in zip(graphs, groups.items(), strict=True):
        _draw(axes, group, least, colors[name], name, first=axes is graphs[0])
    graphs[-1].set_xlim(least, 1.2)
    graphs[-1].set_xlabel("Atomic fraction", fontsize=NORMAL, color=INK)
    return figure


def _draw(axes: Axes, group: list[Amount], least: float, color: str, name: str, *, first: bool) -> None:
    at = np.arange(len(group))
    value, error, limit = (np.array([getattr(one, n) for one in group]) for n in ("value", "error", "limit"))
    axes.barh(at, np.maximum(limit, least), height=0.62, color=FAINT, alpha=0.35, label="limit of detection")
    shown = value > least
    detected = shown & (value > limit)
    low = np.minimum(error, value - least).clip(0)
    for mask, face in ((detected, color), (shown & ~detected, "none")):
        axes.errorbar(
            value[mask], at[mask], xerr=(low[mask], error[mask]), fmt="o", color=color, mfc=face,
            markersize=4, linewidth=0.9, capsize=2,
        )  # fmt: skip
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(_percent))
    axes.set_yticks(at, [one.element for one in group])
    axes.set_ylim(len(group) - 0.4, -0.6)
    axes.set_title(plain(name), fontsize=NORMAL, color=color if name else INK, loc="left", pad=2)
    if first:
        axes.legend(fontsize=SMALL, frameon=False, labelcolor=INK, loc="lower right", bbox_to_anchor=(1, 1))
    style_axes(axes)


def _percent(value: float, _: object = None) -> str:
    """Fraction as people read it: at.% or ppm.

    Examples
    --------
    >>> _percent(0.1), _percent(0.00001)
    ('10 at.%', '10 ppm')
    """
    return f"{100 * value:g} at.%" if value >= 1e-3 else f"{1e6 * value:g} ppm"
