"""Slices of a volume: three planes through its richest place, all phases in one image, and each alone."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure, FigureBase
from matplotlib.patches import Patch

from edxdask import schema
from edxdask.errors import ParameterError
from edxdask.io.export.target import axis_of
from edxdask.report.labels import plain
from edxdask.report.maps import MapPanel, draw_scale_bar
from edxdask.report.phase_colors import fading, mixed, phase_colors
from edxdask.report.rendered import draw_rendered
from edxdask.report.style import FAINT, INK, MM, PAGE, SMALL, draw_title, new_figure, whole_of
from edxdask.report.volume_overview import VolumeOverview, overview_of, plane_of
from edxdask.results.volumes import VOXELS, is_fraction
from edxdask.results.voxels import voxel_grid

FRACTION = "fraction"
LEGEND, TITLE, NAME = 8 * MM, 8 * MM, 6 * MM
LEAST_HEIGHT, MOST_HEIGHT = 55 * MM, 190 * MM
MOST_PIXELS = 1024  # of a plane along each side


def slices_figure(
    volume: xr.Dataset,
    *,
    place: Mapping[str, float] | None = None,
    overview: VolumeOverview | None = None,
    title: str | None = None,
) -> Figure:
    """Draw three planes that meet at one place with all phases, the rendered volume, and each phase alone.

    Parameters
    ----------
    volume : Dataset
        What ``tomography`` gave.
    place : mapping, optional
        Coordinates of the planes, by ``z``, ``y`` and ``x``; None: where the volume holds most of all phases.
    overview : VolumeOverview, optional
        The reduced volume, if it was read before.
    title : str, optional
        Text above all.

    Returns
    -------
    matplotlib.figure.Figure
        To show, change or save.

    Notes
    -----
    *Chunks*: all are read once for the rendered picture; then those of three planes.
    """
    reduced = overview_of(volume) if overview is None else overview
    layers = layers_at(volume, place, reduced)
    colors = phase_colors(reduced.labels)
    panel = _phase_panel(volume, layers, reduced)
    top = _height_of_planes(volume)
    figure = new_figure(PAGE, top + LEGEND + panel.height + (TITLE if title else 0))
    draw_title(figure, title)
    above, below = figure.subfigures(2, 1, height_ratios=[top + LEGEND, panel.height], squeeze=False)[:, 0]
    _draw_planes(above, volume, layers, reduced, colors)
    panel.draw(below)
    for axes, color in zip(below.axes, colors.values(), strict=False):
        axes.images[0].set_cmap(fading(color))
    return whole_of(above)


def planes_figure(
    volume: xr.Dataset,
    *,
    place: Mapping[str, float] | None = None,
    overview: VolumeOverview | None = None,
    title: str | None = None,
) -> Figure:
    """Draw only the three planes and the rendered volume; parameters as in ``slices_figure``."""
    reduced = overview_of(volume) if overview is None else overview
    layers = layers_at(volume, place, reduced)
    figure = new_figure(PAGE, _height_of_planes(volume) + LEGEND + (TITLE if title else 0))
    draw_title(figure, title)
    _draw_planes(figure, volume, layers, reduced, phase_colors(reduced.labels))
    return figure


def layers_at(
    volume: xr.Dataset, place: Mapping[str, float] | None, overview: VolumeOverview
) -> dict[str, int]:
    """Find the plane along each axis: at a place, or where the volume holds most of all phases.

    Raises
    ------
    ParameterError
        If the place is not in the volume.
    """
    richest = dict(zip(VOXELS, overview.richest(volume[schema.VOLUME].shape[1:]), strict=True))
    for dim, value in (place or {}).items():
        if dim not in VOXELS:
            raise ParameterError("place", dict(place or {}), "coordinates by 'z', 'y' or 'x'")
        axis = axis_of(volume[schema.VOLUME], dim)
        step = abs(axis.scale or 1.0)
        low, high = float(axis.values.min()) - step / 2, float(axis.values.max()) + step / 2
        if not low <= value <= high:
            raise ParameterError("place", dict(place or {}), f"{dim} within {low:.4g} to {high:.4g}")
        richest[dim] = int(np.argmin(np.abs(axis.values - value)))
    return richest


def _height_of_planes(volume: xr.Dataset) -> float:
    """Height of the planes: the wide one above, the flat one below, to one scale."""
    grid = voxel_grid(volume)
    depth, rows, columns = (n * s for n, s in zip(grid.shape, grid.sides, strict=True))
    height = PAGE / (columns + depth) * (rows + depth) + 2 * NAME
    return float(np.clip(height, LEAST_HEIGHT, MOST_HEIGHT))


def _draw_planes(
    figure: FigureBase,
    volume: xr.Dataset,
    layers: Mapping[str, int],
    overview: VolumeOverview,
    colors: Mapping[str, str],
) -> None:
    """Plane of the image above left, seen from the side beside it, from below under it; then the picture."""
    grid = voxel_grid(volume)
    depth, rows, columns = (n * s for n, s in zip(grid.shape, grid.sides, strict=True))
    beside, under = max(depth, 0.5 * columns), max(depth, 0.5 * rows)
    panels = figure.subplots(2, 2, width_ratios=[columns, beside], height_ratios=[rows, under])
    for axes, along, flat in (
        (panels[0, 0], schema.Z, False),
        (panels[0, 1], schema.X, True),
        (panels[1, 0], schema.Y, False),
    ):
        _draw_plane(figure, axes, volume, along, layers, list(colors.values()), overview, turned=flat)
    draw_rendered(figure, panels[1, 1], overview)
    figure.legend(
        handles=[Patch(facecolor=color, label=plain(name)) for name, color in colors.items()],
        loc="outside lower left",
        fontsize=SMALL,
        frameon=False,
        labelcolor=INK,
        ncols=min(len(colors), 6),
    )


def _draw_plane(
    figure: FigureBase,
    axes: Axes,
    volume: xr.Dataset,
    along: str,
    layers: Mapping[str, int],
    colors: list[str],
    overview: VolumeOverview,
    *,
    turned: bool,
) -> None:
    plane = plane_of(volume, along, layers[along])
    plane = plane / overview.full[:, None, None]
    if turned:  # y stays upright beside the image
        plane = plane.transpose(schema.PHASE, schema.Y, schema.Z)
    rows, columns = (str(d) for d in plane.dims[1:])
    step = max(1, -(-max(plane.shape[1:]) // MOST_PIXELS))
    height, width = (_extent(volume, d) for d in (rows, columns))
    axes.imshow(
        mixed(plane.values[:, ::step, ::step], colors),
        extent=(0.0, width, height, 0.0),
        interpolation="auto",
        interpolation_stage="data",
    )
    for dim, draw in ((columns, axes.axvline), (rows, axes.axhline)):
        spans = {"ymin": 0.96} if dim == columns else {"xmax": 0.04}
        draw((layers[dim] + 0.5) * _side(volume, dim), color=INK, linewidth=0.8, **spans)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_color(FAINT)
        spine.set_linewidth(0.5)
    axes.set_xlabel(columns, fontsize=SMALL, color=FAINT, style="italic", labelpad=2)
    axes.set_ylabel(rows, fontsize=SMALL, color=FAINT, style="italic", labelpad=2, rotation=0)
    axes.set_title(_plane_name(volume, along, layers[along]), fontsize=SMALL, color=INK, loc="left", pad=3)
    axes.set_anchor("NW")
    draw_scale_bar(figure, axes, voxel_grid(volume).unit, width)


def _plane_name(volume: xr.Dataset, along: str, layer: int) -> str:
    grid = voxel_grid(volume)
    if grid.unit == schema.PIXEL_UNIT or along not in volume.coords:
        return f"{along} layer {layer}"
    return f"{along} = {float(volume[along].values[layer]):.4g} {grid.unit}"


def _side(volume: xr.Dataset, dim: str) -> float:
    return voxel_grid(volume).sides[VOXELS.index(dim)]


def _extent(volume: xr.Dataset, dim: str) -> float:
    return volume.sizes[dim] * _side(volume, dim)


def _phase_panel(volume: xr.Dataset, layers: Mapping[str, int], overview: VolumeOverview) -> MapPanel:
    """Each phase alone, in the largest plane."""
    along = min((schema.Z, schema.Y, schema.X), key=lambda dim: _extent(volume, dim))
    plane = plane_of(volume, along, layers[along])
    plane = plane.clip(0.0, 1.0) if is_fraction(volume) else plane  # an iteration may end a little above
    named = [(label, plane[i]) for i, label in enumerate(overview.labels)]
    if is_fraction(volume):
        return MapPanel(named, label=FRACTION, limits=(0.0, 1.0))
    return MapPanel(named, label="photons per voxel")
