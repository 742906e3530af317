"""Which elements a map holds, including those that nobody listed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, get_args, overload

import numpy as np
import xarray as xr

from edxdask import schema
from edxdask.errors import ParameterError, SchemaError
from edxdask.ops._blocks import derived_attrs
from edxdask.ops.masks import MaskLike
from edxdask.ops.usable import usable_spectrum
from edxdask.physics.candidates import Candidate, FamilyFound
from edxdask.physics.emission import check_beam_energy
from edxdask.physics.energy_axis import DEFAULT_FWHM_EV, EnergyAxis
from edxdask.physics.find import THRESHOLD, Found, find_in_spectrum, unlisted
from edxdask.physics.floor import spectrum_floor
from edxdask.physics.library import listed_elements
from edxdask.results.collections import ALONE, Data, check_same_axis, cubes_in, is_collection, shared_part

Per = Literal["sum", "map"]


@overload
def find_elements(
    data: Data,
    *,
    known: Sequence[str] | None = ...,
    among: Sequence[str] | None = ...,
    result: Data | None = ...,
    mask: MaskLike | None = ...,
    threshold: float = ...,
    beam_energy: float | None = ...,
    refine_axis: bool = ...,
    per: Literal["sum"] = ...,
) -> xr.Dataset: ...
@overload
def find_elements(
    data: xr.DataTree,
    *,
    known: Sequence[str] | None = ...,
    among: Sequence[str] | None = ...,
    result: Data | None = ...,
    mask: None = ...,
    threshold: float = ...,
    beam_energy: float | None = ...,
    refine_axis: bool = ...,
    per: Literal["map"],
) -> xr.DataTree: ...
def find_elements(
    data: Data,
    *,
    known: Sequence[str] | None = None,
    among: Sequence[str] | None = None,
    result: Data | None = None,
    mask: MaskLike | None = None,
    threshold: float = THRESHOLD,
    beam_energy: float | None = None,
    refine_axis: bool = True,
    per: Per = "sum",
) -> Data:
    """Find the elements of a map or a collection in its sum spectrum.

    Families of lines of all elements are offered to a Poisson fit with a smooth continuum, escape and sum
    peaks. What stays is significant against noise and against peaks of a slightly wrong shape.

    Parameters
    ----------
    data : Dataset or DataTree
        Cube, or collection of cubes on one energy axis.
    known : list of str, optional
        Elements that are there: fitted and judged in any case; None takes those that the cube lists.
    among : list of str, optional
        Elements to search for; None takes all that a sample may hold.
    result : Dataset or DataTree, optional
        Of a factorization of ``data``: only what it left unexplained is searched. Of a collection, each map
        is compared with its own part of the result.
    mask : mask, optional
        Pixels to search, as in ``sum_spectrum``; for one cube.
    threshold : float
        Sigma that make an element.
    beam_energy : float, optional
        In keV, where the cube does not say.
    refine_axis : bool
        Refine energy axis and width first; not with ``result``, which has its own axis.
    per : {"sum", "map"}
        Of a collection: "sum" searches the photons of all maps together, "map" each map separately.

    Returns
    -------
    Dataset or DataTree
        Over ``candidate``, most significant first: ``element``, ``candidate_kind``, ``candidate_line``,
        ``line_energy``, ``significance``, ``explained_counts``, ``line_families``, ``alternatives``,
        ``known``, ``significant``; without ``result`` also the spectrum and its fit over ``energy``. As a
        table: ``found.drop_dims("energy").to_dataframe()``. With ``per="map"`` a collection of such tables.

    Notes
    -----
    *Chunks.* Any. **This operation computes**: one read of the counts.

    Examples
    --------
    >>> import edxdask
    >>> found = find_elements(edxdask.simulate(shape=(16, 16), counts=400))
    >>> sorted(found.element.values[:5].tolist())
    ['Ca', 'Fe', 'Mg', 'O', 'Si']
    """
    cubes = cubes_in(data)
    for cube in cubes.values():
        schema.validate_cube(cube)
    if per not in get_args(Per):
        raise ParameterError("per", per, "'sum', or 'map' for a table of each map")
    if mask is not None and (len(cubes) > 1 or result is not None):
        raise ParameterError(
            "mask", "given", "one cube, and no result, which holds all pixels", "Find elements map by map."
        )
    parts = None if result is None else _parts_of(result, cubes)

    def table(names: Sequence[str]) -> xr.Dataset:
        mine = {name: cubes[name] for name in names}
        first = next(iter(mine.values()))
        beam = _beam_energy(first, beam_energy)
        summed = {name: usable_spectrum(one, mask=mask) for name, one in mine.items()}
        counts = np.sum([one.counts for one in summed.values()], axis=0).astype(np.float64)
        warnings = [
            text if name == ALONE else f"{name}: {text}" for name in mine for text in summed[name].warnings
        ]
        listed = _listed(first, beam) if known is None else known
        if parts is not None:
            expected = np.sum([parts[name] for name in names], axis=0)
            axis = EnergyAxis.of(shared_part(result).attrs) if result is not None else None
            rest = unlisted(
                counts, expected, first[schema.ENERGY].values, beam_energy=beam, axis=axis or _nominal(first),
                known=listed, threshold=threshold,
            )  # fmt: skip
            return _warned(_table(first, rest, "find_elements(result)"), warnings)
        found = find_in_spectrum(
            counts, first[schema.ENERGY].values, beam_energy=beam, axis=_nominal(first), known=listed,
            among=among, threshold=threshold, refine_axis=refine_axis,
        )  # fmt: skip
        return _warned(_with_fit(_table(first, found.candidates, "find_elements()"), found), warnings)

    if per == "map" and is_collection(data):
        return xr.DataTree.from_dict({f"/{name}": table([name]) for name in cubes}, name=data.name)
    check_same_axis(cubes, "per='map' searches each map separately")
    return table(list(cubes))


def _warned(table: xr.Dataset, warnings: Sequence[str]) -> xr.Dataset:
    """Add what was left out to the warnings."""
    if not warnings:
        return table
    return table.assign_attrs({schema.WARNINGS: [*table.attrs.get(schema.WARNINGS, []), *warnings]})


def _nominal(cube: xr.Dataset) -> EnergyAxis:
    """Axis as the file has it, with the detector's width."""
    return EnergyAxis(fwhm_mn_ka_ev=float(cube.attrs.get(schema.FWHM, DEFAULT_FWHM_EV)))


