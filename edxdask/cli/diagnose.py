"""``edxdask diagnose``: a report on a vendor file that its owner may send."""

from __future__ import annotations

from pathlib import Path

import click

from edxdask.cli.app import Settings, Verb
from edxdask.cli.output import print_json


@click.command("diagnose", cls=Verb)
@click.argument("file", type=click.Path())
@click.option("-o", "--out", type=click.Path(), help="Text file to write; default is the terminal.")
@click.option("--overwrite", is_flag=True, help="Replace the text file that is there.")
@click.pass_obj
def diagnose_verb(settings: Settings, file: str, out: str | None, overwrite: bool) -> None:
    """Report on the vendor file FILE for an issue: what is in it, and where reading stops.

    Holds sizes, types, versions and names that readers know; no counts, no names of people or samples.
    """
    from edxdask.io.diagnose import diagnose

    text = diagnose(file, out=out, overwrite=overwrite)
    if settings.json:
        print_json({"report": text, "out": None if out is None else str(Path(out))})
    else:
        click.echo(text if out is None else out, nl=out is not None)
