"""How strongly each phase absorbs: mass thickness over that of the film, from the shape of its spectrum.

A user knows one thickness and one density. Tungsten beside silicon is eight times as dense, and particles are
thicker than the film they lie on: with one mass thickness for all, lines and continuum at low energy are
wrong by more than counts allow, and other elements fill the gap. Where the counts show it, each phase takes
the mass thickness that explains its photons best.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np

from edxdask.factorize.iteration.grouped import TINY, Groups
from edxdask.factorize.spectra.elemental import ElementalSpectra
from edxdask.physics.poisson import fit_weights

logger = logging.getLogger(__name__)

STEP, LONGEST = 1.0, 1.5  # factors of two that are tried, and that may be taken at once
MOST = 4.0  # factors of two in all
# smaller steps are left: a correction common to all phases, and what is not explained, look like them
LEAST = 0.6
CLEAR = 20.0  # gain of twice the log-likelihood, over the misfit, that counts
ROUNDING = 1e-9  # of a deviance: a curve that is less bent is straight


def better_mass(
    model_of: Callable[[np.ndarray], ElementalSpectra],
    mass: np.ndarray,
    spectra: np.ndarray,
    abundance: np.ndarray,
    groups: Groups,
) -> np.ndarray:
    """Find a mass thickness for each phase, (k,), that explains its photons better, where one clearly does.

    Parameters
    ----------
    model_of : makes the columns of given mass thicknesses
    mass : (k,) now
    spectra, abundance : (k, E) and (groups, k) that fit the groups now
    """
    numerator = abundance.T @ (groups.counts / np.maximum(abundance @ spectra, TINY))
    given = spectra * numerator  # photons that each phase is given
    misses = np.stack([_misses(model_of(mass * 2.0**step), given) for step in (-STEP, 0.0, STEP)])
    below, now, above = misses
    freedom = np.maximum(given.shape[1], 1)
    scale = np.maximum(now / freedom, 1.0)
    bent = below - 2 * now + above
    is_bent = bent > ROUNDING * now
    bent = np.where(is_bent, bent, 1.0)
    lowest = np.where(is_bent, STEP * (below - above) / (2 * bent), LONGEST * np.sign(below - above))
    step = np.clip(lowest, -LONGEST, LONGEST)
    gain = np.where(is_bent, (below - above) ** 2 / (8 * bent), abs(below - above))
    sure = (gain > CLEAR * scale) & (np.abs(step) > LEAST)
    total = np.clip(np.log2(mass) + np.where(sure, step, 0.0), -MOST, MOST)
    logger.info("mass thickness over the film's: %s", np.round(2.0**total, 2))
    return np.asarray(2.0**total)


def _misses(model: ElementalSpectra, given: np.ndarray) -> np.ndarray:
    """Deviance of the best fit to the photons of each phase, (k,)."""
    allowed = np.ones(model.columns.shape[:2], bool) if model.allowed is None else model.allowed
    return np.array([
        fit_weights(photons, columns[free]).deviance
        for photons, columns, free in zip(given, model.columns, allowed, strict=True)
    ])  # fmt: skip
