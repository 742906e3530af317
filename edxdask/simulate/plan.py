"""From a few numbers to all that a chunk needs. A worker makes the plan once; tasks carry only numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from types import MappingProxyType

import numpy as np

from edxdask import schema
from edxdask.physics.spectrum import phase_intensity
from edxdask.simulate.kernels.draw import alias_table
from edxdask.simulate.mantle import MANTLE
from edxdask.simulate.nanoparticles import NANOPARTICLES
from edxdask.simulate.recipe import Geometry, PhaseSpec, Recipe

RECIPES: Mapping[str, Recipe] = MappingProxyType({r.name: r for r in (MANTLE, NANOPARTICLES)})


@dataclass(frozen=True)
class Spec:
    """Everything that decides the counts; small and hashable.

    Attributes
    ----------
    phases : of the recipe, or with other compositions or another thickness
    """

    recipe: str
    phases: tuple[PhaseSpec, ...]
    shape: tuple[int, int]
    counts: float
    seed: int
    channels: int
    energy_offset: float
    energy_scale: float
    beam_energy: float
    fwhm_mn_ka_ev: float
    elevation_deg: tuple[float, ...]
    grain: float


@dataclass(frozen=True, eq=False)
class Plan:
    """What a chunk is drawn from.

    Attributes
    ----------
    spectrum : (phase, energy), rows sum to 1
    composition : (phase, element), rows sum to 1
    elements : in the order of ``composition``
    accept, alias : (phase, energy), the alias tables of ``spectrum``
    dtype : uint16, or uint32 where a channel may need it
    """

    geometry: Geometry
    spectrum: np.ndarray
    composition: np.ndarray
    elements: tuple[str, ...]
    accept: np.ndarray
    alias: np.ndarray
    dtype: np.dtype


def _composition(recipe: Recipe) -> tuple[tuple[str, ...], np.ndarray]:
    elements = tuple(dict.fromkeys(element for phase in recipe.phases for element, _ in phase.atoms))
    rows = [[phase.composition.get(element, 0.0) for element in elements] for phase in recipe.phases]
    return elements, np.array(rows)


def _intensities(spec: Spec, recipe: Recipe) -> np.ndarray:
    axis = schema.energy_values(spec.energy_offset, spec.energy_scale, spec.channels)
    rows = [
        phase_intensity(
            phase.composition,
            axis,
            beam_energy=spec.beam_energy,
            thickness_nm=phase.thickness_nm,
            density_g_cm3=phase.density_g_cm3,
            fwhm_mn_ka_ev=spec.fwhm_mn_ka_ev,
            elevation_deg=spec.elevation_deg,
        )
        for phase in recipe.phases
    ]
    return np.stack(rows)


def _dtype(largest_mean: float) -> np.dtype:
    """Smallest type that holds a Poisson variate of this mean, 12 σ above it."""
    return np.dtype(np.uint16 if largest_mean + 12 * np.sqrt(largest_mean) < 0xFFFF else np.uint32)


@lru_cache(maxsize=8)
def make_plan(spec: Spec) -> Plan:
    """Work out spectra, alias tables and grains."""
    recipe = replace(RECIPES[spec.recipe], phases=spec.phases)
    intensity = _intensities(spec, recipe)
    strength = intensity.sum(axis=1)
    spectrum = intensity / strength[:, None]
    per_nm = tuple(float(s) / phase.thickness_nm for s, phase in zip(strength, recipe.phases, strict=True))
    geometry = recipe.geometry(spec.shape, seed=spec.seed, grain=spec.grain, yields=per_nm)
    accept = np.empty(spectrum.shape, dtype=np.uint32)
    alias = np.empty(spectrum.shape, dtype=np.uint16)
    for row in range(spectrum.shape[0]):
        alias_table(spectrum[row], accept[row], alias[row])
    elements, composition = _composition(recipe)
    dtype = _dtype(spec.counts * geometry.largest_total * float(spectrum.max()))
    return Plan(geometry, spectrum, composition, elements, accept, alias, dtype)
