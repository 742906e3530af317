"""What the photons of pixels say about projected volumes: ratios, log-likelihood, chi-squared.

Projections are ``p[tilt, column, phase, row]``, counts ``n[tilt, row, column, class]`` of all tilts; a
pixel expects ``exposure · Σ_k p_k G_kc`` photons of class ``c``. Pixels that are not ``seen[tilt, column,
row]`` say nothing.
"""

import numpy as np
from numba import njit

# A pixel that no voxel reaches may hold photons: they cost this much expectation, and move nothing.
LEAST = np.float32(1e-7)
ZERO = np.float32(0.0)
BLOCK_PHOTONS = 20.0  # expected in each block of pixels: Poisson numbers are nearly normal from there


@njit(cache=True, nogil=True, error_model="numpy")
def photon_ratios(projected, counts, tilts, seen, responses):
    """Replace projections, in place, by ``Σ_c n_c G_kc / Σ_l p_l G_lc``; return ``Σ n log Σ_k p_k G_kc``."""
    _, columns, phases, rows = projected.shape
    classes = responses.shape[1]
    here = np.empty(phases, np.float32)
    total = 0.0
    for i in range(len(tilts)):
        t = tilts[i]
        for u in range(columns):
            for y in range(rows):
                for k in range(phases):
                    here[k] = projected[i, u, k, y]
                    projected[i, u, k, y] = ZERO
                if not seen[i, u, y]:
                    continue
                for c in range(classes):
                    n = counts[t, y, u, c]
                    if n == 0:
                        continue
                    expected = LEAST
                    for k in range(phases):
                        expected += here[k] * responses[k, c]
                    total += n * np.log(expected)
                    ratio = np.float32(n) / expected
                    for k in range(phases):
                        projected[i, u, k, y] += ratio * responses[k, c]
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def expected_photons(projected, seen, exposure, yields):
    """Sum what the seen pixels expect."""
    tilts, columns, phases, rows = projected.shape
    total = 0.0
    for i in range(tilts):
        for u in range(columns):
            for k in range(phases):
                line = ZERO
                for y in range(rows):
                    line += projected[i, u, k, y] if seen[i, u, y] else ZERO
                total += exposure[i] * yields[k] * line
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def block_misfit(projected, counts, tilts, seen, exposure, yields, chi2, blocks):
    """Add to each tilt's ``chi2`` and ``blocks`` those of runs of pixels of a row, each with enough expected.

    Pixels join a run until it expects `BLOCK_PHOTONS`; what is left at the end of a row goes on in the next.
    """
    _, columns, phases, rows = projected.shape
    classes = counts.shape[3]
    for i in range(len(tilts)):
        t = tilts[i]
        observed, expected = 0.0, 0.0
        for y in range(rows):
            for u in range(columns):
                if not seen[i, u, y]:
                    continue
                for c in range(classes):
                    observed += counts[t, y, u, c]
                for k in range(phases):
                    expected += exposure[i] * projected[i, u, k, y] * yields[k]
                if expected >= BLOCK_PHOTONS:
                    chi2[t] += (observed - expected) ** 2 / expected
                    blocks[t] += 1
                    observed, expected = 0.0, 0.0
