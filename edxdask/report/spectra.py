"""Figure of several spectra, one graph each above a common energy axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from matplotlib.figure import Figure, FigureBase
from matplotlib.ticker import MaxNLocator

from edxdask.errors import ParameterError
from edxdask.report.labels import plain
from edxdask.report.style import INK, MM, NORMAL, PAGE, PALETTE, draw_title, new_figure, style_axes
from edxdask.schema import ENERGY

_GRAPH, _FOOT = 32 * MM, 12 * MM  # height of a graph, and of the axis below the last


@dataclass(frozen=True, eq=False)
class SpectrumRow:
    """One spectrum of a figure.

    Attributes
    ----------
    name : title above its graph
    energy : keV of its channels
    values : intensities
    """

    name: str
    energy: np.ndarray
    values: np.ndarray


def spectra_figure(spectra: xr.DataArray, *, log: bool | None = None, title: str | None = None) -> Figure:
    """Draw the spectra of phases or components below one another.

    Parameters
    ----------
    spectra : (any, energy)
    log : logarithmic intensities; None: where no value is negative
    title : text above the graphs
    """
    if spectra.ndim != 2 or spectra.dims[1] != ENERGY or not spectra.size:
        raise ParameterError("spectra", dict(spectra.sizes), f"spectra with dimensions (any, '{ENERGY}')")
    dim = str(spectra.dims[0])
    names = [str(v) for v in spectra[dim].values] if dim in spectra.coords else [""] * len(spectra)
    energy, values = spectra.coords[ENERGY].values, np.asarray(spectra.values, dtype=float)
    rows = [SpectrumRow(name, energy, row) for name, row in zip(names, values, strict=True)]
    figure = new_figure(PAGE, height_of(rows))
    draw_spectra(figure, rows, log=log)
    draw_title(figure, title)
    return figure


def height_of(rows: Sequence[SpectrumRow]) -> float:
    """Height, in inches, of the graphs of these spectra."""
    return len(rows) * _GRAPH + _FOOT


def draw_spectra(figure: FigureBase, rows: Sequence[SpectrumRow], *, log: bool | None = None) -> None:
    """Fill a figure, or a part of one, with a graph per spectrum; ``log`` as in ``spectra_figure``."""
    logarithmic = not any((row.values < 0).any() for row in rows) if log is None else log
    graphs = figure.subplots(len(rows), 1, sharex=True, squeeze=False)[:, 0]
    for i, (axes, row) in enumerate(zip(graphs, rows, strict=True)):
        axes.step(row.energy, row.values, where="mid", color=PALETTE[i % len(PALETTE)], linewidth=0.8)
        if logarithmic and (row.values > 0).any():
            peak = float(row.values.max())
            axes.set_yscale("log", nonpositive="clip")
            # four decades: below them are zeros and what a factorization could not distinguish from zero
            axes.set_ylim(max(float(row.values[row.values > 0].min()), 1e-4 * peak), 1.5 * peak)
        else:
            axes.axhline(0.0, color=INK, linewidth=0.4)
            axes.yaxis.set_major_locator(MaxNLocator(nbins=4))
        axes.set_title(plain(row.name), fontsize=NORMAL, color=INK, loc="left", pad=2)
        style_axes(axes)
    low, high = min(float(r.energy[0]) for r in rows), max(float(r.energy[-1]) for r in rows)
    graphs[-1].set_xlim(low, high)
    graphs[-1].set_xlabel("Energy (keV)", fontsize=NORMAL, color=INK)
    figure.supylabel("Intensity", fontsize=NORMAL, color=INK)
