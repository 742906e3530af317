"""Where things are in a Velox file: its spectrum images, their streams, the shapes they may have.

Names and links are JSON in one-element datasets; metadata are JSON in columns of bytes, one per frame.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from edxdask.errors import VendorFileError
from edxdask.io.vendor.base import UnknownStructureError

STREAMS = "Data/SpectrumStream"
SPECTRA = "Data/Spectrum"
IMAGES = "Data/Image"
SPECTRUM_IMAGES = "Data/SpectrumImage"
MAX_EXPANSION = 1100  # deflate, the densest filter Velox could use, reaches 1032
MAX_TEXT = 1 << 26  # bytes of JSON; Velox pads to 60,000


@dataclass(frozen=True)
class Stream:
    """One detector's photons, before they are read.

    Attributes
    ----------
    key, name : group in the file, name of the detector
    channels : length of its energy axis
    table : element at which each frame starts
    spectrum : its sum spectrum in the file, None where there is none to compare with
    settings : AcquisitionSettings, verbatim
    metadata : Metadata after the last frame, verbatim
    """

    key: str
    name: str
    channels: int
    table: np.ndarray
    spectrum: np.ndarray | None
    settings: dict[str, Any]
    metadata: dict[str, Any]

    @property
    def frames(self) -> int:
        """Number of frames."""
        return int(self.table.size)

    @property
    def detector(self) -> dict[str, Any]:
        """What the metadata say of this detector."""
        return detector_of(self.metadata, self.name)


@dataclass(frozen=True)
class SpectrumImage:
    """Streams that were acquired together."""

    name: str
    streams: list[Stream]
    shapes: list[tuple[int, int]]
    settings: dict[str, Any] | None
    feature: dict[str, Any] = field(default_factory=dict)


def detector_of(metadata: dict[str, Any], name: str) -> dict[str, Any]:
    """Return what ``metadata`` say of the detector ``name``."""
    found = [d for d in metadata.get("Detectors", {}).values() if d.get("DetectorName") == name]
    return found[0] if found else {}


def is_velox(file: h5py.File) -> bool:
    """Whether an HDF5 file says that Velox wrote it."""
    return "Version" in file and json_object(file["Version"]).get("format") in ("Velox", "DevelopersKit")


def spectrum_images(file: h5py.File, path: Path) -> list[SpectrumImage]:
    """Every spectrum image that has its stream; an error that says so where there is none."""
    keys = list(file[STREAMS]) if STREAMS in file else []
    if not keys:
        raise VendorFileError(path, "velox", "opening", _why_no_stream(file))
    features = [f for f in _features(file) if f["streams"]]
    left = [key for key in keys if all(key not in f["streams"] for f in features)]
    if left:
        features.append({"streams": dict.fromkeys(left), "image": None, "feature": {}})
    groups = []
    for number, feature in enumerate(features, 1):
        settings = _image_settings(file, feature["image"])
        streams = [_stream(file, path, k, s, settings) for k, s in feature["streams"].items() if k in keys]
        if not streams:
            continue
        streams.sort(key=lambda s: (s.name, s.key))
        name = "eds" if len(features) == 1 else f"eds_{number}"
        groups.append(
            SpectrumImage(name, _distinct(streams), _shapes(file, streams[0]), settings, feature["feature"])
        )
    return groups


def missing_bytes(dataset: h5py.Dataset) -> str:
    """Say what a dataset announces but does not hold; empty where it is complete.

    HDF5 gives endless zeros for chunks that were never written.
    """
    stored = int(dataset.id.get_storage_size())
    filtered = dataset.id.get_create_plist().get_nfilters() > 0
    if stored * (MAX_EXPANSION if filtered else 1) >= dataset.size * dataset.dtype.itemsize:
        return ""
    return f"{dataset.name}: it announces {dataset.size} elements, but only {stored} bytes are stored"


def _whole(dataset: h5py.Dataset) -> np.ndarray:
    """Return a small dataset of numbers, flat."""
    missing = missing_bytes(dataset)
    if missing:
        raise VendorFileError(dataset.file.filename, "velox", "opening", missing)
    return np.asarray(dataset[()]).reshape(-1).astype(np.int64)


def json_object(dataset: h5py.Dataset, column: int = 0) -> dict[str, Any]:
    """Return the JSON object of a one-element dataset, or of one column of bytes."""
    if dataset.shape[0] > MAX_TEXT:
        raise ValueError(f"{dataset.name} has {dataset.shape[0]} bytes of text, more than {MAX_TEXT}")
    text = dataset[0] if dataset.dtype.kind in "OS" else dataset[:, column].tobytes().rstrip(b"\0")
    value = json.loads(text)
    if not isinstance(value, dict):
        raise TypeError(f"{dataset.name} holds {type(value).__name__}, expected a JSON object")
    return value


def json_objects(file: h5py.File, group: str) -> Iterator[dict[str, Any]]:
    """Yield the JSON object of every dataset of a group, if there is one."""
    for key in file.get(group, ()):
        yield json_object(file[group][key])


def _target(file: h5py.File, reference: str | None) -> str | None:
    """Name of the data group that a reference points at."""
    if not reference or reference not in file:
        return None
    return str(json_object(file[reference])["dataPath"]).rpartition("/")[2]


def _features(file: h5py.File) -> list[dict[str, Any]]:
    """For each spectrum image: its streams, each with its sum spectrum, and the image's own group."""
    found = []
    for feature in json_objects(file, "Features/SIFeature"):
        eds = feature.get("eds", {})
        streams: dict[str, str | None] = {}
        for detector in eds.get("detectors", ()):
            for segment in detector.get("segments", ()):
                stream = _target(file, segment.get("spectrumStream"))
                if stream is not None:
                    streams[stream] = _target(file, segment.get("renderedSpectrum"))
        image = _target(file, eds.get("spectrumImage"))
        found.append({"streams": streams, "image": image, "feature": feature})
    return found


