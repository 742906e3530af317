"""Figure of the choices that the data made: bin size, number of phases, strength of the prior."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from edxdask import schema
from edxdask.errors import ParameterError
from edxdask.report.style import (
    COLUMN,
    INK,
    MM,
    NORMAL,
    PAGE,
    PALETTE,
    SMALL,
    draw_title,
    new_figure,
    style_axes,
)
from edxdask.results.collections import Data, shared_part

NAMES = {
    "bin": "pixels per side of a bin",
    "phases": "number of phases",
    "smooth": "strength of the spatial prior",
}
LEAST_LOSS = 0.01  # upper end of the axis where no choice loses anything
NARROWEST = 0.09  # of the axis, between two numbers
LOSS = "loss on unseen photons\n(10⁻³ per photon)"


@dataclass(frozen=True, eq=False)
class Choice:
    """One choice from the data.

    Attributes
    ----------
    name : "bin", "phases" or "smooth"
    candidates : values tried
    loss : log-likelihood per unseen photon below that of the best
    error : standard error of ``loss``; 0 for the best
    chosen : value taken, None where the result does not say
    """

    name: str
    candidates: np.ndarray
    loss: np.ndarray
    error: np.ndarray
    chosen: float | None


def choices_of(result: Data) -> list[Choice]:
    """List the choices that the data made of a result; none where the user gave all values.

    Examples
    --------
    >>> import edxdask
    >>> cube = edxdask.simulate(shape=(48, 48), counts=100)
    >>> [one.name for one in choices_of(edxdask.psnmf(cube, phases=2, bin=4))]
    ['smooth']
    """
    root = shared_part(result)
    found = []
    for name in NAMES:
        if f"{name}_score" not in root:
            continue
        score, error = (np.asarray(root[f"{name}_{part}"].values, float) for part in ("score", "score_std"))
        candidates = np.asarray(root[f"{name}_candidate"].values, float)
        found.append(Choice(name, candidates, score.max() - score, error, _chosen(root, name)))
    return found


def _chosen(root: xr.Dataset, name: str) -> float | None:
    known = {"bin": schema.BIN, "smooth": schema.SMOOTH}
    if name == "phases":
        return float(root.sizes[schema.PHASE]) if schema.PHASE in root.sizes else None
    value = root.attrs.get(known[name])
    return None if value is None else float(value)


def choices_figure(result: Data, *, title: str | None = None) -> Figure:
    """Draw the curves behind the choices that the data made: half of the photons fitted, the others judge.

    Parameters
    ----------
    result : Dataset or DataTree
        Result of ``psnmf`` whose bin size, number of phases or prior was found from the data.
    title : str, optional
        Text above all.

    Returns
    -------
    matplotlib.figure.Figure
        To show, change or save.

    Examples
    --------
    >>> import edxdask
    >>> cube = edxdask.simulate(shape=(48, 48), counts=100)
    >>> choices_figure(edxdask.psnmf(cube, phases=2, bin=4)).axes[0].get_xlabel()
    'strength of the spatial prior'
    """
    found = choices_of(result)
    if not found:
        fix = "psnmf(ds) chooses bin and smooth from the data where they are not given."
        raise ParameterError("result", "no choices", "a result whose settings the data chose", fix)
    figure = new_figure(PAGE, 56 * MM + (8 * MM if title else 0))
    draw_title(figure, title)
    row = figure.subplots(1, max(len(found), 2), squeeze=False)[0]
    for axes, one in zip(row, found, strict=False):
        _draw(axes, one)
    for axes in row[len(found) :]:
        axes.set_axis_off()
    return figure


def choice_figure(one: Choice) -> Figure:
    """Draw the curve behind one choice."""
    figure = new_figure(COLUMN, 56 * MM)
    _draw(figure.subplots(), one)
    return figure


def _draw(axes: Axes, one: Choice) -> None:
    loss, error = 1e3 * one.loss, 1e3 * np.nan_to_num(one.error)
    axes.errorbar(
        one.candidates, loss, error, fmt="o-", color=PALETTE[0], markersize=3.5, linewidth=0.9, capsize=2
    )
    if one.chosen is not None:
        axes.axvline(one.chosen, color=PALETTE[1], linewidth=1.0, linestyle="--")
        text = f"taken: {one.chosen:.3g}"
        axes.annotate(
            text, (one.chosen, 1.0), xycoords=("data", "axes fraction"), xytext=(3, -2),
            textcoords="offset points", va="top", fontsize=SMALL, color=PALETTE[1],
        )  # fmt: skip
    wide = one.name != "phases" and one.candidates.min() > 0
    if wide:
        axes.set_xscale("log")
    shown = _apart(one.candidates, log=wide)
    axes.xaxis.set_major_locator(FixedLocator(shown))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(shown, [f"{value:.2g}" for value in shown])
    top = max(1.25 * float(loss.max()), LEAST_LOSS)
    axes.set_ylim(-0.08 * top, top)
    axes.set_xlabel(NAMES[one.name], fontsize=NORMAL, color=INK)
    axes.set_ylabel(LOSS, fontsize=SMALL, color=INK)
    style_axes(axes)


def _apart(candidates: np.ndarray, *, log: bool) -> list[float]:
    """Candidates whose numbers do not touch one another on the axis."""
    places = np.log(candidates) if log else candidates
    span = max(float(places.max() - places.min()), 1e-9)
    shown: list[int] = []
    for i in range(len(candidates)):
        if not shown or places[i] - places[shown[-1]] >= NARROWEST * span:
            shown.append(i)
    return [float(candidates[i]) for i in shown]
