"""What the user says of the phases, held against the counts: labels that fit two, hints that fit none."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edxdask.factorize.identifiability.ranges import angle_between
from edxdask.factorize.iteration.simplest import ALSO_PURER, MISFIT, as_good

logger = logging.getLogger(__name__)

Places = Mapping[str | int, int]
OTHER_PHASE = 10.0  # degrees, from which a spectrum is that of another phase


@dataclass(frozen=True, eq=False)
class PlacementTrial:
    """Fit with the labels at certain phases.

    Attributes
    ----------
    start : number of the fit that it began with
    places : phase of each label
    score : log-likelihood per photon
    purity : mean of the largest fraction per pixel
    spectra : (k, E)
    """

    start: int
    places: Places
    score: float
    purity: float
    spectra: np.ndarray


def doubts(
    trials: Sequence[PlacementTrial],
    best: int,
    score_with: Callable[[Places], float],
    said: Mapping[str | int, str],
) -> tuple[str, ...]:
    """Say which labels two phases could carry, and of which phases the counts contradict what was said.

    Parameters
    ----------
    trials, best : all placements that were tried, and the one that was taken
    score_with : score of the same fit with some of the labels only
    said : what the user said of each label, in words
    """
    taken = trials[best]
    texts = [
        f"{label}: two phases could carry this name, and the counts do not decide which. Name another "
        "element that it does not hold, or its composition (absent, compositions)"
        for label in taken.places
        if _is_ambiguous(trials, best, label)
    ]
    if score_with({}) - taken.score > MISFIT:
        for label in taken.places:
            rest = {other: row for other, row in taken.places.items() if other != label}
            lost = score_with(rest) - taken.score
            if lost > MISFIT:
                texts.append(
                    f"{label}: the counts contradict what was said of it ({said[label]}): without that, the "
                    f"log-likelihood is better by {lost:.2g} per photon. Check it (absent, compositions)"
                )
    for text in texts:
        logger.warning("%s", text)
    return tuple(texts)


def _is_ambiguous(trials: Sequence[PlacementTrial], best: int, label: str | int) -> bool:
    """Say whether a fit that is as good, and as pure, gives the label to a phase with another spectrum."""
    taken = trials[best]
    mine = taken.spectra[taken.places[label]]
    equal = as_good(np.array([one.score for one in trials]), best)
    return any(
        angle_between(one.spectra[one.places[label]], mine) > OTHER_PHASE
        for one, same in zip(trials, equal, strict=True)
        if same and one.purity > taken.purity - ALSO_PURER
    )
