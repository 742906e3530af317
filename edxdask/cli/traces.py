"""``edxdask traces``, ``judge`` and ``profile``: what the phases of a result say of many maps, in tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np

from edxdask import schema
from edxdask.cli.app import Settings, Verb
from edxdask.cli.files import OVERWRITE_HELP
from edxdask.cli.inputs import (
    STORE_HELP,
    conditions,
    cubes_of,
    film,
    result_of,
    store_argument,
    with_conditions,
)
from edxdask.cli.output import print_columns, print_json
from edxdask.cli.progress import shown
from edxdask.cli.targets import FIGURES, check_file, check_target, claimed
from edxdask.cli.values import AbsentElements, Elements, Value, typed, words

TABLES = (".csv", ".json", ".txt")
FILES = ("table", "figure", "out")

elements_option = click.option(
    "--elements", type=Elements(findable=False), help="Elements to report; default: all of the result."
)
margin_option = click.option(
    "--margin", type=float, help="Pixels from masks beyond which the matrix is pure; default: the result's."
)


class LineEnds(Value):
    """Both ends of a line, in pixels."""

    name = "Y,X:Y,X"
    example = "10,0:10,40"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Turn text into two points."""
        if not isinstance(value, str):
            return value
        try:
            ends = tuple(tuple(float(word) for word in words(end)) for end in value.split(":"))
        except ValueError:
            ends = ()
        if [len(end) for end in ends] != [2, 2]:
            self.fail(f"{value!r}: expected both ends of a line in pixels, as in {self.example}", param, ctx)
        return ends

    def typed(self, value: Any) -> str:
        """Give the ends as they are typed."""
        if not isinstance(value, tuple | list):
            return typed(value)
        return ":".join(",".join(f"{number:g}" for number in end) for end in value)


def of_result(command: Callable[..., None]) -> Callable[..., None]:
    """Add what all three verbs have: the result whose phases are meant, and where to write."""
    options = (
        store_argument,
        click.option(
            "--result", required=True, type=click.Path(), help="Result of aided, or of psnmf with elements."
        ),
        click.option(
            "--matrix", metavar="PHASE",
            help="Phase around the precipitates; default: the one that fills most pixels.",
        ),
        click.option(
            "--absent", type=AbsentElements(), multiple=True,
            help="Elements that a phase cannot hold; default: what the result ruled out. May be repeated.",
        ),
        film,
        conditions,
        click.option("-o", "--out", type=click.Path(), help="Store of what is found."),
        click.option("--table", type=click.Path(), help="Write the table to .csv, .json or .txt."),
        click.option("--figure", type=click.Path(), help="Draw it to .png, .pdf or .svg."),
        click.option("--workers", type=int, help="Threads; default one per core."),
        click.option("--memory-limit", help="Memory this process may take, such as 6GiB."),
        click.option("--overwrite", is_flag=True, help=OVERWRITE_HELP),
        click.pass_obj,
    )  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


@click.command("traces", cls=Verb, epilog=STORE_HELP)
@click.option("--phase", required=True, help="Phase that holds the traces, by label.")
@elements_option
@margin_option
@click.option("--leave-out", is_flag=True, help="Leave out maps that do not belong to the others.")
@of_result
def traces_verb(settings: Settings, store: str, **given: Any) -> None:
    """Find traces in a phase of STORE, a cube or a collection: ppm with errors, SNR, limits of detection."""
    from edxdask.unmix.traces import traces

    found, rows, written = _found(settings, store, "traces", traces, **given)
    growth = (schema.GROWTH_PIXELS, schema.GROWTH_MAPS, schema.GROWTH_SNR, schema.SNR_EXPONENT)
    judged = (schema.MAP_T1, schema.MAP_SIGMA, schema.MAP_T2, schema.MAP_EXCESS)
    by_map = [str(name) for name in found[schema.MAP].values]
    more = {name: _known(found[name].values.tolist()) for name in growth}
    more |= {name: dict(zip(by_map, _known(found[name].values.tolist()), strict=True)) for name in judged}
    _say(settings, store, found, rows, written, {schema.PHASE: found.attrs[schema.PHASE], **more})


