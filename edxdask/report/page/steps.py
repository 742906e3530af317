"""The work as commands and as Python lines that repeat it, from the history of a cube or a result."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edxdask.report.page.typed import Step, typed_option
from edxdask.report.page.volume_steps import volume_step

CUBE, RESULT, QUANTIFIED, TRACES = "map.zarr", "phases.zarr", "phases-quantified.zarr", "traces.zarr"
FACTORIZERS = ("psnmf", "nmf", "aided")
_CALL = re.compile(r"^(\w+)\((.*)\)$", re.DOTALL)
_INGESTED = re.compile(r"^ingested from (.+?) by edxdask")
_ARGUMENT = re.compile(r"(?:^|, )(\w+)=")


def steps_of(
    history: Sequence[str], *, cube: str | None, result: str | None, labels: Sequence[str] = ()
) -> list[Step]:
    """Turn a history into steps.

    Parameters
    ----------
    history : lines, oldest first
    cube, result : paths of the stores, where they are known
    labels : names of the phases

    Examples
    --------
    >>> entry = "psnmf(phases=2, elements=Mg,Si, bin=4, smooth=1)"
    >>> step = steps_of([entry], cube="a.zarr", result="b.zarr")[0]
    >>> step.command
    'edxdask psnmf a.zarr -o b.zarr --phases 2 --elements Mg,Si --bin 4 --smooth 1'
    >>> step.python
    "result = edxdask.psnmf(cube, phases=2, elements=['Mg', 'Si'], bin=4, smooth=1)"
    """
    places = _Places(cube or CUBE, result or RESULT, tuple(labels))
    return [_step(entry, places) for entry in history]


@dataclass(frozen=True)
class _Places:
    """Paths of the stores, and the names of phases."""

    cube: str
    result: str
    labels: tuple[str, ...]


def _step(entry: str, places: _Places) -> Step:
    ingested = _INGESTED.match(entry)
    if ingested:
        source = ingested[1]
        typed = shlex.join(["edxdask", "ingest", source, "-o", places.cube])
        return Step(typed, f"cube = edxdask.ingest({source!r}, {places.cube!r})")
    call = _CALL.match(entry.strip())
    if call is None:
        return Step(f"# {_line(entry)}", f"# {_line(entry)}")
    name, arguments = call[1], arguments_of(call[2])
    if name == "simulate":
        return _simulated(call[2], arguments, places)
    if name in FACTORIZERS:
        return _factorized(name, arguments, places)
    if name == "traces":
        return _traced(arguments, places)
    if name == "quantify":
        return _quantified(arguments, places)
    if name in ("tomography", "image_volume"):
        return volume_step(name, arguments, places.cube, places.result, places.labels)
    return Step(f"# {_line(entry)}", f"# {_line(entry)}")


def _line(text: str) -> str:
    """Keep a comment on its line."""
    return " ".join(text.split())


def arguments_of(text: str) -> dict[str, Any]:
    """Read the keywords of a call as a history has them: literals, or words between commas.

    Examples
    --------
    >>> arguments_of("phases=3, elements=Mg,Si, absent={'Fp': 'Si'}, prior=tv")
    {'phases': 3, 'elements': 'Mg,Si', 'absent': {'Fp': 'Si'}, 'prior': 'tv'}
    >>> arguments_of("")
    {}
    """
    found = list(_ARGUMENT.finditer(text))
    ends = [*(one.start() for one in found[1:]), len(text)][: len(found)]
    return {one[1]: _literal(text[one.end() : end]) for one, end in zip(found, ends, strict=True)}


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _simulated(text: str, arguments: Mapping[str, Any], places: _Places) -> Step:
    recipe = _literal(text.partition(",")[0])
    recipe = recipe if isinstance(recipe, str) and recipe.isidentifier() else "mantle"
    words = ["edxdask", "simulate", recipe, "-o", places.cube]
    for key, value in arguments.items():
        words += [f"--{key}", "x".join(map(str, value)) if isinstance(value, tuple) else str(value)]
    given = "".join(f", {key}={value!r}" for key, value in arguments.items())
    return Step(shlex.join(words), f"cube = edxdask.simulate({recipe!r}{given}, out={places.cube!r})")


def _factorized(name: str, arguments: dict[str, Any], places: _Places) -> Step:
    named = [f"phase_{i}" for i in range(len(places.labels))]
    if name != "aided" and places.labels and list(places.labels) != named and "phases" in arguments:
        arguments = {**arguments, "phases": list(places.labels)}
    if isinstance(arguments.get("elements"), str):
        arguments = {**arguments, "elements": arguments["elements"].split(",")}
    if name == "aided":  # what it chose itself is said in words, and chosen again alike
        arguments = {k: v for k, v in arguments.items() if k in ("matrix", "absent", "elements")}
    words = ["edxdask", name, places.cube, "-o", places.result]
    for key, value in arguments.items():
        words += typed_option(key, value)
    given = "".join(f", {key}={value!r}" for key, value in arguments.items())
    return Step(shlex.join(words), f"result = edxdask.{name}(cube{given})")


def _quantified(arguments: Mapping[str, Any], places: _Places) -> Step:
    elements = arguments.get("elements")
    words = ["edxdask", "quantify", places.result, "-o", QUANTIFIED]
    given = ""
    if isinstance(elements, list):
        words += ["--elements", ",".join(map(str, elements))]
        given = f", elements={elements!r}"
    method = arguments.get("method")
    if isinstance(method, str):
        words += ["--method", method]
        given += f", method={method!r}"
    return Step(shlex.join(words), f"result = edxdask.quantify(result{given})")


def _traced(arguments: Mapping[str, Any], places: _Places) -> Step:
    phase = str(arguments.get("phase", ""))
    words = ["edxdask", "traces", places.cube, "--result", places.result, "--phase", phase, "-o", TRACES]
    return Step(shlex.join(words), f"traces = edxdask.traces(cube, result=result, phase={phase!r})")
