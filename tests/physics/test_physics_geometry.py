"""Detectors: windows, angles, tilt, shadows, escape and sum peaks, against closed and published figures."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from edxdask.errors import ParameterError
from edxdask.physics.absorption import film_transmission
from edxdask.physics.artefacts import (
    SI_KA_KEV,
    escape_probability,
    escape_response,
    sum_peak_column,
    sum_peaks,
)
from edxdask.physics.detector import GRID_OPEN, efficiency, line_response, window_transmission
from edxdask.physics.geometry import (
    SUPER_X,
    Detector,
    tabulated_share,
    takeoff_angle,
)

FILM = {"thickness_nm": 200.0, "density_g_cm3": 3.6}
OXIDE = {"Mg": 1.0, "O": 1.0}


def test_a_default_detector_is_the_windowless_one():
    energy = np.linspace(0.05, 30, 300)
    np.testing.assert_array_equal(efficiency(energy, detector=Detector()), efficiency(energy))


def test_attributes_of_a_cube_tell_of_its_detector():
    curve = {"efficiency_energy_kev": [0.1, 1.0, 10.0], "efficiency": [0.0, 0.5, 1.0]}
    found = Detector.of({"elevation_deg": [18.0, 22.0], "fwhm_mn_ka_ev": 127.0, **curve})
    assert found.elevation_deg == (18.0, 22.0)
    assert len(found.azimuth_deg) == 2
    assert found.fwhm_mn_ka_ev == 127.0
    assert efficiency(np.array([1.0, 5.5]), detector=found).tolist() == [0.5, 0.75]
    assert Detector.of({}) == Detector.of({"elevation_deg": None, "efficiency": None}) == Detector()
    assert Detector.of({"detector_window": "polymer"}) == Detector(window="polymer")


@pytest.mark.parametrize(
    ("attrs", "said"),
    [
        ({"efficiency": [0.0, 1.0]}, "both, or neither"),
        ({"efficiency_energy_kev": [1.0, 0.5], "efficiency": [0.5, 1.0]}, "rising energies"),
        ({"efficiency_energy_kev": [1.0, 2.0], "efficiency": [0.5, 50.0]}, "from 0 to 1"),
        ({"detector_window": "diamond"}, "one of none, polymer, beryllium"),
    ],
)
def test_attributes_of_no_detector_are_refused(attrs, said):
    with pytest.raises(ParameterError, match=said):
        Detector.of(attrs)


def test_a_beryllium_window_lets_through_what_the_attenuation_of_beryllium_says():
    # μ/ρ of Be in cm²/g; J. H. Hubbell, S. M. Seltzer, NIST Standard Reference Database 126
    for energy, mu in ((1.0, 604.1), (1.5, 179.7), (3.0, 21.27)):
        expected = np.exp(-mu * 1.848 * 8e-4)
        got = window_transmission(np.array([energy]), Detector(window="beryllium", beryllium_um=8.0))
        assert got[0] == pytest.approx(expected, rel=0.02)


def test_a_polymer_window_lets_light_elements_through_and_its_grid_shades_the_middle():
    polymer = Detector(window="polymer")
    at = {"C": 0.277, "N": 0.392, "O": 0.525, "Si": 1.74, "Fe": 6.4, "Mo": 17.48}
    passed = dict(zip(at, window_transmission(np.array(list(at.values())), polymer), strict=True))
    assert passed["N"] < passed["C"]  # carbon absorbs above its own edge at 0.284 keV
    assert 0.3 < passed["O"] < passed["Si"] < GRID_OPEN
    assert passed["Fe"] == pytest.approx(GRID_OPEN, abs=0.01)
    assert passed["Mo"] > 0.85  # the grid itself becomes transparent
    beryllium = window_transmission(np.array([0.525]), Detector(window="beryllium"))
    assert beryllium[0] < 0.01 < passed["O"]


def test_a_given_curve_is_followed_and_ends_where_it_ends():
    measured = Detector(curve=((0.2, 1.0, 10.0), (0.3, 0.8, 1.0)))
    got = efficiency(np.array([0.1, 0.2, 0.6, 5.5, 11.0]), detector=measured)
    np.testing.assert_allclose(got, [0.0, 0.3, 0.55, 0.9, 0.0])


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("window", "glass"),
        ("beryllium_um", -1.0),
        ("elevation_deg", (0.0,)),
        ("elevation_deg", (22.0,) * 5),
        ("azimuth_deg", (0.0, 90.0)),
        ("weights", (1.0, 1.0)),
        ("weights", (0.0,)),
        ("curve", ((1.0, 0.5), (0.1, 0.2))),
        ("curve", ((0.5, 1.0), (0.1, 1.2))),
    ],
)
def test_a_bad_detector_is_named(option, value):
    with pytest.raises(ParameterError, match=option):
        dataclasses.replace(Detector(), **{option: value})


def test_alpha_brings_the_film_towards_the_detectors_on_one_side_by_just_its_angle():
    assert takeoff_angle(22.0, -90.0, alpha_deg=10.0) == pytest.approx(32.0)
    assert takeoff_angle(22.0, 90.0, alpha_deg=10.0) == pytest.approx(12.0)
    assert takeoff_angle(22.0, 90.0, alpha_deg=30.0) == pytest.approx(-8.0)  # it looks at the lower side
    assert takeoff_angle(22.0, 0.0, beta_deg=10.0) == pytest.approx(32.0)
    assert takeoff_angle(90.0, 17.0, alpha_deg=20.0, beta_deg=30.0) == pytest.approx(
        np.rad2deg(np.arcsin(np.cos(np.deg2rad(20)) * np.cos(np.deg2rad(30))))
    )


def test_tilt_is_the_rotation_of_the_film():
    alpha, beta = np.deg2rad([14.0, -23.0])
    about_x = np.array([[1, 0, 0], [0, np.cos(alpha), -np.sin(alpha)], [0, np.sin(alpha), np.cos(alpha)]])
    about_y = np.array([[np.cos(beta), 0, np.sin(beta)], [0, 1, 0], [-np.sin(beta), 0, np.cos(beta)]])
    normal = about_x @ about_y @ [0, 0, 1]
    elevation, azimuth = np.deg2rad([22.0, 137.0])
    towards = [np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)]
    got = takeoff_angle(22.0, 137.0, alpha_deg=14.0, beta_deg=-23.0)
    assert np.sin(np.deg2rad(got)) == pytest.approx(normal @ towards)


def test_four_detectors_around_see_the_mean_of_four_take_off_angles():
    axis = np.array([0.525, 1.254])
    got = film_transmission(OXIDE, axis, detector=SUPER_X, tilt_deg=(20.0, 0.0), **FILM)
    angles = SUPER_X.takeoff_deg(alpha_deg=20.0)
    assert angles[0] == pytest.approx(angles[1])
    assert angles[2] > 30 > angles[0] > 0
    single = [film_transmission(OXIDE, axis, elevation_deg=angle, **FILM) for angle in angles]
    np.testing.assert_allclose(got, np.mean(single, axis=0))


def test_without_tilt_the_detector_and_its_elevation_say_the_same():
    axis = np.array([0.525, 1.254])
    by_angle = film_transmission(OXIDE, axis, elevation_deg=22.0, **FILM)
    np.testing.assert_allclose(film_transmission(OXIDE, axis, detector=SUPER_X, **FILM), by_angle)


def test_solid_angles_weigh_and_shadows_take_away():
    axis = np.array([0.525, 1.254])
    pair = Detector(elevation_deg=(10.0, 30.0), azimuth_deg=(0.0, 180.0), weights=(1.0, 3.0))
    low, high = (film_transmission(OXIDE, axis, elevation_deg=e, **FILM) for e in (10.0, 30.0))
    np.testing.assert_allclose(film_transmission(OXIDE, axis, detector=pair, **FILM), (low + 3 * high) / 4)
    shadowed = film_transmission(OXIDE, axis, detector=pair, in_sight=(0.5, 0.0), **FILM)
    np.testing.assert_allclose(shadowed, low / 8)


def test_tilt_without_azimuths_is_refused():
    with pytest.raises(ParameterError, match="azimuths"):
        film_transmission(OXIDE, np.array([1.0]), tilt_deg=(10.0, 0.0), **FILM)
    with pytest.raises(ParameterError, match="in_sight"):
        film_transmission(OXIDE, np.array([1.0]), detector=SUPER_X, in_sight=(1.0,), **FILM)


def test_a_table_of_what_is_in_sight_is_read_between_its_tilts():
    table = np.array([[1.0, 1.0], [0.2, 1.0]])
    np.testing.assert_allclose(tabulated_share(10.0, [0.0, 20.0], table), [0.6, 1.0])
    with pytest.raises(ParameterError, match="within the table"):
        tabulated_share(21.0, [0.0, 20.0], table)


def test_escape_is_what_was_measured_on_silicon_detectors():
    # 1.8 % of the parent at P Kα, falling with energy: J. I. Goldstein et al., Scanning Electron Microscopy
    # and X-Ray Microanalysis, 3rd ed. (2003), chapter 7; the formula's own yield of silicon is good to 10 %
    share = escape_probability(np.array([2.013, 5.895, 8.63, 1.8]))
    assert share[0] == pytest.approx(0.018, rel=0.15)
    assert 0.002 < share[1] < 0.006
    assert 0 < share[2] < share[1]
    assert share[3] == 0


def test_escape_peaks_lie_1_74_kev_below_and_hold_their_share():
    axis = np.arange(0.0, 12.0, 0.005)
    rows = escape_response(axis, np.array([1.5, 3.69, 6.4]))
    probability = escape_probability(np.array([3.69, 6.4]))
    assert (rows[0] == 0).all()
    np.testing.assert_allclose(rows[1:].sum(axis=1), probability / (1 - probability), rtol=1e-9)
    np.testing.assert_allclose((rows[1:] @ axis) / rows[1:].sum(axis=1), [3.69 - SI_KA_KEV, 6.4 - SI_KA_KEV])


def test_sum_peaks_are_as_frequent_as_coincidences_of_a_random_stream():
    random = np.random.default_rng(1)
    rates, seconds, tau = np.array([4e4, 1.5e4]), 60.0, 1e-6
    times = [random.uniform(0, seconds, random.poisson(r * seconds)) for r in rates]
    stream = np.sort(np.concatenate(times))
    together = (np.diff(stream) < tau).sum() / seconds
    _, expected = sum_peaks(np.array([1.74, 6.4]), rates, resolving_time_s=tau)
    # triple coincidences are left out: rate × τ = 5 %
    assert together == pytest.approx(expected.sum(), rel=0.06)


def test_sum_peaks_come_from_the_strongest_lines_and_land_on_the_axis():
    lines, rates = np.array([0.5, 1.25, 1.74, 6.4]), np.array([100.0, 2e3, 3e3, 1.0])
    at, rate = sum_peaks(lines, rates, resolving_time_s=1e-6, strongest=2)
    np.testing.assert_allclose(at, [2.5, 2.99, 3.48])
    axis = np.arange(0.0, 10.0, 0.01)
    column = sum_peak_column(axis, lines, rates, resolving_time_s=1e-6, strongest=2)
    assert column.sum() == pytest.approx(rate.sum())
    np.testing.assert_allclose(column, rate @ line_response(axis, at))
    with pytest.raises(ParameterError, match="rates_per_s"):
        sum_peaks(lines, rates[:2], resolving_time_s=1e-6)
