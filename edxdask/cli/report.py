"""``edxdask report``: one HTML page that shows all that is known of a cube, a result, traces or volumes."""

from __future__ import annotations

from pathlib import Path

import click

from edxdask.cli.app import Settings, Verb
from edxdask.cli.files import OVERWRITE_HELP
from edxdask.cli.inputs import cubes_of, typed_out
from edxdask.cli.output import print_json
from edxdask.cli.progress import shown
from edxdask.errors import ParameterError

DEFAULT = "report.html"
SUFFIXES = (".html", ".htm")
EPILOG = "STORE may be one map of a collection: map.zarr/NAME, with a name that edxdask info shows."


@click.command("report", cls=Verb, epilog=EPILOG)
@click.argument("store", metavar="STORE|RESULT", type=click.Path())
@click.option("-o", "--out", type=click.Path(), default=DEFAULT, show_default=True, help="HTML file.")
@click.option(
    "--cube",
    metavar="STORE",
    type=click.Path(),
    help="Counts that a result was made from: adds residuals and line maps.",
)
@click.option("--overwrite", is_flag=True, help=OVERWRITE_HELP)
@click.pass_obj
def report_verb(settings: Settings, store: str, out: str, cube: str | None, overwrite: bool) -> None:
    """Write one HTML page on STORE: a cube, a result, traces, volumes, or a collection.

    The page needs no network and no server, can be read without scripts, and printed.
    """
    from edxdask.io import open_store
    from edxdask.reports import report_with_paths
    from edxdask.results.kinds import Kind, kind_of

    target = Path(out)
    if target.suffix.lower() not in SUFFIXES:
        raise ParameterError("--out", out, "a file that ends in .html")
    data = open_store(store)
    kind = kind_of(data)
    if kind not in (Kind.CUBE, Kind.PHASES, Kind.TRACES, Kind.VOLUME):
        expected = f"a store of counts, phases, traces or volumes; this one holds {kind.value}"
        raise ParameterError("STORE", store, expected, typed_fix=f"To see it: {typed_out('info', store)}")
    if cube is not None and kind is not Kind.PHASES:
        raise ParameterError("--cube", cube, f"no --cube, as {store} holds {kind.value}")
    counts = None if cube is None else cubes_of(cube, "report --cube")
    with shown(settings) as progress:
        written = report_with_paths(
            data,
            target,
            cube=counts,
            overwrite=overwrite,
            progress=progress,
            data_path=store,
            cube_path=cube,
        )
    if settings.json:
        print_json({"store": store, "report": str(written), "bytes": written.stat().st_size})
    else:
        click.echo(str(written))
