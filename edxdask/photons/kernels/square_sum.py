"""The sum of squared counts."""

import numpy as np
from numba import njit


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "reassoc", "nsz", "arcp"})
def square_sum(count):
    """Sum of the squared counts."""
    total = 0.0
    for j in range(count.size):
        total += np.float64(count[j]) * np.float64(count[j])
    return total
