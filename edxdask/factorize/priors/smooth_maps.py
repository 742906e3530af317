"""Abundances of known spectra under a spatial prior: penalised Poisson likelihood, solved to its optimum.

With f = A / N the fractions of a pixel of N counts, minimise over f >= 0, Σ_k f_k = 1

    -Σ_ie y_ie log(Σ_k f_ik S_ke) + λ J(f)

J is the total variation, its length taken over both directions and all phases at once, so that the
phases have common edges; or half the squared differences (Laplacian). The problem is convex: the start does
not matter and nothing is stopped early. A round reads the photons once for a quadratic model of the
likelihood (proximal Newton) and takes ``INNER`` primal-dual steps on it (Condat, J. Optim. Theory Appl. 158
(2013) 460; Vũ, Adv. Comput. Math. 38 (2013) 667) with the dual field of the round before.

A prior reduces the contrast of small grains together with the noise. So the problem is solved a second time
with J replaced by its Bregman distance from the first solution (Osher et al., Multiscale Model. Simul. 4
(2005) 460), which costs nothing where the second has the edges of the first, of any height. On the mantle
phantom the squared error is a third less than that of one solution at its own best strength.

λ = strength · const · √(mean counts per pixel): the noise to remove has a slope of √N in the
likelihood. The best strengths at 15 and at 147 counts then are the same within their scatter, so that a
strength found on half of the photons holds for all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from edxdask.engine.checkpoint import Checkpoint
from edxdask.engine.driver import Loop, Shared, StopRule
from edxdask.engine.executor import Executor
from edxdask.engine.partition import Partition, Tile
from edxdask.engine.problem import Problem
from edxdask.engine.states import PixelStates
from edxdask.engine.step import Halo, State, Stats
from edxdask.errors import ParameterError
from edxdask.factorize.iteration.sweep_step import ABUNDANCE
from edxdask.factorize.kernels.curvature import centre_model
from edxdask.factorize.kernels.prior import divergence, primal_dual, variation
from edxdask.factorize.priors.memory import INNER, model_floats
from edxdask.photons import entropy_term, likelihood_model, pixel_totals
from edxdask.progress import ProgressHook

FRACTION, DUAL, MODEL, PULL = "fraction", "dual", "model", "pull"
Prior = Literal["tv", "laplacian"]
SINGLE = np.float32

ROUNDS, TOLERANCE = 60, 1e-5
DUAL_STEP = 2.4  # of the dual field, over the mean counts, which set the likelihood's curvature
# λ / √(mean counts) at strength 1, which suits most maps: best on mantle and spheres at 15 and 147 counts
# were 4.0 to 6 (TV), 28 to 80 (Laplacian).
USUAL: dict[Prior, float] = {"tv": 4.0, "laplacian": 30.0}
# Of the mean spectrum, in every spectrum: without it a phase at zero never comes back where a photon is in
# a channel that no other phase has, because the likelihood's curvature there has no bound.
SHARED = 1e-3
# One low gain ends the first solution. The round after it may rise at less than two counts per pixel, while
# the dual field follows, so it takes two more to end the second.
PATIENCE = 3
SLACK = 1e-7  # relative rise of the objective that single precision may cause
MOST_DAMPING = 64.0


@dataclass(frozen=True)
class Penalty:
    """Prior, its weight λ against the log-likelihood, and the step of its dual field."""

    kind: Prior
    weight: float
    sigma: float

    @classmethod
    def of(cls, kind: Prior, strength: float, problem: Problem) -> Penalty:
        """Weight of a strength for photons of this number per pixel."""
        mean = problem.photons / problem.pixels
        return cls(kind, USUAL[kind] * strength * mean**0.5, DUAL_STEP * mean)

    @property
    def ball(self) -> tuple[float, float]:
        """Bounds of the dual field: radius of its ball (0: none), factor of each step."""
        if self.weight == 0:
            return 0.0, 0.0
        return (self.weight, 1.0) if self.kind == "tv" else (0.0, 1 / (1 + self.sigma / self.weight))


@dataclass(frozen=True)
class ModelStep:
    """Quadratic model of the likelihood at the fractions; returns the penalised objective there.

    Attributes
    ----------
    yields : (k,) counts of a pixel that is all one phase, where the thickness is uniform; None where every
        pixel keeps its own counts
    """

    penalty: Penalty
    yields: np.ndarray | None = None
    halo_rows: int = 1
    halo_names: tuple[str, ...] = (FRACTION,)

    def run(self, partition: Partition, state: State, shared: np.ndarray, halo: Halo) -> Stats:
        """Write ``model``; ``shared`` is the table of ``mixed_spectra``."""
        fraction, model, pull = state[FRACTION], state[MODEL], state[PULL]
        phases = fraction.shape[1]
        spectra = np.ascontiguousarray(shared.T)
        logs = 0.0
        for where, block in partition.blocks():
            slopes, model[where, phases:], term = likelihood_model(block, fraction[where], spectra)
            model[where, 1:phases] = slopes[:, -1:] - slopes[:, :-1]
            logs += term
        model[:, 1:phases] += pull[:, :-1] - pull[:, -1:]
        pulled = float(np.einsum("ic,ic->", pull, fraction, dtype=np.float64))
        expected = 0.0
        if self.yields is not None:  # counts are no longer given: -log-likelihood has Σ_k f_k g_k as well
            model[:, 1:phases] += (self.yields[:-1] - self.yields[-1]).astype(SINGLE)
            expected = float(fraction.sum(axis=0, dtype=np.float64) @ self.yields)
        roughness = 0.0
        for tile in partition.tiles:
            last = tile is partition.tiles[-1]
            below = halo.below.get(FRACTION) if last else None
            below = fraction[:0] if below is None else below
            own, width = fraction[tile.pixels], tile.plan.width
            roughness += variation(own, below, width, self.penalty.kind == "laplacian")
        return {"objective": self.penalty.weight * roughness + expected + pulled - logs}


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
        sigma, radius, shrink = (SINGLE(number) for number in (self.penalty.sigma, *self.penalty.ball))
        primal_dual(fraction, dual, model, tile.plan.width, self.halo_rows, sigma, radius, shrink)


@dataclass(frozen=True)
class PullStep:
    """Write ``pull``, the slope that makes J a distance from the current fractions, into the model."""

    halo_rows: int = 1
    halo_names: tuple[str, ...] = (DUAL,)

    def run(self, partition: Partition, state: State, shared: None, halo: Halo) -> Stats:
        """Change ``pull`` and ``model``."""
        for tile in partition.tiles:
            dual, pull = state[DUAL][tile.pixels], state[PULL][tile.pixels]
            above = halo.above.get(DUAL) if tile is partition.tiles[0] else None
            divergence(dual, dual[:0] if above is None else above, tile.plan.width, pull)
            state[MODEL][tile.pixels, 1 : pull.shape[1]] += pull[:, :-1] - pull[:, -1:]
        return {}


@dataclass(frozen=True)
class SmoothRounds:
    """One reading of the photons and the steps that follow, as the loop's round.

    When a round gains less than ``tol``, the second solution begins; since its objective at the first one is
    the likelihood alone, the objective continues to fall. If the objective rises, the model was too
    optimistic; its curvature is then doubled, so that steps descend, until rounds fall again.

    Attributes
    ----------
    constant : part of the objective that the fractions do not change
    rounds, tol : what ends the first solution
    yields : as in ``ModelStep``
    """

    executor: Executor
    table: np.ndarray
    penalty: Penalty
    constant: float
    rounds: int
    tol: float
    yields: np.ndarray | None = None

    def start(self) -> Shared:
        """Return what travels from round to round: damping, last objective, solution."""
        return {"smoothing": np.array([1.0, np.inf, 1.0])}

    def __call__(self, shared: Shared, iteration: int) -> tuple[Shared, float]:
        """One round; the objective is that of its starting point."""
        damping, last, solution = shared["smoothing"].tolist()
        step = ModelStep(self.penalty, self.yields)
        found = float(self.executor.advance(step, self.table)["objective"])
        objective = found + self.constant
        rose = objective > last + SLACK * abs(last)
        damping = min(2 * damping, MOST_DAMPING) if rose else max(1.0, damping / 2**0.5)
        done = self.tol > 0 and not rose and last - objective < self.tol * abs(objective)
        if solution == 1 and self.penalty.weight > 0 and (done or iteration + 1 >= self.rounds // 2):
            self.executor.advance(PullStep(), None)
            solution = 2.0
        self.executor.advance(PriorStep(self.penalty), damping)
        return {"smoothing": np.array([damping, objective, solution])}, objective


@dataclass(frozen=True, eq=False)
class SmoothMaps:
    """Maps under a prior.

    Attributes
    ----------
    abundance : where the abundances are, in the scale that they times the spectra are counts
    objectives : (rounds,) Kullback-Leibler divergence plus penalty at the start of each round; falls through
        both solutions
    """

    abundance: PixelStates
    objectives: np.ndarray


def smooth_abundances(
    start: PixelStates,
    spectra: np.ndarray,
    *,
    strength: float,
    kind: Prior = "tv",
    yields: np.ndarray | None = None,
    rounds: int = ROUNDS,
    tol: float = TOLERANCE,
    label: str = "maps",
    progress: ProgressHook | None = None,
    checkpoint: Checkpoint | None = None,
) -> SmoothMaps:
    """Most likely abundances of known spectra under a spatial prior.

    Parameters
    ----------
    start : states with ``abundance`` to start from, which are changed in place
    spectra : (k, E), rows of any positive sum
    strength : weight of the prior; 1 suits most maps at any dose, ``choose_strength`` finds the best, and 0
        leaves the prior out
    kind : "tv" or "laplacian"
    yields : (k,) counts of a pixel that is all one phase. If given, they replace each pixel's own
        counts (uniform thickness: Σ_k A_k / g_k = 1)
    rounds, tol : stop after so many readings of the photons, or when three gained less than ``tol`` of the
        objective; with 0 the first half of the rounds goes to the first solution
    label : its name in progress reports
    checkpoint : resumes from it; the caller removes it at the end

    Notes
    -----
    Without ``yields`` every pixel keeps its photons: its abundances add up to them, and one without photons
    gets zeros. Memory: ``state_floats`` numbers per pixel, ``scratch_floats`` per thread.
    """
    unit, sums = unit_rows(spectra)
    if not (np.isfinite(strength) and strength >= 0):
        raise ParameterError("strength", strength, "a number of at least 0")
    problem, executor = start.problem, start.problem.executor
    table = mixed_spectra(unit)
    if yields is not None:
        table = (table * yields).astype(SINGLE)
    constant = float(sum(start.collect(unexplained if yields is None else unexplained_counts)))
    start.changed(ToFractions(sums, yields))
    penalty = Penalty.of(checked_kind(kind), strength, problem)
    solutions = 2 if penalty.weight > 0 else 1
    loop = Loop(executor, label, StopRule(rounds, tol, PATIENCE), progress, checkpoint, solutions=solutions)
    step = SmoothRounds(executor, table, penalty, constant, rounds, tol, yields)
    _, objectives = loop.run(step, step.start())
    return SmoothMaps(PixelStates.now(problem).changed(ToAbundances(sums, yields)), objectives)


def checked_kind(kind: str, *, name: str = "kind") -> Prior:
    """Refuse the name of a prior that does not exist."""
    if kind == "tv":
        return "tv"
    if kind == "laplacian":
        return "laplacian"
    raise ParameterError(name, kind, "'tv' or 'laplacian'")


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
    """Table (E, k) of the likelihood: spectra with a little of their mean and of a flat line."""
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


def unexplained_counts(partition: Partition, state: State) -> float:
    """Part of the divergence that nothing changes where the counts are not given: Σ y log y - y."""
    return float(sum(entropy_term(block) for _, block in partition.blocks()))


@dataclass(frozen=True)
class ToFractions:
    """States of the smoothing from ``abundance``; ``sums`` are those of the spectra."""

    sums: np.ndarray
    yields: np.ndarray | None = None

    def __call__(self, partition: Partition, state: State) -> State:
        """Convert one partition's state."""
        counts = state[ABUNDANCE].astype(SINGLE) * self.sums.astype(SINGLE)
        if self.yields is not None:
            counts /= self.yields.astype(SINGLE)
        pixels, phases = counts.shape
        total = counts.sum(axis=1, keepdims=True)
        # a pixel without photons begins with what is known of its surroundings
        fraction = state[FRACTION].copy() if FRACTION in state else np.full_like(counts, 1 / phases)
        np.divide(counts, total, out=fraction, where=total > 0)
        return {
            FRACTION: fraction,
            DUAL: np.zeros((pixels, 2 * phases), SINGLE),
            MODEL: np.zeros((pixels, model_floats(phases)), SINGLE),
            PULL: np.zeros((pixels, phases), SINGLE),
        }


