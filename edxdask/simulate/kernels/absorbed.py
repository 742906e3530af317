"""Photons that start somewhere in an object and are absorbed, or not, on the line to a detector."""

import math

import numpy as np
from numba import njit

from edxdask.photons.kernels.random import STREAM_COUNTS, bits, pixel_key, poisson, uniform
from edxdask.simulate.kernels.solids import detector_point, is_inside, solids_near, span_in

_LOW = np.uint64(0xFFFFFFFF)
_S32 = np.uint64(32)
MOST_TRIES = 20_000  # starts tried for one photon; a pixel that is filled to 1e-4 needs some thousands


@njit(cache=True, nogil=True)
def solid_at(p, near, n, centres, quadrics, planes):
    """Find the innermost solid that holds a point; -1: none."""
    for j in range(n - 1, -1, -1):
        i = near[j]
        if is_inside(p[0], p[1], p[2], centres[i], quadrics[i], planes[i]):
            return i
    return -1


@njit(cache=True, nogil=True)
def start_point(p, row, column, place, turn, span, near, n, solids, rates, key, draw):
    """Draw where in a pixel's prism a photon starts, into ``p``; return its phase, or -1, and the next draw.

    Points are even in the prism; one counts as often as its phase emits.
    """
    centres, quadrics, planes, phases = solids[0], solids[1], solids[2], solids[3]
    c, s = math.cos(turn[0]), math.sin(turn[0])
    for _ in range(MOST_TRIES):
        at_row, at_column = row + uniform(key, draw) - 0.5, column + uniform(key, draw + 1) - 0.5
        u, w = detector_point(at_row, at_column, place[1], place[2], place[3], place[4], turn[1])
        along = span[0] + (span[1] - span[0]) * uniform(key, draw + 2)
        p[0], p[1], p[2] = u * s + along * c, w, u * c - along * s
        i = solid_at(p, near, n, centres, quadrics, planes)
        draw += 4
        if i >= 0 and uniform(key, draw - 1) < rates[phases[i]]:
            return phases[i], draw
    return -1, draw


@njit(cache=True, nogil=True)
def draw_absorbed(counts, first_row, first_x, width, total, place, turn, emission, solids, detection, seed):
    """Draw the counts of a block of one projection, in place.

    counts (y, x, channel) of zeros; ``first_row`` numbers rows over all projections; total (y, x) photons
    emitted towards the detectors; place: first row of the block, middle (row, column), move (y, x); turn:
    tilt and turn in the image, radians; emission: accept, alias (phase, channel), rates (phase,) up to 1;
    solids: the tables of ``Solids``; detection: cumulative chances (detector,), directions (detector, 3),
    attenuation (channel,) per voxel.
    """
    accept, alias, rates = emission
    chances, directions, attenuation = detection
    centres, quadrics, planes, reach = solids[0], solids[1], solids[2], solids[5]
    c, s = math.cos(turn[0]), math.sin(turn[0])
    along_u, along_d = centres[:, 2] * c + centres[:, 0] * s, centres[:, 0] * c - centres[:, 2] * s
    near, span, p = np.empty(reach.size, dtype=np.int64), np.empty(2), np.empty(3)
    many = np.uint64(counts.shape[2])
    for i in range(counts.shape[0]):
        for j in range(counts.shape[1]):
            key = pixel_key(seed, STREAM_COUNTS, (first_row + i) * width + first_x + j)
            photons, draw = poisson(total[i, j], key, 0)
            if photons == 0:
                continue
            row, column = place[0] + i, float(first_x + j)
            u, w = detector_point(row, column, place[1], place[2], place[3], place[4], turn[1])
            n = solids_near(near, u, w, 1.0, along_u, centres, reach)
            span[0], span[1] = 1e30, -1e30
            for k in near[:n]:
                span[0], span[1] = min(span[0], along_d[k] - reach[k]), max(span[1], along_d[k] + reach[k])
            for _ in range(photons):
                phase, draw = start_point(
                    p, row, column, place, turn, span, near, n, solids, rates, key, draw
                )
                if phase < 0:
                    continue
                r = bits(key, draw)
                at = ((r >> _S32) * many) >> _S32
                if (r & _LOW) >= accept[phase, at]:
                    at = np.uint64(alias[phase, at])
                which, chance = 0, uniform(key, draw + 1)
                while which < chances.size - 1 and chance >= chances[which]:
                    which += 1
                _, last = span_in(p, directions[which], centres[0], quadrics[0], planes[0])
                if uniform(key, draw + 2) < math.exp(-attenuation[at] * max(last, 0.0)):
                    counts[i, j, at] += 1
                draw += 3
