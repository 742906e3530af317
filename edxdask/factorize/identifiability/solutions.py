"""Other solutions that explain the counts equally well: what they add to the ranges of the chosen one.

Where a phase is nowhere pure, fits from different starts may end far apart with the same likelihood, and
planes around the chosen solution do not reach the others. Ranges then hold these as well.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment

from edxdask.factorize.identifiability.ranges import FAR, Open, angle_between, part_elsewhere
from edxdask.factorize.iteration.grouped import TINY
from edxdask.factorize.spectra.elemental import ElementalSpectra

LEAST_OWN = 0.2  # coefficient of a phase in its other spectrum, below which it is not that phase with others


def number_of_solutions(others: np.ndarray | None, spectra: np.ndarray) -> int:
    """Count solutions that differ from the chosen one, and from one another, by more than ``FAR`` degrees."""
    kept = [spectra.astype(np.float64)]
    for other in [] if others is None else others.astype(np.float64):
        if all(_apart(other, one).max() > FAR for one in kept):
            kept.append(other)
    return len(kept)


def with_other_solutions(
    opened: Open,
    model: ElementalSpectra | None,
    spectra: np.ndarray,
    others: np.ndarray | None,
    flat: np.ndarray | None = None,
) -> Open:
    """Widen what is open about phases by the spectra of other solutions (n, k, E).

    Phases with a ``flat`` top are left as they are: their spectrum is what is there.
    """
    tops = set([] if flat is None else flat.tolist())
    for other in [] if others is None else others.astype(np.float64):
        rows = _matched(other, spectra)
        if _apart(other, spectra).max() <= FAR:
            continue
        for phase, row in enumerate(rows):
            if phase in tops:
                continue
            opened.angle[phase] = max(opened.angle[phase], angle_between(other[row], spectra[phase]))
            opened.distance[phase] = max(opened.distance[phase], part_elsewhere(other[row], spectra[phase]))
            mixture = np.linalg.lstsq(spectra.T, other[row], rcond=None)[0]
            if mixture[phase] > LEAST_OWN:
                more = mixture / mixture[phase]
                more[phase] = 0.0
                np.minimum(opened.least[phase], more, out=opened.least[phase])
                np.maximum(opened.most[phase], more, out=opened.most[phase])
        if model is not None and opened.low is not None and opened.high is not None:
            composition = model.composition(model.weights_of(other[rows]))
            free = [phase for phase in range(len(spectra)) if phase not in tops]
            opened.low[free] = np.minimum(opened.low, composition)[free]
            opened.high[free] = np.maximum(opened.high, composition)[free]
    return opened


def _matched(other: np.ndarray, spectra: np.ndarray) -> np.ndarray:
    """Rows of another solution in the order of the phases."""
    units = [
        rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), TINY) for rows in (spectra, other)
    ]
    return np.asarray(linear_sum_assignment(-units[0] @ units[1].T)[1])


def _apart(other: np.ndarray, spectra: np.ndarray) -> np.ndarray:
    """Angles between the phases of two solutions, degrees."""
    pairs = zip(other[_matched(other, spectra)], spectra, strict=True)
    return np.array([angle_between(*pair) for pair in pairs])
