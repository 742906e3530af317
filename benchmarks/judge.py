"""Is a result right; if it is wrong, does it say so, by name and with a range that holds the truth?"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import xarray as xr
from sample_truth import RIGHT_DEGREES, Made, angles
from samples import Sample
from scipy.optimize import linear_sum_assignment, nnls

from edxdask import schema

RIGHT, SAID, SILENT, CRASH = "right", "wrong but said", "WRONG AND SILENT", "CRASH"
VERDICTS = (RIGHT, SAID, SILENT, CRASH)
OPEN = "would explain the counts equally well"  # what every warning about other solutions contains
MAJOR = 0.1  # atomic fraction of elements whose range must hold the truth
COUNTING_ERRORS = 2.0  # by which a range may miss it


@dataclass(frozen=True)
class Judgement:
    """What became of one case.

    Attributes
    ----------
    verdict : one of ``VERDICTS``
    figures : angles of all phases, or what went wrong
    warned : phases that a warning about other solutions names
    wrong : for each wrong phase, what came out and what the result says of it
    """

    verdict: str
    figures: str
    warned: int = 0
    wrong: tuple[str, ...] = field(default=())


def judge(result: xr.Dataset, sample: Sample, made: Made, *, hinted: bool) -> Judgement:
    """Compare a result with the truth of its sample; ``hinted`` if phases were to be labelled."""
    names, labels = list(sample.phases), [str(label) for label in result[schema.PHASE].values]
    warnings = [str(text) for text in result.attrs.get(schema.WARNINGS, ())]
    seen = made.cube[schema.ENERGY].values >= result.attrs.get(schema.LOWEST_ENERGY, -np.inf)
    off = angles(result[schema.SPECTRUM].values[:, seen], made.spectra[:, seen])
    pairs = {int(true): int(row) for row, true in zip(*linear_sum_assignment(off), strict=True)}
    limits = made.guided_limits if schema.COMPOSITION in result else made.limits
    figures, wrong, silent = [], [], False
    # with another number of phases than there are, single phases are no longer those of the sample
    number = sample.distinct if len(labels) == len(names) else sample.distinct or len(names)
    doubted = number is not None and asks_for(warnings, number)
    for true, name in enumerate(names):
        row = pairs.get(true)
        if row is None:
            figures.append(f"{name} none")
            continue
        lenient = f" (of {limits[true]:.1f})" if limits[true] > RIGHT_DEGREES else ""
        figures.append(f"{name} {off[row, true]:.2f}{lenient}")
        misplaced = hinted and name in sample.absent and labels[row] != name
        if off[row, true] <= limits[true] and not misplaced:
            continue
        said = is_open(warnings, labels[row]) and (
            _holds_composition(result, row, sample.phases[name])
            if schema.COMPOSITION in result and not made.by_espm
            else _least_angle(result, row, made.spectra[true], seen) <= limits[true]
        )
        said |= misplaced and any(text.startswith(f"{name}: ") for text in warnings)
        silent |= not (said or doubted)
        wrong.append(_described(result, row, name, sample.phases[name], warnings))
    if len(labels) not in (len(names), sample.distinct):
        said = asks_for(warnings, sample.distinct or len(names))
        silent |= not said
        wrong.append(f"{len(labels)} phases instead of {len(names)}, {'said' if said else 'not said'}")
    verdict = RIGHT if not wrong else SILENT if silent else SAID
    warned = sum(is_open(warnings, label) for label in labels)
    return Judgement(verdict, " ".join(figures), warned, tuple(wrong))


def is_open(warnings: Sequence[str], label: str) -> bool:
    """Say whether a warning names a phase and a range of it.

    Examples
    --------
    >>> is_open(["Fp: Mg between 40 and 60 at.% would explain the counts equally well."], "Fp")
    True
    """
    return any(text.startswith(f"{label}: ") and OPEN in text for text in warnings)


def asks_for(warnings: Sequence[str], phases: int) -> bool:
    """Say whether a warning names the number of phases to ask for, as the call would have it."""
    return any(f"phases={phases}" in text for text in warnings)


def counting_error(result: xr.Dataset, row: int) -> np.ndarray:
    """Part of the error of a composition that counts alone would leave, (element,)."""
    both = result[schema.COMPOSITION + schema.STD_SUFFIX].values[row]
    if schema.COMPOSITION_SPREAD not in result:
        return np.asarray(both)
    return np.sqrt(np.maximum(both**2 - result[schema.COMPOSITION_SPREAD].values[row] ** 2, 0.0))


def true_composition(result: xr.Dataset, atoms: Mapping[str, float]) -> np.ndarray:
    """Atomic fractions among the elements of the result, (element,)."""
    values = np.array([float(atoms.get(str(name), 0.0)) for name in result[schema.ELEMENT].values])
    return values / max(values.sum(), 1e-300)


def _holds_composition(result: xr.Dataset, row: int, atoms: Mapping[str, float]) -> bool:
    true, slack = true_composition(result, atoms), COUNTING_ERRORS * counting_error(result, row)
    low, high = (result[name].values[row] for name in (schema.COMPOSITION_LOW, schema.COMPOSITION_HIGH))
    inside = (true >= low - slack) & (true <= high + slack)
    return bool(inside[true > MAJOR].all())


def _least_angle(result: xr.Dataset, row: int, true: np.ndarray, seen: np.ndarray) -> float:
    """Smallest angle to the truth of any spectrum that the result calls as good.

    These are the spectrum with more or less of the others: a cone whose edges are the corners of all bounds.
    """
    spectra = result[schema.SPECTRUM].values
    others = [other for other in range(len(spectra)) if other != row]
    removable, addable = (result[name].values[row] for name in (schema.REMOVABLE, schema.ADDABLE))
    corners = itertools.product(*[(-removable[other], addable[other]) for other in others])
    edges = np.stack([spectra[row] + np.array(corner) @ spectra[others] for corner in corners])[:, seen]
    edges /= np.maximum(np.linalg.norm(edges, axis=1, keepdims=True), 1e-300)
    unit = true[seen] / np.linalg.norm(true[seen])
    return math.degrees(math.asin(min(1.0, nnls(edges.T, unit)[1])))


def _described(
    result: xr.Dataset, row: int, name: str, atoms: Mapping[str, float], warnings: Sequence[str]
) -> str:
    """What came out for a phase, what is true, and the range that the result states."""
    label = str(result[schema.PHASE].values[row])
    said = "open" if is_open(warnings, label) else "nothing said"
    if schema.COMPOSITION not in result:
        least, most = (result[variable].values[row] for variable in (schema.REMOVABLE, schema.ADDABLE))
        return f"{name} as {label}: {said}, removable {least.round(3)}, addable {most.round(3)}"
    true = true_composition(result, atoms)
    low, high, came = (
        100 * result[variable].values[row]
        for variable in (schema.COMPOSITION_LOW, schema.COMPOSITION_HIGH, schema.COMPOSITION)
    )
    slack = 100 * counting_error(result, row)
    shown = [
        f"{element} {came[i]:.1f} ± {slack[i]:.1f} [{low[i]:.1f}, {high[i]:.1f}] true {100 * true[i]:.1f}"
        for i, element in enumerate(result[schema.ELEMENT].values)
        if max(true[i], came[i] / 100) > MAJOR / 2
    ]
    return f"{name} as {label}: {said}; " + ", ".join(shown)
