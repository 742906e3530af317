"""Phases that absorb otherwise than the mean of the film: by composition, and by mass thickness."""

from __future__ import annotations

import numpy as np
import pytest

import edxdask
from edxdask.physics.spectrum import phase_intensity

ENERGY = 0.21 + 0.01 * np.arange(980)
FILM_NM, FILM_DENSITY = 60.0, 7.0


def film_of(phases, density, counts=150.0, side=40, seed=0):
    """Stripes of two phases, as thick everywhere; their true spectra."""
    spectra = np.stack([
        phase_intensity(atoms, ENERGY, beam_energy=200.0, thickness_nm=FILM_NM, density_g_cm3=one)
        for atoms, one in zip(phases, density, strict=True)
    ])  # fmt: skip
    spectra /= spectra.sum(axis=1, keepdims=True)
    which = (np.arange(side) // 8 % 2)[:, None].repeat(side, 1)
    drawn = np.random.default_rng(seed).poisson(counts * spectra[which])
    attrs = {"beam_energy_kev": 200.0, "thickness_nm": FILM_NM, "density_g_cm3": FILM_DENSITY}
    cube = edxdask.from_array(
        drawn.astype(np.uint16), energy_offset=0.21, energy_scale=0.01, pixel_size=1.0, attrs=attrs
    )
    return cube, spectra


def degrees(found, true):
    lengths = np.linalg.norm(found, axis=1)[:, None] * np.linalg.norm(true, axis=1)
    return np.degrees(np.arccos(np.clip(found @ true.T / lengths, -1, 1))).min(axis=0)


@pytest.mark.parametrize(
    ("phases", "density"),
    [
        # iron's L lines are absorbed by chromium: by much more in the carbide
        ([{"Fe": 88, "Cr": 12}, {"Cr": 52, "Fe": 27, "C": 21}], (7.8, 7.0)),
        # eight times as dense as silicon, and both take the film's density
        ([{"W": 1}, {"Si": 1}], (19.3, 2.33)),
    ],
    ids=["steel", "tungsten beside silicon"],
)
def test_each_phase_absorbs_by_itself(phases, density):
    cube, true = film_of(phases, density)
    elements = sorted({element for atoms in phases for element in atoms})
    found = edxdask.psnmf(cube, phases=2, elements=elements, bin=4, smooth=1.0, progress=False)
    assert degrees(found.spectrum.values, true).max() < 0.8


def test_without_elements_each_phase_has_its_own_continuum():
    cube, true = film_of([{"W": 1}, {"Si": 1}], (19.3, 2.33))
    found = edxdask.psnmf(cube, phases=2, bin=4, smooth=1.0, progress=False)
    assert degrees(found.spectrum.values, true).max() < 1.0
