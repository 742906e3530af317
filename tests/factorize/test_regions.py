"""Elements that show in one region only, and the number of phases with similar spectra."""

from __future__ import annotations

import numpy as np
import pytest

import edxdask
from edxdask.engine.problem import Demand, photons_of
from edxdask.factorize.pansharpening.regions import spectra_of_regions
from edxdask.physics.find import find_in_spectrum
from edxdask.physics.spectrum import phase_spectrum

ENERGY = 0.3 + 0.01 * np.arange(1200)


@pytest.fixture(scope="module")
def silicon_in_tungsten():
    """A strip of silicon that covers a tenth of a film of tungsten, whose M lines hide it in the sum."""
    spectra = np.stack([phase_spectrum({one: 1}, ENERGY) for one in ("W", "Si")])
    which = np.zeros((48, 48), int)
    which[:5] = 1
    expected = np.array([100.0, 30.0])[which][..., None] * spectra[which]
    counts = np.random.default_rng(0).poisson(expected).astype(np.uint16)
    return edxdask.from_array(counts, energy_offset=0.3, energy_scale=0.01, beam_energy=200.0)


def test_elements_of_one_region_are_found_that_the_sum_of_all_pixels_hides(silicon_in_tungsten):
    counts = silicon_in_tungsten.counts.values
    assert find_in_spectrum(counts.sum(axis=(0, 1)), ENERGY, beam_energy=200.0).elements == ("W",)
    result = edxdask.psnmf(silicon_in_tungsten, phases=2, elements="find", bin=4, smooth=1.0, progress=False)
    assert result.element.values.tolist() == ["Si", "W"]


def test_regions_are_sums_of_counts_and_hold_most_of_them(silicon_in_tungsten):
    with photons_of(silicon_in_tungsten, step="test", demand=Demand(0, 0)) as problem:
        regions = spectra_of_regions(problem, None)
    whole = silicon_in_tungsten.counts.values.sum(axis=(0, 1))
    assert (regions == regions.round()).all()
    assert (regions.sum(axis=0) <= whole).all()
    assert regions.sum() > 0.8 * whole.sum()


@pytest.mark.slow
def test_two_alloys_with_the_same_elements_are_two_phases_and_not_more():
    """Strongly smoothed maps of similar phases are flat, and more phases would seem better."""
    alloys = ({"Ni": 55, "Cr": 20, "Co": 20, "Al": 5}, {"Ni": 70, "Al": 15, "Ti": 9, "Co": 6})
    spectra = np.stack([phase_spectrum(one, ENERGY) for one in alloys])
    y, x = np.mgrid[:72, :72]
    which = ((y % 12 < 7) & (x % 12 < 7)).astype(int)  # cubes of 7 pixels
    counts = np.random.default_rng(1).poisson(60 * spectra[which]).astype(np.uint16)
    cube = edxdask.from_array(counts, energy_offset=0.3, energy_scale=0.01, beam_energy=200.0)
    result = edxdask.psnmf(cube, phases=None, bin=4, smooth=0.3, progress=False)
    assert result.sizes["phase"] == 2
