"""Steps of Chambolle and Pock's method for the M-step with total variation in three dimensions.

Minimises, over all voxels, ``Σ_k s g_k v_k - c_k log v_k`` plus the length of the differences to the next
voxel along z, x and y, joint over phases and what no phase fills (``1 - Σ_k v_k``), so that a border
between two phases costs what one with the vacuum costs, with ``v ≥ 0`` and, under the cap, ``Σ_k v_k ≤
1``: ``c`` is the evidence, ``s`` the sensitivity, ``g_k`` the photons of a voxel full of phase k.

Arrays are ``[z, x, phase, y]``, the dual field ``[z, x, 3, phase, y]`` (along z, x, y), the sensitivity
``[z, x, y]`` or ``[z, x, 1]``. The length is that of ``d_k + β Σ_l d_l``, with `coupling` β, so the
extrapolated point is kept as ``v_k + β Σ_l v_l``. A single walk does a step: what the dual field of a
voxel needs of the extrapolated point lies ahead of the walk, and what the primal step needs of the dual
field lies behind it, so both are written in place.
"""

import numpy as np
from numba import njit

from edxdask.photons.kernels.jit import subroutine

ZERO, HALF, ONE, TWO, FOUR = (np.float32(v) for v in (0.0, 0.5, 1.0, 2.0, 4.0))
OPERATOR = 12.0  # bound of the squared norm of the differences on a grid of three dimensions
CAP_STEPS, CAP_TOLERANCE = 12, np.float32(1e-5)
TINY = np.float32(1e-20)
# Of a voxel: less would become a number without leading digits, which processors are slow with.
LEAST_VALUE = np.float32(1e-12)
LEAST_KEPT = np.float32(0.1)  # of a voxel, when the last move is carried on


@subroutine
def coupling(phases):
    """Give β with |d + β Σ d|² = Σ_k d_k² + (Σ_k d_k)²."""
    return np.float32((np.sqrt(1.0 + phases) - 1.0) / phases)


@subroutine
def _couple(values, beta, total):
    """Add β times their sum to the phases of a line of voxels."""
    phases, rows = values.shape
    for y in range(rows):
        total[y] = ZERO
    for k in range(phases):
        for y in range(rows):
            total[y] += values[k, y]
    for k in range(phases):
        for y in range(rows):
            values[k, y] += beta * total[y]


@njit(cache=True, nogil=True, error_model="numpy")
def couple_all(ahead):
    """Add β times their sum to the phases of all voxels."""
    nz, nx, phases, rows = ahead.shape
    total, beta = np.empty(rows, np.float32), coupling(phases)
    for z in range(nz):
        for x in range(nx):
            _couple(ahead[z, x], beta, total)


@subroutine
def _follow(here, beyond, field, sigma, squares):
    """Add differences to a line of the dual field, and its squares to those of the joint length."""
    for y in range(squares.size):
        field[y] += sigma * (beyond[y] - here[y])
        squares[y] += field[y] * field[y]


@subroutine
def _dual_line(z, x, ahead, dual, sigma, radius, squares):
    """Follow the differences of a line of voxels; joint lengths stay within ``radius``."""
    nz, nx, phases, rows = ahead.shape
    field = dual[z, x]
    for y in range(rows):
        squares[y] = ZERO
    for k in range(phases):
        here = ahead[z, x, k]
        if z + 1 < nz:
            _follow(here, ahead[z + 1, x, k], field[0, k], sigma, squares)
        if x + 1 < nx:
            _follow(here, ahead[z, x + 1, k], field[1, k], sigma, squares)
        along = field[2, k]
        for y in range(rows - 1):
            along[y] += sigma * (here[y + 1] - here[y])
            squares[y] += along[y] * along[y]
    for y in range(rows):
        squares[y] = radius / max(np.sqrt(squares[y]), radius)
    for d in range(3):
        for k in range(phases):
            out = field[d, k]
            for y in range(rows):
                out[y] *= squares[y]


@subroutine
def _root(b, c):
    """Give the positive root x of x² - b x - c = 0; where b < 0 in the form that loses no digits."""
    reach = np.sqrt(b * b + FOUR * c)
    return HALF * (b + reach) if b > ZERO else TWO * c / max(reach - b, TINY)


@subroutine
def _primal_step(z, x, volume, dual, tau, beta, sensitive, yields, total, out):
    """Step of a line of voxels along the divergence and the yields."""
    phases, rows = volume.shape[2:]
    for k in range(phases):
        b = out[k]
        along_z, along_x, along_y = dual[z, x, 0, k], dual[z, x, 1, k], dual[z, x, 2, k]
        for y in range(rows):
            b[y] = along_z[y] + along_x[y] + along_y[y]
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
    _couple(out, beta, total)
    for k in range(phases):
        b, here, slope = out[k], volume[z, x, k], yields[k]
        for y in range(rows):
            b[y] = here[y] + tau * (b[y] - slope * sensitive[y])


@subroutine
def _find_cap(b, evidence, tau, over, total, slope):
    """Find by how much phases are too much for the voxels of a line: Newton's method, from below."""
    phases, rows = b.shape
    for _ in range(CAP_STEPS):
        worst = ZERO
        for y in range(rows):
            total[y] = -ONE
            slope[y] = TINY
        for k in range(phases):
            for y in range(rows):
                free, c = b[k, y] - over[y], tau * evidence[k, y]
                root = _root(free, c)
                total[y] += root
                slope[y] += root / max(np.sqrt(free * free + FOUR * c), TINY)
        for y in range(rows):
            worst = max(worst, total[y])
            over[y] = max(over[y] + total[y] / slope[y], ZERO)
        if worst <= CAP_TOLERANCE:
            break


