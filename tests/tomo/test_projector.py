"""The projector beside its transpose, a matrix made another way, and bodies with known projections."""

import pickle
from itertools import pairwise

import numpy as np
import pytest
from analytic_bodies import centred, soft_ball, soft_ball_projected, soft_ellipse, soft_ellipse_projected
from scipy.sparse import csr_array

from edxdask.errors import ParameterError
from edxdask.tomo.geometry import TiltGeometry
from edxdask.tomo.projector import Projector

ALL_ROUND = [-170.0, -90.0, -72.5, -45.0, -10.0, 0.0, 33.0, 45.0, 61.0, 90.0, 135.0]


def some_geometry(tilts, seed=0, *, rotation=0.0, shift_y=3.0):
    rng = np.random.default_rng(seed)
    return TiltGeometry.of(
        tilts,
        shift_x=rng.uniform(-3, 3, len(tilts)),
        shift_y=rng.uniform(-shift_y, shift_y, len(tilts)),
        rotation_deg=rotation,
    )


def overlap_matrix(geometry, shape, columns):
    """(tilt · column) × (z · x): lengths that footprints and columns have in common, by their edges."""
    x, z = np.meshgrid(centred(shape[1]), centred(shape[0]))
    edges = np.arange(columns) - columns / 2
    rows = []
    for tilt, shift in zip(np.deg2rad(geometry.tilt_deg), geometry.shift_x, strict=True):
        width = max(abs(np.cos(tilt)), abs(np.sin(tilt)))
        middle = (x * np.cos(tilt) + z * np.sin(tilt) + shift).ravel()
        upper = np.minimum(edges[:, None] + 1, middle + width / 2)
        lower = np.maximum(edges[:, None], middle - width / 2)
        rows.append(np.clip(upper - lower, 0, None) / width)
    return csr_array(np.concatenate(rows))


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-12), (np.float32, 1e-7)])
@pytest.mark.parametrize("rotation", [0.0, 1.0, -12.0])
@pytest.mark.parametrize(
    ("shape", "columns", "rows", "image_rows"),
    [((17, 23), 23, (0, 9), 9), ((24, 20), 31, (2, 7), 11), ((20, 40), 13, (4, 9), 9)],
)
def test_back_is_the_transpose_of_forward(shape, columns, rows, image_rows, rotation, dtype, tolerance):
    geometry = some_geometry(ALL_ROUND, rotation=rotation)
    projector = Projector(
        geometry, shape=shape, columns=columns, volume_rows=9, image_rows=image_rows, rows=rows
    )
    rng = np.random.default_rng(1)
    tilts = [0, 3, 4, 7, 10]
    volume = rng.random((*shape, 2, rows[1] - rows[0])).astype(dtype)
    images = projector.forward(volume, tilts)
    assert images.dtype == dtype
    other = rng.random(images.shape).astype(dtype)
    there = np.vdot(images.astype(float), other.astype(float))
    back = np.vdot(volume.astype(float), projector.back(other, tilts).astype(float))
    assert there > 0
    assert abs(there - back) < tolerance * there


@pytest.mark.parametrize("columns", [21, 12, 40])
def test_weights_are_the_overlaps_of_footprints_and_columns(columns):
    geometry = some_geometry(ALL_ROUND, shift_y=0)
    projector = Projector(geometry, shape=(18, 21), columns=columns, volume_rows=2)
    volume = np.random.default_rng(2).random((18, 21, 3, 2))
    expected = overlap_matrix(geometry, (18, 21), columns) @ volume.reshape(18 * 21, 6)
    expected = expected.reshape(len(geometry), columns, 3, 2)
    np.testing.assert_allclose(projector.forward(volume), expected, rtol=1e-12, atol=1e-12)


def test_projections_hold_what_the_volume_holds():
    geometry = some_geometry(ALL_ROUND, shift_y=0)
    projector = Projector(geometry, shape=(16, 16), columns=40, volume_rows=3)
    volume = np.random.default_rng(3).random((16, 16, 2, 3))
    sums = projector.forward(volume).sum(axis=1)
    np.testing.assert_allclose(sums, np.broadcast_to(volume.sum(axis=(0, 1)), sums.shape), rtol=1e-12)


def error_at(size, tilts):
    """Root mean square error of projections, relative to their root mean square, at ``size`` pixels."""
    body = (0.08 * size, -0.05 * size), (0.31 * size, 0.17 * size), 25.0
    geometry = TiltGeometry.of(tilts, shift_x=0.3)
    projector = Projector(geometry, shape=(size, size), columns=size, volume_rows=1)
    found = projector.forward(soft_ellipse((size, size), *body)[:, :, None, None])[:, :, 0, 0]
    places = centred(size) - 0.3
    true = np.array([soft_ellipse_projected(places, tilt, *body) for tilt in geometry.tilt_deg])
    return np.sqrt(np.mean((found - true) ** 2) / np.mean(true**2))


