"""``edxdask info``: what a person needs to know of a store or a vendor file, without reading its counts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from edxdask import schema
from edxdask.cli.advice import after_result, after_store, beside, say_next
from edxdask.cli.app import Settings, Verb
from edxdask.cli.files import print_series
from edxdask.cli.inputs import typed_out
from edxdask.cli.output import print_columns, print_json, print_matrix, print_notes, print_table
from edxdask.errors import ParameterError
from edxdask.report.describe import describe_file, describe_store, map_lines, result_lines


@click.command("info", cls=Verb, epilog="PATH may be one map of a collection: map.zarr/NAME.")
@click.argument("path", type=click.Path())
@click.option("--png", type=click.Path(), help="Draw the sum spectrum to this file.")
@click.option("--overwrite", is_flag=True, help="Replace the PNG that is there.")
@click.pass_obj
def info_verb(settings: Settings, path: str, png: str | None, overwrite: bool) -> None:
    """Say what the store or vendor file PATH holds; reads no counts."""
    source = Path(path)
    vendor = source.is_file()
    found = describe_file(source) if vendor else describe_store(source)
    if png is not None:
        _draw(found, Path(png), overwrite=overwrite)
    if settings.json:
        print_json(found)
        return
    if found["kind"] == "result":
        _print_result(settings, path, found)
        return
    if "tilts" in found:
        print_series(found)
    for number, each in enumerate(found["maps"] if "tilts" not in found else []):
        if number:
            click.echo()
        print_table(map_lines(each), title=each["name"] or None)
    store = beside(path, ".zarr")
    say_next(settings, ["ingest", path, "-o", store] if vendor else after_store(path, found))


def _print_result(settings: Settings, path: str, found: Mapping[str, Any]) -> None:
    from edxdask.io import open_store
    from edxdask.report.summary import result_table, warnings_of
    from edxdask.report.tables import rows_of, text_cells
    from edxdask.report.volume_summary import volume_table
    from edxdask.results.kinds import Kind, kind_of

    data = open_store(path)
    kind = kind_of(data)
    if kind in (Kind.PHASES, Kind.COMPONENTS):
        print_matrix(*result_table(data))
        click.echo()
    elif kind is Kind.VOLUME:
        print_matrix(*volume_table(found))
        click.echo()
    elif kind in (Kind.CLUSTERS, Kind.CANDIDATES, Kind.TRACES, Kind.PROFILE):
        print_columns(*text_cells(rows_of(data)))
        click.echo()
    print_table(result_lines(found))
    print_notes(settings, warnings_of(data))
    say_next(settings, after_result(path))


def _draw(found: Mapping[str, Any], path: Path, *, overwrite: bool) -> None:
    each = found["maps"][0] if found["maps"] else {}
    if "spectrum" not in each or len(found["maps"]) > 1:
        source, picture = found["path"], str(path)
        if found["kind"] == "result":
            fix = f"To draw a result: {typed_out('export', source, picture)}"
        elif found["kind"] == "store":
            one = f"{source}/{each.get('name')}"
            fix = f"To draw one map: {typed_out('info', one, '--png', picture)}"
        else:
            store = str(Path(source).with_suffix(".zarr"))
            fix = f"To make a store of it: {typed_out('ingest', source, '-o', store)}"
        raise ParameterError("--png", str(path), "a store of one map to draw", typed_fix=fix)
    import xarray as xr

    from edxdask.report.export import export

    energy = schema.energy_coordinate(each["energy_offset_kev"], each["energy_scale_kev"], each["channels"])
    spectrum = xr.DataArray(
        each["spectrum"],
        dims=schema.ENERGY,
        coords={schema.ENERGY: energy},
        name=schema.SUM_SPECTRUM,
        attrs={**each["attributes"], "units": "counts"},
    )
    export(spectrum, path, format="png", overwrite=overwrite)
