"""``edxdask info``: what a person wants to know of a store or a vendor file, without reading its counts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edxdask import schema
from edxdask.cli.app import Settings, Verb
from edxdask.cli.output import print_json, print_table, si, size
from edxdask.errors import ParameterError

if TYPE_CHECKING:
    from edxdask.io.store import StoreInfo
    from edxdask.io.vendor.base import MapHeader

SPARKLINE_WIDTH = 72
_SHOWN = (
    schema.BEAM_ENERGY,
    schema.BEAM_CURRENT,
    schema.DETECTOR,
    schema.ELEVATION,
    schema.AZIMUTH,
    schema.FWHM,
    schema.TILT_ALPHA,
    schema.TILT_BETA,
    schema.LIVE_TIME,
    schema.REAL_TIME,
    schema.THICKNESS,
    schema.DENSITY,
    schema.ELEMENTS,
    schema.TITLE,
    schema.RECIPE,
    schema.SEED,
    schema.SOURCE_FILE,
    schema.SOURCE_SHA256,
    schema.HISTORY,
    schema.WARNINGS,
)


@click.command("info", cls=Verb)
@click.argument("path", type=click.Path())
@click.option("--png", type=click.Path(), help="Draw the sum spectrum to this file.")
@click.option("--overwrite", is_flag=True, help="Replace the PNG that is there.")
@click.pass_obj
def info_verb(settings: Settings, path: str, png: str | None, overwrite: bool) -> None:
    """Say what the store or vendor file PATH holds; reads no counts."""
    source = Path(path)
    vendor = source.is_file()
    found = described_file(source) if vendor else described_store(source)
    if png is not None:
        _draw(found, Path(png), overwrite=overwrite)
    if settings.json:
        print_json(found)
        return
    if found["kind"] == "result":
        print_table(_result_rows(found))
        return
    for number, each in enumerate(found["maps"]):
        if number:
            click.echo()
        print_table(summary_rows(each), title=each["name"] or None)


def described_store(path: Path) -> dict[str, Any]:
    """Describe the maps of a store, ready for JSON."""
    from edxdask.cli import results
    from edxdask.io import open_store, store_info

    data = open_store(path)
    if not results.holds_counts(data):
        return results.described(path, data, _SHOWN)
    info = store_info(path)
    infos = info if isinstance(info, dict) else {"": info}
    return {
        "path": str(path),
        "kind": "store",
        "maps": [_stored(n, i, data[n].to_dataset() if n else data) for n, i in infos.items()],
    }


def _stored(name: str, info: StoreInfo, ds: Any) -> dict[str, Any]:
    pixels = {}
    for dim in info.dims[:-1]:
        values = ds[dim].values
        step = float(values[-1] - values[0]) / (values.size - 1) if values.size > 1 else None
        pixels[dim] = {"size": int(values.size), "step": step, "unit": ds[dim].attrs.get("units", "1")}
    return {
        "name": name,
        "pixels": pixels,
        "channels": info.shape[-1],
        "energy_offset_kev": info.energy_offset,
        "energy_scale_kev": info.energy_scale,
        "photons": info.photons,
        "counts_per_pixel": info.counts_per_pixel,
        "largest_count": info.largest,
        "fill": info.fill,
        "disk_bytes": info.disk_bytes,
        "photon_bytes": info.photon_bytes,
        "dense_bytes": info.pixels * info.shape[-1] * info.dtype.itemsize,
        "dtype": str(info.dtype),
        "variables": list(info.variables),
        "attributes": {k: info.attrs[k] for k in _SHOWN if k in info.attrs},
        "spectrum": info.sum_spectrum,
    }


def described_file(path: Path) -> dict[str, Any]:
    """Describe the maps of a vendor file from its headers, ready for JSON."""
    from edxdask.io.remote import RemoteReader
    from edxdask.io.vendor.base import ReadOptions

    with RemoteReader(path, ReadOptions()) as reader:
        maps = [_said(header) for header in reader.headers]
        return {"path": str(path), "kind": f"{reader.reader} file", "maps": maps}


def _said(header: MapHeader) -> dict[str, Any]:
    unit = schema.PIXEL_UNIT if header.pixel_size is None else "nm"
    steps = header.pixel_size or (1.0, 1.0)
    dims = zip((schema.Y, schema.X), header.shape, steps, strict=True)
    count = header.shape[0] * header.shape[1]
    said: dict[str, Any] = {
        "name": header.name,
        "pixels": {dim: {"size": n, "step": step, "unit": unit} for dim, n, step in dims},
        "channels": header.channels,
        "energy_offset_kev": header.energy_offset,
        "energy_scale_kev": header.energy_scale,
        "dense_bytes": count * header.channels * (2 if header.dtype_max <= 0xFFFF else 4),
        "variables": list(header.images),
        "attributes": {k: header.attrs[k] for k in _SHOWN if k in header.attrs},
    }
    if header.expected_total is not None:
        said |= {"photons": header.expected_total, "counts_per_pixel": header.expected_total / count}
    if header.remarks:
        said["attributes"] |= {schema.WARNINGS: list(header.remarks)}
    return said


def summary_rows(each: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Rows of the table of one map."""
    low = each["energy_offset_kev"]
    high = low + (each["channels"] - 1) * each["energy_scale_kev"]
    step = 1e3 * each["energy_scale_kev"]
    rows = [("size", _size_text(each["pixels"]))]
    if "photons" in each:
        fill = f", fill {100 * each['fill']:.3g} %" if "fill" in each else ""
        photons = si(each["photons"]).strip()
        largest = f", largest count {each['largest_count']}" if "largest_count" in each else ""
        rows.append(
            ("counts", f"{each['counts_per_pixel']:.4g} per pixel, {photons} in all{fill}{largest}"),
        )
    rows.append(("energy", f"{low:.4g} to {high:.4g} keV, {each['channels']} channels of {step:.4g} eV"))
    if "photon_bytes" in each:
        sizes = (
            f"{size(each['photon_bytes'])} as photons, {size(each['dense_bytes'])} dense ({each['dtype']})"
        )
        rows.append(("memory", f"{sizes}; {size(each['disk_bytes'])} on disk"))
    else:
        rows.append(("memory", f"{size(each['dense_bytes'])} dense"))
    rows += _attribute_rows(each["attributes"])
    if each["variables"]:
        rows.append(("also", ", ".join(each["variables"])))
    if "spectrum" in each:
        from edxdask.report.sparkline import sparkline

        rows.append(("spectrum", sparkline(each["spectrum"], SPARKLINE_WIDTH)))
    return rows


