"""Binomial numbers without a loop over trials, from counter-based random numbers.

Both methods are exact up to the rounding of double precision: sequential search of the distribution where
few successes are expected, and transformed rejection elsewhere (algorithm BTRS; W. Hörmann, Journal of
Statistical Computation and Simulation 46 (1993) 101), which takes about 1.3 pairs of uniform numbers
for any number of trials.
"""

import math

import numpy as np
from numba import njit

from edxdask.photons.kernels.random import uniform

_SMALL_MEAN = 10.0  # BTRS needs that many expected successes
_DRAW_STEP = np.uint64(65536)
# ln k! - [ln sqrt(2 pi) + (k + 1/2) ln(k + 1) - (k + 1)] for k = 0 to 9, from the exact factorials
_TAIL = np.array(
    [math.lgamma(n) - 0.5 * math.log(2 * math.pi) - (n - 0.5) * math.log(n) + n for n in range(1, 11)]
)


@njit(cache=True, nogil=True)
def _stirling_tail(k):
    """Return the difference of ln k! to Stirling's formula."""
    if k < _TAIL.size:
        return _TAIL[np.int64(k)]
    inverse = 1.0 / (k + 1.0)
    square = inverse * inverse
    return (1.0 / 12 - (1.0 / 360 - square / 1260) * square) * inverse


@njit(cache=True, nogil=True)
def _searched(trials, probability, key, draw):
    """Successes by sequential search from one uniform number; few are expected."""
    u = uniform(key, draw)
    odds = probability / (1.0 - probability)
    term = math.exp(trials * math.log1p(-probability))
    successes = 0
    while u > term and successes < trials:
        u -= term
        successes += 1
        term *= odds * (trials - successes + 1) / successes
        if term < 1e-300:  # rounding at u -> 1: nothing is left to find
            break
    return successes


@njit(cache=True, nogil=True)
def _rejected(trials, probability, key, draw):
    """Successes by transformed rejection; ``probability`` is at most one half."""
    spread = math.sqrt(trials * probability * (1.0 - probability))
    b = 1.15 + 2.53 * spread
    a = -0.0873 + 0.0248 * b + 0.01 * probability
    centre = trials * probability + 0.5
    accepted_at_once = 0.92 - 4.2 / b
    odds = probability / (1.0 - probability)
    scale = (2.83 + 5.1 / b) * spread
    mode = math.floor((trials + 1.0) * probability)
    at_mode = _stirling_tail(mode) + _stirling_tail(trials - mode)
    at_mode += (mode + 0.5) * math.log((mode + 1.0) / (odds * (trials - mode + 1.0)))
    while True:
        u = uniform(key, draw) - 0.5
        v = uniform(key, draw + _DRAW_STEP)
        draw += _DRAW_STEP + _DRAW_STEP
        us = 0.5 - abs(u)
        if us <= 0.0 or v <= 0.0:
            continue
        k = math.floor((2.0 * a / us + b) * u + centre)
        if us >= 0.07 and v <= accepted_at_once:
            return np.int64(k)
        if k < 0.0 or k > trials:
            continue
        # logarithm of the probability of k over that of the mode
        ratio = at_mode - _stirling_tail(k) - _stirling_tail(trials - k)
        ratio += (trials + 1.0) * math.log((trials - mode + 1.0) / (trials - k + 1.0))
        ratio += (k + 0.5) * math.log(odds * (trials - k + 1.0) / (k + 1.0))
        if math.log(v * scale / (a / (us * us) + b)) <= ratio:
            return np.int64(k)


@njit(cache=True, nogil=True)
def binomial(trials, probability, key, draw):
    """Binomial variate; uses the numbers ``draw``, ``draw + 65536``, … of ``key``.

    Parameters
    ----------
    trials : number of trials, below 2**53
    probability : of a success, 0 to 1
    key, draw : np.uint64, key of the pixel and the first number to use
    """
    if probability <= 0.0 or trials <= 0:
        return np.int64(0)
    if probability >= 1.0:
        return np.int64(trials)
    rare = min(probability, 1.0 - probability)
    if trials * rare < _SMALL_MEAN:
        successes = np.int64(_searched(trials, rare, key, draw))
    else:
        successes = _rejected(trials, rare, key, draw)
    return successes if probability <= 0.5 else np.int64(trials) - successes
