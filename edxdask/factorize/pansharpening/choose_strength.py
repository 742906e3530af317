"""Strength of the spatial prior, by count splitting.

The photons are thinned at random into two independent parts. Maps are fitted to the first with one strength
after the other; the second, which the fit has not seen, judges by its log-likelihood. Strengths scale
with the root of the mean counts per pixel (see ``smooth``), so the best one for a part is the best for all.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from edxdask.engine.driver import Loop, StopRule
from edxdask.engine.partition import Partition
from edxdask.engine.problem import Problem
from edxdask.engine.states import PixelStates
from edxdask.engine.step import State
from edxdask.errors import ParameterError
from edxdask.factorize.iteration.pieces import photon_pieces
from edxdask.factorize.iteration.starts import GivenState
from edxdask.factorize.iteration.sweep_step import ABUNDANCE
from edxdask.factorize.kernels.curvature import log_likelihood
from edxdask.factorize.pansharpening.curve import Curve
from edxdask.factorize.priors.memory import map_bytes
from edxdask.factorize.priors.smooth_maps import (
    PATIENCE,
    PULL,
    SINGLE,
    Penalty,
    Prior,
    SmoothRounds,
    ToFractions,
    checked_kind,
    fractions,
    mixed_spectra,
    unexplained,
    unit_rows,
)
from edxdask.progress import Progress, ProgressHook

logger = logging.getLogger(__name__)

WEAKEST, RATIO, CANDIDATES = 0.25, 1.6, 9
ROUNDS, TOLERANCE = 24, 1e-5
WORSE = 4.0  # standard errors below the best, twice in a row, end the search


def choose_strength(
    problem: Problem,
    spectra: np.ndarray,
    *,
    kind: Prior = "tv",
    strengths: Sequence[float] | None = None,
    fraction: float = 0.5,
    seed: int = 0,
    progress: ProgressHook | None = None,
) -> Curve:
    """Find the strength that gives the maps that predict unseen photons best.

    All pixels of ``problem`` are fitted for each candidate, some 5 ns per pixel and step: give it a window of
    a large map (``choose_bins.window_of``).

    Parameters
    ----------
    spectra : (k, E), rows of any positive sum
    kind : "tv" or "laplacian"
    strengths : candidates, rising; None tries rising ones from a very weak one until the score clearly falls
    fraction : of the photons, which is fitted
    seed : of the split

    Returns
    -------
    Curve
        ``score`` is the held-out log-likelihood per photon; ``error`` the standard error of its difference to
        the best, from the differences in each pixel. ``chosen`` is between candidates: the top of the
        parabola through the best and its neighbours.
    """
    prior = checked_kind(kind)
    if not 0 < fraction < 1:
        raise ParameterError("fraction", fraction, "a number between 0 and 1, neither included")
    candidates = _candidates(strengths)
    unit, _ = unit_rows(spectra)
    tried: list[float] = []
    scores: list[np.ndarray] = []
    with problem.split_in_two(fraction, seed, per_pixel=map_bytes(len(unit))) as (train, judge):
        for strength, maps in _path(train, unit, prior, candidates):
            pieces = PixelStates.made(judge, GivenState(maps)).collect(predicted, mixed_spectra(unit))
            tried.append(strength)
            scores.append(np.concatenate(list(pieces)))
            logger.info("strength %.3g: held-out %.6f per photon", strength, scores[-1].sum() / judge.photons)
            if progress:
                progress(Progress("choosing how smooth maps are", len(tried), len(candidates), "fit"))
            if strengths is None and _past_the_best(scores):
                break
    return _curve(np.array(tried), np.array(scores), judge.photons)


def _candidates(strengths: Sequence[float] | None) -> list[float]:
    if strengths is None:
        return [WEAKEST * RATIO**i for i in range(CANDIDATES)]
    values = [float(s) for s in strengths]
    rising = all(a < b for a, b in pairwise(values))
    if not values or not values[0] > 0 or not np.isfinite(values).all() or not rising:
        raise ParameterError("strengths", strengths, "rising numbers above 0")
    return values


def _path(
    train: Problem, unit: np.ndarray, kind: Prior, candidates: Sequence[float]
) -> Iterator[tuple[float, np.ndarray]]:
    """Yield each strength and its maps ``(pixels, k)``; each fit starts from the one before it."""
    executor = train.executor
    states = PixelStates.made(train, EqualFractions(len(unit))).changed(ToFractions(np.ones(len(unit))))
    constant = float(sum(states.collect(unexplained)))
    for strength in candidates:
        penalty = Penalty.of(kind, strength, train)
        states.changed(without_pull)
        rounds = SmoothRounds(executor, mixed_spectra(unit), penalty, constant, ROUNDS, TOLERANCE)
        Loop(executor, "strength", StopRule(ROUNDS, TOLERANCE, PATIENCE)).run(rounds, rounds.start())
        states = PixelStates.now(train)
        yield strength, np.concatenate(list(states.collect(fractions)))


@dataclass(frozen=True)
class EqualFractions:
    """State in which every phase has the same part of a pixel."""

    phases: int

    def __call__(self, partition: Partition) -> State:
        """Make the state of one partition."""
        return {ABUNDANCE: np.ones((partition.plan.pixels, self.phases), SINGLE)}


def without_pull(partition: Partition, state: State) -> State:
    """State from which the first of the two solutions may start."""
    return {**state, PULL: np.zeros_like(state[PULL])}


def predicted(partition: Partition, state: State, table: np.ndarray) -> np.ndarray:
    """Log-likelihood of each pixel's photons, given their number and the fractions in ``abundance``."""
    fraction = state[ABUNDANCE]
    like = (0,) * fraction.shape[1]
    out = np.empty(len(fraction))
    for where, block in partition.blocks():
        for rows, piece in photon_pieces(block):
            here = slice(where.start + rows.start, where.start + rows.stop)
            log_likelihood(like, piece.indptr, piece.channel, piece.count, fraction[here], table, out[here])
    return out


