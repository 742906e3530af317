"""Strength of the prior by count splitting: a part of the photons finds volumes, the rest judges them.

Each photon goes to one part or the other by a coin, so both are Poisson and independent: the
log-likelihood of the second under volumes from the first is an unbiased score, and needs no truth.

The likelihood asks for more smoothing than small phases bear, which have few photons. With all photons
the absolute strength that was best with half of them has the least error (phantoms of 5, 10 and 20
photons per pixel), so the relative one, see `VolumeSettings`, becomes smaller by the square root of two.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from edxdask.tomo.estimate import SlabResult, VolumeSettings, reconstruct_slab
from edxdask.tomo.kernels.ratio import expected_photons, photon_ratios
from edxdask.tomo.projector import Projector

FITTED = 0.5  # of the photons
FIRST_STRENGTH, STEP = 0.12, 1.5
WEAKEST, STRONGEST = 0.005, 2.0
FIRST_PASSES, NEXT_PASSES = 24, 16


@dataclass(frozen=True)
class StrengthChoice:
    """What was tried.

    Parameters
    ----------
    strength : float
        For all photons.
    tried : ndarray
        (trial,) strengths for the part that was fitted, weakest first.
    score : ndarray
        (trial,) negative log-likelihood per photon that was kept apart, less that of the best.
    """

    strength: float
    tried: np.ndarray
    score: np.ndarray


def split_counts(counts: np.ndarray, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Divide photons at random into a part that holds ``fraction`` of them, and the rest.

    Examples
    --------
    >>> whole = np.full((2, 3, 4, 5), 7, np.uint8)
    >>> part, rest = split_counts(whole, 0.5, 0)
    >>> bool((part + rest == whole).all()), part.dtype
    (True, dtype('uint8'))
    """
    taken = np.empty_like(counts)
    for i, block in enumerate(counts):  # one projection at a time: binomial numbers are wide
        taken[i] = np.random.default_rng([seed, i]).binomial(block, fraction).astype(counts.dtype)
    return taken, counts - taken


def held_out_cost(
    counts: np.ndarray, projector: Projector, responses: np.ndarray, volume: np.ndarray
) -> float:
    """Compute the negative log-likelihood of counts under a volume (phase, z, y, x)."""
    inside = np.ascontiguousarray(volume.transpose(1, 3, 0, 2), dtype=np.float32)
    g = np.ascontiguousarray(responses, dtype=np.float32)
    total = 0.0
    for tilt in range(len(counts)):
        one = np.array([tilt])
        images, seen = projector.forward(inside, one), projector.seen(one)
        total += expected_photons(images, seen, projector.geometry.exposure[one], g.sum(axis=1))
        total -= photon_ratios(images, counts, one, seen, g)
    return float(total)


def choose_strength(
    counts: np.ndarray, projector: Projector, responses: np.ndarray, settings: VolumeSettings
) -> StrengthChoice:
    """Choose the strength of the prior for a slab, or for the slabs it stands for.

    Parameters
    ----------
    counts : ndarray
        (tilt, detector row, column, class).
    projector : Projector
        Of the slab.
    responses : ndarray
        (phase, class) photons of full voxels at exposure 1.
    settings : VolumeSettings
        Of the estimator; ``strength`` is not used.

    Returns
    -------
    StrengthChoice
    """
    fitted, kept = split_counts(counts, FITTED, settings.seed)
    trials = _Trials(fitted, kept, projector, np.asarray(responses, dtype=np.float64), settings)
    best = trials.at(FIRST_STRENGTH)
    for factor in (STEP, 1.0 / STEP):
        strength = best * factor
        while WEAKEST <= strength <= STRONGEST and trials.is_better(strength, best):
            best, strength = strength, strength * factor
    tried = np.array(sorted(trials.scores))
    score = np.array([trials.scores[one] for one in tried]) / max(int(kept.sum(dtype=np.int64)), 1)
    return StrengthChoice(float(np.sqrt(FITTED)) * _vertex(tried, score), tried, score - score.min())


class _Trials:
    """Volumes of a part of the photons under several strengths; each begins where the one before ended."""

    def __init__(
        self,
        fitted: np.ndarray,
        kept: np.ndarray,
        projector: Projector,
        responses: np.ndarray,
        settings: VolumeSettings,
    ) -> None:
        self._fitted, self._kept = fitted, kept
        self._projector, self._responses, self._settings = projector, responses, settings
        self._last: SlabResult | None = None
        self.scores: dict[float, float] = {}

    def at(self, strength: float) -> float:
        """Try a strength, and return it."""
        if strength in self.scores:
            return strength
        start = None if self._last is None else self._last.volume
        passes = FIRST_PASSES if start is None else NEXT_PASSES
        how = replace(self._settings, strength=strength, max_iter=passes)
        self._last = reconstruct_slab(
            self._fitted, self._projector, FITTED * self._responses, how, start=start
        )
        rest = (1.0 - FITTED) * self._responses
        self.scores[strength] = held_out_cost(self._kept, self._projector, rest, self._last.volume)
        return strength

    def is_better(self, strength: float, than: float) -> bool:
        """Compare two strengths."""
        return self.scores[self.at(strength)] < self.scores[self.at(than)]


def _vertex(tried: np.ndarray, score: np.ndarray) -> float:
    """Lowest point of the parabola through the best trial and its neighbours, on the logarithm."""
    i = int(np.argmin(score))
    if i in (0, len(tried) - 1):
        return float(tried[i])
    x, y = np.log(tried[i - 1 : i + 2]), score[i - 1 : i + 2]
    a, b, _ = np.polyfit(x - x[1], y, 2)
    return float(np.exp(x[1] + np.clip(-b / (2 * a), x[0] - x[1], x[2] - x[1]))) if a > 0 else float(tried[i])
