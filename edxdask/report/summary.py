"""What a factorization found, in a few figures: plain values for programs, rows of text for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edxdask import schema
from edxdask.readable import rounded, si
from edxdask.report.tables import PHOTON_FRACTION, phase_rows
from edxdask.results.collections import Data, nodes_of, shared_part
from edxdask.results.kinds import Kind, kind_of

MOST_COMPONENTS = 12  # lines of text; programs get all
OF_ANY_FIT = (schema.BIN, schema.SMOOTH, schema.LOWEST_ENERGY, schema.WARNINGS)
OF_MASKS = (schema.MASK_METHODS, schema.CORE_WIDTH, schema.CORE_CHOICE)
COMPOSITIONS = (schema.COMPOSITION, schema.COMPOSITION_SUBTRACTED)
SEEN_IN_ERRORS = 2.0  # an element is named where there is more of it than this many errors


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


def fit_lines(figures: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Rows of text, name and value, of what ``fit_figures`` gave."""
    if schema.EXPLAINED_VARIANCE in figures:
        scree = figures[schema.EXPLAINED_VARIANCE][:MOST_COMPONENTS]
        return [(f"component {i}", f"variance {value:.4g}") for i, value in enumerate(scree)]
    rows = [(label, f"{100 * part:.2f} % of the photons") for label, part in figures["phases"].items()]
    rows += [(name, f"{figures[name]:.4g}") for name in (schema.BIN, schema.SMOOTH) if name in figures]
    if schema.CORE_CHOICE in figures:
        rows += [("masks", ", ".join(figures[schema.MASK_METHODS])), ("core", figures[schema.CORE_CHOICE])]
    rows += [("iterations", str(figures["iterations"])), ("objective", si(figures["objective"]).strip())]
    return [*rows, *_composition_lines(figures)]


def _composition_lines(figures: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Compositions in at.%, and the calibration."""
    if schema.COMPOSITION not in figures:
        return []
    errors = figures[schema.COMPOSITION + schema.STD_SUFFIX]
    rows = []
    for phase, atoms in figures[schema.COMPOSITION].items():
        shown = [e for e, a in atoms.items() if a > SEEN_IN_ERRORS * errors[phase][e]]
        parts = [f"{e} {' ± '.join(rounded(100 * atoms[e], 100 * errors[phase][e]))}" for e in shown]
        rows.append((f"{phase}, at.%", ", ".join(parts)))
    if schema.ENERGY_GAIN in figures:
        shift, gain = figures[schema.ENERGY_OFFSET_STEP], figures[schema.ENERGY_GAIN]
        axis = f"moved by {1e3 * shift:+.1f} eV, stretched by {100 * (gain - 1):+.3f} %"
        rows.append(("energy axis", f"{axis}, peaks {figures[schema.FWHM]:.1f} eV wide at Mn Ka"))
    if schema.CHI2_RED in figures:
        rows.append(("summed fit", f"reduced chi-squared {figures[schema.CHI2_RED]:.2f}"))
    return rows


def warnings_of(result: Data) -> list[str]:
    """Give the warnings of all maps of a result, each text once."""
    nodes = [result, *(one for _, one in nodes_of(result)[1])]
    return list(dict.fromkeys(text for node in nodes for text in node.attrs.get(schema.WARNINGS, [])))
