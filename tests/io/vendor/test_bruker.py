"""The .bcf reader against rosettasciio, against files written pixel by pixel, and against damage."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vendor_files import bruker as layout

from edxdask import schema
from edxdask.errors import ParameterError, VendorFileError
from edxdask.io.vendor import bruker
from edxdask.io.vendor.base import ReadOptions, VendorMap
from edxdask.io.vendor.bruker import READER
from edxdask.photons import to_dense

REAL = (
    "16x16_12bit_packed_8bit.bcf",
    "30x30_instructively_packed_16bit_compressed.bcf",
    "P45_the_default_job.bcf",
    "over16bit.bcf",
    "test_TEM.bcf",
    "bcf_v2_50x50px.bcf",
)
SHAPE, CHANNELS = (7, 5), 300


def read(path: Path) -> list[VendorMap]:
    return READER.open(path, ReadOptions())


def dense(source: VendorMap, rows: int = 3) -> np.ndarray:
    blocks = [to_dense(block, np.uint32) for _, block in source.bands(rows)]
    return np.concatenate(blocks).reshape(*source.header.shape, source.header.channels)


def oracle(path: Path) -> list[dict]:
    from rsciio.bruker import file_reader

    return file_reader(str(path), lazy=False, select_type="spectrum_image", index="all")


def sample(largest: int = 3, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, largest + 1, (*SHAPE, CHANNELS)) * (rng.random((*SHAPE, CHANNELS)) < 0.1)
    counts[2] = 0
    return counts


def rows_of(counts: np.ndarray, packing: str | None = None) -> list[bytes]:
    return [
        layout.encode_row({x: layout.encode_pixel(pixel, packing) for x, pixel in enumerate(row)})
        for row in counts
    ]


def write(path: Path, rows: list[bytes], total: np.ndarray, *, compressed: bool = False, **more) -> Path:
    stream = [layout.stream_head(SHAPE), *rows]
    header = [layout.header_xml(SHAPE, [total], **more)]
    files = {"SpectrumData0": stream, "HeaderData": header}
    layout.write_container(path, files, compressed=compressed)
    return path


@pytest.mark.parametrize("rows", [1, 7, 1000])
@pytest.mark.parametrize("name", REAL)
def test_real_files_give_what_rosettasciio_gives(data, name, rows):
    path = data / "vendor" / name
    maps, expected = read(path), oracle(path)
    assert len(maps) == len(expected)
    for source, signal in zip(maps, expected, strict=True):
        assert np.array_equal(dense(source, rows), signal["data"])
        energy = signal["axes"][2]
        assert (source.header.energy_offset, source.header.energy_scale) == (
            energy["offset"],
            energy["scale"],
        )
        assert source.header.dtype_max == signal["data"].max()


def test_the_16_bit_file_gives_the_counts_published_for_two_of_its_channels(data):
    (source,) = read(data / "vendor" / REAL[1])
    assert np.array_equal(dense(source)[:, :, 222:224], np.load(data / "vendor" / "30x30_16bit.npy"))


@pytest.mark.parametrize("name", REAL)
def test_the_headers_own_sum_of_real_files_agrees_to_two_parts_in_ten_thousand(data, name):
    (source,) = read(data / "vendor" / name)
    total = sum(block.total for _, block in source.bands(50))
    assert total == pytest.approx(source.header.expected_total, rel=2e-4)  # largest seen: 4 of 20198
    assert not source.header.total_is_exact


def test_what_the_file_says_arrives_in_our_units(data):
    path = data / "vendor" / "test_TEM.bcf"
    ((source,), (signal,)) = read(path), oracle(path)
    theirs = signal["metadata"]["Acquisition_instrument"]["TEM"]
    eds, attrs = theirs["Detector"]["EDS"], source.header.attrs
    assert attrs[schema.BEAM_ENERGY] == theirs["beam_energy"] == 200
    assert attrs[schema.ELEVATION] == [eds["elevation_angle"]] == [18]
    assert attrs[schema.AZIMUTH] == [eds["azimuth_angle"]] == [45]
    assert attrs[schema.REAL_TIME] == pytest.approx(eds["real_time"], rel=1e-12)
    assert attrs[schema.ELEMENTS] == signal["metadata"]["Sample"]["elements"]
    assert attrs[schema.DETECTOR] == "SuperX"
    assert schema.LIVE_TIME not in attrs
    assert 110 < attrs[schema.FWHM] < 150  # a silicon drift detector's
    assert source.header.pixel_size == pytest.approx([1000 * axis["scale"] for axis in signal["axes"][:2]])
    assert "<CalibAbs>" in source.header.vendor_metadata["header_xml"]


def test_the_scanned_image_rides_along(data):
    from rsciio.bruker import file_reader

    path = data / "vendor" / "test_TEM.bcf"
    (image,) = file_reader(str(path), select_type="image")
    images = read(path)[0].header.images
    assert list(images) == ["haadf"]
    assert np.array_equal(images["haadf"], image["data"])


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("packing", ["12bit", "16bit", "runs"])
def test_every_packing_is_decoded_as_written_and_as_rosettasciio_does(tmp_path, packing, compressed):
    counts = sample()
    path = write(tmp_path / "m.bcf", rows_of(counts, packing), counts.sum((0, 1)), compressed=compressed)
    (source,) = read(path)
    assert np.array_equal(dense(source), counts)
    assert np.array_equal(oracle(path)[0]["data"], counts)
    assert source.header.expected_total == counts.sum()


@pytest.mark.parametrize("largest", [3, 200, 60_000, 70_000, 4_000_000_000])
def test_runs_of_every_width_keep_every_count(tmp_path, largest):
    counts = sample(largest)
    (source,) = read(write(tmp_path / "m.bcf", rows_of(counts, "runs"), counts.sum((0, 1))))
    assert np.array_equal(dense(source), counts)
    assert source.header.dtype_max == counts.max()


def test_additional_pulses_come_on_top_of_runs(tmp_path):
    counts, pulses = sample(), [1, 1, 7, CHANNELS - 1]
    rows = [
        layout.encode_row({x: layout.encode_pixel(p, "runs", pulses=pulses) for x, p in enumerate(row)})
        for row in counts
    ]
    path = write(tmp_path / "m.bcf", rows, counts.sum((0, 1)))
    counts += np.bincount(pulses, minlength=CHANNELS)
    assert np.array_equal(dense(read(path)[0]), counts)
    assert np.array_equal(oracle(path)[0]["data"], counts)


def test_pixels_may_be_absent_out_of_order_or_come_twice(tmp_path):
    counts = sample()
    pixels = [{x: layout.encode_pixel(p) for x, p in enumerate(row)} for row in counts]
    rows = [layout.encode_row(row) for row in pixels]
    rows[0] = layout.encode_row({x: pixels[0][x] for x in (4, 0, 2, 1)})
    body = b"".join(x.to_bytes(4, "little") + pixels[4][x] for x in (1, 1, 3))
    rows[4] = (3).to_bytes(4, "little") + body
    path = write(tmp_path / "m.bcf", rows, counts.sum((0, 1)))
    counts[0, 3] = counts[4, [0, 2, 4]] = 0
    counts[4, 1] *= 2
    (source,) = read(path)
    assert np.array_equal(dense(source), counts)
    assert np.array_equal(oracle(path)[0]["data"], counts)
    assert source.header.dtype_max >= counts.max()


def test_photons_beyond_the_headers_spectrum_are_kept(tmp_path):
    counts = sample()
    (source,) = read(write(tmp_path / "m.bcf", rows_of(counts), counts.sum((0, 1))[: CHANNELS // 2]))
    assert source.header.channels == np.flatnonzero(counts.sum((0, 1)))[-1] + 1
    assert np.array_equal(dense(source), counts[:, :, : source.header.channels])


def test_several_maps_in_a_file_are_handed_on_one_by_one(tmp_path):
    maps = [sample(seed=seed) for seed in range(11)]
    files = {f"SpectrumData{i}": [layout.stream_head(SHAPE), *rows_of(m)] for i, m in enumerate(maps)}
    files["HeaderData"] = [layout.header_xml(SHAPE, [m.sum((0, 1)) for m in maps], step_um=None)]
    layout.write_container(tmp_path / "m.bcf", files, compressed=True)
    sources = read(tmp_path / "m.bcf")
    assert [source.header.name for source in sources] == [f"map_{i}" for i in range(11)]
    assert all(source.header.pixel_size is None for source in sources)
    for source, counts in zip(sources, maps, strict=True):
        assert np.array_equal(dense(source), counts)


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> dict[bool, tuple[Path, np.ndarray]]:
    counts, files = sample(40), {}
    for compressed in (False, True):
        path = tmp_path_factory.mktemp("bcf") / "m.bcf"
        files[compressed] = write(path, rows_of(counts), counts.sum((0, 1)), compressed=compressed), counts
    return files


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(1, 9),
    skip=st.sets(st.integers(0, 8)),
    window=st.integers(3000, 20000),
    compressed=st.booleans(),
)
def test_any_bands_and_any_window_give_the_same_photons(written, rows, skip, window, compressed):
    path, counts = written[compressed]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bruker, "_WINDOW", window)
        patch.setattr(bruker, "_ENTRIES", 1 << 16)
        patch.setattr(bruker, "_PIXELS", 3)
        (source,) = read(path)
        seen = dict(source.bands(rows, skip))
    assert set(seen) == set(range(0, SHAPE[0], rows)) - skip
    for first, block in seen.items():
        band = counts[first : first + rows]
        assert np.array_equal(to_dense(block, np.uint32), band.reshape(-1, CHANNELS))
        assert block.count.dtype == np.min_scalar_type(int(block.count.max(initial=0)))


def test_a_skipped_band_is_not_read(tmp_path):
    counts = sample()
    rows = rows_of(counts)
    path = write(tmp_path / "m.bcf", rows, counts.sum((0, 1)))
    (source,) = read(path)
    raw = bytearray(path.read_bytes())
    start = raw.index(rows[3][:200])
    raw[start : start + 200] = bytes([255]) * 200
    path.write_bytes(raw)
    assert [first for first, _ in source.bands(1, skip={3})] == [0, 1, 2, 4, 5, 6]
    with pytest.raises(VendorFileError, match="decoding row 3"):
        list(source.bands(1))


def test_a_large_file_is_written_row_by_row_and_read_alike(tmp_path):
    for compressed in (False, True):
        path = tmp_path / f"{compressed}.bcf"
        total = layout.write_bcf(
            path, shape=(9, 40), channels=2048, photons_per_pixel=150, seed=4, compressed=compressed
        )
        (source,) = read(path)
        counts = dense(source)
        assert np.array_equal(counts, oracle(path)[0]["data"])
        assert np.array_equal(counts.sum((0, 1)), total)
        assert int(counts.sum()) == pytest.approx(9 * 40 * 150, rel=0.03)  # 7 sigma


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda rows: rows[:-1], "the spectrum data end there"),
        (lambda rows: [*rows, b"more"], "left over"),
        (lambda rows: [(6).to_bytes(4, "little") + rows[0][4:], *rows[1:]], "more pixels than the map"),
        (lambda rows: [rows[0][:4] + b"\xff" * 4 + rows[0][8:], *rows[1:]], "outside the row"),
        (lambda rows: [rows[0][:8] + b"\x01\x00" + rows[0][10:], *rows[1:]], "beyond the last channel"),
        (lambda rows: [rows[0][:20] + b"\xff\x00" + rows[0][22:], *rows[1:]], "does not fit its pulses"),
        (lambda rows: [rows[0][:10] + b"\x01\x00" + rows[0][12:], *rows[1:]], "does not fill its bytes"),
        (lambda rows: [rows[0][:22] + b"\xff" * 4 + rows[0][26:], *rows[1:]], "does not fit its pulses"),
    ],
)
def test_a_damaged_stream_is_refused_with_its_row_and_reason(tmp_path, change, reason):
    counts = sample()
    packing = "runs" if "fill" in reason else "12bit"
    path = write(tmp_path / "m.bcf", change(rows_of(counts, packing)), counts.sum((0, 1)))
    with pytest.raises(VendorFileError, match=reason) as caught:
        read(path)
    assert caught.value.stage.startswith("decoding row")
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"HeaderData": [b"<a/>"]}, "no spectrum map"),
        ({"SpectrumData0": [b"x"]}, "no 'EDSDatabase/HeaderData'"),
        ({"SpectrumData0": [b"x"], "HeaderData": [b"<a"]}, "not XML"),
        ({"SpectrumData0": [b"x"], "HeaderData": [b'<?xml version="1.0" encoding="W"?><a/>']}, "not XML"),
        ({"SpectrumData0": [b"x"], "HeaderData": [b"<a/>"]}, "no spectrum database"),
        ({"SpectrumData0": [b"x"], "HeaderData": [layout.header_xml(SHAPE, [])]}, "does not describe map 0"),
        (
            {"SpectrumData0": [b"x"], "HeaderData": [layout.header_xml(SHAPE, [np.ones(9, int)])]},
            "the header says",
        ),
    ],
)
def test_a_container_without_a_readable_map_is_refused(tmp_path, files, reason):
    layout.write_container(tmp_path / "m.bcf", files, compressed=False)
    with pytest.raises(VendorFileError, match=reason):
        read(tmp_path / "m.bcf")


@pytest.mark.parametrize("value", [0, 0x7FFFFFFF, 0xFFFFFFFF])
@pytest.mark.parametrize(
    "field", ["chunk size", "directory", "entries", "table", "size", "parent", "pointer"]
)
def test_a_damaged_container_is_refused(tmp_path, field, value):
    counts = sample()
    path = write(tmp_path / "m.bcf", rows_of(counts), counts.sum((0, 1)))
    raw = bytearray(path.read_bytes())
    entry = raw.index(b"EDSDatabase") - 224 + 512  # the first file's; it is in folder 0
    table = 0x138 + int.from_bytes(raw[entry : entry + 4], "little") * layout.CHUNK
    at = {"chunk size": 0x128, "directory": 0x140, "entries": 0x144, "pointer": table}
    at |= {"table": entry, "size": entry + 4, "parent": entry + 40}
    if field == "parent" and value == 0:
        at["parent"], value = entry - 512 + 40, 0  # the folder within itself
    raw[at[field] : at[field] + 4] = value.to_bytes(4, "little")
    path.write_bytes(raw)
    with pytest.raises(VendorFileError):
        read(path)


def test_what_is_no_container_is_not_accepted(tmp_path, data):
    (tmp_path / "empty.bcf").touch()
    for path in (tmp_path / "empty.bcf", tmp_path, tmp_path / "absent.bcf", data / "vendor" / "Nope.bcf"):
        assert not READER.accepts(path)
    assert READER.accepts(data / "vendor" / REAL[0])
    with pytest.raises(VendorFileError, match="SFS container"):
        read(data / "vendor" / "Nope.bcf")


def test_frames_cannot_be_chosen_where_there_are_none(data):
    with pytest.raises(ParameterError, match="frames"):
        READER.open(data / "vendor" / REAL[0], ReadOptions(frames=(0, 1)))


FUZZ = """
import json, sys
from collections import Counter
from pathlib import Path
import numpy as np
from edxdask.errors import VendorFileError
from edxdask.io.vendor.base import ReadOptions
from edxdask.io.vendor.bruker import READER