@njit(cache=True, nogil=True, error_model="numpy")
def maximise(volume, ahead, dual, evidence, sensitivity, yields, strength, balance, steps, cap):
    """Take ``steps`` steps, in place. ``balance``: of primal to dual steps, for volumes of fractions."""
    nz, nx, phases, rows = volume.shape
    norm, radius, beta = np.sqrt(OPERATOR * (1.0 + phases)), np.float32(strength), coupling(phases)
    tau, sigma = np.float32(balance / (norm * strength)), np.float32(strength / (norm * balance))
    b, lines = np.empty((phases, rows), np.float32), np.empty((4, rows), np.float32)
    over, sensitive, last = lines[2], lines[3], sensitivity.shape[2] - 1
    for _ in range(steps):
        for z in range(nz):
            for x in range(nx):
                _dual_line(z, x, ahead, dual, sigma, radius, lines[0])
                for y in range(rows):
                    over[y] = ZERO
                    sensitive[y] = sensitivity[z, x, min(y, last)]
                _primal_step(z, x, volume, dual, tau, beta, sensitive, yields, lines[0], b)
                if cap:
                    _find_cap(b, evidence[z, x], tau, over, lines[0], lines[1])
                for k in range(phases):
                    here, c, out = volume[z, x, k], evidence[z, x, k], ahead[z, x, k]
                    for y in range(rows):
                        value = max(_root(b[k, y] - over[y], tau * c[y]), LEAST_VALUE)
                        out[y] = TWO * value - here[y]
                        here[y] = value
                _couple(ahead[z, x], beta, lines[0])


@njit(cache=True, nogil=True, error_model="numpy")
def maximise_alone(volume, evidence, sensitivity, yields, cap):
    """Maximise without a prior: ``c / (s g + m)``, with the least m ≥ 0 that keeps the cap."""
    nz, nx, phases, rows = volume.shape
    last = sensitivity.shape[2] - 1
    for z in range(nz):
        for x in range(nx):
            for y in range(rows):
                s, over = sensitivity[z, x, min(y, last)], ZERO
                for _ in range(CAP_STEPS if cap else 0):
                    total, slope = -ONE, TINY
                    for k in range(phases):
                        value = evidence[z, x, k, y] / max(s * yields[k] + over, TINY)
                        total += value
                        slope += value / max(s * yields[k] + over, TINY)
                    over = max(over + total / slope, ZERO)
                    if total <= CAP_TOLERANCE:
                        break
                for k in range(phases):
                    value = evidence[z, x, k, y] / max(s * yields[k] + over, TINY)
                    volume[z, x, k, y] = max(value, LEAST_VALUE)


@njit(cache=True, nogil=True, error_model="numpy")
def carry_on(volume, previous, momentum, out):
    """Write the volume, moved on along its last move, and never to less than a tenth of a voxel's value."""
    new, old, moved = volume.ravel(), previous.ravel(), out.ravel()
    for i in range(new.size):
        moved[i] = max(new[i] + momentum * (new[i] - old[i]), LEAST_KEPT * new[i])


@njit(cache=True, nogil=True, error_model="numpy")
def gather_evidence(back, point, whole, part):
    """Multiply a back projection, in place, by the point it is of, and to the scale of all tilts.

    ``whole`` and ``part`` are the sensitivities of all tilts and of those that were taken back. Voxels that
    the part does not see keep what they have.
    """
    nz, nx, phases, rows = back.shape
    last = whole.shape[2] - 1
    for z in range(nz):
        for x in range(nx):
            for k in range(phases):
                for y in range(rows):
                    here = part[z, x, min(y, last)]
                    scale = whole[z, x, min(y, last)] / here if here > TINY else ZERO
                    back[z, x, k, y] *= point[z, x, k, y] * scale


@njit(cache=True, nogil=True, error_model="numpy")
def compare_moves(point, volume, previous):
    """Sum (point - volume) · (volume - previous), squares of volume - previous, and squares of volume."""
    aim, new, old = point.ravel(), volume.ravel(), previous.ravel()
    against, moved, size = 0.0, 0.0, 0.0
    for i in range(new.size):
        step = new[i] - old[i]
        against += (aim[i] - new[i]) * step
        moved += step * step
        size += new[i] * new[i]
    return against, moved, size


@njit(cache=True, nogil=True, error_model="numpy")
def variation(volume):
    """Sum the lengths of the differences, joint over phases and the vacuum."""
    nz, nx, phases, rows = volume.shape
    total, sums = 0.0, np.empty(3, np.float32)
    for z in range(nz):
        for x in range(nx):
            for y in range(rows):
                squares = ZERO
                for d in range(3):
                    sums[d] = ZERO
                for k in range(phases):
                    here = volume[z, x, k, y]
                    if z + 1 < nz:
                        squares += (volume[z + 1, x, k, y] - here) ** 2
                        sums[0] += volume[z + 1, x, k, y] - here
                    if x + 1 < nx:
                        squares += (volume[z, x + 1, k, y] - here) ** 2
                        sums[1] += volume[z, x + 1, k, y] - here
                    if y + 1 < rows:
                        squares += (volume[z, x, k, y + 1] - here) ** 2
                        sums[2] += volume[z, x, k, y + 1] - here
                for d in range(3):
                    squares += sums[d] * sums[d]
                total += np.sqrt(squares)
    return total