@click.command("judge", cls=Verb, epilog=STORE_HELP)
@margin_option
@of_result
def judge_verb(settings: Settings, store: str, **given: Any) -> None:
    """Say which maps of STORE, a collection, do not belong to the others, and why.

    T1 compares all of a composition with that of the other maps (about 1 if the map belongs), σ the one
    element that differs most; T2 is chi-squared per channel of the map's own fit.
    """
    from edxdask.unmix.judge import judge

    found, rows, written = _found(settings, store, "judge", judge, **given)
    outside = {row["map"]: row[schema.MAP_REASON] for row in rows if not row[schema.MAP_BELONGS]}
    _say(settings, store, found, rows, written, {"do_not_belong": outside})


@click.command("profile", cls=Verb, epilog=STORE_HELP)
@click.option(
    "--feature", metavar="PHASE", help="Precipitate whose distance counts: above 0 outside, below 0 inside."
)
@click.option("--line", type=LineEnds(), help="Ends of a line in pixels, instead of --feature; in one map.")
@elements_option
@click.option("--step", type=float, default=1.0, show_default=True, help="Length of a part, pixels.")
@click.option(
    "--farthest", type=float, default=12.0, show_default=True,
    help="Largest distance from the feature, pixels.",
)  # fmt: skip
@click.option("--width", type=float, default=3.0, show_default=True, help="Width of the line, pixels.")
@of_result
def profile_verb(settings: Settings, store: str, **given: Any) -> None:
    """Find compositions in STORE against the distance from a phase, or along a line."""
    from edxdask.unmix.profile import ALONG, profile

    found, rows, written = _found(settings, store, "profile", profile, **given)
    _say(settings, store, found, rows, written, {ALONG: found.attrs[ALONG]})


def _found(
    settings: Settings,
    store: str,
    verb: str,
    work: Callable[..., Any],
    *,
    result: str,
    absent: tuple[Any, ...],
    beam_energy: float | None,
    elevation: list[float] | None,
    efficiency: str | None,
    thickness: float | None,
    density: float | None,
    out: str | None,
    table: str | None,
    figure: str | None,
    overwrite: bool,
    **given: Any,
) -> tuple[Any, list[dict[str, Any]], dict[str, str]]:
    """Do the work of a verb and write what is asked for: what was found, its rows, the files by option."""
    from edxdask.io import save
    from edxdask.report.tables import rows_of, write_table

    for name, path, suffixes in (("--table", table, TABLES), ("--figure", figure, FIGURES)):
        if path is not None:
            check_file(name, path, suffixes, overwrite=overwrite)
    if out is not None:
        check_target(out, store, overwrite=overwrite)
        check_target(out, result, overwrite=overwrite)
    known: dict[str, Any] = {"beam_energy": beam_energy, "elevation": elevation, "efficiency": efficiency}
    data = with_conditions(cubes_of(store, verb), **known, thickness=thickness, density=density)
    phases = result_of(result, verb, name="--result")
    with shown(settings) as progress:
        found = work(data, result=phases, absent=dict(absent) or None, progress=progress, **given)
    rows = rows_of(found)
    if table is not None:
        write_table(rows, Path(table), Path(table).suffix.lower().removeprefix("."), overwrite=overwrite)
    if figure is not None:
        from edxdask.report.plot import plot
        from edxdask.report.style import save_figure

        title = data.attrs.get(schema.TITLE) or Path(store).stem
        save_figure(plot(found, title=title), figure, overwrite=overwrite)
    if out is not None:
        with claimed(out):
            save(found, out, overwrite=overwrite)
    written = zip(FILES, (table, figure, out), strict=True)
    return found, rows, {name: path for name, path in written if path is not None}


def _say(
    settings: Settings,
    store: str,
    found: Any,
    rows: Sequence[dict[str, Any]],
    written: Mapping[str, str],
    more: Mapping[str, Any],
) -> None:
    """Print what was found, for a program or a person."""
    from edxdask.report.summary import warnings_of
    from edxdask.report.tables import text_cells

    warnings = warnings_of(found)
    if settings.json:
        known = [{key: _known(value) for key, value in row.items()} for row in rows]
        said = {schema.WARNINGS: warnings} if warnings else {}
        print_json({"store": store, **more, "rows": known, **written, **said})
        return
    print_columns(*text_cells(rows))
    for text in warnings:
        click.echo(f"note: {settings.worded(text)}", err=True)
    for path in written.values():
        click.echo(path)


def _known(value: Any) -> Any:
    """Give what JSON has no number for, such as NaN, as null."""
    if isinstance(value, list):
        return [_known(one) for one in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
