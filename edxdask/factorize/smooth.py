"""Abundances of known spectra under a spatial prior: penalised Poisson likelihood, solved to its optimum.

With f = A / N the fractions of a pixel of N counts, minimise over f >= 0, Σ_k f_k = 1

    -Σ_ie y_ie log(Σ_k f_ik S_ke) + λ J(f)

J is the total variation, its length taken over both directions and all phases at once, so that phases share
their edges; or half the squared differences (Laplacian). The problem is convex: no start matters and nothing
is stopped early. A round reads the photons once for a quadratic model of the likelihood (proximal Newton) and
takes ``INNER`` primal-dual steps on it (Condat, J. Optim. Theory Appl. 158 (2013) 460; Vũ, Adv. Comput. Math.
38 (2013) 667) with the dual field of the round before. Some six rounds do what hundreds of
expectation-maximization steps do.

λ = strength · √(mean counts a pixel): the noise that must not survive has a slope of √N in the likelihood.
The best strengths at 15 and at 147 counts then are the same within their scatter, so that a strength found
on half of the photons holds for all of them.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Literal

import numpy as np

from edxdask.engine.checkpoint import Checkpoint
from edxdask.engine.driver import Loop, Shared, StopRule
from edxdask.engine.executor import Executor
from edxdask.engine.partition import Partition, Tile
from edxdask.engine.problem import Problem
from edxdask.engine.step import Halo, State, StateMaker, Stats
from edxdask.errors import ParameterError
from edxdask.factorize.blocks import photon_pieces
from edxdask.factorize.kernels.curvature import centre_model, likelihood_model
from edxdask.factorize.kernels.prior import primal_dual, variation
from edxdask.factorize.steps import ABUNDANCE
from edxdask.photons import entropy_term, pixel_totals
from edxdask.progress import ProgressHook

logger = logging.getLogger(__name__)

FRACTION, DUAL, MODEL = "fraction", "dual", "model"
Prior = Literal["tv", "laplacian"]
SINGLE = np.float32

INNER = 12  # primal-dual steps a round, and rows of a halo
ROUNDS, TOLERANCE = 40, 3e-6
# Step of the dual field over λ. Steps until the objective is within 1e-5: 240, 120, 80, 110 at 1, 2, 6, 16.
DUAL_STEP = 6.0
# A share of the mean spectrum in every spectrum: without it a phase at zero never comes back where a photon
# lies in a channel that no other phase has, because the likelihood's curvature there has no bound.
SHARED = 1e-3
SLACK = 1e-7  # relative rise of the objective that single precision may cause
MOST_DAMPING = 64.0


def state_floats(phases: int) -> int:
    """Count single-precision numbers a pixel that smoothing holds at its peak.

    Examples
    --------
    >>> [state_floats(k) for k in (2, 3, 4, 8)]
    [11, 18, 26, 68]
    """
    return phases + 2 * phases + model_floats(phases) + phases


def model_floats(phases: int) -> int:
    """Count numbers a pixel of the quadratic model: step bound, slopes, curvatures."""
    return 1 + (phases - 1) + (phases - 1) * phases // 2


@dataclass(frozen=True)
class Penalty:
    """Prior and its weight λ against the log-likelihood."""

    kind: Prior
    weight: float

    @classmethod
    def of(cls, kind: Prior, strength: float, problem: Problem) -> Penalty:
        """Weight of a strength for photons of this number a pixel."""
        mean = problem.photons / problem.pixels
        return cls(kind, strength * mean**0.5)

    @property
    def steps(self) -> tuple[float, float, float]:
        """Step of the dual field, and what bounds it: (sigma, radius of its ball, factor)."""
        if self.weight == 0:
            return 1e-3, 0.0, 0.0
        if self.kind == "tv":
            return DUAL_STEP * self.weight, self.weight, 1.0
        return self.weight, 0.0, 0.5


@dataclass(frozen=True)
class ModelStep:
    """Quadratic model of the likelihood at the fractions; returns the penalised objective there."""

    penalty: Penalty
    halo_rows: int = 1
    halo_names: tuple[str, ...] = (FRACTION,)

    def run(self, partition: Partition, state: State, shared: np.ndarray, halo: Halo) -> Stats:
        """Write ``model``; ``shared`` is the table of ``mixed_spectra``."""
        fraction, model = state[FRACTION], state[MODEL]
        like = (0,) * fraction.shape[1]
        logs = 0.0
        for where, block in partition.blocks():
            for rows, piece in photon_pieces(block):
                here = slice(where.start + rows.start, where.start + rows.stop)
                logs += likelihood_model(
                    like, piece.indptr, piece.channel, piece.count, fraction[here], shared, model[here]
                )
        roughness = 0.0
        for tile in partition.tiles:
            last = tile is partition.tiles[-1]
            below = halo.below.get(FRACTION) if last else None
            below = fraction[:0] if below is None else below
            own, width = fraction[tile.pixels], tile.plan.width
            roughness += variation(own, below, width, self.penalty.kind == "laplacian")
        return {"objective": self.penalty.weight * roughness - logs}


@dataclass(frozen=True)
class PriorStep:
    """Primal-dual steps on the model; ``halo_rows`` rows of the neighbours make them exact."""

    penalty: Penalty
    halo_rows: int = INNER
    halo_names: tuple[str, ...] = (FRACTION, DUAL, MODEL)

    def run(self, partition: Partition, state: State, shared: float, halo: Halo) -> Stats:
        """Change ``fraction`` and ``dual``; ``shared`` multiplies the model's curvature."""
        first, last = partition.tiles[0], partition.tiles[-1]
        for tile in partition.tiles:
            above = halo.above if tile is first else {}
            below = halo.below if tile is last else {}
            self._tile(tile, state, above, below, shared)
        return {}

    def _tile(self, tile: Tile, state: State, above: State, below: State, damping: float) -> None:
        own = {name: state[name][tile.pixels] for name in self.halo_names}
        parts = [side or {name: array[:0] for name, array in own.items()} for side in (above, own, below)]
        fraction, dual, model = (tuple(part[name] for part in parts) for name in self.halo_names)
        like = (0,) * state[FRACTION].shape[1]
        for values, pixels in zip(fraction, model, strict=True):
            centre_model(like, values, pixels, SINGLE(damping))
        ahead = tuple(values.copy() for values in fraction)
        sigma, radius, shrink = (SINGLE(number) for number in self.penalty.steps)
        primal_dual(
            like, fraction, dual, model, ahead, tile.plan.width, self.halo_rows, sigma, radius, shrink
        )


