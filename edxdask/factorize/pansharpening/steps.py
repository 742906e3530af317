"""The steps of `psnmf`, one after the other: each takes what the ones before it found and returns its own.

Choices → fit of bins → strength of the prior → spectra once more, from pixels of similar fractions → maps.
Where the number of phases is found and some turn out to be none, the fits are made again with fewer.
What was found travels as immutable arrays; maps of all pixels stay beside their photons, and the handle that
says where (``SmoothMaps``) is passed on.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import xarray as xr

from edxdask.engine.derive import binned_stacks
from edxdask.engine.driver import StopRule
from edxdask.engine.problem import Problem
from edxdask.engine.states import PixelStates
from edxdask.factorize.guidance.fit import fit_similar, settle
from edxdask.factorize.guidance.guide import Guide
from edxdask.factorize.identifiability.nothing import faults_of
from edxdask.factorize.identifiability.report import with_ranges
from edxdask.factorize.iteration.gather import (
    brightest_pixels,
    gather_abundance,
    largest_fractions,
    phase_sizes,
)
from edxdask.factorize.iteration.grouped import fit_groups
from edxdask.factorize.iteration.phases import Arrays, Phases, WantedPhases
from edxdask.factorize.iteration.sweep_step import SPARSITY
from edxdask.factorize.pansharpening.binned_fit import (
    BinnedFit,
    bin_bytes,
    fit_bins,
    fit_bins_from_matrix,
    simpler_of,
    spectra_model,
)
from edxdask.factorize.pansharpening.choose_bins import choose_bin, choose_phases, window_of
from edxdask.factorize.pansharpening.choose_strength import choose_strength
from edxdask.factorize.pansharpening.cores import matrix_core
from edxdask.factorize.pansharpening.curve import Curve
from edxdask.factorize.pansharpening.flat_tops import flat_rows, mixtures_at_flat_tops, pinned, turned
from edxdask.factorize.pansharpening.kept_steps import (
    BINNED_FIT,
    BINS,
    CHOICES,
    FIRST_MAPS,
    MAPS,
    REFINED,
    STRENGTH,
    KeptSteps,
)
from edxdask.factorize.pansharpening.similar_pixels import SMOOTHER, gather_similar
from edxdask.factorize.priors.smooth_maps import ROUNDS, TOLERANCE, Prior, SmoothMaps, smooth_abundances
from edxdask.factorize.spectra.model import StartingModel
from edxdask.progress import ProgressHook

logger = logging.getLogger(__name__)

Closure = Literal["counts", "thickness"]
FIRST_ROUNDS, FIRST_TOLERANCE = 20, 1e-4  # of the maps that only sort pixels
FIRST_PHASES = 3  # for the bin factor, where the number of phases is not known yet


@dataclass(frozen=True, eq=False)
class Run:
    """What all steps of one run have in common.

    Attributes
    ----------
    problem : all photons
    wanted : how many phases, and their names
    guide : what the user knows of the phases; None without elements
    model : what spectra are made of while nothing is known of single phases
    """

    problem: Problem
    wanted: WantedPhases
    guide: Guide | None
    model: StartingModel
    kept: KeptSteps
    seed: int
    progress: ProgressHook | None

    @classmethod
    def of(
        cls,
        problem: Problem,
        wanted: WantedPhases,
        guide: Guide | None,
        kept: KeptSteps,
        seed: int,
        progress: ProgressHook | None,
    ) -> Run:
        """Begin a run: without a guide, what the detector resolves follows from the summed photons."""
        model = spectra_model(problem) if guide is None else guide.mean_model()
        return cls(problem, wanted, guide, model, kept, seed, progress)


@dataclass(frozen=True, eq=False)
class Choices:
    """Bin factor and number of phases, given or found."""

    bin: Curve
    phases: Curve


@dataclass(frozen=True)
class MapSettings:
    """How maps of all pixels are made; ``smooth`` is the strength that the user gave, if any."""

    strength: float
    prior: Prior
    closure: Closure
    smooth: float | None

    @property
    def identity(self) -> dict[str, Any]:
        """What identifies these maps, for their checkpoint."""
        return {"smooth": self.smooth, "prior": self.prior, "closure": self.closure}


@dataclass(frozen=True)
class PsnmfOptions:
    """What the user asked for; None has it found."""

    bin: int | None
    smooth: float | None
    prior: Prior
    closure: Closure
    rule: StopRule


@dataclass(frozen=True, eq=False)
class Unmixed:
    """Phases and maps of all pixels, with the choices that led to them."""

    choices: Choices
    strength: Curve
    found: Phases
    maps: SmoothMaps


def unmix(run: Run, data: xr.Dataset | xr.DataTree, options: PsnmfOptions) -> Unmixed:
    """Run all steps; once more with fewer phases where their number is found and some are none."""
    choices: Choices | None = None
    while True:
        with window_for_choices(run.problem, data) as window:
            choices = choices or make_choices(run, window, options.bin)
            fit = fit_chosen_bins(run, choices, options.rule, beside=window)
            strength = strength_of_prior(run, window, fit, options.smooth, options.prior)
        settings = MapSettings(float(strength.chosen), options.prior, options.closure, options.smooth)
        found = spectra_once_more(run, fit, settings)
        maps = maps_of_all_pixels(run, replace(fit, found=found), settings)
        faults = {} if run.wanted.number else faults_of_found(found, maps)
        fewer = max(1, len(found.spectra) - len(faults))
        if fewer == len(found.spectra):
            return Unmixed(choices, strength, found, maps)
        logger.info("%s: the fits are made again with phases=%d", "; ".join(faults.values()), fewer)
        choices = _chosen_again(run, choices, fewer, options.bin)


def faults_of_found(found: Phases, maps: SmoothMaps) -> dict[int, str]:
    """Find the phases that are none, and why."""
    names = [f"phase {row}" for row in range(len(found.spectra))]
    brightest, largest = brightest_pixels(maps.abundance), largest_fractions(maps.abundance)
    sizes = phase_sizes(maps.abundance)
    return faults_of(names, found.spectra, sizes, brightest, largest, found.composition_low)


def _chosen_again(run: Run, choices: Choices, number: int, bin: int | None) -> Choices:
    """Put another number of phases in place of the one chosen, in the checkpoint as well."""
    again = replace(choices, phases=replace(choices.phases, chosen=number))
    arrays = {**again.bin.arrays("bin"), **again.phases.arrays("phases")}
    run.kept.make_again(CHOICES, lambda: arrays, bin=bin, phases=run.wanted.number)
    return again


@contextmanager
def window_for_choices(problem: Problem, data: xr.Dataset | xr.DataTree) -> Iterator[Problem]:
    """Photons that choices are made on: all, or the middle of a large map."""
    part = window_of(data)
    if part is None:
        yield problem
        return
    with problem.window(part) as window:
        yield window


def make_choices(run: Run, window: Problem, bin: int | None) -> Choices:
    """Take bin factor and number of phases as given, or find them in the window."""
    phases = run.wanted.number

    def make() -> Arrays:
        first = phases or FIRST_PHASES
        how: dict[str, Any] = {"seed": run.seed, "model": run.model, "progress": run.progress}
        bins = Curve.given(bin) if bin else choose_bin(window, first, **how)
        ranks = Curve.given(phases) if phases else choose_phases(window, int(bins.chosen), **how)
        return {**bins.arrays("bin"), **ranks.arrays("phases")}

    found = run.kept.kept_or_made(CHOICES, make, bin=bin, phases=phases)
    return Choices(Curve.of(found, "bin"), Curve.of(found, "phases"))


def fit_chosen_bins(run: Run, choices: Choices, rule: StopRule, *, beside: Problem) -> BinnedFit:
    """Factorize the binned photons, and settle which phase is which where the user knows something of them.

    ``beside`` is the problem that exists at the same time.
    """
    problem, factor, number = run.problem, int(choices.bin.chosen), int(choices.phases.chosen)
    identity = {"bin": factor, "phases": number, "names": list(run.wanted.names)}

    def make() -> Arrays:
        with problem.derived(factor=factor, per_pixel=bin_bytes(number), beside=beside) as binned:
            how: dict[str, Any] = {"rule": rule, "progress": run.progress}
            kept = run.kept.checkpoint(BINS, **identity)
            first = fit_bins(binned, factor, number, run.model, checkpoint=kept, **how).found
            second = fit_bins_from_matrix(binned, first, run.model, **how)
            found = simpler_of(first, second, problem.photons)
            if run.guide is not None:
                others = [
                    fit for fit in (first, second) if fit is not None and fit.spectra is not found.spectra
                ]
                found = settle(binned, [found, *others], run.guide, run.wanted, progress=run.progress)
            return found.arrays()

    stop = {"max_iter": rule.max_iter, "tol": rule.tol}
    found = Phases.of(run.kept.kept_or_made(BINNED_FIT, make, stop=stop, **identity))
    return BinnedFit(factor, tuple(binned_stacks([m.stack for m in problem.maps], factor)), found)


def strength_of_prior(run: Run, window: Problem, fit: BinnedFit, smooth: float | None, prior: Prior) -> Curve:
    """Take the strength of the prior as given, or find it in the window."""

    def make() -> Arrays:
        if smooth is not None:
            return Curve.given(smooth).arrays("smooth")
        spectra = fit.found.spectra
        curve = choose_strength(window, spectra, kind=prior, seed=run.seed, progress=run.progress)
        return curve.arrays("smooth")

    return Curve.of(run.kept.kept_or_made(STRENGTH, make, smooth=smooth, prior=prior), "smooth")


def spectra_once_more(run: Run, fit: BinnedFit, settings: MapSettings) -> Phases:
    """Find the spectra again, from pixels that smooth maps say are of similar fractions."""

    def make() -> Arrays:
        smoother = replace(settings, strength=SMOOTHER * (settings.strength or 1.0))
        maps = maps_of_all_pixels(run, fit, smoother, first=True)
        turn = mixtures_at_flat_tops(maps.abundance, fit.found.spectra, _unnamed(fit.found))
        spectra = (turn @ fit.found.spectra).astype(fit.found.spectra.dtype)
        flat = flat_rows(turn)
        core = None
        if run.guide is not None and not flat.size:
            core = matrix_core(gather_abundance(maps.abundance), [m.stack for m in run.problem.maps])
        groups = gather_similar(maps.abundance, len(spectra), core)
        if flat.size:
            groups = replace(groups, abundance=turned(groups.abundance, turn))
            groups = pinned(groups, spectra.astype(np.float64), turn)
        found = replace(
            fit.found,
            spectra=spectra,
            abundance=turned(fit.found.abundance, turn),
            flat_tops=flat,
        )
        if run.guide is not None:
            return fit_similar(groups, found, run.guide).arrays()
        weights, _ = fit_groups(run.model, run.model.start(found.spectra), groups, sparsity=SPARSITY)
        spectra = run.model.spectra(weights)
        energy = run.problem.energy.values
        return with_ranges(replace(found, spectra=spectra), None, spectra, groups, energy).arrays()

    return Phases.of(run.kept.kept_or_made(REFINED, make, **settings.identity))


def _unnamed(found: Phases) -> list[int]:
    """Phases that the user has said nothing about."""
    owners = found.owners if found.owners is not None else np.full(len(found.spectra), -1)
    return np.flatnonzero(owners < 0).tolist()


def maps_of_all_pixels(run: Run, fit: BinnedFit, settings: MapSettings, *, first: bool = False) -> SmoothMaps:
    """Make maps of the spectra found; ``first`` ones only sort pixels and may be rough."""
    step, label = (FIRST_MAPS, "first maps") if first else (MAPS, "maps")
    rounds, tol = (FIRST_ROUNDS, FIRST_TOLERANCE) if first else (ROUNDS, TOLERANCE)
    problem = run.problem
    return smooth_abundances(
        PixelStates.made(problem, fit.upsampled()),
        fit.found.spectra,
        strength=settings.strength,
        kind=settings.prior,
        yields=fit.yields([m.stack for m in problem.maps]) if settings.closure == "thickness" else None,
        rounds=rounds,
        tol=tol,
        label=label,
        progress=run.progress,
        checkpoint=run.kept.checkpoint(step, **settings.identity),
    )
