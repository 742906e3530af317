"""Which elements a map holds, those that nobody listed among them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import xarray as xr

from edxdask import schema
from edxdask.errors import ParameterError, SchemaError
from edxdask.ops._blocks import derived_attrs
from edxdask.ops.masks import MaskLike
from edxdask.ops.spectra import sum_spectrum
from edxdask.physics.candidates import Candidate, FamilyFound
from edxdask.physics.emission import check_beam_energy
from edxdask.physics.find import LOWEST_KEV, THRESHOLD, Found, find_in_spectrum, unlisted
from edxdask.physics.library import listed_elements
from edxdask.results.collections import cubes_in, nodes_of

DEFAULT_FWHM_EV = 130.0


def find_elements(
    data: xr.Dataset | xr.DataTree,
    *,
    known: Sequence[str] | None = None,
    among: Sequence[str] | None = None,
    result: xr.Dataset | xr.DataTree | None = None,
    mask: MaskLike | None = None,
    threshold: float = THRESHOLD,
    beam_energy: float | None = None,
    calibrate: bool = True,
) -> xr.Dataset:
    """Find the elements of a map or a collection in its sum spectrum.

    Families of lines of all elements are offered to a Poisson fit with a smooth continuum, escape and sum
    peaks. What stays is significant against noise and against peaks of a slightly wrong shape.

    Parameters
    ----------
    data : cube, or a collection of cubes on one energy axis
    known : elements that are there: fitted and judged in any case; None: those that the cube lists
    among : elements to look for; None: all that one may meet
    result : of a factorization of ``data``: only what it left unexplained is looked at
    mask : pixels to look at, as in ``sum_spectrum``; for one cube
    threshold : sigma that make an element
    beam_energy : keV, where the cube does not say
    calibrate : refine energy axis and width first; not with ``result``, which has its own axis

    Returns
    -------
    Dataset
        Over ``candidate``, most significant first: ``element``, ``candidate_kind``, ``candidate_line``,
        ``line_energy``, ``significance``, ``explained_counts``, ``line_families``, ``alternatives``,
        ``known``, ``significant``; without ``result`` also the spectrum and its fit over ``energy``. As a
        table: ``found.drop_dims("energy").to_dataframe()``.

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
    maps = _maps(data)
    first = maps[0]
    if mask is not None and len(maps) > 1:
        raise ParameterError("mask", len(maps), "one cube, not a collection", "Find elements map by map.")
    beam = beam_energy if beam_energy is not None else first.attrs.get(schema.BEAM_ENERGY)
    if beam is None:
        raise ParameterError(
            "beam_energy",
            None,
            "the energy of the beam in keV, which the cube does not have",
            f"ds.attrs[{schema.BEAM_ENERGY!r}] = 200.0, or beam_energy=200.0",
        )
    beam, fwhm = float(beam), float(first.attrs.get(schema.FWHM, DEFAULT_FWHM_EV))
    energy = first[schema.ENERGY].values
    check_beam_energy(beam)
    shown = energy[energy >= LOWEST_KEV]
    listed = listed_elements(first.attrs, shown, beam_energy=beam) if known is None else known
    counts = np.sum([sum_spectrum(one, mask=mask).values for one in maps], axis=0).astype(np.float64)
    if result is not None:
        if mask is not None:
            raise ParameterError("mask", "given", "no mask where a result is given, which holds all pixels")
        rest = unlisted(
            counts,
            _expected(result, energy),
            energy,
            beam_energy=beam,
            fwhm_mn_ka_ev=fwhm,
            known=listed,
            threshold=threshold,
        )
        return _table(first, rest, "find_elements(result)")
    found = find_in_spectrum(
        counts,
        energy,
        beam_energy=beam,
        fwhm_mn_ka_ev=fwhm,
        known=listed,
        among=among,
        threshold=threshold,
        calibrate=calibrate,
    )
    return _with_fit(_table(first, found.candidates, "find_elements()"), found)


def _with_fit(table: xr.Dataset, found: Found) -> xr.Dataset:
    """Add the spectrum, its fit and the corrections of the axis."""
    spectra = {
        schema.SUM_SPECTRUM: found.counts.astype(np.uint64),
        schema.FITTED_SPECTRUM: found.expected,
        schema.CONTINUUM_SPECTRUM: found.continuum,
    }
    of_energy = {n: (schema.ENERGY, v, schema.variable_attrs(n)) for n, v in spectra.items()}
    axis = xr.Variable((schema.ENERGY,), found.energy, {"units": "keV"})
    attrs = {
        schema.FWHM: found.axis.fwhm_mn_ka_ev,
        schema.ENERGY_OFFSET_STEP: found.axis.offset_kev,
        schema.ENERGY_GAIN: found.axis.gain,
    }
    return table.assign(of_energy).assign_coords({schema.ENERGY: axis}).assign_attrs(attrs)


def _maps(data: xr.Dataset | xr.DataTree) -> list[xr.Dataset]:
    maps = list(cubes_in(data).values())
    for one in maps:
        schema.validate_cube(one)
        if not np.array_equal(one[schema.ENERGY].values, maps[0][schema.ENERGY].values):
            raise SchemaError("the maps of data have different energy axes: find elements map by map")
    return maps


def _expected(result: xr.Dataset | xr.DataTree, energy: np.ndarray) -> np.ndarray:
    """Sum spectrum (energy,) that a factorization expects."""
    shared, named = nodes_of(result)
    maps = [one for _, one in named]
    needed = [(shared, schema.SPECTRUM), *((m, v) for m in maps for v in (schema.ABUNDANCE, schema.TOTAL))]
    for node, name in needed:
        if name not in node:
            raise SchemaError(
                f"result lacks {name}; expected what nmf(...), psnmf(...) or fcls(...) returned"
            )
    spectra = shared[schema.SPECTRUM].transpose(schema.PHASE, schema.ENERGY)
    if spectra.sizes[schema.ENERGY] != energy.size:
        have = spectra.sizes[schema.ENERGY]
        raise SchemaError(f"result has {have} channels, data {energy.size}: is it the result of this map?")
    photons = np.sum([_photons(m[schema.ABUNDANCE] * m[schema.TOTAL]) for m in maps], axis=0)
    return np.asarray(photons @ spectra.values, dtype=np.float64)


def _photons(amounts: xr.DataArray) -> np.ndarray:
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
