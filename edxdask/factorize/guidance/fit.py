"""Physics-guided fits of binned photons: prepare the guide, settle the fit, say what phases are made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from threadpoolctl import threadpool_limits

from edxdask import schema
from edxdask.engine.driver import Loop, StopRule
from edxdask.engine.problem import Problem
from edxdask.factorize.guidance.errors import composition_errors
from edxdask.factorize.guidance.guide import (
    ElementalSpectra,
    Guide,
)
from edxdask.factorize.iteration.gather import gather_abundance
from edxdask.factorize.iteration.rounds import factorize
from edxdask.factorize.iteration.starts import GivenState
from edxdask.factorize.pansharpening.binned_fit import UnitSpectra
from edxdask.factorize.pansharpening.kept_steps import Arrays
from edxdask.factorize.pansharpening.similar_pixels import Groups, refine
from edxdask.progress import ProgressHook
from edxdask.results.collections import with_shared

Rounds = Callable[[ElementalSpectra, np.ndarray], tuple[np.ndarray, np.ndarray]]
COMPOSITION_STD = schema.COMPOSITION + schema.STD_SUFFIX
# Log-sparsity of abundances, in counts: a phase that explains no more than noise in a bin leaves it. Free of
# it, noise that cannot go below zero hands every phase a little everywhere, and spectra turn to make up for
# it (mantle map at 15 counts per pixel: Brg off by 0.4 to 0.7 deg, with it by 0.1 to 0.2).
SPARSITY = 1.0
SETTLE_ROUNDS, SETTLE_ITERATIONS = 3, 100
TRIAL = StopRule(300, 1e-6)
RETURNED = 0.1  # of the mean spectrum in each, where it is not known yet which phase is which
PUREST, PRESENT_COUNTS = 0.1, 1e-3  # share of the bins that count as the matrix alone; of a count
RICH, MOST_OUT = 0.5, 0.9  # of its largest share, bins rich in a phase; share of a phase that may be matrix


@dataclass(frozen=True, eq=False)
class Phases:
    """Spectra and abundances, and what is known of the phases.

    Attributes
    ----------
    spectra, abundance, objectives : (k, E), (pixels or bins, k) in counts, (iterations,)
    labels : of the phases, biggest first; None where they are numbered by size later
    owners : (k,) which label of the guide each phase has, -1 none; None without elements
    composition, composition_std : (k, elements); None without elements
    """

    spectra: np.ndarray
    abundance: np.ndarray
    objectives: np.ndarray
    labels: tuple[str, ...] | None = None
    owners: np.ndarray | None = None
    composition: np.ndarray | None = None
    composition_std: np.ndarray | None = None

    def arrays(self) -> Arrays:
        """Everything as arrays, without pickles."""
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: np.asarray(value) for name, value in found.items() if value is not None}

    @classmethod
    def of(cls, arrays: Arrays) -> Phases:
        """Read back what ``arrays`` wrote."""
        found: dict[str, Any] = dict(arrays)
        if "labels" in found:
            found["labels"] = tuple(map(str, found["labels"]))
        return cls(**found)


def settle(problem: Problem, first: Phases, guide: Guide, *, progress: ProgressHook | None = None) -> Phases:
    """Go on from a fit of bins with shared columns: own absorption, absences, sparse abundances."""
    single = np.dtype(np.float32)

    def trial(model: ElementalSpectra, spectra: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        loop = Loop(problem.executor, "which phase is which", TRIAL, progress)
        return factorize(problem, model, model.start(spectra), loop, dtype=single)

    def rounds(model: ElementalSpectra, spectra: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        loop = Loop(problem.executor, "physics", StopRule(SETTLE_ITERATIONS, 0.0), progress)
        start = model.start(spectra)
        return factorize(problem, model, start, loop, accelerate=False, dtype=single, sparsity=SPARSITY)

    return _settled(problem, first, guide, trial, rounds, SETTLE_ROUNDS)


def physical_phases(
    problem: Problem, spectra: np.ndarray, guide: Guide, loop: Loop, *, accelerate: bool = True
) -> Phases:
    """Factorize from the states that stand and ``spectra`` of any shape; then with columns of each phase."""
    problem.executor.change(UnitSpectra(spectra.sum(axis=1)))
    dtype = spectra.dtype
    mean = guide.mean_model()
    shared, objectives = factorize(
        problem, mean, mean.start(spectra), loop, accelerate=accelerate, dtype=dtype
    )
    first = Phases(shared, gather_abundance(problem), objectives)

    def rounds(model: ElementalSpectra, spectra: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        last = replace(loop, label="physics", checkpoint=None)
        return factorize(problem, model, model.start(spectra), last, accelerate=accelerate, dtype=dtype)

    return _settled(problem, first, guide, rounds, rounds, 1)


@threadpool_limits.wrap(limits=1)
def refined(groups: Groups, found: Phases, guide: Guide) -> Phases:
    """Settle the phases once more, on sums of pixels that look alike."""
    if found.owners is None or found.composition is None:
        raise ValueError("phases that no guide has settled")
    places = {guide.labels[owner]: row for row, owner in enumerate(found.owners) if owner >= 0}
    model = guide.model(found.composition, places)
    weights, abundance = refine(model, model.start(found.spectra), groups, sparsity=SPARSITY)
    return replace(
        found,
        spectra=model.spectra(weights).astype(found.spectra.dtype),
        composition=model.composition(weights),
        composition_std=composition_errors(model, weights, abundance),
    )


@threadpool_limits.wrap(limits=1)
def _settled(
    problem: Problem,
    first: Phases,
    guide: Guide,
    trial: Rounds,
    rounds: Rounds,
    times: int,
) -> Phases:
    """Fit with columns of each phase's own, and make these anew from what was found; biggest phase first."""
    model = guide.mean_model()
    order = np.argsort(-first.abundance.sum(axis=0), kind="stable")
    now = replace(first, spectra=first.spectra[order], abundance=first.abundance[:, order])
    objectives = [first.objectives]

    def fitted(model: ElementalSpectra, weights: np.ndarray, how: Rounds = rounds) -> Phases:
        problem.executor.start(GivenState(np.ascontiguousarray(now.abundance)))
        spectra, more = how(model, model.spectra(weights))
        return Phases(spectra, gather_abundance(problem), more)

    places, now = _placed(guide, now, partial(fitted, how=trial))
    now = purified(now, [row for row in range(len(now.spectra)) if row not in places.values()])
    now = _parted(now, guide, places)
    weights = model.weights_of(now.spectra)
    for _ in range(times):
        model = guide.model(model.composition(weights), places)
        now = fitted(model, model.weights_of(now.spectra))
        weights = model.weights_of(now.spectra)
        objectives.append(now.objectives)
    errors = composition_errors(model, weights, now.abundance)
    order = np.argsort(-now.abundance.sum(axis=0), kind="stable")
    owner = {row: label for label, row in places.items()}
    names = [owner.get(int(row)) for row in order]
    return Phases(
        now.spectra[order],
        np.ascontiguousarray(now.abundance[:, order]),
        np.concatenate(objectives),
        tuple(name if isinstance(name, str) else f"phase_{i}" for i, name in enumerate(names)),
        np.array([-1 if name is None else guide.labels.index(name) for name in names]),
        model.composition(weights)[order],
        errors[order],
    )


