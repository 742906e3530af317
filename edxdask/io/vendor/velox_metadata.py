"""What a Velox file says about a map: calibration, conditions, scanned images.

Velox writes every number as a string: energies in eV, angles in radians, lengths in metres.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from edxdask import schema
from edxdask.errors import ParameterError, VendorFileError
from edxdask.io.vendor.base import MapHeader
from edxdask.io.vendor.convert import image_name
from edxdask.io.vendor.velox_layout import (
    IMAGES,
    STREAMS,
    SpectrumImage,
    Stream,
    detector_of,
    json_object,
    json_objects,
    missing_bytes,
)

logger = logging.getLogger(__name__)

QUANTIFICATION = (
    "SharedProperties/EDSSpectrumQuantificationSettings",
    "Operations/ImageQuantificationOperation",
)
NM = {"m": 1e9, "mm": 1e6, "um": 1e3, "µm": 1e3, "nm": 1.0, "A": 0.1}


def check_same_axis(path: Path, streams: list[Stream]) -> None:
    """Detectors can only be summed if they have the same energy axis."""
    axes = {(s.channels, *_axis(path, s)) for s in streams}
    if len(axes) > 1:
        raise ParameterError(
            "detectors",
            "sum",
            f"one energy axis; {path} has (channels, keV offset, keV scale) {sorted(axes)}",
            "Read them separately: detectors='separate'.",
        )


def header(
    file: h5py.File,
    group: SpectrumImage,
    streams: list[Stream],
    *,
    name: str,
    shape: tuple[int, int],
    frames: int,
    chosen: tuple[int, int],
    largest: int,
    images: dict[str, str],
) -> MapHeader:
    """Header of the map made of ``streams``; ``largest`` is the most photons any pixel holds."""
    first = streams[0]
    offset, scale = _axis(Path(file.filename), first)
    accounts = [s.spectrum for s in streams]
    unknown = [s.name for s in streams if s.spectrum is None]
    known = chosen == (0, frames) and not unknown
    return MapHeader(
        name=name,
        shape=shape,
        channels=first.channels,
        energy_offset=offset,
        energy_scale=scale,
        pixel_size=_pixel_size(first.metadata),
        attrs=_attributes(file, group, streams, chosen),
        images={n: _average(_image(file, key), frames, chosen) for n, key in images.items()},
        vendor_metadata=_verbatim(file, group, streams),
        expected_total=sum(int(a.sum()) for a in accounts if a is not None) if known else None,
        unverified=f"no sum spectrum of all frames of {', '.join(unknown)}" if unknown else "",
        frames=chosen[1] - chosen[0],
        frame_images=tuple(n for n, k in images.items() if _image(file, k).shape == (*shape, frames)),
        dtype_max=0xFFFF if largest <= 0xFFFF else 0xFFFFFFFF,
    )


# Calibration and conditions


def _number(value: Any) -> float | None:
    if value in (None, ""):
        return None
    number = float(value)
    if not np.isfinite(number):
        raise ValueError(f"a number of the metadata is {value!r}")
    return number


def _axis(path: Path, stream: Stream) -> tuple[float, float]:
    """Offset and scale in keV."""
    offset, scale = _number(stream.detector.get("OffsetEnergy")), _number(stream.detector.get("Dispersion"))
    if offset is None or not scale or scale < 0:
        raise VendorFileError(
            path,
            "velox",
            "opening",
            f"detector {stream.name} has OffsetEnergy {offset} and Dispersion {scale} eV",
        )
    return offset / 1e3, scale / 1e3


def _pixel_size(meta: dict[str, Any]) -> tuple[float, float] | None:
    """Height and width of a pixel in nm."""
    result = meta.get("BinaryResult", {})
    size, unit = result.get("PixelSize"), NM.get(result.get("PixelUnitX", ""))
    if not size or unit is None:
        return None
    height, width = _number(size.get("height")), _number(size.get("width"))
    return (height * unit, width * unit) if height and width else None


def _attributes(
    file: h5py.File, group: SpectrumImage, streams: list[Stream], chosen: tuple[int, int]
) -> dict[str, Any]:
    meta = streams[0].metadata
    optics, stage = meta.get("Optics") or {}, meta.get("Stage") or {}
    voltage = _number(optics.get("AccelerationVoltage"))
    attrs: dict[str, Any] = {
        schema.BEAM_ENERGY: voltage / 1e3 if voltage else None,
        schema.TILT_ALPHA: _degrees(stage.get("AlphaTilt")),
        schema.TILT_BETA: _degrees(stage.get("BetaTilt")),
        schema.ELEVATION: _each_degrees(streams, "ElevationAngle"),
        schema.AZIMUTH: _each_degrees(streams, "AzimuthAngle"),
        schema.LIVE_TIME: _mean_time(file, streams, "LiveTime", chosen),
        schema.REAL_TIME: _mean_time(file, streams, "RealTime", chosen),
        schema.DETECTOR: ", ".join(s.name for s in streams),
        schema.ELEMENTS: _elements(file, group),
    }
    return {key: value for key, value in attrs.items() if value is not None}


def _degrees(value: Any) -> float | None:
    radians = _number(value)
    return None if radians is None else float(np.degrees(radians))


def _each_degrees(streams: list[Stream], key: str) -> list[float] | None:
    angles = [_degrees(s.detector.get(key)) for s in streams]
    return None if None in angles else [a for a in angles if a is not None]


def _mean_time(file: h5py.File, streams: list[Stream], key: str, chosen: tuple[int, int]) -> float | None:
    """Seconds in the chosen frames, averaged over detectors; Velox's times accumulate from frame to frame."""
    times = []
    for stream in streams:
        first, last = min(chosen[0], stream.frames), min(chosen[1], stream.frames)
        begin, end = _elapsed(file, stream, key, first), _elapsed(file, stream, key, last)
        if begin is None or end is None:
            return None
        times.append(end - begin)
    return float(np.mean(times))


