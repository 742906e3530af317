"""What makes a composition less sure than its counting errors say: few counts, and a film that absorbs."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from edxdask.physics.absorption import TYPICAL_G_CM3, TYPICAL_NM, absorption_text
from edxdask.quantify.intensities import LineFit
from edxdask.quantify.methods import LineFactors, Quantified, solve
from edxdask.quantify.recipe import QuantificationRecipe
from edxdask.quantify.unlisted import VERB

logger = logging.getLogger(__name__)

FEW_COUNTS = 100  # in all lines of a spectrum: below, errors of fractions are rough themselves


def measured_intensities(fit: LineFit, lines: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Photons of lines and their covariance, with one count more in each variance.

    A line without counts is no proof that nothing is there: without that count, a spectrum of two photons
    would be 100 ± 1 at.% of one element.
    """
    photons, covariance = fit.intensities(lines)
    return photons, covariance + np.eye(len(lines))


def few_counts(photons: Sequence[np.ndarray], labels: Sequence[str]) -> list[str]:
    """Name spectra with so few counts in their lines that a composition is a guess."""
    texts = []
    for of_lines, label in zip(photons, labels, strict=True):
        counts = float(np.sum(of_lines))
        if counts < FEW_COUNTS:
            texts.append(
                f"{VERB}{label} has only {counts:.0f} counts in all its lines: its composition is little "
                "more than a guess. Take more pixels together, or leave it out"
            )
            logger.warning("%s", texts[-1])
    return texts


def absorption_not_corrected(
    recipe: QuantificationRecipe,
    lines: Sequence[str],
    fits: Sequence[LineFit],
    found: Sequence[Quantified],
    factors: LineFactors,
    labels: Sequence[str],
) -> list[str]:
    """Say where a film of usual thickness would change a composition by more than its error.

    Factors that the user measured may include absorption, and the absolute methods correct for it.
    """
    if recipe.thickness is not None or recipe.factors is not None or recipe.method != "cliff-lorimer":
        return []
    film = replace(recipe, thickness=TYPICAL_NM, density=TYPICAL_G_CM3, angles_known=True)
    corrected = [solve(film, lines, *measured_intensities(fit, lines), factors).composition for fit in fits]
    text = absorption_text(
        labels,
        found[0].elements,
        np.array([one.composition for one in found]),
        np.sqrt([np.diag(one.composition_covariance) for one in found]),
        np.array(corrected),
    )
    if text is None:
        return []
    text = f"{VERB}{text} Pass thickness (nm) and density (g/cm³)"
    logger.warning("%s", text)
    return [text]
