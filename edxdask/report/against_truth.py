"""Figure of phases beside a truth or another result: maps above, spectra below."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure, FigureBase

from edxdask import schema
from edxdask.errors import ParameterError
from edxdask.report.labels import plain
from edxdask.report.maps import draw_map, extent_of
from edxdask.report.phase_colors import fading, phase_colors
from edxdask.report.phase_maps import FRACTION, abundance_maps
from edxdask.report.style import FAINT, INK, MM, NORMAL, PAGE, SMALL, draw_title, new_figure, style_axes
from edxdask.results.check import labels_of
from edxdask.results.score import angles_between, match_phases

_BAR, _TITLE, GRAPH = 20 * MM, 9 * MM, 36 * MM
LEAST_SEEN = 1e-4  # of the largest value of a spectrum
FOUND, TRUE = "found", "truth"


def against_truth_figure(result: xr.Dataset, truth: xr.Dataset, *, title: str | None = None) -> Figure:
    """Draw maps and spectra of the phases of a result beside those of a truth, or of another result.

    Above the maps found and the true ones, below the spectra laid over one another with the angle between
    them. This is the third figure of the paper on pan-sharpening NMF (Nano Lett. 24 (2024) 10177).

    Parameters
    ----------
    result : Dataset
        Result of one map.
    truth : Dataset
        Simulated cube, which carries its truth, or another result of the same pixels and channels.
    title : str, optional
        Text above all.

    Returns
    -------
    matplotlib.figure.Figure
        To show, change or save.

    Examples
    --------
    >>> import edxdask
    >>> cube = edxdask.simulate(shape=(16, 16), counts=100)
    >>> found = edxdask.nmf(cube, phases=3, max_iter=5)
    >>> len(against_truth_figure(found, cube).axes)
    9
    """
    spectra, maps, names = _of_truth(truth)
    mine = result[schema.SPECTRUM].transpose(schema.PHASE, schema.ENERGY).values.astype(float)
    if spectra.shape[1] != mine.shape[1]:
        wanted = f"spectra of the {mine.shape[1]} channels of the result"
        raise ParameterError("truth", f"{spectra.shape[1]} channels", wanted)
    found = abundance_maps(result)[""]
    labels = labels_of(result)
    pairs = match_phases(spectra, mine)
    angles = angles_between(spectra, mine)
    height, width = extent_of(found[0])
    across = max(len(labels), 2)
    cell = max((PAGE / across - _BAR) * min(height / width, 3.0), 12 * MM) + _TITLE
    heights = [2 * cell, len(labels) * GRAPH + 10 * MM]
    figure = new_figure(PAGE, sum(heights) + (_TITLE if title else 0))
    draw_title(figure, title)
    above, below = figure.subfigures(2, 1, height_ratios=heights, squeeze=False)[:, 0]
    colors = phase_colors(labels)
    partner = {row: true for true, row in pairs.items()}
    for row, label in enumerate(labels):
        true = partner.get(row)
        _draw_pair(above, across, row, label, colors[label], found[row], None if true is None else maps[true])
    graphs = below.subplots(len(labels), 1, sharex=True, squeeze=False)[:, 0]
    energy = result[schema.ENERGY].values
    for axes, (row, label) in zip(graphs, enumerate(labels), strict=True):
        true = partner.get(row)
        text = label if true is None else f"{label}: {float(angles[true, row]):.2f}° from {names[true]}"
        _draw_spectra(axes, energy, mine[row], None if true is None else spectra[true], colors[label], text)
    graphs[-1].set_xlabel("Energy (keV)", fontsize=NORMAL, color=INK)
    below.supylabel("Fraction of photons", fontsize=NORMAL, color=INK)
    return figure


def _of_truth(truth: xr.Dataset) -> tuple[np.ndarray, xr.DataArray, list[str]]:
    """Spectra that sum to 1, maps and names of a simulation's truth, or of a result."""
    known = schema.TRUTH_SPECTRUM in truth
    spectrum, abundance = (
        (schema.TRUTH_SPECTRUM, schema.TRUTH_ABUNDANCE) if known else (schema.SPECTRUM, schema.ABUNDANCE)
    )
    if spectrum not in truth or abundance not in truth:
        have = ", ".join(map(str, truth.data_vars)) or "nothing"
        raise ParameterError("truth", have, "a simulated cube with its truth, or a result")
    values = truth[spectrum].transpose(schema.PHASE, schema.ENERGY).values.astype(float)
    maps = truth[abundance].transpose(schema.PHASE, schema.Y, schema.X).compute()
    return values / values.sum(axis=1, keepdims=True), maps, [str(p) for p in truth[schema.PHASE].values]


def _draw_pair(
    part: FigureBase,
    across: int,
    row: int,
    label: str,
    color: str,
    found: xr.DataArray,
    true: xr.DataArray | None,
) -> None:
    """Draw the map found, and the true one below it."""
    for i, (text, one) in enumerate(((FOUND, found), (TRUE, true))):
        if one is None:
            continue
        bar = FRACTION if row + 1 == across else ""
        axes = part.add_subplot(2, across, i * across + row + 1)
        draw_map(
            part, axes, one, title=f"{label}, {text}", label=bar, colors=fading(color), limits=(0.0, 1.0)
        )


def _draw_spectra(
    axes: Axes, energy: np.ndarray, found: np.ndarray, true: np.ndarray | None, color: str, title: str
) -> None:
    top = max(float(found.max()), 1e-12)
    if true is not None:
        axes.step(energy, true, where="mid", color=FAINT, linewidth=2.0, label=TRUE)
    axes.step(energy, found, where="mid", color=color, linewidth=0.8, label=FOUND)
    axes.set_yscale("log", nonpositive="clip")
    axes.set_ylim(LEAST_SEEN * top, 1.5 * top)
    axes.set_xlim(float(energy[0]), float(energy[-1]))
    axes.set_title(plain(title), fontsize=NORMAL, color=INK, loc="left", pad=2)
    axes.legend(fontsize=SMALL, frameon=False, labelcolor=INK, loc="upper right", ncols=2)
    style_axes(axes)
