"""Choices made by the data: bin factor and number of phases, by count splitting.

The photons are thinned into two independent halves. One is fitted; the other, which the fit has not seen,
judges by its multinomial log-likelihood per photon, given each pixel's own number of photons. No truth and
no reference is needed.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr

from edxdask import schema
from edxdask.engine.driver import StopRule
from edxdask.engine.memory import CopySet, PhotonCopy
from edxdask.engine.problem import Problem
from edxdask.engine.states import PixelStates
from edxdask.factorize.identifiability.nothing import faults_of
from edxdask.factorize.iteration.gather import gather_abundance
from edxdask.factorize.iteration.grouped import fit_groups
from edxdask.factorize.iteration.simplest import purity_of, simplest
from edxdask.factorize.iteration.starts import GivenState
from edxdask.factorize.iteration.sweep_step import SPARSITY, Call, SweepStep
from edxdask.factorize.pansharpening.binned_fit import (
    bin_bytes,
    fit_bins,
    fit_bins_from_matrix,
    simpler_of,
    spectra_model,
)
from edxdask.factorize.pansharpening.curve import Curve
from edxdask.factorize.pansharpening.flat_tops import mixtures_at_flat_tops, turned
from edxdask.factorize.pansharpening.similar_pixels import gather_similar
from edxdask.factorize.priors.memory import map_bytes
from edxdask.factorize.priors.smooth_maps import SmoothMaps, fractions, smooth_abundances
from edxdask.factorize.spectra.model import StartingModel
from edxdask.progress import Progress, ProgressHook
from edxdask.results.collections import cubes_in

logger = logging.getLogger(__name__)

BIN_FACTORS = (1, 2, 4, 6, 8, 12, 16, 20, 24)
LEAST_BINS = 6  # bins along the shorter side, below which there are too few to separate phases
MOST_PHASES = 8
WINDOW_PIXELS = 256 * 256  # choices are made on a window of this size where the map is larger
RULE = StopRule(max_iter=150, tol=1e-5)
USUAL_STRENGTH = 1.0  # of the prior while bins are chosen
# and phases: the usual one smooths phases with similar spectra away, and with them more phases seem better
STRENGTHS = (1.0, 0.25)
MUCH_PURER = 0.15  # maps for which a worse bin factor is taken; the fit that follows has a second start
STANDARD_ERRORS = 1.0  # a simpler choice wins if it is worse by no more than this
# or by this part of what all phases gain: what absorption at interfaces and shapes of peaks not quite right
# may gain for a phase that is none
SYSTEMATIC = 1e-3
NEARLY = 0.1  # of what all phases gain: a smaller number that lacks no more is named
CLEARLY = 30.0  # standard errors by which bins of 2 are below the best where those of 1 are not tried


def window_of(data: xr.Dataset | xr.DataTree) -> xr.Dataset | None:
    """Middle of the biggest map, on which choices are made; None where the data are one map of that size."""
    cubes = cubes_in(data)
    by_name = [cubes[name] for name in sorted(cubes)]  # of equal ones always the same
    largest = max(by_name, key=lambda cube: cube[schema.COUNTS].size)
    pixels = schema.pixel_dims(largest)
    cut = {dim: largest.sizes[dim] // 2 for dim in pixels[:-2]}
    window = largest.isel(cut) if cut else largest
    last = {dim: window.sizes[dim] for dim in pixels[-2:]}
    if np.prod(list(last.values())) <= WINDOW_PIXELS:
        return window if cut or len(cubes) > 1 else None
    # a narrow map may be longer than the side of the square
    side, narrow = int(np.sqrt(WINDOW_PIXELS)), min(last.values())
    side = side if narrow >= side else WINDOW_PIXELS // narrow
    return window.isel(
        {d: slice(max(0, (n - side) // 2), max(0, (n - side) // 2) + side) for d, n in last.items()}
    )


def copies_for_choices(window: int | None, phases: int) -> tuple[CopySet, ...]:
    """List the copies of the photons that exist at the same time while choices are made.

    Parameters
    ----------
    window : pixels of the window; None where choices are made on all photons
    phases : at most
    """
    own = (PhotonCopy(pixels=window),) if window else ()
    halves = tuple(PhotonCopy(1, 0.5, window) for _ in range(2))
    bins = PhotonCopy(1, 0.5, window)  # of single pixels, which take the most
    return (
        CopySet((*own, *halves), map_bytes(phases)),
        CopySet((*own, *halves, bins), bin_bytes(phases)),
    )


@dataclass(frozen=True)
class Trial:
    """What a fit of one half of the photons is worth.

    Attributes
    ----------
    score : log-likelihood per photon of the other half
    purity : mean of the largest fraction per pixel, by photons
    real : whether each phase is one: there, and different from the others
    """

    score: float
    purity: float
    real: bool


def tried(
    train: Problem,
    judge: Problem,
    factor: int,
    phases: int,
    model: StartingModel,
    *,
    once_more: bool = False,
) -> Trial:
    """Fit the one half, with all steps from bins to smoothed maps, and judge it by the other.

    With the bins' own abundances, small bins would win, because they blur least. But only the spectra come
    from the bins, not the maps, and spectra are better from larger bins (mantle map, 147 counts per
    pixel: error of the maps from bins of 4 twice that from bins of 12).

    With ``once_more`` spectra are found again from pixels of similar fractions, as in the whole run: fits of
    bins of similar phases end far from where they would settle, the nearer the more phases they have.
    """
    with train.derived(factor=factor, per_pixel=bin_bytes(phases)) as binned:
        fit = fit_bins(binned, factor, phases, model, rule=RULE)
        if once_more:
            second = fit_bins_from_matrix(binned, fit.found, model, rule=RULE)
            fit = replace(fit, found=simpler_of(fit.found, second, train.photons))
    start = PixelStates.made(train, fit.upsampled())
    spectra = fit.found.spectra
    if not once_more:
        return _judged(judge, smooth_abundances(start, spectra, strength=USUAL_STRENGTH), spectra)
    trials, state = [], start
    for strength in STRENGTHS:
        maps = smooth_abundances(state, spectra, strength=strength)
        trials.append(_judged(judge, maps, spectra))
        state = maps.abundance
    if phases > 1:
        strength = STRENGTHS[int(np.argmax([trial.score for trial in trials]))]
        maps = smooth_abundances(state, spectra, strength=strength)
        spectra = _found_again(maps.abundance, spectra, model)
        maps = smooth_abundances(maps.abundance, spectra, strength=strength)
        trials.append(_judged(judge, maps, spectra))
    return max(trials, key=lambda trial: trial.score)


def _judged(judge: Problem, maps: SmoothMaps, spectra: np.ndarray) -> Trial:
    """Say how well maps and spectra of one half of the photons predict the other."""
    abundance = gather_abundance(maps.abundance)
    PixelStates.made(judge, GivenState(np.concatenate(list(maps.abundance.collect(fractions)))))
    call = Call(spectra.astype(np.float32))
    loss = judge.executor.advance(SweepStep(spectra_statistics=False), call)["loss"]
    score = -(float(loss) - judge.pixels) / judge.photons
    return Trial(score, purity_of(abundance), real=not _faults(abundance, spectra))


def _faults(abundance: np.ndarray, spectra: np.ndarray) -> dict[int, str]:
    """Find the phases that are none; ``abundance`` (n, k) in photons."""
    photons = abundance.sum(axis=0, dtype=np.float64)
    fraction = abundance / np.maximum(abundance.sum(axis=1, keepdims=True), np.finfo(np.float32).tiny)
    names = [str(row) for row in range(len(spectra))]
    return faults_of(names, spectra, photons, abundance.max(axis=0), fraction.max(axis=0))


def _found_again(maps: PixelStates, spectra: np.ndarray, model: StartingModel) -> np.ndarray:
    """Spectra of sums of pixels with similar fractions; a phase without photons there stays what it was."""
    turn = mixtures_at_flat_tops(maps, spectra, range(len(spectra)))
    turned_spectra = (turn @ spectra).astype(spectra.dtype)
    groups = gather_similar(maps, len(spectra))
    groups = replace(groups, abundance=turned(groups.abundance, turn))
    weights, _ = fit_groups(model, model.start(turned_spectra), groups, sparsity=SPARSITY)
    return np.asarray(model.spectra(weights), dtype=spectra.dtype)


def choose_bin(
    problem: Problem,
    phases: int,
    *,
    seed: int,
    model: StartingModel | None = None,
    progress: ProgressHook | None = None,
) -> Curve:
    """Choose the bin factor that gives the spectra that predict unseen photons best, or much purer maps.

    From large bins to small ones. Single pixels take the longest and are left out where pairs of them are
    clearly worse than larger bins.
    """
    stack = problem.maps[0].stack
    short = min(stack.width, stack.rows if stack.rows > 1 else stack.width)
    factors = [b for b in reversed(BIN_FACTORS) if b == 1 or short // b >= LEAST_BINS]
    trials: list[Trial] = []
    label = "choosing the bin size"
    for trial in _trials(problem, [(b, phases) for b in factors], seed, model, progress, label):
        trials.append(trial)
        gap = max(one.score for one in trials) - trial.score
        if factors[len(trials) - 1] == 2 and gap > CLEARLY * _error(gap, problem.photons):
            break
    made = sorted(zip(factors, trials, strict=False), key=lambda pair: pair[0])
    scores = np.array([trial.score for _, trial in made])
    chosen = simplest(scores, np.array([trial.purity for _, trial in made]), ahead=MUCH_PURER)
    return _curve(np.array([factor for factor, _ in made]), scores, problem.photons, chosen)


def choose_phases(
    problem: Problem,
    factor: int,
    *,
    seed: int,
    model: StartingModel | None = None,
    progress: ProgressHook | None = None,
) -> Curve:
    """Choose the smallest number of phases that is not clearly worse than the best.

    A trial with a phase that is none, as its map is empty or its spectrum that of another, does not count.
    """
    most = min(MOST_PHASES, problem.channels, -(-problem.pixels // factor**2))
    candidates = list(range(1, most + 1))
    label = "choosing the number of phases"
    settings = [(factor, k) for k in candidates]
    trials = list(_trials(problem, settings, seed, model, progress, label, once_more=True))
    kept = [at for at, trial in enumerate(trials) if trial.real or at == 0]
    scores = np.array([trials[at].score for at in kept])
    fewest = _fewest(scores, _error(scores.max() - scores, problem.photons))
    return _curve(np.array([candidates[at] for at in kept]), scores, problem.photons, fewest)


def number_warnings(curve: Curve) -> list[str]:
    """Name smaller numbers of phases that predict unseen photons nearly as well as the one found.

    Examples
    --------
    >>> found = Curve(np.array([1, 2, 3, 4]), np.array([-9.0, -1.4, -1.0, -1.1]), np.full(4, 0.1), 3)
    >>> number_warnings(found)[0][:83]
    'the number of phases is not certain: phases=2 lacks 5 % of what 3 phases gain over '
    >>> number_warnings(Curve.given(3))
    []
    """
    at = np.flatnonzero(curve.candidates == curve.chosen)
    if not at.size or at[0] == 0:
        return []
    scores = curve.score[: at[0] + 1]
    lacks = (scores[-1] - scores) / max(float(scores[-1] - scores[0]), np.finfo(float).tiny)
    nearly = [
        f"phases={int(curve.candidates[k])} lacks {max(0.0, 100 * lacks[k]):.0f} %"
        for k in range(1, len(scores) - 1)
        if lacks[k] <= NEARLY
    ]
    if not nearly:
        return []
    text = (
        f"the number of phases is not certain: {', '.join(nearly)} of what {int(curve.chosen)} phases gain "
        "over one in predicting photons that the fit has not seen. Compare the results"
    )
    logger.warning("%s", text)
    return [text]


def _fewest(scores: np.ndarray, error: np.ndarray) -> int:
    """Find the first score that is not clearly below the best.

    Beyond the true number scores fall. Where a later trial with more phases is better again, fits have ended
    in places of different quality, and by so much the best may be better by luck.

    Examples
    --------
    >>> _fewest(np.array([-9.0, -3.0, -1.0, -1.1, -1.4]), np.full(5, 0.01))
    2
    >>> _fewest(np.array([-9.0, -1.0, -3.0, -0.5, -1.4]), np.full(5, 0.01))
    1
    """
    gap = scores.max() - scores
    luck = np.zeros(len(scores))
    for at in range(len(scores) - 2):
        rest = scores[at + 1 :]
        luck[at] = (rest - np.minimum.accumulate(rest)).max()
    small = np.maximum.reduce([STANDARD_ERRORS * error, SYSTEMATIC * np.full(len(gap), gap.max()), luck])
    return int(np.argmax(gap <= small))


def _trials(
    problem: Problem,
    settings: Sequence[tuple[int, int]],
    seed: int,
    model: StartingModel | None,
    progress: ProgressHook | None,
    label: str,
    *,
    once_more: bool = False,
) -> Iterator[Trial]:
    """Yield the trial of each bin factor and number of phases."""
    model = spectra_model(problem) if model is None else model
    most = max(phases for _, phases in settings)
    # measured: maps of all pixels, which each setting needs, take about as long as a fit of single pixels
    costs = np.array([phases * (1 + 1 / factor) for factor, phases in settings])
    if progress:
        progress(Progress(label, 0, len(settings), "fit", work=0.0))
    with problem.split_in_two(0.5, seed, per_pixel=map_bytes(most)) as (train, judge):
        for done, (factor, phases) in enumerate(settings, start=1):
            trial = tried(train, judge, factor, phases, model, once_more=once_more)
            if progress:
                work = float(costs[:done].sum() / costs.sum())
                progress(Progress(label, done, len(settings), "fit", work=work))
            logger.info("bins of %d, %d phases: held-out %.6f per photon", factor, phases, trial.score)
            yield trial


def _error(gap: Any, photons: int) -> Any:
    """Estimate the standard error of a gap between mean log-likelihoods of n photons: the root of 2 gap / n.

    The n photons are the judging half of ``photons``.
    """
    return np.sqrt(2 * gap / (photons / 2))


def _curve(candidates: np.ndarray, scores: np.ndarray, photons: int, chosen: int) -> Curve:
    return Curve(candidates, scores, _error(scores.max() - scores, photons), candidates[chosen].item())
