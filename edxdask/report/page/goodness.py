"""How good the result is: residuals, chi-squared, other solutions, ranges, lines that nobody listed."""

from __future__ import annotations

import numpy as np

from edxdask import schema
from edxdask.report.elements import elements_figure
from edxdask.report.fit import COUNTS_COLOR, FIT_COLOR
from edxdask.report.labels import pretty_line
from edxdask.report.lines import label_lines
from edxdask.report.misfit import draw_misfit, draw_summed_fit
from edxdask.report.openness import identifiability, openness_figure
from edxdask.report.page.evidence import Evidence
from edxdask.report.page.live import GraphCurve, Panels
from edxdask.report.page.parts import Block, Drawing, Note, Row, Section, Table
from edxdask.report.page.phases import SMALL_MAP
from edxdask.report.page.pictures import picture
from edxdask.report.page.verdict import BAD_CHI2, chi2_of, maps_that_do_not_belong, unlisted_names
from edxdask.report.page.words import listed, number_of
from edxdask.report.phase_spectra import elements_named
from edxdask.results.collections import shared_part
from edxdask.results.kinds import Kind

MOST_CANDIDATES = 20
ELEMENTS_FOUND = "Elements found in the counts"
WITHOUT_COUNTS = "Residuals need the counts: give them with cube=..., or --cube STORE at the command line."


def goodness(evidence: Evidence, panels: Panels) -> Section | None:
    """Make the section; None of traces whose maps all belong together."""
    blocks: list[Block] = []
    if evidence.result is not None:
        blocks.append(_checks(evidence))
        if evidence.fit is None:
            blocks.append(Note(WITHOUT_COUNTS))
        else:
            blocks.append(_residual(evidence, panels))
        misfits = _misfits(evidence)
        if misfits:
            blocks.append(Row(misfits))
        blocks += _open(evidence)
    blocks += _unlisted(evidence, panels)
    blocks += _outliers(evidence)
    title = ELEMENTS_FOUND if evidence.kind is Kind.CUBE else "How good is it?"
    return Section("goodness", title, blocks) if blocks else None


def _checks(evidence: Evidence) -> Table:
    """Questions and answers, in words."""
    root, rows = evidence.root, []
    chi2 = chi2_of(evidence)
    if chi2 is not None:
        judged = "only noise is left" if chi2 <= BAD_CHI2 else "more than noise is left"
        rows.append(("Does the sum of all counts fit?", f"χ² per degree of freedom {chi2:.2f}: {judged}"))
    if evidence.misfits:
        values = np.concatenate([one.values.ravel() for one in evidence.misfits.values()])
        mean = float(np.nanmean(values))
        judged = "only noise is left" if mean <= BAD_CHI2 else "more than noise is left"
        rows.append(("Does every place fit?", f"χ² per degree of freedom {mean:.2f} on average: {judged}"))
    if schema.SOLUTIONS in root.attrs:
        number = int(root.attrs[schema.SOLUTIONS])
        ends = "at one solution" if number < 2 else f"at {number} that explain the counts equally well"
        rows.append(("Where did fits from separate starts end?", ends))
    if schema.STABILITY in root:
        each = zip(evidence.labels, root[schema.STABILITY].values, strict=True)
        parts = [f"{label} {100 * float(value):.0f} %" for label, value in each]
        rows.append(("Photons that all spectra within the ranges have in common", listed(parts)))
    if schema.LARGEST_CORRECTION in root.attrs:
        correction = 100 * (np.exp(float(root.attrs[schema.LARGEST_CORRECTION])) - 1)
        rows.append(("Largest correction of the tables' spectra", f"{correction:.1f} %"))
    names = unlisted_names(evidence)
    rows.append(("Lines that nobody listed", listed(names) if names else "none found"))
    return Table(("question", "answer"), rows)


def _residual(evidence: Evidence, panels: Panels) -> Drawing:
    fit, result = evidence.fit, evidence.result
    if fit is None or result is None:
        raise TypeError("residuals need a fit and a result")
    new = _unlisted_lines(evidence)
    energy, counts, expected = (v[fit.above] for v in (fit.energy, fit.counts, fit.expected))
    lines = label_lines(elements_named(result), float(energy[0]), float(energy[-1])) | new
    curves = [
        GraphCurve("counts", COUNTS_COLOR, energy, counts),
        GraphCurve("expected", FIT_COLOR, energy, expected, step=False),
    ]
    pull = (counts - expected) / np.sqrt(np.maximum(expected, 1.0))
    return picture(
        "residual",
        draw_summed_fit(fit, result, unlisted=new),
        "All counts, what the result expects of them, and the residuals in sigma",
        caption="Counts of all pixels, what all phases expect, and the residuals in sigma (grey: ±2).",
        code="edxdask.figures.summed_fit(cube, result)",
        live=panels.add_fit("residual", curves, pull, lines),
    )