@dataclass(frozen=True)
class SmoothRounds:
    """One reading of the photons and the steps that follow, as the loop's round.

    A model that promised too much shows as a rise of the objective; from then on its curvature is doubled,
    which makes the steps those of a descent, until three rounds in a row fell.

    Attributes
    ----------
    constant : part of the objective that the fractions do not change
    """

    executor: Executor
    table: np.ndarray
    penalty: Penalty
    constant: float

    def start(self) -> Shared:
        """Return what travels from round to round."""
        return {"smoothing": np.array([1.0, np.inf])}

    def __call__(self, shared: Shared, iteration: int) -> tuple[Shared, float]:
        """One round; the objective is that of its starting point."""
        damping, last = shared["smoothing"].tolist()
        found = float(self.executor.advance(ModelStep(self.penalty), self.table)["objective"])
        objective = found + self.constant
        if objective > last + SLACK * abs(last):
            damping = min(2 * damping, MOST_DAMPING)
            logger.debug("round %d: objective rose, curvature × %g", iteration, damping)
        else:
            damping = max(1.0, damping / 2**0.5)
        self.executor.advance(PriorStep(self.penalty), damping)
        return {"smoothing": np.array([damping, objective])}, objective


def smooth_abundances(
    problem: Problem,
    spectra: np.ndarray,
    *,
    strength: float,
    kind: Prior = "tv",
    start: StateMaker | None = None,
    rounds: int = ROUNDS,
    tol: float = TOLERANCE,
    progress: ProgressHook | None = None,
    checkpoint: Checkpoint | None = None,
) -> np.ndarray:
    """Most likely abundances of known spectra under a spatial prior, left in the state ``abundance``.

    Parameters
    ----------
    spectra : (k, E), rows of any positive sum
    strength : weight of the prior, in units of the square root of the mean counts a pixel; 0 leaves it out.
        About 1 suits most maps; ``choose_strength`` finds it
    kind : "tv" or "laplacian"
    start : makes the states with ``abundance`` to start from; None takes those that stand
    rounds, tol : stop after so many readings of the photons, or when one gained less than ``tol`` of the
        objective
    checkpoint : resumes from it; the caller removes it when all is done

    Returns
    -------
    (rounds,) float64
        Kullback-Leibler divergence plus penalty at the start of each round.

    Notes
    -----
    Every pixel keeps its photons: abundances of a pixel add up to them. Memory: ``state_floats`` numbers a
    pixel. A pixel without photons gets zeros.
    """
    unit, sums = unit_rows(spectra)
    if not (np.isfinite(strength) and strength >= 0):
        raise ParameterError("strength", strength, "a number of at least 0")
    executor = problem.executor
    if start is not None:
        executor.start(start)
    constant = float(sum(executor.collect(unexplained)))
    executor.change(ToFractions(sums))
    penalty = Penalty.of(checked_kind(kind), strength, problem)
    loop = Loop(executor, "maps", StopRule(rounds, tol, 1), progress, checkpoint)
    step = SmoothRounds(executor, mixed_spectra(unit), penalty, constant)
    _, objectives = loop.run(step, step.start())
    executor.change(ToAbundances(sums))
    return objectives


