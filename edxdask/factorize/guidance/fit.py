"""Physics-guided fits: from spectra of the mean composition to those of each phase."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr
from threadpoolctl import threadpool_limits

from edxdask import schema
from edxdask.engine.driver import Loop, StopRule
from edxdask.engine.problem import Problem
from edxdask.engine.states import PixelStates
from edxdask.factorize.guidance.cautions import absorption_not_corrected
from edxdask.factorize.guidance.element_photons import with_element_photons
from edxdask.factorize.guidance.errors import composition_errors
from edxdask.factorize.guidance.guide import Guide
from edxdask.factorize.guidance.labelling import parted, placed, purified
from edxdask.factorize.guidance.mass_thickness import better_mass
from edxdask.factorize.identifiability.report import spread_of, with_ranges
from edxdask.factorize.iteration.gather import gather_abundance
from edxdask.factorize.iteration.grouped import Groups, fit_groups
from edxdask.factorize.iteration.phases import Phases, WantedPhases
from edxdask.factorize.iteration.rounds import Factorized, factorize
from edxdask.factorize.iteration.starts import FirstFactors, GivenState
from edxdask.factorize.iteration.sweep_step import SPARSITY
from edxdask.factorize.spectra.elemental import ElementalSpectra
from edxdask.progress import ProgressHook
from edxdask.results.collections import shared_part, with_shared

COMPOSITION_STD = schema.COMPOSITION + schema.STD_SUFFIX
ABSORPTION_ROUNDS, SAME_COMPOSITION = 3, 0.03  # of what phases absorb; atomic fraction
SETTLE_ROUNDS, SETTLE_ITERATIONS = 3, 100
TRIAL = StopRule(300, 1e-6)
# of phases with a core: an element with 2 % of the counts in the windows of its lines needs as many
LONGER_ROUNDS = 1000
LEAST_CORE = 0.1  # of all photons, in sums that hold a phase alone
# sparsity removes an abundance within a few rounds, before the spectra have followed what was ruled out
WARM_UP = StopRule(30, 1e-6)

# A fit with given spectra model and weights, from abundances where they are.
GuidedFit = Callable[[PixelStates, ElementalSpectra, np.ndarray], Factorized]


@dataclass(frozen=True, eq=False)
class SettlingFits:
    """How the phases are fitted while labels are found.

    Attributes
    ----------
    trial : while labels are placed
    rounds : with separate columns for each phase
    times : how often columns are made again
    progress : reports the trials, where these do not report themselves
    """

    trial: GuidedFit
    rounds: GuidedFit
    times: int
    progress: ProgressHook | None = None


def settle(
    problem: Problem,
    fits: Sequence[Phases],
    guide: Guide,
    wanted: WantedPhases,
    *,
    progress: ProgressHook | None = None,
) -> Phases:
    """Continue from a fit of bins with shared columns: own absorption, absences, sparse abundances.

    Labels choose among several ``fits``; without labels the first one is taken.
    """
    single = np.dtype(np.float32)

    def trial(start: PixelStates, model: ElementalSpectra, weights: np.ndarray) -> Factorized:
        loop = Loop(problem.executor, "which phase is which", WARM_UP)
        found = factorize(start, model, weights, loop, accelerate=False, dtype=single)
        loop = Loop(problem.executor, "which phase is which", TRIAL)
        return factorize(
            found.abundance, model, model.start(found.spectra), loop,
            accelerate=False, dtype=single, sparsity=SPARSITY,
        )  # fmt: skip

    def rounds(start: PixelStates, model: ElementalSpectra, weights: np.ndarray) -> Factorized:
        loop = Loop(problem.executor, "spectra of the phases", StopRule(SETTLE_ITERATIONS, 0.0), progress)
        return factorize(start, model, weights, loop, accelerate=False, dtype=single, sparsity=SPARSITY)

    return _settled(problem, fits, guide, wanted, SettlingFits(trial, rounds, SETTLE_ROUNDS, progress))


def physical_phases(
    first: FirstFactors,
    guide: Guide,
    loop: Loop,
    wanted: WantedPhases,
    *,
    known: tuple[str | None, ...] | None = None,
    accelerate: bool = True,
) -> Phases:
    """Factorize from given factors with columns common to all phases, then with separate columns for each.

    ``known`` are the names that the start gives its phases, if any.
    """
    problem, dtype = first.abundance.problem, first.spectra.dtype
    mean = guide.mean_model()
    shared = factorize(
        first.with_unit_spectra().abundance, mean, mean.start(first.spectra), loop,
        accelerate=accelerate, dtype=dtype,
    )  # fmt: skip
    begun = Phases(shared.spectra, gather_abundance(shared.abundance), shared.objectives)
    last = replace(loop, label="spectra of the phases", checkpoint=None)

    def rounds(start: PixelStates, model: ElementalSpectra, weights: np.ndarray) -> Factorized:
        return factorize(start, model, weights, last, accelerate=accelerate, dtype=dtype)

    return _settled(problem, [begun], guide, wanted, SettlingFits(rounds, rounds, 1), known)


@threadpool_limits.wrap(limits=1)
def fit_similar(groups: Groups, found: Phases, guide: Guide) -> Phases:
    """Fit the phases once more, on sums of pixels of similar fractions."""
    if found.owners is None or found.composition is None:
        raise ValueError("phases without a guide")
    places = {guide.labels[owner]: row for row, owner in enumerate(found.owners) if owner >= 0}
    composition, spectra = found.composition, found.spectra
    photons = found.abundance.sum(axis=0, dtype=np.float64)
    mass = np.ones(len(photons))
    for _ in range(ABSORPTION_ROUNDS):
        own = guide.for_phases(composition, places, photons, mass)
        model = own.model(composition, places, mass)
        weights, abundance = fit_groups(model, model.start(spectra), groups, sparsity=SPARSITY)
        before, composition = composition, model.composition(weights)
        spectra, photons = model.spectra(weights), abundance.sum(axis=0)
        if not guide.calibration.conditions.absorbs:
            break
        tried = functools.partial(own.model, composition, places)
        heavier = better_mass(tried, mass, spectra, abundance, groups)
        if np.allclose(heavier, mass) and np.abs(composition - before).max() < SAME_COMPOSITION:
            break
        mass = heavier
    pinned = _pinned(groups)
    flat = found.flat_tops is not None and found.flat_tops.size > 0
    if pinned.any() and not flat:
        now = replace(groups, abundance=abundance)
        longer, _ = fit_groups(model, model.start(spectra), now, sparsity=SPARSITY, rounds=LONGER_ROUNDS)
        # of the others, which nothing holds, one would be subtracted from another in so many rounds
        weights = np.where(pinned[:, None], longer, weights)
        composition, spectra = model.composition(weights), model.spectra(weights)
    fitted = replace(
        found,
        spectra=spectra.astype(found.spectra.dtype),
        composition=composition,
        composition_std=composition_errors(model, weights, abundance),
    )
    return with_ranges(fitted, model, weights, groups, guide.calibration.energy)


def _pinned(groups: Groups) -> np.ndarray:
    """Say which phases have a core, a sum of pixels that holds nothing else, (k,)."""
    alone = np.count_nonzero(groups.abundance, axis=1) == 1
    photons = np.where(alone[:, None], groups.abundance, 0.0).sum(axis=0)
    return np.asarray(photons > LEAST_CORE * groups.abundance.sum())


@threadpool_limits.wrap(limits=1)
def _settled(
    problem: Problem,
    fits: Sequence[Phases],
    guide: Guide,
    wanted: WantedPhases,
    how: SettlingFits,
    known: tuple[str | None, ...] | None = None,
) -> Phases:
    """Fit with separate columns for each phase, and make these again from what was found."""
    model = guide.mean_model()
    first = fits[0]
    order = np.argsort(-first.abundance.sum(axis=0), kind="stable")
    now = first.in_order(order)
    begun = {row: known[i] for row, i in enumerate(order) if known[i]} if known else {}
    objectives = [first.objectives]

    def fitted(from_: Phases, fit: GuidedFit, model: ElementalSpectra, weights: np.ndarray) -> Phases:
        start = PixelStates.made(problem, GivenState(np.ascontiguousarray(from_.abundance)))
        found = fit(start, model, model.start(model.spectra(weights)))
        return Phases(found.spectra, gather_abundance(found.abundance), found.objectives)

    starts = [now, *fits[1:]]
    places, now = placed(guide, starts, lambda start, *made: fitted(start, how.trial, *made), how.progress)
    others, notes = now.others, now.notes
    now = purified(now, [row for row in range(len(now.spectra)) if row not in places.values()])
    now = parted(now, guide, places)
    weights = model.weights_of(now.spectra)
    for _ in range(how.times):
        photons = now.abundance.sum(axis=0, dtype=np.float64)
        composition = model.composition(weights)
        model = guide.for_phases(composition, places, photons).model(composition, places)
        now = fitted(now, how.rounds, model, model.weights_of(now.spectra))
        weights = model.weights_of(now.spectra)
        objectives.append(now.objectives)
    owner = {row: guide.labels.index(label) for label, row in places.items()}
    settled = Phases(
        now.spectra,
        now.abundance,
        np.concatenate(objectives),
        owners=np.array([owner.get(row, -1) for row in range(len(now.spectra))]),
        others=others,
        notes=notes,
        composition=model.composition(weights),
        composition_std=composition_errors(model, weights, now.abundance),
    )
    return _named(settled, guide, wanted, begun)


def _named(found: Phases, guide: Guide, wanted: WantedPhases, begun: Mapping[int, str]) -> Phases:
    """Name the phases by what the user said, then by their start, then by size; in the names' order.

    Without names the biggest is first.
    """
    sizes = found.abundance.sum(axis=0)
    owners = () if found.owners is None else found.owners
    labels = {row: guide.labels[owner] for row, owner in enumerate(owners) if owner >= 0}
    said = {row: label for row, label in labels.items() if isinstance(label, str)}
    if wanted.names:
        known = {row: name for row, name in begun.items() if name not in said.values()} | said
        order, names = wanted.rows_by_name(sizes, known), wanted.names
    else:
        order = np.argsort(-sizes, kind="stable").tolist()
        names = tuple(said.get(row, f"phase_{i}") for i, row in enumerate(order))
    ordered = found.in_order(order)
    return replace(ordered, labels=names, abundance=np.ascontiguousarray(ordered.abundance))


def with_composition(
    result: xr.Dataset | xr.DataTree, guide: Guide, found: Phases
) -> xr.Dataset | xr.DataTree:
    """Add ``composition(phase, element)`` and its error to a result; of bulk, photons of elements."""
    if guide.calibration.conditions.is_bulk:
        return with_element_photons(result, guide, found.spectra)
    dims = (schema.PHASE, schema.ELEMENT)
    attrs = schema.variable_attrs(schema.COMPOSITION)
    variables = {
        schema.ELEMENT: xr.Variable((schema.ELEMENT,), list(guide.elements)),
        schema.COMPOSITION: xr.Variable(dims, found.composition, attrs),
        COMPOSITION_STD: xr.Variable(dims, _errors(found), attrs),
    }
    texts = [*shared_part(result).attrs.get(schema.WARNINGS, []), *absorption_not_corrected(guide, found)]
    return with_shared(result, variables, {schema.WARNINGS: texts} if texts else None)


def _errors(found: Phases) -> np.ndarray | None:
    """Add the spread over what the counts leave open to the counting errors."""
    spread = spread_of(found)
    if spread is None or found.composition_std is None:
        return found.composition_std
    return np.hypot(found.composition_std, spread)


def calibration_attrs(guide: Guide) -> dict[str, Any]:
    """Write what the calibration found as attributes of a result."""
    found = guide.calibration
    return {
        schema.ELEMENTS: list(guide.elements),
        **found.axis.attrs,
        schema.LOWEST_ENERGY: found.floor.energy_kev,
        schema.CHI2_RED: found.chi2_red[-1],
        schema.LARGEST_CORRECTION: float(np.abs(np.log(found.correction)).max()),
        **({schema.WARNINGS: list(guide.warnings)} if guide.warnings else {}),
    }
