"""Phases that are none: hardly there, of another's spectrum, in one pixel only, or perhaps of anything."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np

logger = logging.getLogger(__name__)

FEWEST_PHOTONS, LEAST_PART = 100.0, 1e-4  # of all photons
ALIKE = 1.0  # degrees between two spectra
ONE_PIXEL = 0.9  # part of a phase's photons in its brightest pixel
FAINT = 0.05  # of the photons of a pixel: a phase that nowhere has more is none
CERTAIN = 0.02  # atomic fraction: of a phase, at least one element is there for certain


def phases_that_are_none(
    names: Sequence[str],
    spectra: np.ndarray,
    photons: np.ndarray,
    brightest: np.ndarray,
    largest: np.ndarray,
    surely: np.ndarray | None = None,
) -> list[str]:
    """Say which phases are none, and how many to ask for.

    Parameters are those of ``faults_of``.

    Examples
    --------
    >>> spectra = np.array([[1.0, 0.0], [0.0, 1.0]])
    >>> phases_that_are_none(["a", "b"], spectra, np.array([5e4, 20.0]), np.array([9.0, 3.0]),
    ...                       np.ones(2))
    ['b: holds 20 photons of 50020, too few to be a phase. Ask for fewer phases: phases=1']
    """
    faults = faults_of(names, spectra, photons, brightest, largest, surely)
    fewer = max(1, len(names) - len(faults))
    texts = [f"{text}. Ask for fewer phases: phases={fewer}" for text in faults.values()]
    for text in texts:
        logger.warning("%s", text)
    return texts


def faults_of(
    names: Sequence[str],
    spectra: np.ndarray,
    photons: np.ndarray,
    brightest: np.ndarray,
    largest: np.ndarray,
    surely: np.ndarray | None = None,
) -> dict[int, str]:
    """Find the phases that are none, and why.

    Parameters
    ----------
    names, spectra, photons : of the phases
    brightest : (k,) photons in the brightest pixel of each phase
    largest : (k,) largest fraction of each phase in the photons of a pixel
    surely : (k, elements) lower ends of the ranges of compositions, where there are any

    Examples
    --------
    >>> faults_of(["a", "b"], np.eye(2), np.array([9e3, 9e3]), np.array([9.0, 9.0]), np.array([1.0, 0.01]))
    {1: 'b: is nowhere more than 1.0% of the photons of a pixel'}
    """
    total = float(photons.sum())
    least = max(FEWEST_PHOTONS, LEAST_PART * total)
    unit = spectra / np.maximum(np.linalg.norm(spectra, axis=1, keepdims=True), np.finfo(float).tiny)
    angles = np.degrees(np.arccos(np.clip(unit @ unit.T, -1, 1)))
    faults: dict[int, str] = {}
    for row, name in enumerate(names):
        if photons[row] < least:
            faults[row] = f"{name}: holds {photons[row]:.0f} photons of {total:.0f}, too few to be a phase"
        elif brightest[row] > ONE_PIXEL * photons[row]:
            faults[row] = f"{name}: nearly all its photons are in one pixel"
        elif largest[row] < FAINT:
            faults[row] = f"{name}: is nowhere more than {largest[row]:.1%} of the photons of a pixel"
        elif surely is not None and len(names) > 1 and surely[row].max() < CERTAIN:
            faults[row] = f"{name}: no element is certain to be in it, so it may not be a phase"
        else:
            same = [other for other in range(row) if other not in faults and angles[row, other] < ALIKE]
            if same:
                angle = angles[row, same[0]]
                faults[row] = f"{name}: its spectrum is that of {names[same[0]]} ({angle:.2g} degrees apart)"
    return faults
