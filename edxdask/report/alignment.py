"""The figure of an alignment: how the projections of a tilt series moved, and how well others fit."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from edxdask import schema
from edxdask.errors import ParameterError
from edxdask.report.style import (
    FAINT,
    INK,
    MM,
    PAGE,
    PALETTE,
    SMALL,
    draw_title,
    new_figure,
    style_axes,
)
from edxdask.results.kinds import said

_HEIGHT = 62 * MM
NAMED_ABOVE = 2.0  # times the usual misfit: tilts that are named


def alignment_figure(found: xr.Dataset, *, title: str | None = None) -> Figure:
    """Draw the moves of all projections over their tilts, with standard errors, and what is left of each.

    Parameters
    ----------
    found : Dataset
        What ``align_tilts`` gave, or a volume, which holds the moves too.
    title : str, optional
        Text above.

    Examples
    --------
    >>> moves = {name: ("tilt", [0.1, -0.2, 0.3]) for name in ("tilt_shift_y", "tilt_shift_x")}
    >>> len(alignment_figure(xr.Dataset(moves, {"tilt": [-10.0, 0.0, 10.0]})).axes)
    1
    """
    missing = [name for name in (schema.TILT_SHIFT_Y, schema.TILT_SHIFT_X) if name not in found]
    if missing or schema.TILT not in found.coords:
        raise ParameterError("found", said(found), "an alignment, as edxdask.align_tilts gives it")
    figure = new_figure(PAGE, _HEIGHT)
    with_misfit = schema.TILT_MISFIT in found
    panels = figure.subplots(1, 1 + with_misfit, width_ratios=(1.6, 1)[: 1 + with_misfit], squeeze=False)[0]
    _draw_moves(panels[0], found)
    if with_misfit:
        _draw_misfit(panels[1], found)
    draw_title(figure, title or alignment_text(found))
    return figure


def alignment_text(found: xr.Dataset) -> str:
    """Sum an alignment up in one line.

    Examples
    --------
    >>> moves = {name: ("tilt", [1.0, -2.0, 1.0]) for name in ("tilt_shift_y", "tilt_shift_x")}
    >>> alignment_text(xr.Dataset(moves, {"tilt": [-10.0, 0.0, 10.0]}))
    '3 tilts moved by up to 2.0 px along y, 2.0 px along x'
    """
    most = [float(np.abs(found[name].values).max()) for name in (schema.TILT_SHIFT_Y, schema.TILT_SHIFT_X)]
    text = (
        f"{found.sizes[schema.TILT]} tilts moved by up to {most[0]:.1f} px along y, {most[1]:.1f} px along x"
    )
    if schema.TILT_ROTATION in found:
        angle = float(found[schema.TILT_ROTATION].mean())
        name = schema.TILT_ROTATION + schema.STD_SUFFIX
        error = float(found[name].mean()) if name in found else 0.0
        text += f", axis at {angle:.2f}°" + (f" ± {error:.2f}°" if error else "")
    if found.attrs.get(schema.ALIGNED_ON):
        text += f"; aligned on {found.attrs[schema.ALIGNED_ON]}"
    cuts = found.attrs.get(schema.FIELD_CUTS)
    return text + (f"; the field cuts the object along {' and '.join(cuts)}" if cuts else "")


def _draw_moves(axes: Axes, found: xr.Dataset) -> None:
    tilts = found[schema.TILT].values
    for name, label, color in (
        (schema.TILT_SHIFT_Y, schema.Y, PALETTE[0]),
        (schema.TILT_SHIFT_X, schema.X, PALETTE[1]),
    ):
        error = found.get(name + schema.STD_SUFFIX)
        axes.errorbar(
            tilts,
            found[name].values,
            None if error is None else error.values,
            fmt="o-",
            ms=3,
            lw=0.9,
            color=color,
            label=label,
        )
    axes.axhline(0.0, color=FAINT, lw=0.6, zorder=0)
    _label(axes, "move of the projection (px)")
    axes.legend(frameon=False, fontsize=SMALL)


def _draw_misfit(axes: Axes, found: xr.Dataset) -> None:
    tilts, misfit = found[schema.TILT].values, found[schema.TILT_MISFIT].values
    odd = misfit > NAMED_ABOVE
    axes.plot(tilts[~odd], misfit[~odd], "o", ms=3, color=PALETTE[0])
    axes.plot(tilts[odd], misfit[odd], "x", ms=5, color=INK, label="not explained by the others")
    axes.axhline(1.0, color=FAINT, lw=0.6, zorder=0)
    axes.set_ylim(bottom=0.0)
    _label(axes, "misfit over the usual one")
    if odd.any():
        axes.legend(frameon=False, fontsize=SMALL)


def _label(axes: Axes, up: str) -> None:
    style_axes(axes)
    axes.set_xlabel("tilt (°)", fontsize=SMALL, color=INK)
    axes.set_ylabel(up, fontsize=SMALL, color=INK)
