"""A projection that does not fit is named, and no other."""

import numpy as np
import pytest
from small_phantom import phantom

from edxdask.tomo.estimate import VolumeSettings, reconstruct_slab
from edxdask.tomo.quality import TiltMisfit, reasons


def misfit_of(made, passes=16):
    return reconstruct_slab(
        made.counts, made.projector, made.responses, VolumeSettings(max_iter=passes)
    ).misfit


def test_a_projection_that_has_moved_is_the_only_one_named():
    shift = np.zeros(15)
    shift[4] = 4.0
    found = reasons(misfit_of(phantom(20.0, true_shift_x=shift)))
    assert [i for i, text in enumerate(found) if text] == [4]
    assert "chi-squared" in found[4]


def test_a_projection_of_another_dose_is_named():
    made = phantom(20.0)
    made.counts[9] = np.random.default_rng(0).binomial(made.counts[9], 0.5)
    assert [i for i, text in enumerate(reasons(misfit_of(made))) if text] == [9]


@pytest.mark.slow
def test_clean_series_name_none_in_fifty_seeds():
    for seed in range(50):
        photons = (5.0, 20.0)[seed % 2]
        misfit = misfit_of(phantom(photons, seed=seed), passes=10)
        assert not any(reasons(misfit)), seed


def test_chi_squared_of_a_volume_that_fits_is_near_one():
    misfit = misfit_of(phantom(20.0), passes=30)
    assert 0.8 < np.median(misfit.reduced) < 1.15
    assert (misfit.blocks > 50).all()


def test_slabs_add_up():
    one = TiltMisfit(np.array([4.0, 9.0]), np.array([4, 8]))
    both = one + one
    np.testing.assert_array_equal(both.chi2, [8.0, 18.0])
    np.testing.assert_array_equal(both.blocks, [8, 16])
    np.testing.assert_allclose(both.reduced, one.reduced)


def test_what_all_projections_have_in_common_names_none():
    blocks = np.full(20, 1000)
    assert not any(reasons(TiltMisfit(3.0 * blocks, blocks)))


def test_a_projection_without_enough_photons_is_said_to_have_too_few():
    blocks = np.array([500, 0, 500])
    found = reasons(TiltMisfit(blocks * 1.0, blocks))
    assert found[1] == "too few photons to judge"
    assert not found[0]


def test_without_any_photons_all_are_said_to_have_none():
    assert reasons(TiltMisfit(np.zeros(2), np.zeros(2, int))) == ["no photons"] * 2
