"""Volumes of phases from the photons of a tilt series: penalised maximum likelihood of a slab.

A pixel expects ``s_t Σ_k (A v_k) G_kc`` photons of class c. Expectation maximisation turns the likelihood, at
a point, into ``Σ_k s g_k v_k - c_k log v_k`` in each voxel (evidence c: how many of the photons the voxel's
phases may claim), which the M-step maximises together with the prior. Three things make it fast: subsets of
tilts at the start, momentum (each E-step is made at a point beyond the volume, along its last move), which
starts anew where the move turns, and a dual field of the prior that is kept between M-steps.

The last stage takes all tilts at once and ends when what is still to come is small, see `_Progress`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from edxdask.errors import ParameterError
from edxdask.tomo.kernels.ratio import block_misfit, expected_photons, photon_ratios
from edxdask.tomo.kernels.variation import carry_on, compare_moves, gather_evidence
from edxdask.tomo.prior import NONE, PRIORS, TV, TotalVariation
from edxdask.tomo.projector import Projector
from edxdask.tomo.quality import TiltMisfit

MOST_ITERATIONS, TOLERANCE, STRENGTH = 60, 4e-2, 0.085
TILTS_PER_SUBSET, MOST_SUBSETS = 7, 8
FIRST_PASSES, NEXT_PASSES = 8, 4  # with the most subsets, then with half of them, a quarter ...
MOST_MOMENTUM = 0.9
WINDOW = 8  # passes over which the decay of changes is measured
SLOWEST = 0.97  # decay per pass that a forecast assumes at most: flat places under a strong prior creep
OBJECTIVE_TOLERANCE = 3e-3  # of the volume's: log-likelihood per photon that may be left to gain
VOLUMES_HELD = 8  # volume, the one before, the point, evidence, extrapolated point and a dual field of three


@dataclass(frozen=True)
class VolumeSettings:
    """How a volume is found.

    Parameters
    ----------
    prior : str
        "tv", total variation in three dimensions, or "none".
    strength : float
        Of the prior, relative to the square root of the photons that a full voxel gives in the whole series,
        so that one number suits all doses.
    cap : bool
        Phases fill no more than the voxel. Needs known yields.
    subsets : int, optional
        Of tilts, in the first passes; from the number of tilts if not given.
    max_iter : int
        Most passes over the photons.
    tol : float
        Change of the volume still to come, root mean square and relative to the volume, at which it has
        converged; the log-likelihood that is left to gain, per photon, is less than 0.003 of it then.
    seed : int
        Of the order of subsets.
    """

    prior: str = TV
    strength: float = STRENGTH
    cap: bool = True
    subsets: int | None = None
    max_iter: int = MOST_ITERATIONS
    tol: float = TOLERANCE
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        if self.prior not in PRIORS:
            raise ParameterError("prior", self.prior, f"one of {', '.join(PRIORS)}")
        if not (np.isfinite(self.strength) and self.strength >= 0):
            raise ParameterError("strength", self.strength, "a number, 0 or more")
        if self.subsets is not None and self.subsets < 1:
            raise ParameterError("subsets", self.subsets, "1 or more, or None")
        if self.max_iter < 1:
            raise ParameterError("max_iter", self.max_iter, "1 or more")
        if not 0 < self.tol < 1:
            raise ParameterError("tol", self.tol, "a number between 0 and 1")


@dataclass(frozen=True)
class SlabResult:
    """What was found in a slab.

    Parameters
    ----------
    volume : ndarray
        (phase, z, y, x), single precision.
    objective : ndarray
        (pass,) penalised negative log-likelihood per photon. While subsets are used, the parts of it are at
        points of their own.
    converged : bool
        False where ``max_iter`` passes were not enough.
    misfit : TiltMisfit
        Chi-squared of each tilt.
    """

    volume: np.ndarray
    objective: np.ndarray
    converged: bool
    misfit: TiltMisfit


def absolute_strength(settings: VolumeSettings, responses: np.ndarray, exposure: np.ndarray) -> float:
    """Strength of the prior in units of log-likelihood.

    Parameters
    ----------
    settings : VolumeSettings
        Whose ``strength`` is relative.
    responses : ndarray
        (phase, class) photons of a full voxel at exposure 1.
    exposure : ndarray
        (tilt,).
    """
    if settings.prior == NONE:
        return 0.0
    return settings.strength * float(np.sqrt(exposure.sum() * responses.sum(axis=1).mean()))


def slab_bytes(
    shape: tuple[int, int], phases: int, rows: int, columns: int, tilts: int, *, subsets: int = 1
) -> int:
    """Predict the most memory that `reconstruct_slab` takes beside its counts.

    Parameters
    ----------
    shape : (int, int)
        Voxels along z and x.
    phases, rows, columns, tilts : int
        Phases, rows of the slab, pixels along x, projections.
    subsets : int
        Of the first passes.
    """
    voxels = shape[0] * shape[1] * rows
    volumes = 4 * voxels * (VOLUMES_HELD * phases + 1 + subsets)
    return volumes + 4 * tilts * columns * rows * (2 * phases + 1)


def reconstruct_slab(
    counts: np.ndarray,
    projector: Projector,
    responses: np.ndarray,
    settings: VolumeSettings,
    *,
    start: np.ndarray | None = None,
) -> SlabResult:
    """Find the volumes of phases in a slab from its photons over all tilts.

    Parameters
    ----------
    counts : ndarray
        (tilt, detector row, column, class) photons, unsigned.
    projector : Projector
        Of the slab; its geometry holds the exposures.
    responses : ndarray
        (phase, class) photons of a full voxel at exposure 1.
    settings : VolumeSettings
        Prior, strength, stop rule.
    start : ndarray, optional
        (phase, z, y, x) where to begin; an even mixture if not given.

    Returns
    -------
    SlabResult

    Examples
    --------
    >>> from edxdask.tomo.geometry import TiltGeometry
    >>> geometry = TiltGeometry.of(np.linspace(-60, 60, 9))
    >>> projector = Projector(geometry, shape=(12, 12), columns=12, volume_rows=2)
    >>> truth = np.zeros((12, 12, 1, 2), np.float32)
    >>> truth[4:8, 4:8] = 1
    >>> photons = np.random.default_rng(0).poisson(50 * projector.forward(truth)[:, :, 0])
    >>> counts = photons.transpose(0, 2, 1)[..., None].astype(np.uint16)
    >>> found = reconstruct_slab(counts, projector, np.array([[50.0]]), VolumeSettings())
    >>> found.converged, bool(((found.volume[0, :, 0] > 0.5) == truth[:, :, 0, 0]).all())
    (True, True)
    """
    slab = _Slab(counts, projector, responses, settings)
    volume = slab.first_volume() if start is None else _inside(start)
    if slab.photons == 0:
        empty = np.zeros((len(slab.yields), *_outside(volume).shape[1:]), np.float32)
        none = np.zeros(len(counts))
        return SlabResult(empty, np.zeros(0), True, TiltMisfit(none, none.astype(np.int64)))
    progress = _Progress(slab.photons, settings.tol)
    search = _Search(slab, volume)
    for subsets, last in _stages(len(counts), settings):
        converged = search.stage(subsets, last, progress)
    return SlabResult(_outside(volume), np.array(progress.objective), converged, slab.misfit(volume))


def _inside(volume: np.ndarray) -> np.ndarray:
    """(phase, z, y, x) to [z, x, phase, y]."""
    return np.ascontiguousarray(volume.transpose(1, 3, 0, 2), dtype=np.float32)


def _outside(volume: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(volume.transpose(2, 0, 3, 1))


def first_subsets(tilts: int, settings: VolumeSettings) -> int:
    """Choose the subsets of tilts that the first passes use.

    Examples
    --------
    >>> [first_subsets(tilts, VolumeSettings()) for tilts in (5, 13, 29, 70)]
    [1, 1, 4, 8]
    """
    if settings.subsets is not None:
        return min(settings.subsets, tilts)
    return min(max(tilts // TILTS_PER_SUBSET, 1), MOST_SUBSETS)


def _stages(tilts: int, settings: VolumeSettings) -> Iterator[tuple[int, int]]:
    """Subsets, and the number of passes at which each stage ends at the latest."""
    subsets, ends = first_subsets(tilts, settings), 0
    while subsets > 1:
        ends += NEXT_PASSES if ends else FIRST_PASSES
        if ends >= settings.max_iter:
            break
        yield subsets, ends
        subsets //= 2
    yield 1, settings.max_iter


class _Progress:
    """Objective and changes of the volume, and whether what is still to come is small.

    A small change is no proof: changes that shrink by 5 % per pass leave twenty times the last one still to
    come. So the decay over the last passes says how much is left, as a geometric series.
    """

    def __init__(self, photons: int, tol: float) -> None:
        self._photons, self._tol = photons, tol
        self.objective: list[float] = []
        self._changes: list[float] = []

    def begin_stage(self) -> None:
        """Forget changes: those of a stage with other subsets say nothing."""
        self._first, self._changes = len(self.objective), []

    def note(self, objective: float, moved: float, size: float) -> None:
        """Add a pass: objective, squares of the volume's change and of the volume."""
        self.objective.append(objective / self._photons)
        self._changes.append(float(np.sqrt(moved / max(size, 1e-30))))

    def converged(self) -> bool:
        """Judge the current stage, which must take all tilts at once."""
        gains = np.abs(np.diff(self.objective[self._first :]))
        if len(gains) < WINDOW:
            return False
        volume, gain = left(self._changes[-WINDOW:]), left(gains[-WINDOW:])
        return volume < self._tol and gain < OBJECTIVE_TOLERANCE * self._tol


