"""Spectra of any shape: the factors themselves, updated by multiplication."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edxdask.engine.step import Stats


@dataclass(frozen=True)
class FreeSpectra:
    """Any non-negative spectra, except for fixed entries.

    Attributes
    ----------
    fixed : (k, E) bool, entries that keep their value; None frees all
    """

    fixed: np.ndarray | None = None

    def spectra(self, weights: np.ndarray) -> np.ndarray:
        """Return the weights: they are the spectra."""
        return weights

    def update(self, weights: np.ndarray, stats: Stats) -> np.ndarray:
        """Multiply by numerator over denominator, KL or Frobenius."""
        if "gram" in stats:
            denominator = stats["gram"] @ weights.astype(np.float64)
        else:
            denominator = np.broadcast_to(stats["column_sums"][:, None], weights.shape)
        tiny = np.finfo(weights.dtype).tiny
        fresh = weights * (stats["numerator"] / np.maximum(denominator, tiny))
        if self.fixed is not None:
            fresh = np.where(self.fixed, weights, fresh)
        return fresh.astype(weights.dtype)
