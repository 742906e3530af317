"""Steps of Chambolle and Pock's method for the M-step with total variation in three dimensions.

Minimises, over all voxels, ``Σ_k μ g_k v_k - c_k log v_k`` plus the length of the differences to the next
voxel along z, x and y, joint over phases, with ``v ≥ 0`` and, under the cap, ``Σ_k v_k ≤ 1``.

Arrays are ``[z, x, phase, y]``, the dual field ``[z, x, 3, phase, y]`` (along z, x, y). A single walk does a
step: what the dual field of a voxel needs of the extrapolated point lies ahead of the walk, and what the primal
step needs of the dual field lies behind it, so both are written in place.
"""

import numpy as np
from numba import njit

from edxdask.photons.kernels.jit import subroutine

ZERO, HALF, ONE, TWO, FOUR = (np.float32(v) for v in (0.0, 0.5, 1.0, 2.0, 4.0))
OPERATOR = np.float32(12.0)  # bound of the squared norm of the differences on a grid of three dimensions
CAP_STEPS, CAP_TOLERANCE = 12, np.float32(1e-5)


@subroutine
def _dual_line(z, x, ahead, dual, sigma, radius, work):
    """Follow the differences of a line of voxels; joint lengths stay within ``radius``."""
    nz, nx, phases, rows = ahead.shape
    squares = work[0]
    field = dual[z, x]
    for y in range(rows):
        squares[y] = ZERO
    for k in range(phases):
        here = ahead[z, x, k]
        if z + 1 < nz:
            next_one, out = ahead[z + 1, x, k], field[0, k]
            for y in range(rows):
                out[y] += sigma * (next_one[y] - here[y])
                squares[y] += out[y] * out[y]
        if x + 1 < nx:
            next_one, out = ahead[z, x + 1, k], field[1, k]
            for y in range(rows):
                out[y] += sigma * (next_one[y] - here[y])
                squares[y] += out[y] * out[y]
        out = field[2, k]
        for y in range(rows - 1):
            out[y] += sigma * (here[y + 1] - here[y])
            squares[y] += out[y] * out[y]
    for y in range(rows):
        squares[y] = radius / max(np.sqrt(squares[y]), radius)
    for d in range(3):
        for k in range(phases):
            out = field[d, k]
            for y in range(rows):
                out[y] *= squares[y]


@subroutine
def _root(b, c4):
    return HALF * (b + np.sqrt(b * b + c4))


@subroutine
def _primal_line(z, x, volume, ahead, dual, counts, seen, yields, tau, cap, work):
    """Step along the divergence, then the closed form of the likelihood; ``ahead`` is extrapolated."""
    phases, rows = volume.shape[2:]
    total, slope, over = work[0], work[1], work[2]
    for y in range(rows):
        total[y] = ZERO
        over[y] = ZERO
    for k in range(phases):
        b, here, c = work[3 + k], volume[z, x, k], counts[z, x, k]
        along_z, along_x, along_y = dual[z, x, 0, k], dual[z, x, 1, k], dual[z, x, 2, k]
        for y in range(rows):
            b[y] = along_z[y] + along_x[y] + along_y[y] - yields[k] * seen[z, x, y]
        for y in range(1, rows):
            b[y] -= along_y[y - 1]
        if z > 0:
            behind = dual[z - 1, x, 0, k]
            for y in range(rows):
                b[y] -= behind[y]
        if x > 0:
            behind = dual[z, x - 1, 1, k]
            for y in range(rows):
                b[y] -= behind[y]
        for y in range(rows):
            b[y] = here[y] + tau * b[y]
            total[y] += _root(b[y], FOUR * tau * c[y])
    if cap:
        for _ in range(CAP_STEPS):
            worst = ZERO
            for y in range(rows):
                worst = max(worst, total[y] - ONE)
                slope[y] = ZERO
            if worst <= CAP_TOLERANCE:
                break
            for k in range(phases):
                b, c = work[3 + k], counts[z, x, k]
                for y in range(rows):
                    reach = np.sqrt((b[y] - over[y]) * (b[y] - over[y]) + FOUR * tau * c[y])
                    slope[y] += HALF * (ONE + (b[y] - over[y]) / max(reach, np.float32(1e-20)))
            for y in range(rows):
                over[y] = max(over[y] + (total[y] - ONE) / max(slope[y], np.float32(1e-6)), ZERO)
                total[y] = ZERO
            for k in range(phases):
                b, c = work[3 + k], counts[z, x, k]
                for y in range(rows):
                    total[y] += _root(b[y] - over[y], FOUR * tau * c[y])
    for k in range(phases):
        b, here, c, out = work[3 + k], volume[z, x, k], counts[z, x, k], ahead[z, x, k]
        for y in range(rows):
            value = _root(b[y] - over[y], FOUR * tau * c[y])
            out[y] = TWO * value - here[y]
            here[y] = value


@njit(cache=True, nogil=True, error_model="numpy")
def maximise(volume, ahead, dual, counts, seen, yields, strength, balance, steps, cap):
    """Take ``steps`` steps, in place. ``balance`` is the ratio of primal to dual steps, 1 for fractions."""
    nz, nx, phases, rows = volume.shape
    norm = np.sqrt(OPERATOR)
    tau, sigma = np.float32(balance / (norm * strength)), np.float32(strength / (norm * balance))
    work = np.empty((3 + phases, rows), np.float32)
    radius = np.float32(strength)
    for _ in range(steps):
        for z in range(nz):
            for x in range(nx):
                _dual_line(z, x, ahead, dual, sigma, radius, work)
                _primal_line(z, x, volume, ahead, dual, counts, seen, yields, tau, cap, work)


@njit(cache=True, nogil=True, error_model="numpy")
def variation(volume):
    """Sum the joint lengths of the differences."""
    nz, nx, phases, rows = volume.shape
    total = 0.0
    for z in range(nz):
        for x in range(nx):
            for y in range(rows):
                squares = 0.0
                for k in range(phases):
                    here = volume[z, x, k, y]
                    if z + 1 < nz:
                        squares += (volume[z + 1, x, k, y] - here) ** 2
                    if x + 1 < nx:
                        squares += (volume[z, x + 1, k, y] - here) ** 2
                    if y + 1 < rows:
                        squares += (volume[z, x, k, y + 1] - here) ** 2
                total += np.sqrt(squares)
    return total
