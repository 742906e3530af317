"""What a store, a vendor file or a result holds: as plain values for programs, as rows of text for people."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from edxdask import schema
from edxdask.readable import si, size
from edxdask.report.placement import placement_text
from edxdask.report.sparkline import spectrum_lines
from edxdask.report.tables import phase_rows
from edxdask.report.tilt_lines import tilt_lines, tilts_of_cube, tilts_of_maps
from edxdask.report.volume_summary import volume_figures, volume_lines
from edxdask.results.check import labels_of
from edxdask.results.collections import Data, cubes_in, nodes_of, shared_part
from edxdask.results.kinds import Kind, kind_of

if TYPE_CHECKING:
    from edxdask.io.store import StoreInfo
    from edxdask.io.vendor.base import MapHeader

SPARKLINE_WIDTH = 64  # with the name before it, within 80 columns
SHOWN_ATTRIBUTES = (
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
    schema.DRIFT_IMAGE,
    schema.BAD_FRAMES,
    schema.RECIPE,
    schema.SEED,
    schema.SOURCE_FILE,
    schema.SOURCE_SHA256,
    schema.HISTORY,
    schema.WARNINGS,
)
_FIT_SETTINGS = (schema.BIN, schema.SMOOTH, schema.WEIGHTING)


def describe_store(path: str | Path) -> dict[str, Any]:
    """Describe the maps of a store, or the result in it, ready for JSON; reads no counts.

    Examples
    --------
    >>> import tempfile, edxdask
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     ds = edxdask.simulate(shape=(4, 5), counts=9, out=folder + "/map.zarr")
    ...     found = describe_store(folder + "/map.zarr")
    >>> found["maps"][0]["pixels"]["x"]["size"], found["maps"][0]["channels"]
    (5, 970)
    """
    from edxdask.io import open_store, store_info

    data = open_store(path)
    if kind_of(data) is not Kind.CUBE:
        return describe_result(data, path)
    info = store_info(path)
    infos = info if isinstance(info, dict) else {"": info}
    cubes = cubes_in(data)
    maps = [_stored(name, one, cubes[name]) for name, one in infos.items()]
    series = tilts_of_maps(maps)
    return {"path": str(path), "kind": "store", "maps": maps, **({"tilts": series} if series else {})}


def _stored(name: str, info: StoreInfo, ds: xr.Dataset) -> dict[str, Any]:
    return {
        "name": name,
        "pixels": pixels_of(ds),
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
        **({"tilts": _tilts(info, ds)} if schema.TILT in info.dims else {}),
        **({"mosaic": placement_text(ds)} if schema.TILE_POSITION in ds else {}),
        "attributes": {k: info.attrs[k] for k in SHOWN_ATTRIBUTES if k in info.attrs},
        "spectrum": info.sum_spectrum,
    }


def _tilts(info: StoreInfo, ds: xr.Dataset) -> dict[str, Any]:
    photons = info.photons_by_first if info.dims[0] == schema.TILT else None
    return tilts_of_cube(ds[schema.TILT].values.tolist(), photons)


def describe_file(path: str | Path) -> dict[str, Any]:
    """Describe the maps of a vendor file from its headers, ready for JSON."""
    from edxdask.io.remote import RemoteReader
    from edxdask.io.vendor.base import ReadOptions

    with RemoteReader(Path(path), ReadOptions()) as reader:
        maps = [_header(header) for header in reader.headers]
        return {"path": str(path), "kind": f"{reader.reader} file", "maps": maps}


def _header(header: MapHeader) -> dict[str, Any]:
    unit = schema.PIXEL_UNIT if header.pixel_size is None else "nm"
    steps = header.pixel_size or (1.0, 1.0)
    dims = zip((schema.Y, schema.X), header.shape, steps, strict=True)
    count = header.shape[0] * header.shape[1]
    found: dict[str, Any] = {
        "name": header.name,
        "pixels": {dim: {"size": n, "step": step, "unit": unit} for dim, n, step in dims},
        "channels": header.channels,
        "energy_offset_kev": header.energy_offset,
        "energy_scale_kev": header.energy_scale,
        "dense_bytes": count * header.channels * (2 if header.dtype_max <= 0xFFFF else 4),
        "variables": list(header.images),
        "attributes": {k: header.attrs[k] for k in SHOWN_ATTRIBUTES if k in header.attrs},
    }
    if header.expected_total is not None:
        found |= {"photons": header.expected_total, "counts_per_pixel": header.expected_total / count}
    if header.remarks:
        found["attributes"] |= {schema.WARNINGS: list(header.remarks)}
    return found


def describe_result(data: Data, path: str | Path = "") -> dict[str, Any]:
    """Describe a result, ready for JSON; reads its maps, which are small."""
    root = shared_part(data)
    nodes = dict(nodes_of(data)[1])
    found: dict[str, Any] = {"path": str(path), "kind": "result"}
    kind = kind_of(data)
    if kind is Kind.COMPONENTS:
        found |= {"method": "principal components", "components": _variances(root)}
    elif kind in (Kind.PHASES, Kind.CLUSTERS):
        found |= {"method": "factorization", "phases": _photon_fractions(data)}
    elif kind is Kind.VOLUME:
        found |= {"method": "tomography", **volume_figures(root, filled=False)}
    if schema.ENERGY in root.coords:
        offset, scale = schema.energy_axis(root)
        found |= {
            "channels": root.sizes[schema.ENERGY],
            "energy_offset_kev": offset,
            "energy_scale_kev": scale,
        }
    if schema.OBJECTIVE in root:
        objective = float(root[schema.OBJECTIVE][-1])
        found |= {"iterations": int(root[schema.ITERATION][-1]) + 1, "objective": objective}
    shown = (*SHOWN_ATTRIBUTES, *_FIT_SETTINGS)
    maps = [
        {"name": name, "pixels": pixels_of(ds), "variables": list(ds.data_vars)} for name, ds in nodes.items()
    ]
    described = found | {"maps": maps, "attributes": {k: root.attrs[k] for k in shown if k in root.attrs}}
    return described | {"maps": [{**maps[0], "pixels": {}}]} if kind is Kind.VOLUME else described


def pixels_of(ds: xr.Dataset) -> dict[str, Any]:
    """Give size, step and unit of every pixel dimension."""
    pixels: dict[str, Any] = {}
    own = ds[schema.COUNTS].dims if schema.COUNTS in ds else ds.dims  # aligned maps keep a path over frames
    for dim in (schema.TILT, schema.FRAME, schema.Y, schema.X):
        if dim not in own:
            continue
        count = ds.sizes[dim]
        values = ds[dim].values
        step = float(values[-1] - values[0]) / (count - 1) if count > 1 else None
        pixels[dim] = {"size": count, "step": step, "unit": ds[dim].attrs.get("units", "1")}
    return pixels


def _photon_fractions(data: Data) -> dict[str, float | None]:
    """Fraction of all photons that each phase has; None where there are no maps to add up."""
    return {str(row["of"]): row.get("photon_fraction") for row in phase_rows(data)}


def _variances(root: xr.Dataset) -> dict[str, float | None]:
    labels = labels_of(root)
    if schema.EXPLAINED_VARIANCE_RATIO not in root:
        return dict.fromkeys(labels)
    return dict(zip(labels, root[schema.EXPLAINED_VARIANCE_RATIO].values.tolist(), strict=False))


def map_lines(each: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Rows of text, name and value, of one map that ``describe_store`` or ``describe_file`` described."""
    rows = [("size", size_text(each["pixels"]))]
    if "photons" in each:
        fill = f", fill {100 * each['fill']:.3g} %" if "fill" in each else ""
        photons = si(each["photons"]).strip()
        largest = f", largest count {each['largest_count']}" if "largest_count" in each else ""
        rows.append(
            ("counts", f"{each['counts_per_pixel']:.4g} per pixel, {photons} in all{fill}{largest}"),
        )
    if "tilts" in each:
        rows += tilt_lines(each["tilts"])
    if "mosaic" in each:
        rows.append(("mosaic", each["mosaic"]))
    rows.append(("energy", energy_text(each)))
    if "photon_bytes" in each:
        sizes = (
            f"{size(each['photon_bytes'])} as photons, {size(each['dense_bytes'])} dense ({each['dtype']})"
        )
        rows.append(("memory", f"{sizes}; {size(each['disk_bytes'])} on disk"))
    else:
        rows.append(("memory", f"{size(each['dense_bytes'])} dense"))
    rows += attribute_lines(each["attributes"])
    if each["variables"]:
        rows.append(("also", ", ".join(each["variables"])))
    if "spectrum" in each:
        axis = each["energy_offset_kev"], each["energy_scale_kev"]
        picture = spectrum_lines(np.asarray(each["spectrum"]), *axis, SPARKLINE_WIDTH)
        rows += [("spectrum" if i == 0 else "", line) for i, line in enumerate(picture)]
    return rows


