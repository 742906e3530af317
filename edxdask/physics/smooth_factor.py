"""A smooth factor that turns one spectrum into another, as stiff as the counts allow.

Cubic B-splines overlap only their three neighbours, so all matrices have a few bands: a step costs what the
channels cost, not channels times knots squared.
"""

from __future__ import annotations

import numpy as np
from scipy.interpolate import BSpline
from scipy.linalg import solve_banded
from scipy.sparse import csr_array, dia_array, eye_array

from edxdask.physics.detector import fwhm_kev
from edxdask.physics.poisson import LEAST_MODEL, deviance

STIFFNESS = 10.0 ** np.arange(-1, 9)  # the data choose (Akaike)
BANDS = 3  # neighbours, to each side, that a cubic B-spline overlaps
NEWTON_ROUNDS, SETTLED = 8, 1e-6
LEAST_INFORMATION = 1e-9  # so that knots without counts can be solved for


def spline_rows(energy: np.ndarray, apart: float) -> csr_array:
    """Cubic B-splines with knots ``apart`` peak widths from one another.

    Parameters
    ----------
    energy : (E,) keV
    apart : distance of the knots over the width of a peak there

    Returns
    -------
    sparse (splines, E)

    Examples
    --------
    >>> rows = spline_rows(0.3 + 0.01 * np.arange(970), 3.0)
    >>> rows.shape, bool(np.allclose(rows.sum(axis=0), 1))
    ((33, 970), True)
    """
    knots = [float(energy[0])]
    while knots[-1] < energy[-1]:
        knots.append(knots[-1] + apart * float(fwhm_kev(max(knots[-1], 0.0))))
    inner = np.linspace(0, 1, len(knots))
    place = np.interp(energy, knots, inner)
    step = inner[1]
    padded = np.concatenate([-step * np.arange(3, 0, -1), inner, 1 + step * np.arange(1, 4)])
    return csr_array(BSpline.design_matrix(place, padded, 3).T)


def smooth_factor(counts: np.ndarray, expected: np.ndarray, splines: csr_array) -> tuple[np.ndarray, float]:
    """Find the factor exp(θ·splines) that turns ``expected`` into ``counts``, as stiff as the data allow.

    Penalised Poisson likelihood with second differences of θ; stiffness by Akaike's criterion, in which the
    deviance is scaled so that a misfit that no smooth factor can fix does not count as signal.

    Parameters
    ----------
    counts : (E,)
    expected : (E,) that the factor is for
    splines : (splines, E) sparse, as from ``spline_rows``

    Returns
    -------
    factor : (E,)
    freedom : number of parameters that it is worth

    Examples
    --------
    >>> energy = 0.3 + 0.01 * np.arange(970)
    >>> flat, bent = np.full(970, 1e4), 1 + 0.1 * np.sin(energy)
    >>> factor, freedom = smooth_factor(flat * bent, flat, spline_rows(energy, 3.0))
    >>> bool(np.abs(factor / bent - 1).max() < 0.002)
    True
    """
    products, penalty = _products(splines), _penalty(splines.shape[0])
    columns = splines.T.tocsr()
    best: tuple[float, np.ndarray, float] | None = None
    scale = None
    for stiffness in STIFFNESS:
        stiff = stiffness * penalty
        theta = np.zeros(splines.shape[0])
        for _ in range(NEWTON_ROUNDS):
            mean = np.maximum(expected * np.exp(columns @ theta), LEAST_MODEL)
            slope = splines @ (counts - mean) - _applied(stiff, theta)
            step = _solved(_information(products, mean) + stiff, slope)
            theta = theta + np.clip(step, -1, 1)
            if np.abs(step).max() < SETTLED:
                break
        bent = np.exp(columns @ theta)
        mean = np.maximum(expected * bent, LEAST_MODEL)
        information = _information(products, mean)
        freedom = float(np.trace(_solved(information + stiff, _dense(information))))
        misfit = deviance(counts, mean)
        if scale is None:  # of the most flexible factor
            scale = max(misfit / max(counts.size - freedom, 1.0), 1.0)
        score = misfit / scale + 2 * freedom
        if best is None or score < best[0]:
            best = (score, bent, freedom)
    if best is None:
        raise RuntimeError("no stiffness was tried")
    return best[1], best[2]


def _products(splines: csr_array) -> list[csr_array]:
    """Products of each spline with itself and its next neighbours: (splines, E) for each distance."""
    shifts = (eye_array(splines.shape[0], k=distance, format="csr") for distance in range(BANDS + 1))
    return [csr_array(splines.multiply(shift @ splines)) for shift in shifts]


def _penalty(size: int) -> np.ndarray:
    """Squares of second differences, in bands."""
    second = np.diff(np.eye(size), n=2, axis=0)
    whole = second.T @ second
    return _in_bands([np.append(np.diagonal(whole, d), np.zeros(d)) for d in range(BANDS + 1)])


def _information(products: list[csr_array], mean: np.ndarray) -> np.ndarray:
    """Fisher information of the splines' coefficients, in bands."""
    return _in_bands([product @ mean for product in products])


def _in_bands(above: list[np.ndarray]) -> np.ndarray:
    """Lay a symmetric matrix out as LAPACK has bands: (2 · BANDS + 1, size).

    Parameters
    ----------
    above : of each distance from the diagonal, element (i, i + distance) by i
    """
    bands = np.zeros((2 * BANDS + 1, above[0].size))
    bands[BANDS] = above[0]
    for distance in range(1, BANDS + 1):
        bands[BANDS - distance, distance:] = above[distance][:-distance]
        bands[BANDS + distance, :-distance] = above[distance][:-distance]
    return bands


def _dense(bands: np.ndarray) -> np.ndarray:
    offsets = np.arange(BANDS, -BANDS - 1, -1)
    return np.asarray(dia_array((bands, offsets), shape=(bands.shape[1],) * 2).toarray())


def _applied(bands: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """Multiply a matrix in bands by a vector."""
    out = bands[BANDS] * vector
    for distance in range(1, BANDS + 1):
        out[:-distance] += bands[BANDS - distance, distance:] * vector[distance:]
        out[distance:] += bands[BANDS + distance, :-distance] * vector[:-distance]
    return np.asarray(out)


def _solved(bands: np.ndarray, right: np.ndarray) -> np.ndarray:
    sure = bands.copy()
    sure[BANDS] += LEAST_INFORMATION
    return np.asarray(solve_banded((BANDS, BANDS), sure, right, check_finite=False))
