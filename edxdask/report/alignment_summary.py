"""What an alignment of a tilt series found, in figures for programs and rows of text for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import xarray as xr

from edxdask import schema

MOVES = (schema.TILT_SHIFT_Y, schema.TILT_SHIFT_X, schema.TILT_ROTATION)
OF_ALL = (schema.TILT_AXIS, schema.ALIGNED_ON, schema.ALIGNED_BY, schema.FIELD_CUTS)


def alignment_figures(found: xr.Dataset) -> dict[str, Any]:
    """Give moves of all tilts, with their errors, ready for JSON.

    Examples
    --------
    >>> moves = {name: ("tilt", [0.1, -0.2, 0.3]) for name in ("tilt_shift_y", "tilt_shift_x")}
    >>> alignment_figures(xr.Dataset(moves, {"tilt": [-10.0, 0.0, 10.0]}))["tilt_shift_x"]
    [0.1, -0.2, 0.3]
    """
    names = [name for move in MOVES for name in (move, move + schema.STD_SUFFIX)] + [schema.TILT_MISFIT]
    values = {name: found[name].values.astype(float).tolist() for name in names if name in found}
    said = {name: found.attrs[name] for name in OF_ALL if name in found.attrs}
    return {"tilts": found[schema.TILT].values.astype(float).tolist(), **values, **said}


def alignment_rows(figures: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Head and rows of a table of the tilts.

    Examples
    --------
    >>> moves = {"tilts": [0.0], "tilt_shift_y": [1.0], "tilt_shift_y_std": [0.04], "tilt_shift_x": [-2.0]}
    >>> alignment_rows(moves)
    (['tilt, °', 'y, px', 'x, px'], [['0', '1.00 ± 0.04', '-2.00']])
    """
    shifts = MOVES[:2]
    rows = []
    for i, tilt in enumerate(figures["tilts"]):
        cells = [f"{tilt:.4g}"]
        for name in shifts:
            error = figures.get(name + schema.STD_SUFFIX)
            cells.append(f"{figures[name][i]:.2f}" + (f" ± {error[i]:.2f}" if error else ""))
        rows.append(cells)
    return ["tilt, °", "y, px", "x, px"], rows


def alignment_lines(figures: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Rows of text, name and value, of what holds for all tilts.

    Examples
    --------
    >>> alignment_lines({"tilt_axis": "y", "tilt_rotation": [0.8], "tilt_rotation_std": [0.1]})
    [('tilt axis', 'near y, turned by 0.80° ± 0.10°')]
    """
    turned = ""
    if schema.TILT_ROTATION in figures:
        error = figures.get(schema.TILT_ROTATION + schema.STD_SUFFIX)
        turned = f", turned by {figures[schema.TILT_ROTATION][0]:.2f}°" + (
            f" ± {error[0]:.2f}°" if error else ""
        )
    rows = [("tilt axis", f"near {figures[schema.TILT_AXIS]}{turned}")]
    if figures.get(schema.ALIGNED_ON):
        rows.append(("aligned on", str(figures[schema.ALIGNED_ON])))
    if figures.get(schema.FIELD_CUTS):
        rows.append(("field", f"cuts the object along {' and '.join(figures[schema.FIELD_CUTS])}"))
    return rows