def result_lines(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Rows of text, name and value, of what ``describe_result`` described."""
    rows = [("kind", f"result, {found['method']}" if "method" in found else "result")]
    if "voxels" in found:
        rows += volume_lines(found)
    if "channels" in found:
        rows.append(("energy", energy_text(found)))
    if "passes" not in found and "iterations" in found:
        rows.append(("iterations", f"{found['iterations']}"))
    attrs = found["attributes"]
    if schema.BIN in attrs:
        rows.append(("bins", f"{attrs[schema.BIN]:.0f} × {attrs[schema.BIN]:.0f} pixels"))
    if schema.SMOOTH in attrs:
        rows.append(("smoothing", f"{attrs[schema.SMOOTH]:.3g}"))
    rows += [(m["name"] or "size", size_text(m["pixels"])) for m in found["maps"] if m["pixels"]]
    variables = dict.fromkeys(v for each in found["maps"] for v in each["variables"])
    said = [row for row in attribute_lines(attrs) if row[0] != "warnings"]  # verbs print them after all else
    return [*rows, *said, ("holds", ", ".join(variables))]


def energy_text(found: Mapping[str, Any]) -> str:
    """Describe the energy axis in one line."""
    low, step = found["energy_offset_kev"], found["energy_scale_kev"]
    high = low + (found["channels"] - 1) * step
    return f"{low:.4g} to {high:.4g} keV, {found['channels']} channels of {1e3 * step:.4g} eV"


def size_text(pixels: Mapping[str, Mapping[str, Any]]) -> str:
    """Describe the pixels that ``pixels_of`` gave in one line."""
    sizes = " × ".join(f"{p['size']}" for p in pixels.values())
    steps = {_step_text(p["step"], p["unit"]) for p in pixels.values() if p["step"] is not None} - {""}
    scale = f", {' × '.join(sorted(steps))} per pixel" if steps else ", no calibration"
    return f"{sizes} pixels ({', '.join(pixels)}){scale}"


def _step_text(step: float, unit: str) -> str:
    """Pixel size with its unit, empty where there is no calibration."""
    if unit in (schema.PIXEL_UNIT, "1"):
        return ""
    return f"{step / 1000:.4g} µm" if unit == "nm" and step >= 1000 else f"{step:.4g} {unit}"


def attribute_lines(attrs: Mapping[str, Any]) -> list[tuple[str, str]]:
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
