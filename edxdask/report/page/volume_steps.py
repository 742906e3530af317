"""Steps that make volumes, as commands and as Python lines that repeat them."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from edxdask.report.page.typed import Step, typed_option
from edxdask.schema import TILT_AXIS

RESULT, ALIGNMENT = "phases.zarr", "alignment.zarr"
IN_PYTHON = ("window", "cutoff")  # parameters that the command line has no options for
NOT_SAID = "…"  # what a history has for data that it cannot hold
# options that have not the name of their parameter
OPTIONS = {"densities": "density", TILT_AXIS: "axis", "tilts_deg": "tilts", "iterations": "max-iter"}
FLAGS = {("cap", False): "--no-cap", ("dtype", "float16"): "--half", ("absorption", True): "--absorption"}


def volume_step(
    name: str, arguments: Mapping[str, Any], series: str, volume: str, labels: Sequence[str]
) -> Step:
    """Give the lines of volumes of phases, or of images.

    Parameters
    ----------
    name : "tomography" or "image_volume"
    arguments : of the call, by name
    series, volume : paths of the stores
    labels : of the phases, or images

    Examples
    --------
    >>> given = {"densities": {"Fp": 3.9}, "rows": (0, 9), "alignment": False}
    >>> step = volume_step("tomography", given, "s.zarr", "v.zarr", ["Fp"])
    >>> step.command
    'edxdask tomo s.zarr -o v.zarr --density Fp:3.9 --rows 0:9 --alignment none'
    >>> step.python
    "volume = edxdask.tomography(cube, densities={'Fp': 3.9}, rows=(0, 9), alignment=False, out='v.zarr')"
    """
    words = ["edxdask", "tomo", series, "-o", volume]
    of_phases = name == "tomography"
    given, ends = ["cube"], [f"out={volume!r}"]
    if not of_phases:
        words += ["--image", ",".join(labels)]
        given, ends = [_image(labels)], []
        if "alignment" not in arguments:
            words += ["--alignment", "none"]
    for key, value in arguments.items():
        known = {"result": f"edxdask.open({RESULT!r})", "alignment": "edxdask.align_tilts(cube)"}
        written = known.get(key, repr(value)) if value == NOT_SAID else repr(value)
        given.append(f"{key}={written}")
        words += [] if key in IN_PYTHON else _typed(key, value)
    only = [f"{key}={arguments[key]!r}" for key in IN_PYTHON if key in arguments]
    commands = [f"# in Python only: {', '.join(only)}"] if only else []
    commands.append(shlex.join(words))
    if arguments.get("alignment") == NOT_SAID:
        commands.insert(0, shlex.join(["edxdask", "tomo", series, "-o", ALIGNMENT, "--align-only"]))
    return Step("\n".join(commands), f"volume = edxdask.{name}({', '.join([*given, *ends])})")


def _image(labels: Sequence[str]) -> str:
    """Expression for the images of a series."""
    if list(labels) == ["total"]:
        return "cube.edx.total_map()"
    if len(labels) == 1 and "_" not in labels[0]:
        return f"cube[{labels[0]!r}]"
    return f"cube.edx.line_map({list(labels)!r})"


def _typed(key: str, value: Any) -> list[str]:
    """Option of ``tomo`` as it is typed."""
    if value == NOT_SAID:
        return [f"--{key}", {"result": RESULT, "alignment": ALIGNMENT}[key]]
    flag = FLAGS.get((key, value)) if isinstance(value, bool | str) else None
    if flag:
        return [flag]
    if isinstance(value, bool):
        return ["--alignment", "none"] if key == "alignment" and not value else []
    option = OPTIONS.get(key, key)
    if key == "rows":
        return [f"--{option}", _span(value)]
    if key == "shadows":
        return [f"--{option}", ",".join("none" if one is None else _span(one) for one in value)]
    if isinstance(value, Mapping) and option == "density":
        return [word for label, amount in value.items() for word in (f"--{option}", f"{label}:{amount:g}")]
    if option == "tilts":
        return [f"--{option}", ",".join(f"{tilt:g}" for tilt in value)]
    return typed_option(option, value)


def _span(ends: Sequence[float | None]) -> str:
    return ":".join("" if end is None else f"{end:g}" for end in ends)
