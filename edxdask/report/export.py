"""Anything to a file: cubes, spectra, maps, results and collections, by the suffix of the file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, overload

import xarray as xr

from edxdask import schema
from edxdask.errors import ParameterError
from edxdask.progress import ProgressOption, shown
from edxdask.report.layers import PYRAMIDS, images_of, write_layers
from edxdask.report.volume_export import (
    MRC,
    VOLUME_FORMATS,
    has_voxels,
    names_of_volumes,
    write_statistics,
    write_volume,
)
from edxdask.results.check import check_result, labels_of
from edxdask.results.collections import Data, cubes_in, is_collection, nodes_of, shared_part
from edxdask.results.kinds import Kind, kind_of, said

PICTURES = ("png", "pdf", "svg")
TABLES = ("csv", "json", "txt")
SPECTRA = ("msa",)
STACKS = ("tiff",)
CUBES = ("hspy", "rpl")
SIGNALS = ("hspy",)  # of results: with their decomposition
ALIASES = {"ome.tif": "ome.tiff", "tif": "tiff", "raw": "rpl", "emsa": "msa"}
OFFERED: Mapping[Kind, tuple[str, ...]] = {
    Kind.CUBE: (*CUBES, *PYRAMIDS, *SPECTRA, "csv", *PICTURES),
    Kind.PHASES: (*PICTURES, *TABLES, *STACKS, *PYRAMIDS, *SPECTRA, *SIGNALS),
    Kind.COMPONENTS: (*PICTURES, *TABLES, *STACKS, *PYRAMIDS, *SPECTRA, *SIGNALS),
    Kind.CLUSTERS: (*PICTURES, *TABLES, *STACKS, *PYRAMIDS, *SPECTRA),
    Kind.CANDIDATES: (*PICTURES, *TABLES),
    Kind.QUANTIFIED: (*PICTURES, *TABLES),
    Kind.TRACES: (*PICTURES, *TABLES),
    Kind.VERDICTS: (*PICTURES, *TABLES),
    Kind.PROFILE: (*PICTURES, *TABLES),
    Kind.VOLUME: (*VOLUME_FORMATS, *PICTURES, *TABLES, *SPECTRA),
}
CUBE_HINT = "For others, make a spectrum or a map of it: ds.edx.sum_spectrum(), ds.edx.line_map('Mg_Ka')."
ARRAYS = (*SPECTRA, "csv", *STACKS, *PYRAMIDS, *PICTURES)
MAPS = {Kind.PHASES: schema.ABUNDANCE, Kind.COMPONENTS: schema.SCORE, Kind.CLUSTERS: schema.LABEL}


@overload
def export(
    data: xr.DataArray,
    path: str | Path,
    *,
    format: str | None = None,
    overwrite: bool = False,
    progress: ProgressOption = None,
    figure: str | None = None,
) -> Path: ...
@overload
def export(
    data: xr.Dataset | xr.DataTree,
    path: str | Path,
    *,
    format: str | None = None,
    overwrite: bool = False,
    progress: ProgressOption = None,
    figure: str | None = None,
) -> Path | list[Path]: ...
def export(
    data: xr.DataArray | xr.Dataset | xr.DataTree,
    path: str | Path,
    *,
    format: str | None = None,
    overwrite: bool = False,
    progress: ProgressOption = None,
    figure: str | None = None,
) -> Path | list[Path]:
    """Write a cube, a result, a spectrum or a map in the format its suffix names, whole or not at all.

    ====================  =================================================================================
    what                  suffixes
    ====================  =================================================================================
    cube                  ``.hspy`` (default), ``.rpl``; its sum spectrum: ``.msa``, ``.csv``; drawn:
                          ``.png``, ``.pdf``, ``.svg``
    result                drawn, maps above spectra: ``.png``, ``.pdf``, ``.svg``; its table: ``.csv``,
                          ``.json``, ``.txt``; its maps as a stack: ``.tiff``; its spectra: ``.msa``;
                          the counts it expects, with its decomposition, for HyperSpy: ``.hspy``
    found elements,       the fit, drawn: ``.png``, ``.pdf``, ``.svg``; the table: ``.csv``, ``.json``,
    compositions          ``.txt``
    spectrum, spectra     ``.msa`` (one spectrum), ``.csv``, ``.png``, ``.pdf``, ``.svg``
    map, stack of maps    ``.tiff``, ``.csv`` (one map), ``.png``, ``.pdf``, ``.svg``
    images of any map,    with levels of half size for viewers of large images: ``.ome.tiff``,
    result or mosaic      ``.ome.zarr``
    volumes               ``.mrc`` (one file for each phase), ``.ome.tiff``, ``.ome.zarr``; drawn: ``.png``,
                          ``.pdf``, ``.svg``; particles: ``.csv``; phases and particles: ``.json``;
                          phases: ``.txt``; spectra: ``.msa``
    ====================  =================================================================================

    Parameters
    ----------
    data : Dataset, DataTree or DataArray
        Cube, result, collection of either, spectrum ``(energy)``, map ``(y, x)`` or stack ``(any, …)`` of
        these.
    path : str or Path
        Target. Where a format holds one thing and there are several (phases in ``.msa`` and ``.mrc``, maps
        of a collection in ``.hspy``), each goes to a separate file with its name added: ``spectra_Fp.msa``.
    format : str, optional
        Suffix of the format, if ``path`` has another.
    overwrite : bool
        Replace an existing file.
    progress : callable, bool or None
        None shows a bar in a terminal and in a notebook; False shows nothing; a callable is called after
        every block of a cube.
    figure : str, optional
        Which figure of a cube, result, volume or collection a picture holds, as in ``plot``.

    Returns
    -------
    Path or list of Path
        The file written; a list where there are several.

    Notes
    -----
    *Chunks*: a cube is read chunk by chunk, each once, one in memory at a time; of a volume, one layer of
    chunks.

    Examples
    --------
    >>> import tempfile, edxdask
    >>> ds = edxdask.simulate(shape=(4, 4), counts=20)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     export(ds, folder + "/sum.msa").name, export(ds.edx.total_map(), folder + "/total.csv").name
    ('sum.msa', 'total.csv')
    """
    target = Path(path)
    asked = (format or _suffix_of(target)).lower().removeprefix(".")
    suffix = ALIASES.get(asked, asked)
    if figure is not None and (suffix not in PICTURES or isinstance(data, xr.DataArray)):
        expected = "None but for pictures (.png, .pdf, .svg) of cubes, results and collections"
        fix = f"As in export(data, {str(target.with_suffix('.png'))!r}, figure={figure!r})."
        raise ParameterError("figure", figure, expected, fix, typed_fix=f"As in {target.with_suffix('.png')}")
    if isinstance(data, xr.DataArray) and has_voxels(data):
        _check_suffix(suffix, VOLUME_FORMATS, path, format, "volumes over z, y and x")
        return _write_volumes(data, target, suffix, overwrite=overwrite, progress=progress)
    if isinstance(data, xr.DataArray) and data.name != schema.COUNTS:
        _check_suffix(suffix, ARRAYS, path, format, "a spectrum or map; whole cubes go to .hspy and .rpl")
        if suffix in PYRAMIDS and schema.ENERGY not in data.dims:
            return write_layers(images_of(data), target, suffix, overwrite=overwrite, progress=progress)
        return _write_array(data, target, suffix, data.attrs, overwrite=overwrite)
    if isinstance(data, xr.DataArray):
        data = data.to_dataset(promote_attrs=True)
    kind = kind_of(data)
    if kind not in OFFERED:
        raise ParameterError(
            "data",
            said(data),
            "a cube, a result, a spectrum or a map",
            "Pick a variable of it: data['name'].",
        )
    if kind is Kind.CUBE:
        suffix = suffix or "hspy"
        target = target if asked else target.with_suffix(".hspy")
    _check_suffix(suffix, OFFERED[kind], path, format, kind.value)
    if kind is Kind.VOLUME and suffix in VOLUME_FORMATS:
        return _write_volumes(shared_part(data), target, suffix, overwrite=overwrite, progress=progress)
    if kind is Kind.VOLUME and suffix in TABLES:
        return write_statistics(shared_part(data), target, suffix, overwrite=overwrite, progress=progress)
    if suffix in PYRAMIDS:
        return _write_pyramids(data, target, suffix, overwrite=overwrite, progress=progress)
    if suffix in PICTURES and (figure or is_collection(data) or kind is not Kind.CUBE):
        return _write_figure(data, target, figure, overwrite=overwrite)
    if kind is Kind.CUBE:
        return _write_cubes(data, target, suffix, overwrite=overwrite, progress=progress)
    if suffix in TABLES:
        from edxdask.report.tables import rows_of, write_table

        return write_table(rows_of(data), target, suffix, overwrite=overwrite)
    check_result(data)
    if suffix in SIGNALS:
        return _write_signals(data, target, overwrite=overwrite, progress=progress)
    if suffix in STACKS:
        return _write_stacks(data, MAPS[kind], target, overwrite=overwrite)
    return _write_spectra(data, target, suffix, overwrite=overwrite)


def _write_volumes(
    data: xr.Dataset | xr.DataArray, target: Path, suffix: str, *, overwrite: bool, progress: ProgressOption
) -> Path | list[Path]:
    names = names_of_volumes(data) if suffix == MRC else ("",)
    paths = [_named(target, name) for name in names]
    return _one_or_all(write_volume(data, paths, suffix, overwrite=overwrite, progress=progress))


def spectra_of(result: Data) -> xr.DataArray:
    """Spectra of phases or loadings of components, with the attributes of the result for a file's header."""
    shared = shared_part(result)
    name = schema.LOADING if schema.LOADING in shared else schema.SPECTRUM
    stack = shared[name].transpose(..., schema.ENERGY)
    dim = str(stack.dims[0])
    kept = {k: shared.attrs[k] for k in schema.ATTRIBUTES if k in shared.attrs}
    return stack.assign_coords({dim: labels_of(result)}).assign_attrs(kept).compute()


