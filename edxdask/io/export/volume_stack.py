"""Volumes on one grid, as file formats need them: names, voxel size, and pieces in the order of reading."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import xarray as xr

from edxdask import schema
from edxdask.errors import ParameterError
from edxdask.progress import Progress, ProgressHook
from edxdask.results.check import check_labels
from edxdask.results.volumes import VOXELS
from edxdask.results.voxels import VoxelGrid, layer_axis, pieces_of, voxel_grid

WHOLE_LAYER_VOXELS = 1 << 26  # of a piece: 256 MB


@dataclass(frozen=True, eq=False)
class VolumeStack:
    """Volumes on one grid, lazy.

    Attributes
    ----------
    names : tuple of str
        One per volume.
    array : DataArray
        Values (volume, z, y, x).
    grid : VoxelGrid
        Voxels along z, y and x.
    title : str
        What they are called together; "" where nothing is known.
    """

    names: tuple[str, ...]
    array: xr.DataArray
    grid: VoxelGrid
    title: str = ""

    @property
    def axis(self) -> int:
        """Axis of z, y, x along which pieces follow one another."""
        return layer_axis([self.array[0]])

    def pieces(
        self, number: int, label: str, progress: ProgressHook | None
    ) -> Iterator[tuple[tuple[slice, slice, slice], np.ndarray]]:
        """Yield where a piece of one volume lies, and its values as float32, each chunk read once."""
        one, axis = self.array[number], self.axis
        for first, (values,) in pieces_of([one], axis, most=WHOLE_LAYER_VOXELS):
            place = [slice(None)] * 3
            place[axis] = slice(first, first + len(values))
            yield tuple(place), np.moveaxis(values, 0, axis).astype(np.float32)  # type: ignore[misc]
            if progress is not None:
                done = number * one.size + (first + len(values)) * (one.size // one.shape[axis])
                progress(Progress(label, done, self.array.size, "voxels"))


def stack_of(data: xr.Dataset | xr.DataArray) -> VolumeStack:
    """Gather the phases of a volume, or the volumes of an array (any, z, y, x) or (z, y, x).

    Raises
    ------
    ParameterError
        If it has other dimensions.

    Examples
    --------
    >>> one = xr.DataArray(np.zeros((2, 3, 4)), dims=("z", "y", "x"), name="Mg")
    >>> stack_of(one).names, stack_of(one).grid.unit
    (('Mg',), 'px')
    """
    array = data[schema.VOLUME] if isinstance(data, xr.Dataset) else data
    rest = [str(d) for d in array.dims if d not in VOXELS]
    if not set(VOXELS) <= set(map(str, array.dims)) or len(rest) > 1:
        raise ParameterError("data", dict(array.sizes), "volumes over z, y and x")
    if rest:
        stack = array.transpose(rest[0], *VOXELS)
        labels = stack[rest[0]].values if rest[0] in stack.coords else np.arange(stack.shape[0])
    else:
        stack = array.transpose(*VOXELS).expand_dims("volume")
        labels = np.array([str(array.name or "volume")])
    names = tuple(str(label) for label in labels)
    check_labels(names, name="data")
    grid = voxel_grid(stack.to_dataset(name=schema.VOLUME))
    return VolumeStack(names, stack, grid, str(data.attrs.get(schema.TITLE, "")))
