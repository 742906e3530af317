"""Quantification of results: phases, and ratios between them."""

from __future__ import annotations

import numpy as np
import xarray as xr

from edxdask import schema
from edxdask.errors import ParameterError, SchemaError
from edxdask.physics.energy_axis import EnergyAxis
from edxdask.physics.lines import parse_line
from edxdask.quantify.recipe import QuantificationRecipe
from edxdask.quantify.spectra import Standard, quantify_spectra
from edxdask.quantify.unlisted import with_warnings
from edxdask.results.check import check_result
from edxdask.results.collections import is_collection, nodes_of, shared_part, with_shared_part

SUM = "sum"
COMPOSITIONS = (schema.COMPOSITION, schema.COMPOSITION + schema.STD_SUFFIX)
SPECTRUM_STD = schema.SPECTRUM + schema.STD_SUFFIX


def root_of(result: xr.Dataset | xr.DataTree) -> xr.Dataset:
    """Spectra of phases, common to all maps of a result."""
    root = shared_part(result)
    if schema.SPECTRUM not in root:
        have = ", ".join(map(str, root.data_vars)) or "nothing"
        raise SchemaError(f"the result has no 'spectrum' of phases (it has {have}): quantify a factorization")
    return root


def quantify_result(
    result: xr.Dataset | xr.DataTree, recipe: QuantificationRecipe, *, standard: Standard | None = None
) -> xr.Dataset | xr.DataTree:
    """Add the compositions of its phases to a result.

    Each phase's spectrum times its counts is fitted. Errors are those of Poisson counts; where the
    result has ``spectrum_std`` (``with_uncertainty``), they follow from it instead. A guided result has
    spectra of a model, without noise: chi-squared would say nothing about them and is NaN, and no error is
    less than the guided fit's own.
    """
    root = root_of(result)
    check_result(result)
    photons, areas = _photons_and_areas(result, root)
    spectra = root[schema.SPECTRUM].transpose(schema.PHASE, schema.ENERGY).values.astype(np.float64)
    variances = None
    if SPECTRUM_STD in root:
        errors = root[SPECTRUM_STD].transpose(schema.PHASE, schema.ENERGY).values.astype(np.float64)
        # where counts are too few, that of the counts themselves
        variances = (errors * photons[:, None]) ** 2
        variances = np.where(np.isfinite(variances), variances, spectra * photons[:, None])
    found = quantify_spectra(
        spectra * photons[:, None],
        root[schema.ENERGY].values,
        recipe,
        dim=schema.PHASE,
        labels=[str(label) for label in root[schema.PHASE].values],
        dose_shares=areas,
        variances=variances,
        standard=standard,
    )
    if is_guided(root):
        found = _with_errors_of_the_fit(found, root)
    entry = f"quantify(method={recipe.method!r}, elements={list(recipe.elements)})"
    attrs = with_warnings(schema.with_history(root.attrs, entry), found.attrs)
    kept = root.drop_dims([d for d in (schema.ELEMENT, schema.LINE) if d in root.dims])
    merged = kept.assign(found.drop_vars(schema.PHASE).data_vars).assign_coords(
        {d: found[d] for d in (schema.ELEMENT, schema.LINE)}
    )
    merged.attrs = {**attrs, schema.ELEMENTS: list(recipe.elements)}
    return with_shared_part(result, merged)


def axis_of(root: xr.Dataset) -> EnergyAxis | None:
    """Energy axis and width that a guided fit has found and its result has kept; None of other results.

    The axis that ``quantify`` itself has left in a result depends on the elements it was given, and is
    found again.
    """
    return EnergyAxis.of(root.attrs) if is_guided(root) else None


def is_guided(result: xr.Dataset) -> bool:
    """Whether the spectra of a result were made of what elements emit."""
    return schema.LARGEST_CORRECTION in result.attrs and schema.COMPOSITION in result


def _with_errors_of_the_fit(found: xr.Dataset, root: xr.Dataset) -> xr.Dataset:
    """Raise errors to those of a guided fit: relative errors, or those of atoms if it found only these."""
    x, std = (root[name].reindex({schema.ELEMENT: found[schema.ELEMENT].values}) for name in COMPOSITIONS)
    shown = x > std  # of amounts near zero, a relative error says nothing
    relative = (std / x.where(shown)).transpose(schema.PHASE, ...)
    raised = {schema.CHI2_RED: xr.full_like(found[schema.CHI2_RED], np.nan)}
    for name in (schema.COMPOSITION, schema.MASS_FRACTION, schema.LINE_INTENSITY, schema.AREAL_DENSITY):
        if name not in found:
            continue
        least = relative
        if name == schema.LINE_INTENSITY:
            elements = [parse_line(str(line)).element for line in found[schema.LINE].values]
            least = relative.reindex({schema.ELEMENT: elements}).rename({schema.ELEMENT: schema.LINE})
        errors = found[name + schema.STD_SUFFIX]
        values = np.fmax(errors.values, found[name].values * least.values)
        if name == schema.COMPOSITION:
            values = np.where(shown.values, values, np.fmax(values, std.values))
        raised[name + schema.STD_SUFFIX] = errors.copy(data=values)
    return found.assign(raised)


