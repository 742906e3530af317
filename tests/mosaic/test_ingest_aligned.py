"""``ingest --align``: frames of Velox files and of cubes are moved on their way into a store."""

from __future__ import annotations

import json
import zipfile

import numpy as np
import pytest
import xarray as xr
from click.testing import CliRunner
from drifting import drifting_counts, drifting_images, path_of, rms
from drifting_files import write_drifting

import edxdask
from edxdask.cli import cli
from edxdask.errors import ParameterError
from edxdask.ingestion import ingest

FRAMES, SHAPE, CHANNELS = 8, (70, 66), 32


@pytest.fixture(scope="module")
def path():
    return path_of(FRAMES, reach=5.0, seed=3)


@pytest.fixture(scope="module")
def counts():
    return np.random.default_rng(0).poisson(0.05, (FRAMES, *SHAPE, CHANNELS)).astype(np.uint8)


@pytest.fixture(scope="module")
def haadf(path):
    frames = drifting_images(path, SHAPE, noise=0.05, seed=3)
    return np.clip(1000 * frames, 0, 65535).astype(np.uint16)


@pytest.fixture(scope="module")
def file(tmp_path_factory, counts, haadf):
    return write_drifting(tmp_path_factory.mktemp("drift") / "map.emd", counts, haadf)


@pytest.fixture(scope="module")
def cube(counts, haadf):
    dims = ("frame", "y", "x")
    energy = 0.1 + 0.01 * np.arange(CHANNELS)
    return xr.Dataset({"counts": ((*dims, "energy"), counts), "haadf": (dims, haadf)}, {"energy": energy})


def run(*arguments):
    return CliRunner().invoke(cli, [str(a) for a in arguments])


def test_a_velox_file_is_aligned_like_the_cube_of_its_frames(file, cube, path, tmp_path):
    stored = ingest(file, tmp_path / "map.zarr", align=True)
    moved = edxdask.align_frames(cube)
    assert rms(stored.drift.values, path) <= 0.1
    assert (stored.counts.values == moved.counts.values).all()
    assert int(stored.counts.sum()) == cube.counts.values.sum(dtype=int)
    for name in ("exposure", "haadf", "drift", "drift_std"):
        np.testing.assert_allclose(stored[name].values, moved[name].values, rtol=1e-6, err_msg=name)
    assert stored.attrs["drift_image"] == "haadf"
    assert stored.attrs["bad_frames"] == []
    assert edxdask.open(tmp_path / "map.zarr").sizes["y"] > SHAPE[0]


def test_chosen_frames_keep_their_numbers(file, cube, tmp_path):
    stored = ingest(file, tmp_path / "map.zarr", frames=(2, 7), align=True)
    moved = edxdask.align_frames(cube.isel(frame=slice(2, 7)))
    assert stored.frame.values.tolist() == [2, 3, 4, 5, 6]
    assert (stored.counts.values == moved.counts.values).all()


def test_photons_are_used_where_the_image_has_no_frames(tmp_path):
    path = path_of(8, reach=4.0, seed=1)
    counts, _ = drifting_counts(path, (48, 48), per_frame=6.0, seed=1, channels=40)
    file = write_drifting(tmp_path / "map.emd", counts, None)
    stored = ingest(file, tmp_path / "map.zarr", align=True)
    assert stored.attrs["drift_image"] == "photons"
    assert rms(stored.drift.values, path) <= 0.3
    assert int(stored.counts.sum()) == counts.sum(dtype=int)


def test_a_real_file_with_two_frames_keeps_its_photons(data, tmp_path):
    with zipfile.ZipFile(data / "vendor" / "velox_emd_version11.zip") as archive:
        archive.extract("Test SI 16x16 215 kx.emd", tmp_path)
    file = tmp_path / "Test SI 16x16 215 kx.emd"
    stored = ingest(file, tmp_path / "aligned.zarr", align=True)
    plain = ingest(file, tmp_path / "plain.zarr")
    assert int(stored.counts.sum()) == int(plain.counts.sum()) == 42097
    assert np.abs(stored.drift.values).max() < 0.1  # half a second passed between the two
    assert stored.drift.shape == (2, 2)


def test_bad_frames_are_left_out_on_request_and_the_total_is_then_not_compared(
    counts, haadf, tmp_path, caplog
):
    blanked = haadf.copy()
    blanked[4] = 1000
    file = write_drifting(tmp_path / "map.emd", counts, blanked)
    stored = ingest(file, tmp_path / "map.zarr", align=True, drop_bad_frames=True)
    assert stored.attrs["bad_frames"] == [4]
    assert int(stored.counts.sum()) == np.delete(counts, 4, axis=0).sum(dtype=int)
    assert stored.attrs["live_time_s"] == pytest.approx(0.4 * 7)
    assert "frame 4 does not show what the others show" in caplog.text
    assert any("bad frames were left out" in line for line in stored.attrs["history"])


