"""What to do next: one line after a verb, typed as it stands, where a person reads it."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from edxdask.cli.app import Settings
from edxdask.cli.inputs import typed_out
from edxdask.cli.output import at_terminal, shown_text

FEW_PIXELS = 64  # of which no phases are made


def say_next(settings: Settings, words: Sequence[str] | str | None) -> None:
    """Print the command that comes next; nothing for programs, and nothing in a pipe or a file."""
    if not words or settings.json or not at_terminal():
        return
    command = words if isinstance(words, str) else typed_out(*words)
    click.secho(f"next: {shown_text(command)}", fg="cyan")


def after_store(path: str | Path, found: Mapping[str, Any]) -> list[str]:
    """Words that go on with a store that ``describe_store`` described.

    Examples
    --------
    >>> one = {"pixels": {"y": {"size": 90}, "x": {"size": 90}}, "channels": 2048}
    >>> one |= {"energy_offset_kev": 0.0, "energy_scale_kev": 0.01}
    >>> after_store("map.zarr", {"maps": [one]})
    ['psnmf', 'map.zarr', '-o', 'map-phases.zarr']
    """
    maps = found["maps"]
    axes = {
        (each["channels"], round(each["energy_offset_kev"], 6), round(each["energy_scale_kev"], 9))
        for each in maps
    }
    if len(axes) > 1:
        return ["rebin", str(path), "-o", beside(path, "-rebinned.zarr")]
    if max(_pixels(each) for each in maps) < FEW_PIXELS:
        return ["elements", str(path)]
    return ["psnmf", str(path), "-o", beside(path, "-phases.zarr")]


def after_result(path: str | Path) -> list[str]:
    """Words that show the result at ``path``: its report, where there is one of its kind, else a picture."""
    from edxdask.io import open_store
    from edxdask.results.kinds import Kind, kind_of

    if kind_of(open_store(path)) in (Kind.CUBE, Kind.PHASES, Kind.TRACES, Kind.VOLUME):
        return ["report", str(path)]
    return ["export", str(path), beside(path, ".png")]


def beside(path: str | Path, ending: str) -> str:
    """Give the path of a new file beside ``path``, named after it, that nothing has yet.

    Examples
    --------
    >>> beside("no/map.emd", "-phases.zarr"), beside("no/maps.zarr/left", ".png")
    ('no/map-phases.zarr', 'no/maps-left.png')
    """
    source = Path(path)
    if source.parent.suffix == ".zarr":  # a map of a collection
        source = source.parent.parent / f"{source.parent.stem}-{source.name}"
    stem = source.with_suffix("") if source.suffix else source
    name, dot, suffix = ending.rpartition(".")
    numbers = itertools.chain([""], (f"-{number}" for number in itertools.count(2)))
    tries = (stem.with_name(f"{stem.name}{name}{number}{dot}{suffix}") for number in numbers)
    return str(next(one for one in tries if not one.exists()))


def example_of(verb: str, given: Sequence[str], ending: str) -> str:
    """Give a command to which the file that it writes was missing.

    Examples
    --------
    >>> example_of("psnmf", ["psnmf", "no/map.zarr", "--phases", "3"], ".zarr")
    'edxdask psnmf no/map.zarr --phases 3 -o no/map-psnmf.zarr'
    >>> example_of("export", ["export", "no/map.zarr"], ".png")
    'edxdask export no/map.zarr no/map.png'
    """
    words = list(given)
    after = words[words.index(verb) + 1 :] if verb in words else []
    source = next((word for word in after if not word.startswith("-")), "map")
    if ending == ".png":
        return typed_out(*words, beside(source, ending))
    named = ending if verb in ("ingest", "simulate") else f"-{verb}{ending}"
    return typed_out(*words, "-o", beside(source, named))


def _pixels(each: Mapping[str, Any]) -> int:
    count = 1
    for axis in each["pixels"].values():
        count *= axis["size"]
    return count
