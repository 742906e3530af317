"""Stores that verbs read: opened, checked for what the verb needs, with conditions given by options."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from edxdask import schema
from edxdask.cli.app import PROGRAM
from edxdask.cli.curve import EFFICIENCY_HELP, read_curve
from edxdask.cli.values import BEAM_ENERGY, DENSITY, THICKNESS, Angles
from edxdask.errors import ParameterError

STORE_HELP = "STORE may be one map of a collection: map.zarr/NAME, with a name that edxdask info shows."
BEAM_HELP = "Energy of the beam, if the store does not say."

store_argument = click.argument("store", type=click.Path())


def conditions(command: Callable[..., None]) -> Callable[..., None]:
    """Add options for what a store may not say about beam and detector; ``with_conditions`` takes them."""
    options = (
        click.option("--beam-energy", type=BEAM_ENERGY, help=BEAM_HELP),
        click.option(
            "--elevation",
            type=Angles(),
            help="Elevation of each detector, degrees, if the store does not say.",
        ),
        click.option("--efficiency", type=click.Path(), help=EFFICIENCY_HELP),
    )
    for option in reversed(options):
        command = option(command)
    return command


def film(command: Callable[..., None]) -> Callable[..., None]:
    """Add options for the film that photons leave; ``with_conditions`` takes them."""
    density = click.option("--density", type=DENSITY, help="Density of the film.")
    text = "Thickness of the film; with --density corrects absorption."
    return click.option("--thickness", type=THICKNESS, help=text)(density(command))


def with_conditions(
    data: Any,
    *,
    beam_energy: float | None = None,
    elevation: list[float] | None = None,
    efficiency: str | None = None,
    thickness: float | None = None,
    density: float | None = None,
) -> Any:
    """Give every map, or result, the attributes that options name; others stay as they are."""
    from edxdask.results.collections import is_collection

    given = {
        schema.BEAM_ENERGY: beam_energy,
        schema.ELEVATION: elevation,
        schema.THICKNESS: thickness,
        schema.DENSITY: density,
    }
    known: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if efficiency is not None:
        known[schema.EFFICIENCY_ENERGY], known[schema.EFFICIENCY] = read_curve(efficiency)
    if not known:
        return data
    if is_collection(data):
        return data.map_over_datasets(lambda one: one.assign_attrs(known) if one.variables else one)
    return data.assign_attrs(known)


def typed_out(*words: str) -> str:
    """Give a command as it is typed, for the end of a sentence."""
    return shlex.join([PROGRAM, *words])


def cubes_of(store: str, verb: str) -> Any:
    """Open a store of counts.

    Raises
    ------
    ParameterError
        If the store holds a result, which the verb cannot take.
    """
    from edxdask.io import open_store
    from edxdask.results.kinds import Kind, kind_of

    data = open_store(store)
    kind = kind_of(data)
    if kind is not Kind.CUBE:
        expected = f"a store of counts, which {verb} needs; this one holds {kind.value}"
        fix = f"To see what is in it: {typed_out('info', store)}"
        raise ParameterError("STORE", store, expected, typed_fix=fix)
    return data


def result_of(store: str, verb: str, *, name: str = "RESULT", volumes: bool = False) -> Any:
    """Open a store of a factorization, or, where the verb takes them, of volumes.

    Raises
    ------
    ParameterError
        If the store holds counts, of which a result has yet to be made, or something else.
    """
    from edxdask.io import open_store
    from edxdask.results.kinds import Kind, kind_of

    data = open_store(store)
    kind = kind_of(data)
    if kind is Kind.VOLUME and volumes:
        return data
    if kind not in (Kind.PHASES, Kind.COMPONENTS):
        expected = f"a result of a factorization, which {verb} needs; this one holds {kind.value}"
        made = typed_out("psnmf", store, "-o", f"{Path(store).stem}-phases.zarr")
        fix = f"To make one of it: {made}" if kind is Kind.CUBE else f"To see it: {typed_out('info', store)}"
        raise ParameterError(name, store, expected, typed_fix=fix)
    return data
