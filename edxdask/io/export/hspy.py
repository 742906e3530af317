"""HyperSpy's ``.hspy``: the tree is written by rosettasciio, the counts by us, block by block.

rosettasciio hands a lazy cube to ``dask.array.store``, which holds as many chunks as there are threads and
reports nothing; here one block is in memory, and progress and rename are ours.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import xarray as xr

from edxdask.io.export.decomposition import Decomposition
from edxdask.io.export.disk import guarded
from edxdask.io.export.metadata import RECORD, to_metadata, to_original_metadata
from edxdask.io.export.target import Axis, axis_of, blocks, writing
from edxdask.progress import Progress, ProgressHook
from edxdask.schema import COUNTS, ENERGY

CHUNK_PIXELS = (
    8  # edge of an HDF5 chunk: 8 x 8 spectra of 2048 channels are 256 KiB, good for maps and pixels
)

_TREE_BYTES = 1 << 20  # of a tree without the vendor's metadata: a tenth of this was the most seen


def write(
    cube: xr.Dataset,
    path: Path,
    *,
    overwrite: bool,
    progress: ProgressHook | None,
    decomposition: Decomposition | None = None,
) -> None:
    """Write a cube that HyperSpy opens as ``EDSTEMSpectrum``, lazily or not; ``decomposition`` is of it."""
    counts = cube[COUNTS]
    with writing(path, overwrite=overwrite) as partial:
        name = _write_tree(cube, partial, decomposition)
        with guarded(partial) as disk, h5py.File(disk, "r+") as file:
            group = file[f"Experiments/{name}"]
            del group["data"]
            target = group.create_dataset(
                "data",
                shape=counts.shape,
                dtype=counts.dtype,
                chunks=(*(min(CHUNK_PIXELS, n) for n in counts.shape[:-1]), counts.shape[-1]),
                compression="gzip",  # the only compressor that every HDF5 has
                compression_opts=1,
                shuffle=True,
            )
            done, total = 0, counts[..., 0].size
            for slices, block in blocks(counts):
                target[slices] = block
                disk.check()
                done += block[..., 0].size
                if progress is not None:
                    progress(Progress(f"export {path.name}", done, total, "px"))


def signal_axes(cube: xr.Dataset) -> list[dict[str, Any]]:
    """HyperSpy's description of the axes of ``counts``, in the order of the array."""
    return [_axis(axis_of(cube, str(dim))) for dim in cube[COUNTS].dims]


def _axis(axis: Axis) -> dict[str, Any]:
    energy = axis.name == ENERGY
    shared = {
        "name": "Energy" if energy else axis.name,
        "units": axis.unit,
        "navigate": not energy,
        "is_binned": energy,
    }
    if axis.scale is None:
        return {"_type": "DataAxis", "axis": axis.values, **shared}
    return {
        "_type": "UniformDataAxis",
        "offset": axis.offset,
        "scale": axis.scale,
        "size": axis.values.size,
        **shared,
    }


def _reserve(path: Path, size: int) -> None:
    """Fail now if the tree will not fit: HDF5 writes it for rosettasciio, and would crash on a full disk."""
    path.write_bytes(bytes(size))


def _write_tree(cube: xr.Dataset, path: Path, decomposition: Decomposition | None) -> str:
    """Write everything but the counts; return the name of the experiment's group."""
    from rsciio.hspy import file_writer

    metadata = to_metadata(cube.attrs)
    original = to_original_metadata(cube.attrs)
    learned: dict[str, Any] = {}
    if decomposition is not None:
        original[RECORD] |= decomposition.record()
        learned = decomposition.learning_results()
    arrays = sum(value.nbytes for value in learned.values() if isinstance(value, np.ndarray))
    _reserve(path, _TREE_BYTES + arrays + 4 * sum(len(str(value)) for value in cube.attrs.values()))
    signal = {
        # a stand-in that is replaced at once: without data to write, rosettasciio fails on every list
        "data": np.zeros((1,) * cube[COUNTS].ndim, cube[COUNTS].dtype),
        "axes": signal_axes(cube),
        "metadata": metadata,
        "original_metadata": original,
        "learning_results": learned,
        "models": {},
        "attributes": {"_lazy": True, "ragged": False},
        "package_info": {"package": "exspy", "package_version": "0.3"},
        "tmp_parameters": {},
    }
    file_writer(str(path), signal, show_progressbar=False)
    return str(metadata["General"]["title"]).replace("/", "-") or "__unnamed__"
