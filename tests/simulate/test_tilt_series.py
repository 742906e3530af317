"""``simulate`` of tilt series: exact projections of known objects, whatever the chunks, acquired as asked."""

from __future__ import annotations

import dask
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import edxdask
from edxdask.errors import ParameterError
from edxdask.simulate.solids import ellipsoid, random_turn, stacked

SMALL = {"shape": (24, 10, 28), "counts": 25, "tilts": range(-60, 61, 20), "channels": 300}


def solids_of_an_ellipsoid(axes=(9.0, 4.0, 6.0), centre=(1.0, -0.5, 2.0)):
    """An ellipsoid along z, y and x, with another of half its size in it."""
    shell = ellipsoid(np.array(centre), np.array(axes), np.eye(3), phase=0, parent=-1, planes=2)
    core = ellipsoid(np.array(centre), 0.5 * np.array(axes), np.eye(3), phase=1, parent=0, planes=2)
    return stacked([shell, core])


@pytest.fixture(scope="module")
def small():
    return edxdask.simulate("tomography", **SMALL).compute()


@pytest.mark.parametrize("tilt", [-70.0, -20.0, 0.0, 45.0, 90.0])
def test_the_projection_of_an_ellipsoid_is_the_closed_form(tilt):
    a, b, c = 9.0, 4.0, 6.0
    rows, columns = np.arange(24.0), np.arange(32.0)
    middle = (11.5, 15.5)
    found = solids_of_an_ellipsoid().project(rows, columns, phases=2, middle=middle, tilt_deg=tilt)
    t = np.deg2rad(tilt)
    width = np.hypot(c * np.cos(t), a * np.sin(t))  # half-axis of the shadow
    at = 2.0 * np.cos(t) + 1.0 * np.sin(t)
    fine = (np.arange(64) + 0.5) / 64 - 0.5
    u = (columns[:, None] + fine - middle[1] - at).ravel() / width
    w = (rows[:, None] + fine - middle[0] + 0.5).ravel() / b
    for scale, phases in ((1.0, [0, 1]), (0.5, [1])):
        square = np.clip(1 - (u[None] ** 2 + w[:, None] ** 2) / scale**2, 0, None)
        chord = 2 * scale * a * c / width * np.sqrt(square)
        expected = chord.reshape(24, 64, 32, 64).mean((1, 3))
        # rim pixels: rays of a 4 by 4 grid see the square root's edge to a percent of the thickness
        np.testing.assert_allclose(found[phases].sum(0), expected, atol=0.02 * scale * 2 * a)
        assert found[phases].sum() == pytest.approx(4 / 3 * np.pi * a * b * c * scale**3, rel=3e-3 / scale)


@pytest.mark.parametrize("turn", [np.eye(3), random_turn(np.array([0.2, 0.7, 0.4]))])
def test_a_voxel_is_filled_as_far_as_the_solid_goes(turn):
    axes, centre = np.array([8.0, 3.0, 5.0]), np.array([0.5, 0.25, -1.0])
    solid = ellipsoid(centre, axes, turn, phase=0, parent=-1, planes=1)
    z, y, x = (np.arange(n) - (n - 1) / 2 for n in (24, 22, 20))
    found = solid.fractions(z, y, x, phases=1)[0]
    assert found.sum() == pytest.approx(4 / 3 * np.pi * axes.prod(), rel=3e-3)
    deep = (
        (((np.stack(np.meshgrid(z, y, x, indexing="ij"), -1) - centre) @ turn.T) / (axes - 1.8)) ** 2
    ).sum(-1)
    assert (found[deep < 1] == 1).all()


def test_volume_and_projections_have_the_same_mass(small):
    volume = small.truth_volume.sum(("z", "y", "x"))
    lengths = small.truth_abundance * small.truth_total
    for tilt in small.tilt.values:
        seen = lengths.sel(tilt=tilt).sum(("y", "x")) / small.truth_photons_per_voxel
        np.testing.assert_allclose(seen, volume, rtol=0.02)


def test_the_untilted_projection_is_the_sum_along_z(small):
    lengths = (small.truth_abundance * small.truth_total).sel(tilt=0) / small.truth_photons_per_voxel
    ray, voxels = lengths.sum("phase").values, small.truth_volume.sum(("phase", "z")).values
    assert np.sqrt(np.mean((ray - voxels) ** 2)) < 0.01 * ray.max()


