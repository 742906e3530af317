"""What an element's other lines say: where two families of its lines contradict each other, neither is sure.

Atoms of an element are counted on one family of lines. Another family is tied to it where the summed counts
agree with the tables, and has columns of its own where they do not. Then the other family alone gives amounts
as well. What the two differ by, beyond their errors, is an error of both: cross-sections of L and M lines, a
continuum that is not quite as it should be, or a line of an element that nobody listed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from edxdask.physics.calibration import CalibratedBasis
from edxdask.unmix.grouped_maps import GroupedMap, fit_grouped
from edxdask.unmix.pinned import PinnedFit

SOFTEST_KEV = 1.5  # below it absorption, efficiency and continuum are known too little to contradict anything
MOST_SIGMA = 2.5  # by which two families may differ
PPM_BELOW = 1e-3  # fraction below which amounts are told in ppm


@dataclass(frozen=True, eq=False)
class OtherLines:
    """What families of lines differ by.

    Attributes
    ----------
    spread : (phases, elements) half of what they differ by beyond their errors; 0 where nothing contradicts
    warnings : differences that are larger than chance
    """

    spread: np.ndarray
    warnings: tuple[str, ...] = ()


def by_other_lines(
    maps: Sequence[GroupedMap],
    phases: Sequence[str],
    elements: Sequence[str],
    fit: PinnedFit,
    present: np.ndarray,
    told: Sequence[str],
) -> OtherLines:
    """Fit once more with atoms counted on the other families, and compare.

    Parameters
    ----------
    maps : sequence of GroupedMap
        Those that were fitted; all count an element on the same family.
    phases, elements : sequence of str
        Rows and columns of the composition.
    fit : PinnedFit
        Of these maps.
    present : ndarray of bool
        (phases, elements) what a phase may hold.
    told : sequence of str
        Phases that warnings are about.
    """
    spread = np.zeros(fit.composition.shape)
    reference = maps[0].guide.calibration.reference
    families: dict[str, str] = {}
    for one in maps:
        families = _contradicting(one.guide.calibration, elements) | families
    if not families:
        return OtherLines(spread)
    other = fit_grouped([_counted_on(one, families) for one in maps], phases, fit.composition, present)
    texts = []
    for column, element in enumerate(elements):
        if element not in families:
            continue
        for row, phase in enumerate(phases):
            pair = [(one.composition[row, column], one.errors[row, column]) for one in (fit, other)]
            apart, chance = abs(pair[0][0] - pair[1][0]), float(np.hypot(pair[0][1], pair[1][1]))
            spread[row, column] = np.sqrt(max(apart**2 - chance**2, 0.0)) / 2
            if phase in told and apart > MOST_SIGMA * chance > 0:
                texts.append(_text(phase, element, pair, (reference[element], families[element])))
    return OtherLines(spread, tuple(texts))


def _contradicting(found: CalibratedBasis, elements: Sequence[str]) -> dict[str, str]:
    """Give each element's brightest family that does not agree with the one its atoms are counted on."""
    made = found.families()
    bright: dict[str, tuple[float, str]] = {}
    for column, row, loose in zip(made.columns, made.matrix, found.loose, strict=True):
        element, counts = str(column.element), float(row.sum())
        if not loose or element not in elements or not counts > 0:
            continue
        if float(row @ made.energy) / counts > SOFTEST_KEV:
            bright[element] = max(bright.get(element, (0.0, "")), (counts, str(column.family)))
    return {element: family for element, (_, family) in bright.items()}


def _counted_on(one: GroupedMap, families: dict[str, str]) -> GroupedMap:
    """Count atoms on these families; all others of the same elements have columns of their own."""
    found = one.guide.calibration
    loose = [
        column.family != families[column.element] if column.element in families else own
        for column, own in zip(found.columns, found.loose, strict=True)
    ]
    reference = found.reference | {e: f for e, f in families.items() if e in found.reference}
    calibration = replace(found, loose=np.array(loose, bool), reference=reference)
    return replace(one, guide=replace(one.guide, calibration=calibration))


def _text(phase: str, element: str, pair: list[tuple[float, float]], families: tuple[str, str]) -> str:
    """Say what two families say.

    Examples
    --------
    >>> _text("Brg", "U", [(1.72e-4, 4.6e-5), (0.0, 2.5e-5)], ("L", "M")).partition(". ")[0]
    'U of Brg: 172 ± 46 ppm by its L lines, but 0 ± 25 ppm by its M lines'
    """
    scale, unit = (1e6, "ppm") if max(value for value, _ in pair) < PPM_BELOW else (100.0, "at.%")
    form = ".0f" if unit == "ppm" else ".2f"
    (one, error), (other, its) = [(f"{scale * v:{form}}", f"{scale * s:{form}}") for v, s in pair]
    return (
        f"{element} of {phase}: {one} ± {error} {unit} by its {families[0]} lines, but {other} ± {its} "
        f"{unit} by its {families[1]} lines. They contradict each other; the error given holds both. Look at "
        "the continuum beside these lines, and for lines of elements that nobody listed"
    )
