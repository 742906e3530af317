"""How much of one phase may be in another without the counts noticing.

S_j + u S_i explains the counts as well as S_j, if the abundance of phase i falls by u A_j: wherever it would
fall below zero, beyond its counting error, likelihood is lost. A spectrum may fall as well (u < 0), until
something in it is below zero. So the freedom of phase j is a region of all its u: bounded from above by the
sums of pixels where j is purest, from below by the weights of its spectrum.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq

from edxdask.factorize.iteration.grouped import TINY, Groups, most_likely_abundance

SIGMAS = 2.0  # by which something may be below zero
LOSS = 2.0  # of log-likelihood that makes no difference
MOST = 1e3  # of another phase, per photon of this one
ROUNDS = 300
WINDOW, FEWEST_EXPECTED = 10, 20.0  # channels, and counts in them, that the misfit is judged by
PURE, OFTEN = 0.95, 0.2  # fraction that counts as pure; photons of a phase that must lie there
FEWEST_PIXELS = 9  # that are pure; fewer may all be blurred
# between these fractions are fewer photons than this part of those above, where a top is a plateau: 0.06 to
# 0.15 of them for grains of the battery's samples, 0.47 and more for a gradient
NEARLY, WHOLLY, FEWER = 0.8, 0.975, 0.3


@dataclass(frozen=True, eq=False)
class GroupFit:
    """Abundances of groups, as if they could be below zero.

    Attributes
    ----------
    abundance : (groups, k), the most likely ones, at least 0
    free : (groups, k), below zero where the counts ask for it
    covariance : (groups, k, k) of ``free``
    misfit : reduced chi-squared of the groups, at least 1
    pixels : (groups,)
    flat : (k,) phases with a flat top, whose spectrum is what is there
    """

    abundance: np.ndarray
    free: np.ndarray
    covariance: np.ndarray
    misfit: float
    pixels: np.ndarray
    flat: np.ndarray

    @classmethod
    def of(cls, groups: Groups, spectra: np.ndarray, flat: np.ndarray | None = None) -> GroupFit:
        """Fit the abundances of groups to given spectra, (k, E); ``flat`` are phases with a flat top."""
        counts = groups.counts.astype(np.float64)
        abundance = most_likely_abundance(groups, spectra, ROUNDS)
        expected = np.maximum(abundance @ spectra, 1e-9)
        information = np.stack([(spectra / row) @ spectra.T for row in expected])
        covariance = np.linalg.pinv(information, hermitian=True)
        slope = (counts / expected - 1) @ spectra.T
        free = abundance + np.einsum("gij,gj->gi", covariance, slope)
        misfit = _misfit(counts, expected, abundance.size)
        tops = np.isin(np.arange(len(spectra)), [] if flat is None else flat)
        return cls(abundance, free, covariance, misfit, groups.pixels, tops)

    def most_of(self, other: int, phase: int) -> float:
        """Find the largest u of ``other`` in ``phase`` that loses no more likelihood than chance would."""
        a, b = self.free[:, other], self.free[:, phase]
        cov = self.covariance
        v, c, w = cov[:, other, other], cov[:, other, phase], cov[:, phase, phase]

        def beyond(u: float) -> float:
            below = np.minimum(a - u * b, 0.0)
            var = np.maximum(v - 2 * u * c + u * u * w, TINY)
            # where the phase is not there at all, chance alone leaves half of the groups below zero, each
            # with a square of 1 on average
            number = int(np.count_nonzero(below))
            lost = 0.5 * float((below**2 / var).sum()) / self.misfit - 0.5 * number
            return lost - LOSS * float(np.sqrt(max(number, 1)))

        start = max(beyond(0.0), 0.0)
        most = MOST
        if beyond(MOST) > start:
            most = float(brentq(lambda u: beyond(u) - start - 1e-9, 0.0, MOST, xtol=1e-6))
        if not self.pure()[phase]:
            return most
        alone = self._alone()[:, phase]
        error = np.sqrt(self.misfit * v[alone].sum())
        return min(most, max(0.0, float(a[alone].sum() + SIGMAS * error) / max(float(b[alone].sum()), TINY)))

    def pure(self) -> np.ndarray:
        """Say which phases are pure in many of the pixels that hold them, (k,)."""
        alone = self._alone()
        there = np.where(alone, self.abundance, 0.0).sum(axis=0)
        many = self.pixels @ alone >= FEWEST_PIXELS
        return np.asarray(self.flat | (many & (there > OFTEN * self.abundance.sum(axis=0))))

    def has_plateau(self) -> np.ndarray:
        """Say of which phases, (k,), most of the purest pixels are alike; of a gradient, they are not."""
        fraction = self.abundance / np.maximum(self.abundance.sum(axis=1, keepdims=True), TINY)
        near = np.where((fraction > NEARLY) & (fraction <= WHOLLY), self.abundance, 0.0).sum(axis=0)
        whole = np.where(fraction > WHOLLY, self.abundance, 0.0).sum(axis=0)
        return np.asarray(self.flat | (near < FEWER * whole))

    def brightness(self) -> np.ndarray:
        """Photons per pixel where each phase is pure, (k,); 0 where it never is."""
        alone = self._alone().astype(float)
        return (alone * self.abundance).sum(axis=0) / np.maximum(self.pixels @ alone, TINY)

    def _alone(self) -> np.ndarray:
        return self.abundance > PURE * np.maximum(self.abundance.sum(axis=1, keepdims=True), TINY)


def in_windows(spectra: np.ndarray) -> np.ndarray:
    """Sum neighbouring channels of spectra (n, E): windows are less noisy, and no peak is narrower.

    Examples
    --------
    >>> in_windows(np.ones((1, 25))).tolist()
    [[10.0, 10.0, 5.0]]
    """
    return np.add.reduceat(spectra, np.arange(0, spectra.shape[1], WINDOW), axis=1)


def _misfit(counts: np.ndarray, expected: np.ndarray, parameters: int) -> float:
    seen, due = in_windows(counts), in_windows(expected)
    enough = due > FEWEST_EXPECTED
    freedom = int(enough.sum()) - parameters
    if freedom <= 0:
        return 1.0
    return max(1.0, float(((seen - due) ** 2 / np.maximum(due, TINY))[enough].sum()) / freedom)
