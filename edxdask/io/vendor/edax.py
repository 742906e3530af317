"""EDAX APEX .edaxh5 (HDF5).

Built from what published readers of the format (NOMAD's em reader, HyperSpy's users) say about it;
**no real file was at hand**, the tests write files in that layout. Below a project and its samples are
areas (``Area 1``), in them maps (``Live Map 1``). A map holds ``SPD``, rows × columns of arrays of 16-bit
counts, with the attributes ``NumberOfLines``, ``NumberOfPoints``, ``NumberofChannels`` (so spelt) and
``MicronPerPixelX`` and ``…Y``; beside it ``SPC``, one record with the sum spectrum and the calibration
``eVOffset`` and ``evPch`` (eV). The area holds the image, ``FOVIMAGE``.

``SPD`` may have fewer channels than ``SPC``; both are taken to start at the same energy with the same width,
as in the older .spd and .spc files. The sum spectrum serves as a total where it has as many channels as the
map; a difference from it only warns, since it is not known whether the two must agree.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from edxdask import schema
from edxdask.io.vendor.base import MapHeader, ReadOptions, VendorMap
from edxdask.io.vendor.convert import (
    DenseMap,
    largest_count,
    number,
    pixel_size,
    refuse_frames,
    slug,
    unique_names,
    verbatim,
)
from edxdask.io.vendor.hdf5 import datasets_named, holds, metadata_tree

_EV_PER_KEV = 1000.0
# fields of SPC that fill the schema's attributes, as the .spc format spells them; degrees, kV, seconds, eV
_NUMBERS = {
    "kv": schema.BEAM_ENERGY,
    "tilt": schema.TILT_ALPHA,
    "livetime": schema.LIVE_TIME,
    "detreso": schema.FWHM,
}
_PER_DETECTOR = {"elevation": schema.ELEVATION, "azimuth": schema.AZIMUTH}


@dataclass(frozen=True)
class EdaxReader:
    """Reader of .edaxh5."""

    name: str = "EDAX APEX"
    suffixes: tuple[str, ...] = (".edaxh5",)

    def accepts(self, path: Path) -> bool:
        """Whether the file holds a map of APEX, or its first group was written by EDAX."""
        return holds(path, ".edaxh5", _is_apex)

    def open(self, path: Path, options: ReadOptions) -> list[VendorMap]:
        """Every map of every area."""
        refuse_frames(options, self.name)
        file = h5py.File(path, "r")
        spectra = [item for item in datasets_named(file, "SPD") if _shape(item) is not None]
        if not spectra:
            raise ValueError(
                "it holds no spectrum image (no SPD dataset): was the map saved with its spectra?"
            )
        names = unique_names(_names([str(item.parent.name) for item in spectra]))
        return [_open_map(name, item) for name, item in zip(names, spectra, strict=True)]


def _is_apex(file: h5py.File) -> bool:
    groups = [item for item in file.values() if isinstance(item, h5py.Group)]
    companies = [str(verbatim(group.attrs["Company"])) for group in groups if "Company" in group.attrs]
    return (
        any("EDAX" in company for company in companies) or next(datasets_named(file, "SPD"), None) is not None
    )


def _names(paths: list[str]) -> list[str]:
    """Last parts of the paths, as many as make them differ: "live_map_1" or "area_1_live_map_1"."""
    parts = [path.strip("/").split("/") for path in paths]
    for depth in range(1, max(map(len, parts)) + 1):
        short = [slug(" ".join(part[-depth:]), "map") for part in parts]
        if len(set(short)) == len(short):
            break
    return short


def _shape(spectra: h5py.Dataset) -> tuple[int, int, int] | None:
    """Rows, columns, channels: a plane of arrays, or a plain cube."""
    inner = spectra.dtype.subdtype
    shape = spectra.shape + (inner[1] if inner else ())
    return (int(shape[0]), int(shape[1]), int(shape[2])) if len(shape) == 3 else None


def _counts_dtype(spectra: h5py.Dataset) -> np.dtype[Any]:
    return np.dtype(spectra.dtype.subdtype[0] if spectra.dtype.subdtype else spectra.dtype)


def _open_map(name: str, spectra: h5py.Dataset) -> VendorMap:
    group, shape, dtype = spectra.parent, _shape(spectra), _counts_dtype(spectra)
    if shape is None:
        raise ValueError(f"{spectra.name}: shape {spectra.shape} is not that of a map")
    for size, key in zip(shape, ("NumberOfLines", "NumberOfPoints", "NumberofChannels"), strict=True):
        stated = number(spectra.attrs.get(key))
        if stated is not None and int(stated) != size:
            raise ValueError(f"{spectra.name}: {key} says {int(stated)}, the data have {size}")
    record = _record(group)
    scale, offset = number(record.get("evPch")), number(record.get("eVOffset"))
    if scale is None or offset is None or not scale > 0:
        raise ValueError(f"{group.name}: no energy calibration (SPC with evPch and eVOffset) beside the map")
    steps = [number(spectra.attrs.get(f"MicronPerPixel{axis}")) for axis in "YX"]
    total = _total(record, shape[2])
    header = MapHeader(
        name=name,
        shape=shape[:2],
        channels=shape[2],
        energy_offset=offset / _EV_PER_KEV,
        energy_scale=scale / _EV_PER_KEV,
        pixel_size=pixel_size((steps[0], "µm"), (steps[1], "µm")),
        attrs=_attributes(record, str(group.name)),
        images=_images(group.parent),
        vendor_metadata=metadata_tree(group),
        expected_total=total,
        total_is_exact=False,
        unverified="" if total is not None else "the map has no sum spectrum (SPC) of as many channels",
        dtype_max=largest_count(dtype),
    )
    chunk_rows = spectra.chunks[0] if spectra.chunks else 1
    return DenseMap(header, lambda start, stop: spectra[start:stop], dtype.itemsize, chunk_rows)


def _record(group: h5py.Group) -> Mapping[str, Any]:
    """Fields of the one record of SPC."""
    item = group.get("SPC")
    if not isinstance(item, h5py.Dataset) or not item.dtype.names or item.size != 1:
        return {}
    row = item[()].ravel()[0]
    return {str(name): row[name] for name in item.dtype.names}


def _attributes(record: Mapping[str, Any], title: str) -> dict[str, Any]:
    attrs: dict[str, Any] = {schema.TITLE: title.strip("/").replace("/", ", ")}
    for key, value in record.items():
        plain, found = key.lower(), number(value)
        if found is None:
            continue
        if plain in _NUMBERS:
            attrs[_NUMBERS[plain]] = found
        elif plain in _PER_DETECTOR:
            attrs[_PER_DETECTOR[plain]] = [found]
    return attrs


def _total(record: Mapping[str, Any], channels: int) -> int | None:
    counts = np.ravel(record.get("SpectrumCounts", ()))
    points = number(record.get("NumberOfPoints"))
    if counts.size == 0 or points is None or int(points) != channels:
        return None
    return int(counts[:channels].sum(dtype=np.int64))


def _images(area: h5py.Group) -> dict[str, np.ndarray]:
    image = area.get("FOVIMAGE")
    if not isinstance(image, h5py.Dataset):
        return {}
    height, width = (number(image.attrs.get(key)) for key in ("PixelHeight", "PixelWidth"))
    if not height or not width or image.size != height * width:
        return {}
    return {"fov": image[()].reshape(int(height), int(width))}


READER = EdaxReader()
