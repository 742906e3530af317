"""Voxels of a volume in the order they are read: layers along one axis, each chunk once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import dask.array as da
import numpy as np
import xarray as xr

from edxdask import schema
from edxdask.errors import SchemaError
from edxdask.results.volumes import VOXELS

PIECE_VOXELS = 1 << 22  # that are worked on at a time, beside one layer of chunks


@dataclass(frozen=True)
class VoxelGrid:
    """Size of a volume and of its voxels.

    Attributes
    ----------
    shape : tuple of int
        Voxels along z, y and x.
    sides : tuple of float
        Lengths of a voxel along z, y and x.
    unit : str
        "nm", or "px" without calibration.
    origin : tuple of float
        Coordinates of the middle of the first voxel.
    """

    shape: tuple[int, int, int]
    sides: tuple[float, float, float]
    unit: str
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)

    @property
    def voxel(self) -> float:
        """Volume of a voxel in the cube of the unit."""
        return self.sides[0] * self.sides[1] * self.sides[2]


def voxel_grid(volume: xr.Dataset) -> VoxelGrid:
    """Size of a volume and of its voxels; a voxel counts in pixels unless all sides are in nm.

    Raises
    ------
    SchemaError
        If a coordinate does not rise in equal steps.

    Examples
    --------
    >>> flat = xr.Dataset(coords={d: (d, [0.0, 2.0], {"units": "nm"}) for d in ("z", "y", "x")})
    >>> voxel_grid(flat).voxel
    8.0
    """
    sides = [_side(volume, dim) for dim in VOXELS]
    nz, ny, nx = (volume.sizes[dim] for dim in VOXELS)
    units = {volume[dim].attrs.get("units") if dim in volume.coords else None for dim in VOXELS}
    if sides[0] is None and nz == 1 and sides[1] == sides[2]:
        sides[0] = sides[1]  # one layer is as thick as its pixels are wide
    dz, dy, dx = sides
    if units != {"nm"} or dz is None or dy is None or dx is None:
        return VoxelGrid((nz, ny, nx), (1.0, 1.0, 1.0), schema.PIXEL_UNIT)
    z0, y0, x0 = (float(volume[dim].values[0]) for dim in VOXELS)
    return VoxelGrid((nz, ny, nx), (dz, dy, dx), "nm", (z0, y0, x0))


def _side(volume: xr.Dataset, dim: str) -> float | None:
    """Length of a voxel along one axis; None where there is only one, or no coordinate."""
    if dim not in volume.coords or volume.sizes[dim] < 2:
        return None
    steps = np.diff(np.asarray(volume[dim].values, dtype=np.float64))
    side = float(steps.mean())
    if not side > 0 or not np.allclose(steps, side, rtol=1e-3, atol=0):
        raise SchemaError(f"the {dim!r} axis of the volume must rise in equal steps; it has {steps[:3]}")
    return side


def layer_axis(arrays: Sequence[xr.DataArray]) -> int:
    """Axis along which one layer of whole chunks has the fewest voxels; 0 where there are no chunks.

    Examples
    --------
    >>> lazy = xr.DataArray(da.zeros((64, 64, 64), chunks=(64, 8, 64)), dims=("z", "y", "x"))
    >>> layer_axis([lazy]), layer_axis([lazy.compute()])
    (1, 0)
    """
    shape = arrays[0].shape
    thick = [max(_thickest(array, axis) for array in arrays) / shape[axis] for axis in range(len(shape))]
    return int(np.argmin(thick))


def _thickest(array: xr.DataArray, axis: int) -> int:
    if array.chunks is None:  # any layer may be taken
        return 1
    return max(array.chunks[axis])


def pieces_of(
    arrays: Sequence[xr.DataArray], axis: int, *, most: int = PIECE_VOXELS
) -> Iterator[tuple[int, list[np.ndarray]]]:
    """Yield pieces of arrays of one shape along ``axis``: the first layer, and values with that axis first.

    Notes
    -----
    *Chunks*: any. One layer of the chunks of all arrays is in memory at a time, and each chunk is read once
    where all have the same chunks; a piece is a part of it with at most ``most`` voxels.
    """
    size = arrays[0].shape[axis]
    across = arrays[0].size // size
    thick = max(1, most // across)
    chunked = [array.chunks[axis] for array in arrays if array.chunks is not None]
    lengths = max(chunked, key=max) if chunked else (min(thick, size),) * -(-size // thick)
    start = 0
    for length in lengths:
        stop = min(start + length, size)
        layer = _computed([array.isel({array.dims[axis]: slice(start, stop)}) for array in arrays])
        for first in range(0, stop - start, thick):
            yield start + first, [np.moveaxis(one, axis, 0)[first : first + thick] for one in layer]
        start = stop


def _computed(parts: Sequence[xr.DataArray]) -> list[np.ndarray]:
    lazy = [part.data for part in parts]
    return [np.asarray(one) for one in da.compute(*lazy)]
