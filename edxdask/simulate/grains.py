"""Tables of irregular grains: how many, where, how large, and of what outline."""

from __future__ import annotations

import numpy as np

from edxdask.photons.kernels.random import STREAM_GEOMETRY, uniforms
from edxdask.simulate.kernels.grains import (
    ANGLE,
    ASPECT,
    CENTRE_X,
    CENTRE_Y,
    GRAIN_COLUMNS,
    HARMONICS,
    N_HARMONICS,
    PEAK,
    POWER,
    RADIUS,
    smooth_noise,
    thickest_grain,
)

SAMPLED_PIXELS = 1 << 18  # on which means over a map are measured when it is planned


def random_table(seed: int, stream: int, rows: int, columns: int) -> np.ndarray:
    """Uniform numbers (rows, columns); ``stream`` separates uses within the geometry."""
    return uniforms(seed, STREAM_GEOMETRY + 1000 * (stream + 1), rows * columns).reshape(rows, columns)


def scatter_points(shape: tuple[int, int], n: int, *, seed: int, stream: int) -> np.ndarray:
    """``n`` points (y, x) spread over a map: random cells of a grid, one point per cell.

    No two points are in one cell, so that no seed puts all grains in a corner.
    """
    rows = max(1, round(np.sqrt(1.5 * n * shape[0] / shape[1])))
    columns = int(np.ceil(1.5 * n / rows))
    order = np.argsort(random_table(seed, stream, 1, rows * columns)[0], kind="stable")[:n]
    jitter = random_table(seed, stream + 1, n, 2)
    cell = np.stack([order // columns, order % columns], axis=1) + 0.15 + 0.7 * jitter
    return cell * np.array([shape[0] / rows, shape[1] / columns])


def irregular_grains(
    centres: np.ndarray,
    *,
    diameter: float,
    peak: tuple[float, float],
    seed: int,
    stream: int,
    roughness: float = 1.0,
    aspect: float = 1.5,
) -> np.ndarray:
    """Table of grains at ``centres`` (n, 2): (n, GRAIN_COLUMNS).

    Diameters spread by ±35 %, peaks are within ``peak`` (the first grain reaches its upper end), outlines
    carry harmonics 2 to 7 of amplitudes that fall with their order, times ``roughness``.
    """
    n = centres.shape[0]
    draw = random_table(seed, stream, n, 5 + 2 * N_HARMONICS)
    grains = np.empty((n, GRAIN_COLUMNS))
    grains[:, CENTRE_Y], grains[:, CENTRE_X] = centres[:, 0], centres[:, 1]
    grains[:, RADIUS] = 0.5 * diameter * (0.65 + 0.7 * draw[:, 0])
    grains[:, PEAK] = peak[0] + (peak[1] - peak[0]) * draw[:, 1]
    grains[:1, PEAK] = peak[1]
    grains[:, POWER] = 2.0 + 2.0 * draw[:, 2]  # from a sphere's profile to a flatter one
    grains[:, ASPECT] = np.sqrt(1.0 + (aspect - 1.0) * draw[:, 3])
    grains[:, ANGLE] = 2 * np.pi * draw[:, 4]
    order = np.arange(2, 2 + N_HARMONICS)
    # at most 0.79 in sum at roughness 1, so that an outline never shrinks to nothing
    grains[:, HARMONICS : HARMONICS + N_HARMONICS] = (
        roughness * 0.36 / order * (0.4 + 0.6 * draw[:, 5 : 5 + N_HARMONICS])
    )
    grains[:, HARMONICS + N_HARMONICS :] = 2 * np.pi * draw[:, 5 + N_HARMONICS :]
    return grains


def grain_field(y: np.ndarray, x: np.ndarray, grains: np.ndarray) -> np.ndarray:
    """Profile of the thickest grain at each pixel (y, x); grains of one table coalesce."""
    out = np.zeros((y.size, x.size))
    thickest_grain(np.asarray(y, dtype=np.float64), np.asarray(x, dtype=np.float64), grains, out)
    return out


def noise_field(y: np.ndarray, x: np.ndarray, *, cell: float, seed: int, field: int) -> np.ndarray:
    """Smooth random field in 0…1 with features of ``cell`` pixels (y, x)."""
    out = np.zeros((y.size, x.size))
    smooth_noise(
        np.asarray(y, dtype=np.float64), np.asarray(x, dtype=np.float64), float(cell), seed, field, out
    )
    return out


def sample_grid(shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Pixel indices that sample a map evenly: all of it if it is small."""
    step = max(1, int(np.ceil(np.sqrt(shape[0] * shape[1] / SAMPLED_PIXELS))))
    return np.arange(min(step // 2, shape[0] - 1), shape[0], step), np.arange(
        min(step // 2, shape[1] - 1), shape[1], step
    )
