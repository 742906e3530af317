"""What every kind of spectra offers to the rounds."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from edxdask.engine.step import Stats


class SpectraModel(Protocol):
    """What spectra are made of, and how that follows from the statistics of a round.

    ``weights`` is what the model adapts, ``(k, …)``; the spectra themselves where they are free.
    """

    def spectra(self, weights: np.ndarray) -> np.ndarray:
        """Spectra ``(k, E)`` of given weights."""
        ...

    def update(self, weights: np.ndarray, stats: Stats) -> np.ndarray:
        """Weights after the round."""
        ...


class StartingModel(SpectraModel, Protocol):
    """Kind of spectra that a fit can begin with from spectra of any shape."""

    def start(self, spectra: np.ndarray) -> np.ndarray:
        """Weights that make roughly these spectra."""
        ...
