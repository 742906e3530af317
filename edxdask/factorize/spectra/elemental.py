"""Spectra of what elements emit: mixtures of unit columns, with weights that mean atoms.

Written per photon, a spectrum is a mixture of columns that sum to 1, and the update of its weights is
expectation-maximization like that of the abundances, so that the engine needs no change and an iteration
costs as much as one with free spectra.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edxdask.engine.step import Stats
from edxdask.physics.poisson import fit_weights

LEAST_START = 1e-6  # of a phase's weights: multiplicative updates never leave zero
FIT_PHOTONS = 1e6  # a spectrum is fitted as if it had this many photons


@dataclass(frozen=True, eq=False)
class ElementalSpectra:
    """Spectra model of the rounds: mixtures of unit columns.

    Attributes
    ----------
    columns : (k, M, E), or (1, M, E) where they are common to all phases; each row sums to 1
    atoms : like (k, M, elements), or (1, M, elements): atoms that a weight of 1 means
    allowed : (k, M) bool; None allows all
    below : fraction of the photons below the first channel of use. Their column is the last one, and every
        phase has the same weight on it, so that these channels take part in totals only; 0: no such
        column
    """

    columns: np.ndarray
    atoms: np.ndarray
    allowed: np.ndarray | None = None
    below: float = 0.0

    def start(self, spectra: np.ndarray) -> np.ndarray:
        """Weights that make roughly these spectra, ``(k, E)``; no allowed weight is zero."""
        weights = self.weights_of(spectra)
        weights = np.maximum(weights, LEAST_START)
        if self.allowed is not None:
            weights = weights * self.allowed
        weights = self._with_below(weights)
        return weights / weights.sum(axis=1, keepdims=True)

    def weights_of(self, spectra: np.ndarray) -> np.ndarray:
        """Weights of given spectra, by Poisson likelihood; rows sum to 1."""
        own = np.broadcast_to(self.columns, (len(spectra), *self.columns.shape[1:]))
        allowed = np.ones(own.shape[:2], bool) if self.allowed is None else self.allowed
        weights = np.zeros(own.shape[:2])
        for row, spectrum, columns, free in zip(weights, spectra, own, allowed, strict=True):
            scaled = FIT_PHOTONS * spectrum / max(spectrum.sum(), np.finfo(float).tiny)
            row[free] = fit_weights(scaled, columns[free]).weights
        return weights / np.maximum(weights.sum(axis=1, keepdims=True), np.finfo(float).tiny)

    def spectra(self, weights: np.ndarray) -> np.ndarray:
        """Spectra of given weights; rows sum to 1."""
        return (weights[:, None, :] @ self.columns)[:, 0]

    def update(self, weights: np.ndarray, stats: Stats) -> np.ndarray:
        """Weights after the round: each column's part of the photons its phase is given."""
        fresh = self._with_below(weights * (self.columns @ stats["numerator"][:, :, None])[:, :, 0])
        sums = fresh.sum(axis=1, keepdims=True)
        return fresh / np.where(sums > 0, sums, 1.0)

    def _with_below(self, weights: np.ndarray) -> np.ndarray:
        """Weights, of any sum, with the last one at its fraction of that sum."""
        if self.below > 0:
            rest = weights[:, :-1].sum(axis=1)
            weights[:, -1] = rest * self.below / (1.0 - self.below)
        return weights

    def composition(self, weights: np.ndarray) -> np.ndarray:
        """Atomic fractions, ``(k, elements)``."""
        amounts = (weights[:, None, :] @ self.atoms)[:, 0]
        whole = amounts.sum(axis=1, keepdims=True)
        return amounts / np.where(whole > 0, whole, 1.0)
