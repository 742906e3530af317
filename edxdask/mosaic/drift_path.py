"""The path of a drift: single positions become a smooth path with errors, as smooth as the positions allow.

Second differences of the path are taken to be Gaussian; their size is the one that makes the measured
positions most likely. Where positions are precise, the path goes through them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

STIFFNESSES = np.logspace(-4, 5, 28)  # one over the variance of second differences, px^-2
LEAST_STD = 0.01  # px: no position is believed more precisely than this
# Off the path by so many px, standard errors and usual steps from frame to frame, a frame is no part of it.
FAR, FAR_STD, FAR_STEPS = 0.5, 6.0, 4.0


@dataclass(frozen=True)
class Path:
    """Positions of all frames, and how well they are known.

    Attributes
    ----------
    positions : (frames, 2) px
    std : (frames, 2) px
    """

    positions: np.ndarray
    std: np.ndarray


def smooth_path(
    groups: list[tuple[int, int]], measured: np.ndarray, covariance: np.ndarray, frames: int
) -> Path:
    """Path of single frames from positions of groups of frames.

    Parameters
    ----------
    groups : list of (int, int)
        First frame and one past the last of each group that has a position.
    measured : ndarray
        (groups, 2) position of each group: the mean of its frames'.
    covariance : ndarray
        (groups, 2, 2) of these.
    frames : int
        Number of frames; those in no group get positions as well.

    Examples
    --------
    >>> line = np.arange(5.0)[:, None] * [1.0, -2.0]
    >>> found = smooth_path([(i, i + 1) for i in range(5)], line, np.tile(0.01 * np.eye(2), (5, 1, 1)), 5)
    >>> np.abs(found.positions - line).max() < 0.01
    np.True_
    """
    means = np.zeros((len(groups), frames))
    for row, (first, stop) in zip(means, groups, strict=True):
        row[first:stop] = 1 / (stop - first)
    variance = np.maximum(np.diagonal(covariance, axis1=1, axis2=2), LEAST_STD**2)
    bends = np.diff(np.eye(frames), 2, axis=0) if len(groups) > 2 else np.diff(np.eye(frames), axis=0)
    stiffness = STIFFNESSES if len(groups) > 2 else STIFFNESSES[:1]
    best = max(stiffness, key=lambda s: sum(_evidence(means, measured, variance, bends, s)))
    positions, std = np.empty((frames, 2)), np.empty((frames, 2))
    for axis in range(2):
        precision, right_side = _normal(means, measured[:, axis], variance[:, axis], bends, best)
        inverse = np.linalg.inv(precision)
        positions[:, axis] = inverse @ right_side
        std[:, axis] = np.sqrt(np.diagonal(inverse))
    return Path(positions, std)


def _normal(
    means: np.ndarray, measured: np.ndarray, variance: np.ndarray, bends: np.ndarray, stiffness: float
) -> tuple[np.ndarray, np.ndarray]:
    weighted = means.T / variance
    ridge = 1e-9 * np.eye(means.shape[1])
    return weighted @ means + stiffness * bends.T @ bends + ridge, weighted @ measured


def _evidence(
    means: np.ndarray, measured: np.ndarray, variance: np.ndarray, bends: np.ndarray, stiffness: float
) -> list[float]:
    """Logarithm of how likely the positions are under a stiffness, for each axis, up to a constant."""
    values = []
    for axis in range(2):
        precision, right_side = _normal(means, measured[:, axis], variance[:, axis], bends, stiffness)
        _, determinant = np.linalg.slogdet(precision)
        fit = (measured[:, axis] ** 2 / variance[:, axis]).sum()
        misfit = fit - right_side @ np.linalg.solve(precision, right_side)
        values.append(0.5 * (bends.shape[0] * np.log(stiffness) - determinant - misfit))
    return values


def off_the_path(measured: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Find positions that agree neither with those before nor with those after them.

    Away from the ends a position is compared with the median of itself and its neighbours, so a lasting
    jump is no fault; at the ends with what its neighbours extrapolate to.

    Examples
    --------
    >>> path = np.array([0.0, 1, 2, 3, 19, 5, 6, 20, 21, 22])[:, None] * [1.0, 0.0]
    >>> off_the_path(path, np.tile(0.01 * np.eye(2), (10, 1, 1))).nonzero()[0].tolist()
    [4]
    """
    bad = np.zeros(len(measured), dtype=bool)
    if len(measured) < 5:
        return bad
    for expected in (_around, _at_the_ends):
        while (~bad).sum() > 4:  # the worst goes first: it is a neighbour of others
            kept = np.flatnonzero(~bad)
            away = np.abs(measured[kept] - expected(measured[kept]))
            noise = 1.4826 * np.median(away, axis=0)
            error = np.sqrt(noise**2 + np.diagonal(covariance[kept], axis1=1, axis2=2))
            step = np.median(np.linalg.norm(np.diff(measured[kept], axis=0), axis=1))
            excess = (away / error * (away > max(FAR, FAR_STEPS * step))).max(axis=1)
            if excess.max() < FAR_STD:
                break
            bad[kept[int(np.argmax(excess))]] = True
    return bad


def _around(positions: np.ndarray) -> np.ndarray:
    """Take the median of up to two neighbours on each side and the position itself."""
    last = len(positions) - 1
    reach = [min(i, last - i, 2) for i in range(last + 1)]
    return np.array([np.median(positions[i - r : i + r + 1], axis=0) for i, r in enumerate(reach)])


def _at_the_ends(positions: np.ndarray) -> np.ndarray:
    """Extrapolate to the first and the last position; others are as they are."""
    expected = positions.copy()
    for end, (a, b, c) in ((0, positions[1:4]), (-1, positions[-2:-5:-1])):
        expected[end] = np.median([a, 2 * a - b, 3 * b - 2 * c], axis=0)
    return expected
