"""What was done: choices made by the data, versions, checksum, lines that repeat it, a methods paragraph."""

from __future__ import annotations

import platform
import shlex
from collections.abc import Sequence
from importlib import metadata

from edxdask import schema
from edxdask._version import __version__
from edxdask.report.choices import NAMES, choice_figure, choices_of
from edxdask.report.page.evidence import Evidence
from edxdask.report.page.methods import methods_of
from edxdask.report.page.parts import Block, Code, Note, Row, Section, Table
from edxdask.report.page.pictures import picture
from edxdask.report.page.steps import Step, steps_of
from edxdask.report.page.words import listed
from edxdask.results.collections import nodes_of
from edxdask.results.kinds import Kind

PACKAGES = ("numpy", "scipy", "numba", "dask", "xarray", "zarr", "xraylib", "matplotlib", "bokeh")
SETTINGS = {schema.BIN: NAMES["bin"], schema.SMOOTH: NAMES["smooth"]}


def done(evidence: Evidence) -> Section:
    """Make the last section."""
    blocks: list[Block] = [*_choices(evidence), Table(("", ""), _facts(evidence))]
    history = history_of(evidence)
    if evidence.many:  # each map has a beginning of its own
        history = [entry for entry in history if not entry.startswith(("simulate(", "ingested "))]
    steps = steps_of(
        history, cube=_cube_path(evidence), result=_result_path(evidence), labels=evidence.labels
    )
    commands, lines = _repeating(steps, evidence)
    blocks += [
        Code("\n".join(commands), "The commands that repeat this"),
        Code("\n".join(lines), "The same in Python"),
    ]
    paragraph, references = methods_of(evidence)
    blocks.append(Note("Methods, to paste into a paper", "head"))
    blocks += [Note(paragraph), Code("\n".join(references), "References")]
    return Section("done", "What was done", blocks)


def history_of(evidence: Evidence) -> list[str]:
    """Lines of the history, oldest first: of the result, else of the first cube."""
    for one in (evidence.root, *(cube for cube in evidence.cubes.values())):
        found = one.attrs.get(schema.HISTORY)
        if found:
            return [found] if isinstance(found, str) else [str(line) for line in found]
    if evidence.result is not None:
        nodes = (one.attrs.get(schema.HISTORY) for _, one in nodes_of(evidence.result)[1])
        return next(([str(line) for line in lines] for lines in nodes if lines), [])
    return []


def _cube_path(evidence: Evidence) -> str | None:
    return evidence.origin.cube or (evidence.origin.data if evidence.kind is Kind.CUBE else None)


def _result_path(evidence: Evidence) -> str | None:
    return evidence.origin.data if evidence.kind is Kind.PHASES else None


def _repeating(steps: Sequence[Step], evidence: Evidence) -> tuple[list[str], list[str]]:
    """Commands and lines, with those that make this report at the end."""
    shown = evidence.origin.data or {Kind.CUBE: "map.zarr", Kind.TRACES: "traces.zarr"}.get(
        evidence.kind, "phases.zarr"
    )
    words = ["edxdask", "report", shown, "-o", "report.html"]
    name = {Kind.CUBE: "cube", Kind.TRACES: "traces"}.get(evidence.kind, "result")
    call = f"edxdask.report({name}, 'report.html')"
    if evidence.kind is Kind.PHASES and evidence.cubes:
        words += ["--cube", evidence.origin.cube or "map.zarr"]
        call = "edxdask.report(result, 'report.html', cube=cube)"
    commands = [step.command for step in steps] + [shlex.join(words)]
    return commands, ["import edxdask", "", *(step.python for step in steps), call]


def _choices(evidence: Evidence) -> list[Block]:
    if evidence.result is None:
        return []
    found = choices_of(evidence.result)
    if not found:
        return [Note("Bin size and strength of the prior were given, or the method has none.")]
    said = [f"{NAMES[one.name]} {one.chosen:.3g}" for one in found if one.chosen is not None]
    text = (
        f"The data chose: {listed(said)}. Half of the photons were fitted, and the other half judged; "
        "each curve is what a choice loses against the best."
    )
    return [
        Note(text),
        Row(
            [
                picture(f"choice-{one.name}", choice_figure(one), f"Loss against {NAMES[one.name]}")
                for one in found
            ]
        ),
        Note("A line for a paper: edxdask.figures.choices(result)", "code"),
    ]


def _facts(evidence: Evidence) -> list[tuple[str, str]]:
    """List settings, source with its checksum, and versions."""
    attrs = {**next(iter(evidence.cubes.values()), evidence.root).attrs, **evidence.root.attrs}
    rows = [(name, f"{float(attrs[key]):.4g}") for key, name in SETTINGS.items() if key in attrs]
    if schema.OBJECTIVE in evidence.root and evidence.root[schema.OBJECTIVE].size:
        rows.append(("iterations of the last step", str(evidence.root[schema.OBJECTIVE].size)))
    for key, name in ((schema.SEED, "seed"), (schema.RECIPE, "simulated with the recipe"),
                      (schema.SOURCE_FILE, "source"), (schema.SOURCE_SHA256, "SHA-256 of the source"),
                      (schema.CORE_CHOICE, "core of the matrix")):  # fmt: skip
        if attrs.get(key) not in (None, ""):
            rows.append((name, str(attrs[key])))
    made = str(attrs.get(schema.EDXDASK_VERSION, ""))
    other = f" (result made by {made})" if made and made != __version__ else ""
    rows.append(("edxdask", __version__ + other))
    rows.append(("Python", platform.python_version()))
    rows.append(("packages", ", ".join(f"{name} {metadata.version(name)}" for name in PACKAGES)))
    return rows
