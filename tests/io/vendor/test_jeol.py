"""JEOL streams against the counts they were made of; the real file is in ``test_vendor_files``."""

from __future__ import annotations

import numpy as np
import pytest
from made_files import counts_of, jeol_stream, map_of, maps_of, write_pts

from edxdask import schema
from edxdask.errors import ParameterError
from edxdask.io.vendor.base import ReadOptions
from edxdask.io.vendor.jeol import READER
from edxdask.photons import to_dense

FRAMES = (3, 8, 16, 300)


def frames_of(**kwargs):
    return counts_of(FRAMES, rate=0.1, **kwargs)


def dense_of(frames):
    dense = np.zeros((*frames.shape[1:3], 4096), np.uint32)
    dense[..., : frames.shape[-1]] = frames.sum(0)
    return dense


@pytest.mark.parametrize("image", [False, True])
@pytest.mark.parametrize("rows", [1, 3, 8])
def test_every_photon_lands_in_its_pixel_and_channel(tmp_path, image, rows):
    frames = frames_of()
    path = write_pts(tmp_path / "a.pts", frames, image=image)
    ((header, dense),) = maps_of(READER, path, rows=rows).values()
    np.testing.assert_array_equal(dense, dense_of(frames))
    assert header.expected_total == frames.sum()
    assert list(header.images) == (["stem"] if image else [])


def test_the_scanned_image_is_the_sum_of_its_frames(tmp_path):
    header, _ = map_of(READER, write_pts(tmp_path / "a.pts", frames_of(), image=True))
    np.testing.assert_array_equal(header.images["stem"], 3 * np.add.outer(np.arange(8), np.arange(16)))


def test_counts_far_above_what_eight_bits_hold_survive(tmp_path):
    frames = frames_of(dtype=np.uint32)
    frames[0, 4, 5, 200] = 70_000
    header, dense = map_of(READER, write_pts(tmp_path / "a.pts", frames))
    np.testing.assert_array_equal(dense, dense_of(frames))
    assert header.dtype_max >= 70_000


def test_energies_and_attributes_are_in_our_units(tmp_path):
    header, _ = map_of(READER, write_pts(tmp_path / "a.pts", frames_of()))
    assert (header.channels, header.energy_offset, header.energy_scale) == (4096, -0.96, 0.01)
    assert header.pixel_size == pytest.approx((1250.0, 625.0))
    expected = {
        schema.BEAM_ENERGY: 200.0,
        schema.ELEVATION: [22.3],
        schema.AZIMUTH: [90.0],
        schema.FWHM: 138.0,
    }
    assert expected.items() <= header.attrs.items()
    assert (header.attrs[schema.LIVE_TIME], header.attrs[schema.REAL_TIME]) == (3.5, 4.0)


@pytest.mark.parametrize("wanted", [(0, 1), (1, 3), (0, 3)])
def test_a_range_of_frames_holds_those_frames(tmp_path, wanted):
    frames = frames_of()
    _, dense = map_of(READER, write_pts(tmp_path / "a.pts", frames, image=True), frames=wanted)
    np.testing.assert_array_equal(dense, dense_of(frames[slice(*wanted)]))


@pytest.mark.parametrize("wanted", [(0, 4), (2, 2), (-1, 2)])
def test_frames_that_are_not_there_are_refused(tmp_path, wanted):
    path = write_pts(tmp_path / "a.pts", frames_of())
    with pytest.raises(ParameterError, match="3 complete frames"):
        READER.open(path, ReadOptions(frames=wanted))


def test_fewer_sweeps_than_announced_are_refused_with_the_way_out(tmp_path):
    frames = frames_of()
    path = write_pts(tmp_path / "a.pts", frames, sweeps=5)
    with pytest.raises(ValueError, match=r"announces 5 sweeps, the file holds 3.*frames=\(0, 3\)"):
        READER.open(path, ReadOptions())
    np.testing.assert_array_equal(map_of(READER, path, frames=(0, 3))[1], dense_of(frames))


def test_a_cut_file_is_refused_and_its_whole_frames_can_still_be_had(tmp_path):
    frames = frames_of()
    path = write_pts(tmp_path / "a.pts", frames)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="cut off"):
        READER.open(path, ReadOptions())
    np.testing.assert_array_equal(map_of(READER, path, frames=(0, 2))[1], dense_of(frames[:2]))


def test_a_last_frame_that_the_operator_stopped_is_left_out(tmp_path):
    frames = frames_of()
    dropped = jeol_stream(frames[2:]).size // 2
    path = write_pts(tmp_path / "a.pts", frames, cut=dropped, sweeps=2)
    np.testing.assert_array_equal(map_of(READER, path)[1], dense_of(frames[:2]))


def test_a_damaged_frame_in_the_middle_does_not_lose_the_rest_unsaid(tmp_path):
    path = write_pts(tmp_path / "a.pts", frames_of())
    words = np.memmap(path, "<u2", "r+", offset=path.stat().st_size % 2)
    rows = np.flatnonzero((words & 0xF000) == 0x9000)
    words[rows[-20]] = 0x9000  # a row of frame 1 or 2 that jumps back to the top
    words.flush()
    with pytest.raises(ValueError, match="stops early"):
        READER.open(path, ReadOptions())


