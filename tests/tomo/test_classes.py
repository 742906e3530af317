"""Classes of channels lose little, and what they lose is what they say."""

import numpy as np
import pytest

from edxdask.errors import ParameterError
from edxdask.tomo.classes import class_responses, classes_of, information, variance_lost


@pytest.fixture(scope="module")
def responses():
    """Three overlapping phases: peaks on a continuum, in 970 channels."""
    axis = 0.3 + 0.01 * np.arange(970)
    lines = {0: ((1.25, 1.0), (1.74, 1.1), (0.52, 0.9)), 1: ((1.25, 2.0), (6.4, 0.8), (0.52, 0.7))}
    lines[2] = ((1.74, 1.0), (3.69, 1.2), (0.52, 0.9), (6.4, 0.05))
    out = np.empty((3, axis.size))
    for k, peaks in lines.items():
        out[k] = 0.004 * np.exp(-axis / 3)
        for at, height in peaks:
            width = 0.025 + 0.006 * np.sqrt(at)
            out[k] += 0.05 * height * np.exp(-0.5 * ((axis - at) / width) ** 2)
    return out * (0.02 * np.array([0.45, 0.5, 0.47]) / out.sum(axis=1))[:, None]


@pytest.mark.parametrize("mixture", [(1, 1, 1), (0.9, 0.07, 0.03), (0.3, 0.7, 0.02), (0.4, 0.01, 0.6)])
def test_sixteen_classes_add_at_most_six_and_a_half_per_cent_to_the_variance(responses, mixture):
    lost = variance_lost(responses, classes_of(responses), np.array(mixture, float))
    assert (lost > 0).all()
    assert lost.max() < 0.065, lost  # SCIENCE 7


def test_more_classes_lose_less(responses):
    even = np.full(3, 1 / 3)
    lost = [variance_lost(responses, classes_of(responses, classes=n), even).max() for n in (4, 8, 16, 64)]
    assert lost == sorted(lost, reverse=True)
    assert lost[-1] < 0.01


def test_channels_of_equal_ratios_merge_without_loss():
    rng = np.random.default_rng(3)
    ratios = np.array([[1.0, 0.2, 0.0, 0.5], [0.1, 0.9, 0.0, 0.6], [0.0, 0.3, 1.0, 0.4]])
    kind = rng.integers(0, 4, 200)
    responses = ratios[:, kind] * rng.uniform(0.1, 3.0, 200)
    found = classes_of(responses)
    assert all(np.unique(found[kind == one]).size == 1 for one in range(4))
    lost = variance_lost(responses, found, np.array([0.2, 0.5, 0.3]))
    np.testing.assert_allclose(lost, 0.0, atol=1e-6)


def test_no_photon_is_lost_and_the_same_seed_gives_the_same_classes(responses):
    found = classes_of(responses)
    merged = class_responses(responses, found)
    assert found.dtype == np.uint8
    assert set(found) == set(range(16))
    np.testing.assert_allclose(merged.sum(axis=1), responses.sum(axis=1), rtol=1e-5)
    np.testing.assert_array_equal(found, classes_of(responses))


def test_information_of_two_pure_channels_is_that_of_two_counters():
    found = information(np.diag([2.0, 8.0]), np.array([1.0, 0.5]))
    np.testing.assert_allclose(found, np.diag([2.0, 16.0]))


def test_a_phase_without_photons_is_refused():
    with pytest.raises(ParameterError, match="phase 1"):
        classes_of(np.array([[1.0, 2.0], [0.0, 0.0]]))


def test_a_channel_that_no_phase_reaches_says_nothing():
    responses = np.array([[1.0, 0.0, 3.0], [2.0, 0.0, 1.0]])
    merged = class_responses(responses, classes_of(responses))
    assert (merged > 0).all()
