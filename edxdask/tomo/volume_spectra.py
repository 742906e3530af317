"""Spectra of phases judged in the volume: mixtures of those found on projections that explain photons best.

On projections no pixel of a thick object is pure, so ``psnmf`` can only guess where spectra of phases end. In
three dimensions it shows: half of the photons give volumes, and the other half is expected best by volumes of
spectra that are right, as neither a spectrum that is too extreme nor one that is a mixture lets voxels be
what they are. So spectra are moved towards and away from one another, one after the other, for as long as
photons that were kept apart say that this is better.

Where volumes are hardly pure, a phase may be missing altogether. Then spectra of more phases are taken for a
basis, and those of clusters of voxels in it (`voxel_clusters`) are a second beginning.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from edxdask.tomo.class_cube import NO_CLASS
from edxdask.tomo.classes import class_responses, classes_of
from edxdask.tomo.estimate import VolumeSettings, reconstruct_slab
from edxdask.tomo.mixing import mixing_of
from edxdask.tomo.projector import Projector
from edxdask.tomo.strength import split_counts
from edxdask.tomo.voxel_clusters import cluster_spectra, fitted_mixtures
from edxdask.tomo.yields import first_scale

CountsOf = Callable[[np.ndarray], np.ndarray]  # class of each channel to (tilt, detector row, column, class)
MoreSpectra = Callable[[int], np.ndarray]  # number of phases to spectra (phase, channel)

HALF = 0.5  # of the photons find volumes; the others judge them
CLASSES = 24
FIRST_PASSES, NEXT_PASSES, JUDGED_PASSES = 25, 12, 40
FIRST_STEP, LONGER, SHORTER, LAST_STEP = 0.1, 1.5, 0.5, 0.02
SWEEPS = 5
LEAST_PURE = 0.3  # of the photons of a phase, below which one may be missing
EXTRA = 2  # phases of the basis, then
NEGATIVE = 0.01  # of a spectrum that may be below 0, and is cut
SURE = 3.0  # standard errors of the gain ...
# ... and per photon, and in all: the prior on volumes makes smaller ones, of true spectra too (up to 29)
LEAST_GAIN, LEAST_IN_ALL = 4e-4, 40.0


@dataclass(frozen=True)
class VolumeSpectra:
    """What the volume says of spectra.

    Attributes
    ----------
    spectra : (phase, channel) rows that sum to 1: those given, where photons prefer no others clearly
    changed : whether they are others
    gain : log-likelihood of photons kept apart, over that under the spectra given
    std : standard error of the gain
    """

    spectra: np.ndarray
    changed: bool
    gain: float
    std: float


def spectra_in_volume(
    counts_of: CountsOf,
    projector: Projector,
    spectra: np.ndarray,
    more_spectra: MoreSpectra,
    settings: VolumeSettings,
    *,
    first: int = 0,
) -> VolumeSpectra:
    """Improve spectra of phases by what the photons of some rows say in three dimensions.

    Parameters
    ----------
    counts_of : callable
        Gives counts (tilt, detector row, column, class) of the rows from the class of each channel, which is
        ``NO_CLASS`` below ``first``.
    projector : Projector
        Of the rows.
    spectra : ndarray
        (phase, channel), as found on the projections; two phases at least.
    more_spectra : callable
        Finds spectra of more phases on the projections; called where a phase may be missing.
    settings : VolumeSettings
        Of the estimator; fractions are of photons, so its cap is not used.
    first : int
        First channel that may be used.
    """
    given = _normalised(spectra)
    count = len(given)
    trials = _Trials.of(counts_of, projector, given, settings, first)
    if not trials.judges:
        return VolumeSpectra(spectra, False, 0.0, 0.0)
    best = trials.at(np.eye(count))
    if best.pure < LEAST_PURE:
        more = _Trials.of(counts_of, projector, _normalised(more_spectra(count + EXTRA)), settings, first)
        clusters = cluster_spectra(more.with_all_photons(), more, count)
        if len(clusters) == count:
            fitted = _refitted(more, more.at(clusters))
            basis = np.concatenate([given, _normalised(np.maximum(fitted.mixture @ more.basis, 0.0))])
            trials = _Trials.of(counts_of, projector, basis, settings, first)
            best, other = trials.at(np.eye(count, 2 * count)), trials.at(np.eye(count, 2 * count, count))
            best = other if other.better_than(best) else best
    best = _search(trials, best)
    old = trials.at(np.eye(count, len(trials.basis)), passes=JUDGED_PASSES)
    new = trials.at(best.mixture, passes=JUDGED_PASSES)
    gain, std = new.over(old)
    if not gain > max(SURE * std, LEAST_GAIN * trials.judges, LEAST_IN_ALL):
        return VolumeSpectra(spectra, False, gain, std)
    order = np.argsort(-new.volume.sum(axis=(1, 2, 3)), kind="stable")
    return VolumeSpectra(_normalised(np.maximum(new.mixture[order] @ trials.basis, 0.0)), True, gain, std)


def _normalised(spectra: np.ndarray) -> np.ndarray:
    return np.asarray(spectra / spectra.sum(axis=1, keepdims=True))


@dataclass(frozen=True)
class SpectraTrial:
    """Spectra that were tried.

    Attributes
    ----------
    mixture : (phase, basis) rows that sum to 1
    volume : (phase, z, y, x) of the photons that were fitted
    score : (pixel,) log-likelihood of the photons kept apart
    """

    mixture: np.ndarray
    volume: np.ndarray
    score: np.ndarray

    @property
    def pure(self) -> float:
        """Fraction of the volume of the least pure phase that is where it prevails."""
        mixing = mixing_of(self.volume)
        return float((mixing.pure / np.maximum(mixing.whole, 1e-30)).min())

    def over(self, other: SpectraTrial) -> tuple[float, float]:
        """Gain over another, and its standard error."""
        each = self.score - other.score
        return float(each.sum()), float(np.sqrt((each**2).sum()))

    def better_than(self, other: SpectraTrial) -> bool:
        """Compare: as likely within an error, and purer, or clearly more likely."""
        gain, std = self.over(other)
        return gain > std or (gain > -std and self.pure > other.pure)


class _Trials:
    """Photons of some rows in two halves, as classes of channels that tell spectra of a basis apart."""

    def __init__(
        self,
        counts: np.ndarray,
        projector: Projector,
        basis: np.ndarray,
        responses: np.ndarray,
        settings: VolumeSettings,
    ) -> None:
        self.basis, self.responses, self._projector = basis, responses, projector
        self.fitted, self._kept = split_counts(counts, HALF, settings.seed)
        self._scale = HALF * first_scale(counts, projector.geometry.exposure)
        self._settings = replace(settings, cap=False)

    @classmethod
    def of(
        cls,
        counts_of: CountsOf,
        projector: Projector,
        basis: np.ndarray,
        settings: VolumeSettings,
        first: int,
    ) -> _Trials:
        """Sum channels into classes."""
        class_of = np.full(basis.shape[1], NO_CLASS, dtype=np.int16)
        class_of[first:] = classes_of(basis[:, first:], classes=CLASSES)
        responses = class_responses(basis[:, first:], class_of[first:]).astype(np.float64)
        return cls(counts_of(class_of), projector, basis, responses, settings)

    @property
    def judges(self) -> int:
        """Photons kept apart, none where the rows hold too few to begin with."""
        return int(self._kept.sum(dtype=np.int64)) if self._scale > 0 else 0

    def possible(self, mixture: np.ndarray) -> bool:
        """Whether mixtures of the basis are spectra: hardly anywhere below 0."""
        made = mixture @ self.responses
        return bool((np.minimum(made, 0).sum(axis=1) > -NEGATIVE * made.sum(axis=1)).all())

    def at(
        self, mixture: np.ndarray, *, passes: int = FIRST_PASSES, near: SpectraTrial | None = None
    ) -> SpectraTrial:
        """Try mixtures of the basis, from the volume of a trial nearby if given."""
        responses = np.maximum(mixture @ self.responses, 0.0)
        start = None
        if near is not None:
            passes, turned = NEXT_PASSES, near.mixture @ np.linalg.pinv(mixture)
            start = np.maximum(np.tensordot(turned.T, near.volume, 1), 1e-4).astype(np.float32)
        fitted = reconstruct_slab(
            self.fitted,
            self._projector,
            self._scale * responses,
            replace(self._settings, max_iter=passes),
            start=start,
        )
        return SpectraTrial(mixture, fitted.volume, self._score(fitted.volume, responses))

    def with_all_photons(self) -> np.ndarray:
        """Reconstruct the whole basis, for clusters of voxels: (basis, z, y, x)."""
        both, scale = self.fitted + self._kept, self._scale / HALF
        settings = replace(self._settings, max_iter=FIRST_PASSES)
        return reconstruct_slab(both, self._projector, scale * self.responses, settings).volume

    def expected(self, volume: np.ndarray, tilt: int) -> np.ndarray:
        """Photons of each phase that pixels of a tilt expect in either half: (pixel, phase)."""
        inside = np.ascontiguousarray(volume.transpose(1, 3, 0, 2), dtype=np.float32)
        image = self._projector.forward(inside, np.array([tilt]))[0]  # column, phase, row
        exposure = float(self._projector.geometry.exposure[tilt])
        seen = image.transpose(2, 0, 1).reshape(-1, len(volume)).astype(np.float64)
        return np.asarray(self._scale * exposure * seen)

    def _score(self, volume: np.ndarray, responses: np.ndarray) -> np.ndarray:
        floor = 1e-6 * self._scale * float(responses.mean())
        out = []
        for tilt, counts in enumerate(self._kept):
            mean = self.expected(volume, tilt) @ responses + floor
            photons = counts.reshape(len(mean), -1)
            out.append((photons * np.log(mean) - mean).sum(axis=1))
        return np.concatenate(out)


def _refitted(trials: _Trials, best: SpectraTrial) -> SpectraTrial:
    """Fit mixtures to the volumes they gave, again and again, while photons kept apart gain by it."""
    for _ in range(SWEEPS):
        tried = trials.at(fitted_mixtures(best.volume, trials, best.mixture))
        if tried.over(best)[0] <= 0:
            break
        best = tried
    return best


def _search(trials: _Trials, best: SpectraTrial) -> SpectraTrial:
    """Move spectra along the lines between them, while photons kept apart gain by it."""
    phases = range(len(best.mixture))
    steps = {(one, other): FIRST_STEP for one in phases for other in phases if one != other}
    for _ in range(SWEEPS):
        for pair, step in steps.items():
            if abs(step) >= LAST_STEP:
                best, steps[pair] = _moved(trials, best, pair, step)
    return best


def _moved(
    trials: _Trials, best: SpectraTrial, pair: tuple[int, int], step: float
) -> tuple[SpectraTrial, float]:
    """Move one spectrum towards another, or away from it: the better trial, and the next step."""
    one, other = pair
    for signed in (step, -step):
        mixture = best.mixture.copy()
        mixture[one] += signed * (mixture[other] - mixture[one])
        if trials.possible(mixture):
            tried = trials.at(mixture, near=best)
            if tried.over(best)[0] > 0:
                return tried, LONGER * signed
    return best, SHORTER * step
