"""``edxdask quantify``: what a map or its phases are made of, with errors and limits of detection."""

from __future__ import annotations

import csv
import json
import shlex
from pathlib import Path
from typing import Any

import click

from edxdask import schema
from edxdask.cli.advice import after_result, beside, say_next
from edxdask.cli.app import Settings, Verb
from edxdask.cli.files import OVERWRITE_HELP, again
from edxdask.cli.inputs import STORE_HELP, conditions, film, store_argument, with_conditions
from edxdask.cli.output import print_columns, print_json, print_notes
from edxdask.cli.targets import FIGURES, check_file, check_target, claimed
from edxdask.cli.values import Charges, Elements, LineNames
from edxdask.errors import MissingStoreError, ParameterError

METHODS = ("cliff-lorimer", "zeta", "cross-section")
FACTORS = {"cliff-lorimer": "k_factors", "zeta": "zeta_factors", "cross-section": "cross_sections"}
TABLES = (".csv", ".json", ".txt")
STOICHIOMETRY = "stoichiometry"


@click.command("quantify", cls=Verb, epilog=STORE_HELP)
@store_argument
@click.option("-o", "--out", type=click.Path(), help="Store of the quantified result.")
@click.option(
    "--elements", type=Elements(), help="All that have lines in the spectrum; default: those the store lists."
)
@click.option(
    "--foreign",
    type=Elements(findable=False),
    help="Elements that are fitted but not in the sample: grid, holder.",
)
@click.option("--method", type=click.Choice(METHODS), default=METHODS[0], show_default=True)
@click.option("--lines", type=LineNames(), help="LineNames to use; others are chosen by energy.")
@click.option("--factors", type=click.Path(), help="CSV or JSON of lines and factors (and their errors).")
@conditions
@film
@click.option("--dose", type=float, help="Electrons on the map, for the absolute methods.")
@click.option(
    "--solid-angle",
    type=float,
    help="Solid angle of all detectors, sr, for absolute methods without factors.",
)
@click.option(
    "--oxygen", "stoichiometric", is_flag=True, help="Find oxygen by stoichiometry, not by its line."
)
@click.option(
    "--charges",
    "oxygen",
    type=Charges(),
    help="The same, with charges of elements that differ from the usual.",
)
@click.option("--keep-axis", is_flag=True, help="Take the energy axis and the peaks' width as given.")
@click.option("--table", type=click.Path(), help="Write the table to .csv, .json or .txt.")
@click.option("--figure", type=click.Path(), help="Draw the fits to .png, .pdf or .svg.")
@click.option("--overwrite", is_flag=True, help=OVERWRITE_HELP)
@click.pass_obj
def quantify_verb(
    settings: Settings,
    store: str,
    out: str | None,
    method: str,
    factors: str | None,
    foreign: Any,
    stoichiometric: bool,
    oxygen: dict[str, float] | None,
    keep_axis: bool,
    beam_energy: float | None,
    elevation: list[float] | None,
    efficiency: str | None,
    table: str | None,
    figure: str | None,
    overwrite: bool,
    **given: Any,
) -> None:
    """Quantify STORE: the phases of a result, or the sum of a cube."""
    from edxdask.compositions import quantify
    from edxdask.io import open_store, save
    from edxdask.report.summary import warnings_of
    from edxdask.report.tables import rows_of, text_cells, write_table

    if table is not None:
        check_file("--table", table, TABLES, overwrite=overwrite)
    if figure is not None:
        check_file("--figure", figure, FIGURES, overwrite=overwrite)
    if out is not None:
        check_target(out, store, overwrite=overwrite)
    own: dict[str, Any] = {FACTORS[method]: read_factors(factors)} if factors else {}
    data = with_conditions(
        open_store(store), beam_energy=beam_energy, elevation=elevation, efficiency=efficiency
    )
    found = quantify(
        data,
        method=method,
        foreign=foreign or (),
        oxygen=oxygen or (STOICHIOMETRY if stoichiometric else None),
        refine_axis=not keep_axis,
        **own,
        **given,
    )
    rows = rows_of(found)
    if table is not None:
        write_table(rows, Path(table), Path(table).suffix.lower().removeprefix("."), overwrite=overwrite)
    if figure is not None:
        from edxdask.report.quantified import quantified_figure
        from edxdask.report.style import save_figure

        title = data.attrs.get(schema.TITLE) or Path(store).stem
        save_figure(quantified_figure(found, title=title), figure, overwrite=overwrite)
    if out is not None:
        with claimed(out):
            save(found, out, overwrite=overwrite)
    if settings.json:
        files = {name: path for name, path in (("out", out), ("figure", figure)) if path is not None}
        texts = warnings_of(found)
        warned = {schema.WARNINGS: texts} if texts else {}
        print_json({"store": store, "method": method, "rows": rows, **files, **warned})
        return
    print_columns(*text_cells(rows))
    print_notes(settings, warnings_of(found))
    for path in (table, figure, out):
        if path is not None:
            click.echo(path)
    say_next(settings, _next(store, table, figure, out))


def _next(store: str, table: str | None, figure: str | None, out: str | None) -> list[str] | str | None:
    """Give the words that show or keep what was found: the result, the fits, or the table."""
    if out is not None:
        return after_result(out)
    if figure is None:
        return f"{again(option=None)} {shlex.join(['--figure', beside(store, '-fits.pdf')])}"
    return None if table else f"{again(option=None)} {shlex.join(['--table', beside(store, '-table.csv')])}"


def read_factors(path: str) -> dict[str, Any]:
    """Read factors by line, with their standard errors if known; in a CSV, headings are skipped."""
    if not Path(path).is_file():
        raise MissingStoreError(f"{path}: there is no such file")
    if Path(path).suffix.lower() == ".json":
        return _json_factors(path)
    found: dict[str, Any] = {}
    for number, row in enumerate(csv.reader(Path(path).read_text(encoding="utf-8").splitlines()), start=1):
        cells = [cell.strip() for cell in row if cell.strip()]
        if not cells or cells[0].startswith("#") or (number == 1 and "_" not in cells[0]):
            continue
        try:
            values = [float(cell) for cell in cells[1:3]]
        except ValueError:
            values = []
        if not values:
            raise ParameterError(f"{path}, line {number}", ",".join(row), "a line and its factor: Fe_Ka,1.2")
        found[cells[0]] = tuple(values) if len(values) == 2 else values[0]
    return found


def _json_factors(path: str) -> dict[str, Any]:
    try:
        given = json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ParameterError("--factors", path, f"valid JSON; this is not: {error}") from None
    example = '{"Fe_Ka": 1.2, "Si_Ka": [1.0, 0.03]}'
    if not isinstance(given, dict):
        raise ParameterError("--factors", path, f"one object of lines and factors: {example}")
    found: dict[str, Any] = {}
    for line, value in given.items():
        numbers = value if isinstance(value, list) and len(value) == 2 else [value]
        if not all(isinstance(n, int | float) and not isinstance(n, bool) for n in numbers):
            raise ParameterError(f"{path}, {line}", value, f"a factor, or a factor and its error: {example}")
        found[line] = tuple(numbers) if len(numbers) == 2 else value
    return found
