"""Convex solids: how far a ray runs in each, and how much of a voxel each fills. Exact, without a grid.

A solid is what two quadrics ``|M (p - c)| <= 1`` and some half-spaces ``n · (p - c) <= d`` have in common; an
unused quadric or half-space is all zeros (``d = 1``). Solids are apart or in each other: each has a parent,
and takes its place where both are; children come after it. Points are (z, y, x), voxels from the middle.
"""

import math

import numpy as np
from numba import njit

NEVER = -1.0  # length of a span that is empty


@njit(cache=True, nogil=True, error_model="numpy")
def span_in(p, d, centre, quadrics, planes):
    """Where the line ``p + s d`` enters and leaves a solid; the second below the first: it does not."""
    first, last = -1e30, 1e30
    q0, q1, q2 = p[0] - centre[0], p[1] - centre[1], p[2] - centre[2]
    for k in range(quadrics.shape[0]):
        a = b = 0.0
        c = -1.0
        for i in range(3):
            m0, m1, m2 = quadrics[k, i, 0], quadrics[k, i, 1], quadrics[k, i, 2]
            at = m0 * q0 + m1 * q1 + m2 * q2
            by = m0 * d[0] + m1 * d[1] + m2 * d[2]
            a += by * by
            b += at * by
            c += at * at
        if a > 0.0:
            inner = b * b - a * c
            if inner <= 0.0:
                return 0.0, NEVER
            root = math.sqrt(inner)
            first = max(first, (-b - root) / a)
            last = min(last, (-b + root) / a)
        elif c > 0.0:
            return 0.0, NEVER
    for k in range(planes.shape[0]):
        n0, n1, n2 = planes[k, 0], planes[k, 1], planes[k, 2]
        at = planes[k, 3] - (n0 * q0 + n1 * q1 + n2 * q2)
        by = n0 * d[0] + n1 * d[1] + n2 * d[2]
        if by > 0.0:
            last = min(last, at / by)
        elif by < 0.0:
            first = max(first, at / by)
        elif at < 0.0:
            return 0.0, NEVER
    if first > last:
        return 0.0, NEVER
    return first, last


@njit(cache=True, nogil=True)
def is_inside(z, y, x, centre, quadrics, planes):
    """Whether a point is in a solid."""
    q0, q1, q2 = z - centre[0], y - centre[1], x - centre[2]
    for k in range(quadrics.shape[0]):
        square = 0.0
        for i in range(3):
            at = quadrics[k, i, 0] * q0 + quadrics[k, i, 1] * q1 + quadrics[k, i, 2] * q2
            square += at * at
        if square > 1.0:
            return False
    for k in range(planes.shape[0]):
        if planes[k, 0] * q0 + planes[k, 1] * q1 + planes[k, 2] * q2 > planes[k, 3]:
            return False
    return True


@njit(cache=True, nogil=True)
def add_ray(length, p, d, near, n_near, centres, quadrics, planes, phases, parents):
    """Add the lengths of a ray in each phase to ``length`` (phase,)."""
    for j in range(n_near):
        i = near[j]
        first, last = span_in(p, d, centres[i], quadrics[i], planes[i])
        if last <= first:
            continue
        length[phases[i]] += last - first
        k = parents[i]
        if k >= 0:
            low, high = span_in(p, d, centres[k], quadrics[k], planes[k])
            low, high = max(low, first), min(high, last)
            if high > low:
                length[phases[k]] -= high - low


@njit(cache=True, nogil=True)
def detector_point(row, column, middle_y, middle_x, shift_y, shift_x, turn):
    """Give the place (u, w) in the frame of the axis of a point on the detector; see ``TiltGeometry``."""
    down, right = row - middle_y - shift_y, column - middle_x - shift_x
    c, s = math.cos(turn), math.sin(turn)
    return right * c + down * s, down * c - right * s


@njit(cache=True, nogil=True)
def solids_near(near, u, w, margin, along_u, centres, reach):
    """List the solids that a ray within ``margin`` of (u, w) may meet; ``along_u`` holds their u."""
    n = 0
    for i in range(reach.size):
        far = reach[i] + margin
        if abs(along_u[i] - u) < far and abs(centres[i, 1] - w) < far:
            near[n] = i
            n += 1
    return n


@njit(cache=True, nogil=True)
def project_solids(
    out, rows, columns, middle, tilt, move, turn, fine, centres, quadrics, planes, phases, parents, reach
):
    """Fill ``out`` (phase, row, column) with the mean lengths of rays over each pixel, in voxels.

    ``middle`` (row, column) is that of the detector, ``tilt`` and ``turn`` are in radians, ``move`` (y, x) in
    pixels; a pixel has ``fine`` rays per side.
    """
    c, s = math.cos(tilt), math.sin(tilt)
    along_u = centres[:, 2] * c + centres[:, 0] * s
    near = np.empty(reach.size, dtype=np.int64)
    length = np.empty(out.shape[0])
    p, d = np.empty(3), np.array([c, 0.0, -s])
    for i in range(rows.size):
        for j in range(columns.size):
            u, w = detector_point(rows[i], columns[j], middle[0], middle[1], move[0], move[1], turn)
            n = solids_near(near, u, w, 1.0, along_u, centres, reach)
            length[:] = 0.0
            if n > 0:
                for k in range(fine * fine):
                    row = rows[i] + (k // fine + 0.5) / fine - 0.5
                    column = columns[j] + (k % fine + 0.5) / fine - 0.5
                    u, w = detector_point(row, column, middle[0], middle[1], move[0], move[1], turn)
                    p[0], p[1], p[2] = u * s, w, u * c
                    add_ray(length, p, d, near, n, centres, quadrics, planes, phases, parents)
            for k in range(out.shape[0]):
                out[k, i, j] = max(0.0, length[k] / (fine * fine))


@njit(cache=True, nogil=True)
def fill_voxels(out, z, y, x, fine, centres, quadrics, planes, phases, reach):
    """Fill ``out`` (phase, z, y, x) of zeros with the fraction of each voxel that each phase has."""
    near = np.empty(reach.size, dtype=np.int64)
    one = 1.0 / fine**3
    for i in range(z.size):
        for j in range(y.size):
            for k in range(x.size):
                n = 0
                for m in range(reach.size):
                    far = reach[m] + 1.0
                    a, b, c = z[i] - centres[m, 0], y[j] - centres[m, 1], x[k] - centres[m, 2]
                    if a * a + b * b + c * c < far * far:
                        near[n] = m
                        n += 1
                if n == 1 and _holds_voxel(
                    z[i], y[j], x[k], centres[near[0]], quadrics[near[0]], planes[near[0]]
                ):
                    out[phases[near[0]], i, j, k] = 1.0
                    continue
                for point in range(fine**3 if n else 0):
                    a = z[i] + (point // (fine * fine) + 0.5) / fine - 0.5
                    b = y[j] + (point // fine % fine + 0.5) / fine - 0.5
                    c = x[k] + (point % fine + 0.5) / fine - 0.5
                    for m in range(n - 1, -1, -1):  # children first
                        at = near[m]
                        if is_inside(a, b, c, centres[at], quadrics[at], planes[at]):
                            out[phases[at], i, j, k] += one
                            break


@njit(cache=True, nogil=True)
def _holds_voxel(z, y, x, centre, quadrics, planes):
    """Whether all corners of a voxel are in a solid, and so, as it is convex, all of it."""
    for corner in range(8):
        a, b, c = z + (corner >> 2) - 0.5, y + (corner >> 1 & 1) - 0.5, x + (corner & 1) - 0.5
        if not is_inside(a, b, c, centre, quadrics, planes):
            return False
    return True
