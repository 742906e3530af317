"""Volumes from photons: near the truth, at the optimum, and honest about whether they got there."""

from dataclasses import replace

import numpy as np
import pytest
from small_phantom import phantom

from edxdask.errors import ParameterError
from edxdask.tomo.estimate import VolumeSettings, first_subsets, reconstruct_slab, slab_bytes
from edxdask.tomo.projector import Projector


@pytest.fixture(scope="module")
def made():
    return phantom(20.0)


@pytest.fixture(scope="module")
def found(made):
    return reconstruct_slab(made.counts, made.projector, made.responses, VolumeSettings())


def test_fractions_are_near_the_truth_and_within_their_bounds(made, found):
    assert found.volume.shape == made.truth.shape
    assert found.volume.dtype == np.float32
    assert found.volume.min() >= 0
    assert found.volume.sum(axis=0).max() < 1.001
    assert made.error(found.volume) < 0.19
    for k in range(3):
        both = ((found.volume[k] > 0.5) & (made.truth[k] > 0.5)).sum()
        dice = 2 * both / ((found.volume[k] > 0.5).sum() + (made.truth[k] > 0.5).sum())
        assert dice > 0.75, (k, dice)


def test_more_photons_tell_more(made, found):
    poor = phantom(4.0)
    rough = reconstruct_slab(poor.counts, poor.projector, poor.responses, VolumeSettings())
    assert made.error(found.volume) < 0.8 * poor.error(rough.volume)


def test_prior_and_cap_help(made, found):
    for worse in (VolumeSettings(prior="none", max_iter=20), VolumeSettings(cap=False)):
        other = reconstruct_slab(made.counts, made.projector, made.responses, worse)
        assert made.error(found.volume) < made.error(other.volume)


def test_what_says_it_has_converged_hardly_moves_in_many_more_passes(made, found):
    assert found.converged
    assert len(found.objective) < 60
    long = VolumeSettings(max_iter=250, tol=1e-7)
    best = reconstruct_slab(made.counts, made.projector, made.responses, long)
    moved = np.sqrt(((found.volume - best.volume) ** 2).sum() / (best.volume**2).sum())
    assert moved < 1.5 * VolumeSettings().tol
    assert found.objective[-1] - best.objective.min() < 5e-4  # per photon


def test_too_few_passes_are_said_to_be_too_few(made):
    short = reconstruct_slab(made.counts, made.projector, made.responses, VolumeSettings(max_iter=6))
    assert not short.converged
    assert len(short.objective) == 6


def test_the_objective_falls_in_the_last_stage(found):
    last = found.objective[-8:]
    assert last[-1] < last[0]
    assert np.diff(last).max() < 1e-4


def test_it_begins_again_where_it_ended(made, found):
    again = reconstruct_slab(
        made.counts,
        made.projector,
        made.responses,
        VolumeSettings(subsets=1, max_iter=12),
        start=found.volume,
    )
    assert made.error(again.volume) < made.error(found.volume) + 0.01


def test_exposures_are_part_of_the_model(made, found):
    exposure = np.random.default_rng(4).uniform(0.4, 1.6, 15)
    drifting = phantom(20.0, exposure=exposure / exposure.mean())
    right = reconstruct_slab(drifting.counts, drifting.projector, drifting.responses, VolumeSettings())
    assert drifting.error(right.volume) < made.error(found.volume) + 0.02
    blind = replace(drifting, projector=made.projector)
    wrong = reconstruct_slab(blind.counts, blind.projector, blind.responses, VolumeSettings())
    assert np.median(right.misfit.reduced) < 1.2
    assert np.median(wrong.misfit.reduced) > 1.5


def test_rows_in_the_middle_of_a_slab_are_those_of_the_whole(made, found):
    rows = (2, 8)
    slab = Projector(
        made.projector.geometry, shape=made.projector.shape, columns=40, volume_rows=8, rows=rows
    )
    part = reconstruct_slab(made.counts[:, 2:8], slab, made.responses, VolumeSettings())
    apart = part.volume[:, :, 4:] - found.volume[:, :, 6:]
    assert np.sqrt((apart**2).mean()) < 0.01


def test_a_slab_without_photons_is_empty_and_done(made):
    nothing = reconstruct_slab(np.zeros_like(made.counts), made.projector, made.responses, VolumeSettings())
    assert nothing.converged
    assert not nothing.volume.any()
    assert nothing.volume.shape == made.truth.shape


def test_wide_counts_give_what_narrow_ones_give(made):
    few = VolumeSettings(max_iter=3)
    narrow, wide = (
        reconstruct_slab(made.counts.astype(kind), made.projector, made.responses, few).volume
        for kind in (np.uint8, np.uint16)
    )
    np.testing.assert_array_equal(narrow, wide)


def test_the_same_seed_gives_the_same_volume_and_another_nearly(made, found):
    again = reconstruct_slab(made.counts, made.projector, made.responses, VolumeSettings())
    np.testing.assert_array_equal(found.volume, again.volume)
    other = reconstruct_slab(made.counts, made.projector, made.responses, VolumeSettings(seed=5))
    assert np.sqrt(((found.volume - other.volume) ** 2).mean()) < 0.02


def test_photons_outside_all_voxels_move_nothing(made):
    narrow = Projector(made.projector.geometry, shape=(40, 20), columns=40, volume_rows=8)
    found = reconstruct_slab(made.counts, narrow, made.responses, VolumeSettings(max_iter=5))
    assert np.isfinite(found.volume).all()
    assert np.isfinite(found.objective).all()


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        ({"prior": "smooth"}, "prior"),
        ({"strength": -1.0}, "strength"),
        ({"strength": np.nan}, "strength"),
        ({"subsets": 0}, "subsets"),
        ({"max_iter": 0}, "max_iter"),
        ({"tol": 0.0}, "tol"),
    ],
)
def test_settings_that_cannot_work_are_refused(wrong, name):
    with pytest.raises(ParameterError, match=name):
        VolumeSettings(**wrong)


def test_counts_of_another_shape_are_refused(made):
    with pytest.raises(ParameterError, match=r"counts.*tilt, detector row, column, class"):
        reconstruct_slab(made.counts[:, :4], made.projector, made.responses, VolumeSettings())


def test_memory_is_predicted_from_sizes_alone():
    one = slab_bytes((64, 64), 3, 8, 64, 29)
    assert slab_bytes((64, 64), 3, 16, 64, 29) == 2 * one
    assert slab_bytes((64, 64), 3, 8, 64, 29, subsets=8) > one


def test_no_more_subsets_than_tilts_bear():
    assert first_subsets(4, VolumeSettings(subsets=9)) == 4
    assert first_subsets(200, VolumeSettings()) == 8