def test_a_point_appears_where_the_geometry_of_tilts_says():
    moved = {"shift": (1.5, -2.0), "rotation_deg": 20.0}
    place = np.array([3.0, 2.0, -4.0])
    ball = ellipsoid(place, np.full(3, 1.5), np.eye(3), phase=0, parent=-1, planes=1)
    for tilt in (-40.0, 0.0, 55.0):
        seen = ball.project(
            np.arange(31.0), np.arange(33.0), phases=1, middle=(15, 16), tilt_deg=tilt, **moved
        )[0]
        t, f = np.deg2rad(tilt), np.deg2rad(20.0)
        u, w = place[2] * np.cos(t) + place[0] * np.sin(t), place[1]
        row = (seen.sum(1) * np.arange(31)).sum() / seen.sum() - 15
        column = (seen.sum(0) * np.arange(33)).sum() / seen.sum() - 16
        assert column == pytest.approx(u * np.cos(f) - w * np.sin(f) - 2.0, abs=0.02)
        assert row == pytest.approx(u * np.sin(f) + w * np.cos(f) + 1.5, abs=0.02)


@settings(max_examples=10)
@given(chunks=st.tuples(st.integers(3, 12), st.integers(3, 30)))
def test_any_chunking_draws_the_same_photons_and_truth(small, chunks):
    ds = edxdask.simulate("tomography", **SMALL, chunks=chunks)
    np.testing.assert_array_equal(ds.counts.values, small.counts.values)
    np.testing.assert_array_equal(ds.truth_volume.values, small.truth_volume.values)


def test_building_a_large_series_computes_nothing():
    def refuse(*_, **__):
        raise AssertionError("computed")

    with dask.config.set(scheduler=refuse):
        ds = edxdask.simulate("tomography", shape=(512, 512, 512), counts=20)
    assert ds.counts.shape == (29, 512, 512, 970)
    assert ds.truth_volume.shape == (3, 512, 512, 512)
    assert ds.counts.data.chunksize == (1, 64, 64, 970)


def test_counts_are_poisson_about_the_truth_at_the_level_asked_for(small):
    seen, expected = small.counts.sum("energy").values, small.truth_total.values
    lit = expected > 0.5
    assert seen[expected == 0].sum() == 0
    assert np.mean((seen - expected)[lit] ** 2 / expected[lit]) == pytest.approx(1, abs=0.15)
    untilted = small.truth_total.sel(tilt=0).values
    assert untilted[untilted >= 0.25 * untilted.max()].mean() == pytest.approx(25, rel=1e-6)


@pytest.mark.parametrize("seed", [3, 4, 5])
def test_the_phantom_has_the_fractions_of_the_trial(seed):
    ds = edxdask.simulate("tomography", shape=(96, 24, 96), counts=20, seed=seed)
    volume = ds.truth_volume.values
    np.testing.assert_allclose(volume.mean((1, 2, 3)), (0.245, 0.039, 0.0075), rtol=0.02)
    assert (volume.sum(0) <= 1 + 1e-6).all()
    # photons per voxel of the trial at 20: .453, .502, .471
    np.testing.assert_allclose(ds.truth_photons_per_voxel, (0.453, 0.502, 0.471), rtol=0.12)


def test_a_core_shell_particle_has_its_core_inside():
    ds = edxdask.simulate("core-shell", shape=(32, 32), counts=50, tilts=[0, 40]).compute()
    assert ds.counts.shape == (2, 32, 32, 1300)
    assert ds.truth_volume.shape == (2, 32, 32, 32)
    core, shell = ds.truth_volume.values
    assert 0.05 < core.sum() / shell.sum() < 0.6
    assert ds.truth_volume.isel(z=[0, -1]).sum() == 0
    assert ds.phase.values.tolist() == ["ZnSe", "ZnS"]


def test_a_misaligned_series_keeps_its_object_in_the_field_and_its_moves():
    ds = edxdask.simulate("tomography", shape=(48, 32, 48), counts=20, misaligned=True, seed=2)
    assert np.abs(ds.truth_shift_y).max() <= 3
    assert np.abs(ds.truth_shift_x - 1.7).max() <= 3
    assert (ds.truth_rotation == 1).all()
    assert float(ds.truth_total.isel(y=[0, -1]).sum()) == 0
    still = {"shift_px": 0, "axis_px": 0, "rotation_deg": 0, "margin_px": 4 + np.sin(np.deg2rad(1)) * 24}
    same = edxdask.simulate("tomography", shape=(48, 32, 48), counts=20, misaligned=still, seed=2)
    np.testing.assert_array_equal(same.truth_volume.values, ds.truth_volume.values)
    assert not np.allclose(same.truth_total.values, ds.truth_total.values)


