"""Figure of a spectrum with the elements found in it, the fit that says so, and what it leaves."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from edxdask import schema
from edxdask.errors import ParameterError
from edxdask.report.figures import name_lines, set_scale
from edxdask.report.lines import label_lines
from edxdask.report.style import FAINT, INK, MM, NORMAL, PAGE, PALETTE, SMALL, new_figure, style_axes

COUNTS_FILL, FIT_COLOR, CONTINUUM_COLOR = "#cfdbe8", "#d55e00", "#5f6b75"
MOST_RESIDUAL = 8.0  # sigma shown
LISTED_COLOR = INK
COLORS = tuple(c for c in PALETTE if c != FIT_COLOR)


def elements_figure(found: xr.Dataset, *, title: str | None = None) -> Figure:
    """Draw what ``find_elements`` returned: spectrum, fit and lines above, residuals in sigma below.

    Listed elements are named in black, the others in colours.

    Parameters
    ----------
    found : with the spectrum and its fit
    title : text above the graph
    """
    if schema.FITTED_SPECTRUM not in found:
        have = ", ".join(map(str, found.data_vars))
        raise ParameterError("found", have, "what find_elements(ds) returns, fit included")
    energy = found[schema.ENERGY].values
    counts, fit = found[schema.SUM_SPECTRUM].values.astype(float), found[schema.FITTED_SPECTRUM].values
    figure = new_figure(PAGE, 120 * MM)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    floor, top = set_scale(upper, counts, True)
    upper.fill_between(energy, counts, floor, step="mid", color=COUNTS_FILL, linewidth=0)
    upper.step(energy, counts, where="mid", color="#1f4e79", linewidth=0.6, label="Counts")
    upper.plot(energy, fit, color=FIT_COLOR, linewidth=0.8, label="Fit")
    continuum = found[schema.CONTINUUM_SPECTRUM].values
    upper.plot(
        energy, continuum, color=CONTINUUM_COLOR, linewidth=0.8, linestyle=(0, (4, 2)), label="Continuum"
    )
    upper.set_ylabel("Counts", fontsize=NORMAL, color=INK)
    upper.spines["left"].set_bounds(floor, top)
    residual = (counts - fit) / np.sqrt(np.maximum(fit, 1.0))
    lower.axhspan(-2, 2, color="#eef1f4", linewidth=0)
    lower.step(energy, residual, where="mid", color="#1f4e79", linewidth=0.5)
    lower.axhline(0, color=FAINT, linewidth=0.5)
    bound = float(np.clip(np.abs(residual).max(), 4.0, MOST_RESIDUAL))
    lower.set_ylim(-bound, bound)
    lower.yaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
    lower.set_ylabel("Residual (σ)", fontsize=NORMAL, color=INK)
    lower.set_xlabel("Energy (keV)", fontsize=NORMAL, color=INK)
    lower.set_xlim(float(energy[0]), float(energy[-1]))
    lower.xaxis.set_major_locator(MaxNLocator(nbins=11, steps=[1, 2, 5, 10]))
    for axes in (upper, lower):
        style_axes(axes)
    if title:
        upper.set_title(title, fontsize=NORMAL, color=INK, loc="left")
    lines, colors = named_lines(found)
    if lines:
        name_lines(figure, upper, energy, counts, lines, floor, top, colors)
    upper.legend(fontsize=SMALL, frameon=False, labelcolor=INK, loc="lower left", ncols=3)
    return figure


def named_lines(found: xr.Dataset) -> tuple[dict[str, float], dict[str, str]]:
    """Lines worth a label by name, and the colour of each element."""
    energy = found[schema.ENERGY].values
    low, high = float(energy[0]), float(energy[-1])
    lines: dict[str, float] = {}
    colors: dict[str, str] = {}
    for i in range(found.sizes[schema.CANDIDATE]):
        one = found.isel({schema.CANDIDATE: i})
        element, place = one[schema.ELEMENT].item(), one[schema.LINE_ENERGY].item()
        if not one[schema.SIGNIFICANT].item():
            continue
        if not element:
            if one[schema.CANDIDATE_KIND].item() == "unknown":
                name = f"{place:.2f} keV ?"
                lines[name], colors[name] = place, FIT_COLOR
            continue
        listed = one[schema.KNOWN].item()
        lines[one[schema.CANDIDATE_LINE].item()] = place
        if not listed:
            lines |= label_lines([element], low, high)
        used = sum(c != LISTED_COLOR for c in colors.values())
        colors[element] = LISTED_COLOR if listed else COLORS[used % len(COLORS)]
    return lines, colors
