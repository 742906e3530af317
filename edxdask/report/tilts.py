"""What each tilt of a series gave: photons, exposure, moves, and how well the volume explains it."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from edxdask import schema
from edxdask.errors import ParameterError
from edxdask.readable import si
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

ROW, BESIDES = 27 * MM, 14 * MM
FITS, DOES_NOT = PALETTE[0], PALETTE[1]
MOST_NAMED = 6  # tilts with their angles beside the marks


def tilts_figure(volume: xr.Dataset, *, title: str | None = None) -> Figure:
    """Draw photons, exposure, moves and chi-squared against the tilt; crosses are tilts that do not fit.

    Parameters
    ----------
    volume : Dataset
        What ``tomography`` gave.
    title : str, optional
        Text above.

    Raises
    ------
    ParameterError
        If the volume says nothing of its tilts.
    """
    rows = _rows(volume)
    if not rows:
        raise ParameterError(
            "volume", sorted(map(str, volume.data_vars)), "one that says something of its tilts"
        )
    figure = new_figure(PAGE, len(rows) * ROW + BESIDES + (8 * MM if title else 0))
    draw_title(figure, title)
    panels = figure.subplots(len(rows), 1, squeeze=False, sharex=True)[:, 0]
    tilts = np.asarray(volume[schema.TILT].values, dtype=float)
    fits = _fits(volume)
    for axes, (label, series) in zip(panels, rows, strict=True):
        for name, values, color in series:
            axes.plot(tilts, values, color=color, linewidth=0.9, alpha=0.8, label=name or None)
            axes.plot(tilts[fits], values[fits], "o", color=color, markersize=3.2)
            axes.plot(tilts[~fits], values[~fits], "X", color=DOES_NOT if not name else color, markersize=6.5,
                      markeredgecolor="white", markeredgewidth=0.6)  # fmt: skip
        axes.set_ylabel(label, fontsize=SMALL, color=INK)
        if len(series) > 1:
            axes.legend(frameon=False, fontsize=SMALL, ncols=len(series), loc="best")
        style_axes(axes)
        axes.yaxis.set_major_locator(MaxNLocator(nbins=4))
    if schema.TILT_CHI2 in volume:
        _name_bad(panels[-1], tilts, volume[schema.TILT_CHI2].values, fits)
    panels[-1].set_xlabel("tilt (deg)", fontsize=SMALL, color=INK)
    figure.align_ylabels()
    return figure


def _fits(volume: xr.Dataset) -> np.ndarray:
    if schema.TILT_FITS in volume:
        return np.asarray(volume[schema.TILT_FITS].values, dtype=bool)
    return np.ones(volume.sizes[schema.TILT], bool)


def _rows(volume: xr.Dataset) -> list[tuple[str, list[tuple[str, np.ndarray, str]]]]:
    """Labels of graphs with their lines: name, values, colour."""
    rows = []
    if schema.TILT_PHOTONS in volume:
        values = np.asarray(volume[schema.TILT_PHOTONS].values, dtype=float)
        unit = si(float(values.max(initial=1.0))).strip()[-1]
        factor, text = {"k": (1e3, "10³ photons"), "M": (1e6, "10⁶ photons")}.get(unit, (1.0, "photons"))
        rows.append((text, [("", values / factor, FITS)]))
    if schema.TILT_EXPOSURE in volume:
        rows.append(("exposure", [("", volume[schema.TILT_EXPOSURE].values, FITS)]))
    moves = [
        (name, np.asarray(volume[key].values, dtype=float), color)
        for key, name, color in (
            (schema.TILT_SHIFT_X, "along x", PALETTE[0]),
            (schema.TILT_SHIFT_Y, "along y", PALETTE[2]),
        )
        if key in volume
    ]
    if moves:
        rows.append(("moves (px)", moves))
    if schema.TILT_ROTATION in volume and np.ptp(volume[schema.TILT_ROTATION].values) > 0:
        rows.append(("rotation (deg)", [("", volume[schema.TILT_ROTATION].values, FITS)]))
    if schema.TILT_CHI2 in volume:
        rows.append(("χ²", [("", volume[schema.TILT_CHI2].values, FITS)]))
    return rows


def _name_bad(axes: Axes, tilts: np.ndarray, chi2: np.ndarray, fits: np.ndarray) -> None:
    """Write the angles of tilts that do not fit beside them."""
    axes.axhline(1.0, color=FAINT, linewidth=0.8, linestyle="--")
    for tilt, value in list(zip(tilts[~fits], chi2[~fits], strict=True))[:MOST_NAMED]:
        axes.annotate(
            f"{tilt:.4g}°", (tilt, value), xytext=(6, 0), textcoords="offset points", fontsize=SMALL,
            color=DOES_NOT, va="center",
        )  # fmt: skip
