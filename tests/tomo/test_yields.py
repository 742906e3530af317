"""Photons of full voxels: ratios from physics, the scale from the interior of the object."""

import numpy as np
import pytest
from small_phantom import phantom

from edxdask.errors import ParameterError
from edxdask.physics.conditions import Conditions
from edxdask.physics.spectrum import phase_intensity
from edxdask.tomo.estimate import VolumeSettings
from edxdask.tomo.yields import common_scale, first_scale, plateau, relative_yields

ENERGY = 0.3 + 0.01 * np.arange(970)
ATOMS = {
    "Brg": {"Mg": 18.5, "Si": 18.2, "Al": 1.5, "Ca": 1.0, "Fe": 1.0, "O": 60.0},
    "Fp": {"Mg": 39.0, "Fe": 10.0, "Cu": 1.0, "O": 50.0},
    "Au": {"Au": 1.0},
}
DENSITIES = {"Brg": 4.1, "Fp": 3.8, "Au": 19.3}


def emitted(densities):
    """Photons per electron of a thin film of each phase, by the simulator's own physics."""
    return np.array(
        [
            phase_intensity(atoms, ENERGY, thickness_nm=1.0, density_g_cm3=densities[label])
            for label, atoms in ATOMS.items()
        ]
    )


def found(spectra, densities):
    return relative_yields(
        spectra / spectra.sum(axis=1, keepdims=True),
        ENERGY,
        list(ATOMS.values()),
        list(ATOMS),
        Conditions(200.0),
        densities=densities,
    )


def test_ratios_are_those_of_films_of_the_same_thickness():
    spectra = emitted(DENSITIES)
    expected = spectra.sum(axis=1) / spectra.sum(axis=1).mean()
    yields = found(spectra, DENSITIES)
    np.testing.assert_allclose(yields.ratio, expected, rtol=0.06)  # the continuum's shape is not quite G's
    assert yields.warnings == ()


def test_noise_of_a_spectrum_moves_ratios_little():
    spectra = emitted(DENSITIES)
    noisy = np.random.default_rng(1).poisson(spectra / spectra.sum(axis=1, keepdims=True) * 2e4)
    np.testing.assert_allclose(found(noisy, DENSITIES).ratio, found(spectra, DENSITIES).ratio, rtol=0.05)


def test_without_densities_equally_many_atoms_are_assumed_and_said():
    yields = found(emitted(DENSITIES), None)
    assert "equally many atoms" in yields.warnings[0]
    assert "densities={'Brg': 4.1" in yields.warnings[0]
    with_them = found(emitted(DENSITIES), DENSITIES)
    assert not np.allclose(yields.ratio, with_them.ratio, rtol=0.02)


@pytest.mark.parametrize(
    ("densities", "text"),
    [
        ({"Brg": 4.1, "Fp": 3.8}, "Add Au"),
        ({**DENSITIES, "CaPv": 4.2}, "Leave out CaPv"),
        ({**DENSITIES, "Fp": 0.0}, "above 0"),
        ({**DENSITIES, "Fp": np.nan}, "above 0"),
    ],
)
def test_densities_that_do_not_fit_the_phases_are_refused(densities, text):
    with pytest.raises(ParameterError, match=text):
        found(emitted(DENSITIES), densities)


def test_a_composition_that_the_spectrum_does_not_show_is_refused():
    spectrum = np.exp(-((ENERGY - 8.0) ** 2) / 0.01)
    with pytest.raises(ParameterError, match="composition"):
        relative_yields(spectrum[None] / spectrum.sum(), ENERGY, [{"Mg": 1.0}], ["a"], Conditions(200.0))


@pytest.mark.parametrize(("photons", "near"), [(5.0, 0.1), (40.0, 0.05)])
def test_the_common_scale_is_found_from_the_interior(photons, near):
    made = phantom(photons, seed=2)
    relative = made.responses / made.responses.sum(axis=1).mean()
    scale, volume = common_scale(made.counts, made.projector, relative, VolumeSettings())
    assert scale == pytest.approx(made.responses.sum(axis=1).mean(), rel=near)
    assert plateau(volume.sum(axis=0)) == pytest.approx(1.0, abs=0.05)


def test_a_few_rows_are_enough_to_guess_the_scale():
    made = phantom(20.0)
    guess = first_scale(made.counts, made.projector.geometry.exposure)
    assert 0.5 < guess / made.responses.sum(axis=1).mean() < 2.0


def test_without_photons_the_scale_is_zero():
    made = phantom(20.0)
    scale, volume = common_scale(np.zeros_like(made.counts), made.projector, made.responses, VolumeSettings())
    assert scale == 0.0
    assert volume.shape == made.truth.shape
    assert not volume.any()


def test_a_small_object_in_a_large_box_is_full_where_it_is():
    """Vacuum holds a little everywhere: most voxels are not empty, and say nothing."""
    values = np.full((40, 12, 40), 1e-9)
    values[16:23, 3:9, 17:24] = np.random.default_rng(0).normal(2.0, 0.2, (7, 6, 7))
    assert plateau(values) == pytest.approx(2.0, rel=0.1)
