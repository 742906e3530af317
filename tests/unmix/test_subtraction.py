"""Atoms in regions over many maps, precipitates as mixture less matrix: unbiased, with errors that hold."""

import numpy as np
import pytest

from edxdask.unmix.subtraction import Amounts, MapSpectra, region_amounts, subtract

MATRIX = np.array([0.6, 0.18, 0.01, 0.20, 0.01])
PRECIPITATE = np.array([0.5, 0.39, 0.0, 0.0, 0.11])
ABSENT = [3]


def columns(shift=0.0, channels=240):
    """Five lines and a continuum; the axis of a map is ``shift`` channels beside that of others."""
    at = np.array([30, 60, 100, 85, 180])[:, None] + shift
    lines = np.exp(-0.5 * ((np.arange(channels) - at) / 6.0) ** 2)
    return np.vstack([3.0 * lines, np.exp(-np.arange(channels) / 100.0)[None] / 100])


def drawn(rng, photons, shifts=(0.0, 1.7, -2.3), shares=(0.5, 0.35, 0.15)):
    """Spectra of the matrix and of a mixture, whose part of the precipitate differs from map to map."""
    maps = []
    for shift, share, part in zip(shifts, shares, (0.5, 0.3, 0.6), strict=True):
        own = columns(shift)
        truth = np.array([[*MATRIX, 1.0], [*((1 - part) * MATRIX + part * PRECIPITATE), 1.0]])
        expected = truth @ own
        expected *= (photons * share * np.array([4.0, 1.0]) / expected.sum(axis=1))[:, None]
        maps.append(MapSpectra(rng.poisson(expected).astype(float), own))
    return maps


@pytest.mark.parametrize("photons", [4000, 60000])
def test_subtraction_is_unbiased_and_its_errors_hold(photons):
    """Over 60 draws: the mean pull of each element within 4 of its own errors, the spread of pulls near 1."""
    pulls, matrix_pulls = [], []
    for seed in range(60):
        matrix, mixture = (
            one.atoms(5) for one in region_amounts(drawn(np.random.default_rng(seed), photons))
        )
        found = subtract(mixture, matrix, ABSENT).composition
        free = np.delete(np.arange(5), ABSENT)
        pulls.append((found.weights - PRECIPITATE)[free] / found.errors[free])
        own = matrix.fractions()
        matrix_pulls.append((own.weights - MATRIX) / own.errors)
    for values in (np.array(pulls), np.array(matrix_pulls)):
        assert np.abs(values.mean(axis=0)).max() < 4 / np.sqrt(60)
        # the standard deviation of 60 numbers is known to 9 %
        assert 0.7 < values.std(axis=0).min() <= values.std(axis=0).max() < 1.35


def test_nothing_is_left_of_the_absent_element_and_the_scale_says_how_much_matrix_there_is():
    matrix, mixture = (one.atoms(5) for one in region_amounts(drawn(np.random.default_rng(1), 1e6)))
    found = subtract(mixture, matrix, ABSENT)
    assert found.composition.weights[3] == pytest.approx(0.0, abs=1e-12)
    assert found.composition.weights.sum() == pytest.approx(1.0)
    # atoms of Si: in the mixture of each map, over four times as many photons of matrix
    assert found.scale == pytest.approx(0.14, abs=0.02)


def test_several_absent_elements_share_the_scale_by_their_errors():
    diagonal = np.array([4.0, 4.0, 1e4])
    mixture = Amounts(np.array([90.0, 20.0, 30.0]), np.diag(diagonal))
    matrix = Amounts(np.array([10.0, 10.0, 10.0]), np.diag([0.01, 0.01, 0.01]))
    assert subtract(mixture, matrix, [1, 2]).scale == pytest.approx(2.0, abs=0.01)
    assert subtract(mixture, matrix, [2]).scale == pytest.approx(3.0)


def test_errors_of_the_subtraction_are_its_derivatives():
    rng = np.random.default_rng(3)
    mixture, matrix = rng.random(5) * 50 + 50, rng.random(5) * 10 + 10
    variances = rng.random((2, 5))
    found = subtract(Amounts(mixture, np.diag(variances[0])), Amounts(matrix, np.diag(variances[1])), ABSENT)
    expected = np.zeros((5, 5))
    for which, start in enumerate((mixture, matrix)):
        for i in range(5):
            step = np.zeros((2, 5))
            step[which, i] = 1e-4
            ends = [
                subtract(
                    Amounts(mixture + sign * step[0], np.diag(variances[0])),
                    Amounts(matrix + sign * step[1], np.diag(variances[1])),
                    ABSENT,
                ).composition.weights
                for sign in (1, -1)
            ]
            slope = (ends[0] - ends[1]) / 2e-4
            expected += variances[which, i] * np.outer(slope, slope)
        assert start.size == 5
    np.testing.assert_allclose(found.composition.covariance, expected, rtol=1e-4, atol=1e-12)


def test_a_region_without_photons_has_no_composition():
    spectra = [MapSpectra(np.zeros((1, 240)), columns())]
    (empty,) = region_amounts(spectra)
    assert np.isnan(empty.atoms(5).fractions().weights).all()


def test_a_map_without_a_region_changes_nothing():
    maps = drawn(np.random.default_rng(5), 20000)
    more = [*maps, MapSpectra(np.zeros((2, 240)), columns())]
    for one, other in zip(region_amounts(maps), region_amounts(more), strict=True):
        np.testing.assert_allclose(one.weights, other.weights)
        np.testing.assert_allclose(one.covariance, other.covariance)
