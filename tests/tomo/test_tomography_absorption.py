"""Absorption in the object: its mean factor in spectra and yields, the warning, what it needs, resume."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import edxdask
from edxdask.errors import ParameterError
from edxdask.physics.lines import line_energy, main_line
from edxdask.tomographies import tomography

DENSITIES = {"Brg": 4.5, "Fp": 4.5, "CaPv": 4.5}  # those of the simulation
QUICK = {"alignment": False, "strength": 0.08, "max_iter": 8}


@pytest.fixture(scope="module")
def series():
    """A grain of some 200 nm, whose oxygen line loses more than a tenth of its photons."""
    tilts, detectors = np.arange(-60, 61, 15.0), {"elevation_deg": (22.0,) * 4}
    known = {"shape": (16, 32), "pixel_size": 10.0, "counts": 60, "seed": 2, "channels": 400}
    return edxdask.simulate("tomography", tilts=tilts, absorption=True, **known, **detectors).load()


@pytest.fixture(scope="module")
def computed(series):
    """Spectra of thin matter, in which nothing is absorbed, and compositions."""
    variables = {"spectrum": series.truth_spectrum, "composition": series.truth_composition}
    return xr.Dataset({name: array.load() for name, array in variables.items()}, attrs=series.attrs)


@pytest.fixture(scope="module")
def folded(series, computed):
    return tomography(series, result=computed, densities=DENSITIES, absorption=True, **QUICK)


def oxygen(energy):
    return (energy > 0.45) & (energy < 0.6)


def expected_over_counted(made, series):
    """Photons of oxygen that a volume expects, over those counted, relative to all photons."""
    summed = made.edx.reconstruct().expected.sum(("tilt", "y", "x")).values
    counted = series.counts.sum(("tilt", "y", "x")).values
    band = oxygen(series.energy.values)
    return (summed[band].sum() / summed.sum()) / (counted[band].sum() / counted.sum())


def test_the_mean_factor_makes_computed_spectra_those_of_the_object(series, computed, folded):
    plain = tomography(series, result=computed, densities=DENSITIES, **QUICK)
    assert expected_over_counted(plain, series) > 1.05
    assert expected_over_counted(folded, series) == pytest.approx(1, abs=0.02)
    assert "absorption=True" in folded.attrs["history"][-1]
    (said,) = [text for text in plain.attrs["warnings"] if "absorbs" in text]
    assert "O_Ka of Brg" in said
    assert "absorption=True takes the mean factor into account" in said
    (said,) = [text for text in folded.attrs["warnings"] if "absorbs" in text]
    assert "hold the mean factor" in said


def test_spectra_found_from_tilts_hold_it_and_their_compositions_are_corrected(series, computed, folded):
    """Line ratios of the counts lack what was absorbed, and so do compositions until the factor is known."""
    energy = series.energy.values
    lines = [line_energy(main_line(e, energy[0], energy[-1])) for e in series.element.values]
    factor = folded.spectrum.values / computed.spectrum.values
    through = np.stack([np.interp(lines, energy, row / row[-1]) for row in factor])
    apparent = computed.composition * through
    apparent = apparent / apparent.sum("element")
    own = xr.Dataset({"spectrum": folded.spectrum, "composition": apparent}, attrs=series.attrs)
    own = own.assign(abundance=xr.ones_like(series.truth_abundance))
    made = tomography(series, result=own, densities=DENSITIES, absorption=True, **QUICK)
    np.testing.assert_allclose(made.spectrum, own.spectrum, rtol=1e-6)
    oxygen_of = [
        found.sel(element="O").values for found in (apparent, made.composition, computed.composition)
    ]
    assert (oxygen_of[0] < oxygen_of[2] - 0.009).all()
    np.testing.assert_allclose(oxygen_of[1], oxygen_of[2], atol=0.003)
    np.testing.assert_allclose(made.photons_per_voxel, folded.photons_per_voxel, rtol=0.03)


def test_a_thin_object_is_as_without(series, computed):
    thin = series.assign_coords({d: (d, 1e-3 * series[d].values, {"units": "nm"}) for d in ("y", "x")})
    options = {"result": computed, "densities": DENSITIES, **QUICK}
    made, plain = (tomography(thin, absorption=on, **options) for on in (True, False))
    np.testing.assert_allclose(made.spectrum, plain.spectrum, rtol=1e-3)
    np.testing.assert_allclose(made.volume, plain.volume, atol=2e-3)


def test_a_field_that_cuts_the_object_does_not_say_paths(series, computed):
    cut = series.isel(x=slice(8, 24))
    made = tomography(cut, result=computed, densities=DENSITIES, absorption=True, **QUICK)
    assert any("absorption was not folded" in text for text in made.attrs["warnings"])
    np.testing.assert_allclose(made.spectrum, computed.spectrum)


def test_what_it_needs_is_said(series, computed):
    with pytest.raises(ParameterError, match="densities of the phases beside it"):
        tomography(series, result=computed, absorption=True, **QUICK)
    pixels = series.drop_vars(["y", "x"])
    with pytest.raises(ParameterError, match="size in nm"):
        tomography(pixels, result=computed, densities=DENSITIES, absorption=True, **QUICK)
    with pytest.raises(ParameterError, match="True or False"):
        tomography(series, result=computed, densities=DENSITIES, absorption=0.3, **QUICK)
