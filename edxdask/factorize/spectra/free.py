"""Spectra of any shape: the factors themselves, updated by multiplication."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edxdask.engine.step import Stats

LEAST_USABLE = 1e-6  # fraction of the photons


@dataclass(frozen=True, eq=False)
class FreeSpectra:
    """Any non-negative spectra, except for fixed entries and channels that cannot be used.

    Attributes
    ----------
    fixed : (k, E) bool, entries that keep their value; None frees all
    below : (E,) fraction of the photons in each channel below the first usable one: the same in every
        spectrum, so that these channels take part in totals only; None: all can be used
    first : the first usable channel
    """

    fixed: np.ndarray | None = None
    below: np.ndarray | None = None
    first: int = 0

    def spectra(self, weights: np.ndarray) -> np.ndarray:
        """Return the weights: they are the spectra, but for channels below the first usable one."""
        if self.below is None:
            return weights
        return self._with_below(weights, weights[:, self.first :].sum(axis=1, keepdims=True))

    def update(self, weights: np.ndarray, stats: Stats) -> np.ndarray:
        """Multiply by numerator over denominator, KL or Frobenius."""
        if "gram" in stats:
            denominator = stats["gram"] @ weights.astype(np.float64)
        else:
            denominator = np.broadcast_to(stats["column_sums"][:, None], weights.shape)
        tiny = np.finfo(weights.dtype).tiny
        fresh = weights * (stats["numerator"] / np.maximum(denominator, tiny))
        if self.below is not None:
            # what a phase has of the unusable channels is put in proportion, and its photons stay as many
            usable = fresh[:, self.first :].sum(axis=1, keepdims=True)
            whole = fresh.sum(axis=1, keepdims=True) * (1 - self.below.sum())
            fresh *= np.divide(whole, usable, out=np.ones_like(whole), where=usable > 0)
            fresh = self._with_below(fresh, fresh[:, self.first :].sum(axis=1, keepdims=True))
        if self.fixed is not None:
            fresh = np.where(self.fixed, weights, fresh)
        return fresh.astype(weights.dtype)

    def _with_below(self, weights: np.ndarray, usable: np.ndarray) -> np.ndarray:
        """Weights with the unusable channels in proportion to the sums of the usable ones."""
        if self.below is None:
            return weights
        out = weights.copy()
        out[:, : self.first] = usable * self.below[: self.first] / max(1 - self.below.sum(), LEAST_USABLE)
        return out if self.fixed is None else np.where(self.fixed, weights, out)
