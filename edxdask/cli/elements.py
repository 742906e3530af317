"""``edxdask elements``: which elements a store holds, including those that nobody listed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edxdask import schema
from edxdask.cli.advice import beside, say_next
from edxdask.cli.app import Settings, Verb
from edxdask.cli.inputs import BEAM_HELP, STORE_HELP, cubes_of, result_of, store_argument
from edxdask.cli.output import print_columns, print_json
from edxdask.cli.targets import FIGURES, check_file
from edxdask.cli.values import BEAM_ENERGY, Elements
from edxdask.errors import ParameterError


@click.command("elements", cls=Verb, epilog=STORE_HELP)
@store_argument
@click.option(
    "--known", type=Elements(findable=False), help="Elements in the sample; default: those the store lists."
)
@click.option("--result", type=click.Path(), help="Result of a factorization: search its residual.")
@click.option("--beam-energy", type=BEAM_ENERGY, help=BEAM_HELP)
@click.option("--keep-axis", is_flag=True, help="Take the energy axis and the peaks' width as given.")
@click.option(
    "--per",
    type=click.Choice(["sum", "map"]),
    default="sum",
    show_default=True,
    help="One table of all maps of a collection, or a table for each.",
)
@click.option("--threshold", type=float, default=5.0, show_default=True, help="Sigma that an element needs.")
@click.option("--figure", type=click.Path(), help="Draw the spectrum with its lines to .png, .pdf or .svg.")
@click.option("--overwrite", is_flag=True, help="Replace the figure that is there.")
@click.pass_obj
def elements_verb(
    settings: Settings,
    store: str,
    known: list[str] | None,
    result: str | None,
    beam_energy: float | None,
    keep_axis: bool,
    per: Any,
    threshold: float,
    figure: str | None,
    overwrite: bool,
) -> None:
    """Find the elements of STORE in its sum spectrum, listed or not, and rank them."""
    from edxdask.ops import find_elements

    if figure is not None:
        if result is not None:
            raise ParameterError("--figure", figure, "no figure with --result, which makes no fit")
        if per == "map":
            raise ParameterError("--figure", figure, "no figure with --per map", typed_fix="Or: --per sum")
        check_file("--figure", figure, FIGURES, overwrite=overwrite)
    data = cubes_of(store, "elements")
    found = find_elements(
        data,
        known=known,
        result=None if result is None else result_of(result, "elements", name="--result"),
        beam_energy=beam_energy,
        per=per,
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
    say_next(settings, _next(found, store, beam_energy))


def _next(found: Any, store: str, beam_energy: float | None) -> list[str]:
    """Words of the fit of phases with the elements that were found."""
    from edxdask.report.tables import rows_of

    names = [row[schema.ELEMENT] for row in rows_of(found) if row[schema.SIGNIFICANT] and row[schema.ELEMENT]]
    words = ["psnmf", store, "-o", beside(store, "-phases.zarr")]
    if names:
        words += ["--elements", ",".join(dict.fromkeys(map(str, names)))]
    return [*words, *(["--beam-energy", f"{beam_energy:g}"] if beam_energy is not None else [])]


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
