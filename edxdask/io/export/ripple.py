"""Ripple: a text header (.rpl) beside the bare counts (.raw), pixel by pixel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr

from edxdask import schema
from edxdask.errors import ParameterError
from edxdask.io.export.metadata import to_metadata
from edxdask.io.export.target import axis_of, blocks, refuse_existing, writing
from edxdask.progress import Progress, ProgressHook

_KEV_TO_EV = 1e3


def write(cube: xr.Dataset, path: Path, *, overwrite: bool, progress: ProgressHook | None) -> None:
    """Write ``path`` (.rpl) and the .raw file beside it; blocks go straight to their place in the file."""
    counts = cube[schema.COUNTS]
    if counts.ndim > 3:
        raise ParameterError(
            "data",
            dict(counts.sizes),
            "a cube with at most two pixel dimensions for a .rpl file",
            "Pick one map with .isel(...), or export to .hspy.",
            typed_fix="A .hspy file takes it.",
        )
    raw = path.with_suffix(".raw")
    refuse_existing(path, overwrite=overwrite)
    with writing(raw, overwrite=overwrite) as partial:
        _write_raw(counts, partial, path.name, progress)
    with writing(path, overwrite=overwrite) as partial:
        partial.write_text(_header(cube), encoding="latin-1", errors="replace")


def _write_raw(counts: xr.DataArray, path: Path, label: str, progress: ProgressHook | None) -> None:
    dtype = np.dtype(counts.dtype).newbyteorder("<")
    height, width = (1, *counts.shape[:-1])[-2:]
    spectrum = counts.shape[-1] * dtype.itemsize
    done = 0
    with path.open("wb") as file:
        file.truncate(height * width * spectrum)
        for slices, block in blocks(counts):
            columns = slices[-1]
            rows = slices[0] if counts.ndim == 3 else slice(0, 1)
            for row, line in zip(range(rows.start, rows.stop), _rows(block), strict=True):
                file.seek((row * width + columns.start) * spectrum)
                file.write(np.ascontiguousarray(line, dtype=dtype).data)
            done += block[..., 0].size
            if progress is not None:
                progress(Progress(f"export {label}", done, height * width, "px"))


def _rows(block: np.ndarray) -> np.ndarray:
    return block if block.ndim == 3 else block[np.newaxis]


def _header(cube: xr.Dataset) -> str:
    counts = cube[schema.COUNTS]
    *pixels, energy = (axis_of(cube, str(dim)) for dim in counts.dims)
    size = counts.dtype.itemsize
    keys: dict[str, object] = {
        "width": 1,
        "height": 1,
        "depth": counts.shape[-1],
        "offset": 0,
        "data-length": size,
        "data-type": {"u": "unsigned", "i": "signed"}[counts.dtype.kind],
        "byte-order": "little-endian" if size > 1 else "dont-care",
        "record-by": "vector",
        "signal": "EDS_TEM",
        "ev-per-chan": f"{(energy.scale or 0.0) * _KEV_TO_EV:.12g}",
    }
    for name, axis in zip(("depth", "width", "height"), [energy, *pixels[::-1]], strict=False):
        keys |= {
            name: axis.values.size,
            f"{name}-name": axis.name,
            f"{name}-origin": axis.offset,
            f"{name}-scale": axis.scale or 1.0,
            f"{name}-units": axis.unit,
        }
    keys |= _acquisition(cube)
    lines = [f"{key}\t{value}" for key, value in keys.items()]
    return "\n".join([";written by edxdask", "key\tvalue", *lines]) + "\n"


def _acquisition(cube: xr.Dataset) -> dict[str, object]:
    """Keys of the microscope; one value per key, so only what is the same for all detectors."""
    tree = to_metadata(cube.attrs)
    microscope = tree.get("Acquisition_instrument", {}).get("TEM", {})
    detector = microscope.get("Detector", {}).get("EDS", {})
    keys = {
        "title": " ".join(str(tree["General"]["title"]).split()),
        "beam-energy": microscope.get("beam_energy"),
        "tilt-stage": microscope.get("Stage", {}).get("tilt_alpha"),
        "elevation-angle": detector.get("elevation_angle"),
        "azimuth-angle": detector.get("azimuth_angle"),
        "live-time": detector.get("live_time"),
        "detector-peak-width-ev": detector.get("energy_resolution_MnKa"),
    }
    return {key: value for key, value in keys.items() if value not in (None, "")}
