"""What is reported of each element found: its families, its significance, and what else it could be."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy.ndimage import gaussian_filter1d

from edxdask.physics.artefacts import SI_KA_KEV, escape_probability
from edxdask.physics.detector import fwhm_kev, line_response
from edxdask.physics.selection import (
    LEAST_RATIO,
    MOST_RATIO,
    Explanation,
    Offer,
    misfit_counts,
    offer,
    refitted,
    scores,
    standing,
    strongest,
)

CandidateKind = Literal["element", "escape", "sum", "unknown"]
AS_GOOD = 0.8  # fraction of a candidate's gain from which another element is an alternative
AS_CLOSE = 16.0  # or squared sigma by which it is worse
SAME_PEAK = 0.3  # cosine of two columns that explain the same peak
CLEAR_FAMILY = 5.0  # sigma that the leading family needs


@dataclass(frozen=True)
class FamilyFound:
    """One family of lines of an element.

    Attributes
    ----------
    name : "K", "L", "M", or "K+L" where they were fitted in the ratio of theory
    line : strongest, "Fe_Ka"
    energy_kev : of that line
    counts, std : in all lines of the family, and their uncertainty
    ratio : measured over expected from the leading family, which has 1
    agrees : ratio within a factor of 3, or too weak to compare
    """

    name: str
    line: str
    energy_kev: float
    counts: float
    std: float
    ratio: float
    agrees: bool


@dataclass(frozen=True)
class Candidate:
    """Something that explains peaks.

    Attributes
    ----------
    name : element, or "escape of Ca_Ka", "sum of Mg_Ka and Si_Ka", "unknown at 7.28 keV"
    kind : "element", "escape", "sum" or "unknown"
    element : symbol, None unless an element
    line, energy_kev : strongest significant line, and where
    counts : explained
    significance : sigma, misfit of shapes included
    families : what was found of each family on the axis
    alternatives : elements that would explain nearly as much
    known : listed beforehand
    significant : above the threshold
    """

    name: str
    kind: CandidateKind
    element: str | None
    line: str
    energy_kev: float
    counts: float
    significance: float
    families: tuple[FamilyFound, ...] = ()
    alternatives: tuple[str, ...] = ()
    known: bool = False
    significant: bool = True


def candidates_of(model: Explanation, known: tuple[str, ...], *, threshold: float) -> tuple[Candidate, ...]:
    """Judge all that a fitted model holds, most significant first."""
    names = tuple(dict.fromkeys(t.element for t in model.terms))
    found = [_judged(model, e, known, threshold) for e in names]
    found += _artefacts(model, threshold)
    found += _unknown(model, threshold)
    return tuple(sorted(found, key=lambda c: -c.significance))


def _judged(model: Explanation, element: str, known: tuple[str, ...], threshold: float) -> Candidate:
    families, stand = families_of(model, element), standing(model, element)
    tells = stand.significance
    lead = families[int(np.argmax(tells))]
    without = refitted(
        replace(model, terms=tuple(t for t in model.terms if t.element != element), fit=None, sums=None)
    )
    ratio = np.sqrt(max(without.fitted.deviance - model.fitted.deviance, 0.0))
    share = stand.misfit[int(np.argmax(tells))] / max(lead.counts, 1e-9)
    sure = 1.0 / np.sqrt(1.0 / max(ratio, 1e-9) ** 2 + share**2)
    others = () if element in known else _alternatives(model, without, element, threshold)
    return Candidate(
        name=element,
        kind="element",
        element=element,
        line=lead.line,
        energy_kev=lead.energy_kev,
        counts=float(stand.counts.sum()),
        significance=float(sure),
        families=tuple(families),
        alternatives=others,
        known=element in known,
        significant=bool(sure > threshold and (tells > threshold).any()),
    )


def families_of(model: Explanation, element: str) -> list[FamilyFound]:
    """Families of an element in the order of its terms."""
    terms = [t for t in model.terms if t.element == element]
    stand = standing(model, element)
    per_atom = np.array([model.lines.per_atom[list(t.columns)].sum() for t in terms])
    energies = np.array([max(model.lines.line_kev[list(t.columns)]) for t in terms])
    atoms, sigma = stand.counts / per_atom, stand.sigma / per_atom
    telling = np.flatnonzero(stand.significance > CLEAR_FAMILY)
    lead = int(telling[np.argmax(energies[telling])]) if telling.size else int(np.argmax(stand.significance))
    base = max(float(atoms[lead]), 1e-30)
    found = []
    for i, term in enumerate(terms):
        best = max(term.columns, key=lambda c: model.lines.per_atom[c])
        slack = 2.0 * sigma[i]
        agrees = LEAST_RATIO * base <= atoms[i] + slack and atoms[i] - slack <= MOST_RATIO * base
        found.append(
            FamilyFound(
                name="+".join(sorted(str(model.lines.families[c]) for c in term.columns)),
                line=model.lines.name(best),
                energy_kev=float(model.lines.line_kev[best]),
                counts=float(stand.counts[i]),
                std=float(stand.sigma[i]),
                ratio=float(atoms[i] / base),
                agrees=bool(agrees),
            )
        )
    return found


def _alternatives(
    model: Explanation, without: Explanation, element: str, threshold: float
) -> tuple[str, ...]:
    """Elements not in the model that explain nearly as much of the same peaks, best first."""
    table = scores(without)
    own = offer(without, element, table, threshold=threshold)
    if own is None:
        return ()
    least = min(AS_GOOD * own.gain, own.gain - AS_CLOSE)
    here = {t.element for t in model.terms}
    pool = [e for e in dict.fromkeys(model.lines.elements.tolist()) if e not in here]
    offers = [offer(without, e, table, threshold=threshold) for e in pool]
    good = sorted((o for o in offers if o is not None and o.gain >= least), key=lambda o: -o.gain)
    lead = _unit(model, own)
    return tuple(o.element for o in good if _unit(model, o) @ lead > SAME_PEAK)[:3]


def _unit(model: Explanation, made: Offer) -> np.ndarray:
    shape = model.column(made.terms[0])
    return shape / float(np.linalg.norm(shape))


def _artefacts(model: Explanation, threshold: float) -> list[Candidate]:
    """Escape and sum peaks that are above the noise."""
    found = []
    for name, at, counts in strongest(model):
        probability = float(escape_probability(at))
        amount, place = counts * probability / (1.0 - probability), at - SI_KA_KEV
        found.append(_peak(model, f"escape of {name}", "escape", place, amount, name))
    if model.sums is not None:
        total = float(model.fitted.weights[-1])
        peaks = strongest(model)
        pairs = [(a, b) for i, a in enumerate(peaks) for b in peaks[i:]]
        rates = [(1.0 if a is b else 2.0) * a[2] * b[2] for a, b in pairs]
        inside = [r for r, (a, b) in zip(rates, pairs, strict=True) if a[1] + b[1] < model.energy[-1]]
        for rate, (a, b) in zip(rates, pairs, strict=True):
            amount = total * rate / max(sum(inside), 1e-30)
            name = f"sum of {a[0]} and {b[0]}"
            found.append(_peak(model, name, "sum", a[1] + b[1], amount, a[0]))
    return [c for c in found if c is not None and c.significance > threshold]


def _peak(
    model: Explanation, name: str, kind: CandidateKind, at: float, counts: float, line: str
) -> Candidate | None:
    if not model.energy[0] < at < model.energy[-1]:
        return None
    row = line_response(model.energy, np.array([at]), fwhm_mn_ka_ev=model.axis.fwhm_mn_ka_ev)
    noise = 1.0 / np.sqrt(np.sum(row**2 / np.maximum(model.expected, 1e-9)))
    sigma = np.hypot(noise, misfit_counts(model, row)[0])
    return Candidate(name, kind, None, line, at, counts, float(counts / sigma))


def _unknown(model: Explanation, threshold: float) -> list[Candidate]:
    """Unexplained peaks: a peak is tried at every channel, the highest first."""
    width = float(fwhm_kev(2.0, fwhm_mn_ka_ev=model.axis.fwhm_mn_ka_ev))
    at = np.arange(model.energy[0] + width, model.energy[-1] - 3 * width, width / 4)
    rows = line_response(model.energy, at, fwhm_mn_ka_ev=model.axis.fwhm_mn_ka_ev)
    variance = np.maximum(np.maximum(gaussian_filter1d(model.counts, 2.0), model.expected), 1e-3)
    information = np.sum(rows**2 / variance, axis=1)
    counts = rows / variance @ (model.counts - model.expected) / information
    sigma = np.hypot(1.0 / np.sqrt(information), misfit_counts(model, rows))
    tells, found = counts / sigma, []
    while tells.max(initial=0.0) > threshold:
        best = int(np.argmax(tells))
        place = float(at[best])
        near = [
            e
            for e, kev in zip(model.lines.elements, model.lines.line_kev, strict=True)
            if abs(kev - place) < width / 2
        ]
        found.append(
            Candidate(
                f"unknown at {place:.2f} keV",
                "unknown",
                None,
                "",
                place,
                float(counts[best]),
                float(tells[best]),
                alternatives=tuple(dict.fromkeys(map(str, near)))[:5],
            )
        )
        tells = np.where(np.abs(at - place) < 2 * width, 0.0, tells)
    return found
