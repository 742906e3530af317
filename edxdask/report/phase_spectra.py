"""Figure of the spectra of phases: one graph each, in the colour of its phase, with named lines."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure, FigureBase
from matplotlib.ticker import MaxNLocator

from edxdask import schema
from edxdask.report.figures import name_lines, set_scale
from edxdask.report.labels import plain
from edxdask.report.lines import label_lines
from edxdask.report.phase_colors import phase_colors
from edxdask.report.style import INK, MM, NORMAL, PAGE, draw_title, new_figure, style_axes
from edxdask.results.check import check_result, labels_of
from edxdask.results.collections import Data, nodes_of, shared_part

GRAPH, LABELS, FOOT = 40 * MM, 22 * MM, 10 * MM
LEAST_SEEN = 1e-4  # of the largest value: a factorization cannot distinguish less from nothing
SEEN_IN_ERRORS = 2.0  # an element's lines are named where there is more of it than this many errors


def elements_named(result: Data) -> tuple[str, ...]:
    """Elements whose lines a figure of the result names: those it was made with, else those of its maps.

    Examples
    --------
    >>> import xarray as xr
    >>> elements_named(xr.Dataset(attrs={"elements": ["Mg", "Si"]}))
    ('Mg', 'Si')
    """
    root = shared_part(result)
    if schema.COMPOSITION in root:
        return tuple(str(e) for e in root[schema.ELEMENT].values)
    nodes = [root] if not root.variables else [root, *(one for _, one in nodes_of(result)[1])]
    return tuple(dict.fromkeys(str(e) for one in nodes for e in one.attrs.get(schema.ELEMENTS, ())))


def elements_in(result: Data, phase: str) -> tuple[str, ...]:
    """Elements that a phase has, where its composition is known; else all that a figure names."""
    root = shared_part(result)
    error = schema.COMPOSITION + schema.STD_SUFFIX
    if schema.COMPOSITION not in root or error not in root:
        return elements_named(result)
    one = root.sel({schema.PHASE: phase})
    seen = one[schema.COMPOSITION].values > SEEN_IN_ERRORS * np.nan_to_num(one[error].values)
    return tuple(str(e) for e, there in zip(root[schema.ELEMENT].values, seen, strict=True) if there)


def phase_spectra_figure(
    result: Data, *, phases: Sequence[str] | None = None, log: bool = True, title: str | None = None
) -> Figure:
    """Draw the spectra of phases below one another, each in its phase's colour, with named lines.

    Parameters
    ----------
    result : Dataset or DataTree
        Result of a factorization, of a map or of a collection.
    phases : list of str, optional
        Which phases; None: all.
    log : bool
        Logarithmic intensities.
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
    >>> [axes.get_title(loc="left") for axes in phase_spectra_figure(found).axes]
    ['phase_0', 'phase_1']
    """
    check_result(result)
    labels = labels_of(result)
    shown = list(labels if phases is None else phases)
    named = {phase: elements_in(result, phase) for phase in shown}
    room = LABELS if any(named.values()) else 8 * MM
    figure = new_figure(PAGE, len(shown) * (GRAPH + room) + FOOT + (8 * MM if title else 0))
    draw_title(figure, title)
    _draw(figure, result, named, log=log)
    return figure


def _draw(figure: FigureBase, result: Data, named: dict[str, tuple[str, ...]], *, log: bool) -> None:
    root = shared_part(result)
    colors = phase_colors(labels_of(result))
    energy = root[schema.ENERGY].values
    graphs = figure.subplots(len(named), 1, sharex=True, squeeze=False)[:, 0]
    scales = []
    for axes, phase in zip(graphs, named, strict=True):
        values = root[schema.SPECTRUM].sel({schema.PHASE: phase}).values.astype(float)
        values = np.where(values < LEAST_SEEN * values.max(initial=0.0), 0.0, values)
        floor, top = set_scale(axes, values, log)
        axes.fill_between(energy, values, floor, step="mid", color=colors[phase], alpha=0.18, linewidth=0)
        axes.step(energy, values, where="mid", color=colors[phase], linewidth=0.8)
        axes.set_title(plain(phase), fontsize=NORMAL, color=colors[phase], loc="left", pad=3)
        axes.spines["left"].set_bounds(floor, top)
        axes.set_ylabel("Fraction of photons", fontsize=NORMAL, color=INK)
        style_axes(axes)
        scales.append((values, floor, top))
    graphs[-1].set_xlim(float(energy[0]), float(energy[-1]))
    graphs[-1].xaxis.set_major_locator(MaxNLocator(nbins=11, steps=[1, 2, 5, 10]))
    graphs[-1].set_xlabel("Energy (keV)", fontsize=NORMAL, color=INK)
    for axes, (phase, elements), (values, floor, top) in zip(graphs, named.items(), scales, strict=True):
        lines = label_lines(elements, float(energy[0]), float(energy[-1]))
        if lines:
            name_lines(
                figure, axes, energy, values, lines, floor, top, dict.fromkeys(elements, colors[phase])
            )
