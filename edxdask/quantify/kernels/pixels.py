"""Poisson fit of known shapes to each pixel of a block."""

from __future__ import annotations

import numba as nb
import numpy as np

EM_ROUNDS, NEWTON_ROUNDS, SWEEPS = 10, 40, 60
TOLERANCE = 1e-9  # gain of log-likelihood at which a pixel's fit has converged
LEAST = 1e-12
LEAST_WEIGHT = 0.5  # photons, in the information: a column at 0 would seem exactly known


@nb.njit(cache=True, nogil=True)
def fit_pixels(counts, rows, weights, covariance):
    """Fit ``counts[p] ≈ weights[p] @ rows`` with weights of at least 0, by maximum Poisson likelihood.

    counts (P, E) whole numbers; rows (M, E), each of sum 1; results: weights (P, M) in photons and
    covariance (P, M, M), the inverse Fisher information.
    """
    channels = counts.shape[1]
    place = np.empty(channels, np.int64)
    seen = np.empty(channels, np.float64)
    for p in range(counts.shape[0]):
        found = 0
        for e in range(channels):
            if counts[p, e] > 0:
                place[found] = e
                seen[found] = counts[p, e]
                found += 1
        _fit(place[:found], seen[:found], rows, weights[p])
        _invert(rows, weights[p], covariance[p])


@nb.njit(cache=True, nogil=True)
def _likelihood(place, seen, rows, weights):
    """Negative log-likelihood, up to a constant."""
    value = 0.0
    for m in range(weights.size):
        value += weights[m]
    for i in range(place.size):
        mean = 0.0
        for m in range(weights.size):
            mean += weights[m] * rows[m, place[i]]
        value -= seen[i] * np.log(max(mean, LEAST))
    return value


@nb.njit(cache=True, nogil=True)
def _slopes(place, seen, rows, weights, slope, curvature):
    """Gradient and Hessian of the negative log-likelihood; only the part of both from the counts."""
    size = weights.size
    slope[:] = 1.0
    curvature[:] = 0.0
    for i in range(place.size):
        mean = 0.0
        for m in range(size):
            mean += weights[m] * rows[m, place[i]]
        ratio = seen[i] / max(mean, LEAST)
        for m in range(size):
            g = rows[m, place[i]]
            slope[m] -= ratio * g
            for n in range(m + 1):
                curvature[m, n] += ratio * g * rows[n, place[i]] / max(mean, LEAST)
    for m in range(size):
        for n in range(m):
            curvature[n, m] = curvature[m, n]


@nb.njit(cache=True, nogil=True)
def _fit(place, seen, rows, weights):
    size = weights.size
    total = seen.sum()
    weights[:] = total / size
    if total == 0:
        return
    slope = np.empty(size)
    curvature = np.empty((size, size))
    for _ in range(EM_ROUNDS):
        _slopes(place, seen, rows, weights, slope, curvature)
        for m in range(size):
            weights[m] *= 1.0 - slope[m]
    last = _likelihood(place, seen, rows, weights)
    step = np.empty(size)
    tried = np.empty(size)
    for _ in range(NEWTON_ROUNDS):
        _slopes(place, seen, rows, weights, slope, curvature)
        _bounded_step(weights, slope, curvature, step)
        length = 1.0
        value = last
        while length > 1e-6:
            for m in range(size):
                tried[m] = max(weights[m] + length * step[m], 0.0)
            value = _likelihood(place, seen, rows, tried)
            if value < last:
                for m in range(weights.size):
                    weights[m] = tried[m]
                break
            length /= 2
        if last - value <= TOLERANCE * max(1.0, total):
            break
        last = value


@nb.njit(cache=True, nogil=True)
def _bounded_step(weights, slope, curvature, step):
    """Minimise slope·s + s·H·s/2 with weights + s >= 0, by sweeps over the coordinates."""
    size = weights.size
    step[:] = 0.0
    top = 0.0
    for m in range(size):
        top = max(top, curvature[m, m])
    for _ in range(SWEEPS):
        moved = 0.0
        for m in range(size):
            force = slope[m]
            for n in range(size):
                force += curvature[m, n] * step[n]
            stiffness = curvature[m, m] + 1e-9 * top + 1e-300
            new = max(step[m] - force / stiffness, -weights[m])
            moved = max(moved, abs(new - step[m]))
            step[m] = new
        if moved < 1e-7 * max(1.0, weights.max()):
            break


@nb.njit(cache=True, nogil=True)
def _invert(rows, weights, covariance):
    size = weights.size
    information = np.zeros((size, size))
    for e in range(rows.shape[1]):
        mean = LEAST
        for m in range(size):
            mean += max(weights[m], LEAST_WEIGHT) * rows[m, e]
        for m in range(size):
            g = rows[m, e] / mean
            if g > 0:
                for n in range(m + 1):
                    information[m, n] += g * rows[n, e]
    for m in range(size):
        for n in range(m):
            information[n, m] = information[m, n]
    for m in range(size):
        information[m, m] *= 1.0 + 1e-9
    covariance[:] = np.linalg.inv(information)
