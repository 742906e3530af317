"""Fisher information of Poisson counts about spectra and about abundances."""

import numpy as np
from numba import njit

from edxdask.factorize.kernels.linear_systems import invert


@njit(cache=True, nogil=True)
def add_spectra_information(indptr, channel, count, abundance, columns, out):
    """Add ``y A_k A_l / ŷ²`` of every photon to ``out[channel]``, (E, k, k), lower triangles only.

    ``columns`` is (E, k), the spectra by channel. Its expectation is Σ A_k A_l / ŷ over pixels.
    """
    k = abundance.shape[1]
    for i in range(indptr.size - 1):
        for j in range(indptr[i], indptr[i + 1]):
            e = channel[j]
            fit = 0.0
            for c in range(k):
                fit += abundance[i, c] * columns[e, c]
            if fit > 0.0:
                weight = np.float64(count[j]) / (fit * fit)
                for c in range(k):
                    scaled = weight * abundance[i, c]
                    for m in range(c + 1):
                        out[e, c, m] += scaled * abundance[i, m]


@njit(cache=True, nogil=True, fastmath={"contract", "reassoc", "nsz", "arcp"})
def _abundance_information(spectra, abundance, inverse_fit, out):
    """Write ``Σ_e S_k S_l / ŷ`` of one pixel, over the channels that it expects counts in."""
    k, channels = spectra.shape
    inverse_fit[:] = 0.0
    for c in range(k):
        for e in range(channels):
            inverse_fit[e] += abundance[c] * spectra[c, e]
    for e in range(channels):
        inverse_fit[e] = 1.0 / inverse_fit[e] if inverse_fit[e] > 0.0 else 0.0
    for c in range(k):
        for m in range(c + 1):
            total = 0.0
            for e in range(channels):
                total += spectra[c, e] * spectra[m, e] * inverse_fit[e]
            out[c, m] = total
            out[m, c] = total


@njit(cache=True, nogil=True)
def fraction_errors(spectra, abundance, out):
    """Write standard errors of the fractions of each pixel, from the inverse of its information.

    With A counts, N = ΣA and a = A / N: da = (dA - a ΣdA) / N.
    """
    k, channels = spectra.shape
    information, lower, inverse = np.empty((k, k)), np.empty((k, k)), np.empty((k, k))
    column, share = np.empty(k), np.empty(k)
    inverse_fit = np.empty(channels)
    for i in range(abundance.shape[0]):
        total = abundance[i].sum()
        out[i] = np.nan
        if total <= 0.0:
            continue
        _abundance_information(spectra, abundance[i], inverse_fit, information)
        if not invert(information, k, lower, column, inverse):
            continue
        everything = inverse.sum()
        for c in range(k):
            share[c] = abundance[i, c] / total
            variance = inverse[c, c] - 2.0 * share[c] * inverse[c].sum() + share[c] ** 2 * everything
            out[i, c] = np.sqrt(max(variance, 0.0)) / total
