"""Gold particles on copper oxide on a carbon film of varying thickness, with patches of silica.

After the experimental sample of H. Chen et al., Nano Lett. 24 (2024) 10177. The photons of a pixel follow the
thickness of what is there, so totals vary over the map.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edxdask.simulate.grains import (
    grain_field,
    irregular_grains,
    noise_field,
    random_table,
    sample_grid,
    scatter_points,
)
from edxdask.simulate.kernels.grains import CENTRE_X, CENTRE_Y, PEAK, RADIUS
from edxdask.simulate.recipe import PhaseSpec, Recipe

FILM_NM = (8.0, 24.0)  # carbon, thinnest and thickest
OXIDE_NM = (45.0, 70.0)  # copper oxide, peaks of its grains
GOLD_NM = (8.0, 16.0)
SILICA_NM = 30.0  # where the contamination is thickest
OXIDE_COVERAGE = 0.25  # approximate fraction of the map under copper oxide
GOLD_PER_OXIDE = 3
OXIDE_SIZE, GOLD_SIZE = 1.3, 0.4  # diameters over ``grain``


@dataclass(frozen=True, eq=False)
class ParticleGeometry:
    """Thickness of each material, turned into fractions of the photons."""

    oxide: np.ndarray
    gold: np.ndarray
    yields: np.ndarray
    seed: int
    grain: float
    mean_total: float = 1.0

    @property
    def largest_total(self) -> float:
        """Relative total where everything is thickest."""
        peaks = np.array([FILM_NM[1], self.oxide[:, PEAK].max(), self.gold[:, PEAK].max(), SILICA_NM])
        return float(peaks @ self.yields) / self.mean_total

    def thickness(self, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Nanometres of C, Cu2O, Au and SiO2: (phase, y, x)."""
        film = noise_field(y, x, cell=3.0 * self.grain, seed=self.seed, field=0)
        dirt = 0.6 * noise_field(y, x, cell=2.0 * self.grain, seed=self.seed, field=1)
        dirt += 0.4 * noise_field(y, x, cell=0.7 * self.grain, seed=self.seed, field=2)
        patch = np.clip((dirt - 0.5) / 0.2, 0.0, 1.0)
        return np.stack(
            [
                FILM_NM[0] + (FILM_NM[1] - FILM_NM[0]) * film,
                grain_field(y, x, self.oxide),
                grain_field(y, x, self.gold),
                SILICA_NM * patch * patch * (3.0 - 2.0 * patch),
            ]
        )

    def fields(self, y: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Abundance (C, Cu2O, Au, SiO2) and the total relative to the map's mean."""
        photons = self.thickness(y, x) * self.yields[:, None, None]
        total = photons.sum(axis=0)
        return photons / total, total / self.mean_total


def _on(hosts: np.ndarray, n: int, *, seed: int) -> np.ndarray:
    """``n`` points on random hosts, towards their rims."""
    draw = random_table(seed, 60, n, 3)
    host = hosts[(draw[:, 0] * hosts.shape[0]).astype(np.int64)]
    angle = 2 * np.pi * draw[:, 1]
    distance = (0.8 * np.sqrt(draw[:, 2]) * host[:, RADIUS])[:, None]
    return host[:, [CENTRE_Y, CENTRE_X]] + distance * np.stack([np.sin(angle), np.cos(angle)], axis=1)


def build(shape: tuple[int, int], *, seed: int, grain: float, yields: tuple[float, ...]) -> ParticleGeometry:
    """Place oxide grains of 1.3 × ``grain`` pixels, and three gold particles per grain on them."""
    covered = OXIDE_COVERAGE * shape[0] * shape[1]
    number = max(2, round(covered / (np.pi / 4 * (OXIDE_SIZE * grain) ** 2)))
    oxide = irregular_grains(
        scatter_points(shape, number, seed=seed, stream=50),
        diameter=OXIDE_SIZE * grain,
        peak=OXIDE_NM,
        seed=seed,
        stream=51,
    )
    gold = irregular_grains(
        _on(oxide, GOLD_PER_OXIDE * number, seed=seed),
        diameter=GOLD_SIZE * grain,
        peak=GOLD_NM,
        seed=seed,
        stream=52,
        roughness=0.25,
        aspect=1.2,
    )
    raw = ParticleGeometry(oxide, gold, np.array(yields), seed, grain)
    mean = float(raw.fields(*sample_grid(shape))[1].mean())
    return ParticleGeometry(oxide, gold, np.array(yields), seed, grain, mean)


NANOPARTICLES = Recipe(
    name="nanoparticles",
    title="Au particles on Cu2O on a C film of varying thickness, with SiO2 contamination",
    phases=(
        PhaseSpec("C", (("C", 1.0),), density_g_cm3=1.8, thickness_nm=16.0),
        PhaseSpec("Cu2O", (("Cu", 2.0), ("O", 1.0)), density_g_cm3=6.0, thickness_nm=50.0),
        PhaseSpec("Au", (("Au", 1.0),), density_g_cm3=19.3, thickness_nm=12.0),
        PhaseSpec("SiO2", (("Si", 1.0), ("O", 2.0)), density_g_cm3=2.2, thickness_nm=20.0),
    ),
    geometry=build,
    energy_offset_kev=0.1,
    channels=1200,
    pixel_size_nm=1.0,
    uniform_film=False,
)