def left(changes: np.ndarray | list[float]) -> float:
    """Predict the sum of the changes to come from the decay of the last ones.

    Halves of the list are compared, since with momentum single changes go up and down. Changes come to decay
    more slowly than they do at first: two thirds of the rate are assumed.

    Examples
    --------
    >>> round(left([8.0, 4.0, 2.0, 1.0]), 6)
    2.0
    >>> round(left([1.0, 1.0, 1.0, 1.0]), 1)  # nothing shrinks: there is much to come
    48.3
    """
    values = np.maximum(np.asarray(changes, dtype=np.float64), 1e-30)
    half = len(values) // 2
    early, late = values[:half].mean(), values[-half:].mean()
    decay = min(float(late / early) ** (1.0 / (len(values) - half)), SLOWEST)
    # the last of a series that has the mean of the late half, so that a jump there does not count alone
    last = late * half * (1.0 - decay) * decay ** (half - 1) / (1.0 - decay**half)
    slower = (1.0 + 2.0 * decay) / 3.0
    return float(last * slower / (1.0 - slower))


@dataclass
class _Slab:
    """Photons of a slab and what they are compared with."""

    counts: np.ndarray
    projector: Projector
    responses: np.ndarray
    settings: VolumeSettings
    yields: np.ndarray = field(init=False)
    sensitivity: np.ndarray = field(init=False)
    photons: int = field(init=False)

    def __post_init__(self) -> None:
        rows = self.projector.detector_rows[1] - self.projector.detector_rows[0]
        expected = (len(self.projector.geometry), rows, self.projector.columns, self.responses.shape[1])
        if self.counts.shape != expected:
            raise ParameterError(
                "counts", self.counts.shape, f"(tilt, detector row, column, class) {expected}"
            )
        self.responses = np.ascontiguousarray(self.responses, dtype=np.float32)
        self.yields = self.responses.sum(axis=1)
        self.exposure = np.asarray(self.projector.geometry.exposure, dtype=np.float64)
        self.tilts = np.arange(len(self.counts))
        self.sensitivity = self.sensitivity_of(self.tilts)
        self.photons = int(self.counts.sum(dtype=np.int64))
        self.strength = absolute_strength(self.settings, self.responses, self.exposure)

    def sensitivity_of(self, tilts: np.ndarray) -> np.ndarray:
        """Sum the exposures with which tilts see each voxel: [z, x, y], or [z, x, 1] where rows are alike."""
        seen = self.projector.seen(tilts) * self.exposure[tilts][:, None, None]
        found = self.projector.back(seen.astype(np.float32)[:, :, None, :], tilts)[:, :, 0]
        same = bool((np.ptp(found, axis=2) <= 1e-5 * found.max()).all())
        return np.ascontiguousarray(found[:, :, :1]) if same else found

    def first_volume(self) -> np.ndarray:
        """Make an even mixture that expects as many photons as there are."""
        rows = self.projector.rows[1] - self.projector.rows[0]
        nz, nx = self.projector.shape
        shape = (nz, nx, len(self.yields), rows)
        expected = self.sensitivity.mean() * nz * nx * rows * self.yields.sum()
        return np.full(shape, max(self.photons / expected, 1e-6), np.float32)

    def evidence(self, point: np.ndarray, tilts: np.ndarray, part: np.ndarray) -> tuple[np.ndarray, float]:
        """Do the E-step at a point with some tilts: evidence at the scale of all, negative log-likelihood."""
        images = self.projector.forward(point, tilts)
        seen = self.projector.seen(tilts)
        cost = expected_photons(images, seen, self.exposure[tilts], self.yields)
        cost -= photon_ratios(images, self.counts, tilts, seen, self.responses)
        evidence = self.projector.back(images, tilts)
        gather_evidence(evidence, point, self.sensitivity, part)
        return evidence, float(cost)

    def misfit(self, volume: np.ndarray) -> TiltMisfit:
        """Compare each tilt with what the volume makes it expect."""
        chi2, blocks = np.zeros(len(self.tilts)), np.zeros(len(self.tilts), np.int64)
        for tilt in self.tilts:
            one = np.array([tilt])
            images, seen = self.projector.forward(volume, one), self.projector.seen(one)
            block_misfit(images, self.counts, one, seen, self.exposure[one], self.yields, chi2, blocks)
        return TiltMisfit(chi2, blocks)


