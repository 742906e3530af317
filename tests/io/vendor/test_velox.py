"""The Velox reader against rosettasciio's dense read of the same files, and against files that lie."""

from __future__ import annotations

import json
import shutil
import zipfile

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rsciio.emd import file_reader
from vendor_files.velox import write_velox

from edxdask.errors import ParameterError, VendorFileError
from edxdask.io.vendor import velox
from edxdask.io.vendor.base import ReadOptions
from edxdask.io.vendor.kernels.velox import merge
from edxdask.photons import to_dense

SHAPE, CHANNELS, FRAMES, DETECTORS = (9, 7), 300, 3, 3


def dense(vendor_map, rows=4):
    header = vendor_map.header
    out = np.zeros((*header.shape, header.channels), dtype=np.uint32)
    for first, block in vendor_map.bands(rows):
        out[first : first + rows] = to_dense(block, np.uint32).reshape(-1, *out.shape[1:])
    return out


def peer(path, **options):
    """What rosettasciio reads; told to look for the map only, else it takes its shape from the last image."""
    found = file_reader(path, select_type="spectrum_image", **options)
    return [s for s in found if s["axes"][-1]["name"] == "X-ray energy"]


def streams(file):
    """Streams of a file by detector."""
    groups = file["Data/SpectrumStream"].values()
    return {
        json.loads(g["Metadata"][:, 0].tobytes().rstrip(b"\0"))["BinaryResult"]["Detector"]: g for g in groups
    }


def edit_metadata(group, change):
    """Apply ``change`` to every column of a group's metadata."""
    for column in range(group["Metadata"].shape[1]):
        meta = json.loads(group["Metadata"][:, column].tobytes().rstrip(b"\0"))
        change(meta)
        text = np.frombuffer(json.dumps(meta).encode(), np.uint8)
        group["Metadata"][:, column] = 0
        group["Metadata"][: text.size, column] = text


