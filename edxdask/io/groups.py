"""Groups of a store that is being written: their marks, attributes, small variables, joint metadata."""

from __future__ import annotations

import json
import math
import shutil
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

import dask
import xarray as xr
import zarr

from edxdask.io.manifest import codecs
from edxdask.schema import (
    COMPLETE,
    EDXDASK_VERSION,
    FORMAT_KEY,
    FORMAT_NAME,
    SCHEMA_VERSION,
    SCHEMA_VERSION_KEY,
    as_json,
)

_THREADS = 2


def begin_group(store: Path, name: str) -> None:
    """Make the group of a map, marked as ours and as incomplete."""
    root = zarr.open_group(store, mode="a", zarr_format=3)
    marks: dict[str, Any] = {FORMAT_KEY: FORMAT_NAME, SCHEMA_VERSION_KEY: SCHEMA_VERSION, COMPLETE: False}
    for group in [root, root.require_group(name)] if name else [root]:
        if not group.attrs.get(FORMAT_KEY):
            group.attrs.put(marks)


def plain_attrs(attrs: Any) -> dict[str, Any]:
    """Attributes as JSON holds them; what is not a number (NaN, inf) is unknown and left out."""
    plain = json.loads(as_json({str(k): v for k, v in attrs.items()}))
    return {k: v for k, v in plain.items() if not (isinstance(v, float) and not math.isfinite(v))}


def finish_group(folder: Path, attrs: Any) -> None:
    """Write the final attributes of a group, ``complete`` with them, and consolidate its metadata."""
    marks: dict[str, Any] = {
        FORMAT_KEY: FORMAT_NAME,
        SCHEMA_VERSION_KEY: SCHEMA_VERSION,
        EDXDASK_VERSION: version("edxdask"),
        COMPLETE: True,
    }
    group = zarr.open_group(folder, mode="r+", use_consolidated=False)
    group.attrs.put({**plain_attrs(attrs), **marks})
    with warnings.catch_warnings():
        # zarr warns that other Zarr libraries may ignore it; they then read the metadata one by one
        warnings.filterwarnings("ignore", message="Consolidated metadata is currently not part")
        zarr.consolidate_metadata(folder)


def write_rest(folder: Path, rest: xr.Dataset, *, keep: str | None = None) -> None:
    """Write the variables of ``rest`` into a group, replacing everything there except the array ``keep``."""
    for path in folder.iterdir():
        if path.is_dir() and path.name != keep and (path / "zarr.json").exists() and _is_array(path):
            shutil.rmtree(path)
    plain = xr.Dataset(
        {n: _storable(v) for n, v in rest.data_vars.items()},
        coords={n: _storable(v) for n, v in rest.coords.items()},
    )
    encoding: dict[Any, Any] = {n: {"compressors": codecs()} for n in plain.variables}
    with dask.config.set(scheduler="threads", num_workers=_THREADS):
        plain.to_zarr(
            folder,
            mode="a",
            consolidated=False,
            zarr_format=3,
            encoding=encoding,
            write_empty_chunks=True,  # then a chunk that is missing is damage
        )


def _is_array(path: Path) -> bool:
    return json.loads((path / "zarr.json").read_text(encoding="utf-8")).get("node_type") == "array"


def _storable(array: xr.DataArray) -> xr.Variable:
    """Variable without the encoding of an earlier read, in even chunks, text as the Zarr type string."""
    variable = array.variable.copy(deep=False)
    variable.encoding = {}
    variable.attrs = plain_attrs(variable.attrs)
    if variable.dtype.kind == "U":
        variable = xr.Variable(variable.dims, variable.values.astype(object), variable.attrs)
    if variable.chunks is not None:
        variable = variable.chunk({d: max(c) for d, c in zip(variable.dims, variable.chunks, strict=True)})
    return variable