def _photons_and_areas(result: xr.Dataset | xr.DataTree, root: xr.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Add up the counts of each phase, and the fraction of all pixels it fills, over all maps."""
    maps = [ds for _, ds in nodes_of(result)[1] if schema.ABUNDANCE in ds and schema.TOTAL in ds]
    if not maps:
        raise SchemaError("the result has no 'abundance' and 'total': the counts of its phases are unknown")
    photons, areas, pixels = np.zeros(root.sizes[schema.PHASE]), np.zeros(root.sizes[schema.PHASE]), 0
    for ds in maps:
        dims = schema.pixel_dims(ds[schema.TOTAL])
        photons += (ds[schema.ABUNDANCE] * ds[schema.TOTAL]).sum(dims).values
        areas += ds[schema.ABUNDANCE].sum(dims).values
        pixels += ds[schema.TOTAL].size
    return photons, areas / pixels


def parts_of(found: xr.Dataset | xr.DataTree) -> list[tuple[str, xr.Dataset]]:
    """Each quantified spectrum by label: phase, region, sum; in a collection of cubes also the map."""
    root = shared_part(found)
    if is_collection(found) and schema.COMPOSITION not in root:
        return [
            (path if label == SUM else f"{path}, {label}", part)
            for path, one in nodes_of(found)[1]
            if schema.COMPOSITION in one
            for label, part in parts_of(one)
        ]
    over = [d for d in (schema.PHASE, schema.REGION) if d in root[schema.COMPOSITION].dims]
    if not over:
        return [(SUM, root)]
    return [(str(label), root.sel({over[0]: label})) for label in root[over[0]].values]


def partition_coefficient(
    result: xr.Dataset | xr.DataTree, *, phases: tuple[str, str], elements: tuple[str, str] = ("Fe", "Mg")
) -> xr.Dataset:
    """Compute K = (X_Fe^A X_Mg^B)/(X_Fe^B X_Mg^A) of two phases A and B, with its error.

    Parameters
    ----------
    result : Dataset or DataTree
        What ``quantify`` gave, of phases or of regions; or a result with ``composition_std``, of ``aided`` or
        of ``psnmf`` with elements.
    phases : (str, str)
        Labels of A and B.
    elements : (str, str)
        The element that is exchanged, and the one it replaces.

    Returns
    -------
    Dataset
        ``partition_coefficient`` and ``partition_coefficient_std``; NaN where one of the four is 0.

    Notes
    -----
    The error is that of the four intensities: factors that are wrong by a constant cancel in K. Without
    intensities it is that of the four fractions, as if these were independent.

    Examples
    --------
    >>> intensity = ("phase", "line"), [[10.0, 90.0], [30.0, 70.0]]
    >>> result = xr.Dataset(
    ...     {
    ...         "composition": (("phase", "element"), [[0.1, 0.9], [0.3, 0.7]]),
    ...         "line_intensity": intensity,
    ...         "line_intensity_std": (intensity[0], np.sqrt(intensity[1])),
    ...     },
    ...     {"phase": ["Brg", "Fp"], "element": ["Fe", "Mg"], "line": ["Fe_Ka", "Mg_Ka"]},
    ... )
    >>> found = partition_coefficient(result, phases=("Brg", "Fp"))
    >>> round(float(found.partition_coefficient), 3)
    0.259
    """
    root = shared_part(result)
    measured = schema.LINE_INTENSITY + schema.STD_SUFFIX in root
    if schema.COMPOSITION not in root or not (measured or schema.COMPOSITION + schema.STD_SUFFIX in root):
        raise SchemaError("the result has no composition with errors: quantify(result, ...) gives both")
    dim = str(next(d for d in root[schema.COMPOSITION].dims if d != schema.ELEMENT))
    line_of = (
        {parse_line(str(name)).element: str(name) for name in root[schema.LINE].values} if measured else {}
    )
    usable = [str(e) for e in root[schema.ELEMENT].values if not measured or str(e) in line_of]
    for name, wanted, known in (
        ("phases", phases, [str(label) for label in root[dim].values]),
        ("elements", elements, usable),
    ):
        if len(wanted) != 2 or not set(wanted) <= set(known):
            raise ParameterError(name, wanted, f"two of {', '.join(known)}")
    pick: dict[str, list[str]] = {dim: list(phases), schema.ELEMENT: list(elements)}
    x = root[schema.COMPOSITION].sel(pick).transpose(dim, schema.ELEMENT).values
    value = float(x[0, 0] * x[1, 1] / (x[1, 0] * x[0, 1])) if (x > 0).all() else float("nan")
    base = schema.LINE_INTENSITY if measured else schema.COMPOSITION
    if measured:
        pick = {dim: list(phases), schema.LINE: [line_of[e] for e in elements]}
    amounts, errors = root[base].sel(pick).values, root[base + schema.STD_SUFFIX].sel(pick).values
    error = value * float(np.sqrt(np.sum((errors / np.where(amounts > 0, amounts, np.nan)) ** 2)))
    name = schema.PARTITION_COEFFICIENT
    attrs = schema.variable_attrs(name)
    return xr.Dataset(
        {name: ((), value, attrs), name + schema.STD_SUFFIX: ((), error, attrs)},
        attrs={"phases": list(phases), schema.ELEMENTS: list(elements)},
    )