@pytest.mark.parametrize(
    ("tilts", "least", "most"),
    [
        (np.arange(-70, 80, 10.0), 3.6, 4.4),
        # where diagonals are parallel to rays all voxels on a ray are off its middle by the same
        (np.array([-45.0, 45.0]), 1.9, 4.4),
    ],
)
def test_the_error_on_ellipses_falls_with_the_square_of_the_pixel(tilts, least, most):
    errors = [error_at(size, tilts) for size in (32, 64, 128, 256)]
    assert errors[-1] < 2e-3
    for coarse, fine in pairwise(errors):
        assert least < coarse / fine < most, errors


@pytest.mark.parametrize("rotation", [0.0, 1.0, -4.0, 20.0])
def test_a_ball_is_seen_where_the_geometry_says(rotation):
    geometry = TiltGeometry.of(
        [-60.0, -20.0, 0.0, 45.0, 70.0],
        shift_x=[0.4, -2.3, 1.7, 0, 3],
        shift_y=[-1.6, 0, 2.25, 0.5, -3],
        rotation_deg=rotation,
    )
    middle, radius, columns, rows = (7.0, -5.5, -4.0), 9.0, 52, 46
    shape = (48, 44, 40)  # z, x, y
    projector = Projector(geometry, shape=shape[:2], columns=columns, volume_rows=40, image_rows=rows)
    assert projector.detector_rows == (0, rows) or rotation == 0
    found = projector.forward(soft_ball(shape, middle, radius)[:, :, None, :])[:, :, 0]
    column, row = np.meshgrid(
        centred(columns), (centred(rows))[slice(*projector.detector_rows)], indexing="ij"
    )
    turn = np.deg2rad(rotation)
    for t, tilt in enumerate(np.deg2rad(geometry.tilt_deg)):
        u = middle[0] * np.cos(tilt) + middle[2] * np.sin(tilt)
        seen_at = (
            u * np.cos(turn) - middle[1] * np.sin(turn) + geometry.shift_x[t],
            u * np.sin(turn) + middle[1] * np.cos(turn) + geometry.shift_y[t],
        )
        true = soft_ball_projected(column, row, seen_at, radius)
        # straight lines between pixels miss the curve of a peak 9 px wide by 2 % of its height
        assert np.abs(found[t] - true).max() < 0.025 * true.max()
        total = found[t].sum()
        moment = (found[t] * column).sum() / total, (found[t] * row).sum() / total
        np.testing.assert_allclose(moment, seen_at, atol=2e-3)


@pytest.mark.parametrize("rotation", [0.0, 1.5])
def test_slabs_see_what_the_whole_volume_shows(rotation):
    geometry = some_geometry([-50.0, 0.0, 40.0], rotation=rotation)
    whole = Projector(geometry, shape=(12, 30), columns=30, volume_rows=24)
    volume = np.random.default_rng(4).random((12, 30, 2, 24))
    images = whole.forward(volume)
    complete = np.zeros((3, 30, 24), int)
    for rows in ((0, 10), (8, 17), (15, 24)):
        slab = Projector(geometry, shape=(12, 30), columns=30, volume_rows=24, rows=rows)
        part = slab.forward(np.ascontiguousarray(volume[..., slice(*rows)]))
        first, stop = slab.detector_rows
        assert slab.detector_rows == whole.detector_rows_of(rows)
        seen = slab.seen()
        assert seen.shape == (3, 30, stop - first)
        np.testing.assert_allclose(
            part.transpose(0, 1, 3, 2)[seen],
            images[..., first:stop].transpose(0, 1, 3, 2)[seen],
            rtol=1e-12,
        )
        complete[:, :, first:stop] += seen
    np.testing.assert_array_equal(complete[whole.seen()] > 0, True)  # slabs overlap by two rows
    assert whole.seen().mean() > 0.7


@pytest.mark.parametrize("rotation", [0.0, 2.0, -3.0])
def test_rows_of_the_detector_are_all_that_show_the_slab_and_no_more(rotation):
    geometry = some_geometry([-30.0, 0.0, 20.0], rotation=rotation)
    whole = Projector(
        geometry, shape=(6, 25), columns=25, volume_rows=20, image_rows=30, detector_rows=(0, 30)
    )
    for rows in ((0, 4), (9, 10), (13, 20)):
        volume = np.zeros((6, 25, 1, 20))
        volume[..., slice(*rows)] = 1
        shown = np.flatnonzero(whole.forward(volume).any(axis=(0, 1, 2)))
        first, stop = whole.detector_rows_of(rows)
        assert first <= shown[0]
        assert shown[-1] < stop
        assert stop - first <= shown[-1] + 1 - shown[0] + 2


