"""Counter-based random numbers: uniform, independent of one another, and Poisson where asked."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit
from scipy import stats

from edxdask.photons.kernels.random import bits, mix, pixel_key, poisson, uniform, uniforms


@njit
def _draws(seed, pixel, n):
    out = np.empty(n)
    key = pixel_key(seed, 4, pixel)
    for i in range(n):
        out[i] = uniform(key, i)
    return out


@njit
def _poissons(mean, n):
    out = np.empty(n, dtype=np.int64)
    used = 0
    for pixel in range(n):
        value, draw = poisson(mean, pixel_key(9, 1, pixel), 0)
        out[pixel] = value
        used += draw
    return out, used


def test_the_generator_is_splitmix64():
    # first outputs for state 1234567, as published with the reference implementation
    expected = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    key = np.uint64(1234567)
    assert [int(bits(key, np.uint64(i))) for i in range(3)] == expected
    assert int(mix(np.uint64(0))) == 0


def test_draws_of_one_pixel_are_uniform_and_uncorrelated():
    u = _draws(11, 12345, 200_000)
    assert stats.kstest(u, "uniform").pvalue > 1e-4
    assert abs(np.corrcoef(u[1:], u[:-1])[0, 1]) < 0.01


def test_first_draws_of_neighbouring_pixels_are_uniform_and_uncorrelated():
    u = uniforms(11, 2, 200_000)
    assert stats.kstest(u, "uniform").pvalue > 1e-4
    assert abs(np.corrcoef(u[1:], u[:-1])[0, 1]) < 0.01
    assert abs(np.corrcoef(u, uniforms(12, 2, 200_000))[0, 1]) < 0.01
    assert abs(np.corrcoef(u, uniforms(11, 3, 200_000))[0, 1]) < 0.01


def test_keys_do_not_collide():
    keys = {int(pixel_key(s, t, p)) for s in range(5) for t in range(5) for p in range(2000)}
    assert len(keys) == 5 * 5 * 2000


@pytest.mark.parametrize("mean", [0.01, 1.0, 11.9, 12.1, 50.0, 1e4, 1e7])
def test_poisson_variates_have_the_poisson_distribution(mean):
    n = 50_000
    values, used = _poissons(mean, n)
    assert values.mean() == pytest.approx(mean, abs=4.5 * np.sqrt(mean / n))
    assert values.var() == pytest.approx(mean, abs=4.5 * mean * np.sqrt((2 + 1 / mean) / n))
    # a discrete distribution is compared in the middle of its steps
    middle = stats.poisson.cdf(values, mean) - 0.5 * stats.poisson.pmf(values, mean)
    assert middle.mean() == pytest.approx(0.5, abs=4.5 * np.sqrt(1 / 12 / n))
    assert used < 3 * n


def test_a_mean_of_zero_gives_no_photons():
    values, used = _poissons(0.0, 10)
    assert values.sum() == 0
    assert used == 0
