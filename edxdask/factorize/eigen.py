"""Leading eigenvectors of YᵀY from products with narrow blocks, so that YᵀY need not exist."""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np

from edxdask.photons.random import uniform_start

logger = logging.getLogger(__name__)

WIDTH = 16  # columns a pass; one pass over the photons costs little more for 16 columns than for 4
MOST_PASSES = 24
RESIDUAL = 1e-8  # of the largest eigenvalue
LOST = 1e-10  # what is left of a direction after orthogonalization, below which it is rounding


def leading_eigenvectors(
    apply: Callable[[np.ndarray], np.ndarray], size: int, wanted: int, count: int, *, tail: float = 0.1
) -> tuple[np.ndarray, np.ndarray]:
    """Block Krylov (Lanczos) with full orthogonalization: every product is kept and used again.

    Parameters
    ----------
    apply : product of the symmetric, positive matrix with ``(size, p)``
    wanted : leading eigenvectors that must converge
    count : eigenvalues returned; those beyond ``wanted`` are Ritz values, which approach from below
    tail : bound on the relative error of those

    Returns
    -------
    values, vectors
        ``(count,)`` falling, and ``(size, wanted)``.

    Examples
    --------
    >>> matrix = np.diag([5.0, 3.0, 1.0])
    >>> leading_eigenvectors(lambda v: matrix @ v, 3, 1, 2)[0].round(6).tolist()
    [5.0, 3.0]
    """
    fresh = np.linalg.qr(uniform_start(0, np.arange(size), min(size, max(WIDTH, wanted))) - 0.5)[0]
    basis, image = np.empty((size, 0)), np.empty((size, 0))
    for _ in range(MOST_PASSES):
        basis = np.hstack([basis, fresh])
        image = np.hstack([image, apply(fresh)])
        small = basis.T @ image
        values, rotation = np.linalg.eigh((small + small.T) / 2)
        values, rotation = values[::-1], rotation[:, ::-1]
        top = rotation[:, :count]
        misses = np.linalg.norm(image @ top - (basis @ top) * values[:count], axis=0)
        bounds = np.where(np.arange(misses.size) < wanted, RESIDUAL * values[0], tail * values[:count])
        if basis.shape[1] >= count and np.all(misses <= np.maximum(bounds, RESIDUAL * values[0])):
            break
        fresh = _new_directions(image[:, -fresh.shape[1] :], basis)
        if fresh.shape[1] == 0:
            break
    else:
        logger.warning(
            "eigenvectors not converged after %d passes: residual %.1e of the largest eigenvalue; "
            "fewer components converge sooner",
            MOST_PASSES,
            misses[:wanted].max() / values[0],
        )
    found = np.zeros(count)
    found[: values.size] = np.maximum(values[:count], 0)
    return found, basis @ rotation[:, :wanted]


def _new_directions(image: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """Orthonormal directions of ``image`` outside ``basis``; none where the space is exhausted."""
    room = basis.shape[0] - basis.shape[1]
    rest = image / max(float(np.linalg.norm(image, axis=0).max()), np.finfo(float).tiny)
    rest = rest - basis @ (basis.T @ rest)
    left, sizes, _ = np.linalg.svd(rest, full_matrices=False)
    left = left[:, sizes > LOST][:, :room]
    left -= basis @ (basis.T @ left)  # once more: the first time removed all but rounding
    return np.linalg.qr(left)[0] if left.shape[1] else left
