"""Alternating updates as rounds of the engine's loop: factors on the client, abundances with their photons.

Acceleration: each round starts from a point extrapolated along the last step. The objective a sweep
returns is that of its starting point, so a step that went too far shows one sweep later; it is undone
and the momentum halved. The plain update that follows never raises the objective, so no recorded value
is above the one before it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from edxdask.engine.driver import Shared
from edxdask.engine.executor import Executor
from edxdask.engine.step import Stats
from edxdask.factorize.steps import Call, SweepStep, extrapolate

FIRST_MOMENTUM, MOST_MOMENTUM = 0.5, 0.98
GROWTH, CEILING_GROWTH, CUT = 1.2, 1.05, 0.5
SLACK = 1e-9  # relative rise of the objective that rounding may cause in single precision


class SpectraModel(Protocol):
    """How the spectra follow from the statistics of a round."""

    def update(self, spectra: np.ndarray, stats: Stats) -> np.ndarray:
        """Spectra after the round."""
        ...


@dataclass(frozen=True)
class FreeSpectra:
    """Any non-negative spectra, but for entries that are fixed.

    Attributes
    ----------
    fixed : (k, E) bool, entries that keep their value; None frees all
    """

    fixed: np.ndarray | None = None

    def update(self, spectra: np.ndarray, stats: Stats) -> np.ndarray:
        """Spectra after the round: numerator over denominator, KL or Frobenius."""
        if "gram" in stats:
            denominator = stats["gram"] @ spectra.astype(np.float64)
        else:
            denominator = np.broadcast_to(stats["column_sums"][:, None], spectra.shape)
        tiny = np.finfo(spectra.dtype).tiny
        fresh = spectra * (stats["numerator"] / np.maximum(denominator, tiny))
        if self.fixed is not None:
            fresh = np.where(self.fixed, spectra, fresh)
        return fresh.astype(spectra.dtype)


@dataclass(frozen=True)
class Rounds:
    """Repeat a sweep and an update of the spectra; callable as the loop's round.

    Attributes
    ----------
    constant : part of the objective that the factors do not change
    accelerate : extrapolate; the partitions' states then hold ``previous``
    """

    executor: Executor
    step: SweepStep
    model: SpectraModel
    constant: float
    accelerate: bool

    def start(self, spectra: np.ndarray) -> Shared:
        """Return the factors before the first round."""
        return {
            "spectra": spectra,
            "before": spectra.copy(),
            "momentum": np.array([0.0, FIRST_MOMENTUM, MOST_MOMENTUM, np.inf]),
        }

    def __call__(self, shared: Shared, iteration: int) -> tuple[Shared, float]:
        """One round: extrapolate, sweep, undo where the objective rose, update the spectra."""
        momentum, growing, ceiling, last = shared["momentum"].tolist()
        now, before = shared["spectra"], shared["before"]
        start = extrapolate(now, before, momentum)
        stats = self.executor.advance(self.step, Call(start, momentum))
        loss = float(stats["loss"]) + self.constant
        if momentum > 0 and loss > last + SLACK * abs(last):
            ceiling, growing, momentum = momentum, growing * CUT, 0.0
            start = now
            stats = self.executor.advance(self.step, Call(now, 0.0, undo=True))
            loss = float(stats["loss"]) + self.constant
        elif self.accelerate:
            ceiling = min(MOST_MOMENTUM, ceiling * CEILING_GROWTH)
            growing = min(ceiling, growing * GROWTH)
        following = growing if self.accelerate else 0.0
        fresh = {
            "spectra": self.model.update(start, stats),
            "before": now,
            "momentum": np.array([following, growing, ceiling, loss]),
        }
        return fresh, loss
