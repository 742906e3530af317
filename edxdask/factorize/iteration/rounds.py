"""Alternating updates as rounds of the engine's loop: factors on the client, abundances with their photons.

Acceleration: each round starts from a point extrapolated along the last step. The objective a sweep
returns is that of its starting point, so a step that was too long is seen one sweep later; it is undone
and the momentum halved. The plain update that follows never raises the objective, so no recorded value
is above the one before it. Above a momentum of 1 the scale of a spectrum, which its abundances compensate,
would grow without limit: there spectra keep their sums.

Without acceleration no guard is needed. As the logarithms of the KL objective are a quarter of a sweep's
work, it is then computed every tenth round, as in scikit-learn.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from edxdask.engine.driver import Loop, Shared
from edxdask.engine.executor import Executor
from edxdask.engine.partition import Partition
from edxdask.engine.states import PixelStates
from edxdask.engine.step import State, Stats
from edxdask.factorize.iteration.sweep_step import ABUNDANCE, PREVIOUS, Call, Loss, SweepStep, extrapolate
from edxdask.factorize.spectra.free import FreeSpectra
from edxdask.factorize.spectra.model import SpectraModel
from edxdask.photons import entropy_term

FIRST_MOMENTUM = 0.5
MOST_MOMENTUM = 0.98  # of fits of bins, which stop early on purpose and were tuned with this
FAR_MOMENTUM = 1.2  # of free spectra, KL: from ten random starts on two maps 56 rounds (median) replace 100
GROWTH, CEILING_GROWTH, CUT = 1.2, 1.05, 0.5
LOOK = 10  # rounds of plain KL updates per evaluation of the objective
SLACK = {4: 1e-9, 8: 1e-13}  # relative rise of the objective that rounding may cause, by bytes per number


@dataclass(frozen=True, eq=False)
class Factorized:
    """What the rounds of a factorization found.

    Attributes
    ----------
    spectra : (k, E)
    abundance : where the abundances are, in the scale that they times ``spectra`` are counts
    objectives : (rounds,), NaN where it was not computed
    """

    spectra: np.ndarray
    abundance: PixelStates
    objectives: np.ndarray


@dataclass(frozen=True)
class AlternatingRounds:
    """Repeat a sweep and an update of the spectra; callable as the loop's round.

    Attributes
    ----------
    constant : part of the objective that the factors do not change
    accelerate : extrapolate; the partitions' states then hold ``previous``
    last : number of the last round there may be
    dtype : precision of the sweeps, that of the weights where None
    most : largest momentum
    """

    executor: Executor
    step: SweepStep
    model: SpectraModel
    constant: float
    accelerate: bool
    last: int
    dtype: np.dtype[Any] | None = None
    most: float = MOST_MOMENTUM

    def start(self, weights: np.ndarray) -> Shared:
        """Return the factors before the first round."""
        return {
            "weights": weights,
            "before": weights.copy(),
            "momentum": np.array([0.0, FIRST_MOMENTUM, self.most, np.inf]),
        }

    def __call__(self, shared: Shared, iteration: int) -> tuple[Shared, float]:
        """Extrapolate, sweep, undo where the objective rose, update the spectra."""
        momentum, growing, ceiling, last = shared["momentum"].tolist()
        now, before = shared["weights"], shared["before"]
        start = np.array(now, order="C")
        extrapolate(start, np.array(before, dtype=start.dtype, order="C"), momentum)
        if momentum > 1:
            start *= self._scale(now.sum(axis=1, keepdims=True), start.sum(axis=1, keepdims=True))
        look = self.accelerate or iteration % LOOK == 0 or iteration == self.last
        stats, loss = self._sweep(Call(self._spectra(start), momentum, look=look))
        slack = SLACK[(self.dtype or now.dtype).itemsize]
        if momentum > 0 and not loss <= last + slack * abs(last):  # also after an overflow
            ceiling, growing = momentum, growing * CUT
            start = now
            stats, loss = self._sweep(Call(self._spectra(now), undo=True))
        elif self.accelerate:
            ceiling = min(self.most, ceiling * CEILING_GROWTH)
            growing = min(ceiling, growing * GROWTH)
        fresh = {
            "weights": self.model.update(start, stats),
            "before": now,
            "momentum": np.array([growing if self.accelerate else 0.0, growing, ceiling, loss]),
        }
        return fresh, loss

    def _scale(self, sums: np.ndarray, after: np.ndarray) -> np.ndarray:
        """Factor that restores the sum of each row; 1 where a fixed entry sets the scale."""
        scale = np.divide(sums, after, out=np.ones_like(sums), where=after > 0)
        if isinstance(self.model, FreeSpectra) and self.model.fixed is not None:
            scale[self.model.fixed.any(axis=1)] = 1
        return scale

    def _spectra(self, weights: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(self.model.spectra(weights), dtype=self.dtype or weights.dtype)

    def _sweep(self, call: Call) -> tuple[Stats, float]:
        stats = self.executor.advance(self.step, call)
        return stats, float(stats["loss"]) + self.constant


def factorize(
    abundance: PixelStates,
    model: SpectraModel,
    weights: np.ndarray,
    loop: Loop,
    *,
    loss: Loss = "kl",
    accelerate: bool = True,
    dtype: np.dtype[Any] | None = None,
    sparsity: float = 0.0,
    most_momentum: float = MOST_MOMENTUM,
) -> Factorized:
    """Iterate from abundances and ``weights`` of ``model``; the abundances given are changed in place."""
    problem = abundance.problem
    constant = float(sum(abundance.collect(entropy_of))) if loss == "kl" else 0.0
    if accelerate:
        abundance.changed(add_previous)
    step = SweepStep(loss=loss, sparsity=sparsity)
    last = loop.rule.max_iter - 1
    rounds = AlternatingRounds(
        problem.executor, step, model, constant, accelerate, last, dtype, most_momentum
    )
    shared, objectives = loop.run(rounds, rounds.start(weights))
    return Factorized(model.spectra(shared["weights"]), PixelStates.now(problem), objectives)


def entropy_of(partition: Partition, state: State) -> float:
    """Part of the KL divergence that no factor changes: Σ y log y - y."""
    return float(sum(entropy_term(block) for _, block in partition.blocks()))


def add_previous(partition: Partition, state: State) -> State:
    """State with room for the last round's abundances."""
    return {**state, PREVIOUS: state[ABUNDANCE].copy()}
