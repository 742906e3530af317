"""Where the phases of the samples are: volume fractions, (phase, y, x); and faults of detectors."""

from __future__ import annotations

import itertools
from typing import Literal

import numpy as np
from scipy.ndimage import gaussian_filter

MARGIN = 0.1  # of a side that the centres of grains keep from the edge
CUBE, PERIOD = 9, 14  # pixels, of the ordered cubes of a superalloy
SPHERE_NM = 8.0  # pixels of thickness that count as one


def pixels(side: int) -> tuple[np.ndarray, np.ndarray]:
    """Row and column of every pixel, (side, side) each."""
    y, x = np.mgrid[0:side, 0:side].astype(float)
    return y, x


def discs(
    side: int,
    seed: int,
    number: int,
    radius: float,
    *,
    profile: Literal["flat", "sphere"] = "flat",
    peak: float = 1.0,
    blur: float = 0.7,
) -> np.ndarray:
    """Fraction of round grains: flat ones go through the whole film, spheres never fill it."""
    rng = np.random.default_rng(seed)
    y, x = pixels(side)
    fraction = np.zeros((side, side))
    for _ in range(number):
        centre_y, centre_x = rng.uniform(MARGIN * side, (1 - MARGIN) * side, 2)
        distance = np.hypot(y - centre_y, x - centre_x) / (radius * rng.uniform(0.7, 1.3))
        grain = distance < 1 if profile == "flat" else np.sqrt(np.clip(1 - distance**2, 0, None))
        fraction = np.maximum(fraction, peak * grain)
    return gaussian_filter(fraction, blur)


def in_matrix(*grains: np.ndarray) -> np.ndarray:
    """Put grains into a matrix, which comes first and has what they leave."""
    together = np.sum(grains, axis=0)
    fits = np.where(together > 1, 1 / np.maximum(together, 1e-9), 1.0)
    others = [grain * fits for grain in grains]
    return np.stack([1 - np.sum(others, axis=0), *others])


def one_phase(side: int, seed: int) -> np.ndarray:
    return np.ones((1, side, side))


