"""Figure of what ``quantify`` fitted: spectra, fits, residuals, lines and compositions."""

from __future__ import annotations

import textwrap

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from edxdask import schema
from edxdask.errors import ParameterError
from edxdask.physics.energy_axis import EnergyAxis
from edxdask.physics.lines import parse_line
from edxdask.quantify.results import parts_of
from edxdask.readable import decimals
from edxdask.report.fit import COLORS, FitPanel, draw_fits
from edxdask.report.labels import plain
from edxdask.report.lines import label_lines
from edxdask.report.style import FAINT, MM, PAGE, draw_title, new_figure

FIRST, NEXT = 116 * MM, 100 * MM  # height of a lone pair of graphs, and of each of several
MOST = 60  # pairs on one figure: a picture has too few pixels for more
NOTHING = 1e-6  # at.%: an amount that was ruled out
TITLE_LETTERS = 100  # a line of the text above a graph


def quantified_figure(found: xr.Dataset | xr.DataTree, *, title: str | None = None) -> Figure:
    """Draw what ``quantify`` returned: for each spectrum its fit, and residuals in sigma below.

    Above each are the reduced chi-squared and the composition in at.%, two digits of its error in brackets;
    foreign elements are named in grey. Phases of a guided fit have no noise, so no chi-squared either.

    Parameters
    ----------
    found : sum, regions, phases, or maps of a collection
    title : text above all
    """
    parts = [(label, one) for label, one in parts_of(found) if schema.FIT_COUNTS in one]
    if not parts:
        raise ParameterError(
            "found", "no fitted spectra", "what quantify(...) returns for sums, regions or phases"
        )
    if len(parts) > MOST:
        raise ParameterError("found", f"{len(parts)} spectra", f"at most {MOST}", "Select some: .isel(...).")
    figure = new_figure(PAGE, FIRST if len(parts) == 1 else len(parts) * NEXT)
    draw_title(figure, title and textwrap.shorten(title, TITLE_LETTERS // 2, placeholder=" …"))
    draw_fits(figure, [fit_panel(label, one) for label, one in parts])
    return figure


def fit_panel(label: str, part: xr.Dataset) -> FitPanel:
    """Give the graph of one fitted spectrum: its counts, fit and continuum, and the lines to name."""
    found = EnergyAxis.of(part.attrs) or EnergyAxis()
    axis = found.energy(part[schema.ENERGY].values)
    names = (schema.FIT_COUNTS, schema.FIT_EXPECTED, schema.FIT_CONTINUUM)
    fitted = np.isfinite(part[schema.FIT_COUNTS].values)
    energy, counts, expected, continuum = (v[fitted] for v in (axis, *(part[n].values for n in names)))
    measured = {str(e) for e in part[schema.ELEMENT].values}
    by = {parse_line(str(name)).element: str(name) for name in part[schema.LINE].values}
    colors = {e: COLORS[i % len(COLORS)] if e in measured else FAINT for i, e in enumerate(by)}
    lines = label_lines(by, float(energy[0]), float(energy[-1]))
    lines |= {name: parse_line(name).centroid_kev for name in by.values()}
    return FitPanel(energy, counts, expected, continuum, lines, colors, _text(label, part))


def _text(label: str, part: xr.Dataset) -> str:
    std = part[schema.COMPOSITION + schema.STD_SUFFIX].values
    amounts = [
        f"{element} {with_error(100 * x, 100 * s)}"
        for element, x, s in zip(
            part[schema.ELEMENT].values, part[schema.COMPOSITION].values, std, strict=True
        )
    ]
    glued = ", ".join(amount.replace(" ", "\u00a0") for amount in amounts)  # no line ends within an amount
    chi2 = float(part[schema.CHI2_RED])  # of a stored result, lazy
    judged = f"reduced χ²\u00a0{chi2:.2f}" if np.isfinite(chi2) else "a guided fit's spectrum, without noise"
    text = f"{plain(label)}: {glued} at.%; {judged}"
    return "\n".join(textwrap.wrap(text, TITLE_LETTERS, break_long_words=False))


def with_error(value: float, error: float) -> str:
    """Value with two digits of its error in brackets.

    Examples
    --------
    >>> with_error(59.9312, 0.1084), with_error(0.02, 12.6), with_error(1.0, 0.0)
    ('59.93(11)', '0(13)', '1')
    """
    if not (np.isfinite(value) and np.isfinite(error) and error > 0):
        return f"{value:.4g}"
    if max(abs(value), error) < NOTHING:
        return "0"
    digits = decimals(error)
    shown = f"{error:.{digits}f}".lstrip("0.") if error < 1 else f"{error:.{min(digits, 1)}f}"
    return f"{value:.{digits}f}({shown})"