class _Search:
    """A volume on its way, with its last move and the prior's dual field."""

    def __init__(self, slab: _Slab, volume: np.ndarray) -> None:
        self._slab, self._volume = slab, volume
        self._previous, self._point = volume.copy(), np.empty_like(volume)
        self._prior = TotalVariation(volume, slab.strength, slab.settings.cap)
        self._restart()

    def _restart(self) -> None:
        self._age = 1.0

    def stage(self, subsets: int, last: int, progress: _Progress) -> bool:
        """Make passes with some subsets until pass ``last`` or, with one subset, until it has converged."""
        rng = np.random.default_rng(self._slab.settings.seed)
        parts = [np.arange(first, len(self._slab.tilts), subsets) for first in rng.permutation(subsets)]
        seen = (
            [self._slab.sensitivity_of(part) for part in parts] if subsets > 1 else [self._slab.sensitivity]
        )
        self._restart()
        progress.begin_stage()
        while len(progress.objective) < last:
            progress.note(*self._make_pass(parts, seen))
            if subsets == 1 and progress.converged():
                return True
        return False

    def _make_pass(self, parts: list[np.ndarray], seen: list[np.ndarray]) -> tuple[float, float, float]:
        """Use all tilts once: objective, squares of the last move and of the volume."""
        cost = moved = size = 0.0
        for part, sensitivity in zip(parts, seen, strict=True):
            older = (1.0 + np.sqrt(1.0 + 4.0 * self._age**2)) / 2.0
            momentum = min((self._age - 1.0) / older, MOST_MOMENTUM)
            self._age = older
            carry_on(self._volume, self._previous, np.float32(momentum), self._point)
            evidence, negative = self._slab.evidence(self._point, part, sensitivity)
            cost += negative
            self._previous[...] = self._volume
            self._prior.maximise(self._volume, evidence, self._slab.sensitivity, self._slab.yields)
            against, moved, size = compare_moves(self._point, self._volume, self._previous)
            if against > 0:
                self._restart()
        return cost + self._prior.penalty(self._point), moved, size
