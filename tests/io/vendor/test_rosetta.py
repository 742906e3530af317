"""Each format that rosettasciio reads: counts, axes and attributes against what was written into the file."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from made_files import counts_of, map_of, maps_of, write_dm3, write_hspy, write_rpl, write_ser, write_spd

from edxdask import schema
from edxdask.errors import ParameterError
from edxdask.io.vendor import find_reader
from edxdask.io.vendor.base import ReadOptions

WRITERS = {"hspy": write_hspy, "rpl": write_rpl, "spd": write_spd, "ser": write_ser, "dm3": write_dm3}
SHAPE = (11, 5, 64)


def read(path, **options):
    return map_of(find_reader(path), path, **options)


@pytest.fixture(params=sorted(WRITERS))
def written(request, tmp_path):
    counts = counts_of(SHAPE)
    return WRITERS[request.param](tmp_path / f"map.{request.param}", counts), counts


def test_every_count_comes_back_in_its_pixel_and_channel(written):
    path, counts = written
    header, dense = read(path)
    np.testing.assert_array_equal(dense, counts)
    assert (header.shape, header.channels) == (SHAPE[:2], SHAPE[2])


@pytest.mark.parametrize("rows", [1, 3, 64])
def test_bands_of_any_height_hold_the_same_counts(written, rows):
    path, counts = written
    ((_, dense),) = maps_of(find_reader(path), path, rows=rows).values()
    np.testing.assert_array_equal(dense, counts)


def test_skipped_bands_are_not_handed_out(written):
    path, counts = written
    (item,) = find_reader(path).open(path, ReadOptions())
    blocks = dict(item.bands(4, skip={0, 8}))
    assert list(blocks) == [4]
    assert blocks[4].total == counts[4:8].sum()


def test_asking_for_frames_of_a_format_without_frames_is_refused(written):
    path, _ = written
    with pytest.raises(ParameterError, match="sum of all frames"):
        find_reader(path).open(path, ReadOptions(frames=(0, 1)))


def test_a_slab_is_never_larger_than_the_budget(written, monkeypatch):
    path, counts = written
    monkeypatch.setattr("edxdask.io.vendor.convert._SLAB_BYTES", 1)
    (item,) = find_reader(path).open(path, ReadOptions())
    slabs = []
    inner = item.slab
    item.slab = lambda start, stop: slabs.append(stop - start) or inner(start, stop)
    assert sum(block.total for _, block in item.bands(11)) == counts.sum()
    assert max(slabs) <= item.chunk_rows


AXES = {  # offset and scale in keV, pixel in nm (y, x); as made_files writes them
    "hspy": (-0.1, 0.01, (2.0, 3.0)),
    "rpl": (0.0, 0.01, None),
    "spd": (0.0, 0.01, (500.0, 250.0)),
    "ser": (-0.1, 0.01, (2.0, 2.0)),
    "dm3": (-0.1, 0.01, (0.5, 0.5)),
}


@pytest.mark.parametrize("suffix", sorted(WRITERS))
def test_axes_are_in_kev_and_nm(suffix, tmp_path):
    header, _ = read(WRITERS[suffix](tmp_path / f"map.{suffix}", counts_of(SHAPE)))
    offset, scale, pixel = AXES[suffix]
    np.testing.assert_allclose((header.energy_offset, header.energy_scale), (offset, scale), rtol=1e-6)
    if pixel is None:
        assert header.pixel_size is None
    else:
        np.testing.assert_allclose(header.pixel_size, pixel)


@pytest.mark.parametrize("beam", [200.0, "200", 200])
def test_hspy_attributes_have_our_names_and_units_even_where_numbers_are_text(tmp_path, beam):
    header, _ = read(write_hspy(tmp_path / "map.hspy", counts_of(SHAPE), beam=beam))
    assert header.attrs == {
        schema.BEAM_ENERGY: 200.0,
        schema.TILT_ALPHA: 5.0,
        schema.ELEVATION: [22.0],
        schema.AZIMUTH: [45.0],
        schema.FWHM: 133.0,
        schema.LIVE_TIME: 7.5,
        schema.ELEMENTS: ["Fe", "O"],
        schema.TITLE: "map",
    }
    assert header.vendor_metadata["original_metadata"] == {"maker": "made up"}
    schema.as_json(header.vendor_metadata)


def test_spd_attributes_come_from_the_spc_beside_it(tmp_path):
    header, _ = read(write_spd(tmp_path / "map.spd", counts_of(SHAPE)))
    expected = {
        schema.BEAM_ENERGY: 20.0,
        schema.ELEVATION: [34.0],
        schema.FWHM: 130.0,
        schema.LIVE_TIME: 12.5,
    }
    assert expected.items() <= header.attrs.items()
    assert header.attrs[schema.ELEMENTS] == ["Fe", "O"]


def test_dm_voltage_is_mapped_from_the_vendors_tags(tmp_path):
    header, _ = read(write_dm3(tmp_path / "map.dm3", counts_of(SHAPE)))
    assert header.attrs[schema.BEAM_ENERGY] == 200.0


def test_hspy_energies_in_ev_become_kev(tmp_path):
    header, _ = read(write_hspy(tmp_path / "map.hspy", counts_of(SHAPE), units="eV"))
    np.testing.assert_allclose((header.energy_offset, header.energy_scale), (-1e-4, 1e-5))


@pytest.mark.parametrize("chunks", [None, (4, 3, 10)], ids=["contiguous", "chunked and compressed"])
def test_hspy_may_be_stored_in_any_way(tmp_path, chunks):
    counts = counts_of(SHAPE)
    packed = {"compression": "gzip"} if chunks else {}
    _, dense = read(write_hspy(tmp_path / "map.hspy", counts, chunks=chunks, **packed))
    np.testing.assert_array_equal(dense, counts)


def test_hspy_signals_of_other_kinds_are_images_or_left_out(tmp_path):
    counts, image = counts_of(SHAPE), np.arange(12.0).reshape(3, 4)
    others = [
        ("HAADF", image, "", ("nm", "nm")),
        ("Total", image, "", ("nm", "nm")),
        ("loss", counts, "EELS", ("nm", "nm", "eV")),
        ("sum", counts.sum((0, 1)), "EDS_TEM", ("keV",)),
        ("line", counts[0], "EDS_TEM", ("nm", "keV")),
    ]
    maps = maps_of(find_reader(p := write_hspy(tmp_path / "a.hspy", counts, signals=others)), p)
    ((header, dense),) = maps.values()
    np.testing.assert_array_equal(dense, counts)
    assert list(header.images) == ["haadf", "total_image"]  # "total" is a word of the schema
    np.testing.assert_array_equal(header.images["haadf"], image)


def test_several_maps_of_one_file_come_with_names_of_their_own(tmp_path):
    first, second = counts_of(SHAPE), counts_of((3, 4, 32), seed=1)
    other = [("other", second, "EDS_TEM", ("nm", "nm", "keV"))]
    maps = maps_of(find_reader(p := write_hspy(tmp_path / "a.hspy", first, signals=other)), p)
    np.testing.assert_array_equal(maps["map"][1], first)
    np.testing.assert_array_equal(maps["other"][1], second)


def test_whole_numbers_stored_as_floats_are_counts(tmp_path):
    counts = counts_of(SHAPE, dtype=np.float32)
    header, dense = read(write_hspy(tmp_path / "map.hspy", counts))
    np.testing.assert_array_equal(dense, counts)
    assert header.dtype_max > 0xFFFF  # nothing bounds them, so the store must be wide


@pytest.mark.parametrize("value", [0.5, -1.0, np.nan, np.inf, 2.0**33])
def test_values_that_are_no_counts_are_refused(tmp_path, value):
    counts = counts_of(SHAPE, dtype=np.float64)
    counts[7, 3, 20] = value
    path = write_hspy(tmp_path / "map.hspy", counts)
    with pytest.raises(ValueError, match=r"not counts|not whole numbers"):
        read(path)


def test_counts_beyond_16_bit_survive(tmp_path):
    counts = counts_of(SHAPE, dtype=np.uint32)
    counts[2, 3, 4] = 70_000
    header, dense = read(write_ser(tmp_path / "map.ser", counts))
    assert header.dtype_max == dense[2, 3, 4] == 70_000


@pytest.mark.parametrize("record_by", ["vector", "image"])
@pytest.mark.parametrize(
    "keys", [("ev-per-chan\t5",), ("depth-scale\t5", "depth-units\teV", "depth-name\tEnergy")]
)
def test_ripple_may_store_either_axis_first_and_calibrate_in_two_ways(tmp_path, record_by, keys):
    counts = counts_of(SHAPE)
    header, dense = read(write_rpl(tmp_path / "a.rpl", counts, record_by=record_by, keys=keys))
    np.testing.assert_array_equal(dense, counts)
    assert header.energy_scale == pytest.approx(0.005)


@pytest.mark.parametrize("keep", [0.5, 1.5])
def test_a_raw_file_of_another_length_than_described_is_refused(tmp_path, keep):
    path = write_rpl(tmp_path / "a.rpl", counts_of(SHAPE))
    raw = path.with_suffix(".raw").read_bytes()
    path.with_suffix(".raw").write_bytes((raw + raw)[: int(len(raw) * keep)])
    with pytest.raises(ValueError, match=r"bytes|mmap|larger"):
        read(path)


def test_a_spd_header_that_describes_fewer_rows_than_there_are_is_refused(tmp_path):
    path = write_spd(tmp_path / "a.spd", counts_of(SHAPE))
    data = bytearray(path.read_bytes())
    data[28] -= 1  # number of lines
    path.write_bytes(data)
    with pytest.raises(ValueError, match="header describes 10 × 5 spectra"):
        read(path)


def test_tia_records_that_state_different_lengths_are_refused(tmp_path):
    path = write_ser(tmp_path / "a.ser", counts_of(SHAPE))
    data = bytearray(path.read_bytes())
    at = data.index(struct.pack("<ddIHI", -100.0, 10.0, 0, 2, SHAPE[2]), 800)  # a record after the first
    data[at + 22] ^= 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match="records differ in ArrayLength"):
        read(path)


@pytest.mark.parametrize(
    ("path_of", "fix"),
    [
        (lambda t: write_rpl(t / "a.rpl", counts_of(SHAPE), keys=("depth-name\tEnergy",)), "ev-per-chan"),
        (lambda t: write_spd(t / "a.spd", counts_of(SHAPE), calibrated=False), r"\.spc"),
        (lambda t: write_hspy(t / "a.hspy", counts_of(SHAPE), units="?"), "keV or eV"),
    ],
)
def test_a_map_without_energies_is_refused_with_the_way_out(tmp_path, path_of, fix):
    path = path_of(tmp_path)
    with pytest.raises(ValueError, match=f"no energy calibration.*{fix}"):
        read(path)


def test_a_file_without_a_spectrum_image_says_what_it_holds(tmp_path):
    path = write_dm3(tmp_path / "a.dm3", counts_of(SHAPE), units="eV", kind="EELS")
    with pytest.raises(ValueError, match=r"no spectrum image and .* only EELS of shape \(64, 11, 5\)"):
        read(path)


def test_dm_maps_of_no_stated_kind_are_told_apart_by_their_unit(tmp_path):
    counts = counts_of(SHAPE)
    np.testing.assert_array_equal(read(write_dm3(tmp_path / "x.dm3", counts, kind=""))[1], counts)
    with pytest.raises(ValueError, match="no spectrum image"):
        read(write_dm3(tmp_path / "loss.dm3", counts, kind="", units="eV"))


@pytest.mark.parametrize("part", [0.01, 0.25, 0.5, 0.9, 0.99])
def test_a_truncated_phenom_file_ends_at_once(data, tmp_path, part):
    whole = (data / "vendor" / "Elid2Version4.elid").read_bytes()
    path = tmp_path / "cut.elid"
    path.write_bytes(whole[: int(len(whole) * part)])
    with pytest.raises((EOFError, OSError)):
        read(path)


def test_phenom_maps_carry_energies_angles_and_the_images_they_were_taken_on(data):
    path = data / "vendor" / "Elid2Version4.elid"
    maps = maps_of(find_reader(path), path)
    header, _ = maps["image_1_map_6"]
    assert header.attrs[schema.BEAM_ENERGY] == 15.0
    assert header.attrs[schema.ELEVATION] == [pytest.approx(28.5)]
    assert header.energy_scale == pytest.approx(0.00988680, rel=1e-5)
    assert header.images["image_1"].shape == (16, 20)
