"""Spectra and maps as comma-separated tables that spreadsheets open."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import xarray as xr

from edxdask.io.export.target import axis_of, require_dims, writing
from edxdask.schema import ENERGY


def write(array: xr.DataArray, path: Path, *, overwrite: bool) -> None:
    """Write spectra as columns beside the energy, or a map as rows and columns with their positions."""
    require_dims(array, (1, 2), "spectra or one map", ".csv")
    lines = _spectra(array) if ENERGY in array.dims else _map(array)
    with writing(path, overwrite=overwrite) as partial, partial.open("w", encoding="utf-8") as file:
        file.writelines(",".join(cells) + "\n" for cells in lines)


def _spectra(array: xr.DataArray) -> Iterable[list[str]]:
    energy = axis_of(array, ENERGY)
    table = array.transpose(ENERGY, ...)
    if table.ndim == 1:
        names = [str(array.name or "counts")]
    else:
        dim = str(table.dims[1])
        labels = array.coords.get(dim)
        names = (
            [f"{dim}_{i}" for i in range(table.shape[1])]
            if labels is None
            else [str(v) for v in labels.values]
        )
    yield ["energy (keV)", *map(_quoted, names)]
    for position, row in zip(energy.values, table.values.reshape(energy.values.size, -1), strict=True):
        yield [f"{position:.10g}", *map(_number, row)]


def _map(array: xr.DataArray) -> Iterable[list[str]]:
    require_dims(array, (2,), "spectra or one map", ".csv")
    rows, columns = (axis_of(array, str(dim)) for dim in array.dims)
    yield [
        f"{rows.name} ({rows.unit}) \\ {columns.name} ({columns.unit})",
        *(f"{v:.10g}" for v in columns.values),
    ]
    for position, row in zip(rows.values, array.values, strict=True):
        yield [f"{position:.10g}", *map(_number, row)]


def _number(value: np.generic) -> str:
    return str(int(value)) if value.dtype.kind in "iub" else repr(float(value))


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"' if any(c in name for c in ',"\n') else name
