"""Figure of several spectra, one graph each above a common energy axis."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from edxdask.errors import ParameterError
from edxdask.report.style import INK, MM, NORMAL, PAGE, PALETTE, new_figure, style_axes
from edxdask.schema import ENERGY

_GRAPH, _FOOT = 32 * MM, 12 * MM  # height of a graph, and of the axis below the last


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
    values, energy = np.asarray(spectra.values, dtype=float), spectra.coords[ENERGY].values
    logarithmic = not (values < 0).any() if log is None else log
    figure = new_figure(PAGE, len(names) * _GRAPH + _FOOT)
    graphs = figure.subplots(len(names), 1, sharex=True, squeeze=False)[:, 0]
    for i, (axes, name) in enumerate(zip(graphs, names, strict=True)):
        axes.step(energy, values[i], where="mid", color=PALETTE[i % len(PALETTE)], linewidth=0.8)
        if logarithmic and (values[i] > 0).any():
            peak = float(values[i].max())
            axes.set_yscale("log", nonpositive="clip")
            # four decades: below them lie zeros and what a factorization could not tell from zero
            axes.set_ylim(max(float(values[i][values[i] > 0].min()), 1e-4 * peak), 1.5 * peak)
        else:
            axes.axhline(0.0, color=INK, linewidth=0.4)
            axes.yaxis.set_major_locator(MaxNLocator(nbins=4))
        axes.set_title(name, fontsize=NORMAL, color=INK, loc="left", pad=2)
        style_axes(axes)
    graphs[-1].set_xlim(float(energy[0]), float(energy[-1]))
    graphs[-1].set_xlabel("Energy (keV)", fontsize=NORMAL, color=INK)
    figure.supylabel("Intensity", fontsize=NORMAL, color=INK)
    if title:
        figure.suptitle(title, fontsize=NORMAL + 1, color=INK, x=0.015, ha="left")
    return figure
