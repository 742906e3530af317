"""Files of a structure that our readers do not know are read by rosettasciio, and damaged ones are not."""

from __future__ import annotations

import struct
import zipfile

import h5py
import numpy as np
import pytest
from made_files import counts_of, write_pts
from vendor_files.bruker import encode_pixel, encode_row, header_xml, stream_head, write_container
from vendor_files.velox import write_velox

from edxdask.errors import VendorFileError
from edxdask.ingestion import ingest
from edxdask.io.ingest import ingest_with
from edxdask.io.remote import Limits
from edxdask.io.vendor import find_reader
from edxdask.io.vendor.base import ReadOptions, UnknownStructureError

SHAPE, CHANNELS = (7, 5), 300
VERSION_AT = 0x124


def bcf(path, version, *, end=lambda offset, size: 0, told=None):
    """A compressed .bcf of a container ``version`` whose blocks end as ``end`` says; its counts."""
    counts = counts_of((*SHAPE, CHANNELS))
    rows = [encode_row({x: encode_pixel(pixel) for x, pixel in enumerate(row)}) for row in counts]
    total = counts.sum((0, 1), dtype=np.int64) if told is None else told(counts.sum((0, 1), dtype=np.int64))
    files = {"SpectrumData0": [stream_head(SHAPE), *rows], "HeaderData": [header_xml(SHAPE, [total])]}
    write_container(path, files, compressed=True)
    raw = bytearray(path.read_bytes())
    struct.pack_into("<f", raw, VERSION_AT, version)
    at = raw.find(b"AACS")
    while at >= 0:  # the one block of each file lies within the chunks that follow one another
        (packed,) = struct.unpack_from("<I", raw, at + 0x80)
        struct.pack_into("<I", raw, at + 0x80 + 12, end(0x80 + 16 + packed, 16 + packed))
        at = raw.find(b"AACS", at + 4)
    path.write_bytes(raw)
    return counts


def refused(path, tmp_path, **options):
    with pytest.raises(VendorFileError) as caught:
        ingest_with(path, tmp_path / "out.zarr", options=ReadOptions(), **options)
    assert not (tmp_path / "out.zarr").exists()
    return caught.value


@pytest.mark.parametrize("version", [2.6, 2.8])
@pytest.mark.parametrize("end", [lambda offset, size: offset, lambda offset, size: size])
def test_both_layouts_of_blocks_are_read_by_us_whatever_the_version(tmp_path, version, end):
    counts = bcf(tmp_path / "a.bcf", version, end=end)
    ds = ingest(tmp_path / "a.bcf", tmp_path / "out.zarr")
    np.testing.assert_array_equal(ds.counts.values, counts[..., : ds.sizes["energy"]])
    assert "Bruker reader" in ds.attrs["history"][0]
    assert "warnings" not in ds.attrs


def test_an_unknown_container_is_read_by_rosettasciio_with_a_warning(tmp_path, caplog):
    counts = bcf(tmp_path / "a.bcf", 3.0)
    with pytest.raises(UnknownStructureError, match="version 3 are not known"):
        find_reader(tmp_path / "a.bcf").open(tmp_path / "a.bcf", ReadOptions())
    ds = ingest(tmp_path / "a.bcf", tmp_path / "out.zarr")
    np.testing.assert_array_equal(ds.counts.values, counts[..., : ds.sizes["energy"]])
    said = "the Bruker reader does not know the structure of this file"
    assert (ds.energy[0], ds.attrs["beam_energy_kev"]) == (-0.48, 200.0)
    assert "rosettasciio reader" in ds.attrs["history"][0]
    (warning,) = ds.attrs["warnings"]
    for text in (caplog.text, ds.attrs["history"][1], warning):
        assert said in text
        assert "version 3 are not known" in text
        assert f"its {counts.sum()} photons agree with the file's own sum spectrum to 0 %" in text


@pytest.mark.parametrize("version", [2.6, 2.8])
def test_a_wrong_end_in_a_known_version_is_damage_and_nobody_else_reads_it(tmp_path, version):
    bcf(tmp_path / "a.bcf", version)
    error = refused(tmp_path / "a.bcf", tmp_path)
    assert error.reader == "Bruker"
    assert "is said to end at 0" in error.reason
    assert "rosettasciio" not in str(error)


@pytest.mark.parametrize("kept", [0.3, 0.9, 0.99])
def test_a_truncated_container_of_an_unknown_version_is_refused(tmp_path, kept):
    bcf(tmp_path / "a.bcf", 3.0)
    whole = (tmp_path / "a.bcf").read_bytes()
    (tmp_path / "a.bcf").write_bytes(whole[: int(kept * len(whole))])
    error = refused(tmp_path / "a.bcf", tmp_path)
    assert error.reader == "Bruker"
    assert "truncated" in error.reason


def test_two_refusals_are_one_error_with_both_reasons(tmp_path):
    bcf(tmp_path / "a.bcf", 3.0)
    raw = bytearray((tmp_path / "a.bcf").read_bytes())
    at = raw.index(b"AACS") + 0x80 + 16
    raw[at : at + 64] = bytes(64)
    (tmp_path / "a.bcf").write_bytes(raw)
    error = refused(tmp_path / "a.bcf", tmp_path)
    assert error.reader == "rosettasciio"
    assert error.reason.startswith("error: Error -3 while decompressing data")
    assert "; the Bruker reader does not know its structure: compressed block 0" in error.reason


@pytest.mark.parametrize("factor", [2, 0])
def test_counts_that_do_not_add_up_are_not_believed(tmp_path, factor):
    counts = bcf(tmp_path / "a.bcf", 3.0, told=lambda total: factor * total + (factor == 0))
    error = refused(tmp_path / "a.bcf", tmp_path)
    assert f"it found {counts.sum()} photons, the file's own sum spectrum has" in error.reason
    assert "the Bruker reader does not know its structure" in error.reason


