"""EDAX .edaxh5 in the layout that its readers describe; no real file was at hand, these are written here."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from made_files import counts_of, map_of, maps_of, write_edaxh5

from edxdask import schema
from edxdask.io.vendor.base import ReadOptions
from edxdask.io.vendor.edax import READER

SHAPE = (11, 5, 64)
PLACE = "Project/Sample/Area 1/Live Map 1"


@pytest.mark.parametrize("plane_of_arrays", [True, False])
def test_every_count_comes_back_in_its_pixel_and_channel(tmp_path, plane_of_arrays):
    counts = counts_of(SHAPE)
    path = write_edaxh5(tmp_path / "a.edaxh5", {PLACE: counts}, plane_of_arrays=plane_of_arrays)
    header, dense = map_of(READER, path)
    np.testing.assert_array_equal(dense, counts)
    assert (header.name, header.expected_total) == ("live_map_1", counts.sum())
    np.testing.assert_allclose((header.energy_offset, header.energy_scale), (-0.05, 0.01))
    np.testing.assert_allclose(header.pixel_size, (5.0, 4.0))


def test_attributes_and_the_image_of_the_area_come_along(tmp_path):
    header, _ = map_of(READER, write_edaxh5(tmp_path / "a.edaxh5", {PLACE: counts_of(SHAPE)}))
    assert header.attrs[schema.BEAM_ENERGY] == 15.0
    assert header.attrs[schema.ELEVATION] == [35.0]
    np.testing.assert_array_equal(header.images["fov"], np.arange(6).reshape(2, 3))
    schema.as_json(header.vendor_metadata)


def test_a_map_with_fewer_channels_than_its_sum_spectrum_keeps_its_energies_and_has_no_total(tmp_path):
    header, _ = map_of(
        READER, write_edaxh5(tmp_path / "a.edaxh5", {PLACE: counts_of(SHAPE)}, spc_channels=256)
    )
    assert (header.energy_scale, header.expected_total) == (0.01, None)
    assert "no sum spectrum" in header.unverified


def test_maps_of_several_areas_are_told_apart_by_their_place(tmp_path):
    first, second = counts_of(SHAPE), counts_of((3, 4, 32), seed=1)
    places = {PLACE: first, PLACE.replace("Area 1", "Area 2"): second}
    maps = maps_of(READER, write_edaxh5(tmp_path / "a.edaxh5", places))
    np.testing.assert_array_equal(maps["area_1_live_map_1"][1], first)
    np.testing.assert_array_equal(maps["area_2_live_map_1"][1], second)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (
            lambda g: g["SPD"].attrs.update(NumberOfLines=np.array([10])),
            "NumberOfLines says 10, the data have 11",
        ),
        (lambda g: g.pop("SPC"), "no energy calibration"),
        (lambda g: g.pop("SPD"), "no spectrum image"),
    ],
)
def test_a_file_that_contradicts_itself_is_refused(tmp_path, edit, message):
    path = write_edaxh5(tmp_path / "a.edaxh5", {PLACE: counts_of(SHAPE)})
    with h5py.File(path, "r+") as file:
        edit(file[PLACE])
    with pytest.raises(ValueError, match=message):
        READER.open(path, ReadOptions())
