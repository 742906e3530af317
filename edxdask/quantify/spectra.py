"""Quantification of spectra: fit, composition, detection limits, labelled."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from threadpoolctl import threadpool_limits

from edxdask import schema
from edxdask.errors import ParameterError
from edxdask.physics.energy_axis import EnergyAxis, axis_warning
from edxdask.physics.floor import Floor
from edxdask.physics.lines import parse_line
from edxdask.quantify.cautions import absorption_not_corrected, few_counts, measured_intensities
from edxdask.quantify.intensities import (
    WINDOW_SHARE,
    LineFit,
    fit_model,
    fit_spectrum,
    settled_model,
    starting_model,
)
from edxdask.quantify.lines import choose_lines
from edxdask.quantify.methods import (
    LineFactors,
    Quantified,
    given_factors,
    solve,
    standard_factors,
    table_factors,
)
from edxdask.quantify.recipe import QuantificationRecipe
from edxdask.quantify.unlisted import VERB, warnings_of

logger = logging.getLogger(__name__)

DETECTABLE = 3.0  # SNR at the limit of detection


@dataclass(frozen=True, eq=False)
class Standard:
    """A film of known composition, measured under the same conditions.

    Attributes
    ----------
    counts, energy : (E,)
    composition : atoms of each element
    mass_thickness : nm × g/cm³; None: so thin that nothing is absorbed
    """

    counts: np.ndarray
    energy: np.ndarray
    composition: Mapping[str, float]
    mass_thickness: float | None = None


@dataclass(frozen=True, eq=False)
class LinePlan:
    """What stays the same for every spectrum of a measurement.

    Attributes
    ----------
    lines : of all elements, those measured first
    factors : of the lines of the measured elements
    from_standard : whether these were measured on a standard
    """

    recipe: QuantificationRecipe
    lines: tuple[str, ...]
    factors: LineFactors
    from_standard: bool = False

    @property
    def measured(self) -> tuple[str, ...]:
        """Lines that the composition follows from."""
        return self.lines[: len(self.recipe.measured)]


def make_plan(recipe: QuantificationRecipe, fit: LineFit, standard: Standard | None) -> LinePlan:
    """Choose lines and find their factors."""
    others = tuple(e for e in recipe.elements if e not in recipe.measured)
    order = (*recipe.measured, *others)
    if not recipe.measured:
        raise ParameterError("foreign", recipe.foreign, "at least one element of the sample")
    low, high = float(fit.model.nominal[0]), float(fit.model.nominal[-1])
    lines = choose_lines(order, low, high, lines=recipe.lines, factors=recipe.factors)
    names = tuple(lines[e] for e in order)
    measured = names[: len(recipe.measured)]
    if standard is not None:
        factors = _from_standard(recipe, measured, standard)
    elif recipe.factors is not None:
        factors = given_factors(recipe, measured)
    else:
        factors = table_factors(recipe, measured, fit.shares(measured).sum(axis=1))
    return LinePlan(recipe, names, factors, standard is not None)


def _from_standard(recipe: QuantificationRecipe, lines: Sequence[str], standard: Standard) -> LineFactors:
    if recipe.method != "cliff-lorimer" or recipe.factors is not None:
        raise ParameterError("standard", "a standard", "method='cliff-lorimer' and no other factors with it")
    fit = fit_spectrum(
        standard.counts,
        standard.energy,
        list(dict.fromkeys((*standard.composition, *recipe.elements))),
        beam_energy=recipe.beam_energy,
        axis=EnergyAxis(fwhm_mn_ka_ev=recipe.axis.fwhm_mn_ka_ev),
        seen=recipe.seen,
        refine_axis=recipe.refine_axis,
    )
    intensities, covariance = fit.intensities(lines)
    if recipe.thickness is not None and standard.mass_thickness is not None:
        energies = np.array([parse_line(line).centroid_kev for line in lines])
        through = recipe.transmission(standard.composition, energies, standard.mass_thickness)
        intensities, covariance = intensities / through, covariance / np.outer(through, through)
    return standard_factors(intensities, covariance, standard.composition, lines)


@threadpool_limits.wrap(limits=1)  # of BLAS: for matrices this small, threads cost more than they give
def quantify_spectra(
    counts: np.ndarray,
    energy: np.ndarray,
    recipe: QuantificationRecipe,
    *,
    dim: str,
    labels: Sequence[str],
    dose_shares: np.ndarray,
    variances: np.ndarray | None = None,
    standard: Standard | None = None,
) -> xr.Dataset:
    """Quantify spectra of one measurement; their sum gives the energy axis and the width.

    Parameters
    ----------
    counts : (spectra, E)
    energy : (E,) keV
    dim, labels : of the spectra in the result
    dose_shares : (spectra,) fraction of the electrons of the whole map behind each
    variances : (spectra, E) where counts are not Poisson's
    """
    counts = np.asarray(counts, dtype=np.float64)
    model, floor = starting_model(energy, recipe, counts.sum(axis=0))
    first = floor.first
    kept = counts[:, first:]
    _check_counts(kept, labels)
    model = settled_model(kept.sum(axis=0), model, recipe)
    fits = [
        fit_model(one, model, variance=None if variances is None else variances[i, first:])
        for i, one in enumerate(kept)
    ]
    plan = make_plan(recipe, fits[0], standard)
    found = [
        solve(
            recipe,
            plan.measured,
            *measured_intensities(fit, plan.measured),
            plan.factors,
            dose=None if recipe.dose is None else recipe.dose * float(share),
        )
        for fit, share in zip(fits, dose_shares, strict=True)
    ]
    return _labelled(plan, fits, found, dim, labels, floor, energy)


def _check_counts(counts: np.ndarray, labels: Sequence[str]) -> None:
    for one, label in zip(counts, labels, strict=True):
        if not np.isfinite(one).all() or (one < 0).any():
            raise ParameterError("data", str(label), "spectra of counts, 0 or more")
        if not one.sum() > 0:
            raise ParameterError("data", str(label), "spectra with photons; this one has none")


def _labelled(
    plan: LinePlan,
    fits: Sequence[LineFit],
    found: Sequence[Quantified],
    dim: str,
    labels: Sequence[str],
    floor: Floor,
    energy: np.ndarray,
) -> xr.Dataset:
    per_line, per_element = (dim, schema.LINE), (dim, schema.ELEMENT)
    photons = [fit.intensities(plan.lines) for fit in fits]
    intensity = np.array([values for values, _ in photons])
    snr, lod = detection(plan, fits, found)
    variables = {
        **_with_std(
            schema.COMPOSITION,
            per_element,
            [f.composition for f in found],
            [f.composition_covariance for f in found],
        ),
        **_with_std(
            schema.MASS_FRACTION,
            per_element,
            [f.mass_fraction for f in found],
            [f.mass_covariance for f in found],
        ),
        **_with_std(schema.LINE_INTENSITY, per_line, list(intensity), [c for _, c in photons]),
        schema.SNR: variable(schema.SNR, per_line, snr),
        schema.LOD: variable(schema.LOD, per_line, lod),
        schema.CHI2_RED: variable(schema.CHI2_RED, (dim,), np.array([f.chi2_red for f in fits])),
    }
    if plan.recipe.method != "cliff-lorimer":
        variables |= _with_std(
            schema.AREAL_DENSITY, per_element, [f.atoms for f in found], [f.atoms_covariance for f in found]
        )
        thickness = np.array([f.mass_thickness or (np.nan, np.nan) for f in found])
        std = schema.MASS_THICKNESS + schema.STD_SUFFIX
        variables[schema.MASS_THICKNESS] = variable(schema.MASS_THICKNESS, (dim,), thickness[:, 0])
        variables[std] = variable(schema.MASS_THICKNESS, (dim,), thickness[:, 1], error=True)
    for name in (schema.FIT_COUNTS, schema.FIT_EXPECTED, schema.FIT_CONTINUUM):
        rows = np.full((len(fits), energy.size), np.nan)
        rows[:, floor.first :] = [_curve(fit, name) for fit in fits]
        variables[name] = variable(name, (dim, schema.ENERGY), rows)
    coords = {dim: list(labels), schema.ELEMENT: list(found[0].elements), schema.LINE: list(plan.lines)}
    return xr.Dataset(variables, coords=coords, attrs=notes(plan, fits, found, labels, floor))


def _curve(fit: LineFit, name: str) -> np.ndarray:
    return {
        schema.FIT_COUNTS: fit.counts,
        schema.FIT_EXPECTED: fit.expected,
        schema.FIT_CONTINUUM: fit.continuum,
    }[name]


def notes(
    plan: LinePlan,
    fits: Sequence[LineFit],
    found: Sequence[Quantified],
    labels: Sequence[str],
    floor: Floor,
) -> dict[str, object]:
    """Attributes with the method, the axis that was found, and warnings."""
    model = fits[0].model
    moved = None if plan.recipe.axis_found else axis_warning(model.axis, VERB.rstrip(": "))
    if moved is not None:
        logger.warning("%s", moved)
    warnings = [
        *([] if moved is None else [moved]),
        *warnings_of(fits, labels, plan.recipe),
        *few_counts([fit.intensities(plan.measured)[0] for fit in fits], labels),
        *(
            []
            if plan.from_standard
            else absorption_not_corrected(plan.recipe, plan.measured, fits, found, plan.factors, labels)
        ),
    ]
    return {
        schema.QUANTIFICATION: plan.recipe.method,
        **model.axis.attrs,
        schema.LOWEST_ENERGY: floor.energy_kev,
        schema.FIT_SPLIT: [f"{element}_{family}" for element, family in sorted(model.split)],
        **({schema.WARNINGS: warnings} if warnings else {}),
    }


def detection(
    plan: LinePlan, fits: Sequence[LineFit], found: Sequence[Quantified]
) -> tuple[np.ndarray, np.ndarray]:
    """SNR and limit of detection (atomic fraction) of every line: (spectra, lines) each.

    SNR = net counts in a window of 1.2 FWHM over the square root of the background in it: continuum and
    lines of other elements. The limit is the atomic fraction at SNR 3, NaN where it is not known.
    """
    snr, lod = [], []
    for fit, one in zip(fits, found, strict=True):
        noise = np.sqrt(np.maximum(fit.backgrounds(plan.lines), 1.0))
        snr.append(fit.intensities(plan.lines)[0] * WINDOW_SHARE / noise)
        limit = np.full(len(plan.lines), np.nan)
        whole = float(one.atoms.sum())
        if whole > 0:
            measured = slice(0, len(plan.measured))
            limit[measured] = DETECTABLE * noise[measured] / WINDOW_SHARE * one.per_photon / whole
        lod.append(limit)
    return np.array(snr), np.array(lod)


def variable(name: str, dims: tuple[str, ...], values: np.ndarray, *, error: bool = False) -> xr.Variable:
    """Values with units and meaning."""
    attrs = schema.variable_attrs(name)
    if error:
        attrs["long_name"] = f"standard error of: {attrs['long_name']}"
    return xr.Variable(dims, values, attrs)


def _with_std(
    name: str, dims: tuple[str, ...], values: Sequence[np.ndarray], covariances: Sequence[np.ndarray]
) -> dict[str, xr.Variable]:
    errors = np.array([np.sqrt(np.maximum(np.diag(c), 0.0)) for c in covariances])
    std = name + schema.STD_SUFFIX
    return {
        name: variable(name, dims, np.array(values)),
        std: variable(name, dims, errors, error=True),
    }
