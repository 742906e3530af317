"""The path of a drift, as a graph over the frames and on the plane."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from edxdask.report.style import FAINT, INK, MM, PAGE, PALETTE, SMALL, draw_title, new_figure, style_axes
from edxdask.schema import AXIS, BAD_FRAMES, DRIFT, DRIFT_IMAGE, FRAME, STD_SUFFIX, X, Y

_HEIGHT = 65 * MM
_BAND = 2.0  # standard errors of the band around the path


def drift_figure(cube: xr.Dataset, *, title: str | None = None) -> Figure:
    """Draw the path of an aligned map: moves along y and x over the frames, and in the plane.

    Parameters
    ----------
    cube : Dataset
        Aligned map, with ``drift`` and ``drift_std``.
    title : str, optional
        Text above.
    """
    figure = new_figure(PAGE, _HEIGHT)
    over_time, plane = figure.subplots(1, 2, width_ratios=(1.6, 1))
    path, std = (cube[name].transpose(FRAME, AXIS).values for name in (DRIFT, DRIFT + STD_SUFFIX))
    frames = np.asarray(cube[FRAME].values)
    bad = np.isin(frames, cube.attrs.get(BAD_FRAMES, []))
    for axis, name, color in ((0, Y, PALETTE[0]), (1, X, PALETTE[1])):
        over_time.fill_between(
            frames,
            path[:, axis] - _BAND * std[:, axis],
            path[:, axis] + _BAND * std[:, axis],
            color=color,
            alpha=0.25,
            linewidth=0,
        )
        over_time.plot(frames, path[:, axis], color=color, linewidth=1.2, label=name)
        over_time.plot(frames[bad], path[bad, axis], "x", color=INK, markersize=5)
    plane.plot(path[:, 1], path[:, 0], color=FAINT, linewidth=0.8)
    plane.scatter(path[~bad, 1], path[~bad, 0], c=frames[~bad], s=10, cmap="viridis", zorder=3)
    plane.plot(path[bad, 1], path[bad, 0], "x", color=INK, markersize=5, label="bad frames")
    plane.set_aspect("equal", adjustable="datalim")
    plane.invert_yaxis()  # as on the map, y points down
    _label(over_time, "frame", "move of the sample (px)")
    over_time.set_title(f"registered on {cube.attrs.get(DRIFT_IMAGE, 'frames')}", fontsize=SMALL, color=INK)
    _label(plane, "x (px)", "y (px)")
    over_time.legend(frameon=False, fontsize=SMALL)
    if bad.any():
        plane.legend(frameon=False, fontsize=SMALL)
    draw_title(figure, title)
    return figure


def _label(axes: Axes, across: str, up: str) -> None:
    style_axes(axes)
    axes.set_xlabel(across, fontsize=SMALL, color=INK)
    axes.set_ylabel(up, fontsize=SMALL, color=INK)
