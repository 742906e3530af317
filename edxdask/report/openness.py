"""The table and the figure of what the counts leave open about the phases of a result."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from edxdask import schema
from edxdask.errors import EdxdaskError
from edxdask.report.labels import plain
from edxdask.report.style import INK, NORMAL, new_figure, style_axes
from edxdask.results.check import check_result
from edxdask.results.collections import Data, shared_part

if TYPE_CHECKING:
    import pandas as pd

LEAST_SHOWN = 0.01  # atomic fraction that an element reaches in a phase to be drawn
ROW, FRAME, WIDTH = 0.24, 0.75, 6.4  # inches


def identifiability(result: Data) -> pd.DataFrame:
    """Give what the counts leave open: the range that each element of each phase may lie in.

    Every value within a range explains the counts as well as the one that was found: it loses no more than
    2 in log-likelihood. Without elements it is the amount of every other phase, per photon, that may be less
    or more in the spectrum of a phase.

    Parameters
    ----------
    result : Dataset or DataTree
        Of ``psnmf``.

    Returns
    -------
    pandas.DataFrame
        By phase and element: at.%, the lowest and the highest value, the error from counting and the one from
        the range. Without elements by phase and other phase: less, more, and the stability of the phase.

    Raises
    ------
    EdxdaskError
        If the result has no ranges: those of ``psnmf`` have them.

    Examples
    --------
    >>> import edxdask
    >>> cube = edxdask.simulate("mantle", shape=(32, 32), counts=100)
    >>> found = edxdask.psnmf(cube, phases=2, bin=4, smooth=1.0)
    >>> edxdask.identifiability(found).columns.tolist()
    ['less', 'more', 'stability']
    """
    import pandas as pd

    root = _opened(result)
    names = [str(name) for name in root[schema.PHASE].values]
    if schema.COMPOSITION_LOW not in root:
        others = [str(name) for name in root[schema.OTHER_PHASE].values]
        less, more, stability = (root[n].values for n in (schema.REMOVABLE, schema.ADDABLE, schema.STABILITY))
        rows = [
            (name, other, less[i, j], more[i, j], stability[i])
            for i, name in enumerate(names)
            for j, other in enumerate(others)
            if i != j
        ]
        frame = pd.DataFrame(rows, columns=[schema.PHASE, "other", "less", "more", schema.STABILITY])
        return frame.set_index([schema.PHASE, "other"])
    found, low, high, spread = (
        100 * root[name].values
        for name in (
            schema.COMPOSITION, schema.COMPOSITION_LOW, schema.COMPOSITION_HIGH, schema.COMPOSITION_SPREAD,
        )
    )  # fmt: skip
    total = 100 * root[schema.COMPOSITION + schema.STD_SUFFIX].values
    counting = np.sqrt(np.maximum(total**2 - spread**2, 0.0))
    elements = [str(element) for element in root[schema.ELEMENT].values]
    index = pd.MultiIndex.from_product([names, elements], names=[schema.PHASE, schema.ELEMENT])
    columns = {
        "at.%": found, "lowest": low, "highest": high, "counting error": counting, "error from range": spread,
    }  # fmt: skip
    return pd.DataFrame({name: values.ravel() for name, values in columns.items()}, index=index)


def openness_figure(result: Data) -> Figure:
    """Draw the range of every element of every phase, with what was found in it."""
    root = _opened(result)
    if schema.COMPOSITION_LOW not in root:
        raise EdxdaskError("a result without elements has no ranges of elements; name them: elements=['Mg']")
    low, high = 100 * root[schema.COMPOSITION_LOW].values, 100 * root[schema.COMPOSITION_HIGH].values
    found = 100 * root[schema.COMPOSITION].values
    shown = [np.flatnonzero(row > 100 * LEAST_SHOWN) for row in high]
    heights = [ROW * max(len(rows), 1) + FRAME for rows in shown]
    figure = new_figure(WIDTH, sum(heights))
    axes = figure.subplots(len(shown), 1, sharex=True, height_ratios=heights, squeeze=False)[:, 0]
    for axis, name, rows, i in zip(axes, root[schema.PHASE].values, shown, range(len(shown)), strict=True):
        at = np.arange(len(rows))
        axis.hlines(at, low[i, rows], high[i, rows], color="0.7", linewidth=6)
        axis.plot(found[i, rows], at, "o", color=INK, markersize=4)
        axis.set_yticks(at, [str(root[schema.ELEMENT].values[row]) for row in rows])
        axis.set_ylim(len(rows) - 0.4, -0.6)
        axis.set_title(plain(str(name)), loc="left", fontsize=NORMAL, color=INK)
        style_axes(axis)
    axes[-1].set_xlim(0, 100)
    axes[-1].set_xlabel("at.%: found (dots), and what explains the counts equally well (bars)", color=INK)
    return figure


def _opened(result: Data) -> xr.Dataset:
    check_result(result)
    root = shared_part(result)
    if schema.STABILITY not in root:
        raise EdxdaskError("this result has no ranges; results of psnmf have them")
    return root
