"""What the report is about: data read and computed once, which sections then show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import dask
import numpy as np
import xarray as xr

from edxdask import schema
from edxdask.ops import total_map
from edxdask.ops.usable import usable_spectrum
from edxdask.report.denoised import denoised_line_maps, main_lines, raw_line_maps
from edxdask.report.misfit import SummedFit, misfit_map, summed_fit
from edxdask.report.phase_colors import phase_colors
from edxdask.report.phase_spectra import elements_named
from edxdask.report.summary import warnings_of
from edxdask.report.tables import Row, composition_rows
from edxdask.results.check import labels_of
from edxdask.results.collections import Data, cubes_in, nodes_of, shared_part
from edxdask.results.kinds import Kind, kind_of

MOST_LINES = 8  # pairs of line maps
MOST_MISFITS = 8  # maps of chi-squared of a collection
PIXELS = {schema.Y, schema.X}


@dataclass(frozen=True)
class Origin:
    """Where the data of the report are: paths as they were typed, for the lines that repeat the work."""

    data: str | None = None
    cube: str | None = None


@dataclass(frozen=True, eq=False)
class LineMaps:
    """Maps of lines of one map: as counted, and as the result expects them.

    Attributes
    ----------
    map_name : which map of a collection; "" for a single one
    raw, denoised : (line, y, x)
    """

    map_name: str
    raw: xr.DataArray
    denoised: xr.DataArray | None


@dataclass(frozen=True, eq=False)
class Evidence:
    """All that the report shows.

    Attributes
    ----------
    data, kind, title : what the report is of
    result : phases, quantified where that could be done; None of a cube or of traces
    cubes : counts by the name of their map; empty where only a result was given
    labels, colors : of the phases
    rows : table of compositions
    found : candidates among lines that nobody listed, and of a cube all; None where not searched
    fit : sums of counts and expected counts
    misfits : chi-squared by map
    totals : photons per pixel by map
    spectrum : sum spectrum of all cubes
    line_maps : of one map
    notes : what could not be done, and why
    """

    data: Data
    kind: Kind
    title: str
    origin: Origin
    result: Data | None = None
    cubes: Mapping[str, xr.Dataset] = field(default_factory=dict)
    labels: Sequence[str] = ()
    colors: Mapping[str, str] = field(default_factory=dict)
    rows: Sequence[Row] = ()
    found: xr.Dataset | None = None
    fit: SummedFit | None = None
    misfits: Mapping[str, xr.DataArray] = field(default_factory=dict)
    totals: Mapping[str, xr.DataArray] = field(default_factory=dict)
    spectrum: xr.DataArray | None = None
    line_maps: LineMaps | None = None
    notes: Sequence[str] = ()

    @property
    def root(self) -> xr.Dataset:
        """What all maps share."""
        return shared_part(self.data if self.result is None else self.result)

    @property
    def warnings(self) -> list[str]:
        """Warnings of the result, and of the cubes where there is none."""
        return warnings_of(self.data if self.result is None else self.result)

    @property
    def many(self) -> bool:
        """Whether there is more than one map."""
        return len(self.totals) > 1


def gather(
    data: Data,
    *,
    result: Data | None,
    cube: Data | None,
    found: xr.Dataset | None,
    origin: Origin,
    notes: Sequence[str] = (),
) -> Evidence:
    """Read and compute what the report of ``data`` shows.

    Parameters
    ----------
    data : cube, result or traces
    result : the result with compositions, where ``data`` is one
    cube : the counts, where they are known
    found : elements found in the counts
    origin : paths
    notes : what was not done before
    """
    kind = kind_of(data)
    cubes = {} if cube is None else cubes_in(cube)
    labels = [] if result is None else labels_of(result)
    return Evidence(
        data,
        kind,
        _title(data, origin),
        origin,
        result=result,
        cubes=cubes,
        labels=labels,
        colors=phase_colors(labels),
        rows=composition_rows(result) if result is not None and _has_table(result) else (),
        found=found,
        totals=_totals(result, cubes),
        spectrum=_spectrum(cubes) if cubes else None,
        line_maps=_line_maps(result, cubes, found) if cubes else None,
        fit=summed_fit(cube, result) if result is not None and cube is not None else None,
        misfits=_misfits(cubes, result) if result is not None else {},
        notes=notes,
    )


def _title(data: Data, origin: Origin) -> str:
    text = str(data.attrs.get(schema.TITLE) or shared_part(data).attrs.get(schema.TITLE) or "")
    return text or origin.data or "Spectrum image"


def _has_table(result: Data) -> bool:
    return schema.COMPOSITION in shared_part(result)


def whole_maps(result: Data) -> dict[str, xr.Dataset]:
    """Give the maps of a result by name, each with the spectra that all maps share."""
    root, nodes = nodes_of(result)
    shared = {schema.SPECTRUM: root[schema.SPECTRUM]}
    floor = {key: root.attrs[key] for key in (schema.LOWEST_ENERGY,) if key in root.attrs}
    return {name: one.assign(shared).assign_attrs(floor) for name, one in nodes}


def _misfits(cubes: Mapping[str, xr.Dataset], result: Data) -> dict[str, xr.DataArray]:
    """Chi-squared of the first maps."""
    nodes = whole_maps(result)
    shown = [name for name in list(cubes)[:MOST_MISFITS] if name in nodes and _is_image(cubes[name])]
    return {name: misfit_map(cubes[name], nodes[name]) for name in shown}


def _is_image(cube: xr.Dataset) -> bool:
    return set(schema.pixel_dims(cube)) == PIXELS


def image_of(array: xr.DataArray) -> xr.DataArray:
    """Sum over all dimensions but y and x, such as tilts and frames."""
    return array.sum([d for d in array.dims if d not in PIXELS], keep_attrs=True)


def _totals(result: Data | None, cubes: Mapping[str, xr.Dataset]) -> dict[str, xr.DataArray]:
    """Photons per pixel of each map."""
    if cubes:
        lazy = {name: image_of(total_map(one)) for name, one in cubes.items()}
    elif result is not None:
        lazy = {n: image_of(one[schema.TOTAL]) for n, one in nodes_of(result)[1] if schema.TOTAL in one}
    else:
        return {}
    (computed,) = dask.compute(lazy)
    return {name: one for name, one in computed.items() if set(one.dims) == PIXELS}


def _spectrum(cubes: Mapping[str, xr.Dataset]) -> xr.DataArray | None:
    """Sum spectrum of all maps on one energy axis; of maps with several axes, that of the first's like."""
    first = next(iter(cubes.values()))
    alike = [one for one in cubes.values() if one[schema.ENERGY].equals(first[schema.ENERGY])]
    counts = np.sum([usable_spectrum(one).counts for one in alike], axis=0)
    energy = {schema.ENERGY: first[schema.ENERGY]}
    return xr.DataArray(counts, dims=schema.ENERGY, coords=energy, attrs={"units": "counts"})


