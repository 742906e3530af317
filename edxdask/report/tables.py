"""Tables of cubes and results: rows for programs, a pandas DataFrame or lines of text for people.

Rows have the names of the schema and plain numbers: fractions are fractions. The DataFrame and the lines of
text have per cent and names for readers.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dask
import numpy as np
import xarray as xr

from edxdask import schema
from edxdask.errors import ParameterError
from edxdask.readable import rounded
from edxdask.results.check import check_result, labels_of
from edxdask.results.collections import Data, cubes_in, nodes_of, shared_part
from edxdask.results.kinds import Kind, kind_of, said
from edxdask.results.volume_statistics import volume_statistics

if TYPE_CHECKING:
    import pandas as pd

Row = dict[str, Any]
TABLE_SUFFIXES = (".csv", ".json", ".txt")
STD = schema.STD_SUFFIX
PHOTONS, PHOTON_FRACTION, VARIANCE, VARIANCE_FRACTION = (
    "photons",
    "photon_fraction",
    "variance",
    "variance_fraction",
)
# name in a row: heading for people, factor, format of its cells in text
COLUMNS: dict[str, tuple[str, float, str]] = {
    schema.COMPOSITION: ("at.%", 100, ".4g"),
    schema.COMPOSITION + STD: ("at.% error", 100, ".2g"),
    schema.MASS_FRACTION: ("wt.%", 100, ".4g"),
    schema.MASS_FRACTION + STD: ("wt.% error", 100, ".2g"),
    schema.LINE_INTENSITY: ("counts", 1, ".0f"),
    schema.LINE_INTENSITY + STD: ("counts error", 1, ".0f"),
    schema.SNR: ("SNR", 1, ".1f"),
    schema.LOD: ("LOD at.%", 100, ".4f"),
    PHOTON_FRACTION: ("% of the photons", 100, ".2f"),
    VARIANCE_FRACTION: ("% of the variance", 100, ".2f"),
    "pixel_fraction": ("% of the pixels", 100, ".2f"),
    schema.SIGNIFICANCE: ("σ", 1, ".1f"),
    schema.LINE_ENERGY: ("keV", 1, ".3f"),
    schema.EXPLAINED: ("counts", 1, ".0f"),
    schema.FAMILIES: ("families (1 as expected)", 1, ""),
    schema.CANDIDATE_KIND: ("kind", 1, ""),
    schema.CANDIDATE_LINE: ("line", 1, ""),
    schema.ATOMIC_PPM: ("ppm", 1, ".4g"),
    schema.ATOMIC_PPM + STD: ("ppm error", 1, ".2g"),
    schema.TRACE_SIGNIFICANCE: ("σ", 1, ".1f"),
    schema.TRACE_SNR: ("SNR", 1, ".1f"),
    schema.TRACE_LOD: ("LOD ppm", 1, ".3g"),
    schema.MEASURE_LONGER: ("photons for 3 σ, times", 1, ".2g"),
    schema.PROFILE_COMPOSITION: ("at.%", 100, ".4g"),
    schema.PROFILE_COMPOSITION + STD: ("at.% error", 100, ".2g"),
    "counts_per_pixel": ("counts per pixel", 1, ".4g"),
    "energy_offset_kev": ("from keV", 1, ".4g"),
    "energy_scale_kev": ("keV per channel", 1, ".4g"),
}


def rows_of(data: Data) -> list[Row]:
    """Give the table of a cube, a result or a collection as rows, named as the schema names things.

    Of compositions one row per phase (region, sum) and element; of phases, components, clusters and found
    elements one row each; of cubes one row per map.
    """
    kind = kind_of(data)
    if kind is Kind.CUBE:
        return [_cube_row(name, schema.validate_cube(cube)) for name, cube in cubes_in(data).items()]
    if kind is Kind.OTHER:
        raise ParameterError("data", said(data), "a cube, a result, or a collection of either")
    if kind is Kind.CANDIDATES:
        return [
            {**({"map": name} if name else {}), **row}
            for name, found in nodes_of(data)[1]
            for row in _candidate_rows(found)
        ]
    if kind is Kind.VOLUME:
        return volume_statistics(shared_part(data)).rows()
    if kind in (Kind.TRACES, Kind.VERDICTS, Kind.PROFILE):
        from edxdask.report.trace_tables import profile_rows, trace_rows, verdict_rows  # few need these

        made = {Kind.TRACES: trace_rows, Kind.VERDICTS: verdict_rows, Kind.PROFILE: profile_rows}[kind]
        return [row for _, one in nodes_of(data)[1] for row in made(one)]
    if kind is not Kind.QUANTIFIED:
        check_result(data)
    if kind is Kind.COMPONENTS:
        return _component_rows(shared_part(data))
    if kind is Kind.CLUSTERS:
        return _cluster_rows(data)
    if kind is Kind.QUANTIFIED or schema.COMPOSITION in shared_part(data):
        return composition_rows(data)
    return phase_rows(data)


def composition_rows(found: Data) -> list[Row]:
    """One row per element of every phase, region or sum; of a collection of cubes, of every map."""
    from edxdask.quantify.results import parts_of  # tables of cubes do without what quantification needs

    return [row for label, part in parts_of(found) for row in _element_rows(part, label)]


def _element_rows(part: xr.Dataset, label: str) -> list[Row]:
    from edxdask.quantify.methods import atomic_mass

    if part[schema.COMPOSITION].dims != (schema.ELEMENT,):
        raise ParameterError(
            "data",
            f"composition over {part[schema.COMPOSITION].dims}",
            "compositions of phases, regions or a sum",
            "Those of every pixel are maps: plot() draws, export(found.composition, 'x.tiff') writes them.",
        )
    lines = {} if schema.LINE not in part.coords else _line_by_element(part)
    elements = [str(e) for e in part[schema.ELEMENT].values]
    atoms = part[schema.COMPOSITION].values.astype(float)
    per_atom = np.array([atomic_mass(e) for e in elements])
    names = (schema.COMPOSITION, schema.MASS_FRACTION, schema.AREAL_DENSITY)
    rows = []
    for i, element in enumerate(elements):
        at = part.isel({schema.ELEMENT: i})
        row: Row = {"of": label, "element": element, **({"line": lines.get(element, "")} if lines else {})}
        row |= {name: float(at[name]) for base in names for name in (base, base + STD) if name in at}
        if schema.MASS_FRACTION not in at:  # a guided fit gives atoms; the rest is arithmetic
            row |= _mass_fraction(i, atoms, per_atom, row.get(schema.COMPOSITION + STD))
        if element in lines:
            on = part.sel({schema.LINE: lines[element]})
            measured = (schema.LINE_INTENSITY, schema.LINE_INTENSITY + STD, schema.SNR, schema.LOD)
            row |= {name: float(on[name]) for name in measured if name in on}
        rows.append(row)
    return rows


def _mass_fraction(i: int, atoms: np.ndarray, per_atom: np.ndarray, atoms_std: float | None) -> Row:
    """Mass fraction of element ``i``, and its error if that of the atoms is known.

    The error is as if all other elements kept their proportions, which is exact where there is one other.
    """
    masses = atoms * per_atom
    whole, others = masses.sum(), atoms.sum() - atoms[i]
    row: Row = {schema.MASS_FRACTION: float(masses[i] / whole) if whole > 0 else float("nan")}
    if atoms_std is not None and whole > 0:
        # w = aM / (aM + (1 - a)m), m the mean mass of the others: dw/da = Mm / whole²
        mean = (whole - masses[i]) / others if others > 0 else 0.0
        row[schema.MASS_FRACTION + STD] = float(atoms_std * per_atom[i] * mean / whole**2)
    return row


def _line_by_element(part: xr.Dataset) -> dict[str, str]:
    from edxdask.physics.lines import parse_line

    return {parse_line(str(name)).element: str(name) for name in part[schema.LINE].values}


def phase_rows(data: Data) -> list[Row]:
    """One row per phase: its photons, and their fraction of all, over all maps."""
    labels = labels_of(data)
    parts = [
        (ds[schema.ABUNDANCE] * ds[schema.TOTAL]).sum(schema.pixel_dims(ds[schema.TOTAL]))
        for _, ds in nodes_of(data)[1]
        if {schema.ABUNDANCE, schema.TOTAL} <= set(ds.data_vars)
    ]
    if not parts:
        return [{"of": label} for label in labels]
    photons = np.sum([part.values for part in parts], axis=0).astype(float)
    fractions = photons / photons.sum() if photons.sum() > 0 else np.zeros_like(photons)
    return [
        {"of": label, PHOTONS: float(count), PHOTON_FRACTION: float(fraction)}
        for label, count, fraction in zip(labels, photons, fractions, strict=True)
    ]


def _component_rows(root: xr.Dataset) -> list[Row]:
    variance, ratio = (
        root[name].values if name in root else None
        for name in (schema.EXPLAINED_VARIANCE, schema.EXPLAINED_VARIANCE_RATIO)
    )
    rows = []
    for i, label in enumerate(labels_of(root)):
        row: Row = {"of": label}
        if variance is not None and i < variance.size:
            row[VARIANCE] = float(variance[i])
        if ratio is not None and i < ratio.size:
            row[VARIANCE_FRACTION] = float(ratio[i])
        rows.append(row)
    return rows


def _cluster_rows(data: Data) -> list[Row]:
    labels = labels_of(data)
    maps = [ds[schema.LABEL].values for _, ds in nodes_of(data)[1] if schema.LABEL in ds]
    counts = np.sum([np.bincount(one[one >= 0].ravel(), minlength=len(labels)) for one in maps], axis=0)
    return [
        {"of": label, "pixels": int(n), "pixel_fraction": float(n / max(counts.sum(), 1))}
        for label, n in zip(labels, counts, strict=True)
    ]


def _candidate_rows(found: xr.Dataset) -> list[Row]:
    names = [str(v) for v in found.data_vars if schema.CANDIDATE in found[v].dims]
    return [
        {"name": str(name), **{v: found[v].values[i].item() for v in names}}
        for i, name in enumerate(found[schema.CANDIDATE].values)
    ]


def _cube_row(name: str, cube: xr.Dataset) -> Row:
    """Sizes, photons and conditions of a map; photons come from its store, else from a read."""
    counts = cube[schema.COUNTS]
    offset, scale = schema.energy_axis(cube)
    pixels = counts.size // counts.sizes[schema.ENERGY]
    photons, nonzeros, largest = _photon_figures(counts)
    steps = {
        d: float(np.diff(cube[d].values[:2])[0]) for d in schema.pixel_dims(cube)
        if d in (schema.Y, schema.X) and cube.sizes[d] > 1 and cube[d].attrs.get("units") == "nm"
    }  # fmt: skip
    row: Row = {"map": name} if name else {}
    row |= {
        "size": " × ".join(str(cube.sizes[d]) for d in schema.pixel_dims(cube)),
        "pixel_nm": next(iter(steps.values()), None),
        "channels": counts.sizes[schema.ENERGY],
        "energy_offset_kev": offset,
        "energy_scale_kev": scale,
        PHOTONS: photons,
        "counts_per_pixel": photons / pixels,
        "largest_count": largest,
        "fill": nonzeros / counts.size,
        schema.BEAM_ENERGY: cube.attrs.get(schema.BEAM_ENERGY),
        schema.ELEMENTS: ", ".join(map(str, cube.attrs.get(schema.ELEMENTS, []))),
    }
    return row


def _photon_figures(counts: xr.DataArray) -> tuple[int, int, int]:
    """Photons, non-zero counts, and the largest count."""
    from edxdask.io.store import manifest_of, store_of

    folder = store_of(counts)
    if folder is not None:
        manifest = manifest_of(folder)
        return int(manifest.photons.sum()), int(manifest.nonzeros.sum()), int(manifest.largest.max())
    photons, nonzeros, largest = dask.compute(counts.sum(dtype=np.int64), (counts > 0).sum(), counts.max())
    return int(photons), int(nonzeros), int(largest)


_FIRST = {Kind.COMPONENTS: schema.COMPONENT, Kind.CLUSTERS: schema.CLUSTER, Kind.QUANTIFIED: "part"}


def table(data: Data) -> pd.DataFrame:
    """Give the table of a cube, a result or a collection, for people.

    Parameters
    ----------
    data : Dataset or DataTree
        Cube, result of a factorization, PCA, clustering or search for elements, or a quantified cube.

    Returns
    -------
    pandas.DataFrame
        Compositions: by phase (region, map) and element, with at.%, wt.%, their errors, counts, SNR and limit
        of detection where these are known. Phases: their photons. Components: their variance. Found elements:
        one row each. Traces: by map and element; verdicts: by map; profiles: by distance and element. Cubes:
        sizes, energy axis, photons.

    Notes
    -----
    Reads the maps of a result. Photons of a cube come from its store; if it is not (or no longer) in a store,
    they are counted, one read.

    Examples
    --------
    >>> import edxdask
    >>> frame = table(edxdask.simulate(shape=(4, 6), counts=20))
    >>> frame["size"].item(), frame["channels"].item()
    ('4 × 6', 970)
    """
    import pandas as pd

    rows = rows_of(data)
    names = list(dict.fromkeys(name for row in rows for name in row))
    kind = kind_of(data)
    of = _FIRST.get(kind, schema.PHASE)
    heads = {name: of if name == "of" else COLUMNS.get(name, (name,))[0] for name in names}
    frame = pd.DataFrame({heads[name]: [_scaled(name, row) for row in rows] for name in names})
    keys = ("map", "name") if kind is Kind.CANDIDATES else ("map", of, schema.DISTANCE, "element")
    index = [key for key in keys if key in frame.columns]
    return frame.set_index(index) if index else frame


def _scaled(name: str, row: Row) -> Any:
    value = row.get(name)
    factor = COLUMNS.get(name, ("", 1, ""))[1]
    return value * factor if factor != 1 and value is not None else value


CANDIDATE_HEADS = ("", "line", "keV", "σ", "counts", "listed", "families (1 as expected)", "or")


def text_cells(rows: Sequence[Row]) -> tuple[list[str], list[tuple[str, ...]]]:
    """Headings and cells of a table for people; compositions by amount, rounded by their errors."""
    if rows and schema.COMPOSITION in rows[0]:
        places = {label: i for i, label in enumerate(dict.fromkeys(row["of"] for row in rows))}
        ranked = sorted(rows, key=lambda row: (places[row["of"]], -np.nan_to_num(row[schema.COMPOSITION])))
        cells = [_composition_cells(row) for row in ranked]
        heads = [name for name in cells[0] if any(one[name] for one in cells)]  # no empty column
        shown = ["±" if name.endswith("error") else "" if name == "of" else name for name in heads]
        return shown, [tuple(one[name] for name in heads) for one in cells]
    if rows and schema.ATOMIC_PPM in rows[0]:
        from edxdask.report.trace_tables import HEADS, trace_cells

        return list(HEADS), [trace_cells(row) for row in rows]
    if rows and schema.MAP_BELONGS in rows[0]:
        from edxdask.report.trace_tables import VERDICT_HEADS, verdict_cells

        return list(VERDICT_HEADS), [verdict_cells(row) for row in rows]
    if rows and schema.CANDIDATE_LINE in rows[0]:
        return list(CANDIDATE_HEADS), [_candidate_cells(row) for row in rows]
    names = list(dict.fromkeys(name for row in rows for name in row))
    heads = ["" if name == "of" else COLUMNS.get(name, (name,))[0] for name in names]
    return heads, [tuple(_cell(name, row) for name in names) for row in rows]


def _composition_cells(row: Row) -> dict[str, str]:
    """Cells of an element in the order of reading, by heading; empty where something is not known."""
    cells = {"of": str(row["of"]), "element": str(row["element"]), "line": str(row.get("line", ""))}
    for name in (schema.COMPOSITION, schema.MASS_FRACTION):
        head, factor, _ = COLUMNS[name]
        value, error = (row.get(n) for n in (name, name + STD))
        known = float("nan") if error is None else factor * error
        cells[head], cells[f"{head} error"] = ("", "") if value is None else rounded(factor * value, known)
    lod = 100 * row.get(schema.LOD, float("nan"))
    return cells | {
        "counts": _cell(schema.LINE_INTENSITY, row),
        "SNR": _cell(schema.SNR, row),
        COLUMNS[schema.LOD][0]: rounded(lod, lod)[0] if lod > 0 else "",
    }


def _candidate_cells(row: Row) -> tuple[str, ...]:
    from edxdask.report.labels import pretty_line

    return (
        ", ".join(str(row[key]) for key in ("map", "name") if key in row),
        pretty_line(str(row[schema.CANDIDATE_LINE])),
        *(_cell(name, row) for name in (schema.LINE_ENERGY, schema.SIGNIFICANCE, schema.EXPLAINED)),
        "listed" if row[schema.KNOWN] else "",
        str(row[schema.FAMILIES]),
        str(row[schema.ALTERNATIVES]),
    )


def _cell(name: str, row: Row) -> str:
    value = row.get(name)
    if value is None:
        return ""
    _, factor, form = COLUMNS.get(name, ("", 1, ".4g" if isinstance(value, float) else ""))
    return f"{factor * value:{form}}" if isinstance(value, int | float) and form else str(value)


def write_table(rows: Sequence[Row], path: Path, suffix: str, *, overwrite: bool) -> Path:
    """Write rows as csv or json under the names of the schema, or as txt, lines for people."""
    from edxdask.io.export.target import writing

    with writing(path, overwrite=overwrite) as partial:
        partial.write_text(_written(rows, suffix), encoding="utf-8")
    return path


def _written(rows: Sequence[Row], suffix: str) -> str:
    if suffix == "json":
        return json.dumps(rows, indent=2, ensure_ascii=False) + "\n"
    if suffix == "csv":
        text = io.StringIO()
        names = list(dict.fromkeys(name for row in rows for name in row))
        writer = csv.DictWriter(text, names)
        writer.writeheader()
        writer.writerows(rows)
        return text.getvalue()
    heads, cells = text_cells(rows)
    lines = [tuple(heads), *cells]
    widths = [max(len(row[i]) for row in lines) for i in range(len(heads))]
    padded = ("  ".join(c.rjust(w) for c, w in zip(row, widths, strict=True)) for row in lines)
    return "\n".join(line.rstrip() for line in padded) + "\n"