def _check_suffix(
    suffix: str, offered: tuple[str, ...], path: str | Path, format: str | None, what: str
) -> None:
    if suffix not in offered:
        name, value = ("format", format) if format else ("path", str(path))
        known = ", ".join(f".{one}" for one in offered)
        cube = what == Kind.CUBE.value
        hint, typed = CUBE_HINT if cube else "", f"As in {Path(path).with_suffix('.png')}"
        if cube:
            typed = (
                "It takes maps of lines: --map Mg_Ka"
                if suffix in STACKS
                else f"As in {Path(path).with_suffix('.hspy')}"
            )
        raise ParameterError(name, value, f"a file ending in {known}, for {what}", hint, typed_fix=typed)


def _suffix_of(path: Path) -> str:
    """Suffix of a path, both parts of one that has two.

    Examples
    --------
    >>> _suffix_of(Path("a.b/mosaic.OME.tiff")), _suffix_of(Path("map.v2.png"))
    ('.OME.tiff', '.png')
    """
    last = path.suffixes[-2:]
    return "".join(last) if last[:1] and last[0].lower() == ".ome" and len(last) == 2 else path.suffix


def _named(target: Path, name: str) -> Path:
    if not name:
        return target
    suffix = _suffix_of(target)
    return target.with_name(f"{target.name.removesuffix(suffix)}_{name.replace('/', '_')}{suffix}")


