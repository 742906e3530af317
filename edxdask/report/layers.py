"""The images of a map, a result or a mosaic, as files of layers with levels of half size."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xarray as xr

from edxdask import schema
from edxdask.errors import ParameterError
from edxdask.ops import total_map
from edxdask.progress import ProgressOption, shown
from edxdask.results.check import labels_of
from edxdask.results.kinds import Kind, kind_of

OME_TIFF, OME_ZARR = PYRAMIDS = ("ome.tiff", "ome.zarr")
_PIXELS = (schema.Y, schema.X)


def over_exposure(counts: xr.DataArray, cube: xr.Dataset) -> xr.DataArray:
    """Give counts of a mosaic per exposure, so that overlaps are not brighter; others as they are.

    Examples
    --------
    >>> one = xr.Dataset({"exposure": (("y", "x"), [[1.0, 2.0, 0.0]]), "tile_position": ("tile", [0.0])})
    >>> over_exposure(xr.DataArray([[5, 10, 0]], dims=("y", "x"), name="total"), one).values.tolist()
    [[5.0, 5.0, nan]]
    """
    if schema.EXPOSURE not in cube or schema.TILE_POSITION not in cube:
        return counts
    exposure = cube[schema.EXPOSURE]
    return (counts / exposure.where(exposure > 0)).rename(counts.name).assign_attrs(counts.attrs)


def images_of(data: xr.Dataset | xr.DataArray) -> list[xr.DataArray]:
    """Give all images of a map that lie on its pixels, lazy and named.

    Of a cube its photons (of a mosaic, over exposure) and scanned images; of a result its phases and their
    photons; of an array itself, or its maps one by one.

    Examples
    --------
    >>> import edxdask
    >>> [image.name for image in images_of(edxdask.simulate(shape=(4, 4), counts=20))]
    ['total', 'truth_total']
    """
    if isinstance(data, xr.DataArray):
        return _of_array(data)
    images = []
    if kind_of(data) is Kind.CUBE:
        images.append(over_exposure(total_map(data), data))
    for name in (schema.ABUNDANCE, schema.SCORE):
        if name in data:
            dim = next(str(d) for d in data[name].dims if d not in _PIXELS)
            parts = data[name].transpose(dim, *_PIXELS)
            images += [parts[i].rename(label) for i, label in enumerate(labels_of(data))]
    images += [array for array in data.data_vars.values() if array.dims == _PIXELS]
    kept = [image for image in images if image.dims == _PIXELS and image.dtype.kind in "buif"]
    if not kept:
        raise ParameterError("data", dict(data.sizes), "images over y and x")
    return kept


def _of_array(array: xr.DataArray) -> list[xr.DataArray]:
    if array.ndim == 2:
        return [array]
    if array.ndim != 3:
        raise ParameterError("data", dict(array.sizes), "one map (y, x) or one stack of maps")
    dim = str(array.dims[0])
    labels = array[dim].values if dim in array.coords else np.arange(array.shape[0])
    return [array[i].rename(str(label)) for i, label in enumerate(labels)]


def write_layers(
    images: Sequence[xr.DataArray], path: Path, suffix: str, *, overwrite: bool, progress: ProgressOption
) -> Path:
    """Write images of one grid as OME-TIFF or OME-Zarr, strip by strip."""
    from edxdask.io.export import ome_tiff, ome_zarr  # tifffile loads when needed
    from edxdask.io.export.pyramid import layers_of

    write = ome_tiff.write if suffix == OME_TIFF else ome_zarr.write
    with shown(progress, f"export {path.name}") as hook:
        write(layers_of(images), path, overwrite=overwrite, progress=hook)
    return path
