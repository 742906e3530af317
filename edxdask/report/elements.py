"""Figure of a spectrum with the elements found in it, the fit behind them, and the residual."""

from __future__ import annotations

import xarray as xr
from matplotlib.figure import Figure

from edxdask import schema
from edxdask.errors import ParameterError
from edxdask.report.fit import COLORS, FIT_COLOR, FitPanel, draw_fits
from edxdask.report.lines import label_lines
from edxdask.report.style import INK, MM, PAGE, new_figure

LISTED_COLOR = INK


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
    lines, colors = named_lines(found)
    figure = new_figure(PAGE, 120 * MM)
    panel = FitPanel(
        found[schema.ENERGY].values,
        found[schema.SUM_SPECTRUM].values.astype(float),
        found[schema.FITTED_SPECTRUM].values,
        found[schema.CONTINUUM_SPECTRUM].values,
        lines,
        colors,
        title or "",
    )
    draw_fits(figure, [panel])
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
