"""The verdict: two sentences of what was found, how sure it is and what to look at, warnings first."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from edxdask import schema
from edxdask.report.page.evidence import Evidence
from edxdask.report.page.parts import Block, Note, Section
from edxdask.report.page.words import listed, number_of, plus_minus, sentence, size_of, with_unit
from edxdask.report.tables import PHOTON_FRACTION, phase_rows, rows_of
from edxdask.report.unlisted_names import names_of_unlisted
from edxdask.results.collections import shared_part
from edxdask.results.kinds import Kind

BAD_CHI2 = 1.3  # per degree of freedom: noise of some hundred channels alone is well below
CLEAR_SNR = 3.0
MOST_NAMED = 8
LOOK = "Look before you rely on this"
_OPEN = re.compile(r"^(.+?): .*would explain the counts equally well")
_TORN = re.compile(r"^(\w+ of .+?): .* by its \w lines, but")
_AMBIGUOUS = re.compile(r"^(.+?): two phases could carry this name")
_CONTRADICTED = re.compile(r"^(.+?): the counts contradict what was said")
_ABSORBS = re.compile(r"what it absorbs is not corrected")


@dataclass(frozen=True)
class Concern:
    """What makes a result less sure, in a few words; ``place`` is the section that shows it."""

    text: str
    place: str = "goodness"


def verdict(evidence: Evidence) -> Section:
    """Make the section that comes first."""
    doubts = concerns(evidence)
    found = _found(evidence)
    if doubts:
        first = f"{LOOK}: {listed([one.text for one in doubts])}"
        blocks: list[Block] = [Note(f"{sentence(first)} {sentence(found)}", "warning")]
    else:
        blocks = [Note(f"{sentence(found)} {sentence(_sure(evidence))}", "good")]
    blocks += [Note(text, "warning") for text in evidence.warnings]
    blocks += [Note(text) for text in evidence.notes]
    return Section("verdict", "Verdict", blocks)


def unlisted_names(evidence: Evidence) -> list[str]:
    """Name the elements and peaks that are in the counts and that nobody listed."""
    names = names_of_unlisted(evidence.warnings)
    if evidence.found is not None:
        one = evidence.found
        new = one[schema.SIGNIFICANT].values.astype(bool) & ~one[schema.KNOWN].values.astype(bool)
        real = np.array(
            [str(kind) in ("element", "unknown") for kind in one[schema.CANDIDATE_KIND].values], dtype=bool
        )
        names += [
            str(element) or f"unknown at {float(energy):.2f} keV"
            for element, energy in zip(
                one[schema.ELEMENT].values[new & real],
                one[schema.LINE_ENERGY].values[new & real],
                strict=True,
            )
        ]
    plain = {name.partition(" (or")[0] for name in names}
    return [name for name in dict.fromkeys(names) if name in plain or name.partition(" (or")[0] not in names]


def concerns(evidence: Evidence) -> list[Concern]:
    """List what makes the result less sure, most serious first."""
    texts = evidence.warnings
    found = [
        *_about(texts, _CONTRADICTED, "the counts contradict what was said of {}"),
        *_of_lines(evidence),
        *_of_fit(evidence),
        *_about(texts, _AMBIGUOUS, "two phases could carry the name {}"),
        *_about(texts, _OPEN, "the counts leave open the composition of {}"),
        *_about(texts, _TORN, "lines contradict each other in what they say of {}"),
        *_of_solutions(evidence),
        *_of_maps(evidence),
    ]
    if any(_ABSORBS.search(text) for text in texts):
        found.append(Concern("compositions are not corrected for what the film absorbs", "composition"))
    known = (_OPEN, _TORN, _AMBIGUOUS, _CONTRADICTED)
    others = [
        text
        for text in texts
        if not any(p.match(text) for p in known)
        and not _ABSORBS.search(text)
        and not names_of_unlisted([text])
    ]
    if others:
        more = "more " if found else ""
        verb = "is" if len(others) == 1 else "are"
        found.append(Concern(f"there {verb} {number_of(len(others), more + 'warning')} below"))
    return found


def _about(texts: list[str], pattern: re.Pattern[str], said: str) -> list[Concern]:
    names = list(dict.fromkeys(found[1] for text in texts if (found := pattern.match(text))))
    return [Concern(said.format(listed(names, most=MOST_NAMED)))] if names else []


def _of_lines(evidence: Evidence) -> list[Concern]:
    names = unlisted_names(evidence)
    if not names:
        return []
    said = f"the counts hold lines of {listed(names, most=MOST_NAMED)}, which nobody listed"
    return [Concern(said)]


def chi2_of(evidence: Evidence) -> float | None:
    """Chi-squared per degree of freedom of the summed fit: of the result, else of the counts."""
    if evidence.result is None:
        return None
    stored = evidence.root.attrs.get(schema.CHI2_RED)
    if stored is not None:
        return float(stored)
    return None if evidence.fit is None or not np.isfinite(evidence.fit.chi2) else evidence.fit.chi2


def _of_fit(evidence: Evidence) -> list[Concern]:
    chi2 = chi2_of(evidence)
    said = "the fit leaves more than the noise of the counts (χ² per degree of freedom {:.2g})"
    if chi2 is not None and chi2 > BAD_CHI2:
        return [Concern(said.format(chi2))]
    if not evidence.misfits:
        return []
    mean = float(np.mean([np.nanmean(one.values) for one in evidence.misfits.values()]))
    return [Concern(said.format(mean))] if mean > BAD_CHI2 else []


def _of_solutions(evidence: Evidence) -> list[Concern]:
    number = int(evidence.root.attrs.get(schema.SOLUTIONS, 1)) if evidence.result is not None else 1
    if number < 2:
        return []
    return [Concern(f"{number_of(number, 'set')} of spectra explain the counts equally well")]


def _of_maps(evidence: Evidence) -> list[Concern]:
    names = maps_that_do_not_belong(evidence)
    if not names:
        return []
    verb = "does not belong" if len(names) == 1 else "do not belong"
    return [Concern(f"{listed(names, most=MOST_NAMED)} {verb} to the other maps")]


def maps_that_do_not_belong(evidence: Evidence) -> list[str]:
    """Name the maps that the analysis of many maps found to differ from the others."""
    root = shared_part(evidence.data if evidence.result is None else evidence.result)
    if schema.MAP_BELONGS not in root or schema.MAP not in root.coords:
        return []
    belongs = root[schema.MAP_BELONGS].values.astype(bool)
    return [str(name) for name in root[schema.MAP].values[~belongs]]


def _found(evidence: Evidence) -> str:
    if evidence.kind is Kind.TRACES:
        return _found_traces(evidence)
    photons = sum(float(np.nansum(one.values)) for one in evidence.totals.values())
    where = _where(evidence)
    if evidence.result is None:
        elements = _elements_found(evidence)
        shown = f"; their sum shows {listed(elements, most=12)}" if elements else ""
        return f"{where} hold {with_unit(photons, 'photons')}{shown}"
    rows = phase_rows(evidence.result)
    parts = [
        f"{row['of']} ({100 * row[PHOTON_FRACTION]:.3g} %)" if PHOTON_FRACTION in row else str(row["of"])
        for row in rows
    ]
    verb = "explains" if len(parts) == 1 else "explain"
    phases = number_of(len(parts), "phase")
    return f"{phases} {verb} the {with_unit(photons, 'photons')} of {where}: {listed(parts)}"


def _where(evidence: Evidence) -> str:
    if len(evidence.totals) == 1:
        return size_of(next(iter(evidence.totals.values())))
    if evidence.totals:
        return number_of(len(evidence.totals), "map")
    return "the spectra"


def _elements_found(evidence: Evidence) -> list[str]:
    if evidence.found is None:
        return []
    seen = evidence.found[schema.ELEMENT].values[evidence.found[schema.SIGNIFICANT].values.astype(bool)]
    return list(dict.fromkeys(str(e) for e in seen if e))


def _found_traces(evidence: Evidence) -> str:
    rows = rows_of(evidence.data)
    last = rows[-1]["map"] if rows else ""
    whole = [row for row in rows if row["map"] == last]
    above, below = [], []
    for row in whole:
        amount = plus_minus(row[schema.ATOMIC_PPM], row[schema.ATOMIC_PPM + schema.STD_SUFFIX])
        if row[schema.ATOMIC_PPM] > row[schema.TRACE_LOD]:
            above.append(f"{row['element']} ({amount} ppm)")
        else:
            below.append(f"{row['element']} (less than {row[schema.TRACE_LOD]:.3g} ppm)")
    phase = str(evidence.data.attrs.get(schema.PHASE, "the phase"))
    said = (
        [f"{listed(above)} {'is' if len(above) == 1 else 'are'} above the limit of detection"]
        if above
        else []
    )
    said += [f"{listed(below)} {'is' if len(below) == 1 else 'are'} below it"] if below and above else []
    said += (
        [f"{listed(below)} {'is' if len(below) == 1 else 'are'} below the limit of detection"]
        if not above
        else []
    )
    return f"in {phase}, {', '.join(said)}"


def _sure(evidence: Evidence) -> str:
    """Say how sure it is where nothing speaks against it, and what to look at."""
    if evidence.kind is Kind.TRACES:
        return "Every map agrees with the others: look at how the signal grows with the pixels summed"
    if evidence.result is None:
        listed_already = any(one.attrs.get(schema.ELEMENTS) for one in evidence.cubes.values())
        nothing_new = "Every element found is listed" if listed_already else "No elements are listed yet"
        return f"{nothing_new}: look at the sum spectrum, then separate phases with psnmf"
    chi2 = chi2_of(evidence)
    said = []
    if chi2 is not None:
        said.append(f"the fit leaves only the noise of the counts (χ² per degree of freedom {chi2:.2f})")
    if evidence.rows:
        said.append("no line was found that nobody listed")
    if schema.STABILITY in evidence.root:
        said.append("no other set of spectra fits as well")
    if not said:
        return "How sure this is cannot be said from the result alone: give the counts (cube) as well"
    return f"{listed(said)}: look at the residuals and the ranges"