def _line_maps(
    result: Data | None, cubes: Mapping[str, xr.Dataset], found: xr.Dataset | None
) -> LineMaps | None:
    """Map the lines that are most worth seeing, of the first map that is an image."""
    name = next((name for name, one in cubes.items() if _is_image(one)), None)
    if name is None:
        return None
    cube = cubes[name]
    lines = main_lines(cube, _elements_to_map(result, cube, found))[:MOST_LINES]
    if not lines:
        return None
    raw = raw_line_maps(cube, lines).compute()
    nodes = {} if result is None else whole_maps(result)
    one = nodes.get(name)
    denoised = None if one is None else denoised_line_maps(cube, one, lines).compute()
    return LineMaps(name, raw, denoised)


def _elements_to_map(result: Data | None, cube: xr.Dataset, found: xr.Dataset | None) -> list[str]:
    """Elements in the order of how clearly they are seen: by SNR, by what was found, else as listed."""
    listed = [str(e) for e in cube.attrs.get(schema.ELEMENTS, ())]
    if result is not None:
        root = shared_part(result)
        listed = list(dict.fromkeys([*elements_named(result), *listed]))
        if schema.COMPOSITION in root:
            most = root[schema.COMPOSITION].max(schema.PHASE)
            amounts = dict(zip(root[schema.ELEMENT].values.tolist(), most.values.tolist(), strict=True))
            listed = [e for e in listed if amounts.get(e, 1.0) > 0]
            listed.sort(key=lambda e: -amounts.get(e, 0.0))
    elif found is not None:
        seen = found[schema.ELEMENT].values[found[schema.SIGNIFICANT].values.astype(bool)]
        listed = list(dict.fromkeys(str(e) for e in seen if e))
    return listed
