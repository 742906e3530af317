"""Write cubes, spectra and maps in the formats of other programs; one file per format."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import xarray as xr

from edxdask.errors import ParameterError
from edxdask.progress import ProgressHook, ProgressOption, shown
from edxdask.schema import COUNTS, ENERGY, validate_cube

__all__ = ["CUBE_FORMATS", "FORMATS", "MAP_FORMATS", "SPECTRUM_FORMATS", "export", "format_of"]

CUBE_FORMATS = ("hspy", "rpl")
SPECTRUM_FORMATS = ("msa", "csv")
MAP_FORMATS = ("tiff", "csv")
FORMATS = ("hspy", "rpl", "msa", "tiff", "csv")
_ALIASES = {"tif": "tiff", "raw": "rpl", "emsa": "msa"}


def export(
    data: xr.Dataset | xr.DataArray,
    path: str | Path,
    *,
    format: str | None = None,
    attrs: Mapping[Any, Any] | None = None,
    overwrite: bool = False,
    progress: ProgressOption = None,
) -> Path:
    """Write ``data`` to ``path`` in the format its suffix names, whole or not at all.

    Parameters
    ----------
    data : a cube (.hspy, .rpl), a spectrum ``(energy)`` (.msa, .csv), spectra ``(any, energy)`` (.csv),
        a map ``(y, x)`` (.tiff, .csv) or a stack of maps ``(any, y, x)`` (.tiff)
    path : target; HyperSpy's ``.hspy`` where it has no suffix
    format : one of ``FORMATS`` where the suffix does not say it
    attrs : attributes of the schema for the header of a spectrum, default those of ``data``
    overwrite : replace an existing file
    progress : a bar in a terminal and in a notebook, unless False; a function is called after every block

    Returns
    -------
    pathlib.Path
        The file written.

    Notes
    -----
    *Chunks*: a cube is read chunk by chunk, each once, one in memory at a time.

    Examples
    --------
    >>> import numpy as np, tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> export(xr.DataArray(np.eye(2), dims=("y", "x")), folder / "map.csv").read_text().splitlines()[1]
    '0,1.0,0.0'
    """
    target = Path(path)
    name = format_of(target, format)
    if not target.suffix and format is None:
        target = target.with_suffix(".hspy")
    if name == "rpl":
        target = target.with_suffix(".rpl")
    kind = _kind(data)
    allowed = {"cube": CUBE_FORMATS, "spectrum": SPECTRUM_FORMATS, "map": MAP_FORMATS}[kind]
    if name not in allowed:
        raise ParameterError(
            "path", str(path), f"one of {', '.join('.' + f for f in allowed)} for a {kind}", _hint(kind)
        )
    with shown(progress, f"export {target.name}") as hook:
        _write(data, target, name, attrs, overwrite=overwrite, progress=hook)
    return target


def format_of(path: Path, format: str | None = None) -> str:
    """Format by name or by suffix.

    Examples
    --------
    >>> format_of(Path("map.tif")), format_of(Path("cube")), format_of(Path("x.dat"), "csv")
    ('tiff', 'hspy', 'csv')
    """
    asked = (format or path.suffix or "hspy").lower().removeprefix(".")
    name = _ALIASES.get(asked, asked)
    if name not in FORMATS:
        where, value = ("format", format) if format else ("path", str(path))
        raise ParameterError(where, value, "a file ending in " + ", ".join("." + f for f in FORMATS))
    return name


def _kind(data: xr.Dataset | xr.DataArray) -> str:
    if isinstance(data, xr.DataArray) and data.name != COUNTS:
        return "spectrum" if ENERGY in data.dims else "map"
    validate_cube(data, name="data")
    return "cube"


def _hint(kind: str) -> str:
    if kind == "cube":
        return "Make a spectrum or a map of it first: ds.edx.sum_spectrum(), ds.edx.line_map('Mg_Ka')."
    return "Whole cubes go to .hspy and .rpl."


def _write(
    data: Any,
    path: Path,
    name: str,
    attrs: Mapping[Any, Any] | None,
    *,
    overwrite: bool,
    progress: ProgressHook | None,
) -> None:
    """One writer per format, imported when needed: h5py, tifffile and rosettasciio load slowly."""
    from edxdask.io.export import hspy, msa, ripple, table, tiff

    if name == "hspy":
        hspy.write(data, path, overwrite=overwrite, progress=progress)
    elif name == "rpl":
        ripple.write(data, path, overwrite=overwrite, progress=progress)
    elif name == "msa":
        msa.write(data, path, overwrite=overwrite, attrs=data.attrs if attrs is None else attrs)
    elif name == "tiff":
        tiff.write(data, path, overwrite=overwrite)
    else:
        table.write(data, path, overwrite=overwrite)
