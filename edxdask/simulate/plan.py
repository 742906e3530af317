"""From a few numbers to all that a chunk needs. A worker makes the plan once; tasks carry only numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
class CommonSpec:
    """What a map and a tilt series have in common; small and hashable.

    Attributes
    ----------
    phases : of the recipe, or with other compositions or another thickness
    counts : expected photons per pixel, of a series in the thick part
    """

    recipe: str
    phases: tuple[PhaseSpec, ...]
    counts: float
    seed: int
    channels: int
    energy_offset: float
    energy_scale: float
    beam_energy: float
    fwhm_mn_ka_ev: float
    elevation_deg: tuple[float, ...]


@dataclass(frozen=True)
class Spec(CommonSpec):
    """Everything that decides the counts of a map."""

    shape: tuple[int, int]
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


def composition_of(phases: Sequence[PhaseSpec]) -> tuple[tuple[str, ...], np.ndarray]:
    """Elements of all phases, and the atomic fractions (phase, element)."""
    elements = tuple(dict.fromkeys(element for phase in phases for element, _ in phase.atoms))
    rows = [[phase.composition.get(element, 0.0) for element in elements] for phase in phases]
    return elements, np.array(rows)


def intensities(spec: CommonSpec, phases: Sequence[PhaseSpec]) -> np.ndarray:
    """Photons per electron that a film of each phase gives in each channel: (phase, energy)."""
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
        for phase in phases
    ]
    return np.stack(rows)


def alias_tables(spectrum: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both alias tables (phase, energy) of spectra that sum to 1."""
    accept = np.empty(spectrum.shape, dtype=np.uint32)
    alias = np.empty(spectrum.shape, dtype=np.uint16)
    for row in range(spectrum.shape[0]):
        alias_table(spectrum[row], accept[row], alias[row])
    return accept, alias


def dtype_for(largest_mean: float) -> np.dtype:
    """Smallest type that holds a Poisson variate of this mean, 12 σ above it."""
    return np.dtype(np.uint16 if largest_mean + 12 * np.sqrt(largest_mean) < 0xFFFF else np.uint32)


@lru_cache(maxsize=8)
def make_plan(spec: Spec) -> Plan:
    """Work out spectra, alias tables and grains."""
    recipe = replace(RECIPES[spec.recipe], phases=spec.phases)
    intensity = intensities(spec, recipe.phases)
    strength = intensity.sum(axis=1)
    spectrum = intensity / strength[:, None]
    per_nm = tuple(float(s) / phase.thickness_nm for s, phase in zip(strength, recipe.phases, strict=True))
    geometry = recipe.geometry(spec.shape, seed=spec.seed, grain=spec.grain, yields=per_nm)
    accept, alias = alias_tables(spectrum)
    elements, composition = composition_of(recipe.phases)
    dtype = dtype_for(spec.counts * geometry.largest_total * float(spectrum.max()))
    return Plan(geometry, spectrum, composition, elements, accept, alias, dtype)
