"""The figure of any data: cube, phases, components, clusters, found elements, compositions."""

from __future__ import annotations

from collections.abc import Sequence

import dask
import numpy as np
import xarray as xr
from matplotlib.figure import Figure, SubFigure

from edxdask import schema
from edxdask.errors import ParameterError
from edxdask.ops import sum_spectrum, total_map
from edxdask.report.drift import drift_figure
from edxdask.report.elements import elements_figure
from edxdask.report.figures import draw_sum_spectrum, height_of_sum, sum_spectrum_figure
from edxdask.report.layers import over_exposure
from edxdask.report.lines import label_lines
from edxdask.report.maps import MapPanel, maps_figure
from edxdask.report.masks import masks_figure
from edxdask.report.openness import openness_figure
from edxdask.report.placement_figure import placement_figure
from edxdask.report.quantified import quantified_figure
from edxdask.report.spectra import SpectrumRow, draw_spectra, height_of
from edxdask.report.style import INK, NORMAL, PAGE, new_figure, whole_of
from edxdask.report.traces import profile_figure, traces_figure, verdicts_figure
from edxdask.report.volume_figures import FIGURES as OF_VOLUMES
from edxdask.report.volume_figures import figures_of_volume, volume_figure
from edxdask.results.check import check_result, labels_of
from edxdask.results.collections import Data, cubes_in, is_collection, nodes_of, shared_part
from edxdask.results.kinds import Kind, kind_of, said

MOST_PANELS = 60  # maps or graphs on one figure: a picture has too few pixels for more
TITLE_ROOM = 0.3  # inches
PHOTONS = "photons per pixel"
MAPS = {Kind.PHASES: schema.ABUNDANCE, Kind.COMPONENTS: schema.SCORE, Kind.CLUSTERS: schema.LABEL}


OF_MAPS = ("maps", "spectra", "fit", "ranges", "masks", "placement", "drift")
MAPS_FIGURE, SPECTRA_FIGURE, FIT_FIGURE, RANGES_FIGURE, MASKS_FIGURE, PLACEMENT_FIGURE, DRIFT_FIGURE = OF_MAPS
FIGURES = (*OF_MAPS, *(name for name in OF_VOLUMES if name not in OF_MAPS))


def figures_of(data: Data) -> tuple[str, ...]:
    """Name the figures that ``plot`` can draw of the data.

    Examples
    --------
    >>> import edxdask
    >>> figures_of(edxdask.simulate(shape=(8, 8), counts=20))
    ('maps', 'spectra')
    """
    kind = kind_of(data)
    if kind is Kind.CUBE or kind in MAPS:
        shared = shared_part(data) if kind is Kind.PHASES else {}
        fit = (FIT_FIGURE,) if schema.FIT_COUNTS in shared else ()
        ranges = (RANGES_FIGURE,) if schema.COMPOSITION_LOW in shared else ()
        masks = (MASKS_FIGURE,) if schema.SPECTRUM_SUBTRACTED in shared else ()
        placed = (PLACEMENT_FIGURE,) if schema.TILE_POSITION in data else ()
        path = (DRIFT_FIGURE,) if schema.DRIFT in data and not is_collection(data) else ()
        return (MAPS_FIGURE, SPECTRA_FIGURE, *fit, *ranges, *masks, *placed, *path)
    if kind is Kind.VOLUME and not is_collection(data):
        return figures_of_volume(data)
    if kind is Kind.QUANTIFIED:
        return (MAPS_FIGURE,) if _is_per_pixel(data) else (FIT_FIGURE,)
    return (FIT_FIGURE,) if kind is Kind.CANDIDATES else ()


