"""Classical reconstructions of single images per tilt: filtered back projection (FBP) and SIRT.

For dark-field (HAADF) images and maps of lines, and to compare with what is made from all photons. Images are
taken to be ``exposure × projection``. Rows of the volume are worked on in slabs: without turns and moves
along the axis they do not touch one another, otherwise a few rows around a slab are worked on with it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft

from edxdask.errors import ParameterError
from edxdask.tomo.geometry import TiltGeometry
from edxdask.tomo.projector import Projector

ROWS_AT_ONCE = 32
HALO = 4  # rows: a row reads its neighbours, these theirs; further ones change nothing that can be seen
HALF_TURN = 180.0
WEDGE = 1.5  # times the next largest step: a step so wide is no step, but where the series ends

WINDOWS: dict[str, Callable[[np.ndarray], np.ndarray]] = {  # by frequency, from 0 to 1 at the highest
    "ramp": np.ones_like,
    "shepp-logan": lambda f: np.sinc(f / 2),
    "cosine": lambda f: np.cos(np.pi * f / 2),
    "hamming": lambda f: 0.54 + 0.46 * np.cos(np.pi * f),
    "hann": lambda f: 0.5 + 0.5 * np.cos(np.pi * f),
}


class ImageSeries(Protocol):
    """What is read of images (tilt, y, x): NumPy, Zarr and memory-mapped arrays have it."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes."""

    def __getitem__(self, key: tuple[slice, slice, slice], /) -> np.ndarray:
        """Read a part."""


class WritableVolume(Protocol):
    """Where slabs of a volume (z, y, x) are written to."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes."""

    def __setitem__(self, key: tuple[slice, slice, slice], value: np.ndarray, /) -> None:
        """Write a part."""


def tilt_steps(tilt_deg: np.ndarray) -> np.ndarray:
    """Angle that each projection stands for, in radians: to the middle between it and its neighbours.

    Where the series ends before a half turn is complete, the last projections stand for as much beyond them
    as before them: the missing wedge belongs to nobody. Projections of one angle divide it among them.

    Examples
    --------
    >>> np.rad2deg(tilt_steps(np.array([0.0, 10, 20, 40]))).round(6)
    array([10., 10., 15., 20.])
    >>> np.rad2deg(tilt_steps(np.arange(0, 180, 60.0))).round(6)
    array([60., 60., 60.])
    """
    angles, member, count = np.unique(np.mod(tilt_deg, HALF_TURN), return_inverse=True, return_counts=True)
    if angles.size < 2:
        raise ParameterError("tilt_deg", tilt_deg.tolist(), "projections of two angles or more")
    gaps = np.diff(angles, append=angles[0] + HALF_TURN)
    widest = int(gaps.argmax())
    gaps = np.roll(gaps, -widest)  # the wedge first; gap i is before projection i from now on
    before, after = gaps / 2, np.roll(gaps, -1) / 2
    if gaps[0] > WEDGE * gaps[1:].max():
        before[0], after[-1] = after[0], before[-1]
    steps = np.roll(before + after, widest + 1) / count
    return np.deg2rad(steps)[member]


def ramp_filtered(images: np.ndarray, window: str = "ramp") -> np.ndarray:
    """Filter images (tilt, column, …) along columns with the ramp of a discrete detector, times a window.

    The ramp is the transform of its values at whole columns (1/4, -1/(π n)² where n is odd), so that no
    constant is lost; columns are padded, so that nothing comes round.
    """
    if window not in WINDOWS:
        raise ParameterError("window", window, f"one of {', '.join(map(repr, WINDOWS))}")
    columns = images.shape[1]
    length = next_fast_len(2 * columns, real=True)
    away = np.minimum(np.arange(length), length - np.arange(length))
    kernel = np.zeros(length)
    kernel[0] = 0.25
    odd = away % 2 == 1
    kernel[odd] = -1 / (np.pi * away[odd]) ** 2
    response = rfft(kernel).real
    response *= WINDOWS[window](np.linspace(0, 1, response.size) * (2 * (response.size - 1) / length))
    shape = (1, -1, *(1,) * (images.ndim - 2))
    spectra = rfft(images, length, axis=1) * response.astype(images.dtype).reshape(shape)
    return np.ascontiguousarray(irfft(spectra, length, axis=1)[:, :columns])


