"""Fractions of voxels: yields from compositions and densities, what refuses them, what is said of them."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import edxdask
from edxdask.errors import ParameterError
from edxdask.tomographies import tomography

DENSITIES = {"Brg": 4.3, "Fp": 4.0, "CaPv": 4.6}
QUICK = {"alignment": False, "strength": 0.08}


@pytest.fixture(scope="module")
def series():
    tilts = np.arange(-70, 71, 10.0)
    return edxdask.simulate("tomography", shape=(12, 32), counts=60, seed=2, tilts=tilts).load()


@pytest.fixture(scope="module")
def known(series):
    """What is true, as a result has it."""
    variables = {"spectrum": series.truth_spectrum, "composition": series.truth_composition}
    return xr.Dataset({name: array.load() for name, array in variables.items()}, attrs=series.attrs)


@pytest.fixture(scope="module")
def made(series, known):
    return tomography(series, result=known, densities=DENSITIES, **QUICK)


def rms(one, other):
    return float(np.sqrt(np.mean((np.asarray(one, float) - np.asarray(other, float)) ** 2)))


def test_volumes_are_fractions_where_compositions_are_known(series, made):
    assert made.attrs["volume_kind"] == "fraction"
    assert float(made.volume.sum("phase").max()) < 1.01
    filled, truth = (float(v.mean()) for v in (made.volume.sum("phase"), series.truth_volume.sum("phase")))
    assert filled == pytest.approx(truth, rel=0.08)
    assert rms(made.volume.sel(phase="Brg"), series.truth_volume.sel(phase="Brg")) < 0.16
    xr.testing.assert_allclose(made.composition, series.truth_composition)
    ratio = made.photons_per_voxel.values / series.truth_photons_per_voxel.values
    assert ratio == pytest.approx(np.ones(3), abs=0.25)
    assert edxdask.score(made, truth=series).rmse is not None


def test_lines_that_the_object_absorbs_are_named(series, known, made):
    assert "warnings" not in made.attrs
    sizes = {d: (d, 6 * series[d].values, {"units": "nm"}) for d in ("y", "x")}
    thick = series.assign_coords(sizes)
    for axis in ("y", "x"):  # the same object, whichever dimension its axis is along
        turned = thick if axis == "y" else thick.rename(y="x", x="y").transpose("tilt", "y", "x", ...)
        large = tomography(turned, result=known, densities=DENSITIES, max_iter=4, tilt_axis=axis, **QUICK)
        (said,) = [text for text in large.attrs["warnings"] if "absorbs" in text]
        assert "O_Ka of Brg" in said


def test_phases_whose_spectra_are_mixtures_are_named(series, known):
    spectra = known.spectrum.values
    mixed = np.stack([1.2 * spectra[0] - 0.2 * spectra[2], spectra[1], 0.8 * spectra[0] + 0.2 * spectra[2]])
    mixed = np.maximum(mixed, 1e-7)
    guess = known[["spectrum"]].copy(data={"spectrum": mixed / mixed.sum(axis=1, keepdims=True)})
    made = tomography(series, result=guess, max_iter=15, **QUICK)
    named = [text.split(":")[0] for text in made.attrs["warnings"] if "where it prevails" in text]
    assert "CaPv" in named


def test_without_densities_the_result_says_what_was_assumed(series, known):
    made = tomography(series, result=known, max_iter=3, **QUICK)
    assert any("no densities were given" in text for text in made.attrs["warnings"])


def test_a_field_that_cuts_the_object_gives_no_fractions_and_says_why(series, known):
    cut = series.isel(x=slice(8, 24))
    made = tomography(cut, result=known, densities=DENSITIES, max_iter=3, **QUICK)
    assert made.attrs["volume_kind"] == "photons"
    assert "photons_per_voxel" not in made
    assert any("the field cuts the object" in text for text in made.attrs["warnings"])


@pytest.mark.parametrize(
    ("densities", "says"),
    [({"Brg": 4.1}, "Add Fp, CaPv"), ({**DENSITIES, "Fe": 7.9}, "Leave out Fe")],
)
def test_densities_are_those_of_the_phases(series, known, densities, says):
    with pytest.raises(ParameterError, match=says):
        tomography(series, result=known, densities=densities, **QUICK)


def test_densities_need_compositions(series, known):
    with pytest.raises(ParameterError, match="compositions beside them"):
        tomography(series, result=known[["spectrum"]], densities=DENSITIES, **QUICK)


def test_moves_and_the_axis_are_found_and_their_errors_ride_along(series, known):
    rng = np.random.default_rng(5)
    moves = rng.integers(-2, 3, series.sizes["tilt"])
    counts = series.counts.values.copy()
    for tilt, move in enumerate(moves):
        counts[tilt] = np.roll(counts[tilt], move, axis=1)
    moved = series.assign(counts=(series.counts.dims, counts))
    made = tomography(moved, result=known, densities=DENSITIES, strength=0.08, tilt_axis=0.0)
    found = made.tilt_shift_x.values - moves
    angle = np.deg2rad(made.tilt.values)
    free = np.stack([np.cos(angle), np.sin(angle)], axis=1)  # moves of the volume itself
    left = found - free @ np.linalg.lstsq(free, found, rcond=None)[0]
    assert np.abs(left).max() < 0.5
    assert bool((made.tilt_shift_x_std > 0).all())
    assert made.volume.attrs["units"] == "1"


@pytest.mark.slow
def test_everything_is_found_from_the_photons(series):
    made = tomography(
        series, phases=["Brg", "Fp", "CaPv"], elements=series.attrs["elements"], densities=DENSITIES,
        absent={"Fp": "Si", "CaPv": "Mg"}, alignment=False, progress=False,
    )  # fmt: skip
    assert made.attrs["volume_kind"] == "fraction"
    assert 0 < made.attrs["volume_strength"] < 1
    assert "composition_std" in made
    assert rms(made.volume.sum("phase"), series.truth_volume.sum("phase")) < 0.16
