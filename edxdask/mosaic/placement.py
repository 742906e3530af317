"""Positions that all pairs agree on: weighted least squares, without the pairs that contradict the others."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import linalg, sparse
from scipy.sparse import csgraph
from threadpoolctl import threadpool_limits

FALSE_SIGMA, FALSE_PX = 5.0, 0.5  # a pair off by more than both is false
ROUNDS = 25  # of reweighting
VOTE = (
    0.1  # px: least error of a pair when false ones are searched for: one precise pair does not outvote two
)
LOOSE = 30.0  # px: how firmly start positions hold what no pair does; too loosely to bend a chain of pairs


@dataclass(frozen=True, eq=False)
class Pairs:
    """Measured shifts between maps.

    Attributes
    ----------
    first, second : (m,) numbers of the maps
    shift : (m, 2) position of the second map in the first, px (y, x); NaN where none could be measured
    std : (m, 2)
    """

    first: np.ndarray
    second: np.ndarray
    shift: np.ndarray
    std: np.ndarray

    @property
    def measured(self) -> np.ndarray:
        """Which pairs have a shift."""
        return np.asarray(np.isfinite(self.shift).all(axis=1))


@dataclass(frozen=True, eq=False)
class Placement:
    """Where maps are.

    Attributes
    ----------
    positions : (n, 2) px (y, x) of each map's first pixel
    std : (n, 2) against the piece that a map belongs to
    residual : (m, 2) measured shift minus that of the positions; NaN where none was measured
    used : (m,) pairs that took part
    pieces : (n,) number of the connected piece of each map
    """

    positions: np.ndarray
    std: np.ndarray
    residual: np.ndarray
    used: np.ndarray
    pieces: np.ndarray


@threadpool_limits.wrap(limits=1)
def place(start: np.ndarray, pairs: Pairs) -> Placement:
    """Find the positions that fit the shifts of all pairs best, without false pairs.

    The pair that contradicts the others most, in units of its own error, is left out, and all is solved anew,
    until none is left; pairs that agree with the final positions come back. A piece of the mosaic that no
    pair ties to another one stays where its start positions say, on average.

    Parameters
    ----------
    start : array
        Start positions (n, 2).
    pairs : Pairs
        Measured shifts.

    Examples
    --------
    >>> start = np.array([[0.0, 0.0], [0.0, 9.0]])
    >>> pairs = Pairs(np.array([0]), np.array([1]), np.array([[1.0, 10.0]]), np.array([[0.1, 0.1]]))
    >>> np.diff(place(start, pairs).positions, axis=0).round(2).tolist()
    [[1.0, 10.0]]
    """
    votes = replace(pairs, std=np.maximum(pairs.std, VOTE))
    common = _common_error(start, votes)
    used = pairs.measured.copy()
    found = _solved(start, votes, used)
    while (worst := _worst(found, votes, common)) is not None:
        used[worst] = False
        found = _solved(start, votes, used)
    found = _solved(start, pairs, used)
    off = np.abs(found.residual)
    back = pairs.measured & ~used & np.all((off < FALSE_PX) | (off < 3 * common * votes.std), axis=1)
    return _solved(start, pairs, used | back) if back.any() else found


def _common_error(start: np.ndarray, pairs: Pairs) -> float:
    """How much larger than stated the errors of most pairs are, 1 or more.

    By least absolute residuals: a false pair bends a least-squares solution all around itself; where
    residuals count by their size and not by their square, it stands alone.
    """
    n, measured = len(start), pairs.measured
    if not measured.any():
        return 1.0
    loosened = pairs
    for _ in range(ROUNDS):
        residual = _residual(_positions(start, loosened, measured), pairs)
        sigma = np.maximum(np.abs(residual) / _error(pairs), 1.0)
        loosened = replace(pairs, std=pairs.std * np.sqrt(sigma))
    ends = np.bincount(np.r_[pairs.first[measured], pairs.second[measured]], minlength=n)
    tested = measured & (ends[pairs.first] > 1) & (ends[pairs.second] > 1)
    if not tested.any():
        return 1.0
    return max(1.0, 1.5 * float(np.median(np.abs(residual[tested]) / pairs.std[tested])))


def _error(pairs: Pairs) -> np.ndarray:
    return np.asarray(np.where(np.isfinite(pairs.std), pairs.std, np.inf))


def _worst(found: Placement, pairs: Pairs, common: float) -> int | None:
    """Find the pair that the others contradict most; None where all agree."""
    free = 1.0 - _leverage(found, pairs)
    tested = found.used[:, None] & (free > 1e-3)  # a pair that alone ties two pieces is contradicted by none
    if not tested.any():
        return None
    safe = np.where(tested, free, 1.0)
    # what the residual would be if the pair took no part
    predicted = np.where(tested, np.abs(found.residual) / safe, 0.0)
    sigma = np.where(tested, np.abs(found.residual) / (_error(pairs) * np.sqrt(safe)), 0.0)
    false = np.where(predicted > FALSE_PX, sigma / common, 0.0).max(axis=1)
    worst = int(np.argmax(false))
    return worst if false[worst] > FALSE_SIGMA else None


def _leverage(found: Placement, pairs: Pairs) -> np.ndarray:
    """How far each shift decides its own residual: 1 where nothing else ties the two maps."""
    columns = []
    for axis in (0, 1):
        inverse = _inverse(len(found.positions), pairs, found.used, axis)
        i, j = pairs.first, pairs.second
        spread = inverse[i, i] + inverse[j, j] - 2 * inverse[i, j]
        columns.append(np.minimum(spread / _error(pairs)[:, axis] ** 2, 1.0))
    return np.stack(columns, axis=1)


def _normal(n: int, pairs: Pairs, used: np.ndarray, axis: int) -> np.ndarray:
    """Make the normal matrix of one axis."""
    weight = np.where(used, 1.0 / _error(pairs)[:, axis] ** 2, 0.0)
    i, j = pairs.first, pairs.second
    matrix = np.zeros((n, n))
    np.add.at(matrix, (i, i), weight)
    np.add.at(matrix, (j, j), weight)
    np.add.at(matrix, (i, j), -weight)
    np.add.at(matrix, (j, i), -weight)
    matrix[np.diag_indices(n)] += 1.0 / LOOSE**2
    return matrix


def _inverse(n: int, pairs: Pairs, used: np.ndarray, axis: int) -> np.ndarray:
    return np.asarray(linalg.inv(_normal(n, pairs, used, axis)))


def _positions(start: np.ndarray, pairs: Pairs, used: np.ndarray) -> np.ndarray:
    """Least squares, relative to the start, so that the loose prior is zero."""
    i, j, n = pairs.first, pairs.second, len(start)
    columns = []
    for axis in (0, 1):
        weight = np.where(used, 1.0 / _error(pairs)[:, axis] ** 2, 0.0)
        wanted = np.where(used, pairs.shift[:, axis] - (start[j, axis] - start[i, axis]), 0.0)
        right = np.bincount(j, weight * wanted, n) - np.bincount(i, weight * wanted, n)
        columns.append(start[:, axis] + linalg.solve(_normal(n, pairs, used, axis), right, assume_a="pos"))
    return np.stack(columns, axis=1)


def _residual(positions: np.ndarray, pairs: Pairs) -> np.ndarray:
    return np.asarray(pairs.shift - (positions[pairs.second] - positions[pairs.first]))


def _solved(start: np.ndarray, pairs: Pairs, used: np.ndarray) -> Placement:
    """Solve for the pairs in use."""
    pieces = _pieces(len(start), pairs.first[used], pairs.second[used])
    positions = _positions(start, pairs, used)
    std = np.stack([_std(_inverse(len(start), pairs, used, axis), pieces) for axis in (0, 1)], axis=1)
    return Placement(positions, std, _residual(positions, pairs), used.copy(), pieces)


def _std(inverse: np.ndarray, pieces: np.ndarray) -> np.ndarray:
    """Errors against the mean of a map's piece, which no pair fixes."""
    means = np.equal.outer(pieces, pieces) / np.bincount(pieces)[pieces][:, None]
    from_mean = np.eye(len(pieces)) - means
    return np.asarray(np.sqrt(np.maximum(((from_mean @ inverse) * from_mean).sum(axis=1), 0.0)))


def _pieces(n: int, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Find the number of each map's connected piece."""
    graph = sparse.coo_array((np.ones(len(first)), (first, second)), shape=(n, n))
    return np.asarray(csgraph.connected_components(graph, directed=False)[1])


def with_shift(pairs: Pairs, number: int, shift: np.ndarray, std: np.ndarray) -> Pairs:
    """Replace what was measured of one pair."""
    shifts, errors = pairs.shift.copy(), pairs.std.copy()
    shifts[number], errors[number] = shift, std
    return replace(pairs, shift=shifts, std=errors)
