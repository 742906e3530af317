"""Volumes of images: the public function, its labels, and what it refuses."""

import numpy as np
import pytest
import xarray as xr
from test_classical import ball_series

import edxdask
from edxdask.errors import ParameterError, SchemaError


def labelled(images, geometry, *, nm=None, name="haadf"):
    coords = {"tilt": geometry.tilt_deg}
    if nm is not None:
        for dim, size in (("y", images.shape[1]), ("x", images.shape[2])):
            coords[dim] = (dim, nm * np.arange(size), {"units": "nm"})
    return xr.DataArray(images, coords, ("tilt", "y", "x"), name=name)


def moves(geometry, *, swapped=False):
    down, right = (geometry.shift_y, geometry.shift_x)[:: -1 if swapped else 1]
    found = {
        "tilt_shift_y": down,
        "tilt_shift_x": right,
        "tilt_rotation": geometry.rotation_deg,
        "tilt_exposure": geometry.exposure,
    }
    return xr.Dataset({k: ("tilt", v) for k, v in found.items()}, {"tilt": geometry.tilt_deg})


def off(volume, ball):
    return np.sqrt(np.mean((volume.values - ball) ** 2) / np.mean(ball**2))


@pytest.mark.parametrize("method", ["sirt", "fbp"])
def test_a_moved_and_turned_series_gives_the_ball_with_its_scale(method):
    geometry, images, ball = ball_series(1.5)
    made = edxdask.image_volume(
        labelled(images, geometry, nm=2.0), method=method, alignment=moves(geometry), window="ramp"
    )
    assert off(made.volume.sel(phase="haadf"), ball) < 0.05
    np.testing.assert_allclose(np.diff(made.z), 2.0)
    assert made.z.attrs["units"] == "nm"
    np.testing.assert_array_equal(made.tilt_shift_y, geometry.shift_y)
    again = edxdask.image_volume(
        labelled(images, geometry), method=method, alignment=made, depth=24, window="ramp"
    )
    np.testing.assert_allclose(again.volume[0], made.volume[0, 8:-8], atol=0.05)
    assert again.volume.sizes["z"] == 24


def test_an_axis_along_x_gives_the_same_volume_with_rows_and_columns_exchanged():
    geometry, images, _ = ball_series(0.0)
    upright = edxdask.image_volume(labelled(images, geometry), alignment=moves(geometry), iterations=5)
    lying = edxdask.image_volume(
        labelled(images.swapaxes(1, 2), geometry),
        alignment=moves(geometry, swapped=True),
        tilt_axis="x",
        iterations=5,
    )
    np.testing.assert_allclose(lying.volume.transpose("phase", "z", "x", "y").values, upright.volume.values)
    assert lying.tilt_axis == "x"
    np.testing.assert_array_equal(lying.tilt_shift_x, geometry.shift_y)


def test_maps_of_lines_give_one_volume_each():
    rng = np.random.default_rng(0)
    counts = rng.poisson(0.3, (7, 6, 10, 400)).astype("u2")
    series = edxdask.from_array(counts, energy_offset=0.0, energy_scale=0.03, beam_energy=200.0)
    series = series.assign_coords(tilt=("tilt", np.linspace(-60, 60, 7), {"units": "deg"}))
    maps = series.edx.line_map(["Zn_Ka", "S_Ka"])
    made = edxdask.image_volume(maps, iterations=3)
    assert made.phase.values.tolist() == ["Zn_Ka", "S_Ka"]
    assert made.volume.dims == ("phase", "z", "y", "x")
    alone = edxdask.image_volume(series.edx.line_map("S_Ka"), iterations=3)
    np.testing.assert_allclose(alone.volume[0], made.volume[1])
    assert alone.phase.values.tolist() == ["S_Ka"]


SERIES = xr.DataArray(np.ones((4, 3, 5)), {"tilt": [-30.0, 0, 30, 60]}, ("tilt", "y", "x"))

OTHER = xr.Dataset({"tilt_shift_y": ("tilt", [1.0])}, {"tilt": [3.0]})


@pytest.mark.parametrize(
    ("images", "options", "message"),
    [
        (SERIES, {"method": "wbp"}, "'sirt' or 'fbp'"),
        (SERIES.values, {}, r"line_map\('Zn_Ka'\)"),
        (SERIES.rename(y="frame"), {}, "dimensions"),
        (SERIES.drop_vars("tilt"), {}, r"tilts_deg=\["),
        (SERIES, {"tilts_deg": [0.0, 10, 20]}, "each of 4 images"),
        (SERIES[:2], {}, "at least 3"),
        (SERIES, {"tilts_deg": [5.0, 5, 20, 20]}, "at least 3"),
        (SERIES, {"tilt_axis": "z"}, "'y' or 'x'"),
        (SERIES, {"depth": 0}, "above zero"),
        (SERIES.where(SERIES.tilt > 0), {}, "fillna"),
        (SERIES, {"alignment": xr.Dataset(coords={"tilt": SERIES.tilt})}, "tilt_shift_y"),
        (
            SERIES,
            {"alignment": xr.Dataset({"tilt_shift_y": ("tilt", [1.0])}, {"tilt": [3.0]})},
            "tilts of the",
        ),
        (
            SERIES.assign_coords(
                y=("y", [0.0, 1, 2], {"units": "nm"}), x=("x", [0.0, 2, 4, 6, 8], {"units": "nm"})
            ),
            {},
            "voxels are cubes",
        ),
    ],
)
def test_what_is_no_series_is_refused_with_what_was_expected(images, options, message):
    with pytest.raises((ParameterError, SchemaError), match=message):
        edxdask.image_volume(images, **options)
