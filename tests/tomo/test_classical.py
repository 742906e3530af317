"""FBP and SIRT on bodies with known projections."""

import numpy as np
import pytest
from analytic_bodies import centred, soft_ball, soft_ball_projected, soft_ellipse, soft_ellipse_projected

from edxdask.errors import ParameterError
from edxdask.tomo.classical import WINDOWS, fbp, ramp_filtered, sirt, tilt_steps
from edxdask.tomo.geometry import TiltGeometry

SIZE = 65
BODY = (6.0, -4.0), (19.0, 11.0), 25.0


def sinogram(geometry):
    """Exact projections of an ellipse, one row."""
    rows = [
        soft_ellipse_projected(centred(SIZE) - shift, tilt, *BODY) * exposure
        for tilt, shift, exposure in zip(geometry.tilt_deg, geometry.shift_x, geometry.exposure, strict=True)
    ]
    return np.array(rows, np.float32)[:, None, :]


def error(volume):
    true = soft_ellipse((SIZE, SIZE), *BODY)
    return np.sqrt(np.mean((np.asarray(volume)[:, 0] - true) ** 2) / np.mean(true**2))


def disc(geometry, radius=20.0):
    """Exact projections of a disc of density 1 around the middle."""
    u = centred(SIZE) - geometry.shift_x[:, None]
    return (2 * np.sqrt(np.clip(radius**2 - u**2, 0, None))).astype(np.float32)[:, None, :]


def test_fbp_finds_an_ellipse_from_all_around():
    geometry = TiltGeometry.of(np.arange(-90, 90, 2.0), shift_x=1.37, exposure=1.5)
    assert error(fbp(sinogram(geometry), geometry)) < 0.01


def test_sirt_finds_an_ellipse_from_all_around_and_stays_above_zero():
    geometry = TiltGeometry.of(np.arange(-90, 90, 4.0), shift_x=-0.8, exposure=0.7)
    volume = sirt(sinogram(geometry), geometry, iterations=60)
    assert error(volume) < 0.03
    assert volume.min() == 0
    assert sirt(sinogram(geometry), geometry, iterations=5, non_negative=False).min() < 0


def test_fbp_finds_the_density_of_a_disc_and_nothing_around_it():
    geometry = TiltGeometry.of(np.arange(-90, 90, 2.0))
    volume = fbp(disc(geometry), geometry, window="hann")[:, 0]
    z, x = np.meshgrid(centred(SIZE), centred(SIZE), indexing="ij")
    away = np.hypot(z, x)
    assert abs(volume[away < 16].mean() - 1) < 0.005
    assert volume[away < 16].std() < 0.02
    assert abs(volume[(away > 24) & (away < 30)].mean()) < 0.01


def test_moves_of_each_projection_are_undone_exactly_along_columns():
    moves = np.random.default_rng(0).uniform(-4, 4, 60)
    moved = TiltGeometry.of(np.arange(-90, 90, 3.0), shift_x=moves)
    right = error(fbp(sinogram(moved), moved))
    still = TiltGeometry.of(moved.tilt_deg)
    assert right < 1.5 * error(fbp(sinogram(still), still))
    assert error(fbp(sinogram(moved), still)) > 10 * right


def test_unequal_steps_weigh_as_much_as_the_angle_they_stand_for():
    dense, sparse = np.arange(-90, 0, 1.5), np.arange(0, 90, 4.5)
    geometry = TiltGeometry.of(np.concatenate([dense, sparse]))
    assert error(fbp(sinogram(geometry), geometry)) < 0.02
    np.testing.assert_allclose(tilt_steps(geometry.tilt_deg).sum(), np.pi)


def test_the_order_of_tilts_does_not_matter_and_repeated_ones_divide_their_step():
    tilts = np.array([10.0, -40, 60, 35, -70, -5])
    order = np.argsort(tilts)
    np.testing.assert_allclose(tilt_steps(tilts)[order], tilt_steps(tilts[order]))
    twice = tilt_steps(np.array([-30.0, 0, 0, 30]))
    np.testing.assert_allclose(np.rad2deg(twice), [30, 15, 15, 30])
    np.testing.assert_allclose(np.rad2deg(tilt_steps(np.array([-20.0, 30.0]))), [50, 50])


def test_the_missing_wedge_belongs_to_nobody():
    steps = np.rad2deg(tilt_steps(np.arange(-70, 71, 5.0)))
    np.testing.assert_allclose(steps, 5)
    with pytest.raises(ParameterError, match="two angles"):
        tilt_steps(np.array([10.0, 10.0, 190.0]))