def checked_kind(kind: str) -> Prior:
    """Refuse the name of a prior that does not exist."""
    if kind == "tv":
        return "tv"
    if kind == "laplacian":
        return "laplacian"
    raise ParameterError("kind", kind, "'tv' or 'laplacian'")


def unit_rows(spectra: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Spectra of unit sum, and the sums they had."""
    wide = np.asarray(spectra, dtype=np.float64)
    sums = wide.sum(axis=-1)
    if wide.ndim != 2 or not np.isfinite(wide).all() or (wide < 0).any() or not (sums > 0).all():
        raise ParameterError(
            "spectra", f"shape {wide.shape}", "finite rows of at least 0 that are not all zero"
        )
    return wide / sums[:, None], sums


def mixed_spectra(unit: np.ndarray) -> np.ndarray:
    """Table (E, k) of the likelihood: spectra with a small share of their mean and of a flat line."""
    common = 0.99 * unit.mean(axis=0) + 0.01 / unit.shape[1]
    return np.ascontiguousarray(((1 - SHARED) * unit + SHARED * common).T, dtype=SINGLE)


def unexplained(partition: Partition, state: State) -> float:
    """Part of the divergence that no fraction changes: Σ y log y - Σ_i N log N."""
    total = 0.0
    for _, block in partition.blocks():
        counts = pixel_totals(block).astype(np.float64)
        logs = np.log(counts, out=np.zeros_like(counts), where=counts > 0)
        total += entropy_term(block) + counts.sum() - float(counts @ logs)
    return total


@dataclass(frozen=True)
class ToFractions:
    """States of the smoothing from ``abundance``; ``sums`` are those of the spectra."""

    sums: np.ndarray

    def __call__(self, partition: Partition, state: State) -> State:
        """Convert one partition's state."""
        counts = state[ABUNDANCE].astype(SINGLE) * self.sums.astype(SINGLE)
        pixels, phases = counts.shape
        total = counts.sum(axis=1, keepdims=True)
        fraction = np.full_like(counts, 1 / phases)
        np.divide(counts, total, out=fraction, where=total > 0)
        return {
            FRACTION: fraction,
            DUAL: np.zeros((pixels, 2 * phases), SINGLE),
            MODEL: np.zeros((pixels, model_floats(phases)), SINGLE),
        }


@dataclass(frozen=True)
class ToAbundances:
    """Back to ``abundance``: each pixel's photons times its fractions."""

    sums: np.ndarray

    def __call__(self, partition: Partition, state: State) -> State:
        """Convert one partition's state."""
        abundance = state[FRACTION] / self.sums.astype(SINGLE)
        for where, block in partition.blocks():
            abundance[where] *= pixel_totals(block)[:, None].astype(SINGLE)
        return {ABUNDANCE: abundance}
