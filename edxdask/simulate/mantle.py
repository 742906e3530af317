"""The mantle phantom: bridgmanite with ferropericlase and Ca-perovskite that never occur pure.

Compositions and mean fractions follow H. Chen et al., Nano Lett. 24 (2024) 10177.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edxdask.simulate.grains import grain_field, irregular_grains, random_table, sample_grid, scatter_points
from edxdask.simulate.kernels.grains import CENTRE_X, CENTRE_Y, RADIUS
from edxdask.simulate.recipe import PhaseSpec, Recipe

LARGEST_ABUNDANCE = 0.77  # of the precipitates together: the rest of the foil's thickness is matrix
PEAKS = (0.62, LARGEST_ABUNDANCE)
MEAN_FRACTION = (0.069, 0.026)  # ferropericlase, Ca-perovskite; the matrix is the rest
MEAN_FILL = 0.36  # mean profile × area of a grain, over its diameter squared, for the number of grains
SMALLER = (1.0, 0.8)  # diameters of the two precipitates over ``grain``
ROUGHNESS = 0.8
CALIBRATION_ROUNDS = 12


@dataclass(frozen=True, eq=False)
class MantleGeometry:
    """Grains of both precipitates; the matrix is what they leave."""

    ferropericlase: np.ndarray
    perovskite: np.ndarray
    largest_total: float = 1.0

    def fields(self, y: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Abundance (matrix, Fp, CaPv) and an even total."""
        grains = np.stack([grain_field(y, x, self.ferropericlase), grain_field(y, x, self.perovskite)])
        # grains above one another divide the thickness that one of them would have
        both = grains.sum(axis=0)
        grains *= LARGEST_ABUNDANCE / np.maximum(both, LARGEST_ABUNDANCE)
        abundance = np.concatenate([1.0 - grains.sum(axis=0, keepdims=True), grains])
        return abundance, np.ones((y.size, x.size))

    def scaled(self, factors: np.ndarray) -> MantleGeometry:
        """Multiply the radii of both kinds."""
        fp, capv = self.ferropericlase.copy(), self.perovskite.copy()
        fp[:, RADIUS] *= factors[0]
        capv[:, RADIUS] *= factors[1]
        return MantleGeometry(fp, capv)


def _touching(centres: np.ndarray, hosts: np.ndarray, *, seed: int) -> np.ndarray:
    """Move every other one of ``centres`` to the rim of a host grain, so that the two phases overlap."""
    moved = np.arange(0, centres.shape[0], 2)
    draw = random_table(seed, 40, moved.size, 2)
    host = hosts[(draw[:, 0] * hosts.shape[0]).astype(np.int64)]
    angle = 2 * np.pi * draw[:, 1]
    out = centres.copy()
    out[moved] = host[:, [CENTRE_Y, CENTRE_X]] + 1.15 * host[:, [RADIUS]] * np.stack(
        [np.sin(angle), np.cos(angle)], axis=1
    )
    return out


def _calibrated(geometry: MantleGeometry, shape: tuple[int, int]) -> MantleGeometry:
    """Scale the radii until the mean fractions are right; a map too small to hold them keeps what it has."""
    y, x = sample_grid(shape)
    factors = np.ones(2)
    for _ in range(CALIBRATION_ROUNDS):
        mean = geometry.scaled(factors).fields(y, x)[0].mean(axis=(1, 2))[1:]
        step = np.sqrt(np.array(MEAN_FRACTION) / np.maximum(mean, 1e-6))
        factors = np.clip(factors * np.clip(step, 0.6, 1.6), 0.1, 4.0)
    return geometry.scaled(factors)


def build(
    shape: tuple[int, int], *, seed: int, grain: float, yields: tuple[float, ...]
) -> MantleGeometry:  # ``yields`` play no part: a foil of even thickness that counts alike everywhere
    """Place grains of about ``grain`` pixels so that the mean fractions are `MEAN_FRACTION`."""
    pixels = shape[0] * shape[1]
    number = [
        max(2, round(pixels * mean / (MEAN_FILL * (grain * size) ** 2)))
        for mean, size in zip(MEAN_FRACTION, SMALLER, strict=True)
    ]
    fp = irregular_grains(
        scatter_points(shape, number[0], seed=seed, stream=10),
        diameter=grain * SMALLER[0],
        peak=PEAKS,
        seed=seed,
        stream=20,
        roughness=ROUGHNESS,
    )
    centres = _touching(scatter_points(shape, number[1], seed=seed, stream=12), fp, seed=seed)
    centres = np.clip(centres, 0, np.array(shape) - 1)
    capv = irregular_grains(
        centres,
        diameter=grain * SMALLER[1],
        peak=PEAKS,
        seed=seed,
        stream=21,
        roughness=ROUGHNESS,
    )
    return _calibrated(MantleGeometry(fp, capv), shape)


def _foil(name: str, **atoms: float) -> PhaseSpec:
    return PhaseSpec(name, tuple(atoms.items()), density_g_cm3=4.5, thickness_nm=100.0)


MANTLE = Recipe(
    name="mantle",
    title="bridgmanite matrix with ferropericlase and Ca-perovskite precipitates",
    phases=(
        _foil("Brg", Mg=18.5, Si=18.2, Al=1.5, Ca=1.0, Fe=1.0, Nd=0.1, Sm=0.1, O=60.0),
        _foil("Fp", Mg=39.0, Fe=10.0, Cu=1.0, O=50.0),
        _foil("CaPv", Si=17.5, Al=2.5, Ca=16.2, Fe=1.0, Nd=1.0, Sm=1.0, U=1.0, O=60.0),
    ),
    geometry=build,
    energy_offset_kev=0.3,
    channels=970,
    pixel_size_nm=4.0,
    uniform_film=True,
)
