"""The M-step: the volume that fits the evidence best under non-negativity, the cap and the prior."""

from __future__ import annotations

import numpy as np

from edxdask.tomo.kernels.variation import couple_all, maximise, maximise_alone, variation

TV, NONE = "tv", "none"
PRIORS = (TV, NONE)
# Steps of an M-step, which begins where the one before it ended: fewer leave the dual field behind.
STEPS = 4
# Ratio of primal to dual steps, for fractions: between 0.05 and 0.3 the objective falls alike.
BALANCE = 0.1


class TotalVariation:
    """M-steps with a strength λ times the total variation, joint over phases and the vacuum.

    With the vacuum as one more phase all borders cost alike. On the phantom of three phases that takes 3 %
    from the error of volumes, at 5 as at 20 photons per pixel.

    Keeps the dual field and the extrapolated point from one M-step to the next: four volumes.

    Parameters
    ----------
    volume : ndarray
        [z, x, phase, y] where to begin, single precision.
    strength : float
        λ, in units of log-likelihood per unit of variation; 0 is no prior.
    cap : bool
        Keep the sum over phases at 1 or less.
    """

    def __init__(self, volume: np.ndarray, strength: float, cap: bool) -> None:
        self.strength, self.cap = strength, cap
        if strength:
            nz, nx, phases, rows = volume.shape
            self._ahead = volume.copy()
            couple_all(self._ahead)
            self._dual = np.zeros((nz, nx, 3, phases, rows), np.float32)

    def maximise(
        self, volume: np.ndarray, evidence: np.ndarray, sensitivity: np.ndarray, yields: np.ndarray
    ) -> None:
        """Change ``volume``, in place, towards the best for ``evidence`` [z, x, phase, y]."""
        if not self.strength:
            maximise_alone(volume, evidence, sensitivity, yields, self.cap)
            return
        maximise(
            volume,
            self._ahead,
            self._dual,
            evidence,
            sensitivity,
            yields,
            self.strength,
            BALANCE,
            STEPS,
            self.cap,
        )

    def penalty(self, volume: np.ndarray) -> float:
        """Compute λ times the total variation."""
        return self.strength * float(variation(volume)) if self.strength else 0.0
