"""Primal-dual steps for a quadratic model of the likelihood with a spatial prior, on rows of images.

Condat and Vũ's splitting: fractions take a step along the model's slope and the divergence of the dual field
and are projected onto the simplex; the dual field follows the differences of the fractions to the next column
and the next row, joint over phases, and is projected onto the prior's dual ball. One step reaches one row
further, so ``n`` steps need ``n`` rows of the neighbours, of fractions, dual field and model alike.

The rows come in three pieces, (above, own, below), of the same image; outer pieces may be empty.
"""

import numpy as np
from numba import njit

ONE = np.float32(1.0)
OPERATOR = np.float32(8.0)  # bound of the squared norm of the differences on a grid


@njit(cache=True, nogil=True)
def _onto_simplex(like, values):
    """Project in place onto ``values >= 0, Σ values = 1``: drop what lies below the threshold, repeat."""
    size = np.float32(len(like))
    threshold = -ONE
    for c in range(len(like)):
        threshold += values[c]
    threshold /= size
    for _ in range(len(like)):
        total = -ONE
        kept = np.float32(0.0)
        for c in range(len(like)):
            if values[c] > threshold:
                total += values[c]
                kept += ONE
        threshold = total / kept
        if kept == size:
            break
        size = kept
    for c in range(len(like)):
        values[c] = max(values[c] - threshold, np.float32(0.0))


@njit(cache=True, nogil=True)
def _dual_row(like, ahead, ahead_below, dual, sigma, radius, shrink):
    """Follow the differences; ``radius`` > 0 bounds joint lengths (TV), else they shrink (Laplacian)."""
    k = len(like)
    width = ahead.shape[0]
    for i in range(width):
        right = min(i + 1, width - 1)
        squares = np.float32(0.0)
        for c in range(len(like)):
            along = dual[i, c] + sigma * (ahead[right, c] - ahead[i, c])
            across = dual[i, k + c] + sigma * (ahead_below[i, c] - ahead[i, c])
            squares += along * along + across * across
            dual[i, c] = along
            dual[i, k + c] = across
        scale = shrink
        if radius > 0 and squares > radius * radius:
            scale = radius / np.sqrt(squares)
        for c in range(2 * k):
            dual[i, c] *= scale


@njit(cache=True, nogil=True)
def _primal_row(like, fraction, ahead, dual, dual_above, has_above, model, sigma, values):
    """Step of the fractions; ``ahead`` becomes the extrapolated point the next dual step looks at."""
    k = len(like)
    other = k - 1
    upper = ONE if has_above else np.float32(0.0)
    for i in range(fraction.shape[0]):
        own = model[i]
        step = ONE / (np.float32(0.5) * own[0] + OPERATOR * sigma)
        left = max(i - 1, 0)
        inner = ONE if i > 0 else np.float32(0.0)
        for c in range(len(like)):
            push = dual[i, c] + dual[i, k + c] - inner * dual[left, c] - upper * dual_above[i, k + c]
            values[c] = fraction[i, c] + step * push
        for c in range(other):
            slope = own[1 + c]
            for d in range(other):
                low, high = min(c, d), max(c, d)
                slope += own[k + (high * (high + 1)) // 2 + low] * fraction[i, d]
            values[c] -= step * slope
        _onto_simplex(like, values)
        for c in range(len(like)):
            ahead[i, c] = values[c] + values[c] - fraction[i, c]
            fraction[i, c] = values[c]


@njit(cache=True, nogil=True)
def _place(row, starts):
    """Piece that holds a row, and the row's number in it."""
    piece = 0
    while row >= starts[piece + 1]:
        piece += 1
    return piece, row - starts[piece]


@njit(cache=True, nogil=True)
def primal_dual(like, fraction, dual, model, ahead, width, steps, sigma, radius, shrink):
    """Take ``steps`` steps in place; each argument but the numbers is (above, own, below), ahead = fraction.

    A row's primal step needs its own new dual field and the one above, so a single walk does both.
    """
    starts = np.zeros(4, np.int64)
    for piece in range(3):
        starts[piece + 1] = starts[piece] + fraction[piece].shape[0] // width
    rows = starts[3]
    values = np.empty(len(like), np.float32)
    for _ in range(steps):
        above = dual[1][:0]
        for row in range(rows):
            piece, at = _place(row, starts)
            here = slice(at * width, (at + 1) * width)
            next_piece, next_at = _place(min(row + 1, rows - 1), starts)
            below = ahead[next_piece][next_at * width : (next_at + 1) * width]
            own_dual = dual[piece][here]
            _dual_row(like, ahead[piece][here], below, own_dual, sigma, radius, shrink)
            if row == 0:
                above = own_dual
            _primal_row(
                like, fraction[piece][here], ahead[piece][here], own_dual, above, row > 0,
                model[piece][here], sigma, values,
            )  # fmt: skip
            above = own_dual


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
