"""Lines that nobody listed and that spoil a fit: a warning before anyone relies on it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from edxdask import schema
from edxdask.physics.absorption import NOT_CORRECTED
from edxdask.physics.candidates import Candidate
from edxdask.physics.detector import fwhm_kev
from edxdask.physics.find import THRESHOLD, find_in_spectrum
from edxdask.quantify.intensities import LEAST_EXPECTED, LineFit
from edxdask.quantify.recipe import QuantificationRecipe

logger = logging.getLogger(__name__)

VERB = "quantify: "  # what its warnings begin with
BAD_CHI2 = 2.0
EXCESS_SIGMA = 3.0  # of the counts under a peak, from which it is worth checking
MEDIAN_CHI2 = 0.4549  # of one degree of freedom
MOST_NAMED = 5


def badly_fitted(fit: LineFit) -> bool:
    """Whether a peak's width of channels holds more counts than the fit says, with χ²_red above 2.

    Over the whole axis a missing peak is hidden by thousands of channels that fit well.
    """
    expected = np.maximum(fit.expected, LEAST_EXPECTED)
    sums = np.cumsum(
        [fit.counts - fit.expected, (fit.counts - fit.expected) ** 2 / expected, expected], axis=1
    )
    sums = np.hstack([np.zeros((3, 1)), sums])
    half = 0.5 * fwhm_kev(fit.energy, fwhm_mn_ka_ev=fit.fwhm_mn_ka_ev)
    low, high = (np.searchsorted(fit.energy, fit.energy + sign * half) for sign in (-1, 1))
    high = np.maximum(high, low + 1)
    excess, chi2, within = sums[:, high] - sums[:, low]
    return bool(((chi2 > BAD_CHI2 * (high - low)) & (excess > EXCESS_SIGMA * np.sqrt(within))).any())


def dispersion(fit: LineFit) -> float:
    """Variance of the counts over Poisson's, at least 1: a factorization may scatter a phase's spectrum more.

    It is the median over channels, so the few under a missing peak do not matter.
    """
    used = fit.expected >= LEAST_EXPECTED
    pull = (fit.counts - fit.expected)[used] ** 2 / fit.expected[used]
    return max(float(np.median(pull)) / MEDIAN_CHI2, 1.0) if used.any() else 1.0


def unlisted_lines(fit: LineFit, recipe: QuantificationRecipe) -> tuple[Candidate, ...]:
    """Elements and peaks in a spectrum that is badly fitted and that the recipe does not list.

    The search starts from the axis of the file: with a strong line missing, that of the fit may be wrong
    (grid copper taken for hafnium moved that of a real map by 0.1 keV).
    """
    if not badly_fitted(fit):
        return ()
    found = find_in_spectrum(
        fit.counts,
        fit.model.nominal,
        beam_energy=recipe.beam_energy,
        axis=recipe.axis,
        known=recipe.elements,
        threshold=THRESHOLD * float(np.sqrt(dispersion(fit))),
        refine_axis=recipe.refine_axis and not recipe.axis_found,
        seen=recipe.seen,
    )
    return tuple(
        c for c in found.candidates if c.significant and not c.known and c.kind in ("element", "unknown")
    )


def warnings_of(fits: Sequence[LineFit], labels: Sequence[str], recipe: QuantificationRecipe) -> list[str]:
    """Say for each spectrum which lines it holds that are not listed; also in the log."""
    texts = []
    for fit, label in zip(fits, labels, strict=True):
        more = unlisted_lines(fit, recipe)
        if not more:
            continue
        named = [_named(one) for one in more[:MOST_NAMED]]
        named += [f"{len(more) - MOST_NAMED} more"] if len(more) > MOST_NAMED else []
        texts.append(
            f"{VERB}{label} holds what is not listed: {', '.join(named)}. The fit is bad there (reduced χ² "
            f"{fit.chi2_red:.3g} in all) and compositions may be wrong: add to elements what is there, "
            "and to foreign what is not in the sample"
        )
        logger.warning("%s", texts[-1])
    return texts


def with_warnings(earlier: Mapping[Any, Any], found: Mapping[Any, Any]) -> dict[Any, Any]:
    """Attributes of a result and of its quantification; warnings of earlier compositions are removed."""
    texts = [t for t in earlier.get(schema.WARNINGS, []) if not t.startswith(VERB) and NOT_CORRECTED not in t]
    texts += found.get(schema.WARNINGS, [])
    merged = {k: v for k, v in {**earlier, **found}.items() if k != schema.WARNINGS}
    return merged | ({schema.WARNINGS: texts} if texts else {})


def _named(found: Candidate) -> str:
    if found.element is None:
        return f"{found.name} ({found.counts:.0f} counts)"
    others = f" or {', '.join(found.alternatives)}" if found.alternatives else ""
    return f"{found.element}{others} ({found.line}, {found.energy_kev:.2f} keV, {found.counts:.0f} counts)"