def _elapsed(file: h5py.File, stream: Stream, key: str, frames: int) -> float | None:
    """Seconds after so many frames."""
    if frames in (0, stream.frames):
        return _number(stream.detector.get(key)) if frames else 0.0
    text = file[STREAMS][stream.key]["Metadata"]
    if text.shape[1] != stream.frames:
        return None  # not kept frame by frame
    return _number(detector_of(json_object(text, frames - 1), stream.name).get(key))


def _elements(file: h5py.File, group: SpectrumImage) -> list[str] | None:
    """Elements the operator chose, by the map's own settings or else by all of the file."""
    from xraylib import AtomicNumberToSymbol  # only needed here

    own = group.feature.get("eds", {}).get("quantificationSettings")
    if own and own in file:
        chosen = [json_object(file[own])]
    else:
        chosen = [settings for name in QUANTIFICATION for settings in json_objects(file, name)]
    numbers = sorted({int(z) for settings in chosen for z in settings.get("elementSelection") or ()})
    return [AtomicNumberToSymbol(z) for z in numbers] or None


def _verbatim(file: h5py.File, group: SpectrumImage, streams: list[Stream]) -> dict[str, Any]:
    """Collect the JSON that belongs to the map, as it is in the file."""
    return {
        "Version": json_object(file["Version"]),
        "Info": json_object(file["Info"]) if "Info" in file else {},
        "SIFeature": group.feature,
        "SpectrumImageSettings": group.settings or {},
        "SpectrumStream": {
            s.name: {"AcquisitionSettings": s.settings, "Metadata": s.metadata} for s in streams
        },
    }


# Images


def scanned_images(file: h5py.File, stream: Stream) -> dict[str, str]:
    """Images of the scanning detectors over the map's own area: their groups in the file, by name."""
    images: dict[str, str] = {}
    for key in file.get(IMAGES, ()):
        group = file[IMAGES][key]
        meta, data = json_object(group["Metadata"]), group["Data"]
        name = _scanning_detector(file, key, meta)
        if name is None or data.dtype.kind not in "uif" or data.ndim != 3 or data.shape[2] == 0:
            continue
        if (meta.get("Scan") or {}).get("ScanArea") != (stream.metadata.get("Scan") or {}).get("ScanArea"):
            continue  # an overview, of another area
        missing = missing_bytes(data)
        if missing:
            logger.warning("%s: image %s is left out: %s", file.filename, name, missing)
            continue
        plain = image_name(name)
        label, number = plain, 2
        while label in images:
            label, number = f"{plain}_{number}", number + 1
        images[label] = key
    return images


def _image(file: h5py.File, key: str) -> h5py.Dataset:
    return file[IMAGES][key]["Data"]


def _scanning_detector(file: h5py.File, key: str, meta: dict[str, Any]) -> str | None:
    """Name of the scanning detector an image is of; None for element maps, cameras and computed images."""
    result = meta.get("BinaryResult") or {}
    name = result.get("Detector")
    if not name:  # Velox before version 11 says so among the operations
        inputs = json_objects(file, "Operations/StemInputOperation")
        return next((str(o["detector"]) for o in inputs if key in str(o.get("dataPath"))), None)
    types = {d.get("DetectorName"): d.get("DetectorType") for d in meta.get("Detectors", {}).values()}
    return str(name) if types.get(name) == "ScanningDetector" else None


def _average(data: h5py.Dataset, frames: int, chosen: tuple[int, int]) -> np.ndarray:
    """Average of an image over the chosen frames; over all where its frames are not those of the map."""
    taken = range(*chosen) if data.shape[2] == frames else range(data.shape[2])
    total = np.zeros(data.shape[:2], dtype=np.float64)
    for frame in taken:
        total += data[:, :, frame]
    return (total / len(taken)).astype(np.float32)
