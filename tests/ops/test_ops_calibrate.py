"""Calibration on Poisson spectra whose true axis is known."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from edxdask.errors import ParameterError
from edxdask.ops import calibrate_energy, sum_spectrum
from edxdask.physics.detector import line_response
from edxdask.physics.lines import line_centroid
from edxdask.schema import energy_axis, energy_coordinate, energy_values

TRUE_OFFSET, TRUE_SCALE, CHANNELS = -0.0123, 0.010021, 1000
LINES = ["Mg_Ka", "Ca_Ka", "Fe_Ka"]


def cube(*, offset=0.0, scale=0.01, photons=40_000.0, seed=0, lines=tuple(LINES), shift=None):
    """A map whose counts follow the true axis and whose coordinate says something else."""
    energy = energy_values(TRUE_OFFSET, TRUE_SCALE, CHANNELS)
    centres = np.array([line_centroid(name) + (shift or {}).get(name, 0.0) for name in lines])
    expected = photons * line_response(energy, centres, fwhm_mn_ka_ev=135.0).sum(axis=0) + 30 * np.exp(
        -energy / 4
    )
    counts = np.random.default_rng(seed).poisson(expected / 12, size=(3, 4, CHANNELS)).astype("u2")
    return xr.Dataset(
        {"counts": (("y", "x", "energy"), counts)},
        {"energy": energy_coordinate(offset, scale, CHANNELS)},
        {"fwhm_mn_ka_ev": 130.0, "history": ["made"]},
    ).chunk(y=2, x=3)


def test_the_axis_comes_back_within_its_statistics():
    ds = cube()
    out = calibrate_energy(ds, LINES)
    offset, scale = energy_axis(out)
    # centroid of n photons: σ/√n, 0.03/200 = 0.15 to 0.3 eV; five times that
    assert offset == pytest.approx(TRUE_OFFSET, abs=1.5e-3)
    for name in LINES:
        channel = (line_centroid(name) - TRUE_OFFSET) / TRUE_SCALE
        assert offset + scale * channel == pytest.approx(line_centroid(name), abs=1.5e-3)
    assert (out.energy.values == energy_values(offset, scale, CHANNELS)).all()
    assert energy_axis(ds) == (0.0, 0.01)


def test_the_stated_error_is_the_scatter():
    pulls = []
    for seed in range(30):
        history = calibrate_energy(cube(seed=seed, photons=2000.0), ["Ca_Ka"]).attrs["history"][-1]
        moved, std = history.split("Ca_Ka ")[1].removesuffix(" eV").split(" ± ")
        channel = (line_centroid("Ca_Ka") - TRUE_OFFSET) / TRUE_SCALE
        pulls.append((float(moved) - 1e3 * (line_centroid("Ca_Ka") - 0.01 * channel)) / float(std))
    # 30 pulls: mean 0 ± 0.18, standard deviation 1 ± 0.13; three times that
    assert abs(np.mean(pulls)) < 0.55
    assert 0.6 < np.std(pulls) < 1.4


def test_one_line_moves_the_offset_only():
    out = calibrate_energy(cube(scale=TRUE_SCALE), ["Ca_Ka"])
    offset, scale = energy_axis(out)
    assert scale == TRUE_SCALE
    assert offset == pytest.approx(TRUE_OFFSET, abs=1e-3)


def test_the_history_says_what_moved_and_how_surely():
    history = calibrate_energy(cube(), LINES).attrs["history"]
    assert history[0] == "made"
    assert history[1].startswith("calibrate: offset 0 to -0.01")
    assert all(name in history[1] for name in LINES)
    assert "±" in history[1]


def test_a_given_spectrum_spares_the_read_and_counts_stay_lazy(no_compute):
    ds = cube()
    spectrum = xr.DataArray(sum_spectrum(ds).data.compute(scheduler="sync"), dims="energy")
    out = calibrate_energy(ds, LINES, spectrum=spectrum)
    assert out.counts.chunks == ds.counts.chunks


def test_the_same_axis_comes_out_with_and_without_a_given_spectrum():
    ds = cube()
    given = calibrate_energy(ds, LINES, spectrum=sum_spectrum(ds))
    xr.testing.assert_identical(given.energy, calibrate_energy(ds, LINES).energy)


@pytest.mark.parametrize(
    ("options", "lines", "message"),
    [
        ({"offset": 0.2}, ["Ca_Ka"], r"Ca_Ka"),  # 0.2 keV off: no peak within 0.05
        ({}, ["Ti_Ka"], "peak 5 σ"),
        ({}, ["Mg_Ka", "Al_Ka", "Si_Ka", "U_Ma"], "peak 5 σ"),
        ({}, ["Na_Ka", "Zn_La"], "do not overlap"),
        ({}, ["Mo_Ka"], "on the axis"),
        ({}, [], "one line or more"),
        ({"shift": {"Ca_Ka": 0.04}}, LINES, "agree within"),
        ({"lines": ("Mg_Ka", "Si_Ka"), "shift": {"Si_Ka": 0.04}}, ["Mg_Ka", "Si_Ka"], "change the scale"),
    ],
)
def test_what_cannot_be_right_is_refused(options, lines, message):
    with pytest.raises(ParameterError, match=message):
        calibrate_energy(cube(**options), lines)


def test_a_spectrum_of_another_axis_is_refused():
    with pytest.raises(ParameterError, match="one value per channel"):
        calibrate_energy(cube(), LINES, spectrum=xr.DataArray(np.ones(10), dims="energy"))