good, bad, outcome = Path(sys.argv[1]).read_bytes(), Path(sys.argv[2]), Counter()

def photons():
    (source,) = READER.open(bad, ReadOptions())
    blocks = [block for _, block in source.bands(5)]
    where = np.concatenate([np.concatenate((b.indptr, b.channel, b.count)) for b in blocks])
    return where, sum(b.total for b in blocks), source.header.expected_total

bad.write_bytes(good)
where, total, expected = photons()
for seed in range(200):
    rng, damaged = np.random.default_rng(seed), bytearray(good)
    at = int(rng.integers(len(good)))
    if seed % 3 == 0:
        damaged[at] ^= 1 << int(rng.integers(8))
    elif seed % 3 == 1:
        del damaged[at:]
    else:
        damaged[at : at + 64] = rng.bytes(len(damaged[at : at + 64]))
    bad.write_bytes(damaged)
    try:
        now = photons()
    except VendorFileError:
        outcome["refused"] += 1
    else:
        if np.array_equal(now[0], where):
            outcome["same"] += 1
        elif now[1] == total:
            outcome["moved"] += 1  # bits of a channel number: nothing in the format can tell
        else:
            outcome["told" if now[1] != now[2] else "silent"] += 1  # by the header's sum spectrum
print(json.dumps(outcome))
"""


@pytest.mark.parametrize("name", ["16x16_12bit_packed_8bit.bcf", "over16bit.bcf", "test_TEM.bcf"])
def test_200_damaged_copies_end_in_an_error_or_in_all_their_photons(data, tmp_path, name):
    command = [sys.executable, "-c", FUZZ, str(data / "vendor" / name), str(tmp_path / "bad.bcf")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr  # a signal would be negative
    outcome = json.loads(done.stdout)
    assert sum(outcome.values()) == 200
    assert outcome["refused"] > 60
    assert not outcome.get("silent")
    if name == "over16bit.bcf":  # compressed: every block has a checksum
        assert set(outcome) == {"refused", "same"}