def test_shadows_and_the_dose_make_projections_brighter_or_darker():
    ds = edxdask.simulate("tomography", **SMALL, shadows=[(0, 40), None], dose_drift=-0.5)
    dose, sight = np.linspace(1, 0.5, 7), np.array([1, 1, 1, 1, 0.75, 0.5, 0.5])
    expected = dose * sight / np.mean(dose * sight)
    np.testing.assert_allclose(ds.truth_exposure, expected)
    totals = ds.truth_total.sum(("y", "x")).values
    np.testing.assert_allclose(totals / totals.mean(), expected, rtol=0.02)
    given = edxdask.simulate("tomography", **SMALL, dose_drift=[1, 2, 3, 4, 5, 6, 0])
    assert float(given.truth_exposure[-1]) == 0
    assert float(given.counts.isel(tilt=-1).sum()) == 0


def test_a_series_is_written_block_by_block_with_its_truth(tmp_path):
    written = edxdask.simulate("tomography", **SMALL, out=tmp_path / "series.zarr")
    drawn = edxdask.simulate("tomography", **SMALL)
    xr.testing.assert_equal(written.compute(), drawn.compute())


def test_a_binned_series_keeps_only_the_truth_that_fits_its_pixels(small):
    binned = small.edx.bin(2)
    assert "truth_volume" not in binned
    assert "z" not in binned.coords
    assert "truth_volume" in binned.attrs["history"][-1]
    assert float(binned.truth_total.sum()) == pytest.approx(float(small.truth_total.sum()))
    assert "truth_volume" in small.edx.bin(energy=2)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"tilts": [0, 100]}, "from -90 to 90"),
        ({"tilts": "0:10"}, "angles of the stage"),
        ({"tilts": []}, "angles of the stage"),
        ({"misaligned": {"shift": 2}}, "shift_px"),
        ({"misaligned": {"shift_px": np.nan}}, "a finite number"),
        ({"misaligned": True}, "free rows at both ends"),
        ({"shadows": [(10, 10)]}, "not the same"),
        ({"shadows": [10, 50]}, "two tilts in degrees"),
        ({"shadows": True, "elevation_deg": (20, 20)}, "each of the 2 detectors"),
        ({"shadows": []}, "1 to 4 detectors"),
        ({"shadows": [(-80, -75)]}, "a detector that sees the object"),
        ({"dose_drift": -1.0}, "above -1"),
        ({"dose_drift": [1.0, 2.0]}, "one dose per tilt"),
        ({"dose_drift": [0.0] * 7}, "not all 0"),
        ({"shape": (1, 2, 3, 4)}, "planes, rows and columns"),
        ({"shape": (24, 2, 24)}, "a whole number from 4"),
    ],
)
def test_what_no_series_has_is_refused(options, says):
    with pytest.raises(ParameterError, match=says):
        edxdask.simulate("tomography", **{**SMALL, **options})


@pytest.mark.parametrize(
    "option", [{"tilts": [0]}, {"misaligned": True}, {"shadows": True}, {"dose_drift": 0.1}]
)
def test_maps_have_no_tilts(option):
    with pytest.raises(ParameterError, match="Tilt series are 'tomography' and 'core-shell'"):
        edxdask.simulate("mantle", shape=(8, 8), **option)


def test_the_phantom_is_as_bright_and_as_full_as_the_one_of_the_trial(data):
    trial = np.load(data / "tomography" / "phantom_20.npz")
    shape = {"shape": (96, 24, 96), "counts": 20, "seed": 3}
    ds = edxdask.simulate("tomography", **shape, tilts=trial["tilt_deg"])
    filled = trial["fraction"].astype(float).mean((1, 2, 3))
    np.testing.assert_allclose(ds.truth_volume.mean(("z", "y", "x")), filled, rtol=0.02)
    per_voxel = trial["spectrum"].sum(1)
    np.testing.assert_allclose(ds.truth_photons_per_voxel, per_voxel, rtol=0.12)
    ours, theirs = (
        v / np.linalg.norm(v, axis=1)[:, None] for v in (ds.truth_spectrum.values, trial["spectrum"])
    )
    angles = np.rad2deg(np.arccos(np.clip(ours @ theirs.T, -1, 1)))
    assert (np.diag(angles) < 12).all()  # the trial's were computed with other cross-sections
    assert (angles.argmin(0) == np.arange(3)).all()
    seen = ds.truth_total.sum(("y", "x")).values
    assert seen.mean() == pytest.approx(trial["count"].sum() / len(seen), rel=0.1)
    assert seen.std() < 0.01 * seen.mean()
