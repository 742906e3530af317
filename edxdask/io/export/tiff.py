"""Maps as TIFF with a scale that ImageJ and Fiji read in nm; several maps become one stack with labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from edxdask.io.export.target import axis_of, require_dims, writing


def write(maps: xr.DataArray, path: Path, *, overwrite: bool) -> None:
    """Write a map ``(y, x)`` or a stack ``(any, y, x)``: whole numbers to 65535 as uint16, else float32."""
    import tifffile

    require_dims(maps, (2, 3), "one map (y, x) or one stack of maps", ".tiff")
    rows, columns = (axis_of(maps, str(dim)) for dim in maps.dims[-2:])
    metadata: dict[str, Any] = {"axes": "YX" if maps.ndim == 2 else "ZYX", "unit": columns.unit}
    if maps.ndim == 3:
        labels = maps.coords.get(maps.dims[0])
        metadata["Labels"] = [str(v) for v in (range(maps.shape[0]) if labels is None else labels.values)]
    resolution = (1.0 / (columns.scale or 1.0), 1.0 / (rows.scale or 1.0))
    with writing(path, overwrite=overwrite) as partial:
        tifffile.imwrite(
            partial,
            _storable(maps.values),
            imagej=True,
            resolution=resolution,
            resolutionunit="NONE",
            metadata=metadata,
        )


def _storable(values: np.ndarray) -> np.ndarray:
    """ImageJ knows uint8, uint16 and float32."""
    whole = values.dtype.kind in "ub" or (values.dtype.kind == "i" and values.min(initial=0) >= 0)
    return values.astype(np.uint16 if whole and values.max(initial=0) <= 0xFFFF else np.float32)
