"""``edxdask elements``: which elements a store holds, those nobody listed among them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from edxdask import schema
from edxdask.cli.app import Settings, Verb
from edxdask.cli.output import print_json
from edxdask.cli.targets import FIGURES, check_file
from edxdask.errors import ParameterError


@click.command("elements", cls=Verb)
@click.argument("store", type=click.Path())
@click.option("--known", help="Elements that are there, such as Mg,Si; default those the store lists.")
@click.option("--result", type=click.Path(), help="Result of a factorization: look at what it left.")
@click.option("--beam-energy", type=float, help="keV, where the store does not say.")
@click.option("--keep-axis", is_flag=True, help="Take the energy axis and the peaks' width as given.")
@click.option("--threshold", type=float, default=5.0, show_default=True, help="Sigma that make an element.")
@click.option("--figure", type=click.Path(), help="Draw the spectrum with its lines to .png, .pdf or .svg.")
@click.option("--overwrite", is_flag=True, help="Replace the figure that is there.")
@click.pass_obj
def elements_verb(
    settings: Settings,
    store: str,
    known: str | None,
    result: str | None,
    beam_energy: float | None,
    keep_axis: bool,
    threshold: float,
    figure: str | None,
    overwrite: bool,
) -> None:
    """Find the elements of STORE in its sum spectrum, listed or not, and rank them."""
    from edxdask.io import open_store
    from edxdask.ops import find_elements

    if figure is not None:
        if result is not None:
            raise ParameterError("--figure", figure, "no figure with --result, which has no fit of its own")
        check_file("--figure", figure, FIGURES, overwrite=overwrite)
    data = open_store(store)
    found = find_elements(
        data,
        known=None if known is None else [name.strip() for name in known.split(",") if name.strip()],
        result=None if result is None else open_store(result),
        beam_energy=beam_energy,
        threshold=threshold,
        refine_axis=not keep_axis,
    )
    if figure is not None:
        from edxdask.report.elements import elements_figure
        from edxdask.report.style import save_figure

        title = data.attrs.get(schema.TITLE) or Path(store).stem
        save_figure(elements_figure(found, title=title), figure, overwrite=overwrite)
    if settings.json:
        print_json(described(found, store) | ({"figure": figure} if figure else {}))
        return
    _print(found)
    if figure is not None:
        click.echo(figure)


def described(found: Any, store: str) -> dict[str, Any]:
    """Describe what was found, ready for JSON."""
    candidates = []
    for i, name in enumerate(found[schema.CANDIDATE].values):
        one = found.isel({schema.CANDIDATE: i})
        values = {str(v): one[v].item() for v in found.data_vars if schema.CANDIDATE in found[v].dims}
        candidates.append({"name": str(name), **values})
    keys = (schema.FWHM, schema.ENERGY_OFFSET_STEP, schema.ENERGY_GAIN)
    return {
        "store": store,
        "candidates": candidates,
        **{k: found.attrs[k] for k in keys if k in found.attrs},
    }


def _print(found: Any) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from edxdask.report.labels import pretty_line

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("", no_wrap=True)
    for head in ("line", "keV", "σ", "counts"):
        table.add_column(head, justify="left" if head == "line" else "right", no_wrap=True)
    for head in ("listed", "families (1 as expected)", "or"):
        table.add_column(head)
    for i, name in enumerate(found[schema.CANDIDATE].values):
        row = {str(v): found[v].values[i] for v in found.data_vars if schema.CANDIDATE in found[v].dims}
        cells = (
            str(name),
            pretty_line(str(row[schema.CANDIDATE_LINE])),
            f"{row[schema.LINE_ENERGY]:.3f}",
            f"{row[schema.SIGNIFICANCE]:.1f}",
            f"{row[schema.EXPLAINED]:.0f}",
            "listed" if row[schema.KNOWN] else "",
            str(row[schema.FAMILIES]),
            str(row[schema.ALTERNATIVES]),
        )
        faint = "" if row[schema.SIGNIFICANT] else "dim"
        table.add_row(*(Text(cell, style=faint) for cell in cells))
    console = Console(file=sys.stdout, highlight=False)
    if not console.is_terminal:
        console.width = 200
    console.print(table)
    if schema.ENERGY_GAIN in found.attrs:
        offset, gain = found.attrs[schema.ENERGY_OFFSET_STEP], found.attrs[schema.ENERGY_GAIN]
        width = found.attrs[schema.FWHM]
        click.echo(f"energy axis × {gain:.5f} {1e3 * offset:+.1f} eV, width at Mn Kα {width:.1f} eV")
