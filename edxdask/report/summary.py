"""What a factorization found, in a few figures: plain values for programs, tables of text for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from edxdask import schema
from edxdask.readable import rounded
from edxdask.report.strongest import strongest_lines
from edxdask.report.tables import PHOTON_FRACTION, VARIANCE_FRACTION, phase_rows, rows_of
from edxdask.results.collections import Data, nodes_of, shared_part
from edxdask.results.kinds import Kind, kind_of

MOST_COMPONENTS = 12  # lines of text; programs get all
OF_ANY_FIT = (schema.BIN, schema.SMOOTH, schema.LOWEST_ENERGY, schema.WARNINGS)
OF_MASKS = (schema.MASK_METHODS, schema.CORE_WIDTH, schema.CORE_CHOICE)
COMPOSITIONS = (schema.COMPOSITION, schema.COMPOSITION_SUBTRACTED)
ABSENT = "–"  # of an element that a phase was said not to hold
Table = tuple[list[str], list[tuple[str, ...]]]


def fit_figures(result: Data) -> dict[str, Any]:
    """Give phases, iterations, objective, compositions and calibration of a result, ready for JSON."""
    root = shared_part(result)
    if kind_of(result) is Kind.COMPONENTS:
        return {schema.EXPLAINED_VARIANCE: root[schema.EXPLAINED_VARIANCE].values}
    figures: dict[str, Any] = {
        "phases": {row["of"]: row.get(PHOTON_FRACTION) for row in phase_rows(result)},
        "iterations": int(root[schema.ITERATION][-1]) + 1,
        "objective": float(root[schema.OBJECTIVE].values[-1]),
        **{name: root.attrs[name] for name in (*OF_ANY_FIT, *OF_MASKS) if name in root.attrs},
    }
    if schema.COMPOSITION not in root:
        return figures
    elements = [str(e) for e in root[schema.ELEMENT].values]
    for key in (name for base in COMPOSITIONS for name in (base, base + schema.STD_SUFFIX) if name in root):
        by_phase = zip(root[schema.PHASE].values, root[key].values.tolist(), strict=True)
        figures[key] = {str(phase): dict(zip(elements, row, strict=True)) for phase, row in by_phase}
    names = (schema.ENERGY_OFFSET_STEP, schema.ENERGY_GAIN, schema.FWHM, schema.CHI2_RED)
    return figures | {name: root.attrs[name] for name in names if name in root.attrs}


def result_table(result: Data) -> Table:
    """Headings and cells of the table of a result: phases side by side, biggest first; components in rows.

    Below the photons of a phase is what it is made of: at.% with errors, elements by their largest amount;
    where there are no compositions, what elements have of its photons, or the strongest of its lines.

    Examples
    --------
    >>> import edxdask
    >>> result = edxdask.nmf(edxdask.simulate(shape=(8, 8), counts=50), phases=2, max_iter=3)
    >>> heads, cells = result_table(result)
    >>> heads[0], sorted(heads[1:]), cells[0][0]
    ('', ['phase_0', 'phase_1'], 'photons')
    """
    if kind_of(result) is Kind.COMPONENTS:
        parts = [row for row in rows_of(result) if VARIANCE_FRACTION in row][:MOST_COMPONENTS]
        return ["", "of the variance"], [(str(p["of"]), _percent(p[VARIANCE_FRACTION])) for p in parts]
    root, rows = shared_part(result), phase_rows(result)
    order = sorted(range(len(rows)), key=lambda i: -rows[i].get(PHOTON_FRACTION, 0.0))
    labels = [str(rows[i]["of"]) for i in order]
    photons = [_percent(rows[i].get(PHOTON_FRACTION)) for i in order]
    names, columns = _made_of(root, order, labels)
    cells = zip(["photons", *names], *([p, *c] for p, c in zip(photons, columns, strict=True)), strict=True)
    return ["", *labels], [tuple(row) for row in cells]


def _made_of(
    root: xr.Dataset, order: Sequence[int], labels: Sequence[str]
) -> tuple[list[str], list[list[str]]]:
    """Names of rows, and the cells of each phase, of what phases are made of."""
    if schema.COMPOSITION in root:
        amounts, errors = (
            root[name].transpose(schema.PHASE, schema.ELEMENT).values[order].astype(float)
            for name in (schema.COMPOSITION, schema.COMPOSITION + schema.STD_SUFFIX)
        )
        elements, most = _by_amount(root, amounts)
        both = zip(amounts, errors, strict=True)
        return [f"{e} at.%" for e in elements], [_with_errors(a[most], s[most]) for a, s in both]
    if schema.ELEMENT_PHOTONS in root:
        parts = root[schema.ELEMENT_PHOTONS].transpose(schema.PHASE, schema.ELEMENT).values[order]
        elements, most = _by_amount(root, parts)
        return [f"in lines of {e}" for e in elements], [[_percent(v) for v in p[most]] for p in parts]
    lines = strongest_lines(root)
    depth = max(map(len, lines.values()), default=0)
    names = ["lines", *[""] * (depth - 1)][:depth]
    return names, [[*lines[label], *[""] * (depth - len(lines[label]))] for label in labels]


def _by_amount(root: xr.Dataset, amounts: np.ndarray) -> tuple[list[str], np.ndarray]:
    """Elements by the most that any phase has of them."""
    order = np.argsort(-np.nan_to_num(amounts).max(axis=0), kind="stable")
    return [str(root[schema.ELEMENT].values[i]) for i in order], order


def _percent(fraction: float | None) -> str:
    return "" if fraction is None else f"{100 * fraction:.2f} %"


def _with_errors(values: np.ndarray, errors: np.ndarray) -> list[str]:
    """At.% with errors, the ± below one another."""
    pairs = [rounded(100 * value, 100 * error) for value, error in zip(values, errors, strict=True)]
    left, right = (max(len(pair[i]) for pair in pairs) for i in (0, 1))
    return [
        ABSENT.rjust(left)
        if value == 0 and not error > 0
        else f"{a.rjust(left)} ± {b.rjust(right)}".rstrip(" ±")
        for (a, b), value, error in zip(pairs, values, errors, strict=True)
    ]


def fit_lines(figures: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Rows of text, name and value, of how ``fit_figures`` says it was found."""
    if schema.EXPLAINED_VARIANCE in figures:
        return []
    rows = []
    if schema.BIN in figures:
        rows.append(("bins", f"{figures[schema.BIN]:.0f} × {figures[schema.BIN]:.0f} pixels"))
    if schema.SMOOTH in figures:
        rows.append(("smoothing", f"{figures[schema.SMOOTH]:.3g}"))
    if schema.CORE_CHOICE in figures:
        rows += [("masks", ", ".join(figures[schema.MASK_METHODS])), ("core", figures[schema.CORE_CHOICE])]
    rows.append(("iterations", str(figures["iterations"])))
    if schema.ENERGY_GAIN in figures:
        shift, gain = figures[schema.ENERGY_OFFSET_STEP], figures[schema.ENERGY_GAIN]
        axis = f"moved by {1e3 * shift:+.1f} eV, stretched by {100 * (gain - 1):+.3f} %"
        rows.append(("energy axis", f"{axis}, peaks {figures[schema.FWHM]:.1f} eV wide at Mn Kα"))
    if schema.CHI2_RED in figures:
        rows.append(("summed fit", f"reduced chi-squared {figures[schema.CHI2_RED]:.2f}"))
    return rows


def warnings_of(result: Data) -> list[str]:
    """Give the warnings of all maps of a result, each text once."""
    nodes = [result, *(one for _, one in nodes_of(result)[1])]
    texts: Sequence[str] = [text for node in nodes for text in node.attrs.get(schema.WARNINGS, [])]
    return list(dict.fromkeys(texts))
