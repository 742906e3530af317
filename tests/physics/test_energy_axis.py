"""The one fit of the energy axis, the floor under it, and that all four who need the axis agree."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import edxdask
from edxdask.ops import calibrate_energy
from edxdask.physics import energy_axis
from edxdask.physics.calibration import calibrate
from edxdask.physics.columns import group_rows, line_groups
from edxdask.physics.conditions import Conditions
from edxdask.physics.detector import line_response
from edxdask.physics.energy_axis import EnergyAxis, axis_warning, fit_axis
from edxdask.physics.find import find_in_spectrum
from edxdask.physics.floor import LOWEST_KEV, spectrum_floor
from edxdask.physics.spectrum import phase_spectrum

FILM = {"O": 60, "Mg": 15, "Si": 15, "Ca": 4, "Fe": 4, "Cu": 4}
NAMED = ["Mg_Ka", "Si_Ka", "Ca_Ka", "Fe_Ka"]


def film_cube(*, first=0.3, shift=0.0, gain=1.0, counts=1e6, seed=0, zero_peak=0.0):
    """One row of pixels of a film, whose axis says energies that are off by ``shift`` and ``gain``."""
    said = first + 0.01 * np.arange(1100)
    expected = counts * phase_spectrum(FILM, shift + gain * said, beam_energy=200.0)
    expected += zero_peak * np.exp(-0.5 * (said / 0.028) ** 2) / 7.0
    drawn = np.random.default_rng(seed).poisson(expected / 4, (2, 2, said.size))
    return edxdask.from_array(
        drawn.astype(np.uint32), energy_offset=first, energy_scale=0.01, beam_energy=200.0
    )


def test_stated_errors_are_the_scatter_of_repeats():
    channels = np.arange(1.0, 9.0, 0.01)
    truth = EnergyAxis(offset_kev=0.004, gain=0.9995, fwhm_mn_ka_ev=133.0)

    def peaks(axis):
        return line_response(
            axis.energy(channels), np.array([1.5, 3.7, 6.4]), fwhm_mn_ka_ev=axis.fwhm_mn_ka_ev
        )

    expected = 3e3 * peaks(truth).sum(axis=0)
    found = [fit_axis(np.random.default_rng(s).poisson(expected), peaks, EnergyAxis()) for s in range(60)]
    for name in ("offset", "gain", "width"):
        place = energy_axis.PARAMETERS.index(name)
        pulls = np.array([(one.vector - truth.vector)[place] / one.error(name) for one in found])
        # 60 pulls: mean 0 ± 0.13, scatter 1 ± 0.09; three times that
        assert abs(pulls.mean()) < 0.4
        assert 0.7 < pulls.std() < 1.3


def test_without_counts_the_axis_stays():
    channels = np.arange(1.0, 9.0, 0.01)
    empty = fit_axis(
        np.zeros(channels.size),
        lambda axis: line_response(axis.energy(channels), np.array([1.5, 3.7]), fwhm_mn_ka_ev=130.0),
        EnergyAxis(),
    )
    np.testing.assert_allclose(empty.vector, EnergyAxis().vector, atol=1e-9)


@pytest.mark.parametrize(("shift", "gain"), [(0.006, 1.0005), (-0.008, 0.9985)])
def test_all_who_need_the_axis_find_the_same(shift, gain):
    cube = film_cube(shift=shift, gain=gain)
    at = np.array([0.6, 1.5, 5.0, 8.0])
    counts, energy = cube.counts.values.sum(axis=(0, 1)), cube.energy.values
    named = calibrate_energy(cube, NAMED).energy.values
    found = {
        "calibrate_energy": np.interp(at, energy, named),
        "find_elements": EnergyAxis.of(edxdask.find_elements(cube).attrs).energy(at),
        "guided": calibrate(counts, energy, list(FILM), Conditions(200.0)).axis.energy(at),
        "quantify": EnergyAxis.of(edxdask.quantify(cube, elements=list(FILM)).attrs).energy(at),
    }
    for name, energies in found.items():
        np.testing.assert_allclose(energies, shift + gain * at, atol=1.5e-3, err_msg=name)  # of 130 eV


def test_rows_of_groups_are_those_of_all_their_lines_on_the_whole_axis():
    energy = 0.3 + 0.01 * np.arange(900)
    for group in line_groups("Nd", energy, beam_energy=200.0, fwhm_mn_ka_ev=130.0, seen=np.ones_like):
        whole = group.barn @ line_response(energy, group.at_kev, fwhm_mn_ka_ev=130.0)
        np.testing.assert_allclose(group_rows([group], energy, 130.0)[0], whole, atol=1e-12 * whole.max())


def test_a_move_farther_than_instruments_are_off_is_said_with_its_evidence():
    assert axis_warning(EnergyAxis(0.02, 1.004), "here") is None
    text = axis_warning(EnergyAxis(0.03, 1.001, misplaced=(0.2, 0.013)), "here")
    assert "+30.0" in text
    assert "1.3 % of the counts" in text
    assert "20.0 %" in text


@pytest.mark.parametrize("first", [-0.2, 0.0, 0.1, 0.3])
def test_the_floor_is_one_for_any_axis(first):
    energy = first + 0.01 * np.arange(500)
    floor = spectrum_floor(energy, np.ones(energy.size))
    assert floor.energy_kev == pytest.approx(max(first, LOWEST_KEV), abs=1e-9)
    assert not floor.zero_peak


def test_a_zero_peak_and_what_a_discriminator_cuts_are_below_the_floor():
    energy = -0.47 + 0.01 * np.arange(500)
    peak = 7e5 * np.exp(-0.5 * (energy / 0.027) ** 2)
    counts = peak + np.where(energy > 0.205, 2e4, 100.0 * np.exp(-energy / 0.05) * (energy > 0))
    floor = spectrum_floor(energy, counts)
    assert floor.zero_peak
    assert floor.energy_kev == pytest.approx(0.21, abs=1e-9)
    soft = peak + 2e3 * np.exp(-0.5 * ((energy - 0.277) / 0.03) ** 2)  # carbon's line keeps its flank
    assert spectrum_floor(energy, soft).energy_kev < 0.19


@pytest.mark.parametrize("seed", range(8))
def test_maps_whose_axis_starts_below_the_floor_calibrate_rightly(seed):
    """With a channel at 0.1 keV, two of eight such maps had axes far off."""
    cube = film_cube(first=0.1, seed=seed, counts=2e4)
    counts, energy = cube.counts.values.sum(axis=(0, 1)), cube.energy.values
    found = calibrate(counts, energy, list(FILM), Conditions(200.0))
    assert found.floor.energy_kev == pytest.approx(LOWEST_KEV)
    assert found.axis.offset_kev == pytest.approx(0.0, abs=4e-3)
    assert found.axis.gain == pytest.approx(1.0, abs=2e-3)
    assert not found.families().matrix[:, : found.floor.first].any()


def test_a_zero_peak_takes_part_in_nothing_but_totals():
    """The same photons with and without a zero peak of as many counts give the same phases."""
    bare = film_cube(first=-0.2, counts=4e4)
    noisy = film_cube(first=-0.2, counts=4e4, zero_peak=4e4)
    used = np.arange(bare.energy.size) >= spectrum_floor(bare.energy.values).first
    merged = np.where(used, bare.counts.values, noisy.counts.values)
    noisy = noisy.assign(counts=(bare.counts.dims, merged))
    # a channel below the floor is an empty one, here
    clean = np.where(used, bare.counts.values, 0)
    without, having = (
        edxdask.nmf(cube, phases=1, elements=list(FILM))
        for cube in (bare.assign(counts=(bare.counts.dims, clean)), noisy)
    )
    np.testing.assert_allclose(having.composition, without.composition, atol=1e-4)
    np.testing.assert_allclose(having.composition_std, without.composition_std, rtol=1e-2)
    for name in ("energy_gain", "energy_offset_step_kev", "fwhm_mn_ka_ev"):
        assert having.attrs[name] == pytest.approx(without.attrs[name], abs=1e-6)
    assert having.attrs["lowest_energy_kev"] == pytest.approx(LOWEST_KEV)
    np.testing.assert_allclose(having.total, noisy.counts.sum("energy"), rtol=1e-4)


def test_a_calibration_once_made_is_used_again(monkeypatch):
    calls = []
    fit = energy_axis.fit_axis
    monkeypatch.setattr(energy_axis, "fit_axis", lambda *a, **k: calls.append(1) or fit(*a, **k))
    cube = film_cube(shift=0.006, gain=1.001, counts=1e5)
    result = edxdask.nmf(cube, phases=1, elements=list(FILM))
    assert calls  # the guided fit needs one
    made = EnergyAxis.of(result.attrs)
    calls.clear()
    found = edxdask.quantify(result, elements=list(FILM))
    assert EnergyAxis.of(found.attrs) == made
    rest = edxdask.find_elements(cube, result=result)
    assert isinstance(rest, xr.Dataset)
    assert calls == []


def _error_at_five(axis):
    return 1e3 * (float(axis.energy(np.array([5.0]))[0]) - 5.0)


@pytest.mark.parametrize(
    ("name", "lines", "elements"),
    [
        ("test_TEM.bcf", ["Si_Ka", "Ti_Ka"], ["N", "O", "Si", "Ti", "Pd"]),
        pytest.param(
            "jeol/rawdata.ASW", ["S_Ka", "Fe_Ka"], ["C", "O", "Si", "S", "Ca", "Cr", "Fe", "Cu", "Au"],
            marks=pytest.mark.slow,
        ),
        ("bcf_v2_50x50px.bcf", ["Al_Ka", "Cu_Ka"], ["C", "O", "Al", "Cu", "Ag"]),  # 20 keV
    ],
)  # fmt: skip
def test_axes_of_real_maps_agree_whoever_finds_them(data, tmp_path, name, lines, elements):
    """Within 3 eV at 5 keV, though their soft lines are 5 to 40 eV from where hard ones predict them."""
    edxdask.ingest(data / "vendor" / name, tmp_path / "map.zarr")
    cube = edxdask.open(tmp_path / "map.zarr")
    counts, energy = edxdask.sum_spectrum(cube).values.astype(float), cube.energy.values
    found = edxdask.find_elements(cube, known=elements)
    axes = {"find_elements": EnergyAxis.of(found.attrs)}
    axes["guided"] = calibrate(counts, energy, elements, Conditions.of(cube.attrs)).axis
    if cube.attrs["beam_energy_kev"] >= 60:
        axes["quantify"] = EnergyAxis.of(edxdask.quantify(cube, elements=elements).attrs)
    at = {who: _error_at_five(axis) for who, axis in axes.items()}
    moved = edxdask.calibrate_energy(cube, lines).energy.values
    at["calibrate_energy"] = 1e3 * (float(np.interp(5.0, energy, moved)) - 5.0)
    assert max(at.values()) - min(at.values()) < 3.0, at
    widths = [axis.fwhm_mn_ka_ev for axis in axes.values()]
    assert max(widths) - min(widths) < 5.0, widths


def test_a_bend_without_a_line_near_it_does_not_hold_the_axis_still():
    energy = 0.2 + 0.01 * np.arange(900)
    shifted = energy - 0.009
    counts = 1e6 * phase_spectrum({"Mg": 1, "Si": 1, "O": 3}, shifted)  # no line above 2 keV
    found = find_in_spectrum(counts.round(), energy, beam_energy=200.0)
    assert found.axis.energy(np.array([1.5]))[0] - 1.5 == pytest.approx(-0.009, abs=0.0005)


@pytest.mark.parametrize(
    "atoms",
    [
        {"Ti": 1, "O": 2}, {"Sn": 1, "O": 2}, {"Sr": 1, "Ti": 1, "O": 3}, {"Ga": 1, "N": 1},
        {"Al": 2, "O": 3}, {"Ba": 1, "Ti": 1, "O": 3}, {"Ga": 1, "As": 1}, {"Ni": 1, "O": 1},
    ],
)  # fmt: skip
@pytest.mark.parametrize("thickness", [60.0, 200.0])
def test_an_exact_axis_stays_where_it_is(atoms, thickness):
    """What a film absorbs and nobody told must not be made up for by moving the axis under its lines."""
    energy = 0.1 + 0.01 * np.arange(1900)
    spectrum = phase_spectrum(atoms, energy, thickness_nm=thickness, density_g_cm3=5.0)
    counts = np.random.default_rng(1).poisson(1e6 * spectrum).astype(float)
    found = calibrate(counts, energy, list(atoms), Conditions(200.0))
    at = np.array([0.5, 5.0])
    assert np.abs(found.axis.energy(at) - at).max() < 0.004
    assert found.axis.fwhm_mn_ka_ev == pytest.approx(130.0, abs=2.0)
