"""``edxdask traces``: amounts of traces in a phase over many maps, with errors, SNR and limits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import numpy as np

from edxdask import schema
from edxdask.cli.app import Settings, Verb
from edxdask.cli.files import OVERWRITE_HELP
from edxdask.cli.inputs import STORE_HELP, conditions, cubes_of, result_of, store_argument, with_conditions
from edxdask.cli.output import print_columns, print_json
from edxdask.cli.progress import shown
from edxdask.cli.targets import FIGURES, check_file, check_target, claimed
from edxdask.cli.values import AbsentElements, Elements

TABLES = (".csv", ".json", ".txt")


@click.command("traces", cls=Verb, epilog=STORE_HELP)
@store_argument
@click.option(
    "--result", required=True, type=click.Path(), help="Result of aided, or of psnmf with elements."
)
@click.option("--phase", required=True, help="Phase that holds the traces, by label.")
@click.option(
    "--elements", type=Elements(findable=False), help="Elements to report; default: all of the result."
)
@click.option("--matrix", help="Phase around the precipitates; default: the one that fills most pixels.")
@click.option(
    "--absent",
    type=AbsentElements(),
    multiple=True,
    help="Elements that a phase cannot hold; default: what the result ruled out. May be repeated.",
)
@click.option(
    "--margin", type=float, help="Pixels from masks beyond which the matrix is pure; default: the result's."
)
@click.option("--leave-out", is_flag=True, help="Leave out maps that do not belong to the others.")
@conditions
@click.option("-o", "--out", type=click.Path(), help="Store of the traces.")
@click.option("--table", type=click.Path(), help="Write the table to .csv, .json or .txt.")
@click.option("--figure", type=click.Path(), help="Draw SNR against pixels to .png, .pdf or .svg.")
@click.option("--workers", type=int, help="Threads; default one per core.")
@click.option("--memory-limit", help="Memory this process may take, such as 6GiB.")
@click.option("--overwrite", is_flag=True, help=OVERWRITE_HELP)
@click.pass_obj
def traces_verb(
    settings: Settings,
    store: str,
    result: str,
    absent: tuple[Any, ...],
    beam_energy: float | None,
    elevation: list[float] | None,
    efficiency: str | None,
    out: str | None,
    table: str | None,
    figure: str | None,
    overwrite: bool,
    **given: Any,
) -> None:
    """Find traces in a phase of STORE, a cube or a collection: ppm with errors, SNR, limits of detection."""
    from edxdask.io import save
    from edxdask.report.summary import warnings_of
    from edxdask.report.tables import rows_of, text_cells, write_table
    from edxdask.unmix.traces import traces

    for name, path, suffixes in (("--table", table, TABLES), ("--figure", figure, FIGURES)):
        if path is not None:
            check_file(name, path, suffixes, overwrite=overwrite)
    if out is not None:
        check_target(out, store, overwrite=overwrite)
        check_target(out, result, overwrite=overwrite)
    data = with_conditions(
        cubes_of(store, "traces"), beam_energy=beam_energy, elevation=elevation, efficiency=efficiency
    )
    phases = result_of(result, "traces", name="--result")
    with shown(settings) as progress:
        found = traces(data, result=phases, absent=dict(absent) or None, progress=progress, **given)
    rows = rows_of(found)
    if table is not None:
        write_table(rows, Path(table), Path(table).suffix.lower().removeprefix("."), overwrite=overwrite)
    if figure is not None:
        from edxdask.report.style import save_figure
        from edxdask.report.traces import traces_figure

        title = data.attrs.get(schema.TITLE) or Path(store).stem
        save_figure(traces_figure(found, title=title), figure, overwrite=overwrite)
    if out is not None:
        with claimed(out):
            save(found, out, overwrite=overwrite)
    _say(settings, store, found, rows, text_cells(rows), warnings_of(found), (table, figure, out))


def _say(
    settings: Settings,
    store: str,
    found: Any,
    rows: list[dict[str, Any]],
    cells: tuple[list[str], list[tuple[str, ...]]],
    warnings: list[str],
    files: tuple[str | None, ...],
) -> None:
    """Print what was found, for a program or a person."""
    names = ("table", "figure", "out")
    written = {name: path for name, path in zip(names, files, strict=True) if path is not None}
    if settings.json:
        growth = (schema.GROWTH_PIXELS, schema.GROWTH_MAPS, schema.GROWTH_SNR, schema.SNR_EXPONENT)
        judged = (schema.MAP_T1, schema.MAP_T2, schema.MAP_EXCESS)
        by_map = [str(name) for name in found[schema.MAP].values]
        print_json(
            {
                "store": store,
                "phase": found.attrs[schema.PHASE],
                "rows": [{key: _known(value) for key, value in row.items()} for row in rows],
                **{name: _known(found[name].values.tolist()) for name in growth},
                **{
                    name: dict(zip(by_map, _known(found[name].values.tolist()), strict=True))
                    for name in judged
                },
                **written,
                **({schema.WARNINGS: warnings} if warnings else {}),
            }
        )
        return
    print_columns(*cells)
    for text in warnings:
        click.echo(f"note: {settings.worded(text)}", err=True)
    for path in written.values():
        click.echo(path)


def _known(value: Any) -> Any:
    """Give what JSON has no number for, such as NaN, as null."""
    if isinstance(value, list):
        return [_known(one) for one in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
