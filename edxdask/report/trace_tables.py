"""Tables of traces, verdicts on maps, and profiles: rows for programs, cells for people."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import xarray as xr

from edxdask import schema
from edxdask.readable import rounded

Row = dict[str, Any]
STD = schema.STD_SUFFIX
PER_ELEMENT = (
    schema.ATOMIC_PPM,
    schema.ATOMIC_PPM + STD,
    schema.TRACE_SIGNIFICANCE,
    schema.TRACE_SNR,
    schema.TRACE_LOD,
    schema.MEASURE_LONGER,
)
PER_MAP = (
    schema.MAP_BELONGS,
    schema.MAP_T1,
    schema.MAP_SIGMA,
    schema.MAP_FRACTION,
    schema.MAP_T2,
    schema.MAP_EXCESS,
    schema.MAP_REASON,
)
VERDICT_HEADS = ("", "belongs", "T1", "σ", "of", "T2", "excess per photon", "why not")
PIXELS, BELONGS = "pixels", "belongs"
SEEN = 3.0  # sigma
ROUND = 10.0  # ppm, from which a limit is a whole number
HEADS = ("", "element", "line", "ppm", "±", "σ", "SNR", "LOD ppm", "photons for 3 σ, times", "pixels", "")


def trace_rows(found: xr.Dataset) -> list[Row]:
    """One row for each map, and for all together, and each element."""
    rows = []
    for i, name in enumerate(found[schema.MAP].values):
        for j, element in enumerate(found[schema.ELEMENT].values):
            row: Row = {
                "map": str(name),
                "element": str(element),
                "line": str(found[schema.TRACE_LINE].values[j]),
                **{key: float(found[key].values[i, j]) for key in PER_ELEMENT},
                PIXELS: int(found[schema.TRACE_PIXELS].values[i]),
                BELONGS: bool(found[schema.MAP_BELONGS].values[i]),
            }
            rows.append(row)
    return rows


def trace_cells(row: Row) -> tuple[str, ...]:
    """Cells of a row, in the order of ``HEADS``; amounts are rounded by their errors."""
    ppm, error = rounded(row[schema.ATOMIC_PPM], row[schema.ATOMIC_PPM + STD])
    lod, longer = row[schema.TRACE_LOD], row[schema.MEASURE_LONGER]
    return (
        str(row["map"]),
        str(row["element"]),
        str(row["line"]),
        ppm,
        error,
        _number(row[schema.TRACE_SIGNIFICANCE], ".1f"),
        _number(row[schema.TRACE_SNR], ".1f"),
        _number(lod, ".0f" if lod >= ROUND else ".2g"),
        "" if row[schema.TRACE_SIGNIFICANCE] >= SEEN else _number(longer, ".2g"),
        str(row[PIXELS]),
        "" if row[BELONGS] else "does not belong",
    )


def _number(value: float, form: str) -> str:
    return f"{value:{form}}" if math.isfinite(value) else ""


def verdict_rows(found: xr.Dataset) -> list[Row]:
    """One row for each map."""
    columns = zip(*(found[key].values.tolist() for key in PER_MAP), strict=True)
    names = found[schema.MAP].values
    return [
        {"map": str(name), **dict(zip(PER_MAP, values, strict=True))}
        for name, values in zip(names, columns, strict=True)
    ]


def verdict_cells(row: Row) -> tuple[str, ...]:
    """Cells of a row, in the order of ``VERDICT_HEADS``."""
    return (
        str(row["map"]),
        "yes" if row[schema.MAP_BELONGS] else "no",
        _number(row[schema.MAP_T1], ".3g"),
        _number(row[schema.MAP_SIGMA], ".2g"),
        str(row[schema.MAP_FRACTION]),
        _number(row[schema.MAP_T2], ".4g"),
        _number(row[schema.MAP_EXCESS], ".1e"),
        str(row[schema.MAP_REASON]),
    )


def profile_rows(found: xr.Dataset) -> list[Row]:
    """One row for each distance and element."""
    name = schema.PROFILE_COMPOSITION
    rows = []
    for i, at in enumerate(found[schema.DISTANCE].values):
        for j, element in enumerate(found[schema.ELEMENT].values):
            values = {key: float(found[key].values[i, j]) for key in (name, name + STD)}
            pixels = int(np.rint(found[schema.PROFILE_PIXELS].values[i]))
            rows.append({schema.DISTANCE: float(at), "element": str(element), **values, PIXELS: pixels})
    return rows
