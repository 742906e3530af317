"""Oxford Instruments .h5oina (HDF5), written by AZtec 6.2 and later with "unprocessed spectrum data".

Built from the published specification (H5OINA, versions 7 and 8); **no real file was at hand**, the tests
write files in that layout. A slice is one acquisition, ``/<slice>/EDS`` or ``EDS1``, ``EDS2``, … hold one
detector each: ``Data/Spectrum`` (pixels × channels, int32, LZF) and ``Header``, with scalars as arrays of
one element. Angles are in radians, energies of channels in eV, steps in µm, the beam in kV. The format keeps
no total to check the counts against. Of a montage (version 8.0) every pixel's field, and its place within
that field, come as images of the map.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from edxdask import schema
from edxdask.io.vendor.base import MapHeader, ReadOptions, VendorMap
from edxdask.io.vendor.convert import (
    DenseMap,
    element_symbols,
    image_name,
    largest_count,
    pixel_size,
    refuse_frames,
    slug,
    unique_names,
    whole_counts,
)
from edxdask.io.vendor.hdf5 import holds, metadata_tree, scalar, text

_EV_PER_KEV, _NM_PER_MM = 1000.0, 1e6
_FIELDS = {
    schema.FIELD_INDEX: "LAM Field Index",
    schema.FIELD_Y: "LAM Field Coordinate Y",
    schema.FIELD_X: "LAM Field Coordinate X",
}
_DETECTOR = re.compile(r"EDS\d*")


@dataclass(frozen=True)
class OxfordReader:
    """Reader of .h5oina."""

    name: str = "Oxford"
    suffixes: tuple[str, ...] = (".h5oina",)

    def accepts(self, path: Path) -> bool:
        """Whether the root names a format version and an index of slices."""
        return holds(path, ".h5oina", lambda file: "Format Version" in file and "Index" in file)

    def open(self, path: Path, options: ReadOptions) -> list[VendorMap]:
        """One map per slice, or one per slice and detector."""
        refuse_frames(options, self.name)
        file = h5py.File(path, "r")
        chosen: list[tuple[str, list[h5py.Group]]] = []
        for index in _slices(file):
            detectors = _detectors(file[index])
            if options.detectors == "separate" and len(detectors) > 1:
                chosen += [(f"{_label(d, index)} {_technique(d)}", [d]) for d in detectors]
            elif detectors:
                chosen.append((_label(detectors[0], index), detectors))
        if not chosen:
            raise ValueError("it holds no spectrum image: export the map with its unprocessed spectrum data")
        names = unique_names(slug(label, "map") for label, _ in chosen)
        return [_open_map(name, detectors) for name, (_, detectors) in zip(names, chosen, strict=True)]


def _slices(file: h5py.File) -> list[str]:
    listed = [item.decode() if isinstance(item, bytes) else str(item) for item in np.ravel(file["Index"][()])]
    missing = [name for name in listed if name not in file]
    if missing:
        raise ValueError(f"its index names the slices {missing}, which are not in the file")
    return listed


def _detectors(group: h5py.Group) -> list[h5py.Group]:
    """EDS groups of a slice that hold a spectrum for more than one pixel."""
    found = [group[name] for name in sorted(group) if _DETECTOR.fullmatch(name)]
    found = [eds for eds in found if "Data/Spectrum" in eds and "Header" in eds]
    return [eds for eds in found if eds["Data/Spectrum"].ndim == 2 and eds["Data/Spectrum"].shape[0] > 1]


def _label(eds: h5py.Group, index: str) -> str:
    return text(eds["Header"], "Analysis Label") or f"map {index}"


def _technique(eds: h5py.Group) -> str:
    return str(eds.name).rsplit("/", 1)[-1]


def _required(header: h5py.Group, name: str) -> float:
    value = scalar(header, name)
    if value is None:
        raise ValueError(f"{header.name} has no number {name!r}, which the format requires")
    return value


def _layout(eds: h5py.Group) -> tuple[int, int, int, float, float]:
    """Rows, columns, channels, energy offset and scale (keV)."""
    header, spectrum = eds["Header"], eds["Data/Spectrum"]
    columns, rows = int(_required(header, "X Cells")), int(_required(header, "Y Cells"))
    channels = int(spectrum.shape[1])
    if rows < 1 or columns < 1 or rows * columns != spectrum.shape[0]:
        raise ValueError(
            f"{eds.name}: {spectrum.shape[0]} spectra do not fill a map of {rows} × {columns} pixels"
        )
    stated = scalar(header, "Number Channels")
    if stated is not None and int(stated) != channels:
        raise ValueError(f"{eds.name}: the header says {int(stated)} channels, the spectra have {channels}")
    scale = _required(header, "Channel Width") / _EV_PER_KEV
    if not scale > 0:
        raise ValueError(f"{eds.name}: a channel width of {scale} keV; it must be above 0")
    return rows, columns, channels, _required(header, "Start Channel") / _EV_PER_KEV, scale


def _open_map(name: str, detectors: list[h5py.Group]) -> VendorMap:
    layouts = {_layout(eds) for eds in detectors}
    if len(layouts) > 1:
        raise ValueError(
            f"the detectors of {name!r} differ in size or energy axis ({sorted(layouts)}) and cannot be "
            'summed: detectors="separate"'
        )
    rows, columns, channels, offset, scale = layouts.pop()
    spectra = [eds["Data/Spectrum"] for eds in detectors]
    header = detectors[0]["Header"]
    step_x, step_y = scalar(header, "X Step"), scalar(header, "Y Step")
    step_y = step_y or (step_x if rows == 1 else None)  # always 0 in a line scan
    largest = sum(largest_count(spectrum.dtype) for spectrum in spectra)
    made = MapHeader(
        name=name,
        shape=(rows, columns),
        channels=channels,
        energy_offset=offset,
        energy_scale=scale,
        pixel_size=pixel_size((step_y, "µm"), (step_x, "µm")),
        attrs=_attributes(detectors),
        images=_images(detectors[0].parent) | _fields(detectors[0], rows, columns),
        vendor_metadata={_technique(eds): metadata_tree(eds["Header"]) for eds in detectors},
        dtype_max=min(largest, 0xFFFF_FFFF),
    )

    def slab(start: int, stop: int) -> np.ndarray:
        pixels = slice(start * columns, stop * columns)
        parts = [whole_counts(spectrum[pixels]) for spectrum in spectra]
        summed = parts[0] if len(parts) == 1 else np.sum(parts, axis=0, dtype=np.int64)
        return summed.reshape(stop - start, columns, channels)

    chunk_rows = max(1, (spectra[0].chunks or (1,))[0] // columns)
    return DenseMap(made, slab, 8 if len(spectra) > 1 else spectra[0].dtype.itemsize, chunk_rows)


def _attributes(detectors: list[h5py.Group]) -> dict[str, Any]:
    header, data = detectors[0]["Header"], detectors[0]["Data"]
    attrs: dict[str, Any] = {schema.BEAM_ENERGY: scalar(header, "Beam Voltage")}
    tilt = scalar(header, "Tilt Angle")
    attrs[schema.TILT_ALPHA] = None if tilt is None else _degrees(tilt)
    for attr, name in ((schema.ELEVATION, "Detector Elevation"), (schema.AZIMUTH, "Detector Azimuth")):
        angles = [scalar(eds["Header"], name) for eds in detectors]
        known = [_degrees(angle) for angle in angles if angle is not None]
        attrs[attr] = known if len(known) == len(angles) else None
    for attr, name in ((schema.LIVE_TIME, "Live Time"), (schema.REAL_TIME, "Real Time")):
        if name in data:  # seconds of each pixel
            attrs[attr] = float(np.nansum(data[name][()], dtype=np.float64))
    attrs |= _stage(header)
    attrs[schema.DETECTOR] = ", ".join(filter(None, (_detector_name(eds["Header"]) for eds in detectors)))
    attrs[schema.ELEMENTS] = _elements(data)
    attrs[schema.TITLE] = text(header, "Analysis Label")
    return {key: value for key, value in attrs.items() if value not in (None, "", [])}


def _stage(header: h5py.Group) -> dict[str, float]:
    """Where the stage was, nm; its axes may run against those of the map."""
    stage = header.get("Stage Position")
    if not isinstance(stage, h5py.Group):
        return {}
    found = {schema.STAGE_Y: scalar(stage, "Y"), schema.STAGE_X: scalar(stage, "X")}
    known = {name: value * _NM_PER_MM for name, value in found.items() if value is not None}
    return known if len(known) == len(found) else {}


def _fields(eds: h5py.Group, rows: int, columns: int) -> dict[str, np.ndarray]:
    """Fields of a montage: number, row and column within it, of every pixel; nothing of other maps."""
    data = eds["Data"]
    if not all(name in data and data[name].size == rows * columns for name in _FIELDS.values()):
        return {}
    return {own: np.asarray(data[name][()]).reshape(rows, columns) for own, name in _FIELDS.items()}


def _degrees(radians: float) -> float:
    """Convert an angle stored in 32 bits, which hold no more than these digits."""
    return round(math.degrees(radians), 4)


def _detector_name(header: h5py.Group) -> str:
    kind = header.get("Detector Type Id")
    named = kind.attrs.get("Name") if kind is not None else None
    named = named.decode() if isinstance(named, bytes) else named
    return str(np.ravel(named)[0]) if named is not None else text(header, "Detector Serial Number")


def _elements(data: h5py.Group) -> list[str]:
    """Elements that were analysed: "Al" or "Al Ka1" in the groups of results."""
    groups = ("Composition", "Apparent Concentration", "K Ratio", "Peak Area", "Window Integral")
    return element_symbols([str(key).split(" ")[0] for name in groups if name in data for key in data[name]])


def _images(group: h5py.Group) -> dict[str, np.ndarray]:
    """Electron images of the slice: flat datasets of one size, by kind of electrons."""
    electrons = group.get("Electron Image")
    if electrons is None or "Data" not in electrons or "Header" not in electrons:
        return {}
    height = int(scalar(electrons["Header"], "Y Cells") or 0)
    width = int(scalar(electrons["Header"], "X Cells") or 0)
    found: list[tuple[str, np.ndarray]] = []
    for kind in ("SE", "BSE", "FSE"):
        for key, item in electrons["Data"].get(kind, {}).items():
            if item.size and item.size == height * width:
                name = kind if len(electrons["Data"][kind]) == 1 else f"{kind} {key}"
                found.append((image_name(name), item[()].reshape(height, width)))
    return dict(zip(unique_names(name for name, _ in found), (image for _, image in found), strict=True))


READER = OxfordReader()
