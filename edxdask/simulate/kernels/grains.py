"""Thickness profiles of irregular grains, and smooth random fields, at any pixel of a map of any size."""

import math

import numpy as np
from numba import njit

from edxdask.photons.kernels.random import STREAM_NOISE, pixel_key, uniform

# Columns of a table of grains; the harmonics 2, 3, … follow as amplitudes, then as phases.
CENTRE_Y, CENTRE_X, RADIUS, PEAK, POWER, ASPECT, ANGLE, HARMONICS = range(8)
N_HARMONICS = 6
GRAIN_COLUMNS = HARMONICS + 2 * N_HARMONICS


@njit(cache=True, nogil=True)
def _reach(grain):
    swell = 1.0
    for m in range(N_HARMONICS):
        swell += abs(grain[HARMONICS + m])
    return grain[RADIUS] * swell * max(grain[ASPECT], 1.0 / grain[ASPECT])


@njit(cache=True, nogil=True)
def _profile(grain, dy, dx):
    """Peak · sqrt(1 - rho^power), rho = distance over the outline's radius in that direction; 0 outside."""
    c, s = math.cos(grain[ANGLE]), math.sin(grain[ANGLE])
    u = (c * dx + s * dy) / grain[ASPECT]
    v = (c * dy - s * dx) * grain[ASPECT]
    theta = math.atan2(v, u)
    outline = 1.0
    for m in range(N_HARMONICS):
        outline += grain[HARMONICS + m] * math.cos((m + 2) * theta + grain[HARMONICS + N_HARMONICS + m])
    rho = math.sqrt(u * u + v * v) / (grain[RADIUS] * outline)
    if rho >= 1.0:
        return 0.0
    return grain[PEAK] * math.sqrt(1.0 - rho ** grain[POWER])


@njit(cache=True, nogil=True)
def thickest_grain(ys, xs, grains, out):
    """Largest profile of any grain at pixels ``ys`` × ``xs`` (both rising), in place of zeros."""
    for g in range(grains.shape[0]):
        grain = grains[g]
        reach = _reach(grain)
        top = np.searchsorted(ys, grain[CENTRE_Y] - reach)
        bottom = np.searchsorted(ys, grain[CENTRE_Y] + reach)
        left = np.searchsorted(xs, grain[CENTRE_X] - reach)
        right = np.searchsorted(xs, grain[CENTRE_X] + reach)
        for i in range(top, bottom):
            for j in range(left, right):
                value = _profile(grain, ys[i] - grain[CENTRE_Y], xs[j] - grain[CENTRE_X])
                if value > out[i, j]:
                    out[i, j] = value


@njit(cache=True, nogil=True)
def _lattice(seed, field, row, column):
    return uniform(pixel_key(seed, STREAM_NOISE, (field * 2097152 + row) * 2097152 + column), 0)


@njit(cache=True, nogil=True)
def _value_noise(v, u, seed, field):
    """Uniform values on the whole numbers, joined by a quintic."""
    row, column = math.floor(v), math.floor(u)
    v -= row
    u -= column
    v = v * v * v * (v * (6.0 * v - 15.0) + 10.0)
    u = u * u * u * (u * (6.0 * u - 15.0) + 10.0)
    upper = _lattice(seed, field, row, column) * (1 - u) + _lattice(seed, field, row, column + 1) * u
    lower = _lattice(seed, field, row + 1, column) * (1 - u) + _lattice(seed, field, row + 1, column + 1) * u
    return upper * (1 - v) + lower * v


@njit(cache=True, nogil=True)
def smooth_noise(ys, xs, cell, seed, field, out):
    """Add a smooth random field in 0…1 with features of ``cell`` pixels.

    The mean of three lattices turned against one another: a single one shows its rows and columns.
    """
    for turn in range(3):
        c, s = math.cos(0.3 + turn * math.pi / 6), math.sin(0.3 + turn * math.pi / 6)
        for i in range(ys.size):
            for j in range(xs.size):
                v, u = (c * ys[i] - s * xs[j]) / cell, (c * xs[j] + s * ys[i]) / cell
                out[i, j] += _value_noise(v, u, seed, 3 * field + turn) / 3.0
