"""Oxford .h5oina in the layout of its specification; no real file was at hand, these are written here."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from made_files import counts_of, map_of, maps_of, write_h5oina

from edxdask import schema
from edxdask.io.vendor.base import ReadOptions
from edxdask.io.vendor.oxford import READER

SHAPE = (11, 5, 64)


def test_every_count_comes_back_in_its_pixel_and_channel(tmp_path):
    counts = counts_of(SHAPE)
    header, dense = map_of(READER, write_h5oina(tmp_path / "a.h5oina", [counts]))
    np.testing.assert_array_equal(dense, counts)
    assert header.name == "map_data_1"
    np.testing.assert_allclose((header.energy_offset, header.energy_scale), (-0.2, 0.01))
    np.testing.assert_allclose(header.pixel_size, (20.0, 30.0))


def test_attributes_are_converted_from_radians_and_seconds_per_pixel(tmp_path):
    header, _ = map_of(READER, write_h5oina(tmp_path / "a.h5oina", [counts_of(SHAPE)]))
    assert header.attrs == {
        schema.BEAM_ENERGY: 20.0,
        schema.TILT_ALPHA: 0.0,
        schema.ELEVATION: [30.0],
        schema.AZIMUTH: [45.0],
        schema.LIVE_TIME: 55 * 0.25,
        schema.ELEMENTS: ["Fe", "O"],
        schema.TITLE: "Map Data 1",
    }
    np.testing.assert_array_equal(header.images["se"], np.arange(12).reshape(3, 4))
    assert header.vendor_metadata["EDS"]["Number Channels"] == [[64]]


def test_a_montage_has_the_field_of_every_pixel_and_its_place_there(tmp_path):
    """Version 8.0 writes them pixel by pixel; the stage is in mm."""
    path = write_h5oina(tmp_path / "a.h5oina", [counts_of(SHAPE)])
    y, x = np.indices(SHAPE[:2])
    truth = {"LAM Field Index": x // 3, "LAM Field Coordinate Y": y, "LAM Field Coordinate X": x % 3 + 1}
    with h5py.File(path, "r+") as file:
        for name, values in truth.items():
            file["1/EDS/Data"][name] = values.astype(np.uint16).reshape(-1, 1)
        for axis, value in (("X", 1.25), ("Y", -0.5)):
            file[f"1/EDS/Header/Stage Position/{axis}"] = np.array([[value]])
    header, _ = map_of(READER, path)
    for own, name in (
        (schema.FIELD_INDEX, "LAM Field Index"),
        (schema.FIELD_Y, "LAM Field Coordinate Y"),
        (schema.FIELD_X, "LAM Field Coordinate X"),
    ):
        np.testing.assert_array_equal(header.images[own], truth[name])
    assert (header.attrs[schema.STAGE_Y], header.attrs[schema.STAGE_X]) == (-0.5e6, 1.25e6)


def test_fields_of_another_size_and_half_a_stage_are_left_out(tmp_path):
    path = write_h5oina(tmp_path / "a.h5oina", [counts_of(SHAPE)])
    with h5py.File(path, "r+") as file:
        for name in ("LAM Field Index", "LAM Field Coordinate Y", "LAM Field Coordinate X"):
            file["1/EDS/Data"][name] = np.zeros((7, 1), np.uint16)
        file["1/EDS/Header/Stage Position/X"] = np.array([[1.0]])
    header, _ = map_of(READER, path)
    assert list(header.images) == ["se"]
    assert schema.STAGE_X not in header.attrs


def test_detectors_are_summed_or_kept_apart(tmp_path):
    first, second = counts_of(SHAPE), counts_of(SHAPE, seed=1)
    path = write_h5oina(tmp_path / "a.h5oina", [first, second])
    header, dense = map_of(READER, path)
    np.testing.assert_array_equal(dense, first + second)
    assert header.attrs[schema.ELEVATION] == [30.0, 30.0]
    apart = maps_of(READER, path, detectors="separate")
    np.testing.assert_array_equal(apart["map_data_1_eds1"][1], first)
    np.testing.assert_array_equal(apart["map_data_1_eds2"][1], second)


def test_detectors_that_differ_are_not_summed_but_can_be_had(tmp_path):
    path = write_h5oina(tmp_path / "a.h5oina", [counts_of(SHAPE), counts_of((11, 5, 32))])
    with pytest.raises(ValueError, match='detectors="separate"'):
        READER.open(path, ReadOptions())
    assert len(READER.open(path, ReadOptions(detectors="separate"))) == 2


def test_every_slice_is_a_map_and_single_spectra_are_none(tmp_path):
    first, second = counts_of(SHAPE), counts_of((3, 4, 32), seed=1)
    path = write_h5oina(tmp_path / "a.h5oina", [first])
    write_h5oina(path, [second], index="2", append=True, labels=("Map Data 2",))
    write_h5oina(path, [counts_of((1, 1, 32))], index="3", append=True)
    maps = maps_of(READER, path)
    assert list(maps) == ["map_data_1", "map_data_2"]
    np.testing.assert_array_equal(maps["map_data_2"][1], second)


def test_a_line_scan_is_a_map_of_one_row(tmp_path):
    counts = counts_of((1, 30, 64))
    header, dense = map_of(READER, write_h5oina(tmp_path / "a.h5oina", [counts], step=(0.0, 0.05)))
    np.testing.assert_array_equal(dense, counts)
    np.testing.assert_allclose(header.pixel_size, (50.0, 50.0))


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (
            lambda f: f["1/EDS/Header/X Cells"].write_direct(np.array([[6]], np.int32)),
            "do not fill a map of 11 × 6",
        ),
        (
            lambda f: f["1/EDS/Header/Number Channels"].write_direct(np.array([[9]], np.int32)),
            "says 9 channels",
        ),
        (lambda f: f["1/EDS/Header"].pop("Channel Width"), "no number 'Channel Width'"),
        (lambda f: f["1/EDS/Data"].pop("Spectrum"), "export the map with its unprocessed spectrum data"),
        (lambda f: f.pop("1"), "which are not in the file"),
    ],
)
def test_a_file_that_contradicts_itself_is_refused(tmp_path, edit, message):
    path = write_h5oina(tmp_path / "a.h5oina", [counts_of(SHAPE)])
    with h5py.File(path, "r+") as file:
        edit(file)
    with pytest.raises(ValueError, match=message):
        READER.open(path, ReadOptions())


def test_negative_values_are_no_counts(tmp_path):
    path = write_h5oina(tmp_path / "a.h5oina", [counts_of(SHAPE)])
    with h5py.File(path, "r+") as file:
        file["1/EDS/Data/Spectrum"][7, 7] = -1
    with pytest.raises(ValueError, match="not counts"):
        map_of(READER, path)
