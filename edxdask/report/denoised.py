"""Line maps as counted and as a result expects them, and the figure that has them side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from edxdask import schema
from edxdask.errors import ParameterError
from edxdask.ops import line_map
from edxdask.ops.maps import line_weights
from edxdask.physics.lines import main_line
from edxdask.report.labels import plain, pretty_line
from edxdask.report.layers import over_exposure
from edxdask.report.maps import draw_map, extent_of
from edxdask.report.phase_maps import MOST_PANELS
from edxdask.report.style import INK, MM, NORMAL, PAGE, new_figure
from edxdask.results.collections import is_collection, shared_part

RAW = "as counted"
TOP, TOP_RAW = 99.8, 98.0  # percentiles that get the brightest colour, of the denoised and the counted map
_BAR, _TITLE = 20 * MM, 9 * MM


def lines_on(cube: xr.Dataset, lines: Sequence[str]) -> list[str]:
    """Lines whose windows, background included, lie on the energy axis of a cube.

    Examples
    --------
    >>> import edxdask
    >>> lines_on(edxdask.simulate(shape=(4, 4)), ["Mg_Ka", "Mo_Ka"])
    ['Mg_Ka']
    """
    found = []
    for line in lines:
        try:
            line_weights(cube, line)
        except ParameterError:  # off the axis, or too near to its end
            continue
        found.append(line)
    return found


def raw_line_maps(cube: xr.Dataset, lines: Sequence[str]) -> xr.DataArray:
    """Net counts of lines as they were counted, ``(line, y, x)``; of a mosaic per exposure. Lazy."""
    return over_exposure(line_map(cube, list(lines)), cube)


def denoised_line_maps(cube: xr.Dataset, result: xr.Dataset, lines: Sequence[str]) -> xr.DataArray:
    """Net counts of lines that a result expects, ``(line, y, x)``, in the windows of ``raw_line_maps``.

    Examples
    --------
    >>> import edxdask
    >>> cube = edxdask.simulate(shape=(16, 16), counts=100)
    >>> found = edxdask.nmf(cube, phases=2, max_iter=5)
    >>> dict(denoised_line_maps(cube, found, ["Mg_Ka", "Si_Ka"]).sizes)
    {'line': 2, 'y': 16, 'x': 16}
    """
    weights = np.stack([line_weights(cube, line) for line in lines])
    spectra = result[schema.SPECTRUM].transpose(schema.PHASE, schema.ENERGY).values
    if spectra.shape[1] != weights.shape[1]:
        channels = f"{spectra.shape[1]} channels"
        raise ParameterError("result", channels, f"the {weights.shape[1]} channels of the cube")
    photons = result[schema.ABUNDANCE].transpose(schema.PHASE, ...) * result[schema.TOTAL]
    per_phase = xr.DataArray(weights @ spectra.T, dims=(schema.LINE, schema.PHASE))
    maps = xr.dot(per_phase, photons.drop_vars(schema.PHASE, errors="ignore"), dim=schema.PHASE)
    return over_exposure(maps.assign_coords({schema.LINE: list(lines)}).assign_attrs(units="counts"), cube)


def common_limits(raw: np.ndarray, denoised: Sequence[np.ndarray]) -> tuple[float, float]:
    """Give one scale for a line's map as counted and as results expect it: noise must not set it.

    Examples
    --------
    >>> common_limits(np.array([0.0, 9.0]), [np.array([0.0, 20.0])])[0]
    0.0
    """
    tops = [np.nanpercentile(raw, TOP_RAW), *(np.nanpercentile(one, TOP) for one in denoised)]
    return 0.0, max(float(max(tops)), 1e-9)


def line_maps_figure(
    cube: xr.Dataset, *, lines: Sequence[str] | None = None, title: str | None = None
) -> Figure:
    """Draw maps of lines as they were counted, above the background beside each line.

    Parameters
    ----------
    cube : Dataset
        Counts of one map.
    lines : list of str, optional
        Lines such as "Mg_Ka"; None: the main line of each element that the cube lists.
    title : str, optional
        Text above all.

    Returns
    -------
    matplotlib.figure.Figure
        To show, change or save.

    Examples
    --------
    >>> import edxdask
    >>> figure = line_maps_figure(edxdask.simulate(shape=(16, 16), counts=100), lines=["Mg_Ka", "Si_Ka"])
    >>> len(figure.axes)
    2
    """
    from edxdask.report.maps import maps_figure

    wanted = lines_on(cube, main_lines(cube) if lines is None else lines)
    if not wanted:
        raise ParameterError("lines", lines, "lines on the energy axis, such as 'Mg_Ka'")
    return maps_figure(raw_line_maps(cube, wanted).compute(), label="counts", title=title)


def main_lines(cube: xr.Dataset, elements: Sequence[str] | None = None) -> list[str]:
    """Give the line of each element that its map is best made of, if the energy axis holds one."""
    wanted = cube.attrs.get(schema.ELEMENTS, ()) if elements is None else elements
    energy = cube[schema.ENERGY].values
    found = (main_line(str(e), float(energy[0]), float(energy[-1])) for e in wanted)
    return lines_on(cube, [line for line in found if line])


def denoised_figure(
    cube: xr.Dataset,
    results: xr.Dataset | Mapping[str, xr.Dataset],
    *,
    lines: Sequence[str] | None = None,
    title: str | None = None,
) -> Figure:
    """Draw line maps as counted beside those that results expect, such as the steps of an analysis.

    One row per line, all maps of a row on one scale. This is the second figure of the paper on pan-sharpening
    NMF (Nano Lett. 24 (2024) 10177).

    Parameters
    ----------
    cube : Dataset
        Counts of one map.
    results : Dataset or mapping
        One result of these counts, or several by the text above their column, from left to right.
    lines : list of str, optional
        Lines such as "Mg_Ka"; None: the main line of each element that the cube lists.
    title : str, optional
        Text above all.

    Returns
    -------
    matplotlib.figure.Figure
        To show, change or save.

    Examples
    --------
    >>> import edxdask
    >>> cube = edxdask.simulate(shape=(16, 16), counts=100)
    >>> found = edxdask.nmf(cube, phases=2, max_iter=5)
    >>> len(denoised_figure(cube, {"NMF": found}, lines=["Mg_Ka", "Si_Ka"]).axes)
    4
    """
    if is_collection(cube):
        raise ParameterError("cube", "a collection", "one map", "Pick one: tree['name'].to_dataset().")
    columns = (
        results
        if isinstance(results, Mapping) and not isinstance(results, xr.Dataset)
        else {"denoised": results}
    )
    wanted = lines_on(cube, main_lines(cube) if lines is None else lines)
    if not wanted or len(wanted) * (len(columns) + 1) > MOST_PANELS:
        raise ParameterError(
            "lines", lines, f"lines on the energy axis, for at most {MOST_PANELS} maps in all"
        )
    stacks = {RAW: raw_line_maps(cube, wanted).compute()}
    stacks |= {
        name: denoised_line_maps(cube, shared_part(one), wanted).compute() for name, one in columns.items()
    }
    height, width = extent_of(stacks[RAW][0])
    across = len(stacks)
    page = min(PAGE, across * 70 * MM)
    cell = max((page / across - _BAR) * min(height / width, 3.0), 12 * MM) + _TITLE
    figure = new_figure(page, len(wanted) * cell + (_TITLE if title else 0))
    if title:
        figure.suptitle(plain(title), fontsize=NORMAL + 1, color=INK, x=0.015, ha="left")
    for row, line in enumerate(wanted):
        limits = common_limits(
            stacks[RAW][row].values, [one[row].values for n, one in stacks.items() if n != RAW]
        )
        for column, (name, stack) in enumerate(stacks.items()):
            axes = figure.add_subplot(len(wanted), across, row * across + column + 1)
            label = "counts" if column + 1 == across else ""
            text = f"{pretty_line(line)}, {name}"
            draw_map(figure, axes, stack[row], title=text, label=label, colors="magma", limits=limits)
    return figure
