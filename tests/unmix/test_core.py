"""Where the matrix is pure: rings around masks, and the width of the core that follows from them."""

import numpy as np
import pytest

from edxdask.errors import ParameterError
from edxdask.unmix.core import RingCounts, choose_core
from edxdask.unmix.regions import Regions
from edxdask.unmix.rings import Rings, joined_sums

ELEMENTS = ("O", "Mg", "Si", "Ca")
MATRIX, PRECIPITATE = np.array([0.6, 0.2, 0.19, 0.01]), np.array([0.6, 0.0, 0.2, 0.2])
PHASES = ("Brg", "CaPv")


def halo(width, *, counts=300.0, seed=0, shape=(60, 60), everywhere=False):
    """Sums of one map: a grain in the middle, whose precipitate reaches ``width`` px beyond its mask."""
    mask = np.zeros(shape, bool)
    mask[25:35, 25:35] = True
    regions = Regions.of({"CaPv": mask})
    reach = np.clip(1 - regions.distance / (width + 1e-9), 0, 1) * 0.4
    part = np.where(mask, 0.6, regions.distance.max() / 300 - regions.distance / 300 if everywhere else reach)
    columns = np.eye(4, 8) * 5 + 0.05
    columns = np.vstack([columns, np.full(8, 0.01)])
    atoms = (1 - part)[..., None] * MATRIX + part[..., None] * PRECIPITATE
    expected = np.concatenate([atoms, np.ones((*shape, 1))], axis=2) @ columns
    expected *= counts / expected.sum(axis=2, keepdims=True)
    drawn = np.random.default_rng(seed).poisson(expected)
    rings = Rings.of(regions)
    sums = np.zeros((len(rings.ring), 8))
    np.add.at(sums, rings.label.ravel(), drawn.reshape(-1, 8))
    return RingCounts(rings, sums, columns)


@pytest.mark.parametrize("width", [0, 1, 3, 5])
def test_the_core_begins_where_the_halo_ends(width):
    found = choose_core([halo(width)], PHASES, ELEMENTS)
    # the last ring of a halo holds a few per cent of the edge's: less than its errors
    assert max(width - 2, 0) <= found.width <= width + 1
    assert found.profiles[0].element == "Ca"
    assert f"farther than {found.width} px" in found.text
    assert "Ca of CaPv" in found.text
    assert found.warnings == ()


def test_more_maps_see_more_of_the_halo():
    one = choose_core([halo(6, counts=20.0)], PHASES, ELEMENTS)
    many = choose_core([halo(6, counts=20.0, seed=seed) for seed in range(12)], PHASES, ELEMENTS)
    assert many.width >= one.width
    assert many.profiles[0].far_error < 0.35 * one.profiles[0].far_error


def test_a_content_that_falls_to_the_end_of_the_map_is_a_warning():
    found = choose_core([halo(0, everywhere=True, counts=3000.0)], PHASES, ELEMENTS)
    assert found.width > 5
    assert "still falls" in found.warnings[0]
    assert "Brg may not be pure" in found.warnings[0]


def test_a_given_width_is_taken_and_one_that_leaves_no_core_is_refused():
    assert choose_core([halo(3)], PHASES, ELEMENTS, 7).width == 7
    with pytest.raises(ParameterError, match=r"core=50: expected .*50 pixels.* At most core=\d+"):
        choose_core([halo(3)], PHASES, ELEMENTS, 50)


def test_rings_are_joined_to_a_core_of_the_matrix_alone():
    one = halo(3)
    layout, joined = one.rings.with_core(4)
    assert layout.core.sum() == 1
    assert layout.allowed[layout.core].tolist() == [[True, False]]
    assert layout.allowed[~layout.core].all()
    sums = joined_sums(one.counts, joined)
    assert sums.sum() == one.counts.sum()
    mask = one.rings.masked[one.rings.label, 0]
    away = Regions.of({"CaPv": mask}).distance
    assert layout.pixels[layout.core] == np.count_nonzero(away > 4)


def test_pixels_whose_abundance_shows_a_precipitate_are_not_core_whatever_the_masks_say():
    mask = np.zeros((30, 30), bool)
    mask[10:14, 10:14] = True
    fractions = np.zeros((1, 30, 30))
    fractions[0, 9:20, 9:20] = 0.2
    rings = Rings.of(Regions.of({"CaPv": mask}), fractions)
    at = rings.label[17, 17]
    assert rings.ring[at, 0] == 0
    assert not rings.masked[at, 0]
    assert rings.ring[rings.label[21, 12], 0] == 2
    assert not rings.core(0)[17, 17]
    assert rings.core(1)[21, 12]
    assert not rings.core(2)[21, 12]


def test_a_mask_of_the_whole_map_leaves_rings_and_no_core():
    rings = Rings.of(Regions.of({"CaPv": np.ones((4, 5), bool)}))
    assert rings.nearest.max() == 0
    layout, _ = rings.with_core(2)
    assert not layout.core.any()
    assert (layout.pixels > 0).all()


def test_a_core_that_would_be_too_small_is_narrowed_and_said(monkeypatch):
    maps = [halo(9, counts=3000.0)]
    wide = choose_core(maps, PHASES, ELEMENTS)
    monkeypatch.setattr("edxdask.unmix.core.LEAST_PIXELS", 3100)  # of 3600: as in a small crop of a map
    found = choose_core(maps, PHASES, ELEMENTS)
    assert 0 < found.width < wide.width
    assert f"up to {wide.width} px" in found.warnings[0]
    assert "may not be pure" in found.warnings[0]
    assert "less than 3100 pixels" in found.text
    monkeypatch.setattr("edxdask.unmix.core.LEAST_PIXELS", 3600)  # the grain leaves fewer
    with pytest.raises(ParameterError, match="Use other masks"):
        choose_core(maps, PHASES, ELEMENTS)
