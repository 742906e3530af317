"""Whole spectra: normalised, linear in what is linear, and like those of an independent simulator."""

from __future__ import annotations

import json

import numpy as np
import pytest

from edxdask.errors import ParameterError
from edxdask.physics.geometry import SUPER_X, Detector
from edxdask.physics.lines import line_centroid
from edxdask.physics.spectrum import phase_intensity, phase_spectrum

AXIS = 0.3 + 0.01 * np.arange(970)


def _window(energy, spectrum, low, high):
    return spectrum[(energy > low) & (energy < high)].sum()


def test_a_spectrum_sums_to_one_and_is_positive():
    spectrum = phase_spectrum({"Mg": 39, "Fe": 10, "Cu": 1, "O": 50}, AXIS)
    assert spectrum.sum() == pytest.approx(1.0)
    assert (spectrum > 0).all()


@pytest.mark.parametrize(
    ("element", "line"), [("Mg", "Mg_Ka"), ("Si", "Si_Ka"), ("Ca", "Ca_Ka"), ("Fe", "Fe_Ka")]
)
def test_the_peak_sits_at_the_centroid_of_its_line(element, line):
    spectrum = phase_intensity({element: 1}, AXIS, continuum_scale=0.0)
    near = np.abs(AXIS - line_centroid(line)) < 0.12
    assert (spectrum[near] @ AXIS[near]) / spectrum[near].sum() == pytest.approx(
        line_centroid(line), abs=0.003
    )


def test_a_thin_film_doubles_its_photons_with_its_thickness():
    one, two = (phase_intensity({"Si": 1, "O": 2}, AXIS, thickness_nm=t) for t in (0.01, 0.02))
    np.testing.assert_allclose(two / one, 2.0, rtol=1e-4)


def test_more_absorption_weakens_oxygen_most():
    thin, thick = (phase_spectrum({"Mg": 1, "O": 1}, AXIS, thickness_nm=t) for t in (10, 500))
    oxygen, magnesium = (0.45, 0.60), (1.15, 1.36)
    ratio = [_window(AXIS, s, *oxygen) / _window(AXIS, s, *magnesium) for s in (thin, thick)]
    assert ratio[1] < 0.9 * ratio[0]


def test_a_coarser_axis_holds_the_same_photons():
    fine = phase_intensity({"Fe": 1, "O": 1}, AXIS)
    coarse = phase_intensity({"Fe": 1, "O": 1}, AXIS.reshape(-1, 2).mean(axis=1))
    paired = fine.reshape(-1, 2).sum(axis=1)
    assert coarse.sum() == pytest.approx(paired.sum(), rel=1e-3)
    # lines are integrated over channels; the continuum, sampled at their centres, differs at absorption edges
    np.testing.assert_allclose(paired, coarse, rtol=0.03)
    assert (np.abs(coarse / paired - 1) > 2e-3).sum() < 5


def test_spectra_resemble_those_of_an_independent_simulator(data):
    with np.load(data / "spheres147.npz") as archive:
        energy, truth = archive["energy_kev"], archive["spectrum"]
        compositions = json.loads(str(archive["composition_at"]))
    for composition, theirs in zip(compositions, truth, strict=True):
        ours = phase_spectrum(composition, energy)
        # its detector and continuum differ: majors within 35 %, the continuum within a factor of 3
        angle = np.degrees(np.arccos(ours @ theirs / np.linalg.norm(ours) / np.linalg.norm(theirs)))
        assert angle < 15
        for low, high in ((1.15, 1.36), (1.64, 1.84), (3.55, 3.83), (6.25, 6.55)):
            if _window(energy, theirs, low, high) > 0.015:
                ratio = _window(energy, ours, low, high) / _window(energy, theirs, low, high)
                assert 0.65 < ratio < 1.35
        ratio = _window(energy, ours, 8.3, 8.6) / _window(energy, theirs, 8.3, 8.6)
        assert 1 / 3 < ratio < 3


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("beam_energy", 1000),
        ("thickness_nm", 0),
        ("density_g_cm3", -1),
        ("continuum_scale", -1),
        ("elevation_deg", 100),
        ("fwhm_mn_ka_ev", 10),
    ],
)
def test_a_bad_option_is_named(option, value):
    with pytest.raises(ParameterError, match=option):
        phase_spectrum({"Fe": 1}, AXIS, **{option: value})


def test_a_detector_brings_its_window_its_width_and_its_angles():
    plain = phase_intensity({"Mg": 1, "O": 1}, AXIS)
    np.testing.assert_allclose(phase_intensity({"Mg": 1, "O": 1}, AXIS, detector=SUPER_X), plain)
    covered = phase_intensity({"Mg": 1, "O": 1}, AXIS, detector=Detector(window="beryllium"))
    ratio = [_window(AXIS, covered, *w) / _window(AXIS, plain, *w) for w in ((0.45, 0.6), (1.15, 1.36))]
    assert ratio[0] < 0.05 < 0.5 < ratio[1] < 0.8
    wide = phase_intensity({"Mg": 1, "O": 1}, AXIS, detector=Detector(fwhm_mn_ka_ev=150.0))
    np.testing.assert_allclose(wide, phase_intensity({"Mg": 1, "O": 1}, AXIS, fwhm_mn_ka_ev=150.0))
    tilted = phase_intensity({"Mg": 1, "O": 1}, AXIS, detector=Detector(), tilt_deg=(20.0, 0.0))
    assert _window(AXIS, tilted, 0.45, 0.6) < _window(AXIS, plain, 0.45, 0.6)  # it turns away from 45 degrees


def test_the_mended_table_adds_5_percent_of_iron():
    published, fixed = (
        phase_intensity({"Fe": 1}, AXIS, continuum_scale=0.0, table=t) for t in ("emtables", "bote_salvat")
    )
    assert _window(AXIS, fixed, 6.2, 6.6) / _window(AXIS, published, 6.2, 6.6) == pytest.approx(
        1.05, abs=0.003
    )


def test_an_axis_that_falls_is_refused():
    with pytest.raises(ParameterError, match="energy"):
        phase_spectrum({"Fe": 1}, AXIS[::-1])