def _result_rows(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    from edxdask.cli import results

    table = results.rows(found)
    for each in found["maps"]:
        if each["pixels"]:
            table.append((each["name"] or "size", _size_text(each["pixels"])))
    table += _attribute_rows(found["attributes"])
    variables = dict.fromkeys(v for each in found["maps"] for v in each["variables"])
    return [*table, ("holds", ", ".join(variables))]


def _size_text(pixels: Mapping[str, Mapping[str, Any]]) -> str:
    sizes = " × ".join(f"{p['size']}" for p in pixels.values())
    steps = {_step_text(p["step"], p["unit"]) for p in pixels.values() if p["step"] is not None} - {""}
    scale = f", {' × '.join(sorted(steps))} a pixel" if steps else ", no calibration"
    return f"{sizes} pixels ({', '.join(pixels)}){scale}"


def _step_text(step: float, unit: str) -> str:
    """Pixel size with its unit, empty where there is no calibration."""
    if unit in (schema.PIXEL_UNIT, "1"):
        return ""
    return f"{step / 1000:.4g} µm" if unit == "nm" and step >= 1000 else f"{step:.4g} {unit}"


def _attribute_rows(attrs: Mapping[str, Any]) -> list[tuple[str, str]]:
    """One row for each group of attributes that the map has."""

    def value(key: str, text: str) -> str | None:
        found = attrs.get(key)
        if found is None or found == [] or found == "":
            return None
        many = found if isinstance(found, list) else [found]
        return text.format(", ".join(f"{v:.5g}" if isinstance(v, float) else str(v) for v in many))

    groups = {
        "title": [value(schema.TITLE, "{}")],
        "elements": [value(schema.ELEMENTS, "{}")],
        "beam": [value(schema.BEAM_ENERGY, "{} keV"), value(schema.BEAM_CURRENT, "{} nA")],
        "detector": [
            value(schema.DETECTOR, "{}"),
            value(schema.ELEVATION, "elevation {}°"),
            value(schema.AZIMUTH, "azimuth {}°"),
            value(schema.FWHM, "{} eV at Mn Kα"),
        ],
        "stage": [value(schema.TILT_ALPHA, "α {}°"), value(schema.TILT_BETA, "β {}°")],
        "time": [value(schema.LIVE_TIME, "live {} s"), value(schema.REAL_TIME, "real {} s")],
        "sample": [value(schema.THICKNESS, "{} nm"), value(schema.DENSITY, "{} g/cm³")],
        "source": [value(schema.SOURCE_FILE, "{}")],
        "history": [value(schema.HISTORY, "{}")],
        "warnings": [value(schema.WARNINGS, "{}")],
    }
    texts = {name: ", ".join(part for part in parts if part) for name, parts in groups.items()}
    return [(name, text) for name, text in texts.items() if text]


def _draw(found: Mapping[str, Any], path: Path, *, overwrite: bool) -> None:
    each = found["maps"][0] if found["maps"] else {}
    if "spectrum" not in each or len(found["maps"]) > 1:
        raise ParameterError(
            "--png",
            str(path),
            "a store of one map to draw",
            "Ingest the file first, or: edxdask export --name",
        )
    import xarray as xr

    from edxdask.public import export

    energy = schema.energy_coordinate(each["energy_offset_kev"], each["energy_scale_kev"], each["channels"])
    spectrum = xr.DataArray(
        each["spectrum"],
        dims=schema.ENERGY,
        coords={schema.ENERGY: energy},
        name=schema.SUM_SPECTRUM,
        attrs={**each["attributes"], "units": "counts"},
    )
    export(spectrum, path, format="png", overwrite=overwrite)
