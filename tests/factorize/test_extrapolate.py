"""The extrapolated point of accelerated rounds, beside plain numpy."""

from __future__ import annotations

import numpy as np
import pytest

from edxdask.factorize.iteration.sweep_step import extrapolate


def expected(now, before, momentum):
    known = before > 0
    ratio = np.divide(now, before, out=np.ones(now.shape), where=known, dtype=np.float64)
    return now * np.clip(ratio**momentum, 0.5, 2.0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(1, 1), (5, 3), (16, 1), (33, 4), (2000, 3)])
@pytest.mark.parametrize("momentum", [0.0, 0.25, 0.98, 1.2])
def test_steps_go_on_by_ratios(dtype, shape, momentum):
    rng = np.random.default_rng(0)
    before = (10.0 ** rng.uniform(-20, 6, shape)).astype(dtype)
    was = (before * np.exp(rng.normal(0, 0.5, shape))).astype(dtype)
    was[rng.random(shape) < 0.1] = 0
    before[rng.random(shape) < 0.1] = 0
    now = was.copy()
    wanted = expected(was, before, momentum)
    extrapolate(now, before, momentum)
    np.testing.assert_array_equal(before, was)
    np.testing.assert_allclose(now, wanted, rtol=8 * np.finfo(dtype).eps, atol=0)


def test_steps_are_bounded_whatever_the_numbers():
    tiny, huge = np.finfo(np.float32).smallest_subnormal, np.finfo(np.float32).max
    now = np.array([tiny, huge, 1.0, tiny, 1e30], np.float32)
    was, before = now.copy(), np.array([huge, tiny, tiny, 0.0, 1e30], np.float32)
    extrapolate(now, before, 0.98)
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(now, was * np.array([0.5, 2, 2, 1, 1], np.float32))