def _listed(cube: xr.Dataset, beam_energy: float) -> tuple[str, ...]:
    """Elements that a cube lists, as far as they show in channels of use."""
    energy = cube[schema.ENERGY].values
    return listed_elements(cube.attrs, energy[spectrum_floor(energy).first :], beam_energy=beam_energy)


def _beam_energy(cube: xr.Dataset, given: float | None) -> float:
    beam = given if given is not None else cube.attrs.get(schema.BEAM_ENERGY)
    if beam is None:
        raise ParameterError(
            "beam_energy",
            None,
            "the energy of the beam in keV, which the cube does not have",
            f"ds.attrs[{schema.BEAM_ENERGY!r}] = 200.0, or beam_energy=200.0",
        )
    return check_beam_energy(float(beam))


def _with_fit(table: xr.Dataset, found: Found) -> xr.Dataset:
    """Add the spectrum, its fit and the corrections of the axis."""
    spectra = {
        schema.SUM_SPECTRUM: found.counts.astype(np.uint64),
        schema.FITTED_SPECTRUM: found.expected,
        schema.CONTINUUM_SPECTRUM: found.continuum,
    }
    of_energy = {n: (schema.ENERGY, v, schema.variable_attrs(n)) for n, v in spectra.items()}
    axis = xr.Variable((schema.ENERGY,), found.energy, {"units": "keV"})
    attrs = {**found.axis.attrs, schema.LOWEST_ENERGY: found.floor.energy_kev}
    return table.assign(of_energy).assign_coords({schema.ENERGY: axis}).assign_attrs(attrs)


