"""Emission, detector, continuum and absorption against published figures and closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from edxdask.errors import ParameterError
from edxdask.physics.absorption import film_transmission, mass_attenuation, mass_fractions, normalised
from edxdask.physics.continuum import bremsstrahlung, continuum_shapes
from edxdask.physics.detector import efficiency, fwhm_kev, line_response
from edxdask.physics.emission import emission, ionisation_cross_section, line_cross_section

BARN_CM2 = 1e-24
# Emission cross-sections at 200 keV, Coster-Kronig transitions included, barn, as tabulated by emtables
# (A. Teurtrie) and shipped with pyTEMlib: sums over the transitions of the line.
PUBLISHED_200_KEV = {"Fe_Ka": 94.8178, "Nd_La": 91.7988, "Nd_Lb1": 38.3624}


@pytest.mark.parametrize(("name", "barn"), PUBLISHED_200_KEV.items())
def test_emission_agrees_with_the_published_tables(name, barn):
    ours = line_cross_section(name, beam_energy=200.0, table="emtables") / BARN_CM2
    assert ours == pytest.approx(barn, rel=1e-4)


def test_coster_kronig_moves_vacancies_to_outer_subshells_and_makes_none():
    with_it, without = emission("Nd", 200.0), emission("Nd", 200.0, False)
    gain = {t.iupac: a / b for t, a, b in zip(with_it.transitions, with_it.cross_section_cm2,
                                             without.cross_section_cm2, strict=True)}  # fmt: skip
    assert gain["L3M5"] > 1.05
    assert gain["L1M3"] == pytest.approx(1.0)
    assert gain["KL3"] == pytest.approx(1.0)


def test_cross_sections_fall_with_beam_energy():
    sigma = [ionisation_cross_section("Fe", "K", beam_energy=e) for e in np.linspace(60, 300, 25)]
    assert (np.diff(sigma) < 0).all()


@pytest.mark.parametrize("beam", [1.0, 400.0, 200_000.0])
def test_a_beam_energy_without_any_tables_is_refused(beam):
    with pytest.raises(ParameterError, match="2 to 300 keV"):
        ionisation_cross_section("Fe", "K", beam_energy=beam)


def test_a_beam_energy_in_ev_is_recognised():
    with pytest.raises(ParameterError, match="In keV that is 200"):
        ionisation_cross_section("Fe", "K", beam_energy=200_000.0)


def test_width_is_exact_at_mn_ka_and_falls_below_it():
    assert fwhm_kev(5.8988, fwhm_mn_ka_ev=128.0) == pytest.approx(0.128)
    # ISO 15632 detectors of 130 eV at Mn Kα show 55 to 75 eV at C Kα
    assert 0.055 < float(fwhm_kev(0.277, fwhm_mn_ka_ev=130.0)) < 0.075


def test_a_width_below_the_fano_limit_is_refused():
    with pytest.raises(ParameterError, match="Fano limit"):
        fwhm_kev(1.0, fwhm_mn_ka_ev=100.0)


def test_channel_shares_sum_to_one_and_keep_the_line_in_place_at_any_channel_width():
    for step in (0.001, 0.01, 0.05):  # up to the peak's own sigma, so that the centroid is resolved
        axis = np.arange(0.0, 12.0, step)
        share = line_response(axis, np.array([3.0, 6.4]))
        np.testing.assert_allclose(share.sum(axis=1), 1.0, atol=1e-12)
        np.testing.assert_allclose(share @ axis, [3.0, 6.4], atol=1e-4)


def test_channel_shares_have_the_width_of_the_detector():
    axis = np.arange(0.0, 12.0, 0.001)
    share = line_response(axis, np.array([5.8988]), fwhm_mn_ka_ev=130.0)[0]
    above = axis[share >= share.max() / 2]
    assert above[-1] - above[0] == pytest.approx(0.130, abs=0.002)


def test_efficiency_is_a_share_and_high_between_2_and_10_kev():
    energy = np.linspace(0.05, 40, 500)
    share = efficiency(energy)
    assert ((share >= 0) & (share <= 1)).all()
    assert (share[(energy > 2) & (energy < 10)] > 0.9).all()
    assert share[-1] < 0.2
    assert (share[energy < 0.1] == 0).all()


def test_absorption_edges_are_where_they_should_be():
    # Si K edge at 1.839 keV: the attenuation jumps about tenfold
    below, above = mass_attenuation("Si", np.array([1.83, 1.85]))
    assert 8 < above / below < 13


def test_what_is_done_to_attenuation_coefficients_changes_no_later_ones():
    energy = np.array([1.2, 6.4])
    first = mass_attenuation("Fe", energy)
    wanted = first.copy()
    first[:] = 0
    np.testing.assert_array_equal(mass_attenuation("Fe", energy), wanted)
    assert mass_attenuation("Fe", 6.4) == wanted[1]


def test_a_thin_film_lets_all_through_and_a_thick_one_what_the_closed_form_says():
    axis = np.array([0.525, 1.254, 6.4])
    oxide = {"Mg": 1.0, "O": 1.0}
    thin = film_transmission(oxide, axis, thickness_nm=1e-3, density_g_cm3=3.6, elevation_deg=20)
    np.testing.assert_allclose(thin, 1, atol=1e-5)
    mu = sum(w * mass_attenuation(e, axis) for e, w in mass_fractions(oxide).items())
    t = mu * 3.6 * 200e-7 / np.sin(np.deg2rad(20))
    thick = film_transmission(oxide, axis, thickness_nm=200, density_g_cm3=3.6, elevation_deg=20)
    np.testing.assert_allclose(thick, (1 - np.exp(-t)) / t, rtol=1e-9)


def test_several_detectors_see_the_mean_of_each():
    args = {"thickness_nm": 100.0, "density_g_cm3": 4.5}
    axis = np.array([0.5, 1.0, 2.0])
    single = [film_transmission({"O": 1}, axis, elevation_deg=e, **args) for e in (10.0, 30.0)]
    both = film_transmission({"O": 1}, axis, elevation_deg=[10.0, 30.0], **args)
    np.testing.assert_allclose(both, np.mean(single, axis=0))


def test_continuum_falls_to_zero_at_the_beam_energy_and_grows_with_z_squared():
    axis = np.array([-0.1, 0.5, 5.0, 199.9, 200.0, 250.0])
    shapes = continuum_shapes(axis, beam_energy=200.0)
    assert (shapes[:, [0, 4, 5]] == 0).all()
    assert (np.diff(shapes[:, 1:5], axis=1) < 0).all()
    ratio = bremsstrahlung("Fe", axis[1:3], beam_energy=200.0) / bremsstrahlung(
        "Al", axis[1:3], beam_energy=200.0
    )
    np.testing.assert_allclose(ratio, (26 / 13) ** 2)


@pytest.mark.parametrize("composition", [{}, {"Fe": -1.0}, {"Fe": float("nan")}, {"Fe": 0.0}])
def test_an_impossible_composition_is_refused(composition):
    with pytest.raises(ParameterError, match="composition"):
        normalised(composition)


def test_mass_fractions_of_quartz():
    assert mass_fractions({"Si": 1, "O": 2})["Si"] == pytest.approx(28.0855 / 60.0843, rel=1e-4)
