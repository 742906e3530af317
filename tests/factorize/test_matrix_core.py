"""The core of the matrix: where it is, when there is none, and that it takes the floor away from traces."""

from __future__ import annotations

import numpy as np
import pytest

import edxdask
from edxdask.engine.layout import ImageStack
from edxdask.engine.problem import Demand, photons_of
from edxdask.engine.states import PixelStates
from edxdask.factorize.iteration.starts import GivenState
from edxdask.factorize.pansharpening.cores import NEAR_PX, matrix_core
from edxdask.factorize.pansharpening.similar_pixels import gather_similar

STACK = [ImageStack(1, 20, 30, 0, (0, 20))]


def fractions(other):
    """Abundances (pixels, 2) of 100 counts per pixel."""
    flat = np.asarray(other, dtype=float).ravel()
    return 100.0 * np.stack([1 - flat, flat], axis=1)


def test_a_core_is_far_from_everything_that_holds_another_phase():
    other = np.full((20, 30), 0.004)
    other[5, 5] = 0.4
    found = matrix_core(fractions(other), STACK)
    y, x = np.indices((20, 30))
    np.testing.assert_array_equal(found.inside.reshape(20, 30), np.hypot(y - 5, x - 5) > NEAR_PX)
    assert found.phase == 0


@pytest.mark.parametrize("amount", [0.02, 0.3])
def test_where_another_phase_is_everywhere_there_is_no_core(amount):
    assert matrix_core(fractions(np.full((20, 30), amount)), STACK) is None


def test_images_of_a_stack_and_maps_do_not_reach_into_one_another():
    other = np.zeros((3, 20, 30))
    other[1] = 0.5
    stacks = [ImageStack(2, 20, 30, 0, (0, 20)), ImageStack(1, 20, 30, 1200, (0, 20))]
    found = matrix_core(fractions(other), stacks)
    assert found.inside.reshape(3, -1).all(axis=1).tolist() == [True, False, True]


@pytest.mark.parametrize("chunk", [4, 20])
def test_the_core_is_one_sum_of_one_phase(chunk):
    draw = np.random.default_rng(0)
    counts = draw.poisson(0.5, (20, 30, 40)).astype(np.uint16)
    other = np.full((20, 30), 0.004)
    other[5, 5] = 0.4
    total = counts.sum(axis=2, dtype=float).ravel()[:, None]
    abundance = fractions(other) / 100 * total
    core = matrix_core(abundance, STACK)
    cube = edxdask.from_array(counts, energy_scale=0.01, energy_offset=0.2).chunk({"y": chunk, "x": 7})
    with photons_of(cube, step="test", demand=Demand(100, 1000)) as problem:
        groups = gather_similar(PixelStates.made(problem, GivenState(abundance)), 2, core)
    alone = groups.abundance[:, 1] == 0
    assert alone.sum() == 1
    expected = counts.reshape(-1, 40)[core.inside].sum(axis=0)
    np.testing.assert_array_equal(groups.counts[alone][0], expected)
    np.testing.assert_array_equal(groups.counts.sum(axis=0), counts.sum(axis=(0, 1)))