def _parts_of(result: Data, cubes: Mapping[str, xr.Dataset]) -> dict[str, np.ndarray]:
    """Sum spectrum (energy,) that a factorization expects of each map."""
    shared = shared_part(result)
    if schema.SPECTRUM not in shared:
        raise _no_result(schema.SPECTRUM)
    spectra = shared[schema.SPECTRUM].transpose(schema.PHASE, schema.ENERGY)
    expected = {}
    for name, cube in cubes.items():
        if spectra.sizes[schema.ENERGY] != cube.sizes[schema.ENERGY]:
            raise SchemaError(
                f"result has {spectra.sizes[schema.ENERGY]} channels, the map {cube.sizes[schema.ENERGY]}: "
                "is it the result of this map?"
            )
        photons = _photons(_part_of(result, name, cube))
        expected[name] = np.asarray(photons @ spectra.values, dtype=np.float64)
    return expected


def _part_of(result: Data, name: str, cube: xr.Dataset) -> xr.Dataset:
    """Abundances and totals of one map, by its name in the collection."""
    if is_collection(result):
        if name == ALONE or name not in result:
            have = ", ".join(path for path, _ in result.subtree_with_keys if path != ".")
            raise SchemaError(
                f"result holds the maps {have}, and none is called {name!r}: pass the collection that was "
                "factorized, and per='map' for a table of each map"
            )
        part = next(node.to_dataset(inherit=True) for path, node in result.subtree_with_keys if path == name)
    else:
        part = result
    for variable in (schema.ABUNDANCE, schema.TOTAL):
        if variable not in part:
            raise _no_result(variable)
    have_sizes = {d: part.sizes.get(d) for d in schema.pixel_dims(cube)}
    if have_sizes != {d: cube.sizes[d] for d in schema.pixel_dims(cube)}:
        raise SchemaError(
            f"result has {have_sizes} pixels, the map {name!r} {dict(cube[schema.COUNTS].sizes)}: "
            "is it the result of this map?"
        )
    return part


def _no_result(variable: str) -> SchemaError:
    return SchemaError(f"result lacks {variable}; expected what nmf(...), psnmf(...) or fcls(...) returned")


def _photons(part: xr.Dataset) -> np.ndarray:
    """Add up the counts of each phase: (phase,)."""
    amounts = part[schema.ABUNDANCE] * part[schema.TOTAL]
    return np.asarray(amounts.sum([d for d in amounts.dims if d != schema.PHASE]).values)


_TEXTS: Mapping[str, Callable[[Candidate], object]] = {
    schema.ELEMENT: lambda c: c.element or "",
    schema.CANDIDATE_KIND: lambda c: c.kind,
    schema.CANDIDATE_LINE: lambda c: c.line,
    schema.LINE_ENERGY: lambda c: c.energy_kev,
    schema.SIGNIFICANCE: lambda c: c.significance,
    schema.EXPLAINED: lambda c: c.counts,
    schema.FAMILIES: lambda c: ", ".join(map(_family, c.families)) if len(c.families) > 1 else "",
    schema.ALTERNATIVES: lambda c: ", ".join(c.alternatives),
    schema.KNOWN: lambda c: c.known,
    schema.SIGNIFICANT: lambda c: c.significant,
}
_KINDS = {"U": str, "f": float, "b": bool}


def _family(found: FamilyFound) -> str:
    return f"{found.name} {found.ratio:.2f}" + ("" if found.agrees else "!")


def _table(cube: xr.Dataset, candidates: Sequence[Candidate], entry: str) -> xr.Dataset:
    columns: dict[str, tuple[str, np.ndarray, dict[str, str]]] = {
        name: (
            schema.CANDIDATE,
            np.array([value(c) for c in candidates], dtype=_KINDS[schema.VARIABLES[name].kinds]),
            schema.variable_attrs(name),
        )
        for name, value in _TEXTS.items()
    }
    names = np.array([c.name for c in candidates], dtype=str)
    return xr.Dataset(columns, {schema.CANDIDATE: names}, derived_attrs(cube, entry, {}))
