"""Compositions in at.% and wt.% with errors, SNR and limits; partition coefficients; traces."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from edxdask import schema
from edxdask.errors import EdxdaskError
from edxdask.quantify.results import partition_coefficient
from edxdask.readable import rounded
from edxdask.report.limits import limits_figure
from edxdask.report.page.evidence import Evidence
from edxdask.report.page.parts import Block, Note, Section, Table
from edxdask.report.page.pictures import picture
from edxdask.report.page.words import plus_minus
from edxdask.report.tables import COLUMNS, Row, rows_of
from edxdask.report.traces import traces_figure
from edxdask.results.collections import shared_part
from edxdask.results.kinds import Kind

STD = schema.STD_SUFFIX
MOST_COEFFICIENTS = 30
EXCHANGED = (("Fe", "Mg"), ("Al", "Si"), ("Ca", "Mg"))
METHODS = {"cliff-lorimer": "Cliff-Lorimer", "zeta": "ζ-factors", "cross-section": "cross-sections"}
HEADS = ("element", "line", "at.%", "wt.%", "counts", "SNR", "LOD, at.%")
TRACE_HEADS = ("map", "element", "line", "ppm", "SNR", "LOD, ppm", "σ")


def composition(evidence: Evidence) -> Section | None:
    """Make the section; None of a cube alone."""
    if evidence.kind is Kind.TRACES:
        return _traces(evidence)
    if evidence.result is None:
        return None
    if not evidence.rows:
        text = (
            "No composition is known, as the phases were found without elements. "
            "edxdask quantify RESULT --elements Mg,Si,… measures it from their spectra."
        )
        return Section("composition", "Composition", [Note(text)])
    blocks: list[Block] = [Note(_said(evidence))]
    labels = list(dict.fromkeys(str(row["of"]) for row in evidence.rows))
    for label in labels:
        rows = [row for row in evidence.rows if str(row["of"]) == label]
        blocks.append(_table(label, rows, evidence.colors.get(label)))
    if any(np.isfinite(row.get(schema.LOD, np.nan)) for row in evidence.rows):
        blocks.append(
            picture(
                "limits",
                limits_figure(evidence.result),
                "Amounts with their errors beside the limits of detection, by phase and element",
                caption="Amounts (dots; hollow where below the limit of detection) and limits (bars).",
                code="edxdask.figures.limits(edxdask.quantify(result))",
            )
        )
    coefficients = _coefficients(evidence)
    if coefficients is not None:
        blocks.append(coefficients)
    return Section("composition", "Composition", blocks)


def _said(evidence: Evidence) -> str:
    method = evidence.root.attrs.get(schema.QUANTIFICATION)
    text = (
        "Errors are one standard deviation. SNR is the net peak over the noise of its background; "
        "LOD, the limit of detection, is the amount at which SNR is 3."
    )
    if method:
        return f"{text} Method: {METHODS.get(str(method), method)}."
    if schema.SNR in evidence.root:
        return f"{text} Compositions are those of the fit of all pixels."
    return text


def _table(label: str, rows: Sequence[Row], color: str | None) -> Table:
    found = [_cells(row) for row in rows]
    kept = [i for i, _ in enumerate(HEADS) if i == 0 or any(cells[i] for cells in found)]
    return Table(
        [HEADS[i] for i in kept],
        [[cells[i] for i in kept] for cells in found],
        caption=label,
        color=color,
        numbers=[at for at, i in enumerate(kept) if i > 1],
        narrow_hides=[at for at, i in enumerate(kept) if i in (1, 3, 4)],
    )


def _cells(row: Row) -> tuple[str, ...]:
    from edxdask.report.labels import pretty_line

    lod = 100 * row.get(schema.LOD, float("nan"))
    counts = row.get(schema.LINE_INTENSITY, float("nan"))
    snr = row.get(schema.SNR, float("nan"))
    return (
        str(row["element"]),
        pretty_line(str(row.get("line", ""))),
        _percent(row, schema.COMPOSITION),
        _percent(row, schema.MASS_FRACTION),
        f"{counts:.0f}" if np.isfinite(counts) else "",
        f"{snr:.1f}" if np.isfinite(snr) else "",
        rounded(lod, lod)[0] if lod > 0 else "",
    )


def _percent(row: Row, name: str) -> str:
    value, error = row.get(name), row.get(name + STD)
    factor = COLUMNS[name][1]
    if value is None or not np.isfinite(value):
        return ""
    return plus_minus(factor * value, float("nan") if error is None else factor * error)


def _coefficients(evidence: Evidence) -> Table | None:
    """Partition coefficients of pairs of phases, for exchanges of elements that both have."""
    rows = []
    for first, second in combinations(evidence.labels, 2):
        for exchanged in EXCHANGED:
            found = _coefficient(evidence, (first, second), exchanged)
            if found is not None:
                rows.append((f"{first} / {second}", f"{exchanged[0]} / {exchanged[1]}", found))
    if not rows:
        return None
    caption = (
        "Partition coefficients K = (X of the first element / X of the second) in one phase over the other"
    )
    return Table(("phases", "elements", "K"), rows[:MOST_COEFFICIENTS], caption=caption, numbers=(2,))


def _coefficient(evidence: Evidence, phases: tuple[str, str], elements: tuple[str, str]) -> str | None:
    """Value with its error; None where one of the four amounts is not above its error."""
    if evidence.result is None:
        return None
    try:
        found = partition_coefficient(evidence.result, phases=phases, elements=elements)
    except EdxdaskError:  # an element that was not measured
        return None
    value = float(found[schema.PARTITION_COEFFICIENT])
    error = float(found[schema.PARTITION_COEFFICIENT + STD])
    if not (np.isfinite(value) and np.isfinite(error)) or error > value:
        return None
    return plus_minus(value, error)


def _traces(evidence: Evidence) -> Section:
    """Amounts of traces by map, with limits, and how the SNR grows."""
    from edxdask.report.labels import pretty_line

    data = evidence.data
    cells = [
        (
            str(row["map"]),
            str(row["element"]),
            pretty_line(str(row.get("line", ""))),
            plus_minus(row[schema.ATOMIC_PPM], row[schema.ATOMIC_PPM + STD]),
            f"{row[schema.TRACE_SNR]:.1f}",
            f"{row[schema.TRACE_LOD]:.3g}",
            f"{row[schema.TRACE_SIGNIFICANCE]:.1f}",
        )
        for row in rows_of(data)
    ]
    blocks: list[Block] = [
        Table(TRACE_HEADS, cells, caption=f"Traces in {data.attrs.get(schema.PHASE, 'a phase')}",
              numbers=(3, 4, 5, 6), narrow_hides=(2, 6)),
        picture("growth", traces_figure(shared_part(data)), "SNR of each trace against the pixels summed",
                caption="How the SNR grows with the pixels summed, and the amounts by map.",
                code="edxdask.figures.traces(traces)"),
        picture("trace-limits", limits_figure(data), "Amounts and limits of detection by map and element",
                caption="Amounts (dots; hollow where below the limit of detection) and limits (bars).",
                code="edxdask.figures.limits(traces)"),
    ]  # fmt: skip
    return Section("composition", "Traces", blocks)