def test_windows_leave_less_noise_in_their_order():
    geometry = TiltGeometry.of(np.arange(-70, 71, 5.0))
    noise = np.random.default_rng(1).normal(size=(len(geometry), 1, SIZE)).astype(np.float32)
    deviations = [np.std(fbp(noise, geometry, window=window)) for window in WINDOWS]
    assert deviations == sorted(deviations, reverse=True)
    assert deviations[-1] < 0.5 * deviations[0]
    assert np.std(fbp(noise, geometry, window="hann", cutoff=0.5)) < 0.5 * deviations[-1]
    with pytest.raises(ParameterError, match="cutoff"):
        fbp(noise, geometry, cutoff=0.0)
    with pytest.raises(ParameterError, match="'hann'"):
        ramp_filtered(noise, "box")


@pytest.mark.parametrize("solve", [fbp, sirt])
def test_slabs_of_rows_change_nothing_where_rows_are_apart(solve, tmp_path):
    geometry = TiltGeometry.of(np.arange(-60, 61, 10.0), shift_x=0.3)
    images = np.random.default_rng(2).random((13, 11, 20), dtype=np.float32)
    whole = solve(images, geometry, 12)
    assert whole.shape == (12, 11, 20)
    out = np.lib.format.open_memmap(tmp_path / "volume.npy", "w+", np.float32, (12, 11, 20))
    slabs = solve(images, geometry, 12, rows_at_once=3, out=out)
    assert slabs is out
    np.testing.assert_allclose(out, whole, atol=2e-6 * np.abs(whole).max())


def ball_series(rotation):
    """Images of a ball, moved and turned; (geometry, images, the ball on voxels (z, y, x))."""
    rng = np.random.default_rng(3)
    tilts = np.arange(-90, 90, 6.0)
    geometry = TiltGeometry.of(
        tilts,
        shift_x=rng.uniform(-2, 2, tilts.size),
        shift_y=rng.uniform(-2, 2, tilts.size),
        rotation_deg=rotation,
    )
    middle, radius, size = (3.0, 2.0, -4.0), 9.0, 40
    column, row = np.meshgrid(centred(size), centred(size))
    turn, images = np.deg2rad(rotation), []
    for t, tilt in enumerate(np.deg2rad(tilts)):
        u = middle[0] * np.cos(tilt) + middle[2] * np.sin(tilt)
        seen_at = (
            u * np.cos(turn) - middle[1] * np.sin(turn) + geometry.shift_x[t],
            u * np.sin(turn) + middle[1] * np.cos(turn) + geometry.shift_y[t],
        )
        images.append(soft_ball_projected(column, row, seen_at, radius))
    ball = soft_ball((size, size, size), middle, radius).transpose(0, 2, 1)
    return geometry, np.array(images, np.float32), ball


@pytest.mark.parametrize("rotation", [0.0, 1.5])
@pytest.mark.parametrize("solve", [fbp, sirt])
def test_a_ball_is_found_in_images_that_are_moved_and_turned(solve, rotation):
    geometry, images, ball = ball_series(rotation)
    volume = solve(images, geometry)
    assert np.sqrt(np.mean((volume - ball) ** 2) / np.mean(ball**2)) < 0.05
    slabs = solve(images, geometry, rows_at_once=16)
    assert np.abs(slabs - volume).max() < 0.01 * ball.max()


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"iterations": 0}, "iterations"),
        ({"relaxation": 2.0}, "relaxation"),
        ({"rows_at_once": 0}, "rows_at_once"),
        ({"out": np.zeros((5, 4, 7))}, "out"),
        ({"depth": 0}, "shape"),
    ],
)
def test_settings_that_cannot_work_are_refused(options, name):
    with pytest.raises(ParameterError, match=name):
        sirt(np.ones((2, 4, 6)), TiltGeometry.of([0.0, 30.0]), **options)


def test_images_that_do_not_fit_the_series_are_refused():
    with pytest.raises(ParameterError, match=r"images.*2 tilts"):
        fbp(np.ones((3, 4, 6)), TiltGeometry.of([0.0, 30.0]))
    with pytest.raises(ParameterError, match="exposure"):
        fbp(np.ones((2, 4, 6)), TiltGeometry.of([0.0, 30.0], exposure=[1.0, 0.0]))