def _unlisted_lines(evidence: Evidence) -> dict[str, float]:
    """Energies by name of lines that nobody listed, from the search in the counts."""
    found = evidence.found
    if found is None:
        return {}
    new = found[schema.SIGNIFICANT].values.astype(bool) & ~found[schema.KNOWN].values.astype(bool)
    return {
        str(line) or f"{float(energy):.2f} keV ?": float(energy)
        for line, energy in zip(
            found[schema.CANDIDATE_LINE].values[new], found[schema.LINE_ENERGY].values[new], strict=True
        )
    }


def _misfits(evidence: Evidence) -> list[Drawing]:
    return [
        picture(
            f"misfit-{i}",
            draw_misfit(one, title=name or None, width=SMALL_MAP),
            "Map of chi-squared per degree of freedom; about 1 where only noise is left",
            caption="Where the counts are not explained: 1 is noise alone." if i == 0 else "",
            code="edxdask.figures.misfit(cube, result)" if i == 0 else "",
        )
        for i, (name, one) in enumerate(evidence.misfits.items())
    ]


def _open(evidence: Evidence) -> list[Block]:
    """Show what the counts leave open: ranges of compositions, or of other phases in a spectrum."""
    result = evidence.data  # quantify replaces compositions, and their ranges would be lost
    root = shared_part(result)
    if evidence.result is None or schema.STABILITY not in root or len(evidence.labels) < 2:
        return []
    if schema.COMPOSITION_LOW in root and schema.COMPOSITION_HIGH in root:
        return [
            picture(
                "ranges",
                openness_figure(result),
                "Range of every element of every phase that explains the counts equally well",
                caption="Compositions found (dots), and all that explain the counts equally well (bars).",
                code="edxdask.figures.ranges(result)",
            )
        ]
    frame = identifiability(result)
    if "less" not in frame.columns:
        return []
    rows = [
        (str(phase), str(other), f"{abs(row['less']):.2f}", f"{abs(row['more']):.2f}")
        for (phase, other), row in frame.iterrows()
    ]
    caption = "How much less or more of another phase, per photon, would explain the counts equally well"
    return [Table(("phase", "other phase", "less", "more"), rows, caption=caption, numbers=(2, 3))]


def _unlisted(evidence: Evidence, panels: Panels) -> list[Block]:
    """Candidates found in the counts: of a cube all, with the fit; of a result those left over."""
    found = evidence.found
    if found is None:
        return []
    shown = [i for i in range(found.sizes[schema.CANDIDATE]) if bool(found[schema.SIGNIFICANT].values[i])]
    if evidence.result is not None:
        shown = [i for i in shown if not bool(found[schema.KNOWN].values[i])]
    blocks: list[Block] = []
    if evidence.result is None and schema.FITTED_SPECTRUM in found:
        blocks.append(
            picture(
                "elements",
                elements_figure(found),
                "Sum spectrum with the elements found in it, and their fit",
                caption="Sum spectrum, the fit of all elements found, and the residuals in sigma.",
                code="edxdask.figures.found_elements(edxdask.find_elements(cube))",
            )
        )
    if not shown:
        return blocks
    rows = [_candidate(evidence, i) for i in shown[:MOST_CANDIDATES]]
    caption = ELEMENTS_FOUND if evidence.result is None else "Lines that nobody listed"
    heads = ["element", "line", "keV", "σ", "counts", "listed"]
    if any(row[-1] for row in rows):
        heads.append("or")
    rows = [row[: len(heads)] for row in rows]
    return [*blocks, Table(heads, rows, caption=caption, numbers=(2, 3, 4), narrow_hides=(1, 6))]


def _candidate(evidence: Evidence, i: int) -> tuple[str, ...]:
    if evidence.found is None:
        raise TypeError("no candidates")
    one = evidence.found.isel({schema.CANDIDATE: i})
    return (
        str(one[schema.ELEMENT].item()) or str(one[schema.CANDIDATE_KIND].item()),
        pretty_line(str(one[schema.CANDIDATE_LINE].item())),
        f"{float(one[schema.LINE_ENERGY]):.2f}",
        f"{float(one[schema.SIGNIFICANCE]):.0f}",
        f"{float(one[schema.EXPLAINED]):.0f}",
        "yes" if bool(one[schema.KNOWN]) else "no",
        str(one[schema.ALTERNATIVES].item()),
    )


def _outliers(evidence: Evidence) -> list[Block]:
    """List maps that do not belong to the others, and why."""
    if evidence.kind is not Kind.TRACES and evidence.result is None:
        return []
    root = evidence.root
    if schema.MAP_BELONGS not in root or schema.MAP not in root.coords:
        return []
    names = maps_that_do_not_belong(evidence)
    if not names:
        count = root.sizes[schema.MAP] - (evidence.kind is Kind.TRACES)  # of traces, the last is all maps
        return [Note(f"All {number_of(count, 'map')} belong together.")] if count > 1 else []
    reasons = root[schema.MAP_REASON].values if schema.MAP_REASON in root else [""] * root.sizes[schema.MAP]
    rows = [
        (str(name), str(reason))
        for name, reason in zip(root[schema.MAP].values, reasons, strict=True)
        if str(name) in names
    ]
    return [Table(("map", "why it does not belong"), rows, caption="Maps that do not belong to the others")]
