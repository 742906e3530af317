"""Calibration of the basis on a sum spectrum, and the conditions a cube's attributes tell."""

import numpy as np
import pytest

from edxdask.errors import EdxdaskError, ParameterError
from edxdask.physics.basis import basis
from edxdask.physics.calibration import calibrate
from edxdask.physics.conditions import Conditions
from edxdask.physics.spectrum import phase_spectrum

AXIS = 0.3 + 0.01 * np.arange(970)
ATOMS = {"Mg": 0.2, "Si": 0.18, "Ca": 0.02, "Fe": 0.03, "Nd": 0.002, "O": 0.6}
FILM = {"thickness_nm": 100.0, "density_g_cm3": 4.5}


def drawn(photons=5e6, seed=0, axis=AXIS, factor=1.0, **options):
    expected = phase_spectrum(ATOMS, axis, **{**FILM, **options}) * factor
    return np.random.default_rng(seed).poisson(photons * expected).astype(float)


def test_a_basis_that_is_right_is_left_as_it_is():
    found = calibrate(drawn(), AXIS, list(ATOMS), Conditions(200.0, **FILM))
    assert found.axis.offset_kev == pytest.approx(0.0, abs=2e-4)
    assert found.axis.gain == pytest.approx(1.0, abs=2e-4)
    assert found.conditions.fwhm_mn_ka_ev == pytest.approx(130.0, abs=0.5)
    assert not found.loose.any()
    np.testing.assert_allclose(found.correction, 1.0, atol=0.03)
    assert found.chi2_red[0] == pytest.approx(1.0, abs=0.15)
    mine = np.array([found.mean_composition[e] for e in ATOMS])
    np.testing.assert_allclose(mine, np.array(list(ATOMS.values())) / sum(ATOMS.values()), rtol=0.05)


@pytest.mark.parametrize(
    ("shift", "gain", "width"), [(0.008, 1.0, 130.0), (-0.01, 1.002, 122.0), (0.0, 0.999, 140.0)]
)
def test_offset_gain_and_width_are_found(shift, gain, width):
    seen = (AXIS - shift) / gain
    counts = drawn(fwhm_mn_ka_ev=width, axis=AXIS)
    found = calibrate(counts, seen, list(ATOMS), Conditions(200.0, **FILM))
    assert found.axis.offset_kev == pytest.approx(shift, abs=5e-4)
    assert found.axis.gain == pytest.approx(gain, abs=3e-4)
    assert found.conditions.fwhm_mn_ka_ev == pytest.approx(width, abs=1.0)


def test_a_family_that_the_tables_do_not_foretell_gets_loose_and_counts_no_atoms():
    made = basis(AXIS, ["Fe", "O", "Si"], beam_energy=200.0, families=True)
    names = [c.name for c in made.columns]
    weights = made.matrix.sum(axis=1) ** -1 * 1e5
    weights[names.index("Fe_L")] = 0.1 * weights[names.index("Fe_K")]
    counts = np.random.default_rng(1).poisson(weights @ made.matrix).astype(float)
    found = calibrate(counts, AXIS, ["Fe", "O", "Si"], Conditions(200.0), refine_axis=False)
    assert found.loose[names.index("Fe_L")]
    assert not found.loose[names.index("Fe_K")]
    assert found.reference["Fe"] == "K"


def test_a_shared_factor_is_followed_and_does_not_take_in_a_line_nobody_listed():
    bent = 1 + 0.2 * np.tanh((AXIS - 3.0) / 1.5)
    counts = drawn(factor=bent)
    found = calibrate(counts, AXIS, list(ATOMS), Conditions(200.0, **FILM))
    assert found.chi2_red[-1] < 1.2 < found.chi2_red[0]
    foreign = counts + np.random.default_rng(2).poisson(
        2e4 * phase_spectrum({"Cu": 1.0}, AXIS, continuum_scale=0.0)
    )
    wide = calibrate(foreign, AXIS, list(ATOMS), Conditions(200.0, **FILM))
    assert wide.chi2_red[1] > 1.3  # the wide factor leaves the peak in the residual, where it is found
    listed = calibrate(foreign, AXIS, list(ATOMS), Conditions(200.0, **FILM), extra=["Cu"])
    assert listed.extra == ("Cu",)
    assert listed.chi2_red[-1] < 1.2


def test_few_counts_leave_the_axis_where_it_is():
    found = calibrate(drawn(photons=300), AXIS, list(ATOMS), Conditions(200.0, **FILM))
    assert abs(found.axis.offset_kev) < 0.02
    assert abs(found.axis.gain - 1) < 0.01


def test_an_absurd_axis_is_refused():
    with pytest.raises(EdxdaskError, match="this is not possible"):
        calibrate(drawn(), AXIS + 0.15, list(ATOMS), Conditions(200.0, **FILM))


def test_attributes_give_the_conditions():
    made = Conditions.of(
        {"beam_energy_kev": 200.0, "elevation_deg": [22.0] * 4, "azimuth_deg": [45.0, 135.0, 225.0, 315.0],
         "fwhm_mn_ka_ev": 128.0, "thickness_nm": 80.0, "density_g_cm3": 4.0, "tilt_alpha_deg": 5.0}
    )  # fmt: skip
    assert made.absorbs
    assert made.fwhm_mn_ka_ev == 128.0
    assert made.detector.elevation_deg == (22.0,) * 4
    oxygen = np.array([0.525])
    assert made.seen({"Mg": 1.0, "O": 1.0})(oxygen) < made.seen()(oxygen)


@pytest.mark.parametrize(
    ("attrs", "said"),
    [
        ({}, "beam_energy_kev=None"),
        ({"beam_energy_kev": 200_000.0}, "In keV that is 200"),
        ({"beam_energy_kev": 200.0, "thickness_nm": 100.0}, "density_g_cm3"),
        ({"beam_energy_kev": 200.0, "density_g_cm3": 4.0}, "thickness_nm"),
    ],
)
def test_conditions_that_are_missing_are_named(attrs, said):
    with pytest.raises(ParameterError, match=said):
        Conditions.of(attrs)
