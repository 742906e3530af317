"""Volumes to files for other programs: MRC, OME-TIFF, OME-Zarr."""

from __future__ import annotations

import json
from pathlib import Path

import xarray as xr

from edxdask.progress import ProgressOption, shown
from edxdask.report.phase_colors import phase_colors
from edxdask.report.tables import write_table
from edxdask.results.volume_statistics import volume_statistics
from edxdask.results.volumes import VOXELS, check_volume

MRC, OME_TIFF, OME_ZARR = VOLUME_FORMATS = ("mrc", "ome.tiff", "ome.zarr")


def has_voxels(array: xr.DataArray) -> bool:
    """Whether an array lies on the voxels of a volume."""
    return set(VOXELS) <= set(map(str, array.dims))


def write_volume(
    data: xr.Dataset | xr.DataArray,
    paths: list[Path],
    suffix: str,
    *,
    overwrite: bool,
    progress: ProgressOption,
) -> list[Path]:
    """Write a volume, or an array on its voxels.

    Parameters
    ----------
    data : Dataset or DataArray
        What ``tomography`` or ``atoms_per_voxel`` gave.
    paths : list of Path
        One for each volume in ``.mrc``, else one for all.
    suffix : str
        One of ``VOLUME_FORMATS``.
    overwrite : bool
        Replace what is there.
    progress : callable, bool or None
        As in ``export``.
    """
    from edxdask.io.export import mrc, ome_tiff_volume, ome_zarr_volume  # tifffile loads when needed
    from edxdask.io.export.volume_stack import stack_of

    if isinstance(data, xr.Dataset):
        check_volume(data)
    stack = stack_of(data)
    with shown(progress, f"export {paths[0].name}") as hook:
        if suffix == OME_TIFF:
            ome_tiff_volume.write(stack, paths[0], overwrite=overwrite, progress=hook)
        elif suffix == OME_ZARR:
            colors = list(phase_colors(stack.names).values())
            ome_zarr_volume.write(stack, paths[0], colors=colors, overwrite=overwrite, progress=hook)
        else:
            for number, path in enumerate(paths):
                mrc.write(stack, number, path, overwrite=overwrite, progress=hook)
    return paths


def names_of_volumes(data: xr.Dataset | xr.DataArray) -> tuple[str, ...]:
    """Names of the volumes in ``data``, to be added to those of files where there are several."""
    from edxdask.io.export.volume_stack import stack_of

    names = stack_of(data).names
    return names if len(names) > 1 else ("",)


def write_statistics(
    volume: xr.Dataset, path: Path, suffix: str, *, overwrite: bool, progress: ProgressOption
) -> Path:
    """Write what ``volume_statistics`` finds: particles as csv, all as json, phases as a text for people."""
    from edxdask.io.export.target import refuse_existing, writing

    refuse_existing(path, overwrite=overwrite)
    found = volume_statistics(volume, progress=progress)
    if suffix == "csv":
        return write_table(found.particle_rows(), path, suffix, overwrite=overwrite)
    text = json.dumps(found.to_dict(), indent=2, ensure_ascii=False) if suffix == "json" else repr(found)
    with writing(path, overwrite=overwrite) as partial:
        partial.write_text(text + "\n", encoding="utf-8")
    return path