@dataclass(frozen=True)
class ToAbundances:
    """Back to ``abundance``: each pixel's photons, or the phases' yields, times its fractions.

    The fractions stay beside them: where there are no photons, they are what the neighbours say.
    """

    sums: np.ndarray
    yields: np.ndarray | None = None

    def __call__(self, partition: Partition, state: State) -> State:
        """Convert one partition's state."""
        abundance = state[FRACTION] / self.sums.astype(SINGLE)
        if self.yields is not None:
            return {ABUNDANCE: abundance * self.yields.astype(SINGLE)}
        for where, block in partition.blocks():
            abundance[where] *= pixel_totals(block)[:, None].astype(SINGLE)
        return {ABUNDANCE: abundance, FRACTION: state[FRACTION]}


def fractions(partition: Partition, state: State) -> np.ndarray:
    """State ``fraction`` of a partition."""
    return state[FRACTION]


def fractions_without_photons(maps: PixelStates) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the pixels without photons, and what the prior says of their fractions (n, k)."""
    first, numbers, rows = 0, [], []
    for pixels, empty, found in maps.collect(_of_empty_pixels):
        numbers.append(first + empty)
        rows.append(found)
        first += pixels
    return np.concatenate(numbers), np.concatenate(rows)


def _of_empty_pixels(partition: Partition, state: State) -> tuple[int, np.ndarray, np.ndarray]:
    """Pixels of a partition, those without photons, and their fractions."""
    abundance = state[ABUNDANCE]
    empty = np.flatnonzero(~abundance.any(axis=1))
    return len(abundance), empty, state[FRACTION][empty]