def _placed(
    guide: Guide, now: Phases, fitted: Callable[[ElementalSpectra, np.ndarray], Phases]
) -> tuple[dict[str | int, int], Phases]:
    """Find the phase of each label: where what the labels rule out costs the least likelihood.

    By its composition alone no phase can be told: where phases never occur pure, the first fit may have
    handed the silicon of a matrix to a phase of its own.
    """
    mean = guide.mean_model()
    weights = mean.weights_of(now.spectra)
    composition = mean.composition(weights)
    ways = guide.ways(len(now.spectra)) or [guide.places(composition)]
    if ways == [{}]:
        return {}, now
    best: tuple[float, dict[str | int, int], Phases] | None = None
    # what the first fit took out of a phase may have to come back
    common = weights.mean(axis=0)
    begun = (1 - RETURNED) * weights + RETURNED * common
    for places in ways:
        tried = fitted(guide.model(composition, places), _within(guide, places, begun))
        if best is None or tried.objectives[-1] < best[0]:
            best = float(tried.objectives[-1]), places, tried
    if best is None:
        raise RuntimeError("no way to place the labels was tried")
    return best[1], best[2]


def _within(guide: Guide, places: dict[str | int, int], weights: np.ndarray) -> np.ndarray:
    """Weights without what the labels rule out; rows sum to 1."""
    held = weights * guide.allowed(len(weights), places)
    return held / np.maximum(held.sum(axis=1, keepdims=True), np.finfo(float).tiny)


