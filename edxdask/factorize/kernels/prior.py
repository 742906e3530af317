"""Primal-dual steps for a quadratic model of the likelihood with a spatial prior, on rows of images.

Condat and Vũ's splitting: fractions take a step along the model's slope and the divergence of the dual field
and are projected onto the simplex; the dual field follows the differences of the fractions to the next column
and the next row, joint over phases, and is projected onto the prior's dual ball. One step reaches one row
further, so ``n`` steps need ``n`` rows of the neighbours, of fractions, dual field and model alike.

The rows come in three pieces, (above, own, below), of the same image; outer pieces may be empty.

All steps walk over the image together, each one row behind the one before it, so only ``n + 2`` rows are in
use at a time. They are in a ring, which stays in the cache; each number of a pixel has a separate line
there, so that loops along a row become SIMD instructions. A row of the ring is (4 k + model, columns), with
lines of fractions, of the extrapolated point ``ahead``, of the dual field along and across rows, and of the
model.
"""

import numpy as np
from numba import njit

from edxdask.photons.kernels.jit import subroutine

ZERO, HALF, ONE = np.float32(0.0), np.float32(0.5), np.float32(1.0)
LOWEST = np.float32(-np.inf)
LINE = 16  # numbers per cache line
LEFT = LINE  # first pixel of a row of the ring: the dual field left of it is zero
OPERATOR = np.float32(8.0)  # bound of the squared norm of the differences on a grid


@subroutine
def _simplex_threshold(values, work):
    """Find by how much values are too high to be on the simplex: drop those below the threshold, repeat.

    A pixel that has nothing left to drop stays as it is while others of its row continue.
    """
    threshold, total, kept, before = work[0], work[1], work[2], work[3]
    for i in range(threshold.size):
        threshold[i] = LOWEST
        before[i] = ZERO
    for _ in range(len(values)):
        for i in range(threshold.size):
            total[i] = -ONE
            kept[i] = ZERO
        for c in range(len(values)):
            value = values[c]
            for i in range(threshold.size):
                keeps = value[i] > threshold[i]
                total[i] += value[i] if keeps else ZERO
                kept[i] += ONE if keeps else ZERO
        moved = 0
        for i in range(threshold.size):
            threshold[i] = total[i] / max(kept[i], ONE)
            moved |= kept[i] != before[i]
            before[i] = kept[i]
        if not moved:
            break
    return threshold


@subroutine
def _dual_row(k, here, below, sigma, radius, shrink, work):
    """Follow the differences; ``radius`` > 0 bounds joint lengths (TV), else they shrink (Laplacian)."""
    squares, scale = work[0], work[1]
    width = squares.size
    for i in range(width):
        squares[i] = ZERO
    for c in range(k):
        own, right, under = here[k + c, LEFT:], here[k + c, LEFT + 1 :], below[k + c, LEFT:]
        along, across = here[2 * k + c, LEFT:], here[3 * k + c, LEFT:]
        for i in range(width):
            along[i] += sigma * (right[i] - own[i])
            across[i] += sigma * (under[i] - own[i])
            squares[i] += along[i] * along[i] + across[i] * across[i]
    for i in range(width):
        outside = radius > 0 and squares[i] > radius * radius
        scale[i] = radius / np.sqrt(squares[i]) if outside else shrink
    for c in range(2 * k):
        field = here[2 * k + c, LEFT:]
        for i in range(width):
            field[i] *= scale[i]


