"""Spectra from clusters of voxels: phases stand beside one another, so most voxels are of one alone.

Volumes of more spectra than there are phases show each phase as one dense cluster of voxels, at some mixture.
Voxels are compared in the metric of what photons tell apart. Each is given to its cluster whole, and the
photons of all projections say what mixtures of the basis the clusters have then.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from edxdask.tomo.classes import information, k_means
from edxdask.tomo.yields import plateau

MOST_VOXELS = 20_000  # that clusters are found on
INSIDE = 0.5  # of what full voxels hold
STEPS, SETTLED = 8, 1e-3
LEAST = 1e-4  # of the mean response: expected photons of a class are at least this
SHORTEST = 0.05  # of a step that would make a response negative


class Observed(Protocol):
    """Photons that were fitted, and what is expected of a volume."""

    fitted: np.ndarray
    responses: np.ndarray

    def expected(self, volume: np.ndarray, tilt: int) -> np.ndarray:
        """Photons of each phase, of those that were fitted, in pixels of a tilt: (pixel, phase)."""


def cluster_spectra(volume: np.ndarray, observed: Observed, clusters: int) -> np.ndarray:
    """Find the mixtures of a basis that clusters of voxels have: (cluster, basis), rows that sum to 1.

    Voxels that are all alike give fewer clusters.

    Parameters
    ----------
    volume : ndarray
        (basis, z, y, x) photons of each spectrum of the basis.
    observed : Observed
        Photons of the projections.
    clusters : int
        Number of phases.
    """
    labels, centres = _clusters(volume, observed.responses, clusters)
    whole = volume.sum(axis=0)
    parts = np.stack([whole * (labels == one) for one in range(len(centres))])
    return fitted_mixtures(parts, observed, centres)


def _clusters(volume: np.ndarray, responses: np.ndarray, clusters: int) -> tuple[np.ndarray, np.ndarray]:
    """Cluster of each voxel (z, y, x), and the median mixture of each cluster."""
    whole = volume.sum(axis=0)
    fractions = volume / np.maximum(whole, 1e-9)
    mean = volume.sum(axis=(1, 2, 3), dtype=np.float64)
    known = information(responses, mean / mean.sum())
    metric = np.linalg.cholesky(known + 1e-9 * np.trace(known) * np.eye(len(known)))
    chosen = np.flatnonzero(whole.ravel() > INSIDE * plateau(whole))
    chosen = chosen[:: -(-chosen.size // MOST_VOXELS)]
    inside = fractions.reshape(len(volume), -1)[:, chosen]
    found = k_means((metric.T @ inside).T, np.ones(chosen.size), clusters, seed=0)
    centres = np.stack([np.median(inside[:, found == one], axis=1) for one in np.unique(found)])
    centres /= centres.sum(axis=1, keepdims=True)
    places = np.tensordot(metric.T, fractions, 1)
    apart = [((places - (metric.T @ one)[:, None, None, None]) ** 2).sum(axis=0) for one in centres]
    return np.argmin(apart, axis=0), centres


def fitted_mixtures(parts: np.ndarray, observed: Observed, mixture: np.ndarray) -> np.ndarray:
    """Find by Fisher scoring the mixtures of a basis with which given volumes expect the photons there are.

    Parameters
    ----------
    parts : ndarray
        (phase, z, y, x).
    observed : Observed
        Photons of the projections.
    mixture : ndarray
        (phase, basis) to begin with.
    """
    for _ in range(STEPS):
        gradient, known = _gradient_and_information(parts, observed, mixture)
        size = mixture.size
        ridge = 1e-6 * np.trace(known) / size * np.eye(size)
        step = np.linalg.solve(known + ridge, gradient.ravel()).reshape(mixture.shape)
        length, lowest = 1.0, -LEAST * observed.responses.mean()
        while length > SHORTEST and ((mixture + length * step) @ observed.responses < lowest).any():
            length *= 0.7
        mixture = mixture + length * step
        if np.abs(length * step).max() < SETTLED:
            break
    return np.asarray(mixture / mixture.sum(axis=1, keepdims=True))


def _gradient_and_information(
    parts: np.ndarray, observed: Observed, mixture: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Gradient of the log-likelihood over mixtures (cluster, basis), and its information matrix."""
    basis, (clusters, terms) = observed.responses, mixture.shape
    gradient, known = np.zeros((clusters, terms)), np.zeros((clusters, terms, clusters, terms))
    spectra = mixture @ basis
    for tilt, counts in enumerate(observed.fitted):
        expected = observed.expected(parts, tilt)
        mean = expected @ spectra
        mean = np.maximum(mean, LEAST * expected.sum(axis=1, keepdims=True) * basis.mean() + 1e-10)
        photons = counts.reshape(len(mean), -1)
        gradient += expected.T @ ((photons / mean - 1.0) @ basis.T)
        for one in range(clusters):
            weight = (expected[:, [one]] * expected).T @ (1.0 / mean)  # (cluster, class)
            known[one] += np.einsum("lc,mc,nc->mln", weight, basis, basis)
    return gradient, known.reshape(mixture.size, mixture.size)