def purified(now: Phases, free: Sequence[int]) -> Phases:
    """Turn the spectrum of the matrix to that of the purest bins; product and likelihood stay as they are.

    Where a phase lies everywhere, S_m + b S_j with A_j - b A_m explains the counts as well as S_m with A_j.
    The matrix takes the b that its purest bins have left of each other phase. It is the phase, among those
    that nothing is said about, that is biggest after that.
    """
    counts = now.abundance.astype(np.float64)
    heavy = counts.sum(axis=1) > 0
    best: tuple[float, int, np.ndarray] | None = None
    for row in free:
        mine = heavy & (counts[:, row] > PRESENT_COUNTS)
        if not mine.any():
            continue
        ratio = counts[mine] / counts[mine, row : row + 1]
        share = np.quantile(ratio, PUREST, axis=0)
        share[row] = 0.0
        size = float(counts[:, row].sum() * (1 + share.sum()))
        if best is None or size > best[0]:
            best = size, row, share
    if best is None or not best[2].any():
        return now
    _, row, share = best
    moved = np.minimum(counts[:, row : row + 1] * share, counts)
    moved[:, row] = 0.0
    fresh = counts - moved
    fresh[:, row] += moved.sum(axis=1)
    spectra = now.spectra.copy()
    spectra[row] = (spectra[row] + share @ now.spectra) / (1 + share.sum())
    return replace(now, spectra=spectra, abundance=fresh.astype(now.abundance.dtype))


def _parted(now: Phases, guide: Guide, places: dict[str | int, int]) -> Phases:
    """Turn phases that cannot hold an element of the matrix out of other precipitates and out of the matrix.

    The same freedom as in ``purified``. A phase takes what its richest bins have left of other precipitates;
    then so much of the matrix is taken away as the absent elements say: mixture minus matrix, as in NMF-aided
    unmixing (H. Chen et al., Ultramicroscopy (2024) 113981).
    """
    model = guide.mean_model()
    counts, weights = now.abundance.astype(np.float64), model.weights_of(now.spectra)
    matrix = int(np.argmax(counts.sum(axis=0)))
    for label, row in places.items():
        gone = [guide.elements.index(e) for e in guide.absent.get(label, ())]
        if row == matrix or not weights[matrix, gone].sum() > 0:
            continue
        total = counts.sum(axis=1)
        share = np.divide(counts[:, row], total, out=np.zeros_like(total), where=total > 0)
        rich = share >= RICH * share.max()
        left = np.quantile(
            counts[rich] / np.maximum(counts[rich, row : row + 1], PRESENT_COUNTS), PUREST, axis=0
        )
        left[[row, matrix]] = 0.0
        weights[row], counts = _with(weights[row] + left @ weights, counts, row, left)
        out = np.zeros(len(weights))
        out[matrix] = -min(weights[row, gone].sum() / weights[matrix, gone].sum(), MOST_OUT)
        weights[row], counts = _with(weights[row] + out @ weights, counts, row, out)
    return replace(now, spectra=model.spectra(weights), abundance=counts.astype(now.abundance.dtype))


def _with(
    weights: np.ndarray, counts: np.ndarray, row: int, share: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Give phase ``row`` a share of others for each of its counts; weights sum to 1 again."""
    moved = np.minimum(counts[:, row : row + 1] * share, counts)
    fresh = counts - moved
    fresh[:, row] += moved.sum(axis=1)
    held = np.maximum(weights, 0.0)
    return held / held.sum(), np.maximum(fresh, 0.0)


def with_composition(
    result: xr.Dataset | xr.DataTree, guide: Guide, found: Phases
) -> xr.Dataset | xr.DataTree:
    """Add ``composition(phase, element)`` and its standard error to a result."""
    dims = (schema.PHASE, schema.ELEMENT)
    attrs = schema.variable_attrs(schema.COMPOSITION)
    variables = {
        schema.ELEMENT: xr.Variable((schema.ELEMENT,), list(guide.elements)),
        schema.COMPOSITION: xr.Variable(dims, found.composition, attrs),
        COMPOSITION_STD: xr.Variable(dims, found.composition_std, attrs),
    }
    return with_shared(result, variables)


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
