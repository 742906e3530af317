"""The public function: from a tilt series to a volume, whole or in slabs, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from small_series import made_series, result_of

import edxdask
from edxdask.errors import EdxdaskError, MemoryBudgetError, ParameterError, SchemaError
from edxdask.results.volumes import check_volume
from edxdask.tomographies import tomography

QUICK = {"alignment": False, "strength": 0.1, "max_iter": 12}


@pytest.fixture(scope="module")
def series():
    cube, volume, spectra = made_series(photons=(4.0, 6.0), tilts=np.arange(-75, 76, 10.0))
    return cube, volume, result_of(spectra, cube)


@pytest.fixture(scope="module")
def whole(series):
    cube, _, result = series
    return tomography(cube, result=result, **QUICK)


def rms(one, other):
    return float(np.sqrt(np.mean((np.asarray(one, float) - np.asarray(other, float)) ** 2)))


def test_a_volume_is_what_the_photons_were_made_of(series, whole):
    cube, volume, _ = series
    check_volume(whole)
    assert whole.volume.dims == ("phase", "z", "y", "x")
    photons = volume * np.array([4.0, 6.0])[:, None, None, None]
    assert rms(whole.volume, photons) < 0.25 * rms(photons, 0)
    assert whole.tilt_photons.sum() == cube.counts.sum()
    assert bool(whole.tilt_fits.all())
    assert whole.z.values.mean() == pytest.approx(0)
    assert whole.attrs["volume_kind"] == "photons"
    assert "tomography" in whole.attrs["history"][-1]
    np.testing.assert_allclose(whole.spectrum.sum("energy"), 1)


def test_the_tilt_axis_may_lie_along_x_and_tilts_may_come_in_any_order(series, whole, tmp_path):
    cube, _, result = series
    turned = cube.rename(y="x", x="y").transpose("tilt", "y", "x", "energy")
    order = np.random.default_rng(2).permutation(cube.sizes["tilt"])
    along_x = tomography(
        turned.isel(tilt=order), result=result, tilt_axis="x", out=tmp_path / "x.zarr", **QUICK
    )
    np.testing.assert_array_equal(
        along_x.volume.transpose("phase", "z", "x", "y").values, whole.volume.values
    )
    assert along_x.attrs["tilt_axis"] == "x"
    np.testing.assert_array_equal(along_x.tilt.values, whole.tilt.values)
    np.testing.assert_array_equal(along_x.x.values, cube.y.values)


def test_slabs_are_those_of_the_whole(series, whole, tmp_path):
    cube, _, result = series
    slabs = tomography(cube, result=result, slab_rows=8, out=tmp_path / "v.zarr", **QUICK)
    size = rms(whole.volume, 0)
    assert rms(slabs.volume, whole.volume) < 1e-2 * size
    assert slabs.volume.chunks is not None
    again = edxdask.open(tmp_path / "v.zarr")
    xr.testing.assert_identical(again.load(), slabs.load())


def test_some_rows_for_a_try_and_half_precision(series, whole, tmp_path):
    cube, _, result = series
    part = tomography(cube, result=result, rows=(6, 14), dtype="float16", out=tmp_path / "part.zarr", **QUICK)
    assert part.volume.dtype == np.float16
    np.testing.assert_array_equal(part.y.values, cube.y.values[6:14])
    assert rms(part.volume, whole.volume.isel(y=slice(6, 14))) < 1e-2 * rms(whole.volume, 0)


def test_moves_that_are_known_go_into_the_projector(series):
    _, _, result = series
    rng = np.random.default_rng(3)
    tilts = np.arange(-75, 76, 10.0)
    moves = {"shift_x": rng.uniform(-2, 2, tilts.size), "shift_y": rng.uniform(-1, 1, tilts.size)}
    moved, _, _ = made_series(photons=(4.0, 6.0), tilts=tilts, **moves)
    known = xr.Dataset(
        {"tilt_shift_x": ("tilt", moves["shift_x"]), "tilt_shift_y": ("tilt", moves["shift_y"])},
        {"tilt": tilts},
    )
    with_moves = tomography(moved, result=result, **{**QUICK, "alignment": known})
    without = tomography(moved, result=result, **QUICK)
    np.testing.assert_allclose(with_moves.tilt_shift_x, moves["shift_x"])
    assert float(with_moves.tilt_chi2.mean()) < 0.6 * float(without.tilt_chi2.mean())


def test_projections_without_photons_are_left_out_and_named(series):
    cube, _, result = series
    counts = cube.counts.values.copy()
    counts[[0, 7]] = 0
    made = tomography(cube.assign(counts=(cube.counts.dims, counts)), result=result, **QUICK)
    assert made.sizes["tilt"] == cube.sizes["tilt"] - 2
    (said,) = [text for text in made.attrs["warnings"] if "hold no photons" in text]
    assert "-75°, -5°" in said
    counts[2:] = 0
    with pytest.raises(SchemaError, match="needs at least 3"):
        tomography(cube.assign(counts=(cube.counts.dims, counts)), result=result, **QUICK)


@pytest.mark.parametrize(
    ("change", "options", "error", "says"),
    [
        (lambda c: c.isel(tilt=[0, 5]), {}, ParameterError, "at least 3 tilts"),
        (lambda c: c, {"tilts_deg": [0.0, 1.0]}, ParameterError, "16 numbers, one tilt for each"),
        (lambda c: c, {"tilts_deg": [*range(15), 14]}, ParameterError, "each tilt once"),
        (lambda c: c, {"tilts_deg": [*range(15), np.nan]}, ParameterError, "degrees from -180 to 180"),
        (
            lambda c: c.assign_coords(tilt=("tilt", np.arange(16.0), {"units": "1"})),
            {},
            ParameterError,
            "which the data do not say",
        ),
        (lambda c: c.isel(tilt=0), {}, SchemaError, "a tilt series has"),
        (lambda c: c.rename(tilt="frame"), {}, ParameterError, "which the data do not say"),
        (
            lambda c: c.assign_coords(x=("x", 3.0 * np.arange(c.sizes["x"]), {"units": "nm"})),
            {},
            SchemaError,
            "2 nm along y and 3 nm along x",
        ),
        (lambda c: c, {"tilt_axis": "z"}, ParameterError, "its angle to y"),
        (lambda c: c, {"tilt_axis": 170.0}, ParameterError, "above -90 to 90"),
        (lambda c: c, {"prior": "l2"}, ParameterError, "'tv' or 'none'"),
        (lambda c: c, {"rows": (4, 99)}, ParameterError, "within 0 and 20"),
        (lambda c: c, {"strength": -1.0}, ParameterError, "not negative"),
        (lambda c: c, {"densities": {"phase_0": 0.0}}, ParameterError, "above 0"),
        (lambda c: c, {"elements": ["Mg"]}, ParameterError, "nothing beside result"),
        (lambda c: c, {"alignment": xr.Dataset()}, ParameterError, "align_tilts"),
        (lambda c: c, {"resume": True}, ParameterError, "a store to write"),
        (lambda c: c.isel(energy=slice(0, 30)), {}, SchemaError, "its energy axis"),
    ],
)
def test_what_cannot_give_a_volume_is_refused_in_words(series, change, options, error, says):
    cube, _, result = series
    with pytest.raises(error) as caught:
        tomography(change(cube), result=result, **{**QUICK, **options})
    assert says in str(caught.value)


def test_memory_is_kept_by_fewer_rows_or_refused_with_the_setting_that_fits(series, tmp_path):
    from edxdask.budget import resident_memory

    cube, _, result = series
    with pytest.raises(
        MemoryBudgetError, match=r"does not fit memory_limit=1\.00 MiB.*Set memory_limit='\d+MiB'"
    ):
        tomography(cube, result=result, memory_limit="1MiB", **QUICK)
    assert resident_memory() > 0
    with pytest.raises(EdxdaskError):
        tomography(cube, result=result, out=tmp_path / "v.zarr", memory_limit="1MiB", **QUICK)
    assert not any(tmp_path.iterdir())  # a wrong setting leaves nothing behind


def test_one_phase_is_a_volume_too(series):
    cube, volume, _ = series
    mean = np.asarray(cube.counts.sum(("tilt", "y", "x")).values, float)
    made = tomography(cube, result=result_of(mean[None] / mean.sum(), cube), **QUICK)
    photons = (volume * np.array([4.0, 6.0])[:, None, None, None]).sum(0)
    assert rms(made.volume[0], photons) < 0.3 * rms(photons, 0)
