"""Leading eigenvectors of YᵀY from products with narrow blocks, so that YᵀY need not exist."""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np

from edxdask.photons.random_starts import uniform_start

logger = logging.getLogger(__name__)

WIDTH = 16  # columns per pass; one pass over the photons costs little more for 16 columns than for 4
MOST_PASSES = 24
CHECK_EVERY = 3  # passes; a check costs more than a product where YᵀY is in memory
RESIDUAL = 1e-5  # of an eigenvalue; signal is far more exact, and noise does not matter
FLOOR = 1e-8  # of the largest eigenvalue: where rounding begins to matter
LOST = 1e-10  # if less of a direction is left after orthogonalization, it is rounding


def leading_eigenvectors(
    apply: Callable[[np.ndarray], np.ndarray], size: int, wanted: int, count: int, *, tail: float = 0.1
) -> tuple[np.ndarray, np.ndarray]:
    """Block Krylov (Lanczos) with complete orthogonalization: every product is kept and used again.

    Parameters
    ----------
    apply : product of the symmetric, positive matrix with ``(size, p)``
    wanted : leading eigenvectors that must converge, to a residual of 1e-5 of their eigenvalue
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
    basis, image, projected = np.empty((size, 0)), np.empty((size, 0)), np.empty((0, 0))
    for turn in range(1, MOST_PASSES + 1):
        basis, image = np.hstack([basis, fresh]), np.hstack([image, apply(fresh)])
        projected = _grown(projected, basis.T @ image[:, -fresh.shape[1] :])
        fresh = _new_directions(image[:, -fresh.shape[1] :], basis)
        last = turn == MOST_PASSES or fresh.shape[1] == 0
        if basis.shape[1] < count and not last:
            continue
        if turn % CHECK_EVERY and not last:
            continue
        values, rotation = np.linalg.eigh(projected)
        values, top = values[::-1][:count], rotation[:, ::-1][:, :count]
        misses = np.linalg.norm(image @ top - (basis @ top) * values, axis=0)
        fraction = np.where(np.arange(values.size) < wanted, RESIDUAL, tail)
        if last or np.all(misses <= np.maximum(fraction * values, FLOOR * values[0])):
            break
    worst = float(np.max(misses[:wanted] / np.maximum(values[:wanted], FLOOR * values[0])))
    logger.info("eigenvectors after %d passes: residual at most %.1e of the eigenvalue", turn, worst)
    found = np.zeros(count)
    found[: values.size] = np.maximum(values, 0)
    return found, basis @ top[:, :wanted]


def _grown(projected: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Symmetric matrix with new last columns, and the same rows."""
    old, new = projected.shape[0], columns.shape[1]
    out = np.empty((old + new, old + new))
    out[:old, :old] = projected
    out[:old, old:], out[old:, :old] = columns[:old], columns[:old].T
    out[old:, old:] = (columns[old:] + columns[old:].T) / 2
    return out


def _new_directions(image: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """Orthonormal directions of ``image`` outside ``basis``; none where there are no more."""
    room = basis.shape[0] - basis.shape[1]
    rest = image / max(float(np.linalg.norm(image, axis=0).max()), np.finfo(float).tiny)
    rest = rest - basis @ (basis.T @ rest)
    left, sizes, _ = np.linalg.svd(rest, full_matrices=False)
    left = left[:, sizes > LOST][:, :room]
    left -= basis @ (basis.T @ left)  # once more: the first time removed all but rounding
    return np.linalg.qr(left)[0] if left.shape[1] else left
