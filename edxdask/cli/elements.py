"""``edxdask elements``: which elements a store holds, including those that nobody listed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edxdask import schema
from edxdask.cli.app import Settings, Verb
from edxdask.cli.output import print_columns, print_json
from edxdask.cli.targets import FIGURES, check_file
from edxdask.errors import ParameterError


@click.command("elements", cls=Verb)
@click.argument("store", type=click.Path())
@click.option("--known", help="Elements in the sample, such as Mg,Si; default: those the store lists.")
@click.option("--result", type=click.Path(), help="Result of a factorization: search its residual.")
@click.option("--beam-energy", type=float, help="keV, if the store does not say.")
@click.option("--keep-axis", is_flag=True, help="Take the energy axis and the peaks' width as given.")
@click.option("--threshold", type=float, default=5.0, show_default=True, help="Sigma that an element needs.")
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
            raise ParameterError("--figure", figure, "no figure with --result, which makes no fit")
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
    from edxdask.report.tables import rows_of

    keys = (schema.FWHM, schema.ENERGY_OFFSET_STEP, schema.ENERGY_GAIN)
    return {
        "store": store,
        "candidates": rows_of(found),
        **{k: found.attrs[k] for k in keys if k in found.attrs},
    }


def _print(found: Any) -> None:
    from edxdask.report.tables import rows_of, text_cells

    rows = rows_of(found)
    heads, cells = text_cells(rows)
    faint = [i for i, row in enumerate(rows) if not row[schema.SIGNIFICANT]]
    print_columns(heads, cells, faint=faint)
    if schema.ENERGY_GAIN in found.attrs:
        offset, gain = found.attrs[schema.ENERGY_OFFSET_STEP], found.attrs[schema.ENERGY_GAIN]
        width = found.attrs[schema.FWHM]
        click.echo(f"energy axis × {gain:.5f} {1e3 * offset:+.1f} eV, width at Mn Kα {width:.1f} eV")
