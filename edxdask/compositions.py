"""The public function `quantify`: compositions of results, cubes, regions and pixels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from edxdask import schema
from edxdask.errors import ParameterError
from edxdask.results.collections import Data, cubes_in, is_collection, nodes_of
from edxdask.results.kinds import Kind, kind_of

FIND = "find"  # in place of elements: those that show in the spectrum


def quantify(
    data: xr.Dataset | xr.DataTree,
    *,
    elements: Sequence[str] | str | None = None,
    method: str = "cliff-lorimer",
    lines: Sequence[str] | None = None,
    k_factors: Mapping[str, Any] | None = None,
    standard: tuple[xr.Dataset | xr.DataArray, Mapping[str, float]] | None = None,
    thickness: float | None = None,
    density: float | None = None,
    oxygen: str | Mapping[str, float] | None = None,
    foreign: Sequence[str] = (),
    per: Any = "sum",
    zeta_factors: Mapping[str, Any] | None = None,
    cross_sections: Mapping[str, Any] | None = None,
    dose: float | None = None,
    solid_angle: float | None = None,
    beam_energy: float | None = None,
    detector: Any = None,
    refine_axis: bool = True,
) -> xr.Dataset | xr.DataTree:
    """Compositions with errors: of the phases of a result, or of a cube's sum, regions or pixels.

    Lines and continuum are fitted together by maximum Poisson likelihood, so that overlapping lines divide
    their counts; the covariance of the fit is carried into every number.

    Parameters
    ----------
    data : Dataset or DataTree
        Result of a factorization (its phases get compositions), cube, or collection of either.
    elements : list of str or "find", optional
        All elements with lines in the spectrum; None takes those that the data name, "find" those that
        ``find_elements`` finds in the sum of all maps or phases.
    method : {"cliff-lorimer", "zeta", "cross-section"}
        The first gives ratios, the second also mass thickness, the third also atoms per area.
    lines : list of str, optional
        Lines to use, at most one per element ("Pt_La"); others are chosen by energy.
    k_factors : dict, optional
        By line, for mass fractions, up to a common factor: ``{"Fe_Ka": 1.2, "Si_Ka": (1.0, 0.03)}``; the
        second number is a standard error. None takes them from the emission tables and the detector.
    standard : tuple, optional
        Film of known composition, ``(cube or spectrum, {"Mg": 1, "O": 1})``, to take k-factors from; where
        absorption is corrected, the standard's thickness and density are taken from its attributes.
    thickness : float, optional
        Thickness of the film in nm, for Cliff-Lorimer's absorption correction.
    density : float, optional
        Density of the film in g/cm³, for the same.
    oxygen : str or dict, optional
        "stoichiometry", or charges such as ``{"Fe": 3}`` that differ from the usual: oxygen then balances the
        charges of the others; its line is ignored.
    foreign : list of str
        Elements that are fitted but are no part of the sample: grid, holder, ion beam.
    per : str, mask or dict
        "sum", "pixel", a mask or region, or masks by name; of cubes.
    zeta_factors : dict, optional
        By line, kg/m².
    cross_sections : dict, optional
        By line, barn as counted by the detector.
    dose : float, optional
        Electrons on the whole map, for the absolute methods; None takes beam current and live time.
    solid_angle : float, optional
        Solid angle of all detectors in sr, for the absolute methods without factors.
    beam_energy : float, optional
        In keV, from 60: below, samples are bulk, and are refused. None takes what the data say.
    detector : Detector, optional
        `edxdask.physics.geometry.Detector`; None takes what the attributes say (``detector_window``, or a
        curve in ``efficiency_energy_kev`` and ``efficiency``; ``elevation_deg``), else a windowless one.
    refine_axis : bool
        Find the energy axis, the width, and rates that disagree with the tables from the data. A guided
        result keeps the axis and width that its own fit has found.

    Returns
    -------
    Dataset
        ``composition`` (atomic fractions), ``mass_fraction``, ``line_intensity``, each with ``_std``, ``snr``
        and ``lod`` by line, ``chi2_red``, and the fitted spectra. A result keeps what it holds. Log and
        attribute ``warnings`` name lines that nobody listed and that spoil a fit, spectra of fewer than 100
        counts, and elements that a film of unknown thickness may absorb by more than the stated error.

    Notes
    -----
    *Guided phases.* Their spectra come from a model and have no noise: ``chi2_red`` is NaN, and no error is
    less than that of the guided fit, which knows the counts.

    *Chunks.* Sums and regions are read once, now. With ``per="pixel"`` maps are lazy, one task per chunk, and
    every chunk must hold whole spectra.

    Examples
    --------
    >>> import edxdask
    >>> ds = edxdask.simulate(shape=(32, 32), counts=300, seed=1)
    >>> found = quantify(ds, elements=["O", "Mg", "Al", "Si", "Ca", "Fe", "Nd", "Sm", "U", "Cu"])
    >>> x = found.composition.sel(element="Mg")
    >>> bool(abs(x - 0.19) < 0.02), bool(found.chi2_red < 1.2)
    (True, True)
    """
    from edxdask.physics.energy_axis import EnergyAxis
    from edxdask.quantify import recipe as recipes

    given = {"cliff-lorimer": k_factors, "zeta": zeta_factors, "cross-section": cross_sections}
    for name, own in given.items():
        if own is not None and name != method:
            raise ParameterError("method", method, f"{name!r}, which the factors given belong to")

    if isinstance(elements, str) and elements.strip() == FIND:
        elements = _found_elements(data, beam_energy=beam_energy, refine_axis=refine_axis)

    def recipe_for(one: xr.Dataset, axis: EnergyAxis | None = None) -> recipes.QuantificationRecipe:
        return recipes.make_recipe(
            one.attrs,
            one[schema.ENERGY].values,
            elements=elements,
            method=method,
            lines=lines,
            factors=given.get(method),
            thickness=thickness,
            density=density,
            oxygen=oxygen,
            foreign=foreign,
            beam_energy=beam_energy,
            dose=dose,
            solid_angle=solid_angle,
            detector=detector,
            refine_axis=refine_axis,
            axis=axis,
        )

    known = None if standard is None else _standard(*standard)
    if is_collection(data) and schema.SPECTRUM not in data:
        maps = cubes_in(data)
        return xr.DataTree.from_dict(
            {f"/{path}": _quantify_cube(one, recipe_for(one), per, known) for path, one in maps.items()}
        )
    if isinstance(data, xr.Dataset) and schema.COUNTS in data:
        return _quantify_cube(data, recipe_for(data), per, known)
    from edxdask.quantify.results import axis_of, quantify_result, root_of

    if not (isinstance(per, str) and per == "sum"):
        raise ParameterError("per", per, "'sum' for a result, as its phases are quantified")
    root = root_of(data)
    return quantify_result(data, recipe_for(root, axis_of(root)), standard=known)


def _found_elements(data: Data, *, beam_energy: float | None, refine_axis: bool) -> list[str]:
    """Find elements in the sum of all counts, or of what a result expects; in order of atomic number."""
    from edxdask.ops import find_elements
    from edxdask.physics.lines import atomic_number

    cube = data if kind_of(data) is Kind.CUBE else _expected_sum(data)
    found = find_elements(cube, known=(), beam_energy=beam_energy, refine_axis=refine_axis)
    symbols = found[schema.ELEMENT].values[found[schema.SIGNIFICANT].values]
    names = sorted({str(symbol) for symbol in symbols if symbol}, key=atomic_number)
    if not names:
        expected = "elements that show in the spectrum; none was found"
        raise ParameterError("elements", FIND, expected, "List them: elements=['Mg', 'Si'].")
    return names


def _expected_sum(result: Data) -> xr.Dataset:
    """Give the sum spectrum that a result expects, as a cube of one pixel."""
    from edxdask.quantify.results import root_of

    root = root_of(result)
    photons = sum(
        (one[schema.ABUNDANCE] * one[schema.TOTAL]).sum(schema.pixel_dims(one[schema.TOTAL]))
        for _, one in nodes_of(result)[1]
    )
    counts = np.rint((photons * root[schema.SPECTRUM]).sum(schema.PHASE).values).astype(np.uint64)
    axis = {schema.Y: [0.0], schema.X: [0.0], schema.ENERGY: root[schema.ENERGY]}
    return xr.Dataset({schema.COUNTS: (tuple(axis), counts[None, None])}, axis, root.attrs)


def _standard(data: xr.Dataset | xr.DataArray, composition: Mapping[str, float]) -> Any:
    from edxdask.ops.usable import usable_spectrum
    from edxdask.quantify.spectra import Standard

    spectrum = data
    if isinstance(data, xr.Dataset):
        counts = usable_spectrum(data).counts
        spectrum = xr.DataArray(counts, {schema.ENERGY: data[schema.ENERGY]}, (schema.ENERGY,))
    if spectrum.dims != (schema.ENERGY,):
        raise ParameterError("standard", spectrum.dims, "a cube, or one spectrum over energy")
    known = {schema.THICKNESS, schema.DENSITY} <= set(data.attrs)
    mass_thickness = float(data.attrs[schema.THICKNESS] * data.attrs[schema.DENSITY]) if known else None
    return Standard(spectrum.values, spectrum[schema.ENERGY].values, dict(composition), mass_thickness)


def _quantify_cube(ds: xr.Dataset, recipe: Any, per: Any, standard: Any) -> xr.Dataset:
    """Quantify the sum of a cube, regions of it, or its pixels."""
    from edxdask.ops.usable import usable_spectrum
    from edxdask.quantify.pixels import quantify_pixels
    from edxdask.quantify.spectra import quantify_spectra

    entry = f"quantify(method={recipe.method!r}, elements={list(recipe.elements)})"
    attrs = {**schema.with_history(ds.attrs, entry), schema.ELEMENTS: list(recipe.elements)}
    if isinstance(per, str) and per == "pixel":
        whole = usable_spectrum(ds)
        found = quantify_pixels(ds, whole.counts, recipe, standard=standard)
        return found.assign_attrs(_warned({**attrs, **found.attrs}, whole.warnings))
    if isinstance(per, Mapping) and not per:
        raise ParameterError("per", per, "one mask or region, or more, by name")
    masks = per if isinstance(per, Mapping) else {"sum" if isinstance(per, str) else "region": per}
    summed, shares = zip(*(_region(ds, mask) for mask in masks.values()), strict=True)
    found = quantify_spectra(
        np.array([one.counts for one in summed]),
        ds[schema.ENERGY].values,
        recipe,
        dim=schema.REGION,
        labels=[str(name) for name in masks],
        dose_shares=np.array(shares),
        standard=standard,
    )
    if not isinstance(per, Mapping):
        found = found.isel({schema.REGION: 0}, drop=True)
    left_out = [text for one in summed for text in one.warnings]
    found = found.assign_attrs(_warned({**attrs, **found.attrs}, left_out))
    return found.assign_coords({schema.ENERGY: ds[schema.ENERGY]})


def _warned(attrs: dict[Any, Any], warnings: Iterable[str]) -> dict[Any, Any]:
    """Attributes with what was left out of the spectra."""
    texts = list(dict.fromkeys([*attrs.get(schema.WARNINGS, []), *warnings]))
    return attrs | ({schema.WARNINGS: texts} if texts else {})


def _region(ds: xr.Dataset, mask: Any) -> tuple[Any, float]:
    """Spectrum of a region, or of all; and its fraction of the pixels."""
    from edxdask.ops.masks import as_mask
    from edxdask.ops.usable import usable_spectrum

    if not isinstance(mask, str):
        return usable_spectrum(ds, mask=mask), float(as_mask(ds, mask).mean())
    if mask != "sum":
        raise ParameterError("per", mask, "'sum', 'pixel', a mask or region, or masks by name")
    return usable_spectrum(ds), 1.0
