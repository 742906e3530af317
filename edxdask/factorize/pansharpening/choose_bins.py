"""Choices made by the data: bin factor and number of phases, by count splitting.

The photons are thinned into two independent halves. One is fitted; the other, which the fit has not seen,
judges: its multinomial log-likelihood per photon, given each pixel's own number of photons. No truth, no
ground of comparison but the data.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from edxdask import schema
from edxdask.engine.derive import Thinning
from edxdask.engine.driver import StopRule
from edxdask.engine.problem import Problem
from edxdask.factorize.iteration.gather import gather_abundance
from edxdask.factorize.iteration.starts import GivenState
from edxdask.factorize.iteration.sweep_step import Call, SweepStep
from edxdask.factorize.pansharpening.binned_fit import (
    BinnedModel,
    Upsampled,
    fit_bins,
    fractions_of,
    spectra_model,
)
from edxdask.factorize.priors.smooth_maps import smooth_abundances
from edxdask.progress import Progress, ProgressHook
from edxdask.results.collections import cubes_in

logger = logging.getLogger(__name__)

BIN_FACTORS = (1, 2, 4, 6, 8, 12, 16, 20, 24)
LEAST_BINS = 6  # bins along the shorter side, below which there is nothing left to tell phases by
MOST_PHASES = 8
WINDOW_PIXELS = 256 * 256  # choices are made on a window of this size where the map is larger
RULE = StopRule(max_iter=150, tol=1e-5)
USUAL_STRENGTH = 1.0  # of the prior while bins and phases are chosen
STANDARD_ERRORS = 1.0  # a simpler choice wins if it is worse by no more than this
CLEARLY = 30.0  # standard errors by which bins of 2 lie below the best where those of 1 are not tried


@dataclass(frozen=True)
class Curve:
    """What a choice was made from.

    Attributes
    ----------
    candidates : values tried
    score : held-out log-likelihood per photon; higher is better
    error : standard error of ``score`` against the best
    chosen : the value taken
    """

    candidates: np.ndarray
    score: np.ndarray
    error: np.ndarray
    chosen: float

    @classmethod
    def given(cls, value: float) -> Curve:
        """Stand for a value that the user gave."""
        return cls(np.empty(0), np.empty(0), np.empty(0), value)

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray], name: str) -> Curve:
        """Read back what ``arrays`` wrote."""
        candidates, score, error = (arrays[f"{name}_{part}"] for part in ("candidates", "score", "error"))
        return cls(candidates, score, error, arrays[f"{name}_chosen"].item())

    def arrays(self, name: str) -> dict[str, np.ndarray]:
        """Everything as arrays."""
        return {
            f"{name}_candidates": self.candidates,
            f"{name}_score": self.score,
            f"{name}_error": self.error,
            f"{name}_chosen": np.array(self.chosen),
        }

    def variables(self, name: str) -> dict[str, xr.Variable]:
        """Curve as ``<name>_score`` over ``<name>_candidate``; nothing where the user gave the value."""
        if not self.candidates.size:
            return {}
        dims = (f"{name}_candidate",)
        label = {"long_name": "held-out log-likelihood per photon"}
        return {
            dims[0]: xr.Variable(dims, self.candidates),
            f"{name}_score": xr.Variable(dims, self.score, label),
            f"{name}_score_std": xr.Variable(dims, self.error, {"long_name": "standard error to the best"}),
        }


def window_of(data: xr.Dataset | xr.DataTree) -> xr.Dataset:
    """Return the cube choices are made on: all of it, or the middle window of the biggest map."""
    data = max(cubes_in(data).values(), key=lambda cube: cube[schema.COUNTS].size)
    pixels = schema.pixel_dims(data)
    cut = {dim: data.sizes[dim] // 2 for dim in pixels[:-2]}
    window = data.isel(cut) if cut else data
    side = int(np.sqrt(WINDOW_PIXELS))
    last = {dim: window.sizes[dim] for dim in pixels[-2:]}
    if np.prod(list(last.values())) <= WINDOW_PIXELS:
        return window
    # a narrow map may be longer than the side of the square
    narrow = min(last.values())
    side = side if narrow >= side else WINDOW_PIXELS // narrow
    return window.isel(
        {d: slice(max(0, (n - side) // 2), max(0, (n - side) // 2) + side) for d, n in last.items()}
    )


def held_out(train: Problem, judge: Problem, factor: int, phases: int, model: BinnedModel) -> float:
    """Log-likelihood per photon of the judging half, of the whole way from bins to smoothed maps.

    Judged by the bins' own abundances, small bins win, because they blur least; but the maps do not come
    from the bins, only the spectra do, and those are better from larger ones (mantle map, 147 counts a
    pixel: error of the maps from bins of 4 twice that from bins of 12).
    """
    binned = train.derive(factor=factor)
    try:
        fit = fit_bins(binned, factor, phases, model, rule=RULE)
    finally:
        binned.executor.close()
    start = Upsampled(fit.fractions, fit.stacks, fit.factor)
    smooth_abundances(train, fit.spectra, strength=USUAL_STRENGTH, start=start)
    judge.executor.start(GivenState(fractions_of(gather_abundance(train))))
    call = Call(fit.spectra.astype(np.float32))
    loss = judge.executor.advance(SweepStep(spectra_statistics=False), call)["loss"]
    return -(float(loss) - judge.pixels) / judge.photons


def choose_bin(
    problem: Problem,
    phases: int,
    *,
    seed: int,
    model: BinnedModel | None = None,
    progress: ProgressHook | None = None,
) -> Curve:
    """Choose the bin factor whose spectra predict unseen photons best.

    From large bins to small ones. Single pixels take the longest and are left out where pairs of them are
    clearly worse than larger bins.
    """
    stack = problem.maps[0].stack
    short = min(stack.width, stack.rows if stack.rows > 1 else stack.width)
    factors = [b for b in reversed(BIN_FACTORS) if b == 1 or short // b >= LEAST_BINS]
    scores: list[float] = []
    for score in _scored(problem, [(b, phases) for b in factors], seed, model, progress):
        scores.append(score)
        gap = max(scores) - score
        if factors[len(scores) - 1] == 2 and gap > CLEARLY * _error(gap, problem.photons):
            break
    return _curve(np.array(factors[len(scores) - 1 :: -1]), np.array(scores[::-1]), problem.photons)


def choose_phases(
    problem: Problem,
    factor: int,
    *,
    seed: int,
    model: BinnedModel | None = None,
    progress: ProgressHook | None = None,
) -> Curve:
    """Choose the smallest number of phases that is not clearly worse than the best."""
    most = min(MOST_PHASES, problem.channels, -(-problem.pixels // factor**2))
    candidates = list(range(1, most + 1))
    scores = list(_scored(problem, [(factor, k) for k in candidates], seed, model, progress))
    return _curve(np.array(candidates), np.array(scores), problem.photons, simplest=True)


def _scored(
    problem: Problem,
    settings: Sequence[tuple[int, int]],
    seed: int,
    model: BinnedModel | None,
    progress: ProgressHook | None,
) -> Iterator[float]:
    """Yield the score of each bin factor and number of phases."""
    train, judge = (problem.derive(thinning=Thinning(0.5, seed, rest)) for rest in (False, True))
    model = spectra_model(problem) if model is None else model
    try:
        for done, (factor, phases) in enumerate(settings, start=1):
            score = held_out(train, judge, factor, phases, model)
            if progress:
                progress(Progress("choices by count splitting", done, len(settings), "fit"))
            logger.info("bins of %d, %d phases: held-out %.6f per photon", factor, phases, score)
            yield score
    finally:
        train.executor.close()
        judge.executor.close()


def _error(gap: Any, photons: int) -> Any:
    """Estimate the standard error of a gap between mean log-likelihoods of n photons: the root of 2 gap / n.

    The n photons are the judging half of ``photons``.
    """
    return np.sqrt(2 * gap / (photons / 2))


def _curve(candidates: np.ndarray, scores: np.ndarray, photons: int, *, simplest: bool = False) -> Curve:
    best = int(np.argmax(scores))
    gap = scores[best] - scores
    error = _error(gap, photons)
    chosen = int(np.argmax(gap <= STANDARD_ERRORS * error)) if simplest else best
    return Curve(candidates, scores, error, candidates[chosen].item())