def test_photons_beside_the_map_are_refused(tmp_path):
    path = write_pts(tmp_path / "a.pts", counts_of((1, 12, 16, 300)))
    words = np.memmap(path, "<u2", "r+", offset=path.stat().st_size % 2)
    words[np.flatnonzero((words & 0xF000) == 0x9000)[-1]] = 0x9FFF  # 12 rows of 341 end at 4092
    words.flush()
    with pytest.raises(ValueError, match="outside the map"):
        READER.open(path, ReadOptions())


def test_missing_photons_show_in_the_expected_total(tmp_path):
    frames = frames_of()
    kept = np.zeros(2048, np.int64)
    kept[:204] = frames.sum((0, 1, 2))[96:]
    kept[150] += 7  # as if the stream had lost seven
    header, dense = map_of(READER, write_pts(tmp_path / "a.pts", frames, spectrum=kept))
    assert header.expected_total == dense.sum() + 7
    assert not header.total_is_exact


def test_the_user_is_told_which_channels_the_files_own_spectrum_vouches_for(tmp_path):
    frames = frames_of()
    everything = frames.sum((0, 1, 2))
    below, total = everything[:96].sum(), everything.sum()
    header, _ = map_of(READER, write_pts(tmp_path / "a.pts", frames))
    assert f"channels 96 to 2143; {below} of {total} photons are beyond" in header.unverified
    kept = np.zeros(2048, np.int64)
    kept[:204] = everything[96:]
    kept[[10, 44]] -= 1  # the real file is corrected there
    header, _ = map_of(READER, write_pts(tmp_path / "b.pts", frames, spectrum=kept))
    assert "channels 141 to 2143" in header.unverified
    assert header.expected_total == total
    kept[[120, 121]] += 1, -1  # the same total, and still not the stream's spectrum
    header, _ = map_of(READER, write_pts(tmp_path / "c.pts", frames, spectrum=kept))
    assert "differs in 2 channels, the first 216" in header.unverified


def test_a_spectrum_over_all_channels_that_agrees_leaves_nothing_to_say(tmp_path):
    frames = frames_of()
    whole = np.zeros(4096, np.int64)
    whole[:300] = frames.sum((0, 1, 2))
    header, _ = map_of(READER, write_pts(tmp_path / "a.pts", frames, spectrum=whole, dig_z=0))
    assert header.unverified == ""
    header, _ = map_of(READER, tmp_path / "a.pts", frames=(0, 2))
    assert "frames were chosen" in header.unverified


@pytest.mark.parametrize("key", [b"EDS Data", b"EDXRF\0\x03"])
def test_a_spectrum_that_cannot_be_found_is_told(tmp_path, key):
    frames = frames_of()
    path = write_pts(tmp_path / "a.pts", frames)
    content = path.read_bytes()
    assert key in content
    path.write_bytes(content.replace(key, b"x" + key[1:], 1))
    header, dense = map_of(READER, path)
    assert header.expected_total is None
    assert "could not be found" in header.unverified
    np.testing.assert_array_equal(dense, dense_of(frames))


def test_a_project_brings_its_maps_and_the_images_of_their_view(data):
    path = data / "vendor" / "jeol" / "rawdata.ASW"
    (item,) = READER.open(path, ReadOptions())
    header = item.header
    assert sum(block.total for _, block in item.bands(64)) == header.expected_total == 308261
    assert "channels 148 to 2143; 96778 of 308261" in header.unverified
    assert set(header.images) == {"img1", "c_k", "o_k", "s_k", "fe_k", "cu_k"}


def test_a_project_whose_stream_is_damaged_does_not_go_on_without_it(data, tmp_path):
    import shutil

    shutil.copytree(data / "vendor" / "jeol", tmp_path / "jeol", copy_function=shutil.copyfile)
    stream = next((tmp_path / "jeol").rglob("*.pts"))
    stream.parent.chmod(0o755)
    stream.write_bytes(b"\0\0\0\0" + stream.read_bytes()[4:])
    with pytest.raises(ValueError, match="could not be read"):
        READER.open(tmp_path / "jeol" / "rawdata.ASW", ReadOptions())


@pytest.mark.parametrize("chosen", [None, (1, 4)])
def test_single_frames_and_their_images_can_be_read(tmp_path, chosen):
    frames = counts_of((5, 8, 16, 300), rate=0.1)
    path = write_pts(tmp_path / "a.pts", frames, image=True)
    (one,) = READER.open(path, ReadOptions(frames=chosen))
    wanted = frames if chosen is None else frames[slice(*chosen)]
    assert one.header.frames == len(wanted)
    assert one.header.frame_images == ("stem",)
    for first, stop, top, bottom in ((0, 1, 0, 8), (1, 3, 2, 7), (0, len(wanted), 7, 8)):
        block = one.frame_rows(first, stop, top, bottom)
        expected = wanted[first:stop, top:bottom].sum(axis=0).reshape(-1, 300)
        np.testing.assert_array_equal(to_dense(block, np.uint32)[:, :300], expected)
    np.testing.assert_array_equal(one.frame_image("stem", 2), np.add.outer(np.arange(8), np.arange(16)))


def test_a_stream_without_an_image_has_frames_of_photons_only(tmp_path):
    (one,) = READER.open(write_pts(tmp_path / "a.pts", frames_of()), ReadOptions())
    assert (one.header.frames, one.header.frame_images) == (3, ())
