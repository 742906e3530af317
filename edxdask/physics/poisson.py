"""Non-negative weights of known shapes, by maximum Poisson likelihood of one spectrum."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls
from scipy.special import xlogy

EM_ROUNDS, NEWTON_ROUNDS = 10, 100
TOLERANCE = 1e-10  # relative gain of the objective at which the fit has converged
LEAST_MODEL = 1e-9  # expected counts below which a channel counts as empty
LEAST_VARIANCE = 1e-3  # counts; so that one photon in an empty channel does not dominate a step
SHORTEST_STEP = 1e-6


@dataclass(frozen=True, eq=False)
class LinearFit:
    """Weights of the rows of a matrix.

    Attributes
    ----------
    weights : (M,)
    covariance : (M, M); 0 for weights that are at their bound of 0
    expected : (E,)
    deviance : twice the log-likelihood ratio to the data
    """

    weights: np.ndarray
    covariance: np.ndarray
    expected: np.ndarray
    deviance: float


def deviance(counts: np.ndarray, expected: np.ndarray) -> float:
    """Twice the log-likelihood of the counts themselves, minus twice that of ``expected``."""
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

    A few rounds of expectation-maximization, then Fisher scoring with the bounds kept in every step.

    Parameters
    ----------
    counts : (E,)
    matrix : (M, E), non-negative rows
    start : (M,) weights to begin with
    fixed : (E,) expected counts that do not depend on the weights

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
    """Fisher scoring; steps are halved until they gain.

    Each step solves the weighted least squares under the bounds, so that columns that are nearly multiples of
    one another divide their counts and do not stop it.
    """
    last = deviance(counts, weights @ unit + base)
    for _ in range(NEWTON_ROUNDS):
        root = 1.0 / np.sqrt(np.maximum(weights @ unit + base, LEAST_VARIANCE))
        rows = unit * root
        size = np.linalg.norm(rows, axis=1)
        size = np.where(size > 0, size, 1.0)
        q, r = np.linalg.qr((rows / size[:, None]).T)
        step = nnls(r, q.T @ ((counts - base) * root))[0] / size - weights
        length, value = 1.0, last
        while length > SHORTEST_STEP:
            tried = np.maximum(weights + length * step, 0.0)
            value = deviance(counts, tried @ unit + base)
            if value < last:
                weights = tried
                break
            length /= 2
        if not last - value > TOLERANCE * max(abs(last), 1.0):
            break
        last = value
    return weights


def _covariance(expected: np.ndarray, unit: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Inverse of the Fisher information of the weights above zero."""
    free = weights > 1e-9 * max(weights.max(), 1.0)
    rows = unit[free]
    information = (rows / np.maximum(expected, LEAST_MODEL)) @ rows.T
    out = np.zeros((len(unit), len(unit)))
    out[np.ix_(free, free)] = np.linalg.pinv(information, rcond=1e-13, hermitian=True)
    return out