@pytest.fixture(scope="module")
def real(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("velox")
    for archive in sorted((data / "vendor").glob("velox_*.zip")):
        zipfile.ZipFile(archive).extractall(folder)
    return {
        "frames": folder / "Test SI 16x16 215 kx.emd",
        "pruned": folder / "Test SI 16x16 ReducedData 215 kx.emd",
        "sparse": folder / "SI_empty selection.emd",
        "eels": folder / "example_velox_EELS_EDS.emd",
    }


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    path = tmp_path_factory.mktemp("velox") / "written.emd"
    write_velox(
        path,
        shape=SHAPE,
        channels=CHANNELS,
        photons_per_pixel=60,
        frames=FRAMES,
        detectors=DETECTORS,
        seed=3,
    )
    return path


@pytest.fixture
def written(pristine, tmp_path):
    """A copy that a test may damage."""
    return shutil.copy(pristine, tmp_path / "copy.emd")


def read(path, **options):
    return velox.READER.open(path, ReadOptions(**options))


# Counts


@pytest.mark.parametrize("which", ["frames", "sparse", "eels"])
def test_counts_of_real_files_equal_rosettasciios_dense_read(real, which):
    (ours,) = read(real[which])
    (theirs,) = peer(real[which])
    assert np.array_equal(dense(ours), theirs["data"])
    assert ours.header.expected_total == theirs["data"].sum(dtype=np.int64) > 0


@pytest.mark.parametrize("which", ["frames", "sparse", "eels"])
def test_axes_of_real_files_are_those_of_rosettasciio_in_our_units(real, which):
    header = read(real[which])[0].header
    y, x, energy = peer(real[which])[0]["axes"]
    nm = {"nm": 1.0, "µm": 1e3}[x["units"]]
    assert energy["units"] == "keV"
    assert (header.energy_offset, header.energy_scale) == pytest.approx((energy["offset"], energy["scale"]))
    assert header.pixel_size == pytest.approx((y["scale"] * nm, x["scale"] * nm))
    assert header.shape == (y["size"], x["size"])


def test_frames_and_detectors_of_a_written_file_sum_to_rosettasciios_counts(pristine):
    (ours,) = read(pristine)
    assert np.array_equal(dense(ours), peer(pristine)[0]["data"])
    assert ours.header.expected_total == peer(pristine)[0]["data"].sum(dtype=np.int64)


@pytest.mark.parametrize("frames", [(0, 1), (1, 3), (2, 3), (0, 3)])
def test_a_frame_range_gives_what_rosettasciio_gives_for_it(pristine, frames):
    (ours,) = read(pristine, frames=frames)
    assert np.array_equal(dense(ours), peer(pristine, first_frame=frames[0], last_frame=frames[1])[0]["data"])
    assert (ours.header.expected_total is None) == (frames != (0, FRAMES))


@pytest.mark.parametrize("frames", [(0, 4), (-1, 2), (2, 2), (3, 1)])
def test_a_frame_range_outside_the_file_is_refused_with_the_number_of_frames(pristine, frames):
    with pytest.raises(ParameterError, match="The file holds 3 frames"):
        read(pristine, frames=frames)


@pytest.mark.parametrize("which", ["frames", "eels"])
def test_separate_detectors_are_those_of_rosettasciio(real, which):
    ours = read(real[which], detectors="separate")
    theirs = {
        s["original_metadata"]["BinaryResult"]["Detector"]: s["data"]
        for s in peer(real[which], sum_EDS_detectors=False)
    }
    assert len(ours) == len(theirs) > 1
    for one in ours:
        assert np.array_equal(dense(one), theirs[one.header.name])
        assert one.header.attrs["detector"] == one.header.name
        assert one.header.expected_total == theirs[one.header.name].sum(dtype=np.int64)


def test_two_spectrum_images_in_a_file_become_two_maps(written):
    with h5py.File(written, "r+") as file:
        (key,) = file["Features/SIFeature"]
        feature = json.loads(file["Features/SIFeature"][key][0])
        segments = feature["eds"]["detectors"][0]["segments"]
        for name, chosen in ((key, segments[:1]), ("second", segments[1:])):
            feature["eds"]["detectors"][0]["segments"] = chosen
            if name in file["Features/SIFeature"]:
                del file["Features/SIFeature"][name]
            file["Features/SIFeature"].create_dataset(
                name, data=[json.dumps(feature)], dtype=h5py.string_dtype()
            )
    maps = read(written)
    apart = {m.header.name: dense(m) for m in read(written, detectors="separate")}
    assert sorted(apart) == ["eds_1_SuperXG21", "eds_2_SuperXG22", "eds_2_SuperXG23"]
    assert [m.header.name for m in maps] == ["eds_1", "eds_2"]
    assert np.array_equal(dense(maps[0]), apart["eds_1_SuperXG21"])
    assert np.array_equal(dense(maps[1]), apart["eds_2_SuperXG22"] + apart["eds_2_SuperXG23"])


@pytest.fixture(scope="module")
def truth(pristine):
    return peer(pristine)[0]["data"]


@given(
    rows=st.integers(1, 12),
    skip=st.sets(st.integers(0, 9)),
    slab=st.integers(1, 500),
    entries=st.integers(1, 100),
)
def test_any_band_slab_and_index_size_gives_the_same_photons(pristine, truth, rows, skip, slab, entries):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(velox, "SLAB", slab)
        patch.setattr(velox, "INDEX_ENTRIES", entries)
        (ours,) = read(pristine)
        bands = dict(ours.bands(rows, skip))
    assert set(bands) == set(range(0, SHAPE[0], rows)) - skip
    for first, block in bands.items():
        expected = truth[first : first + rows].reshape(-1, CHANNELS)
        assert np.array_equal(to_dense(block), expected)
        inner = np.diff(block.channel.astype(int)) > 0
        inner[block.indptr[1:-1][(block.indptr[1:-1] > 0) & (block.indptr[1:-1] < inner.size + 1)] - 1] = True
        assert inner.all()
        assert block.count.all()


@given(
    sizes=st.lists(st.integers(0, 400), min_size=1, max_size=6),
    channels=st.sampled_from([1, 2, 63, 64, 65, 4096, 65535]),
    seed=st.integers(0, 2**32 - 1),
)
def test_merging_gives_the_sorted_unique_channels_and_how_often_each_came(sizes, channels, seed):
    photons = [np.random.default_rng(seed).integers(0, channels, n).astype(np.uint16) for n in sizes]
    indptr = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    channel, merged = np.concatenate(photons), np.zeros_like(indptr)
    count = np.zeros(channel.size, dtype=np.uint16)
    largest = merge(indptr, channel, count, merged, channels)
    expected = [np.unique(p, return_counts=True) for p in photons]
    for i, (values, counts) in enumerate(expected):
        assert np.array_equal(channel[merged[i] : merged[i + 1]], values)
        assert np.array_equal(count[merged[i] : merged[i + 1]], counts)
    assert largest == max((c.max(initial=0) for _, c in expected), default=0)


def test_a_pixel_with_more_than_65535_photons_keeps_them_all(written):
    with h5py.File(written, "r+") as file:
        group = streams(file)["SuperXG21"]
        stream = np.concatenate([np.full(70_000, 5, np.uint16), group["Data"][:, 0]])
        group["Data"].resize(stream.size, axis=0)
        group["Data"][:, 0] = stream
        group["FrameLocationTable"][1:] += 70_000
        del file["Data/Spectrum"]
    (ours,) = read(written)
    assert ours.header.dtype_max > 0xFFFF
    assert dense(ours)[0, 0, 5] >= 70_000


# Files that lie


def test_a_channel_beyond_the_detectors_is_refused(written):
    with h5py.File(written, "r+") as file:
        data = streams(file)["SuperXG22"]["Data"]
        at = int(np.flatnonzero(data[:, 0] != 0xFFFF)[10])
        data[at, 0] = CHANNELS
    with pytest.raises(VendorFileError, match=rf"SuperXG22: element {at} is a channel beyond the {CHANNELS}"):
        read(written)


def test_a_photon_in_another_channel_than_the_sum_spectrum_says_is_refused(written):
    with h5py.File(written, "r+") as file:
        data = streams(file)["SuperXG22"]["Data"]
        at = int(np.flatnonzero(data[:, 0] != 0xFFFF)[10])
        data[at, 0] = (int(data[at, 0]) + 1) % CHANNELS
    with pytest.raises(VendorFileError, match="sum spectrum"):
        read(written)


def test_a_lost_pixel_mark_is_refused(written):
    with h5py.File(written, "r+") as file:
        data = streams(file)["SuperXG23"]["Data"]
        marks = np.flatnonzero(data[:, 0] == 0xFFFF)
        stream = np.delete(data[:, 0], marks[4])
        data.resize(stream.size, axis=0)
        data[:, 0] = stream
    with pytest.raises(VendorFileError, match="SuperXG23: frame 1 starts at element"):
        read(written)


def test_a_truncated_stream_is_refused(written):
    with h5py.File(written, "r+") as file:
        data = streams(file)["SuperXG21"]["Data"]
        data.resize(data.shape[0] - 40, axis=0)
    with pytest.raises(VendorFileError, match="sum spectrum"):
        read(written)


def test_a_truncated_stream_without_a_sum_spectrum_is_refused_by_its_missing_pixels(written):
    with h5py.File(written, "r+") as file:
        data = streams(file)["SuperXG21"]["Data"]
        data.resize(data.shape[0] - 80, axis=0)
        del file["Data/Spectrum"]
    with pytest.raises(VendorFileError, match=r"it ends after [0-9]+ of 189 pixels"):
        read(written)


def test_a_stopped_scan_that_agrees_with_its_sum_spectrum_is_read_as_rosettasciio_reads_it(written, caplog):
    with h5py.File(written, "r+") as file:
        for number, group in enumerate(streams(file).values()):
            data = group["Data"]
            data.resize(data.shape[0] - 200 - number, axis=0)
            left = data[:, 0]
            account = file["Data/Spectrum"][list(file["Data/Spectrum"])[number]]["Data"]
            account[:, 0] = np.bincount(left[left != 0xFFFF], minlength=CHANNELS)
    (ours,) = read(written)
    assert np.array_equal(dense(ours), peer(written)[0]["data"])
    assert "was stopped after" in caplog.text


def test_the_mark_of_the_last_pixel_may_be_missing(written, truth):
    with h5py.File(written, "r+") as file:
        for group in streams(file).values():
            assert group["Data"][-1, 0] == 0xFFFF
            group["Data"].resize(group["Data"].shape[0] - 1, axis=0)
    assert np.array_equal(dense(read(written)[0]), truth)


def test_photons_after_the_last_frame_are_refused(written):
    with h5py.File(written, "r+") as file:
        data = streams(file)["SuperXG21"]["Data"]
        size = data.shape[0]
        data.resize(size + 1, axis=0)
        data[size, 0] = 7
    with pytest.raises(VendorFileError, match=f"element {size} comes after the last of 3 frames"):
        read(written)


def test_elements_that_were_never_stored_are_refused_at_once(written):
    with h5py.File(written, "r+") as file:
        streams(file)["SuperXG21"]["Data"].resize(10**13, axis=0)
    with pytest.raises(VendorFileError, match="it announces 10000000000000 elements"):
        read(written)


def test_an_image_that_was_never_stored_is_left_out_and_said_so(written, truth, caplog):
    with h5py.File(written, "r+") as file:
        (group,) = file["Data/Image"].values()
        del group["Data"]
        group.create_dataset("Data", (10**6, 10**6, 10**6), np.uint16, chunks=(64, 64, 1))
    (ours,) = read(written)
    assert np.array_equal(dense(ours), truth)
    assert ours.header.images == {}
    assert "image HAADF is left out" in caplog.text


@pytest.mark.parametrize("table", [[0, 0, 5], [1, 100, 200], [0, 100, 10**9]])
def test_a_frame_table_that_cannot_be_is_refused(written, table):
    with h5py.File(written, "r+") as file:
        streams(file)["SuperXG21"]["FrameLocationTable"][:, 0] = table
    with pytest.raises(VendorFileError, match="FrameLocationTable"):
        read(written)


def test_a_shape_that_does_not_fit_the_pixels_is_refused(written):
    with h5py.File(written, "r+") as file:
        for group in streams(file).values():
            edit_metadata(group, lambda meta: meta["Scan"]["ScanSize"].update(height="8"))
        del file["Data/Image"]
    with pytest.raises(VendorFileError, match=r"its first frame has 63 pixels; .*\(8, 7\)"):
        read(written)


def test_a_file_that_changes_between_opening_and_decoding_is_refused(written):
    (ours,) = read(written)
    with h5py.File(written, "r+") as file:
        data = streams(file)["SuperXG21"]["Data"]
        data[int(np.flatnonzero(data[:, 0] != 0xFFFF)[0]), 0] = 0xFFFF
    with pytest.raises(VendorFileError, match="no longer holds the photons"):
        list(ours.bands(3))


def test_a_pruned_file_is_refused_in_words(real):
    with pytest.raises(VendorFileError, match="pruned: it holds no spectrum stream"):
        read(real["pruned"])


def test_detectors_with_different_energy_axes_are_not_summed(written):
    with h5py.File(written, "r+") as file:
        edit_metadata(
            streams(file)["SuperXG22"], lambda m: m["Detectors"]["Detector-2"].update(Dispersion="5")
        )
    with pytest.raises(ParameterError, match="detectors='separate'"):
        read(written)
    assert [m.header.energy_scale for m in read(written, detectors="separate")] == [0.01, 0.005, 0.01]


@pytest.mark.parametrize("content", [b"", b"no HDF5", b"\x89HDF\r\n\x1a\n" + bytes(99)])
def test_other_bytes_are_not_accepted(tmp_path, content):
    path = tmp_path / "other.emd"
    path.write_bytes(content)
    assert not velox.READER.accepts(path)


def test_folders_and_other_hdf5_files_are_not_accepted(tmp_path, pristine):
    with h5py.File(tmp_path / "other.emd", "w") as file:
        file.create_dataset("Version", data=[b"7"])
    assert not velox.READER.accepts(tmp_path / "other.emd")
    assert not velox.READER.accepts(tmp_path)
    assert velox.READER.accepts(pristine)


# Metadata


def test_conditions_of_a_real_file_come_in_our_units(real):
    attrs = read(real["frames"])[0].header.attrs
    assert attrs["beam_energy_kev"] == 300
    assert attrs["elevation_deg"] == pytest.approx([18.0] * 4)
    assert attrs["azimuth_deg"] == pytest.approx([45, 135, 225, 315])
    assert attrs["tilt_alpha_deg"] == pytest.approx(np.degrees(8.9243432770017006e-05))
    assert attrs["elements"] == ["C", "O", "Ca", "Cu"]
    # after the second frame; mean of 0.4921, 0.4997, 0.5028 and 0.5120 s
    assert attrs["live_time_s"] == pytest.approx(0.5016637421528214)


def test_live_time_follows_the_chosen_frames(real):
    whole, first, second = (
        read(real["frames"], frames=f)[0].header.attrs["live_time_s"] for f in (None, (0, 1), (1, 2))
    )
    with h5py.File(real["frames"]) as file:
        after_first = []
        for name, group in streams(file).items():
            meta = json.loads(group["Metadata"][:, 0].tobytes().rstrip(b"\0"))
            (own,) = (d for d in meta["Detectors"].values() if d["DetectorName"] == name)
            after_first.append(float(own["LiveTime"]))
    assert first == pytest.approx(np.mean(after_first))
    assert first + second == pytest.approx(whole)


def test_scanned_images_of_the_same_area_come_along_averaged_over_the_frames(real, pristine):
    images = read(real["eels"])[0].header.images
    assert {name: image.shape for name, image in images.items()} == {"df_s": (16, 20)}
    with h5py.File(pristine) as file:
        (group,) = file["Data/Image"].values()
        frames = group["Data"][...].astype(np.float64)
    assert np.allclose(read(pristine)[0].header.images["haadf"], frames.mean(axis=2), rtol=1e-6)
    part = read(pristine, frames=(1, 3))[0].header.images["haadf"]
    assert np.allclose(part, frames[:, :, 1:].mean(axis=2), rtol=1e-6)


def test_the_sum_spectrum_is_not_compared_when_velox_rendered_fewer_frames(written):
    with h5py.File(written, "r+") as file:
        (group,) = file["Data/SpectrumImage"].values()
        group["SpectrumImageSettings"][0] = json.dumps({"startFramePosition": "1", "endFramePosition": "2"})
        for account in file["Data/Spectrum"].values():
            account["Data"][...] = 0
    header = read(written)[0].header
    assert header.expected_total is None
    assert "no sum spectrum of all frames of SuperXG21" in header.unverified


def test_vendor_metadata_are_kept_verbatim(real):
    kept = read(real["frames"])[0].header.vendor_metadata
    assert kept["SpectrumStream"]["SuperXG21"]["Metadata"]["Optics"]["AccelerationVoltage"] == "300000"
    assert kept["SpectrumImageSettings"] == {"startFramePosition": "1", "endFramePosition": "2"}


@pytest.mark.parametrize("chosen", [None, (1, 3)])
def test_single_frames_sum_to_the_map_and_start_where_the_choice_starts(pristine, chosen):
    (one,) = read(pristine, frames=chosen)
    each = [read(pristine, frames=(f, f + 1))[0] for f in range(*(chosen or (0, FRAMES)))]
    assert one.header.frames == len(each)
    assert one.header.frame_images == ("haadf",)
    expected = np.stack([dense(frame) for frame in each])
    for first, stop, top, bottom in ((0, 1, 0, 9), (0, len(each), 2, 7), (1, 2, 8, 9)):
        block = one.frame_rows(first, stop, top, bottom)
        found = to_dense(block, np.uint32).reshape(bottom - top, *expected.shape[2:])
        np.testing.assert_array_equal(found, expected[first:stop, top:bottom].sum(axis=0))
    frames = [one.frame_image("haadf", f) for f in range(len(each))]
    np.testing.assert_allclose(np.mean(frames, axis=0), one.header.images["haadf"], rtol=1e-6)


def test_an_image_with_other_frames_than_the_map_is_not_one_of_frames(written):
    with h5py.File(written, "r+") as file:
        (group,) = file["Data/Image"].values()
        one = group["Data"][:, :, :1]
        del group["Data"]
        group.create_dataset("Data", data=one)
    (found,) = read(written)
    assert found.header.frame_images == ()
    assert found.header.frames == FRAMES
