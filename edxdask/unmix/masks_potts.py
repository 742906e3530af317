"""Masks from the photons themselves: log-likelihood ratios of pixels, cut where neighbours agree.

For every pixel, is it more likely that a tenth of its photons come from the precipitate than none? The ratio
of the likelihoods is a sum over photons, Σ_c y_c log[1 + δ (S_jc / S_Bc - 1)]. The mask with the largest sum
of ratios, less a penalty for every border between neighbours (Potts model), is a minimum cut of a graph.
"""

from __future__ import annotations

import numpy as np

from edxdask.optional import require

TRIED_FRACTION = 0.1  # of the photons: small enough for pixels at the rim of a precipitate
BORDER = 2.0  # penalty of a border between two pixels, in units of the log-likelihood
DIAGONAL = 1 / np.sqrt(
    2
)  # of the penalty between diagonal neighbours: so borders cost alike in all directions
# Where small grains fill much of a map and each pixel says little, borders may cost more than all that speaks
# against a mask of everything. Then they are made cheaper.
LEAST_BORDER = BORDER / 64
FLOODED = 0.05  # of the pixels of a mask that speak against it
LEAST_SPECTRUM = 1e-9  # of the matrix in a channel, so that one stray photon does not decide on a pixel


def log_ratios(matrix: np.ndarray, precipitates: np.ndarray, fraction: float = TRIED_FRACTION) -> np.ndarray:
    """Give what a photon of each channel adds to the log-likelihood ratio: (precipitates, E).

    Parameters
    ----------
    matrix : ndarray
        (E,) spectrum of unit sum.
    precipitates : ndarray
        (precipitates, E) spectra of unit sum.
    fraction : float
        Of the photons that come from the precipitate, where there is one.

    Examples
    --------
    >>> log_ratios(np.array([0.5, 0.5]), np.array([[1.0, 0.0]]), 0.5).round(3).tolist()
    [[0.405, -0.693]]
    """
    safe = np.maximum(matrix, LEAST_SPECTRUM)
    return np.log1p(fraction * (np.maximum(precipitates, LEAST_SPECTRUM) / safe - 1.0))


def precipitate_mask(ratios: np.ndarray) -> np.ndarray:
    """Cut a map of log-likelihood ratios; finer where all of it would be the mask though much speaks against.

    Parameters
    ----------
    ratios : ndarray
        (y, x), above 0 where a precipitate is likely.
    """
    border, against = BORDER, ratios < 0
    mask = potts_mask(ratios, border)
    if not mask.all():
        return mask
    while border > LEAST_BORDER and against[mask].sum() > FLOODED * mask.sum():
        border /= 2
        mask = potts_mask(ratios, border)
    return mask


def potts_mask(ratios: np.ndarray, border: float = BORDER) -> np.ndarray:
    """Cut a map of log-likelihood ratios into precipitate and matrix.

    Parameters
    ----------
    ratios : ndarray
        (y, x), above 0 where a precipitate is likely.
    border : float
        Penalty for each pair of neighbours, of eight, that are not alike.

    Returns
    -------
    ndarray of bool
        (y, x), the mask of the largest penalised likelihood.
    """
    maxflow = require("maxflow", extra="masks", purpose="masks='potts' (PyMaxflow)")
    graph = maxflow.GraphFloat()
    nodes = graph.add_grid_nodes(ratios.shape)
    for structure, weight in (
        ([[0, 0, 0], [0, 0, 1], [0, 1, 0]], border),
        ([[0, 0, 0], [0, 0, 0], [1, 0, 1]], border * DIAGONAL),
    ):
        graph.add_grid_edges(nodes, weights=weight, structure=np.array(structure), symmetric=True)
    graph.add_grid_tedges(nodes, np.maximum(-ratios, 0.0), np.maximum(ratios, 0.0))
    graph.maxflow()
    return np.asarray(graph.get_grid_segments(nodes), dtype=bool)
