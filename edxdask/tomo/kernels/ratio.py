"""What the photons of each pixel say about the projected volumes: ratios, curvatures, log-likelihood.

Projections are ``p[tilt, column, phase, row]``, counts ``n[tilt, row, column, class]``; a pixel expects
``exposure · Σ_k p_k G_kc`` photons of class ``c``.
"""

import numpy as np
from numba import njit

# A pixel that no voxel reaches may hold photons: they cost this much expectation, and move nothing.
LEAST = np.float32(1e-7)


@njit(cache=True, nogil=True, error_model="numpy")
def photon_ratios(projected, counts, responses):
    """Replace projections, in place, by ``Σ_c n_c G_kc / Σ_l p_l G_lc``; return ``Σ n log Σ p G``."""
    tilts, columns, phases, rows = projected.shape
    classes = responses.shape[1]
    here = np.empty(phases, np.float32)
    total = 0.0
    for t in range(tilts):
        for u in range(columns):
            for y in range(rows):
                for k in range(phases):
                    here[k] = projected[t, u, k, y]
                    projected[t, u, k, y] = np.float32(0.0)
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
                        projected[t, u, k, y] += ratio * responses[k, c]
    return total