def halves(side: int, seed: int) -> np.ndarray:
    right = np.tile((np.arange(side) >= side // 2).astype(float), (side, 1))
    return np.stack([1 - right, right])


def layers(side: int, seed: int) -> np.ndarray:
    """Five layers, one beside the other."""
    x = np.arange(side)
    edges = np.array([0, 20, 30, 38, 48, 64]) * side / 64
    inside = [((x >= a) & (x < b)).astype(float) for a, b in itertools.pairwise(edges)]
    profile = gaussian_filter(np.stack(inside), (0, 0.7))
    return np.repeat((profile / profile.sum(axis=0))[:, None, :], side, axis=1)


def two_kinds(side: int, seed: int) -> np.ndarray:
    return in_matrix(discs(side, seed, 9, 5), discs(side, seed + 100, 8, 3.5))


def large_grains(side: int, seed: int) -> np.ndarray:
    return in_matrix(discs(side, seed, 5, 11, blur=0.8))


def many_grains(side: int, seed: int) -> np.ndarray:
    return in_matrix(discs(side, seed, 6, 8))


def wide_map(side: int, seed: int) -> np.ndarray:
    return in_matrix(discs(side, seed, 8, 8), discs(side, seed + 5, 6, 7))


def large_and_small(side: int, seed: int) -> np.ndarray:
    return in_matrix(discs(side, seed, 5, 9), discs(side, seed + 5, 6, 4))


def granules(side: int, seed: int) -> np.ndarray:
    return in_matrix(discs(side, seed, 10, 3.5), discs(side, seed + 3, 6, 4))


def one_small_grain(side: int, seed: int) -> np.ndarray:
    """Large grains, and one of a dozen pixels that is never pure."""
    return in_matrix(discs(side, seed, 5, 9), discs(side, seed + 5, 1, 2, profile="sphere", peak=0.8))


def buried_spheres(side: int, seed: int) -> np.ndarray:
    """Spheres of two kinds that matrix lies above and below of: their phases are nowhere pure."""
    first = discs(side, seed, 7, 6, profile="sphere", peak=0.75, blur=0.8)
    return in_matrix(first, discs(side, seed + 5, 5, 5, profile="sphere", peak=0.7, blur=0.8))


def ordered_cubes(side: int, seed: int) -> np.ndarray:
    """Cubes on a grid, as γ′ in γ."""
    y, x = pixels(side)
    shift_y, shift_x = np.random.default_rng(seed).uniform(0, PERIOD, 2)
    inside = ((y + shift_y) % PERIOD < CUBE) & ((x + shift_x) % PERIOD < CUBE)
    return in_matrix(gaussian_filter(inside.astype(float), 0.6))


def half_as_thick(side: int, seed: int) -> np.ndarray:
    """Cubes that fill half of the film: flat tops that are not pure."""
    return in_matrix(0.5 * ordered_cubes(side, seed)[1])


def core_shell(side: int, seed: int) -> np.ndarray:
    """Film, cores, and shells around them; pixels of particles are thicker."""
    rng = np.random.default_rng(seed)
    y, x = pixels(side)
    core, shell = np.zeros((side, side)), np.zeros((side, side))
    for _ in range(7):
        centre_y, centre_x = rng.uniform(8, side - 8, 2)
        radius = rng.uniform(5, 8)
        distance = np.hypot(y - centre_y, x - centre_x)
        sphere = np.sqrt(np.clip(radius**2 - distance**2, 0, None))
        inner = np.sqrt(np.clip((0.55 * radius) ** 2 - distance**2, 0, None))
        outer, inner = (sphere - inner) / SPHERE_NM * 1.4, inner / SPHERE_NM * 1.4
        above = outer + inner > shell + core
        shell, core = np.where(above, outer, shell), np.where(above, inner, core)
    return np.stack([np.full((side, side), 0.35), core, shell])


def catalyst(side: int, seed: int) -> np.ndarray:
    """Thin film, support, and particles of a few pixels on the support."""
    support = discs(side, seed + 7, 9, 12, profile="sphere", peak=0.8, blur=1)
    particles = discs(side, seed, 14, 2.2, profile="sphere", peak=0.35)
    return np.stack([np.full((side, side), 0.05), support, particles * (support > 0.2)])


def gradient(side: int, seed: int) -> np.ndarray:
    """One particle whose composition changes evenly from its middle to its edge."""
    y, x = pixels(side)
    distance = np.hypot(y - side / 2, x - side / 2) / (0.42 * side)
    outward = np.clip(distance, 0, 1)
    inside = gaussian_filter((distance < 1).astype(float), 0.6)
    return np.stack([(1 - outward) * inside + 1e-3, outward * inside + 1e-3])


def bands_between(side: int, seed: int) -> np.ndarray:
    """Two half planes, and a third phase as a band between them."""
    x = np.arange(side) / side
    inside = np.stack([x < 0.4, (x >= 0.4) & (x < 0.6), x >= 0.6]).astype(float)
    return np.repeat(gaussian_filter(inside, (0, 0.7))[:, None, :], side, axis=1)


def wedge(side: int, seed: int) -> np.ndarray:
    """Grains in a film that becomes thirty times as thick from left to right."""
    thickness = np.linspace(0.1, 3.0, side)
    return large_grains(side, seed) * thickness


def add_zero_peak(counts: np.ndarray, energy: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Add the noise peak that detectors count around 0 keV."""
    profile = np.exp(-0.5 * (energy / 0.03) ** 2)
    noise = rng.poisson(25.0, counts.shape[:2])
    return counts + rng.multinomial(noise, profile / profile.sum())


def add_faults(counts: np.ndarray, energy: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Add a dead row, pixels that count far too much, and channels that fired."""
    faulty = counts.copy()
    side, channels = faulty.shape[0], faulty.shape[2]
    faulty[side // 3] = 0
    for _ in range(4):
        y, x = rng.integers(0, side, 2)
        faulty[y, x] = rng.poisson(200 * np.maximum(counts.mean(axis=(0, 1)), 0.02))
    for _ in range(3):
        y, x = rng.integers(0, side, 2)
        faulty[y, x, rng.integers(0, channels)] += 3000
    return faulty
