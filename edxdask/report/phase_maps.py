"""Figures of phases: the map of each in its own colour, all on one scale, and all in one image."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure, FigureBase
from matplotlib.patches import Patch

from edxdask import schema
from edxdask.errors import ParameterError
from edxdask.io.export.target import axis_of
from edxdask.report.labels import plain
from edxdask.report.maps import draw_map, draw_scale_bar, extent_of, map_figure
from edxdask.report.phase_colors import fading, mixed, phase_colors
from edxdask.report.style import COLUMN, INK, MM, NORMAL, PAGE, SMALL, draw_title, new_figure
from edxdask.results.check import labels_of
from edxdask.results.collections import Data, nodes_of

FRACTION = "fraction of the photons"
MOST_PANELS = 60  # maps on one figure: a picture has too few pixels for more
ALL_PHASES = "all phases"
_BAR, _TITLE, _LEGEND = 20 * MM, 9 * MM, 8 * MM


def abundance_maps(result: Data) -> dict[str, xr.DataArray]:
    """Abundances ``(phase, y, x)`` of each map of a result, by its name; read.

    Raises
    ------
    ParameterError
        If the result has no abundances of pixels over y and x.
    """
    maps = {
        name: one[schema.ABUNDANCE].transpose(schema.PHASE, schema.Y, schema.X).compute()
        for name, one in nodes_of(result)[1]
        if schema.ABUNDANCE in one and set(schema.pixel_dims(one[schema.TOTAL])) == {schema.Y, schema.X}
    }
    if not maps:
        raise ParameterError("result", list(nodes_of(result)[0].data_vars), "abundances over y and x")
    return maps


def phases_figure(result: Data, *, title: str | None = None) -> Figure:
    """Draw the map of every phase in its own colour, and all phases in one image.

    All maps have one scale, from 0 to 1, so that they can be compared.

    Parameters
    ----------
    result : Dataset or DataTree
        Result of a factorization, of a map or of a collection.
    title : str, optional
        Text above all.

    Returns
    -------
    matplotlib.figure.Figure
        To show, change or save.

    Examples
    --------
    >>> import edxdask
    >>> found = edxdask.nmf(edxdask.simulate(shape=(16, 16), counts=50), phases=2, max_iter=5)
    >>> len(phases_figure(found).axes)
    3
    """
    maps = abundance_maps(result)
    colors = phase_colors(labels_of(result))
    panels = [(name, array, label) for name, array in maps.items() for label in [*colors, None]]
    if len(panels) > MOST_PANELS:
        raise ParameterError(
            "result", f"{len(panels)} maps to draw", f"at most {MOST_PANELS}", "Take one map."
        )
    height, width = extent_of(panels[0][1][0])
    across = 2 if len(colors) == 1 else 3 if len(colors) <= 2 or len(colors) % 3 == 2 else 2
    across = len(colors) + 1 if len(maps) > 1 and len(colors) < 5 else across
    rows = math.ceil(len(panels) / across)
    cell = max((PAGE / across - _BAR) * min(height / width, 3.0), 12 * MM) + _TITLE
    figure = new_figure(PAGE, rows * cell + (_TITLE if title else 0))
    draw_title(figure, title)
    for i, (name, array, label) in enumerate(panels):
        axes = figure.add_subplot(rows, across, i + 1)
        text = f"{name}, {label or ALL_PHASES}" if name else label or ALL_PHASES
        if label is None:
            _draw_composite(figure, axes, array, list(colors.values()), text)
        else:
            row = list(colors).index(label)
            bar = FRACTION if (i + 1) % across == 0 else ""
            draw_map(
                figure, axes, array[row], title=text, label=bar, colors=fading(colors[label]), limits=(0, 1)
            )
    return figure


def phase_map_figure(
    abundance: xr.DataArray, *, color: str, title: str, width: float = COLUMN - _BAR
) -> Figure:
    """Draw the map of one phase, ``(y, x)``, from paper (0) to its colour (1)."""
    return map_figure(
        abundance, title=title, label=FRACTION, colors=fading(color), limits=(0.0, 1.0), width=width
    )


def composite_figure(result: Data, *, map_name: str | None = None, title: str | None = None) -> Figure:
    """Draw all phases of a map in one image: colours mixed by fractions, a pure pixel in its phase's colour.

    Parameters
    ----------
    result : Dataset or DataTree
        Result of a factorization.
    map_name : str, optional
        Which map of a collection; None: the first.
    title : str, optional
        Text above the image.

    Returns
    -------
    matplotlib.figure.Figure
        To show, change or save.

    Examples
    --------
    >>> import edxdask
    >>> found = edxdask.nmf(edxdask.simulate(shape=(16, 16), counts=50), phases=2, max_iter=5)
    >>> [text.get_text() for text in composite_figure(found).legends[0].get_texts()]
    ['phase_0', 'phase_1']
    """
    maps = abundance_maps(result)
    name = next(iter(maps)) if map_name is None else map_name
    if name not in maps:
        raise ParameterError("map_name", map_name, f"one of {', '.join(maps)}")
    return mixture_figure(maps[name], phase_colors(labels_of(result)), title=title or name or ALL_PHASES)


def mixture_figure(
    abundance: xr.DataArray, colors: dict[str, str], *, title: str, width: float = COLUMN - _BAR
) -> Figure:
    """Draw one image of all phases, ``(phase, y, x)``, with a legend of their colours below."""
    height, across = extent_of(abundance[0])
    whole = width + _BAR
    columns = _legend_columns(list(colors), whole)
    rows = math.ceil(len(colors) / columns)
    image = max(width * min(height / across, 3.0), 12 * MM)
    figure = new_figure(whole, image + _TITLE + _LEGEND * rows)
    _draw_composite(figure, figure.add_subplot(), abundance, list(colors.values()), title)
    figure.legend(
        handles=[Patch(facecolor=color, label=plain(name)) for name, color in colors.items()],
        loc="outside lower left",
        fontsize=SMALL,
        frameon=False,
        labelcolor=INK,
        ncols=columns,
    )
    return figure


def _legend_columns(labels: Sequence[str], width: float) -> int:
    """Columns of a legend below a figure of this width, in inches."""
    longest = max(len(label) for label in labels) + 5
    return max(min(len(labels), int(13 * width) // longest), 1)


def _draw_composite(
    figure: FigureBase, axes: Axes, abundance: xr.DataArray, colors: Sequence[str], title: str
) -> None:
    height, width = extent_of(abundance[0])
    axes.imshow(
        mixed(np.asarray(abundance.values), colors),
        extent=(0.0, width, height, 0.0),
        interpolation="auto",
        interpolation_stage="data",
    )
    axes.set_axis_off()
    axes.set_anchor("W")
    axes.set_title(plain(title), fontsize=NORMAL, color=INK, loc="left", pad=3)
    draw_scale_bar(figure, axes, axis_of(abundance, schema.X).unit, width)
