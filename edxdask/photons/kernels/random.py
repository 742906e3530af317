"""Counter-based random numbers: a pure function of (seed, stream, pixel, draw), not of chunk or worker.

A key is hashed from (seed, stream, pixel); draw n of that key is the SplitMix64 output (G. L. Steele et al.,
OOPSLA 2014) n steps on. Every use (simulation, thinning, random starts) takes a separate stream.
All integers are np.uint64: numba turns a mix of int64 and uint64 into a float.
"""

import math

import numpy as np
from numba import njit

STREAM_COUNTS = 1  # photons of a simulation
STREAM_GEOMETRY = 2  # where a simulation places its grains
STREAM_NOISE = 3  # smooth random fields of a simulation
STREAM_THINNING = 4  # binomial thinning
STREAM_START = 5  # random starts of a factorization
STREAM_ENERGY = 6  # where in its channel a photon is, when it moves to another axis

_STEP = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_S30, _S27, _S31, _S11, _S32 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(11), np.uint64(32)
_ONE = np.uint64(1)
_UNIT = 2.0**-53
_SEARCH_BELOW = 12.0  # of the mean: sequential search is faster


@njit(cache=True, nogil=True, inline="always")
def mix(z):
    """Finaliser of SplitMix64: a bijection of 64 bits in which every input bit reaches every output bit."""
    z = (z ^ (z >> _S30)) * _MIX_1
    z = (z ^ (z >> _S27)) * _MIX_2
    return z ^ (z >> _S31)


@njit(cache=True, nogil=True)
def pixel_key(seed, stream, pixel):
    """Key of one pixel in one stream."""
    z = mix(np.uint64(seed) + _STEP)
    z = mix((z ^ np.uint64(stream)) + _STEP)
    return mix((z ^ np.uint64(pixel)) + _STEP)


@njit(cache=True, nogil=True, inline="always")
def bits(key, draw):
    """64 random bits."""
    return mix(key + (np.uint64(draw) + _ONE) * _STEP)


@njit(cache=True, nogil=True, inline="always")
def uniform(key, draw):
    """Uniform double in [0, 1)."""
    return np.float64(bits(key, draw) >> _S11) * _UNIT


@njit(cache=True, nogil=True)
def uniforms(seed, stream, n):
    """Return the first uniform of each of ``n`` keys: (n,)."""
    out = np.empty(n, dtype=np.float64)
    for i in range(n):
        out[i] = uniform(pixel_key(seed, stream, i), 0)
    return out


@njit(cache=True, nogil=True)
def poisson(mean, key, draw):
    """Poisson variate and the next free draw.

    Means below 12 by sequential search from one uniform; the others by transformed rejection (PTRS;
    W. Hörmann, Insurance: Mathematics and Economics 12 (1993) 39), about 2.2 draws each.
    """
    if mean <= 0.0:
        return 0, draw
    if mean < _SEARCH_BELOW:
        u = uniform(key, draw)
        p = math.exp(-mean)
        n = 0
        while u > p and n < 1000:  # the bound only guards against rounding at u -> 1
            u -= p
            n += 1
            p *= mean / n
        return n, draw + 1
    root = math.sqrt(mean)
    b = 0.931 + 2.53 * root
    a = -0.059 + 0.02483 * b
    inverse_alpha = 1.1239 + 1.1328 / (b - 3.4)
    v_r = 0.9277 - 3.6224 / (b - 2.0)
    log_mean = math.log(mean)
    while True:
        u = uniform(key, draw) - 0.5
        v = uniform(key, draw + 1)
        draw += 2
        us = 0.5 - abs(u)
        if us <= 0.0 or v <= 0.0:
            continue
        k = math.floor((2.0 * a / us + b) * u + mean + 0.43)
        if us >= 0.07 and v <= v_r:
            return int(k), draw
        if k < 0 or (us < 0.013 and v > us):
            continue
        accept = math.log(v * inverse_alpha / (a / (us * us) + b))
        if accept <= -mean + k * log_mean - math.lgamma(k + 1.0):
            return int(k), draw
