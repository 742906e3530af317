"""A volume small enough to be drawn: means of blocks of voxels, read layer by layer."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import xarray as xr

from edxdask import schema
from edxdask.progress import Progress, ProgressHook
from edxdask.results.volumes import VOXELS, check_volume, is_fraction
from edxdask.results.voxels import VoxelGrid, layer_axis, pieces_of, voxel_grid

SIDE = 128  # voxels along the longest side, at most
BRIGHTEST = 99.5  # percentile of the voxels with photons of a phase that counts as full
LABEL = "reading the volume"


@dataclass(frozen=True, eq=False)
class VolumeOverview:
    """A reduced volume.

    Attributes
    ----------
    values : ndarray
        Fractions (phase, z, y, x); photons over those of full voxels.
    full : ndarray
        What counts as full, by phase: 1 for fractions.
    labels : tuple of str
        Of the phases.
    grid : VoxelGrid
        Its voxels.
    step : int
        Voxels of the volume along each side of one of these.
    """

    values: np.ndarray
    full: np.ndarray
    labels: tuple[str, ...]
    grid: VoxelGrid
    step: int

    def richest(self, shape: tuple[int, ...]) -> tuple[int, int, int]:
        """Find the layers of the volume of this shape that hold most, where every phase counts alike.

        Examples
        --------
        >>> values = np.zeros((2, 3, 3, 3))
        >>> values[0, 1], values[1, 2, 2, 2] = 1.0, 1.0
        >>> grid = VoxelGrid((3, 3, 3), (1.0, 1.0, 1.0), "px")
        >>> VolumeOverview(values, np.ones(2), ("a", "b"), grid, 1).richest((3, 3, 3))
        (1, 2, 2)
        """
        found = []
        for axis in range(3):
            others = tuple(a for a in (1, 2, 3) if a != axis + 1)
            profiles = self.values.sum(axis=others)
            whole = profiles.sum(axis=1, keepdims=True)
            profile = np.divide(profiles, whole, out=np.zeros_like(profiles), where=whole > 0).sum(axis=0)
            most = np.flatnonzero(profile >= 0.999 * profile.max())
            middle = (len(profile) - 1) / 2
            layer = most[np.argmin(np.abs(most - middle))]
            found.append(min(int(layer * self.step + self.step // 2), shape[axis] - 1))
        return found[0], found[1], found[2]


def overview_of(
    volume: xr.Dataset, *, side: int = SIDE, progress: ProgressHook | None = None
) -> VolumeOverview:
    """Reduce a volume to ``side`` voxels along its longest side.

    Parameters
    ----------
    volume : Dataset
        What ``tomography`` gave.
    side : int
        Voxels along the longest side, at most.
    progress : callable, optional
        Called after each phase.

    Notes
    -----
    *Chunks*: any; each is read once, one layer of them is in memory.
    """
    check_volume(volume)
    grid, array = voxel_grid(volume), volume[schema.VOLUME]
    step = math.ceil(max(grid.shape) / side)
    labels = tuple(str(label) for label in volume[schema.PHASE].values)
    values = np.empty((len(labels), *(-(-n // step) for n in grid.shape)), np.float32)
    for number in range(len(labels)):
        values[number] = _reduced(array[number], step)
        if progress is not None:
            progress(Progress(LABEL, number + 1, len(labels), "phases"))
    full = np.ones(len(labels))
    if not is_fraction(volume):
        for number, one in enumerate(values):
            inside = one[one > 0.05 * one.max()] if one.max() > 0 else np.ones(1)
            full[number] = float(np.percentile(inside, BRIGHTEST))
        values /= full[:, None, None, None].astype(np.float32)
    coarse = VoxelGrid(
        tuple(values.shape[1:]),  # type: ignore[arg-type]
        tuple(side * step for side in grid.sides),  # type: ignore[arg-type]
        grid.unit,
        grid.origin,
    )
    return VolumeOverview(values, full, labels, coarse, step)


def plane_of(volume: xr.Dataset, dim: str, layer: int) -> xr.DataArray:
    """Read one layer of all phases: (phase, …), the two other dimensions in the order z, y, x."""
    rest = [d for d in VOXELS if d != dim]
    plane = volume[schema.VOLUME].isel({dim: layer}).transpose(schema.PHASE, *rest)
    return plane.astype(np.float32).compute()


def _reduced(one: xr.DataArray, step: int) -> np.ndarray:
    """Means of ``step`` voxels along each axis; at the ends of as many as there are."""
    if step == 1:
        return np.asarray(one.values, dtype=np.float32)
    axis = layer_axis([one])
    others = [n for a, n in enumerate(one.shape) if a != axis]
    sums = np.zeros((-(-one.shape[axis] // step), *(-(-n // step) for n in others)))
    for first, (values,) in pieces_of([one], axis):
        across = _summed(_summed(values.astype(np.float64), step, 1), step, 2)
        np.add.at(sums, (first + np.arange(len(values))) // step, across)
    counts = [np.minimum(step, n - step * np.arange(-(-n // step))) for n in (one.shape[axis], *others)]
    sums /= counts[0][:, None, None] * counts[1][None, :, None] * counts[2][None, None, :]
    return np.moveaxis(sums, 0, axis).astype(np.float32)


def _summed(values: np.ndarray, step: int, axis: int) -> np.ndarray:
    return np.add.reduceat(values, np.arange(0, values.shape[axis], step), axis=axis)