def fbp(
    images: ImageSeries,
    geometry: TiltGeometry,
    depth: int | None = None,
    *,
    window: str = "ramp",
    out: WritableVolume | None = None,
    rows_at_once: int = ROWS_AT_ONCE,
    threads: int = 1,
) -> Any:
    """Reconstruct by filtered back projection.

    Parameters
    ----------
    images : array
        Images (tilt, y, x); read slab by slab.
    geometry : TiltGeometry
        Directions, moves, turns and exposures of the images.
    depth : int, optional
        Voxels along z; as many as along x if not given.
    window : str
        What the ramp is multiplied by: "ramp" (nothing), "shepp-logan", "cosine", "hamming" or "hann", in the
        order of what they leave of noise.
    out : array, optional
        Where to write the volume (z, y, x), slab by slab; a new array in memory if not given.
    rows_at_once : int
        Rows of a slab.
    threads : int
        Threads that work side by side.

    Returns
    -------
    array
        ``out``, or an array of NumPy: the volume (z, y, x), per voxel what a ray collects in it. Negative
        values are left as they are.

    Examples
    --------
    >>> geometry = TiltGeometry.of(np.arange(-90, 90, 3))
    >>> images = np.zeros((60, 1, 33), np.float32)
    >>> images[:, :, 8:25] = 2 * np.sqrt(8.5**2 - np.arange(-8, 9) ** 2)  # a disc of density 1
    >>> fbp(images, geometry)[16, 0, 12:21].round(1)
    array([1., 1., 1., 1., 1., 1., 1., 1., 1.], dtype=float32)
    """
    steps = tilt_steps(geometry.tilt_deg).astype(np.float32)

    def solve(projector: Projector, part: np.ndarray) -> np.ndarray:
        frame = ramp_filtered(projector.to_frame(part), window)
        return projector.back_from_frame(frame * steps[:, None, None, None])

    return _slab_by_slab(solve, images, geometry, depth, out, rows_at_once, threads, beyond=True)


def sirt(
    images: ImageSeries,
    geometry: TiltGeometry,
    depth: int | None = None,
    *,
    iterations: int = 50,
    relaxation: float = 1.0,
    non_negative: bool = True,
    out: WritableVolume | None = None,
    rows_at_once: int = ROWS_AT_ONCE,
    threads: int = 1,
) -> Any:
    """Reconstruct by the simultaneous iterative technique: steps along weighted residuals.

    ``v ← v + r C Aᵀ R (images - A v)``, with R and C the inverse sums of A's rows and columns.

    Parameters
    ----------
    images : array
        Images (tilt, y, x); read slab by slab.
    geometry : TiltGeometry
        Directions, moves, turns and exposures of the images.
    depth : int, optional
        Voxels along z; as many as along x if not given.
    iterations : int
        Steps. More sharpen the volume and its noise.
    relaxation : float
        Length of a step, above 0 and below 2.
    non_negative : bool
        Set what is below zero to zero after each step.
    out : array, optional
        Where to write the volume (z, y, x), slab by slab; a new array in memory if not given.
    rows_at_once : int
        Rows of a slab.
    threads : int
        Threads that work side by side.

    Returns
    -------
    array
        ``out``, or an array of NumPy: the volume (z, y, x), per voxel what a ray collects in it.

    Examples
    --------
    >>> geometry = TiltGeometry.of(np.arange(-90, 90, 6))
    >>> images = np.zeros((30, 1, 33), np.float32)
    >>> images[:, :, 8:25] = 2 * np.sqrt(8.5**2 - np.arange(-8, 9) ** 2)  # a disc of density 1
    >>> volume = sirt(images, geometry, iterations=30)
    >>> bool(volume.min() == 0), round(float(volume[12:21, 0, 12:21].mean()), 1)
    (True, 1.0)
    """
    if not iterations >= 1:
        raise ParameterError("iterations", iterations, "a whole number, at least 1")
    if not 0 < relaxation < 2:
        raise ParameterError("relaxation", relaxation, "a number above 0 and below 2")

    def solve(projector: Projector, part: np.ndarray) -> np.ndarray:
        known = projector.seen()[:, :, None, :]
        volume = np.zeros((*projector.shape, 1, projector.rows[1] - projector.rows[0]), np.float32)
        rays = _inverse(projector.forward(np.ones_like(volume))) * known
        voxels = np.float32(relaxation) * _inverse(projector.back(np.ascontiguousarray(known, np.float32)))
        for _ in range(int(iterations)):
            volume += voxels * projector.back(rays * (part - projector.forward(volume)))
            if non_negative:
                np.maximum(volume, 0, out=volume)
        return volume

    return _slab_by_slab(solve, images, geometry, depth, out, rows_at_once, threads)