def _why_no_stream(file: h5py.File) -> str:
    if SPECTRUM_IMAGES in file and len(file[SPECTRUM_IMAGES]):
        return (
            "the file was pruned: it holds no spectrum stream, and its spectrum image is in a closed format "
            "of Velox. Export it again from the original without pruning ('reduced data')"
        )
    return "the file holds no spectrum image (no Data/SpectrumStream)"


def _image_settings(file: h5py.File, key: str | None) -> dict[str, Any] | None:
    groups = file.get(SPECTRUM_IMAGES, {})
    if key is None and len(groups) == 1:
        key = next(iter(groups))
    if key is None or key not in groups or "SpectrumImageSettings" not in groups[key]:
        return None
    return json_object(groups[key]["SpectrumImageSettings"])


def _stream(
    file: h5py.File, path: Path, key: str, spectrum: str | None, settings: dict[str, Any] | None
) -> Stream:
    group = file[STREAMS][key]
    acquisition = json_object(group["AcquisitionSettings"])
    channels = int(acquisition["bincount"])
    if not 1 <= channels <= 0xFFFF:
        reason = f"bincount is {channels}, expected 1 to 65535"
        raise UnknownStructureError(path, "velox", "opening", reason)
    table = _whole(group["FrameLocationTable"])
    if not table.size:
        raise UnknownStructureError(path, "velox", "opening", f"stream {key} has no frames")
    metadata = json_object(group["Metadata"], -1)
    name = str(metadata.get("BinaryResult", {}).get("Detector") or "EDS")
    account = _account(file, name, spectrum) if _all_rendered(settings, table.size) else None
    return Stream(key, name, channels, table, account, acquisition, metadata)


def _all_rendered(settings: dict[str, Any] | None, frames: int) -> bool:
    """Whether Velox's sum spectra are of all frames: its operator can choose a range."""
    if settings is None:
        return True
    first, last = settings.get("startFramePosition", 1), settings.get("endFramePosition", frames)
    return int(first) <= 1 and int(last) >= frames


def _account(file: h5py.File, name: str, key: str | None) -> np.ndarray | None:
    """Find the file's sum spectrum of a detector: by reference, else the only one with its name."""
    groups = file.get(SPECTRA, {})
    if key is None:
        results = {k: json_object(groups[k]["Metadata"]).get("BinaryResult", {}) for k in groups}
        named = [k for k, result in results.items() if result.get("Detector") == name]
        key = named[0] if len(named) == 1 else None
    if key is None or key not in groups:
        return None
    return _whole(groups[key]["Data"])


def _distinct(streams: list[Stream]) -> list[Stream]:
    names = [s.name for s in streams]
    if len(set(names)) == len(names):
        return streams
    raise ValueError(f"two streams of one spectrum image are of the same detector: {names}")


def _scanned(meta: dict[str, Any]) -> tuple[int, int] | None:
    """Rows and columns of the scanned area."""
    scan = meta.get("Scan") or {}
    size, area = scan.get("ScanSize"), scan.get("ScanArea")
    if not size or not area:
        return None
    height = float(size["height"]) * (float(area["bottom"]) - float(area["top"]))
    width = float(size["width"]) * (float(area["right"]) - float(area["left"]))
    return round(height), round(width)


def _shapes(file: h5py.File, stream: Stream) -> list[tuple[int, int]]:
    """Shapes the map may have, likeliest first: of its scan, then of the images beside it."""
    scanned = _scanned(stream.metadata)
    found = [scanned] if scanned and min(scanned) > 0 else []
    for key in file.get(IMAGES, ()):
        height, width = file[IMAGES][key]["Data"].shape[:2]
        if (height, width) not in found:
            found.append((height, width))
    return found
