"""The path of a drift: single positions become a smooth path with errors, as smooth as the positions allow.

Second differences of the path are taken to be Gaussian; their size is the one that makes the measured positions
most likely. Where positions are precise, the path goes through them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

STIFFNESSES = np.logspace(-4, 5, 28)  # one over the variance of second differences, px^-2
LEAST_STD = 0.01  # px: no position is believed more precisely than this
FAR, FAR_STD = 0.5, 6.0  # px and standard errors: off the path by both, a frame is no part of it


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


def off_the_path(
    groups: list[tuple[int, int]], measured: np.ndarray, covariance: np.ndarray, frames: int
) -> np.ndarray:
    """Groups that a smooth path cannot hold: the worst is left out and the path made again, until all fit."""
    kept = np.ones(len(groups), dtype=bool)
    while kept.sum() > 4:
        chosen = [g for g, k in zip(groups, kept, strict=True) if k]
        path = smooth_path(chosen, measured[kept], _sturdy(covariance[kept]), frames)
        middle = np.array([path.positions[a:b].mean(axis=0) for a, b in groups])
        away = np.abs(measured - middle)
        noise = 1.4826 * np.median(away[kept], axis=0)
        error = np.sqrt(noise**2 + np.diagonal(covariance, axis1=1, axis2=2))
        worst = np.where(kept, ((away / error) * (away > FAR)).max(axis=1), 0.0)
        if worst.max() < FAR_STD:
            break
        kept[int(np.argmax(worst))] = False
    return ~kept


def _sturdy(covariance: np.ndarray) -> np.ndarray:
    """Covariances of a path that a single wrong position does not bend."""
    return covariance + FAR**2 * np.eye(2)
