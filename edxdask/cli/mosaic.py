"""``edxdask mosaic``: neighbouring maps of a collection, or their phases, on one canvas."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import click

from edxdask.cli.advice import after_result, after_store, say_next
from edxdask.cli.app import Settings, Verb
from edxdask.cli.files import OVERWRITE_HELP, again, print_store
from edxdask.cli.inputs import store_argument, typed_out
from edxdask.cli.output import print_columns, print_json, print_table
from edxdask.cli.progress import shown
from edxdask.cli.targets import FIGURES, check_file, check_target
from edxdask.cli.values import Overlap, Shape
from edxdask.errors import MissingStoreError, ParameterError

NONE = "none"  # an image that no map has: maps stay where they are said to begin
IMAGE_HELP = (
    "What maps are registered on: an image they carry, total, a line such as Fe_Ka; of a result abundance or "
    f"a phase; {NONE}: they stay where they are said to begin."
)
POSITIONS_HELP = "CSV of a name, y and x of each map's first pixel, nm (pixels without calibration)."


@click.command("mosaic", cls=Verb)
@store_argument
@click.option("-o", "--out", required=True, type=click.Path(), help="Store to make.")
@click.option("--image", default="haadf", show_default=True, metavar="NAME", help=IMAGE_HELP)
@click.option(
    "--prior-px",
    type=float,
    default=3.0,
    show_default=True,
    metavar="PX",
    help="How far a map may be off along each axis.",
)
@click.option("--grid", type=Shape("2x4"), help="Rows and columns of maps, in the order of their names.")
@click.option("--overlap", type=Overlap(), help="Fraction of a map that the next one shows too.")
@click.option(
    "--order",
    type=click.Choice(["rows", "columns", "snake"]),
    default="rows",
    show_default=True,
    help="In which order names fill the grid.",
)
@click.option("--positions", type=click.Path(), help=POSITIONS_HELP)
@click.option("--placement", type=click.Path(), help="Mosaic of the same maps, to take positions from.")
@click.option("--figure", type=click.Path(), help="Draw the placement to .png, .pdf or .svg.")
@click.option("--resume", is_flag=True, help="Continue a mosaic that was interrupted.")
@click.option("--overwrite", is_flag=True, help=OVERWRITE_HELP)
@click.pass_obj
def mosaic_verb(
    settings: Settings,
    store: str,
    out: str,
    image: str,
    positions: str | None,
    placement: str | None,
    figure: str | None,
    resume: bool,
    overwrite: bool,
    **where: Any,
) -> None:
    """Put the maps of STORE, or the phases of a result of several maps, on one canvas."""
    from edxdask.io import open_store
    from edxdask.mosaics import mosaic

    check_target(out, store, overwrite=overwrite or resume)
    if figure is not None:
        check_file("--figure", figure, FIGURES, overwrite=overwrite or resume)
    data = open_store(store)
    _check_input(data, store)
    made = mosaic(
        data,
        image=None if image == NONE else image,
        positions=None if positions is None else _read_positions(positions),
        placement=None if placement is None else _mosaic_at(placement),
        **where,
    )
    saved = _save(settings, made, out, resume=resume, overwrite=overwrite)
    if figure is not None:
        from edxdask.report.placement_figure import placement_figure
        from edxdask.report.style import save_figure

        save_figure(placement_figure(saved), figure, overwrite=overwrite or resume)
    _print(settings, saved, out, figure)


def _check_input(data: Any, store: str) -> None:
    from edxdask.results.kinds import Kind, kind_of

    kind = kind_of(data)
    if kind not in (Kind.CUBE, Kind.PHASES):
        expected = f"a store of several maps, or their phases; this one holds {kind.value}"
        raise ParameterError("STORE", store, expected, typed_fix=f"To see it: {typed_out('info', store)}")


def _mosaic_at(path: str) -> Any:
    """Open the mosaic that positions are taken from."""
    from edxdask import schema
    from edxdask.io import open_store
    from edxdask.results.collections import is_collection

    data = open_store(path)
    if is_collection(data) or schema.TILE_POSITION not in data:
        made = typed_out("mosaic", path, "-o", f"{Path(path).stem}-mosaic.zarr")
        raise ParameterError(
            "--placement", path, "a mosaic", typed_fix=f"To make one of a collection: {made}"
        )
    return data


def _read_positions(path: str) -> dict[str, tuple[float, float]]:
    """Name, y and x on each line; a heading and comments are skipped."""
    if not Path(path).is_file():
        raise MissingStoreError(f"{path}: there is no such file")
    found: dict[str, tuple[float, float]] = {}
    text = Path(path).read_text(encoding="utf-8", errors="replace").replace("\0", "")
    for number, row in enumerate(csv.reader(text.splitlines()), start=1):
        cells = [cell.strip() for cell in row if cell.strip()]
        if not cells or cells[0].startswith("#"):
            continue
        try:
            name, y, x = cells
            found[name] = float(y), float(x)
        except ValueError:
            if number == 1:
                continue  # a heading
            expected = "the name of a map and where its first pixel is: left,0,1250.5"
            raise ParameterError(f"{path}, line {number}", ",".join(row), expected) from None
    return found


def _save(settings: Settings, made: Any, out: str, *, resume: bool, overwrite: bool) -> Any:
    from edxdask.io.save import continued_by, save

    settings.resume = again()
    with shown(settings) as progress, continued_by(settings.resume):
        saved = save(made, out, overwrite=overwrite, resume=resume, progress=progress)
    settings.resume = None
    return saved


def _print(settings: Settings, saved: Any, out: str, figure: str | None) -> None:
    """Say where the maps lie and what the store holds."""
    from edxdask.report.describe import describe_result, describe_store, result_lines
    from edxdask.report.placement import pair_cells, pair_rows, placement_text, tile_cells, tile_rows

    found = describe_store(Path(out))
    if settings.json:
        drawn = {"figure": figure} if figure else {}
        print_json({**found, "tiles": tile_rows(saved), "pairs": pair_rows(saved), **drawn})
        return
    print_columns(*tile_cells(saved))
    heads, cells, faint = pair_cells(saved)
    if cells:
        click.echo()
        print_columns(heads, cells, faint=faint)
    click.echo(f"\n{placement_text(saved)}\n")
    if found["kind"] == "result":
        print_table(result_lines(describe_result(saved, out))[:4])
        click.echo(out)
    else:
        print_store(settings, out)
    if figure is not None:
        click.echo(figure)
    say_next(settings, after_result(out) if found["kind"] == "result" else after_store(out, found))
