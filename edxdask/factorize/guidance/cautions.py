"""Where compositions of a guided fit depend on the thickness of the film, which nobody gave."""

from __future__ import annotations

import logging

import numpy as np

from edxdask.factorize.guidance.guide import Guide
from edxdask.factorize.iteration.phases import Phases
from edxdask.physics.absorption import absorption_text, typical_film
from edxdask.physics.library import best_lines
from edxdask.schema import DENSITY, THICKNESS

logger = logging.getLogger(__name__)


def absorption_not_corrected(guide: Guide, found: Phases) -> tuple[str, ...]:
    """Say in which phases a usual film's absorption changes compositions beyond their errors."""
    calibration = guide.calibration
    if calibration.conditions.absorbs or found.composition is None or found.composition_std is None:
        return ()
    lines = np.array([best_lines(e, calibration.reference[e])[0][1] for e in guide.elements])
    names = found.labels or tuple(f"phase_{i}" for i in range(len(found.spectra)))
    corrected = found.composition.copy()
    for row in np.flatnonzero(found.composition.sum(axis=1) > 0):
        fractions = found.composition[row]
        corrected[row] = typical_film(guide.elements, fractions, lines, calibration.conditions.detector)
    text = absorption_text(names, guide.elements, found.composition, found.composition_std, corrected)
    if text is None:
        return ()
    text = f"{text} Set ds.attrs[{THICKNESS!r}] and ds.attrs[{DENSITY!r}]"
    logger.warning("%s", text)
    return (text,)