def _write_pyramids(
    data: Data, target: Path, suffix: str, *, overwrite: bool, progress: ProgressOption
) -> Path | list[Path]:
    """Images on the pixels of a map; of a collection a file for each map."""
    maps = cubes_in(data) if kind_of(data) is Kind.CUBE else dict(nodes_of(data)[1])
    paths = [
        write_layers(images_of(one), _named(target, name), suffix, overwrite=overwrite, progress=progress)
        for name, one in maps.items()
    ]
    return _one_or_all(paths)


def _one_or_all(paths: list[Path]) -> Path | list[Path]:
    return paths[0] if len(paths) == 1 else paths


def _write_cubes(
    data: Data, target: Path, suffix: str, *, overwrite: bool, progress: ProgressOption
) -> Path | list[Path]:
    """Cubes, or their sum spectra; of a collection a file for each map."""
    from edxdask.io.export import export as write
    from edxdask.ops import sum_spectrum

    paths = []
    for name, cube in cubes_in(data).items():
        schema.validate_cube(cube, name=name or "data")
        path = _named(target, name)
        if suffix in CUBES:
            paths.append(write(cube, path, format=suffix, overwrite=overwrite, progress=progress))
        else:
            spectrum = sum_spectrum(cube).compute()
            paths.append(_write_array(spectrum, path, suffix, cube.attrs, overwrite=overwrite))
    return _one_or_all(paths)


