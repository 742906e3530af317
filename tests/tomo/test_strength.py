"""The strength found by count splitting is near the one with the least error, at few photons and at many."""

import numpy as np
import pytest
from small_phantom import phantom

from edxdask.tomo.estimate import VolumeSettings, reconstruct_slab
from edxdask.tomo.strength import choose_strength, held_out_cost, split_counts


@pytest.mark.slow
@pytest.mark.parametrize("photons", [4.0, 20.0])
def test_its_error_is_near_the_least(photons):
    made = phantom(photons, seed=3)
    found = choose_strength(made.counts, made.projector, made.responses, VolumeSettings())

    def error(strength):
        how = VolumeSettings(strength=strength, max_iter=25)
        return made.error(reconstruct_slab(made.counts, made.projector, made.responses, how).volume)

    least = min(error(strength) for strength in (0.03, 0.05, 0.08, 0.12, 0.18, 0.27))
    assert error(found.strength) < 1.1 * least


def test_trials_stand_beside_the_choice_and_few_were_needed():
    made = phantom(20.0)
    found = choose_strength(made.counts, made.projector, made.responses, VolumeSettings())
    assert list(found.tried) == sorted(found.tried)
    assert found.score.min() == 0
    assert 3 <= found.tried.size <= 6
    best = found.tried[found.score.argmin()]
    # between the best trial's neighbours, and for all photons instead of half
    assert best / 1.5 < found.strength * np.sqrt(2) < best * 1.5


def test_parts_are_poisson_add_up_and_depend_on_the_seed_alone():
    counts = np.random.default_rng(0).poisson(3.0, (4, 5, 60, 8)).astype(np.uint8)
    one, other = split_counts(counts, 0.5, 7)
    np.testing.assert_array_equal(one + other, counts)
    np.testing.assert_array_equal(one, split_counts(counts, 0.5, 7)[0])
    assert not np.array_equal(one, split_counts(counts, 0.5, 8)[0])
    assert one.mean() == pytest.approx(1.5, rel=0.05)
    assert one.var() == pytest.approx(1.5, rel=0.05)
    assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.04


def test_kept_photons_prefer_the_truth():
    made = phantom(20.0)
    cost = [
        held_out_cost(made.counts, made.projector, made.responses, volume)
        for volume in (made.truth, np.roll(made.truth, 2, axis=3), 0.8 * made.truth)
    ]
    assert cost[0] < min(cost[1:])
