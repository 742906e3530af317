"""Least squares on the simplex, pixel by pixel: a primal active-set method, exact after a few steps."""

import numpy as np
from numba import njit

from edxdask.factorize.kernels.linear_systems import factor, solve

RELATIVE_TOLERANCE = 1e-12  # of a multiplier, against the largest entry of the Gram matrix


@njit(cache=True, nogil=True)
def _best_vertex(gram, target):
    best = 0
    for c in range(1, target.size):
        if 0.5 * gram[c, c] - target[c] < 0.5 * gram[best, best] - target[best]:
            best = c
    return best


@njit(cache=True, nogil=True)
def _on_free(gram, target, members, size, work, lower, point, ones):
    """Minimum over the free entries with sum 1, into ``point``; returns the multiplier of the sum."""
    for i in range(size):
        for j in range(size):
            work[i, j] = gram[members[i], members[j]]
        point[i] = target[members[i]]
        ones[i] = 1.0
    if not factor(work, size, lower):
        return np.nan
    solve(lower, size, point)
    solve(lower, size, ones)
    total = 0.0
    weight = 0.0
    for i in range(size):
        total += point[i]
        weight += ones[i]
    multiplier = (total - 1.0) / weight
    for i in range(size):
        point[i] -= multiplier * ones[i]
    return multiplier


@njit(cache=True, nogil=True)
def _step(values, members, size, point):
    """Go towards ``point`` until an entry reaches zero; returns that entry's place, or -1."""
    length = 1.0
    blocking = -1
    for i in range(size):
        if point[i] < 0.0:
            here = values[members[i]]
            if here / (here - point[i]) <= length:
                length = here / (here - point[i])
                blocking = i
    for i in range(size):
        values[members[i]] += length * (point[i] - values[members[i]])
    return blocking


@njit(cache=True, nogil=True)
def _entering(gram, target, values, multiplier, tolerance):
    """Entry at zero with the steepest gain, or -1 where none gains: that is the optimum."""
    best = -1
    least = -tolerance
    for c in range(target.size):
        if values[c] == 0.0:
            slope = multiplier - target[c]
            for m in range(target.size):
                slope += gram[c, m] * values[m]
            if slope < least:
                least = slope
                best = c
    return best


@njit(cache=True, nogil=True)
def _solve_pixel(gram, target, tolerance, values, members, work, lower, point, ones):
    values[:] = 0.0
    members[0] = _best_vertex(gram, target)
    values[members[0]] = 1.0
    size = 1
    for _ in range(20 * target.size + 20):
        multiplier = _on_free(gram, target, members, size, work, lower, point, ones)
        if np.isnan(multiplier):
            return False
        blocking = _step(values, members, size, point)
        if blocking >= 0:
            values[members[blocking]] = 0.0
            size -= 1
            members[blocking] = members[size]
            continue
        fresh = _entering(gram, target, values, multiplier, tolerance)
        if fresh < 0:
            return True
        members[size] = fresh
        size += 1
    return False


@njit(cache=True, nogil=True)
def simplex_rows(products, totals, gram, out):
    """Minimise ``|y - total · a S|²`` over ``a >= 0, Σa = 1``; writes ``total · a``.

    ``products`` is y Sᵀ and ``gram`` is S Sᵀ. Returns the number of pixels that found no solution.
    """
    k = gram.shape[0]
    tolerance = RELATIVE_TOLERANCE * np.abs(gram).max()
    values, target, point, ones = np.empty(k), np.empty(k), np.empty(k), np.empty(k)
    work, lower = np.empty((k, k)), np.empty((k, k))
    members = np.empty(k, dtype=np.int64)
    failed = 0
    for i in range(products.shape[0]):
        if totals[i] == 0:
            out[i] = 0
            continue
        for c in range(k):
            target[c] = products[i, c] / totals[i]
        if not _solve_pixel(gram, target, tolerance, values, members, work, lower, point, ones):
            failed += 1
        for c in range(k):
            out[i, c] = totals[i] * max(values[c], 0.0)  # a tie may leave -1e-17
    return failed