def _differences(scores: np.ndarray) -> tuple[int, np.ndarray, np.ndarray]:
    """Best candidate, sums below it, and their standard errors from the spread over pixels."""
    best = int(np.argmax(scores.sum(axis=1)))
    gaps = scores[best] - scores
    return best, gaps.sum(axis=1), gaps.std(axis=1) * gaps.shape[1] ** 0.5


def _past_the_best(scores: Sequence[np.ndarray]) -> bool:
    if len(scores) < 3:
        return False
    best, gaps, errors = _differences(np.array(scores))
    return best < len(scores) - 2 and bool((gaps[-2:] > WORSE * errors[-2:]).all())


def _curve(candidates: np.ndarray, scores: np.ndarray, photons: int) -> Curve:
    best, _, errors = _differences(scores)
    total = scores.sum(axis=1)
    chosen = candidates[best]
    if 0 < best < len(candidates) - 1:
        chosen = _top(np.log(candidates[best - 1 : best + 2]), total[best - 1 : best + 2])
    elif len(candidates) > 1:
        logger.warning(
            "the best strength, %.3g, is the %s of those tried",
            chosen,
            "weakest" if best == 0 else "strongest",
        )
    return Curve(candidates, total / photons, errors / photons, float(chosen))


def _top(logs: np.ndarray, scores: np.ndarray) -> float:
    """Where the parabola through three points is highest.

    Examples
    --------
    >>> round(_top(np.log([1.0, 2.0, 4.0]), np.array([0.0, 1.0, 0.0])), 6)
    2.0
    """
    square, slope, _ = np.polyfit(logs - logs[1], scores, 2)
    if square >= 0:  # three equal scores
        return float(np.exp(logs[1]))
    return float(np.exp(np.clip(logs[1] - slope / (2 * square), logs[0], logs[2])))
