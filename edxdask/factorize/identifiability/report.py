"""What a result says of that which the counts leave open: ranges, errors, stability, warnings in words."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import xarray as xr

from edxdask import schema
from edxdask.factorize.identifiability.ranges import FAR, open_ranges
from edxdask.factorize.identifiability.solutions import number_of_solutions, with_other_solutions
from edxdask.factorize.iteration.grouped import Groups
from edxdask.factorize.iteration.phases import Phases
from edxdask.factorize.spectra.elemental import ElementalSpectra
from edxdask.results.collections import Data, shared_part, with_shared

logger = logging.getLogger(__name__)

WIDE, MAJOR = 0.1, 0.1  # width of a range, relative to its upper end, that is said; of elements above this
SAID = 0.01  # of another phase per photon: less is not named
FEWEST_SAID = 0.005  # atomic fraction: a smaller range is not named
MOST_NAMED, MOST_OTHERS = 3, 2  # elements, and other phases, in a warning
KNOW_MORE = "Elements narrow this down: name those of the sample, elements=[...]"
ADVICE = "If you know an element that it does not hold, or its composition, say so (absent, compositions)"


def with_ranges(
    found: Phases,
    model: ElementalSpectra | None,
    weights: np.ndarray,
    groups: Groups,
    energy: np.ndarray,
) -> Phases:
    """Add to phases what the sums of pixels leave open; ``energy`` of the channels is in keV."""
    spectra = (weights if model is None else model.spectra(weights)).astype(np.float64)
    opened = open_ranges(model, weights, groups, energy, found.flat_tops)
    opened = with_other_solutions(opened, model, spectra, found.others, found.flat_tops)
    return replace(
        found,
        composition_low=opened.low,
        composition_high=opened.high,
        least=opened.least,
        most=opened.most,
        distance=opened.distance,
        angle=opened.angle,
        solutions=number_of_solutions(found.others, spectra),
    )


def spread_of(found: Phases) -> np.ndarray | None:
    """Find the standard deviation of the composition, (k, elements), if it may be anywhere in its range.

    Examples
    --------
    >>> empty = np.zeros((1, 1))
    >>> one = Phases(empty, empty, empty, composition=np.array([[0.0]]), composition_low=np.array([[0.0]]),
    ...              composition_high=np.array([[0.3]]))
    >>> spread_of(one).round(3).tolist()
    [[0.173]]
    """
    if found.composition is None or found.composition_low is None or found.composition_high is None:
        return None
    below = np.maximum(found.composition - found.composition_low, 0.0)
    above = np.maximum(found.composition_high - found.composition, 0.0)
    return np.sqrt((above**2 - above * below + below**2) / 3)


def with_open(result: Data, found: Phases, elements: Sequence[str] | None) -> Data:
    """Add ranges, stability and warnings to a result; ``elements`` where it has compositions."""
    if found.distance is None or found.angle is None or found.least is None or found.most is None:
        return result
    names = [str(name) for name in shared_part(result)[schema.PHASE].values]
    one, two = (schema.PHASE,), (schema.PHASE, schema.OTHER_PHASE)

    def variable(name: str, dims: tuple[str, ...], values: np.ndarray) -> xr.Variable:
        return xr.Variable(dims, values, schema.variable_attrs(name))

    variables = {
        schema.OTHER_PHASE: xr.Variable((schema.OTHER_PHASE,), names),
        schema.STABILITY: variable(schema.STABILITY, one, 1 - np.clip(found.distance, 0, 1)),
        schema.REMOVABLE: variable(schema.REMOVABLE, two, -found.least),
        schema.ADDABLE: variable(schema.ADDABLE, two, found.most),
    }
    if elements is not None and found.composition_low is not None and found.composition_high is not None:
        dims, spread = (schema.PHASE, schema.ELEMENT), spread_of(found)
        variables |= {
            schema.COMPOSITION_LOW: variable(schema.COMPOSITION_LOW, dims, found.composition_low),
            schema.COMPOSITION_HIGH: variable(schema.COMPOSITION_HIGH, dims, found.composition_high),
            schema.COMPOSITION_SPREAD: variable(schema.COMPOSITION_SPREAD, dims, np.asarray(spread)),
        }
        texts = _of_elements(names, elements, found)
    else:
        texts = _of_spectra(names, found)
    for text in texts:
        logger.warning("%s", text)
    before = shared_part(result).attrs.get(schema.WARNINGS, [])
    attrs = {schema.SOLUTIONS: found.solutions}
    return with_shared(result, variables, attrs | ({schema.WARNINGS: [*before, *texts]} if texts else {}))


def _of_elements(names: Sequence[str], elements: Sequence[str], found: Phases) -> list[str]:
    """Say which elements of which phase may be between what bounds."""
    texts = []
    for row, name in enumerate(names):
        low, high = (np.asarray(bound)[row] for bound in (found.composition_low, found.composition_high))
        width = high - low
        wide = np.flatnonzero((width > WIDE * high) & (high > MAJOR)).tolist()
        if not wide and np.asarray(found.angle)[row] > FAR:
            wide = np.flatnonzero(width > FEWEST_SAID).tolist()
        if not wide:
            continue
        said = [
            f"{elements[at]} between {100 * low[at]:.3g} and {100 * high[at]:.3g} at.%"
            for at in sorted(wide, key=lambda at: -width[at])[:MOST_NAMED]
        ]
        texts.append(f"{name}: {', '.join(said)} would explain the counts equally well. {ADVICE}")
    return texts


def _of_spectra(names: Sequence[str], found: Phases) -> list[str]:
    """Say how much of which other phase may be in a phase."""
    texts = []
    for row, name in enumerate(names):
        least, most, angle = (np.asarray(value)[row] for value in (found.least, found.most, found.angle))
        if angle <= FAR:
            continue
        freedom = np.maximum(-least, most)
        parts = [
            f"{max(0.0, -least[at]):.2f} less to {max(0.0, most[at]):.2f} more of {names[at]}"
            for at in np.argsort(-freedom)[:MOST_OTHERS].tolist()
            if freedom[at] > SAID
        ]
        said = f"{name}: its spectrum, with {', or with '.join(parts)} per photon,"
        texts.append(f"{said} would explain the counts equally well. {KNOW_MORE}")
    return texts
