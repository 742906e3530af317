"""The result of an aided unmixing, labelled: abundances, masks, compositions of two kinds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from edxdask import schema
from edxdask._version import __version__
from edxdask.factorize.guidance.fit import calibration_attrs
from edxdask.results.check import check_result
from edxdask.results.collections import ALONE, Data, joined
from edxdask.unmix.aided_fit import AidedFit
from edxdask.unmix.cautions import film_not_known
from edxdask.unmix.judge import labelled_verdicts
from edxdask.unmix.known_phases import KnownPhases
from edxdask.unmix.masked_maps import MaskedMap

STD = schema.STD_SUFFIX
PER_MAP = (schema.ABUNDANCE, schema.TOTAL)


def labelled(
    data: Data,
    cubes: Mapping[str, xr.Dataset],
    masked: Mapping[str, MaskedMap],
    fractions: Mapping[str, xr.Dataset],
    fit: AidedFit,
    known: KnownPhases,
    *,
    entry: str,
    attrs: Mapping[str, Any],
) -> Data:
    """Put everything that was found in one result.

    Parameters
    ----------
    data : Dataset or DataTree
        What was given; the result has its shape.
    cubes, masked, fractions : mapping
        By map: counts, masks, and what ``fcls`` found.
    fit : AidedFit
        Compositions and spectra.
    known : KnownPhases
        Names.
    entry : str
        Line of the history.
    attrs : mapping
        Attributes of the result.
    """
    shared = _shared(cubes[fit.main], fractions, fit, known)
    if fit.verdicts:
        shared = shared.merge(labelled_verdicts(list(fit.verdicts)))
    warnings = [*_warnings(masked, fit), *film_not_known(cubes)]
    said = {**attrs, **({schema.WARNINGS: warnings} if warnings else {})}
    shared = shared.assign_attrs(_attrs(cubes[fit.main], fit, fit.main, entry) | said)
    nodes: dict[str, xr.Dataset] = {}
    for name, one in masked.items():
        node = fractions[name][list(PER_MAP)].assign(_mask_variables(one, fit.choice.width))
        nodes[name] = node.assign_attrs(_attrs(cubes[name], fit, name, entry) | said)
    if ALONE in nodes:
        nodes[ALONE] = xr.merge([shared, nodes[ALONE]], combine_attrs="override", compat="no_conflicts")
    result = joined(nodes, like=data, shared=shared)
    check_result(result, whole=True)
    return result


def _shared(
    cube: xr.Dataset, fractions: Mapping[str, xr.Dataset], fit: AidedFit, known: KnownPhases
) -> xr.Dataset:
    """Put together what is common to all maps: spectra, compositions, the objective."""
    objective = sum(float(one[schema.OBJECTIVE].values[-1]) for one in fractions.values())
    errors = np.array([np.sqrt(np.maximum(np.diag(c), 0.0)) for c in fit.subtracted.covariance])
    by_element, by_energy = (schema.PHASE, schema.ELEMENT), (schema.PHASE, schema.ENERGY)
    spread = np.hypot(fit.spread, known.left_open.spread)
    variables: dict[str, tuple[tuple[str, ...], np.ndarray]] = {
        schema.SPECTRUM: (by_energy, fit.spectra[fit.main]),
        schema.OBJECTIVE: ((schema.ITERATION,), np.array([objective])),
        schema.COMPOSITION: (by_element, fit.pinned.composition),
        schema.COMPOSITION + STD: (by_element, np.hypot(fit.pinned.errors, spread)),
        schema.COMPOSITION_SPREAD: (by_element, known.left_open.spread),
        schema.COMPOSITION_SUBTRACTED: (by_element, fit.subtracted.weights),
        schema.COMPOSITION_SUBTRACTED + STD: (by_element, np.hypot(errors, spread)),
        schema.SPECTRUM_SUBTRACTED: (by_energy, fit.sums),
        schema.SPECTRUM_SUBTRACTED + STD: (by_energy, fit.sums_std),
    }
    return xr.Dataset(
        {name: (dims, values, _described(name)) for name, (dims, values) in variables.items()},
        coords={
            schema.ENERGY: cube[schema.ENERGY].variable,
            schema.PHASE: list(known.names),
            schema.ELEMENT: list(known.elements),
            schema.ITERATION: [0],
        },
    )


def _described(name: str) -> dict[str, str]:
    """Units and meaning of a variable, or of its error."""
    if not name.endswith(STD):
        return schema.variable_attrs(name)
    attrs = schema.variable_attrs(name.removesuffix(STD))
    return {**attrs, "long_name": f"standard error of: {attrs['long_name']}"}


def _mask_variables(
    one: MaskedMap, width: int
) -> dict[str, tuple[tuple[str, ...], np.ndarray, dict[str, str]]]:
    """Masks of all phases, the matrix first; cores; and pixels in several masks."""
    regions, pixels = one.regions, (schema.Y, schema.X)
    masks = np.concatenate([regions.matrix[None], regions.masks])
    inner = regions.mixtures & (regions.depth > width)
    cores = np.concatenate([one.rings.core(width)[None], inner])
    found = {
        schema.MASK: ((schema.PHASE, *pixels), masks),
        schema.CORE: ((schema.PHASE, *pixels), cores),
        schema.MASK_OVERLAP: (pixels, regions.overlap),
    }
    return {name: (dims, values, schema.variable_attrs(name)) for name, (dims, values) in found.items()}


def _attrs(cube: xr.Dataset, fit: AidedFit, name: str, entry: str) -> dict[Any, Any]:
    """Attributes of a map, with its own energy axis, width and history."""
    kept = {k: v for k, v in cube.attrs.items() if k in schema.ATTRIBUTES and k != schema.COMPLETE}
    found = calibration_attrs(fit.guides[name])
    found.pop(schema.WARNINGS, None)
    return {
        **schema.with_history(kept, entry),
        **found,
        schema.CORE_WIDTH: fit.choice.width,
        schema.CORE_CHOICE: fit.choice.text,
        schema.EDXDASK_VERSION: __version__,
    }


def _warnings(masked: Mapping[str, MaskedMap], fit: AidedFit) -> list[str]:
    """Everything a person should know, each text once."""
    of_maps: Sequence[str] = [text for one in masked.values() for text in one.warnings]
    of_bases = [text for guide in fit.guides.values() for text in guide.warnings]
    return list(dict.fromkeys([*of_maps, *of_bases, *fit.warnings]))