def test_an_interrupted_ingest_resumes_to_the_same_store(file, tmp_path):
    whole = ingest(file, tmp_path / "whole.zarr", align=True)

    def stop(event):
        if event.label.startswith("ingest") and event.done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        ingest(file, tmp_path / "map.zarr", align=True, progress=stop)
    assert "--align --resume" in " ".join(caught.value.__notes__)
    labels = []
    again = ingest(
        file, tmp_path / "map.zarr", align=True, resume=True, progress=lambda e: labels.append(e.label)
    )
    assert set(labels) == {"ingest map.emd"}  # the path was kept, and is not found again
    xr.testing.assert_identical(again.drop_attrs(), whole.drop_attrs())


def test_resume_with_another_alignment_is_refused(file, tmp_path):
    def stop(event):
        if event.label.startswith("ingest") and event.done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ingest(file, tmp_path / "map.zarr", align=True, progress=stop)
    with pytest.raises(ParameterError, match="align was"):
        ingest(file, tmp_path / "map.zarr", resume=True)


def test_a_cube_and_a_store_of_frames_are_aligned(cube, tmp_path):
    edxdask.save(cube, tmp_path / "frames.zarr")
    stored = ingest(tmp_path / "frames.zarr", tmp_path / "a.zarr", align=True)
    direct = ingest(cube, tmp_path / "b.zarr", align=True)
    xr.testing.assert_identical(stored.load().drop_attrs(), direct.load().drop_attrs())


@pytest.mark.parametrize("stored", [True, False])
def test_an_interrupted_alignment_of_a_cube_resumes(cube, tmp_path, stored):
    source = cube
    if stored:
        edxdask.save(cube, tmp_path / "frames.zarr")
        source = tmp_path / "frames.zarr"

    def stop(event):
        if event.label.startswith("save") and event.done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ingest(source, tmp_path / "map.zarr", align=True, progress=stop)
    again = ingest(source, tmp_path / "map.zarr", align=True, resume=True)
    assert (again.counts.values == edxdask.align_frames(cube).counts.values).all()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"image": "haadf"}, "image='haadf': expected nothing without align=True. Add align=True."),
        ({"drop_bad_frames": True}, "drop_bad_frames=True: expected nothing without align=True"),
        ({"align": True, "image": "bf"}, "image='bf'"),
        ({"align": True, "frames": (3, 4)}, "two frames or more"),
    ],
)
def test_options_that_cannot_be_are_refused_and_leave_nothing(file, tmp_path, options, says):
    with pytest.raises(ParameterError) as caught:
        ingest(file, tmp_path / "map.zarr", **options)
    assert says in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_file_without_single_frames_is_refused(data, tmp_path):
    with pytest.raises(ParameterError, match=r"frames can be read one by one.*Bruker"):
        ingest(data / "vendor" / "test_TEM.bcf", tmp_path / "map.zarr", align=True)


# Command line


def test_the_command_aligns_says_so_and_describes_the_store(file, counts, tmp_path):
    out = tmp_path / "map.zarr"
    done = run("ingest", file, "-o", out, "--align", "--json")
    assert done.exit_code == 0, done.output
    (described,) = json.loads(done.stdout)["maps"]
    assert set(described["pixels"]) == {"y", "x"}
    assert described["photons"] == counts.sum(dtype=int)
    assert {"drift", "exposure"} <= set(described["variables"])
    picture = tmp_path / "drift.png"
    drawn = run("export", out, picture, "--figure", "drift")
    assert drawn.exit_code == 0, drawn.output
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--image", "photons"), "--image photons: expected nothing without --align. Add --align."),
        (("--align", "--image", "bf"), "--image bf: expected an image with one frame for each of the map"),
        (("--align", "--group", "9"), "--group 9: expected 1 to 4"),
        (("--align", "--max-step-px", "900"), "--max-step-px 900"),
    ],
)
def test_errors_are_in_words_of_the_command(file, tmp_path, arguments, says):
    done = run("ingest", file, "-o", tmp_path / "map.zarr", *arguments)
    assert done.exit_code == 2
    assert says in done.output


def test_the_command_aligns_a_store_of_frames_and_refuses_other_stores(cube, tmp_path):
    edxdask.save(cube, tmp_path / "frames.zarr")
    done = run("ingest", tmp_path / "frames.zarr", "-o", tmp_path / "map.zarr", "--align")
    assert done.exit_code == 0, done.output
    again = run("ingest", tmp_path / "map.zarr", "-o", tmp_path / "b.zarr", "--align")
    assert again.exit_code == 2
    assert "a cube over ('frame', 'y', 'x')" in again.output
