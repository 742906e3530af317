"""The quadratic model of the Poisson log-likelihood of fractions, and that likelihood itself.

On the simplex the last fraction follows from the others, u = (f_0 … f_{k-2}), so a pixel's likelihood is
described by k - 1 slopes and the lower triangle of a (k - 1) × (k - 1) matrix: a row of the model is a step
length, the slopes and the curvatures.
"""

import numpy as np
from numba import njit

SMALLEST_FIT = np.float32(1e-30)  # where no phase has counts: a constant, which changes no fraction


@njit(cache=True, nogil=True)
def log_likelihood(like, indptr, channel, count, fraction, table, out):
    """Write ``Σ y log(Σ_k f_k S_k)`` of each pixel."""
    for i in range(indptr.size - 1):
        total = 0.0
        for j in range(indptr[i], indptr[i + 1]):
            fit = SMALLEST_FIT
            for c in range(len(like)):
                fit += fraction[i, c] * table[channel[j], c]
            total += np.float64(count[j]) * np.log(np.float64(fit))
        out[i] = total


@njit(cache=True, nogil=True)
def centre_model(like, fraction, model, damping):
    """Turn slopes at ``fraction`` into those at zero, damp the curvature, and write the step bound.

    The bound is the Frobenius norm of the curvature on steps that sum to 0.
    """
    k = len(like)
    other = k - 1
    for i in range(fraction.shape[0]):
        own = model[i]
        for m in range(k, own.size):
            own[m] *= damping
        squares = np.float32(0.0)
        sums = np.float32(0.0)
        everything = np.float32(0.0)
        for c in range(other):
            row = np.float32(0.0)
            slope = np.float32(0.0)
            for d in range(other):
                low, high = min(c, d), max(c, d)
                value = own[k + (high * (high + 1)) // 2 + low]
                slope += value * fraction[i, d]
                row += value
                squares += value * value
            own[1 + c] -= slope
            sums += row * row
            everything += row
        centred = squares - np.float32(2.0 / k) * sums + everything * everything / np.float32(k * k)
        own[0] = np.sqrt(max(centred, np.float32(0.0)))
