"""Sums of logarithms from the running products the kernels keep."""

from __future__ import annotations

import math

import numpy as np


def log_sum(product: np.ndarray, exponent: np.ndarray) -> float:
    """Return Σ count · log(fit) where row ``b`` of the products holds the counts with bit ``b`` set.

    Examples
    --------
    >>> round(log_sum(np.array([[1.0], [1.5]]), np.array([[0], [1]])) / math.log(3.0), 12)
    2.0
    """
    each = np.log(product).sum(axis=1) + math.log(2.0) * exponent.sum(axis=1)
    return float(np.sum(each * 2.0 ** np.arange(each.size)))
