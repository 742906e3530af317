"""Non-negative weights of known shapes, by maximum Poisson likelihood of one spectrum."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import xlogy

EM_ROUNDS, NEWTON_ROUNDS = 10, 100
TOLERANCE = 1e-10  # relative gain of the objective at which the fit stands
LEAST_MODEL = 1e-9  # expected counts below which a channel counts as empty
RIDGE = 1e-10


@dataclass(frozen=True, eq=False)
class LinearFit:
    """Weights of the rows of a matrix.

    Attributes
    ----------
    weights : (M,)
    covariance : (M, M); 0 for weights that stand at their bound of 0
    expected : (E,)
    deviance : twice the log-likelihood ratio to the data
    """

    weights: np.ndarray
    covariance: np.ndarray
    expected: np.ndarray
    deviance: float


def deviance(counts: np.ndarray, expected: np.ndarray) -> float:
    """Twice the log-likelihood that ``expected`` lacks against the counts themselves."""
    safe = np.maximum(expected, LEAST_MODEL)
    return float(2 * np.sum(safe - counts + xlogy(counts, counts / safe)))


def fit_weights(
    counts: np.ndarray,
    matrix: np.ndarray,
    *,
    start: np.ndarray | None = None,
    fixed: np.ndarray | None = None,
) -> LinearFit:
    """Fit ``counts ≈ weights @ matrix`` with weights of at least 0.

    A few rounds of expectation-maximization, then Newton steps on the weights that are free, with those at
    zero let go when their slope says so.

    Parameters
    ----------
    counts : (E,)
    matrix : (M, E), non-negative rows
    start : (M,) weights to begin with
    fixed : (E,) expected counts that are there whatever the weights

    Examples
    --------
    >>> shapes = np.array([[1.0, 1.0, 0.0], [0.0, 1.0, 1.0], [1.0, 0.0, 1.0]])
    >>> fit_weights(np.array([3.0, 7.0, 4.0]), shapes).weights.round(6).tolist()
    [3.0, 4.0, 0.0]
    """
    counts = np.asarray(counts, dtype=np.float64)
    sums = matrix.sum(axis=1)
    unit = matrix / np.where(sums > 0, sums, 1.0)[:, None]
    base = np.zeros_like(counts) if fixed is None else fixed
    weights = np.full(len(unit), max(counts.sum(), 1.0) / len(unit)) if start is None else start * sums
    for _ in range(EM_ROUNDS):
        weights = weights * (unit @ (counts / np.maximum(weights @ unit + base, LEAST_MODEL)))
    weights = _newton(counts, unit, base, weights)
    expected = weights @ unit + base
    covariance = _covariance(expected, unit, weights)
    scale = np.where(sums > 0, sums, 1.0)
    return LinearFit(
        weights / scale, covariance / np.outer(scale, scale), expected, deviance(counts, expected)
    )


def _newton(counts: np.ndarray, unit: np.ndarray, base: np.ndarray, weights: np.ndarray) -> np.ndarray:
    last = deviance(counts, weights @ unit + base)
    for _ in range(NEWTON_ROUNDS):
        expected = np.maximum(weights @ unit + base, LEAST_MODEL)
        slope = unit @ (1.0 - counts / expected)
        small = 1e-9 * max(weights.max(), 1.0)
        free = (weights > small) | (slope < 0)
        if not free.any():
            return weights
        rows = unit[free]
        curvature = (rows * (np.maximum(counts, 0.5) / expected**2)) @ rows.T
        curvature[np.diag_indices_from(curvature)] *= 1 + RIDGE
        step = np.zeros_like(weights)
        step[free] = np.linalg.lstsq(curvature, -slope[free], rcond=1e-13)[0]
        length, found, value = 1.0, weights, last
        while length > 1e-6:
            tried = np.maximum(weights + length * step, 0.0)
            score = deviance(counts, tried @ unit + base)
            if score < value:
                found, value = tried, score
                break
            length /= 2
        gain, last, weights = last - value, value, found
        if gain <= TOLERANCE * max(abs(last), 1.0):
            break
    return weights


def _covariance(expected: np.ndarray, unit: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Inverse of the Fisher information of the weights above zero."""
    free = weights > 1e-9 * max(weights.max(), 1.0)
    rows = unit[free]
    information = (rows / np.maximum(expected, LEAST_MODEL)) @ rows.T
    out = np.zeros((len(unit), len(unit)))
    out[np.ix_(free, free)] = np.linalg.pinv(information, rcond=1e-13, hermitian=True)
    return out