def _inverse(sums: np.ndarray) -> np.ndarray:
    """Inverse where there is something; 0 where a sum is below a thousandth of the largest."""
    enough = sums > 1e-3 * sums.max()
    return np.divide(1, sums, out=np.zeros_like(sums), where=enough)


def _slab_by_slab(
    solve: Callable[[Projector, np.ndarray], np.ndarray],
    images: ImageSeries,
    geometry: TiltGeometry,
    depth: int | None,
    out: WritableVolume | None,
    rows_at_once: int,
    threads: int,
    *,
    beyond: bool = False,
) -> Any:
    """Have ``solve`` make the volume (z, x, 1, row) of each slab from its images (tilt, x, 1, row).

    ``beyond``: images are continued by zeros as far as any voxel is seen.
    """
    if len(images.shape) != 3 or images.shape[0] != len(geometry):
        raise ParameterError("images", images.shape, f"images (tilt, y, x) of {len(geometry)} tilts")
    if (geometry.exposure <= 0).any():
        raise ParameterError("exposure", geometry.exposure.min(), "a number above zero for every tilt")
    if rows_at_once < 1:
        raise ParameterError("rows_at_once", rows_at_once, "a whole number, at least 1")
    _, rows, columns = images.shape
    depth = columns if depth is None else depth
    volume: WritableVolume = np.zeros((depth, rows, columns), np.float32) if out is None else out
    if volume.shape != (depth, rows, columns):
        raise ParameterError("out", volume.shape, f"an array of the shape {(depth, rows, columns)}")
    most = math.hypot(depth, columns) + 2 * np.abs(geometry.shift_x).max() + 2
    edge = max(math.ceil((most - columns) / 2), 0) if beyond else 0
    halo = HALO if geometry.shift_y.any() or geometry.rotation_deg.any() else 0
    exposure = geometry.exposure.astype(np.float32)[:, None, None]
    for first, stop in pairwise([*range(0, rows, rows_at_once), rows]):
        own = max(first - halo, 0), min(stop + halo, rows)
        projector = Projector(
            geometry,
            shape=(depth, columns),
            columns=columns + 2 * edge,
            volume_rows=rows,
            rows=own,
            threads=threads,
        )
        part = np.asarray(images[:, slice(*projector.detector_rows), :], np.float32) / exposure
        part = np.pad(part.transpose(0, 2, 1), ((0, 0), (edge, edge), (0, 0)))
        found = solve(projector, np.ascontiguousarray(part[:, :, None, :]))
        inner = slice(first - own[0], stop - own[0])
        volume[:, first:stop, :] = found[:, :, 0, inner].transpose(0, 2, 1)
    return volume
