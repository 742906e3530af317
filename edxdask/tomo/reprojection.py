"""Positions of projections by reprojection: a volume of some tilts says where the others lie.

A projection that took part in a volume pulls the volume to where it lies itself. So tilts are dealt to a few
folds; those of a fold are compared with the volume of all others, and moved before the next fold is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import gaussian_filter

from edxdask.tomo.alignment_images import Stack
from edxdask.tomo.alignment_profiles import Shifts
from edxdask.tomo.geometry import TiltGeometry
from edxdask.tomo.projector import Projector

FOLDS = 4
SUBSETS = 4  # tilts of a subset of an EM pass
LEAST = 1e-3  # of the brightest pixel: smallest expected value
SMOOTH = 0.7  # px, of images before least squares, both expected and observed
WIDE, FAINT = 2.0, 0.02  # px and part of the brightest pixel: variances are of the smoothed expected image
ROUNDS, PASSES = 2, 10
FURTHEST = 1.0  # px that a projection moves in one step
STEPS, SETTLED = 4, 0.01


@dataclass(frozen=True)
class Size:
    """Voxels of the small volume along z, x and y."""

    z: int
    x: int
    y: int


@dataclass(frozen=True)
class Registered:
    """What least squares found of one projection: move (y, x), px, its covariance, brightness, misfit."""

    move: np.ndarray
    covariance: np.ndarray
    brightness: float
    misfit: float


class Reprojection:
    """Volumes of chosen tilts, and projections compared with them.

    Parameters
    ----------
    stack : Stack
        Images.
    size : Size
        Voxels of volumes.
    threads : int
        Threads of the projector.
    """

    def __init__(self, stack: Stack, size: Size, *, threads: int = 1) -> None:
        self.stack, self.size, self._threads = stack, size, threads
        seen = np.where(stack.measured, np.maximum(stack.values, 0.0), 0.0)
        self._counts = np.ascontiguousarray(seen.transpose(0, 2, 1)[:, :, None, :], dtype=np.float32)
        self._measured = np.ascontiguousarray(stack.measured.transpose(0, 2, 1)[:, :, None, :], np.float32)
        self._least = np.float32(LEAST * max(float(seen.max()), 1e-30))

    def projector(self, geometry: TiltGeometry) -> Projector:
        """Make the projector of a geometry in pixels of the stack."""
        rows, columns = self.stack.shape
        return Projector(
            geometry,
            shape=(self.size.z, self.size.x),
            columns=columns,
            volume_rows=self.size.y,
            image_rows=rows,
            detector_rows=(0, rows),
            threads=self._threads,
        )

    def volume(
        self,
        projector: Projector,
        tilts: np.ndarray,
        *,
        passes: int,
        start: np.ndarray | None = None,
    ) -> np.ndarray:
        """Reconstruct a volume (z, x, 1, y) from ``tilts`` by EM in ordered subsets."""
        exposure = projector.geometry.exposure.astype(np.float32)
        if start is None:
            level = float(self._counts[tilts].mean()) / self.size.z
            start = np.full((self.size.z, self.size.x, 1, self.size.y), max(level, 1e-30), np.float32)
        volume = start.copy()
        subsets = list(_subsets(tilts))
        weights = self._weights(projector, subsets, exposure)
        for _ in range(passes):
            for subset, weight in zip(subsets, weights, strict=True):
                expected = projector.forward(volume, subset) * exposure[subset, None, None, None]
                ratio = self._counts[subset] / np.maximum(expected, self._least)
                ratio *= self._weighted(exposure, subset)
                update = projector.back(ratio, subset)
                known = weight > 1e-3 * weight.max()
                volume *= np.where(known, update / np.where(known, weight, 1.0), 1.0)
        return volume

    def _weights(
        self, projector: Projector, subsets: list[np.ndarray], exposure: np.ndarray
    ) -> Iterable[np.ndarray]:
        """Say how much each subset sees of each voxel.

        Every tilt sees all of an object that its field holds, so that one volume serves all subsets; those of
        a large series would not fit in memory.
        """
        if not self.stack.whole:
            return [projector.back(self._weighted(exposure, one), one) for one in subsets]
        tilts = np.concatenate(subsets)
        together = projector.back(self._weighted(exposure, tilts), tilts) / exposure[tilts].sum()
        return _Scaled(together, [float(exposure[one].sum()) for one in subsets])

    def _weighted(self, exposure: np.ndarray, tilts: np.ndarray) -> np.ndarray:
        return np.asarray(self._measured[tilts] * exposure[tilts, None, None, None])

    def expected(self, projector: Projector, volume: np.ndarray, tilts: np.ndarray) -> np.ndarray:
        """Give expected images (tilt, y, x) at exposure 1."""
        return np.asarray(projector.forward(volume, tilts)[:, :, 0].transpose(0, 2, 1), dtype=np.float64)

    def squares(self, projector: Projector, volume: np.ndarray, tilts: np.ndarray) -> float:
        """Sum squares of what the volume leaves of images, over variances, inside borders."""
        total = 0.0
        for tilt, image in zip(tilts, self.expected(projector, volume, tilts), strict=True):
            expected = image * projector.geometry.exposure[tilt]
            left = self._counts[tilt, :, 0].T - expected
            inside = self.stack.measured[tilt][1:-1, 1:-1]
            total += float((left**2 / _variance(expected))[1:-1, 1:-1][inside].sum())
        return total

    def compared(self, tilt: int, expected: np.ndarray, known: tuple[float, float] | None) -> Registered:
        """Move a projection onto the expected image: weighted least squares of brightness and move.

        Parameters
        ----------
        tilt : int
            Number of the projection.
        expected : ndarray
            Image (y, x) where the projection is said to lie.
        known : (float, float), optional
            Move along x that something else says, with its standard error.
        """
        observed = gaussian_filter(self.stack.values[tilt].astype(np.float64), SMOOTH)
        variance = _variance(expected)
        model = gaussian_filter(expected, SMOOTH)
        kept = self.stack.measured[tilt].copy()
        kept[[0, -1]] = kept[:, [0, -1]] = False
        jacobian = np.stack([model, *(-slope for slope in np.gradient(model))], axis=-1)[kept]
        heavy = jacobian / variance[kept][:, None]
        normal, pull = heavy.T @ jacobian, heavy.T @ observed[kept]
        if known is not None:
            normal[2, 2] += 1 / known[1] ** 2
            pull[2] += known[0] / known[1] ** 2
        inverse = np.linalg.pinv(normal)
        brightness, y, x = inverse @ pull
        if not brightness > 0:
            return Registered(np.zeros(2), np.full((2, 2), np.inf), 0.0, np.inf)
        raw = self.stack.values[tilt][kept] - brightness * expected[kept]
        misfit = float((raw**2 / (brightness * variance[kept])).mean())
        return Registered(
            np.array([y, x]) / brightness, inverse[1:, 1:] / brightness, float(brightness), misfit
        )


class _Scaled:
    """One volume times each of some factors, made when it is asked for."""

    def __init__(self, volume: np.ndarray, factors: list[float]) -> None:
        self._volume, self._factors = volume, factors

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self._volume * np.float32(factor) for factor in self._factors)


def _variance(expected: np.ndarray) -> np.ndarray:
    """Variances of counts, smooth, and never as small as those of an empty pixel."""
    return np.asarray(np.maximum(gaussian_filter(expected, WIDE), FAINT * max(float(expected.max()), 1e-30)))


def _subsets(tilts: np.ndarray) -> Iterator[np.ndarray]:
    count = max(1, len(tilts) // SUBSETS)
    for first in range(count):
        yield np.asarray(tilts[first::count])


def improved(
    work: Reprojection,
    geometry: TiltGeometry,
    *,
    centres: Shifts | None = None,
    rounds: int = ROUNDS,
    passes: int = PASSES,
) -> tuple[TiltGeometry, list[Registered]]:
    """Move every projection onto the volume of the other folds, round after round.

    Parameters
    ----------
    work : Reprojection
        Images.
    geometry : TiltGeometry
        Where they may lie, in pixels of the stack.
    centres : Shifts, optional
        Centres of mass along x, where the object is whole in all images.
    rounds : int
        Most rounds.
    passes : int
        EM passes of each volume.
    """
    tilts = np.arange(len(geometry))
    folds = min(FOLDS, len(tilts) // 2)
    found: list[Registered] = [Registered(np.zeros(2), np.full((2, 2), np.inf), 0.0, np.inf)] * len(tilts)
    for _ in range(rounds):
        before = np.stack([geometry.shift_y, geometry.shift_x])
        for fold in range(folds):
            held = tilts[fold::folds]
            volume = work.volume(work.projector(geometry), np.setdiff1d(tilts, held), passes=passes)
            geometry = _moved(work, geometry, volume, held, found, centres)
        if np.abs(np.stack([geometry.shift_y, geometry.shift_x]) - before).max() < SETTLED:
            break
    return geometry, found


def _moved(
    work: Reprojection,
    geometry: TiltGeometry,
    volume: np.ndarray,
    held: np.ndarray,
    found: list[Registered],
    centres: Shifts | None,
) -> TiltGeometry:
    """Move the projections of a fold, step by step, and note in ``found`` what least squares say."""
    for _ in range(STEPS):
        images = work.expected(work.projector(geometry), volume, held)
        moves = np.zeros((2, len(geometry)))
        exposure = geometry.exposure.copy()
        for tilt, image in zip(held, images, strict=True):
            known = None
            if centres is not None:
                known = (float(centres.values[tilt] - geometry.shift_x[tilt]), float(centres.std[tilt]))
            found[tilt] = one = work.compared(int(tilt), image, known)
            if one.brightness > 0:
                moves[:, tilt] = np.clip(one.move, -FURTHEST, FURTHEST)
                exposure[tilt] = one.brightness
        geometry = replace(
            geometry,
            shift_y=geometry.shift_y + moves[0],
            shift_x=geometry.shift_x + moves[1],
            exposure=exposure,
        )
        if np.abs(moves).max() < SETTLED:
            break
    return geometry