@pytest.mark.parametrize("rotation", [0.0, 1.0])
@pytest.mark.parametrize("tilts", [None, [2, 5, 9]])
def test_threads_change_no_bit(rotation, tilts):
    geometry = some_geometry(np.linspace(-80, 80, 17), rotation=rotation)
    volume = np.random.default_rng(5).random((70, 40, 3, 31), dtype=np.float32)
    forward, back = [], []
    for threads in (1, 2, 3):
        projector = Projector(geometry, shape=(70, 40), columns=40, volume_rows=31, threads=threads)
        forward.append(projector.forward(volume, tilts))
        back.append(projector.back(forward[0], tilts))
    for other in (1, 2):
        np.testing.assert_array_equal(forward[0], forward[other])
        np.testing.assert_array_equal(back[0], back[other])


def test_nothing_is_placed_where_projections_lie_as_rows_do():
    geometry = TiltGeometry.of([-10.0, 10.0], shift_x=0.4)
    projector = Projector(geometry, shape=(5, 5), columns=5, volume_rows=8, rows=(2, 6))
    assert projector.detector_rows == (2, 6)
    assert projector.seen().all()
    images = np.ones((2, 5, 1, 4), np.float32)
    assert projector.to_frame(images) is images


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"shape": (0, 5)}, "shape"),
        ({"columns": 2.5}, "columns"),
        ({"rows": (3, 3)}, "rows"),
        ({"rows": (0, 9)}, "rows"),
        ({"detector_rows": (-1, 4)}, "detector_rows"),
        ({"threads": 0}, "threads"),
    ],
)
def test_sizes_that_cannot_be_are_refused(options, name):
    given = {"shape": (5, 5), "columns": 5, "volume_rows": 8, **options}
    with pytest.raises(ParameterError, match=name):
        Projector(TiltGeometry.of([0.0, 10.0]), **given)


def test_arrays_of_another_form_are_refused_with_what_was_expected():
    projector = Projector(TiltGeometry.of([0.0, 10.0]), shape=(5, 6), columns=7, volume_rows=8)
    with pytest.raises(ParameterError, match=r"volume.*\(5, 6, 3, 8\)"):
        projector.forward(np.zeros((6, 5, 3, 8), np.float32))
    with pytest.raises(ParameterError, match="volume"):
        projector.forward(np.zeros((5, 6, 8), np.float32))
    with pytest.raises(ParameterError, match="float32"):
        projector.forward(np.zeros((5, 6, 3, 8), np.int32))
    with pytest.raises(ParameterError, match="ascontiguousarray"):
        projector.forward(np.zeros((5, 6, 3, 16), np.float32)[..., ::2])
    with pytest.raises(ParameterError, match=r"images.*\(2, 7, 3, 8\)"):
        projector.back(np.zeros((1, 7, 3, 8), np.float32))
    with pytest.raises(ParameterError, match="tilts"):
        projector.forward(np.zeros((5, 6, 3, 8), np.float32), [0, 2])
    with pytest.raises(ParameterError, match="rows"):
        Projector(TiltGeometry.of([0.0, 10.0], shift_y=100), shape=(5, 6), columns=7, volume_rows=8)


@pytest.mark.parametrize(
    ("geometry", "name"),
    [
        (TiltGeometry.of([]), "tilt_deg"),
        (TiltGeometry.of([0.0, np.nan]), "tilt_deg"),
        (TiltGeometry.of([0.0, 10.0], rotation_deg=[0.0, -75.0]), "transpose"),
    ],
)
def test_series_without_angles_or_with_an_axis_across_the_rows_are_refused(geometry, name):
    with pytest.raises(ParameterError, match=name):
        Projector(geometry, shape=(5, 5), columns=5, volume_rows=5)


def test_a_projector_travels_to_workers():
    geometry = some_geometry([-20.0, 0.0, 30.0], rotation=1.0)
    projector = Projector(geometry, shape=(6, 8), columns=8, volume_rows=7, rows=(1, 6))
    volume = np.random.default_rng(6).random((6, 8, 1, 5))
    again = pickle.loads(pickle.dumps(projector))
    np.testing.assert_array_equal(again.forward(volume), projector.forward(volume))
