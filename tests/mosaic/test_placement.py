"""Positions from pairs: least squares, false pairs, pieces."""

from __future__ import annotations

import numpy as np
import pytest

from edxdask.mosaic.placement import Pairs, place
from edxdask.mosaic.starts import grid_of

ROWS, COLUMNS = 2, 4


def grid_pairs(rng, *, error=0.05, diagonals=True):
    """Pairs of neighbours on a 2 × 4 grid, measured with an error, and the true positions."""
    truth = np.array([[230 * r, 230 * c] for r, c in np.ndindex(ROWS, COLUMNS)]) + rng.uniform(-3, 3, (8, 2))
    first, second = [], []
    for i, (r, c) in enumerate(np.ndindex(ROWS, COLUMNS)):
        for j, (s, d) in enumerate(np.ndindex(ROWS, COLUMNS)):
            near = abs(r - s) + abs(c - d) == 1 or (diagonals and abs(r - s) == abs(c - d) == 1)
            if i < j and near:
                first.append(i)
                second.append(j)
    first, second = np.array(first), np.array(second)
    shift = truth[second] - truth[first] + error * rng.normal(size=(len(first), 2))
    return Pairs(first, second, shift, np.full_like(shift, error)), truth


def two_of_different_maps(rng, pairs):
    ends = list(zip(pairs.first, pairs.second, strict=True))
    while True:
        one, other = rng.choice(len(ends), 2, replace=False)
        if not set(ends[one]) & set(ends[other]):
            return np.array([one, other])


def off(found, truth):
    error = found.positions - truth
    return float(np.sqrt(np.mean((error - error.mean(axis=0)) ** 2)))


@pytest.mark.parametrize("seed", range(12))
def test_one_false_pair_in_ten_changes_nothing(seed):
    rng = np.random.default_rng(seed)
    pairs, truth = grid_pairs(rng)
    start = truth + rng.uniform(-3, 3, truth.shape)
    honest = place(start, pairs)
    wrong = two_of_different_maps(rng, pairs)  # of 16; of a corner's three pairs two decide against one
    shift = pairs.shift.copy()
    shift[wrong] += rng.choice([-7.0, 7.0], (2, 2))
    found = place(start, Pairs(pairs.first, pairs.second, shift, pairs.std))
    assert np.flatnonzero(~found.used).tolist() == sorted(wrong.tolist())
    assert off(honest, truth) < 0.06
    assert off(found, truth) < 0.07
    plain = _least_squares(pairs, shift, start)
    assert off(plain, truth) > 0.5  # what it would be with them


def _least_squares(pairs, shift, start):
    loose = np.full_like(pairs.std, 50.0)  # errors so large that nothing is false
    return place(start, Pairs(pairs.first, pairs.second, shift, loose))


def test_errors_of_positions_are_those_that_repeats_show():
    rng = np.random.default_rng(0)
    errors, stated = [], None
    for _ in range(60):
        pairs, truth = grid_pairs(rng)
        found = place(truth, pairs)
        error = found.positions - truth
        errors.append(error - error.mean(axis=0))
        stated = found.std
    seen = np.std(errors, axis=0)
    # 60 repeats know a standard deviation to 9 %; each of 16 may be 2.7 of those off
    np.testing.assert_allclose(seen, stated, rtol=0.25)


def test_a_better_pair_counts_more():
    start = np.zeros((2, 2))
    twice = Pairs(
        np.array([0, 0]),
        np.array([1, 1]),
        np.array([[0.0, 0.0], [0.3, 0.3]]),
        np.array([[0.1] * 2, [0.2] * 2]),
    )
    found = place(start, twice)
    np.testing.assert_allclose(np.diff(found.positions, axis=0), 0.06, atol=1e-3)


def test_pieces_stay_where_they_began_and_do_not_bend_chains():
    """Five maps in a row whose grid is wrong by 8 px each step, and one alone."""
    start = np.array([[0.0, 90.0 * i] for i in range(5)] + [[300.0, 0.0]])
    first, second = np.arange(4), np.arange(1, 5)
    shift = np.tile([0.0, 98.0], (4, 1))
    found = place(start, Pairs(first, second, shift, np.full((4, 2), 0.05)))
    np.testing.assert_allclose(np.diff(found.positions[:5, 1]), 98.0, atol=0.01)
    np.testing.assert_allclose(found.positions[:5].mean(axis=0), start[:5].mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(found.positions[5], start[5])
    assert found.pieces.tolist() == [0, 0, 0, 0, 0, 1]


def test_nothing_measured_leaves_the_start():
    start = np.array([[0.0, 0.0], [0.0, 50.0]])
    none = np.full((1, 2), np.nan)
    found = place(start, Pairs(np.array([0]), np.array([1]), none, none))
    np.testing.assert_array_equal(found.positions, start)
    assert not found.used.any()


@pytest.mark.parametrize("grid", ["2x", "0x4", (2,), "two", (2, 3, 4), 7])
def test_what_is_no_grid_is_refused(grid):
    with pytest.raises(ValueError, match="rows and columns of maps"):
        grid_of(grid)
