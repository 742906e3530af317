"""Channels below the first usable energy take part in totals only: a zero peak shapes no phase."""

import numpy as np
import pytest
import xarray as xr

import edxdask
from edxdask import schema
from edxdask.results.score import angles_between, match_phases

FLOOR = 0.15


@pytest.fixture(scope="module")
def clean() -> xr.Dataset:
    """Mantle map on an axis that begins below 0, without the energy of its beam."""
    cube = edxdask.simulate("mantle", shape=(48, 48), counts=120, seed=3).compute()
    pad = 60
    offset, scale = schema.energy_axis(cube)
    counts = np.concatenate([np.zeros((48, 48, pad), np.uint16), cube["counts"].values], axis=2)
    return edxdask.from_array(counts, energy_offset=offset - pad * scale, energy_scale=scale)


@pytest.fixture(scope="module")
def noisy(clean) -> xr.Dataset:
    """The same map with a zero peak whose strength differs from pixel to pixel, in dots."""
    rng = np.random.default_rng(1)
    shape = np.exp(-0.5 * (clean.energy.values / 0.03) ** 2)
    level = np.where(rng.random((48, 48)) < 0.1, 300.0, 5.0)
    peak = rng.poisson(level[..., None] * shape / shape.sum())
    peak[..., clean.energy.values > FLOOR] = 0
    counts = clean["counts"].values + peak.astype(np.uint16)
    return clean.assign({"counts": (clean["counts"].dims, counts)})


FITS = {
    "nmf": lambda ds: edxdask.nmf(ds, phases=3, progress=False),
    "frobenius": lambda ds: edxdask.nmf(ds, phases=3, loss="frobenius", progress=False),
    "psnmf": lambda ds: edxdask.psnmf(ds, phases=3, bin=4, smooth=1.0, progress=False),
}


@pytest.mark.parametrize("how", FITS)
def test_a_zero_peak_is_in_the_totals_and_in_no_phase(clean, noisy, how):
    wanted, found = FITS[how](clean), FITS[how](noisy)
    assert found.attrs[schema.LOWEST_ENERGY] == pytest.approx(FLOOR, abs=0.011)
    use = found.energy.values >= found.attrs[schema.LOWEST_ENERGY] - 1e-9
    ours, theirs = found.spectrum.values[:, use], wanted.spectrum.values[:, use]
    angles, pairs = angles_between(theirs, ours), match_phases(theirs, ours)
    # stops at other rounds, since the counts of the zero peak are in the objective: within what these few
    # counts leave open
    assert max(angles[i, j] for i, j in pairs.items()) < (2.0 if how == "psnmf" else 6.0)
    below = found.spectrum.values[:, ~use].sum(axis=1)
    part = noisy.counts.values[..., ~use].sum() / noisy.counts.values.sum()
    np.testing.assert_allclose(below, part, rtol=1e-4)
    tolerance = 0.02 if how == "frobenius" else 1e-4
    assert float(found.total.sum()) == pytest.approx(int(noisy.counts.sum()), rel=tolerance)


def test_known_spectra_and_components_leave_it_out_too(clean, noisy):
    spectra = FITS["psnmf"](clean).spectrum
    wanted, found = (edxdask.fcls(ds, spectra, loss="kl") for ds in (clean, noisy))
    assert float(np.abs(found.abundance - wanted.abundance).mean()) < 0.002
    assert float(found.total.sum()) == pytest.approx(int(noisy.counts.sum()), rel=1e-4)
    first = edxdask.pca(noisy, components=2)
    use = noisy.energy.values >= first.attrs[schema.LOWEST_ENERGY] - 1e-9
    assert not np.any(first.loading.values[:, ~use])


def test_an_axis_that_begins_above_the_floor_is_used_whole():
    cube = edxdask.simulate("mantle", shape=(12, 12), counts=60)
    assert schema.LOWEST_ENERGY not in edxdask.nmf(cube, phases=2, max_iter=5).attrs


def test_the_objective_falls_with_a_floor(noisy):
    found = edxdask.nmf(noisy, phases=3, accelerate=False, max_iter=60, precision="double")
    known = found.objective.values
    assert np.all(np.diff(known) <= 1e-10 * np.abs(known[:-1]))
