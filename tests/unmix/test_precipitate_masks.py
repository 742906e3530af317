"""Masks of precipitates and what follows from them: matrix, overlap, distances."""

import numpy as np

from edxdask.unmix.regions import Regions


def two_squares():
    one, two = np.zeros((2, 12, 20), bool)
    one[2:7, 2:8] = True
    two[2:7, 6:12] = True
    return Regions.of({"Fp": one, "CaPv": two})


def test_overlap_is_kept_apart_and_the_matrix_is_what_no_mask_covers():
    regions = two_squares()
    assert regions.phases == ("Fp", "CaPv")
    assert regions.overlap.sum() == 5 * 2
    assert not (regions.mixtures & regions.overlap).any()
    assert (regions.mixtures.any(axis=0) | regions.overlap | regions.matrix).all()
    assert regions.matrix.sum() == 12 * 20 - 5 * 10


def test_distances_count_pixels_outwards_from_any_mask_and_inwards_from_each_edge():
    regions = two_squares()
    assert regions.distance[4].tolist() == [2, 1, *[0] * 10, *range(1, 9)]
    assert regions.depth[0, 4, 2:9].tolist() == [1, 2, 3, 3, 2, 1, 0]
    np.testing.assert_allclose(regions.distance[0, 0], np.hypot(2, 2))


def test_without_a_pixel_of_any_precipitate_all_of_the_map_is_far_away():
    regions = Regions.of({"Fp": np.zeros((3, 4), bool)})
    assert np.isinf(regions.distance).all()
    assert (regions.depth == 0).all()
