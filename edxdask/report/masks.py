"""Figure of an aided unmixing: masks and core on the photons of each map, and spectra of the sums below."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure, FigureBase
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from edxdask import schema
from edxdask.errors import SchemaError
from edxdask.io.export.target import axis_of
from edxdask.report.labels import plain
from edxdask.report.maps import MapPanel
from edxdask.report.spectra import SpectrumRow, draw_spectra, height_of
from edxdask.report.style import MM, PAGE, SMALL, draw_title, new_figure
from edxdask.results.collections import Data, nodes_of, shared_part

# Outlines are seen on black as well as on bright yellow, by everybody; the core's is dashed.
OUTLINES = ("#56b4e9", "#00c08b", "#ffffff", "#cc79a7", "#e69f00")
CORE_OUTLINE = "#ffffff"
LEGEND, TITLE = 9 * MM, 8 * MM


def masks_figure(result: Data, *, title: str | None = None) -> Figure:
    """Draw the masks of precipitates and the core of the matrix, and the spectra that follow from them.

    Parameters
    ----------
    result : Dataset or DataTree
        What ``aided`` gave.
    title : str, optional
        Text above all.

    Raises
    ------
    SchemaError
        If the result has no masks.
    """
    shared = shared_part(result)
    maps = [(path, one) for path, one in nodes_of(result)[1] if schema.MASK in one and schema.TOTAL in one]
    if not maps or schema.SPECTRUM_SUBTRACTED not in shared:
        raise SchemaError("the result has no masks: aided(...) makes a result that has them")
    names = [str(name) for name in shared[schema.PHASE].values]
    panel = MapPanel(
        [(path or "photons per pixel", one[schema.TOTAL].compute()) for path, one in maps],
        columns=2 if len(maps) == 1 else None,
    )
    rows = _rows(shared, names)
    heights = [panel.height, LEGEND, height_of(rows)]
    figure = new_figure(PAGE, sum(heights) + (TITLE if title else 0))
    draw_title(figure, title)
    above, middle, below = figure.subfigures(3, 1, height_ratios=heights, squeeze=False)[:, 0]
    panel.draw(above)
    for axes, (_, one) in zip(above.axes, maps, strict=False):
        _outline(axes, one, names)
    _explain(middle, names)
    draw_spectra(below, rows, log=False)
    return figure


def _rows(shared: xr.Dataset, names: list[str]) -> list[SpectrumRow]:
    """Spectra of the sums: the core of the matrix, and each mask less the matrix."""
    spectra = shared[schema.SPECTRUM_SUBTRACTED].transpose(schema.PHASE, schema.ENERGY).values
    energy = shared[schema.ENERGY].values
    texts = [f"core of {names[0]}, counts", *(f"mask of {n} less {names[0]}, counts" for n in names[1:])]
    return [SpectrumRow(text, energy, row) for text, row in zip(texts, spectra, strict=True)]


def _outline(axes: Axes, one: xr.Dataset, names: list[str]) -> None:
    """Draw the borders of all masks, and that of the core."""
    masks = one[schema.MASK].transpose(schema.PHASE, schema.Y, schema.X).values
    core = one[schema.CORE].transpose(schema.PHASE, schema.Y, schema.X).values[0]
    total = one[schema.TOTAL]
    y, x = (
        (np.arange(total.sizes[dim]) + 0.5) * abs(axis_of(total, dim).scale or 1.0)
        for dim in (schema.Y, schema.X)
    )
    drawn = [(mask, _color(row), "solid") for row, mask in enumerate(masks[1:])]
    for mask, color, style in (*drawn, (core, CORE_OUTLINE, "dotted")):
        if mask.any() and not mask.all() and min(mask.shape) > 1:
            lines = axes.contour(x, y, mask, levels=[0.5], colors=[color], linewidths=0.9, linestyles=[style])
            lines.set(path_effects=[withStroke(linewidth=2.2, foreground="black")])


def _color(row: int) -> str:
    return OUTLINES[row % len(OUTLINES)]


def _explain(part: FigureBase, names: list[str]) -> None:
    """Say which outline is whose."""
    lines = [Line2D([], [], color=_color(row), linewidth=1.6) for row in range(len(names) - 1)]
    lines.append(Line2D([], [], color=CORE_OUTLINE, linewidth=1.6, linestyle="dotted"))
    texts = [*(f"mask of {plain(name)}" for name in names[1:]), f"core of {plain(names[0])}"]
    part.legend(
        lines, texts, loc="center left", ncols=len(texts), fontsize=SMALL, facecolor="#444444",
        labelcolor="white", edgecolor="none",
    )  # fmt: skip
