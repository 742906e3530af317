"""M-steps end at the minimum they are to find, within the bounds of volumes."""

import numpy as np
import pytest

from edxdask.tomo.kernels.variation import variation
from edxdask.tomo.prior import TotalVariation


@pytest.fixture
def problem():
    rng = np.random.default_rng(1)
    shape = (5, 6, 3, 4)  # z, x, phase, y
    evidence = rng.gamma(1.0, 2.0, shape).astype(np.float32)
    sensitivity = rng.uniform(4, 8, (5, 6, 4)).astype(np.float32)
    return evidence, sensitivity, np.array([0.8, 1.0, 1.3], np.float32)


def solved(problem, strength, cap, rounds=400):
    evidence, sensitivity, yields = problem
    volume = np.full(evidence.shape, 0.2, np.float32)
    prior = TotalVariation(volume, strength, cap)
    for _ in range(rounds):
        prior.maximise(volume, evidence, sensitivity, yields)
    return volume


def cost(problem, strength, volume):
    evidence, sensitivity, yields = (np.asarray(part, np.float64) for part in problem)
    linear = sensitivity[:, :, None, :] * yields[:, None] * volume
    return float((linear - evidence * np.log(volume)).sum()) + strength * variation(volume)


@pytest.mark.parametrize("cap", [False, True])
@pytest.mark.parametrize("strength", [0.0, 0.3, 1.5])
def test_no_move_within_the_bounds_lowers_the_cost(problem, strength, cap):
    best = solved(problem, strength, cap)
    assert best.min() >= 0
    if cap:
        assert best.sum(axis=2).max() < 1 + 1e-4
    lowest = cost(problem, strength, best)
    rng = np.random.default_rng(2)
    for size in (1e-3, 1e-2, 0.1):
        for move in ("noise", "smooth", "scale"):
            other = {
                "noise": best + rng.normal(0, size, best.shape),
                "smooth": best + size * (best.mean(axis=(0, 1), keepdims=True) - best),
                "scale": best * (1 + size * rng.normal(size=(1, 1, 3, 1))),
            }[move]
            other = np.maximum(other, 1e-6)
            if cap:
                other /= np.maximum(other.sum(axis=2, keepdims=True), 1.0)
            assert cost(problem, strength, other.astype(np.float32)) > lowest - 2e-2


def test_without_prior_and_cap_it_is_the_closed_form(problem):
    evidence, sensitivity, yields = problem
    expected = evidence / (sensitivity[:, :, None, :] * yields[:, None])
    np.testing.assert_allclose(solved(problem, 0.0, False, 1), expected, rtol=1e-5)


def test_a_weak_prior_tends_to_no_prior(problem):
    for cap in (False, True):
        weak, none = solved(problem, 1e-4, cap, 3000), solved(problem, 0.0, cap, 1)
        np.testing.assert_allclose(weak, none, atol=5e-3)


def test_a_strong_prior_makes_the_volume_even(problem):
    even = solved(problem, 100.0, False, 3000)
    evidence, sensitivity, yields = problem
    mean = evidence.sum(axis=(0, 1, 3)) / (sensitivity.sum() * yields)
    np.testing.assert_allclose(even.mean(axis=(0, 1, 3)), mean, rtol=1e-2)
    assert np.ptp(even, axis=(0, 1, 3)).max() < 0.05


def test_a_border_between_phases_costs_what_one_with_the_vacuum_costs():
    volume = np.zeros((2, 1, 2, 1), np.float32)
    volume[0, 0, 0, 0] = 1
    alone = variation(volume)
    volume[1, 0, 1, 0] = 1
    assert variation(volume) == pytest.approx(alone)


def test_sensitivity_that_rows_share_may_be_given_once(problem):
    evidence, sensitivity, yields = problem
    line = np.ascontiguousarray(sensitivity[:, :, :1])
    whole = np.ascontiguousarray(np.repeat(line, 4, axis=2))
    for strength in (0.0, 0.4):
        np.testing.assert_array_equal(
            solved((evidence, line, yields), strength, True, 5),
            solved((evidence, whole, yields), strength, True, 5),
        )