@subroutine
def _primal_row(k, here, above, sigma, values, work):
    """Step of the fractions; ``ahead`` becomes the extrapolated point that the next dual step uses."""
    step, slope = work[0], work[1]
    width = step.size
    bound = here[4 * k, LEFT:]
    for i in range(width):
        step[i] = ONE / (HALF * bound[i] + OPERATOR * sigma)
    for c in range(k):
        value, fraction, over = values[c], here[c, LEFT:], above[3 * k + c, LEFT:]
        left, along, across = here[2 * k + c, LEFT - 1 :], here[2 * k + c, LEFT:], here[3 * k + c, LEFT:]
        for i in range(width):
            value[i] = fraction[i] + step[i] * (along[i] + across[i] - left[i] - over[i])
    for c in range(k - 1):
        linear = here[4 * k + 1 + c, LEFT:]
        for i in range(width):
            slope[i] = linear[i]
        for d in range(k - 1):
            low, high = min(c, d), max(c, d)
            curvature, fraction = here[5 * k + (high * (high + 1)) // 2 + low, LEFT:], here[d, LEFT:]
            for i in range(width):
                slope[i] += curvature[i] * fraction[i]
        value = values[c]
        for i in range(width):
            value[i] -= step[i] * slope[i]
    threshold = _simplex_threshold(values, work)
    for c in range(k):
        value, fraction, ahead = values[c], here[c, LEFT:], here[k + c, LEFT:]
        for i in range(width):
            projected = max(value[i] - threshold[i], ZERO)
            ahead[i] = projected + projected - fraction[i]
            fraction[i] = projected
        ahead[width] = ahead[width - 1]


@subroutine
def _load(pieces, row, width, lines):
    """Spread a row of an image over lines, one for each number of a pixel."""
    for piece in pieces:
        rows = len(piece) // width
        if 0 <= row < rows:
            for c in range(len(lines)):
                line = lines[c, LEFT:]
                for i in range(width):
                    line[i] = piece[row * width + i, c]
        row -= rows


@subroutine
def _copy_ahead(k, new, width):
    """Begin the extrapolated point as the fractions, and repeat its last pixel at the right border."""
    for c in range(k):
        for i in range(LEFT, LEFT + width):
            new[k + c, i] = new[c, i]
        new[k + c, LEFT + width] = new[c, LEFT + width - 1]


@subroutine
def _store(lines, row, width, out):
    """Gather a row of an image from lines."""
    for c in range(len(lines)):
        line = lines[c, LEFT:]
        for i in range(width):
            out[row * width + i, c] = line[i]


@njit(cache=True, nogil=True)
def primal_dual(fraction, dual, model, width, steps, sigma, radius, shrink):
    """Take ``steps`` steps, in place, of the own piece; each argument but the numbers is (above, own, below).

    A row's primal step needs its own new dual field and the one above, so a single walk does both. Rows of
    outer pieces are left out of steps that no longer reach an own row.
    """
    k = fraction[1].shape[1]
    first = len(fraction[0]) // width
    last = first + len(fraction[1]) // width
    rows = last + len(fraction[2]) // width
    # Zero: the dual field left of the image, and that above it, as long as the first row is in use. An odd
    # number of lines keeps lines from sharing places in the cache.
    columns = LINE * ((LEFT + width + LINE) // LINE | 1)
    ring = np.zeros((steps + 2, 4 * k + model[1].shape[1], columns), np.float32)
    values = np.empty((k, width), np.float32)
    work = np.empty((4, width), np.float32)
    for front in range(rows + steps):
        if front < rows:
            new = ring[front % len(ring)]
            _load(fraction, front, width, new[:k])
            _copy_ahead(k, new, width)
            _load(dual, front, width, new[2 * k : 4 * k])
            _load(model, front, width, new[4 * k :])
        for reach in range(steps, 0, -1):
            row = front - 1 - steps + reach
            if max(first - reach, 0) <= row < min(last + reach - 1, rows):
                here, above = ring[row % len(ring)], ring[(row - 1) % len(ring)]
                below = ring[min(row + 1, rows - 1) % len(ring)]
                _dual_row(k, here, below, sigma, radius, shrink, work)
                _primal_row(k, here, above, sigma, values, work)
        row = front - steps
        if first <= row < last:
            done = ring[row % len(ring)]
            _store(done[:k], row - first, width, fraction[1])
            _store(done[2 * k : 4 * k], row - first, width, dual[1])


@njit(cache=True, nogil=True)
def variation(fraction, below, width, squared):
    """Sum over pixels of the joint length of the differences (TV), or of half its square (Laplacian).

    ``below`` is the first row of the neighbour beneath, or empty at the image's border.
    """
    pixels, k = fraction.shape
    total = 0.0
    for i in range(pixels):
        squares = 0.0
        for c in range(k):
            if (i + 1) % width != 0:
                difference = np.float64(fraction[i + 1, c]) - np.float64(fraction[i, c])
                squares += difference * difference
            if i + width < pixels:
                difference = np.float64(fraction[i + width, c]) - np.float64(fraction[i, c])
                squares += difference * difference
            elif below.shape[0] > 0:
                difference = np.float64(below[i + width - pixels, c]) - np.float64(fraction[i, c])
                squares += difference * difference
        total += 0.5 * squares if squared else np.sqrt(squares)
    return total


@njit(cache=True, nogil=True)
def divergence(dual, above, width, out):
    """Write the divergence of the dual field; ``above`` is the row over the first one, or empty."""
    pixels, k = out.shape
    for i in range(pixels):
        for c in range(k):
            total = dual[i, c] + dual[i, k + c]
            if i % width != 0:
                total -= dual[i - 1, c]
            if i >= width:
                total -= dual[i - width, k + c]
            elif above.shape[0] > 0:
                total -= above[i, k + c]
            out[i, c] = total