def plot(data: Data, *, figure: str | None = None, title: str | None = None) -> Figure:
    """Draw a cube or a result.

    Phases and components: their maps, and below them their spectra. A cube: its photons per pixel and its sum
    spectrum with the lines of its elements; a collection of cubes: the sum spectra. Found elements and
    compositions: the fit, residuals and named lines; compositions of every pixel: their maps. Traces: their
    SNR against the pixels summed, and amounts by map; verdicts on maps: how far each is from the others; a
    profile: compositions against distance. Volumes: three planes, surfaces of the phases, and each phase.

    Parameters
    ----------
    data : Dataset or DataTree
        Cube, result, or collection of either.
    figure : {"maps", "spectra", "fit", "ranges", "masks", "placement", "drift", "slices", "rendered", \
            "sizes", "tilts"}, optional
        One part: maps of phases (of photons, for a cube), spectra, what ``quantify`` fitted to the phases,
        the ranges that compositions may lie in, the masks that ``aided`` made, where the maps of a mosaic
        lie, or the path of frames; of a volume its planes, its surfaces, the sizes of its particles, or what
        each tilt gave.
        None: the figure above.
    title : str, optional
        Text above all; None: the title that the data carry.

    Returns
    -------
    matplotlib.figure.Figure
        To show, change, or save with ``figure.savefig(...)``.

    Notes
    -----
    Reads what it draws: of a cube, all counts once.

    Examples
    --------
    >>> import edxdask
    >>> figure = plot(edxdask.simulate(shape=(8, 8), counts=20))
    >>> type(figure).__name__
    'Figure'
    """
    kind = kind_of(data)
    text = title or data.attrs.get(schema.TITLE)
    _check_figure(data, figure)
    if figure == PLACEMENT_FIGURE and isinstance(data, xr.Dataset):
        return placement_figure(data, title=text)
    if isinstance(data, xr.Dataset) and figure == DRIFT_FIGURE:
        return drift_figure(data, title=text)
    if kind is Kind.VOLUME and not is_collection(data):
        return volume_figure(data, figure, title=text)
    if kind is Kind.CUBE:
        return _cubes(cubes_in(data), figure, text)
    if kind in MAPS:
        check_result(data)
        if figure == FIT_FIGURE:
            return quantified_figure(data, title=text)
        if figure == RANGES_FIGURE:
            return openness_figure(data)
        if figure == MASKS_FIGURE:
            return masks_figure(data, title=text)
        return _maps_and_spectra(data, kind, figure, text)
    if kind is Kind.CANDIDATES and not is_collection(data):
        return elements_figure(data, title=text)
    if kind is Kind.QUANTIFIED:
        if isinstance(data, xr.Dataset) and _is_per_pixel(data):
            return maps_figure(_per_pixel(data), title=text)
        return quantified_figure(data, title=text)
    if kind in (Kind.TRACES, Kind.VERDICTS, Kind.PROFILE) and not is_collection(data):
        drawn = {Kind.TRACES: traces_figure, Kind.VERDICTS: verdicts_figure, Kind.PROFILE: profile_figure}
        return drawn[kind](data, title=text)
    raise ParameterError("data", said(data), "a cube, a result, or a collection of either")


def _check_figure(data: Data, figure: str | None) -> None:
    """Refuse a figure that these data do not have."""
    have = figures_of(data)
    if figure is None or figure in have or not have:
        return
    fix = "edxdask.quantify(result) fits the phases." if figure == FIT_FIGURE else ""
    expected = f"{' or '.join(map(repr, have))}, which {kind_of(data).value} has"
    raise ParameterError("figure", figure, expected, fix)


def _is_per_pixel(data: Data) -> bool:
    """Whether compositions are those of every pixel."""
    return schema.ELEMENT in data and schema.FIT_COUNTS not in data and not is_collection(data)


def _per_pixel(data: xr.Dataset) -> xr.DataArray:
    found = data[schema.COMPOSITION]
    if found.ndim != 3:
        raise ParameterError("data", dict(found.sizes), "compositions of pixels over y and x")
    return found.transpose(schema.ELEMENT, ...).compute()