def _write_signals(
    data: Data, target: Path, *, overwrite: bool, progress: ProgressOption
) -> Path | list[Path]:
    """Write expected counts with the decomposition behind them; of a collection a file for each map."""
    from edxdask.io.export import hspy
    from edxdask.io.export.decomposition import decompositions_of

    paths = []
    with shown(progress, f"export {target.name}") as hook:
        for name, (cube, one) in decompositions_of(data).items():
            paths.append(_named(target, name))
            hspy.write(cube, paths[-1], overwrite=overwrite, progress=hook, decomposition=one)
    return _one_or_all(paths)


def _write_stacks(data: Data, variable: str, target: Path, *, overwrite: bool) -> Path | list[Path]:
    from edxdask.io.export import export as write

    maps = [(name, one[variable]) for name, one in nodes_of(data)[1] if variable in one]
    if not maps:
        raise ParameterError("data", said(data), f"a result with {variable} of its pixels")
    paths = []
    for name, array in maps:
        dims = [d for d in (schema.PHASE, schema.COMPONENT) if d in array.dims]
        stack = array.transpose(*dims, ...).compute()
        paths.append(write(stack, _named(target, name), format="tiff", overwrite=overwrite))
    return _one_or_all(paths)


def _write_spectra(data: Data, target: Path, suffix: str, *, overwrite: bool) -> Path | list[Path]:
    stack = spectra_of(data)
    dim = str(stack.dims[0])
    return _one_or_all(
        [
            _write_array(
                stack[i].rename(label), _named(target, label), suffix, stack.attrs, overwrite=overwrite
            )
            for i, label in enumerate(map(str, stack[dim].values))
        ]
    )


def _write_array(
    array: xr.DataArray, target: Path, suffix: str, attrs: Mapping[Any, Any], *, overwrite: bool
) -> Path:
    from edxdask.io.export import export as write

    if suffix in PICTURES:
        return _draw_array(array, target, attrs, overwrite=overwrite)
    return write(array, target, format=suffix, attrs=attrs, overwrite=overwrite)


def _write_figure(data: Data, target: Path, figure: str | None, *, overwrite: bool) -> Path:
    from edxdask.report.plot import plot
    from edxdask.report.style import save_figure

    return save_figure(plot(data, figure=figure), target, overwrite=overwrite)


def _draw_array(array: xr.DataArray, path: Path, attrs: Mapping[Any, Any], *, overwrite: bool) -> Path:
    from edxdask.report.figures import sum_spectrum_figure
    from edxdask.report.labels import pretty_line
    from edxdask.report.lines import label_lines
    from edxdask.report.maps import map_figure, maps_figure
    from edxdask.report.spectra import spectra_figure
    from edxdask.report.style import save_figure

    title = attrs.get(schema.TITLE)
    if schema.ENERGY in array.dims and array.ndim == 2:
        figure = spectra_figure(array, title=title)
    elif schema.ENERGY in array.dims:
        energy = array.coords[schema.ENERGY].values
        lines = label_lines(attrs.get(schema.ELEMENTS, ()), float(energy[0]), float(energy[-1]))
        figure = sum_spectrum_figure(array, lines=lines, title=title)
    elif array.ndim == 3:
        figure = maps_figure(array)
    else:
        figure = map_figure(array, title=pretty_line(str(array.name)) if array.name else None)
    return save_figure(figure, path, overwrite=overwrite)
