"""``edxdask view``: a cube, a result, a collection or a mosaic in a browser on this machine."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from edxdask.cli.app import Settings, Verb
from edxdask.cli.inputs import STORE_HELP, typed_out
from edxdask.cli.output import print_json
from edxdask.errors import ParameterError


@click.command("view", cls=Verb, epilog=STORE_HELP)
@click.argument("store", type=click.Path())
@click.option(
    "--result",
    metavar="RESULT",
    type=click.Path(),
    help="Result of STORE, whose phases lie on the same page.",
)
@click.option(
    "--port", type=int, default=0, show_default="a free one", help="Port of 127.0.0.1 to listen at."
)
@click.option("--no-browser", is_flag=True, help="Print the address, and open no browser.")
@click.pass_obj
def view_verb(settings: Settings, store: str, result: str | None, port: int, no_browser: bool) -> None:
    """Show STORE in a browser: a map, result, collection or mosaic of any size. Ctrl-C ends it.

    Line maps by a click on a peak, spectra of regions with amounts and limits, phases, raw beside denoised.
    Only this machine can open the page, and only with the whole address that is printed.
    """
    from edxdask.view.viewer import view

    shown = _opened(store, "STORE")
    viewer = view(
        shown,
        result=None if result is None else _opened(result, "--result"),
        port=port,
        browser=not no_browser,
    )
    try:
        if settings.json:
            print_json({"url": viewer.url, "port": viewer.port})
        else:
            click.echo(f"{viewer.url}\nCtrl-C ends the viewer.")
        sys.stdout.flush()
        viewer.wait()
    except KeyboardInterrupt:  # how a viewer ends: nothing was interrupted
        if not settings.json:
            click.echo("The viewer has ended.", err=True)
    finally:
        viewer.stop()


def _opened(path: str, name: str) -> Any:
    """Open what a store holds.

    Raises
    ------
    ParameterError
        If that cannot be seen.
    """
    from edxdask.io.store import open_store
    from edxdask.results.collections import is_collection
    from edxdask.results.kinds import Kind, kind_of

    data = open_store(path)
    kind = kind_of(data)
    if kind not in (Kind.CUBE, Kind.PHASES):
        expected = f"a store of counts or a result of phases; this one holds {kind.value}"
        raise ParameterError(
            name, path, expected, typed_fix=f"To see it as a table: {typed_out('info', path)}"
        )
    if not is_collection(data):
        data.encoding["source"] = str(Path(path).absolute())  # for the Python lines that open it again
    return data
