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
    """Say which elements of which phase a usual film's absorption changes beyond their errors."""
    calibration = guide.calibration
    if calibration.conditions.absorbs or found.composition is None or found.composition_std is None:
        return ()
    lines = np.array([best_lines(e, calibration.reference[e])[0][1] for e in guide.elements])
    names = found.labels or tuple(f"phase_{i}" for i in range(len(found.spectra)))
    texts = []
    for name, fractions, errors in zip(names, found.composition, found.composition_std, strict=True):
        if not fractions.sum() > 0:
            continue
        corrected = typical_film(guide.elements, fractions, lines, calibration.conditions.detector)
        text = absorption_text(guide.elements, fractions, errors, corrected)
        if text is not None:
            texts.append(f"{name}: {text} Set ds.attrs[{THICKNESS!r}] and ds.attrs[{DENSITY!r}]")
            logger.warning("%s", texts[-1])
    return tuple(texts)
