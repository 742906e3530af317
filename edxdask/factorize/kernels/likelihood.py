"""Most likely abundances of known spectra, pixel by pixel: Newton's method with bounds.

The Poisson likelihood of a pixel is convex in its few abundances. Expectation-maximization needs a
thousand steps where an abundance goes to zero; Newton's method, damped in the metric of those steps, needs
some ten.
"""

import numpy as np
from numba import njit

from edxdask.factorize.kernels.linear_systems import factor, solve

FIRST_STEPS = 4  # of expectation-maximization, which come close from any start
MOST_TURNS = 200
TOLERANCE = 1e-9  # of the optimality conditions, per photon
AT_BORDER = 1e-9  # abundances below this fraction that would shrink go to zero
DAMPING, RELEASE = 1e-2, 1e-6
ROUNDING = 1e-13


@njit(cache=True, nogil=True)
def _fit(columns, e, a):
    total = 0.0
    for c in range(a.size):
        total += columns[e, c] * a[c]
    return total


@njit(cache=True, nogil=True)
def _value(channel, count, columns, explained, a):
    """Negative log-likelihood, infinite where a photon was found that is not expected."""
    value = a.sum()
    for j in range(channel.size):
        e = channel[j]
        if explained[e]:
            fit = _fit(columns, e, a)
            if fit <= 0.0:
                return np.inf
            value -= np.float64(count[j]) * np.log(fit)
    return value


@njit(cache=True, nogil=True)
def _slopes(channel, count, columns, explained, a, slope, curve):
    """First and second derivatives; the lower triangle of the second."""
    slope[:] = 1.0
    curve[:] = 0.0
    for j in range(channel.size):
        e = channel[j]
        if explained[e]:
            fit = _fit(columns, e, a)
            ratio = np.float64(count[j]) / fit
            for c in range(a.size):
                part = ratio * columns[e, c]
                slope[c] -= part
                for m in range(c + 1):
                    curve[c, m] += part * columns[e, m] / fit


@njit(cache=True, nogil=True)
def _miss(a, slope, total):
    """How far the optimality conditions are from true, per photon; slopes are per photon already."""
    worst = 0.0
    for c in range(a.size):
        worst = max(worst, abs(a[c] * slope[c]) / total, -slope[c])
    return worst


@njit(cache=True, nogil=True)
def _direction(a, slope, curve, total, miss, members, work, lower, right, out):
    """Write the damped Newton direction of what is free, and the step to zero of what is at the border."""
    size = 0
    for c in range(a.size):
        out[c] = -a[c]
        if a[c] > AT_BORDER * total or slope[c] <= 0.0:
            members[size] = c
            size += 1
    damping = min(DAMPING, miss)
    for i in range(size):
        for j in range(i + 1):
            work[i, j] = curve[members[i], members[j]]
        work[i, i] += damping / max(a[members[i]], RELEASE * total)
        right[i] = -slope[members[i]]
    if not factor(work, size, lower):
        return False
    solve(lower, size, right)
    for i in range(size):
        out[members[i]] = right[i]
    return True


@njit(cache=True, nogil=True)
def _search(channel, count, columns, explained, a, slope, direction, trial):
    """Go along the direction, bent at zero, as far as the likelihood gains; False where it does not."""
    value = _value(channel, count, columns, explained, a)
    rounding = ROUNDING * (abs(value) + a.sum())  # the sum's terms may be large and cancel
    length = 1.0
    for _ in range(30):
        gain = 0.0
        for c in range(a.size):
            trial[c] = max(0.0, a[c] + length * direction[c])
            gain += slope[c] * (trial[c] - a[c])
        if _value(channel, count, columns, explained, trial) <= value + 1e-4 * gain + rounding:
            for c in range(a.size):
                a[c] = trial[c]
            return True
        length *= 0.5
    return False


@njit(cache=True, nogil=True)
def _solve_pixel(
    channel, count, columns, explained, total, a, slope, curve, members, work, lower, right, step
):
    a[:] = total / a.size
    for turn in range(MOST_TURNS):
        _slopes(channel, count, columns, explained, a, slope, curve)
        moved = False
        if turn >= FIRST_STEPS:
            miss = _miss(a, slope, total)
            if miss <= TOLERANCE:
                return True
            if _direction(a, slope, curve, total, miss, members, work, lower, right, step):
                moved = _search(channel, count, columns, explained, a, slope, step, right)
        if not moved:
            for c in range(a.size):
                a[c] *= 1.0 - slope[c]
    return False


@njit(cache=True, nogil=True)
def likelihood_rows(indptr, channel, count, columns, floor, out):
    """Maximise the Poisson likelihood of ``out @ columns.T`` over ``out >= 0``, spectra of unit sum.

    ``columns`` is (E, k), the spectra by channel. Photons in channels where all spectra are zero say
    nothing and are left out. Returns the negative log-likelihood, with fits no smaller than ``floor``, and
    the number of pixels that missed the tolerance.
    """
    k = columns.shape[1]
    explained = columns.sum(axis=1) > 0.0
    a, slope, right, step = np.empty(k), np.empty(k), np.empty(k), np.empty(k)
    curve, work, lower = np.empty((k, k)), np.empty((k, k)), np.empty((k, k))
    members = np.empty(k, dtype=np.int64)
    value = 0.0
    failed = 0
    for i in range(indptr.size - 1):
        own_channel, own_count = channel[indptr[i] : indptr[i + 1]], count[indptr[i] : indptr[i + 1]]
        total = 0.0
        for j in range(own_channel.size):
            if explained[own_channel[j]]:
                total += np.float64(own_count[j])
        out[i] = 0.0
        if total > 0.0:
            if not _solve_pixel(
                own_channel, own_count, columns, explained, total, a, slope, curve, members, work, lower,
                right, step,
            ):  # fmt: skip
                failed += 1
            scale = total / a.sum()
            for c in range(k):
                out[i, c] = a[c] * scale
        value += out[i].sum()
        for j in range(own_channel.size):
            value -= np.float64(own_count[j]) * np.log(max(_fit(columns, own_channel[j], out[i]), floor))
    return value, failed
