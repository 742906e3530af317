"""Drift of frames: paths that are known are found, photons stay whole, bad frames are named."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from drifting import MadeSeries, drifting_counts, drifting_images, path_of, rms

import edxdask
from edxdask.errors import EdxdaskError, ParameterError, SchemaError
from edxdask.mosaic import drift_pictures
from edxdask.mosaic.drift import find_drift
from edxdask.mosaic.drift_path import smooth_path
from edxdask.mosaic.drift_pictures import informative_weights
from edxdask.photons import to_dense
from edxdask.photons.frames import Moves, moved_image, moved_rows

FRAMES = 46


def empty(shape, frames=FRAMES):
    return np.zeros((frames, *shape, 2), dtype=np.uint16)


def cube_of(counts, haadf=None, **more):
    dims = ("frame", "y", "x")
    images = {} if haadf is None else {"haadf": (dims, haadf)}
    coords = {
        "energy": 0.1 + 0.1 * np.arange(counts.shape[-1]),
        "y": 10.0 + 2.0 * np.arange(counts.shape[1]),
        "x": 3.0 * np.arange(counts.shape[2]),
    }
    return xr.Dataset({"counts": ((*dims, "energy"), counts), **images, **more}, coords)


# Paths


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("noise", [0.05, 0.3])
def test_a_known_path_of_46_frames_is_found_to_a_tenth_of_a_pixel_on_images(seed, noise):
    """A trial with other code gave 0.02 to 0.05 px; the task asks for 0.1."""
    path = path_of(FRAMES, seed=seed)
    images = drifting_images(path, (64, 72), noise=noise, seed=seed)
    found = find_drift(MadeSeries(empty((64, 72)), {"haadf": images}))
    assert rms(found.path, path) <= (0.03 if noise < 0.1 else 0.1)
    assert found.bad == ()
    assert found.image == "haadf"


@pytest.mark.parametrize("seed", [1, *(pytest.param(s, marks=pytest.mark.slow) for s in (2, 3))])
def test_photons_alone_give_the_path_to_a_fifth_of_a_pixel_at_one_count_per_pixel_and_frame(seed):
    """The film is even: what moves are three phases, not the totals."""
    path = path_of(FRAMES, seed=seed)
    counts, _ = drifting_counts(path, (96, 96), per_frame=1.0, seed=seed, channels=97)
    found = find_drift(MadeSeries(counts))
    assert rms(found.path, path) <= 0.2
    assert found.image == "photons"
    assert found.group in (2, 3)


def test_errors_of_the_path_are_those_that_happen():
    offs, stated = [], []
    for seed in range(8):
        path = path_of(16, seed=seed)
        images = drifting_images(path, (48, 48), noise=0.5, seed=seed)
        found = find_drift(MadeSeries(empty((48, 48), 16), {"haadf": images}))
        off = found.path - path
        offs.append((off - off.mean(axis=0)) ** 2)
        stated.append(found.std**2)
    ratio = np.mean(offs) / np.mean(stated)
    assert 0.4 < ratio < 2.0  # of variances; 8 paths of 16 frames give it to 15 %, the mean mode is not known


def test_large_frames_are_registered_in_bins_to_the_same_precision(monkeypatch):
    monkeypatch.setattr(drift_pictures, "MOST_PIXELS", 64 * 64)
    path = path_of(20, reach=10.0, seed=2)
    images = drifting_images(path, (121, 130), noise=0.3, seed=2)
    found = find_drift(MadeSeries(empty((121, 130), 20), {"haadf": images}))
    assert rms(found.path, path) <= 0.1


def test_pictures_that_do_not_fit_memory_are_made_again_with_the_same_result(monkeypatch):
    path = path_of(12, seed=1)
    counts, _ = drifting_counts(path, (70, 48), per_frame=4.0, seed=1, channels=40)
    kept = MadeSeries(counts)
    whole = find_drift(kept)
    monkeypatch.setattr(drift_pictures, "KEPT_BYTES", 0)
    again = MadeSeries(counts)
    np.testing.assert_array_equal(find_drift(again).path, whole.path)
    assert len(again.pieces) > len(kept.pieces)
    assert max(rows for _, rows in again.pieces) <= drift_pictures.BAND  # a band at a time, never a frame


def test_progress_is_of_frames_and_then_of_pictures():
    path = path_of(8, reach=2.0, seed=1)
    counts, _ = drifting_counts(path, (32, 32), per_frame=15.0, seed=1, channels=40)
    seen = []
    find_drift(MadeSeries(counts), progress=seen.append, label="align a")
    assert seen[0].label == "align a: spectra"
    assert [e.done for e in seen if e.unit == "frame"] == list(range(1, 9))
    assert seen[-1].label == "align a"
    assert seen[-1].at_most
    assert 8 < seen[-1].done <= seen[-1].total


def test_pixels_that_are_always_bright_do_not_hold_the_frames_in_place():
    path = path_of(20, seed=3)
    images = drifting_images(path, (64, 64), noise=0.1, seed=3)
    images[:, 20, 30] = images[:, 41, 7] = 60.0
    found = find_drift(MadeSeries(empty((64, 64), 20), {"haadf": images}))
    assert rms(found.path, path) <= 0.1


def test_a_jump_larger_than_the_smooth_part_is_followed():
    path = path_of(24, seed=4)
    path[12:] += (7.0, -5.0)
    images = drifting_images(path, (64, 64), noise=0.1, seed=4)
    found = find_drift(MadeSeries(empty((64, 64), 24), {"haadf": images}))
    assert rms(found.path, path) <= 0.1
    assert found.bad == ()


def test_a_lattice_is_followed_when_the_largest_step_is_less_than_its_period():
    path = path_of(20, reach=5.0, seed=5)
    y, x = np.mgrid[:64, :64].astype(float)
    images = np.stack(
        [2 + np.cos(2 * np.pi * (y - dy) / 8) + np.cos(2 * np.pi * (x - dx) / 8) for dy, dx in path]
    )
    images += np.random.default_rng(0).normal(scale=0.1, size=images.shape)
    found = find_drift(MadeSeries(empty((64, 64), 20), {"haadf": images}), max_step_px=3)
    assert rms(found.path, path) <= 0.05


def test_bad_frames_are_named_and_do_not_disturb_the_others():
    path = path_of(30, seed=6)
    images = drifting_images(path, (64, 64), noise=0.1, seed=6)
    rng = np.random.default_rng(1)
    images[7] = rng.normal(1, 0.1, (64, 64))  # the beam was blanked
    images[15] = np.roll(images[15], (9, -8), (0, 1))  # the scan jumped
    images[22] = 1.0
    found = find_drift(MadeSeries(empty((64, 64), 30), {"haadf": images}))
    assert found.bad == (7, 15, 22)
    good = np.setdiff1d(np.arange(30), found.bad)
    assert rms(found.path[good], path[good]) <= 0.05
    assert np.abs(found.path - path).max() < 1.0  # bad frames go where the path goes


def test_a_frame_with_few_photons_is_named_on_photons():
    path = path_of(20, seed=1)
    counts, _ = drifting_counts(path, (64, 64), per_frame=4.0, seed=1, channels=97)
    counts[9] = np.random.default_rng(0).binomial(counts[9], 0.2)
    assert 9 in find_drift(MadeSeries(counts)).bad


def test_a_smooth_path_takes_groups_as_means_and_fills_gaps():
    truth = 0.3 * np.arange(12.0)[:, None] * [1.0, -1.0] + [2.0, 5.0]
    groups = [(0, 3), (3, 6), (9, 12)]
    measured = np.array([truth[a:b].mean(axis=0) for a, b in groups])
    found = smooth_path(groups, measured, np.tile(1e-4 * np.eye(2), (3, 1, 1)), 12)
    assert np.abs(found.positions - truth).max() < 0.02


def test_weights_of_photons_tell_two_spectra_apart_and_none_from_one():
    rng = np.random.default_rng(0)
    mean = np.ones((400, 8))
    mean[:100, 2] = 6
    two = informative_weights(rng.poisson(50 * mean), 16)
    one = informative_weights(rng.poisson(50 * np.ones((400, 8))), 16)
    assert one.shape == (16, 1)
    assert two.shape == (16, 2)
    assert np.abs(two[4:6, 1]).min() > 2 * np.abs(np.delete(two[:, 1], [4, 5])).max()


# Sums


@pytest.mark.parametrize("chunks", [None, (1, 16, 16, 5), (3, 7, 30, 5)])
def test_photons_move_by_whole_pixels_and_every_one_is_kept(chunks):
    path = path_of(12, reach=4.0, seed=3)
    images = drifting_images(path, (32, 40), noise=0.05, seed=3)
    counts = np.random.default_rng(0).poisson(1.0, (12, 32, 40, 5)).astype(np.uint16)
    ds = cube_of(counts, images)
    if chunks:
        ds = ds.chunk(dict(zip(("frame", "y", "x", "energy"), chunks, strict=True)))
    moved = edxdask.align_frames(ds)
    expected = np.zeros(moved.counts.shape, dtype=int)
    seen = np.zeros(moved.counts.shape[:2], dtype=int)
    whole = np.round(-moved.drift.values).astype(int)
    whole -= whole.min(axis=0)
    for frame, (y, x) in enumerate(whole):
        expected[y : y + 32, x : x + 40] += counts[frame]
        seen[y : y + 32, x : x + 40] += 1
    assert (moved.counts.values == expected).all()
    assert int(moved.counts.sum()) == counts.sum()
    assert (moved.exposure.values == seen).all()
    assert moved.counts.dims == ("y", "x", "energy")
    y0, x0 = whole[0]
    assert moved.y.values[y0] == 10.0
    assert moved.x.values[x0] == 0.0
    assert np.allclose(np.diff(moved.y.values), 2.0)
    assert "frames aligned on haadf" in moved.attrs["history"][-1]


def test_rows_of_a_series_sum_as_its_frames_do_and_read_no_more_than_they_need():
    counts = np.random.default_rng(1).poisson(2.0, (5, 9, 7, 3)).astype(np.uint16)
    series = MadeSeries(counts, {"haadf": counts.sum(axis=-1)})
    positions = np.array([[0, 0], [0, 0], [1, -2], [4, 1], [4, 1]])
    moves = Moves.of(positions, np.array([True, True, True, False, True]), (9, 7))
    dense = np.concatenate([to_dense(moved_rows(series, moves, a, min(a + 4, 13))) for a in (0, 4, 8, 12)])
    expected = np.zeros((*moves.canvas, 3), dtype=int)
    for frame in (0, 1, 2, 4):
        y, x = moves.offsets[frame]
        expected[y : y + 9, x : x + 7] += counts[frame]
    assert (dense.reshape(expected.shape) == expected).all()
    assert max(rows for _, rows in series.pieces) <= 4
    seen = moves.exposure()
    image = moved_image(series, moves, "haadf")
    assert np.array_equal(np.isnan(image), seen == 0)
    assert np.allclose(np.nansum(image * seen), counts[[0, 1, 2, 4]].sum())


def test_bad_frames_are_left_out_when_asked_and_only_then(caplog):
    path = path_of(16, seed=2)
    images = drifting_images(path, (48, 48), noise=0.05, seed=2)
    images[5] = 1.0
    counts = np.random.default_rng(0).poisson(1.0, (16, 48, 48, 3)).astype(np.uint16)
    ds = cube_of(counts, images).assign_attrs(live_time_s=32.0).assign_coords(frame=np.arange(100, 116))
    kept = edxdask.align_frames(ds)
    assert "drop_bad_frames=True" in caplog.text
    dropped = edxdask.align_frames(ds, drop_bad_frames=True)
    assert kept.attrs["bad_frames"] == dropped.attrs["bad_frames"] == [105]
    assert int(kept.counts.sum()) == counts.sum()
    assert int(dropped.counts.sum()) == counts.sum() - counts[5].sum()
    assert dropped.attrs["live_time_s"] == 30.0
    assert "frame 105 does not show" in dropped.attrs["warnings"][0]


def test_other_variables_follow_the_frames():
    path = path_of(8, reach=3.0, seed=3)
    images = drifting_images(path, (32, 32), noise=0.02, seed=3)
    counts = np.ones((8, 32, 32, 2), dtype=np.uint16)
    dims = ("frame", "y", "x")
    known = np.arange(32.0 * 32).reshape(32, 32)
    ds = cube_of(
        counts,
        images,
        valid=(dims, np.ones((8, 32, 32), bool)),
        total=(dims, np.full((8, 32, 32), 2.0)),
        known=(("y", "x"), known),
        when=(("frame",), np.arange(8.0)),
    )
    moved = edxdask.align_frames(ds)
    assert float(moved.total.sum()) == counts.sum()
    assert (moved.valid.values == (moved.exposure.values > 0)).all()
    at = moved.known.sel(y=ds.y, x=ds.x)
    assert (at.values == known).all()
    assert int(moved.known.notnull().sum()) == known.size
    assert moved.when.dims == ("frame",)
    # of one scene, moved back: sharper than the mean of what was measured
    assert float(moved.haadf.std()) > float(ds.haadf.mean("frame").std())


def test_a_collection_is_aligned_map_by_map():
    trees = {}
    for name, seed in (("a", 1), ("b", 2)):
        images = drifting_images(path_of(6, reach=2.0, seed=seed), (32, 32), noise=0.02, seed=seed)
        trees[name] = cube_of(np.ones((6, 32, 32, 2), dtype=np.uint16), images)
    tree = xr.DataTree.from_dict(trees)
    moved = edxdask.align_frames(tree)
    assert list(moved.children) == ["a", "b"]
    xr.testing.assert_identical(moved["b"].to_dataset(), edxdask.align_frames(trees["b"]))


def test_building_the_sum_computes_no_counts():
    import dask.array as da

    images = drifting_images(path_of(5, reach=2.0, seed=1), (32, 32), noise=0.02, seed=1)

    def never(block):
        raise AssertionError("counts were read")

    counts = da.zeros((5, 32, 32, 4), chunks=(1, 16, 16, 4), dtype=np.uint16)
    counts = counts.map_blocks(never, dtype=np.uint16, meta=np.empty((0, 0, 0, 0), np.uint16))
    moved = edxdask.align_frames(cube_of(counts, images))
    assert moved.counts.chunks is not None
    with pytest.raises(AssertionError, match="counts were read"):
        moved.counts.compute()


def test_the_path_is_drawn_where_there_is_one():
    images = drifting_images(path_of(6, reach=2.0, seed=1), (32, 32), noise=0.02, seed=1)
    ds = cube_of(np.ones((6, 32, 32, 2), np.uint16), images)
    figure = edxdask.align_frames(ds).edx.plot(figure="drift", title="six frames")
    over_frames, plane = figure.axes
    assert [line.get_label() for line in over_frames.lines[::2]] == ["y", "x"]
    assert plane.yaxis_inverted()
    with pytest.raises(ParameterError, match="figure='drift': expected 'maps' or 'spectra', which a cube"):
        ds.isel(frame=0).edx.plot(figure="drift")


# Errors


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"image": "bf"}, "image='bf': expected an image with one frame for each of the map ('haadf')"),
        ({"group": 4}, "group=4: expected 1 to 3, half of the 6 frames"),
        ({"group": 0}, "group=0"),
        ({"max_step_px": 0.2}, "max_step_px=0.2: expected 1 to 24 pixels"),
    ],
)
def test_what_cannot_be_is_refused(options, says):
    images = drifting_images(path_of(6, reach=2.0), (24, 24), noise=0.02)
    with pytest.raises(ParameterError) as caught:
        edxdask.align_frames(cube_of(np.ones((6, 24, 24, 2), np.uint16), images), **options)
    assert says in str(caught.value)


def test_frames_that_have_nothing_in_common_are_refused_with_what_to_try():
    noise = np.random.default_rng(0).normal(1, 0.1, (8, 32, 32))
    ds = cube_of(np.ones((8, 32, 32, 2), np.uint16), noise)
    with pytest.raises(ParameterError, match=r"nothing in common.*photons.*group=2"):
        edxdask.align_frames(ds)


def test_an_even_film_of_one_spectrum_is_refused():
    counts = np.random.default_rng(0).poisson(1.0, (8, 32, 32, 6)).astype(np.uint16)
    with pytest.raises(ParameterError, match="on photons they have nothing in common"):
        edxdask.align_frames(cube_of(counts))


@pytest.mark.parametrize("frames", [1, None])
def test_a_cube_without_frames_is_refused(frames):
    counts = np.ones((1, 8, 8, 2), np.uint16)
    ds = cube_of(counts) if frames else cube_of(counts).isel(frame=0)
    with pytest.raises(EdxdaskError, match=r"two frames or more|a cube over \('frame', 'y', 'x'\)"):
        edxdask.align_frames(ds)


def test_negative_counts_are_refused_when_they_are_read():
    images = drifting_images(path_of(6, reach=2.0, seed=1), (32, 32), noise=0.02, seed=1)
    counts = np.ones((6, 32, 32, 2), np.int32)
    counts[3, 4, 5, 1] = -1
    with pytest.raises(SchemaError, match="counts hold -1"):
        edxdask.align_frames(cube_of(counts, images)).counts.compute()


def test_a_cube_without_photons_is_refused():
    with pytest.raises(ParameterError, match="expected frames that hold photons"):
        edxdask.align_frames(cube_of(np.zeros((4, 8, 8, 2), np.uint16)))