@pytest.fixture
def emd(tmp_path):
    path = tmp_path / "a.emd"
    write_velox(path, shape=(9, 7), channels=256, photons_per_pixel=40, frames=2, detectors=2, seed=3)
    counts = ingest(path, tmp_path / "before.zarr").counts.values
    return path, counts


def without_tables(path):
    with h5py.File(path, "r+") as file:
        for group in file["Data/SpectrumStream"].values():
            del group["FrameLocationTable"]


def test_a_velox_file_without_its_frame_table_is_read_and_adds_up(tmp_path, emd):
    path, counts = emd
    without_tables(path)
    ds = ingest(path, tmp_path / "out.zarr")
    np.testing.assert_array_equal(ds.counts.values, counts)
    assert "FrameLocationTable" in ds.attrs["warnings"][0]
    assert "agree with the file's own sum spectrum to 0 %" in ds.attrs["warnings"][0]


def test_frames_of_such_a_file_are_read_and_said_to_be_unconfirmed(tmp_path, emd):
    path, counts = emd
    first, second = (ingest(path, tmp_path / f"{i}.zarr", frames=(i, i + 1)).counts.values for i in range(2))
    np.testing.assert_array_equal(first + second, counts)
    without_tables(path)
    ds = ingest(path, tmp_path / "out.zarr", frames=(1, 2))
    np.testing.assert_array_equal(ds.counts.values, second)
    assert "nothing in the file can confirm" in ds.attrs["warnings"][0]
    assert "not all counts could be verified" in ds.attrs["history"][-1]


def test_a_velox_file_that_differs_by_one_photon_is_refused(tmp_path, emd):
    path, counts = emd
    without_tables(path)
    with h5py.File(path, "r+") as file:
        next(iter(file["Data/Spectrum"].values()))["Data"][5] += 1
    error = refused(path, tmp_path)
    assert error.stage == "checking totals"
    assert f"the file says {counts.sum() + 1} photons, {counts.sum()} were decoded" in error.reason
    assert "the velox reader does not know its structure" in error.reason


@pytest.mark.parametrize("key", ["bincount", "encoding"])
def test_a_stream_cut_short_is_not_read_by_anyone(tmp_path, emd, key):
    """A channel beyond the detector's is damage, though rosettasciio would read on."""
    path, _ = emd
    with h5py.File(path, "r+") as file:
        data = next(iter(file["Data/SpectrumStream"].values()))["Data"]
        if key == "bincount":
            data[3] = 300
        else:
            data.resize(data.shape[0] // 2, axis=0)
    error = refused(path, tmp_path)
    assert error.reader == "velox"
    assert "rosettasciio" not in str(error)


@pytest.mark.parametrize(
    ("name", "reader"), [("jeol", "JEOL"), ("16x16_12bit_packed_8bit.bcf", "BRUKER"), ("velox", "VELOX")]
)
def test_what_our_readers_would_not_know_rosettasciio_reads_alike(data, tmp_path, name, reader):
    path = data / "vendor" / name
    if name == "jeol":  # the real stream takes 4 GiB of dense counts
        path = write_pts(tmp_path / "a.pts", counts_of((3, 8, 16, 300), rate=0.1), image=True)
    if name == "velox":
        with zipfile.ZipFile(data / "vendor" / "velox_emd_version11.zip") as file:
            path = tmp_path / file.extract("Test SI 16x16 215 kx.emd", tmp_path)
    ours = ingest(path, tmp_path / "ours.zarr")
    limits = Limits(cpu_seconds=100, memory_bytes=8 << 30)
    theirs = ingest_with(
        path,
        tmp_path / "theirs.zarr",
        options=ReadOptions(),
        limits=limits,
        reader=f"unknowing_readers:{reader}",
    )
    np.testing.assert_array_equal(theirs.counts.values, ours.counts.values)
    np.testing.assert_allclose(theirs.energy, ours.energy, rtol=1e-6)
    np.testing.assert_allclose(theirs.x, ours.x, rtol=1e-5)
    assert "no such layout" in theirs.attrs["warnings"][0]


def test_a_cut_jeol_stream_and_a_project_are_refused_with_the_way_out(data, tmp_path):
    path = write_pts(tmp_path / "a.pts", counts_of((3, 8, 16, 300), rate=0.1))
    path.write_bytes(path.read_bytes()[:-100])
    error = refused(path, tmp_path, reader="unknowing_readers:JEOL")
    assert "cut off" in error.reason
    assert "no such layout" in error.reason
    error = refused(data / "vendor" / "jeol" / "rawdata.ASW", tmp_path, reader="unknowing_readers:JEOL")
    assert "give its .pts files one by one" in error.reason


def test_a_format_without_another_decoder_is_refused_with_its_own_reason(tmp_path):
    path = write_pts(tmp_path / "a.pts", counts_of((3, 8, 16, 300), rate=0.1))
    error = refused(path, tmp_path, reader="unknowing_readers:OTHER")
    assert (error.reader, error.reason) == ("other", "no such layout")


def test_another_decoder_is_bounded_too_and_the_error_has_both_reasons(tmp_path):
    path = write_pts(tmp_path / "a.pts", counts_of((1, 512, 512, 100), rate=0.001))  # 4 GiB of dense counts
    limits = Limits(cpu_seconds=60, memory_bytes=1 << 30)
    error = refused(path, tmp_path, reader="unknowing_readers:JEOL", limits=limits)
    assert "it needs more than 1.0 GiB of memory" in error.reason
    assert "no such layout" in error.reason