def _cubes(cubes: dict[str, xr.Dataset], figure: str | None, title: str | None) -> Figure:
    valid = {name: schema.validate_cube(cube, name=name or "data") for name, cube in cubes.items()}
    _check_number(len(valid))
    if figure == MAPS_FIGURE:
        totals = dask.compute(*(_photons(cube) for cube in valid.values()))
        names = [name or PHOTONS for name in valid]
        maps = [(name, one) for name, one in zip(names, totals, strict=True) if one.ndim == 2]
        if not maps:
            raise ParameterError("figure", figure, "pixels over y and x, for maps")
        return _panels(maps, [], title)
    if len(valid) > 1:
        sums = dask.compute(*(sum_spectrum(cube) for cube in valid.values()))
        rows = [_row(name, one) for name, one in zip(valid, sums, strict=True)]
        return _panels([], rows, title)
    (cube,) = valid.values()
    photons, spectrum = dask.compute(_photons(cube), sum_spectrum(cube))
    energy = spectrum[schema.ENERGY].values
    lines = label_lines(cube.attrs.get(schema.ELEMENTS, ()), float(energy[0]), float(energy[-1]))
    if photons.ndim != 2 or figure == SPECTRA_FIGURE:
        return sum_spectrum_figure(spectrum, lines=lines, title=title)
    panel = MapPanel([(PHOTONS, photons)], columns=2)
    heights = [panel.height, height_of_sum(lines)]
    above, below = _parts(heights, title)
    panel.draw(above)
    draw_sum_spectrum(below, spectrum, lines=lines)
    return whole_of(above)


def _photons(cube: xr.Dataset) -> xr.DataArray:
    return over_exposure(total_map(cube), cube)


def _row(name: str, spectrum: xr.DataArray) -> SpectrumRow:
    return SpectrumRow(name, spectrum[schema.ENERGY].values, np.asarray(spectrum.values, dtype=float))


def _maps_and_spectra(data: Data, kind: Kind, figure: str | None, title: str | None) -> Figure:
    shared = shared_part(data)
    name = schema.LOADING if kind is Kind.COMPONENTS else schema.SPECTRUM
    labels = labels_of(data)
    spectra = shared[name].transpose(..., schema.ENERGY)
    rows = [_row(label, spectra[i]) for i, label in enumerate(labels)]
    maps = [
        panel
        for path, one in nodes_of(data)[1]
        if MAPS[kind] in one
        for panel in _named_maps(one[MAPS[kind]], labels, path)
    ]
    _check_number(len(maps))
    if figure == MAPS_FIGURE and not maps:
        raise ParameterError("figure", figure, "a result over pixels y and x, for maps")
    return _panels([] if figure == SPECTRA_FIGURE else maps, [] if figure == MAPS_FIGURE else rows, title)


def _named_maps(array: xr.DataArray, labels: Sequence[str], path: str) -> list[tuple[str, xr.DataArray]]:
    """List the maps of one map of a result, by label; none where pixels are not (y, x)."""
    dim = next((d for d in (schema.PHASE, schema.COMPONENT) if d in array.dims), None)
    if dim is None:
        return [(path or "cluster", array.where(array >= 0).compute())] if array.ndim == 2 else []
    if array.ndim != 3:
        return []
    stack = array.transpose(dim, ...).compute()
    if dim == schema.COMPONENT:  # counts of either sign: drawn as counts, all below zero would be black
        stack = stack.assign_attrs(units="1")
    return [(f"{path}, {label}" if path else label, stack[i]) for i, label in enumerate(labels)]


def _check_number(panels: int) -> None:
    if panels > MOST_PANELS:
        raise ParameterError(
            "data",
            f"{panels} maps to draw",
            f"at most {MOST_PANELS}",
            "Take one: tree['name'].to_dataset().",
            typed_fix="Take one map of the collection: STORE/NAME, with a name that edxdask info shows.",
        )


def _panels(
    maps: Sequence[tuple[str, xr.DataArray]], rows: Sequence[SpectrumRow], title: str | None
) -> Figure:
    """Draw maps above and spectra below, or one of them."""
    # half a page is wide enough for a lone map
    panel = MapPanel(maps, columns=2 if len(maps) == 1 else None) if maps else None
    parts = _parts([*([panel.height] if panel else []), *([height_of(rows)] if rows else [])], title)
    if panel:
        panel.draw(parts[0])
    if rows:
        draw_spectra(parts[-1], rows)
    return whole_of(parts[0])


def _parts(heights: Sequence[float], title: str | None) -> list[SubFigure]:
    """Divide a new figure into parts, one above another."""
    figure = new_figure(PAGE, sum(heights) + (TITLE_ROOM if title else 0))
    if title:
        figure.suptitle(title, fontsize=NORMAL + 1, color=INK, x=0.015, ha="left")
    return list(figure.subfigures(len(heights), 1, height_ratios=list(heights), squeeze=False)[:, 0])
