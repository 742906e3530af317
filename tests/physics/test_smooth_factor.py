"""The smooth factor, found through bands, against the same equations written out with whole matrices."""

from __future__ import annotations

import numpy as np
import pytest

from edxdask.physics.poisson import LEAST_MODEL, deviance
from edxdask.physics.smooth_factor import STIFFNESS, smooth_factor, spline_rows

ENERGY = 0.3 + 0.01 * np.arange(600)


def with_whole_matrices(counts, expected, splines):
    """Newton steps on the penalised likelihood of each stiffness, and the best by Akaike's criterion."""
    second = np.diff(np.eye(len(splines)), n=2, axis=0)
    penalty, tried, scale = second.T @ second, [], None
    for stiffness in STIFFNESS:
        theta = np.zeros(len(splines))
        for _ in range(8):
            mean = np.maximum(expected * np.exp(splines.T @ theta), LEAST_MODEL)
            curvature = (splines * mean) @ splines.T + stiffness * penalty + 1e-9 * np.eye(len(splines))
            step = np.linalg.solve(curvature, splines @ (counts - mean) - stiffness * penalty @ theta)
            theta = theta + np.clip(step, -1, 1)
            if np.abs(step).max() < 1e-6:
                break
        mean = np.maximum(expected * np.exp(splines.T @ theta), LEAST_MODEL)
        information = (splines * mean) @ splines.T
        freedom = np.trace(np.linalg.solve(information + stiffness * penalty, information))
        misfit = deviance(counts, mean)
        scale = scale or max(misfit / (counts.size - freedom), 1.0)
        tried.append((misfit / scale + 2 * freedom, np.exp(splines.T @ theta), freedom))
    return min(tried, key=lambda one: one[0])[1:]


@pytest.mark.parametrize("apart", [3.0, 0.5])
@pytest.mark.parametrize("level", [1.0, 1e2, 1e5])
def test_bands_give_what_whole_matrices_give(apart, level):
    expected = level * (30 * np.exp(-(((ENERGY - 2) / 0.1) ** 2)) + np.exp(-ENERGY / 2))
    expected[:20] = 0.0  # below the floor
    counts = np.random.default_rng(0).poisson(expected * (1 + 0.2 * np.sin(ENERGY))).astype(float)
    splines = spline_rows(ENERGY, apart)
    factor, freedom = smooth_factor(counts, expected, splines)
    known, worth = with_whole_matrices(counts, expected, splines.toarray())
    np.testing.assert_allclose(factor, known, rtol=1e-6)
    assert freedom == pytest.approx(worth, rel=1e-5)
