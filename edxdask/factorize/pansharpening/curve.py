"""The curve behind a choice: candidates, their scores on unseen photons, the value taken."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr


@dataclass(frozen=True)
class Curve:
    """The curve behind a choice.

    Attributes
    ----------
    candidates : values tried
    score : held-out log-likelihood per photon; higher is better
    error : standard error of ``score`` against the best
    chosen : the value taken
    """

    candidates: np.ndarray
    score: np.ndarray
    error: np.ndarray
    chosen: float

    @classmethod
    def given(cls, value: float) -> Curve:
        """Make the curve of a value that the user gave."""
        return cls(np.empty(0), np.empty(0), np.empty(0), value)

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray], name: str) -> Curve:
        """Read back what ``arrays`` wrote."""
        candidates, score, error = (arrays[f"{name}_{part}"] for part in ("candidates", "score", "error"))
        return cls(candidates, score, error, arrays[f"{name}_chosen"].item())

    def arrays(self, name: str) -> dict[str, np.ndarray]:
        """Everything as arrays."""
        return {
            f"{name}_candidates": self.candidates,
            f"{name}_score": self.score,
            f"{name}_error": self.error,
            f"{name}_chosen": np.array(self.chosen),
        }

    def variables(self, name: str) -> dict[str, xr.Variable]:
        """Curve as ``<name>_score`` over ``<name>_candidate``; nothing where the user gave the value."""
        if not self.candidates.size:
            return {}
        dims = (f"{name}_candidate",)
        label = {"long_name": "held-out log-likelihood per photon"}
        return {
            dims[0]: xr.Variable(dims, self.candidates),
            f"{name}_score": xr.Variable(dims, self.score, label),
            f"{name}_score_std": xr.Variable(dims, self.error, {"long_name": "standard error to the best"}),
        }
