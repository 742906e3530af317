"""Groups of pixels: what they may hold, and that no photon is lost, in any chunks."""

from __future__ import annotations

import numpy as np
import pytest
from known_maps import PHASES, simulated

from edxdask.unmix.grouped_maps import Reading, read_groups
from edxdask.unmix.groups import PARTS, lay_out
from edxdask.unmix.regions import Regions


@pytest.fixture(scope="module")
def layout_and_cube():
    cube = simulated(1, size=40, counts=40, channels=300)
    abundance = cube.truth_abundance.values
    regions = Regions.of({"Fp": abundance[1] > 0.1, "CaPv": abundance[2] > 0.1})
    return lay_out(regions, abundance, PHASES, "Brg", 2.0), cube, regions


def test_the_core_holds_the_matrix_alone_and_is_farther_than_the_margin(layout_and_cube):
    layout, _, regions = layout_and_cube
    core = layout.core[layout.label]
    np.testing.assert_array_equal(core, regions.distance > 2.0)
    assert layout.allowed[layout.core].tolist() == [[True, False, False]] * int(layout.core.sum())


def test_a_group_may_hold_what_is_near_its_pixels(layout_and_cube):
    layout, _, regions = layout_and_cube
    for row, name in ((1, "Fp"), (2, "CaPv")):
        mask = regions.masks[regions.phases.index(name)]
        assert layout.allowed[layout.label[mask], row].all()
    assert layout.allowed[:, 0].all()


def test_every_pixel_is_in_one_group_and_parts_of_the_core_grow_as_they_should(layout_and_cube):
    layout, _, _ = layout_and_cube
    assert layout.pixels.sum() == layout.label.size
    core = layout.pixels[layout.core].sum()
    summed = np.cumsum([layout.pixels[layout.part == i].sum() for i in range(len(PARTS))])
    np.testing.assert_allclose(summed / core, PARTS, atol=0.04)


@pytest.mark.parametrize("chunks", [(40, 40), (7, 40), (13, 9)])
def test_groups_hold_all_photons_in_any_chunks(layout_and_cube, chunks):
    layout, cube, _ = layout_and_cube
    lazy = cube.chunk({"y": chunks[0], "x": chunks[1], "energy": -1})
    sums = read_groups(lazy, layout, cube.truth_abundance.values, reading=Reading(workers=2))
    flat = cube.counts.values.reshape(-1, 300).astype(float)
    expected = np.stack([flat[layout.label.ravel() == g].sum(axis=0) for g in range(layout.groups)])
    np.testing.assert_array_equal(sums.counts, expected)
    np.testing.assert_allclose(sums.start.sum(axis=1), expected.sum(axis=1))
