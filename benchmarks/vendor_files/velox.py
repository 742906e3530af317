"""Write files in the layout of Thermo Velox 3 (version 11), of any size, a few rows at a time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np

GATE = 0xFFFF
CHUNK = (8192, 1)
METADATA_BYTES = 60_000
BLOCK_PIXELS = 1 << 14
PIXEL_M, OFFSET_EV, DISPERSION_EV, BEAM_V = 2e-9, -250.0, 10.0, 200_000.0
ELEVATION_RAD, DWELL_S = 0.31415927, 1e-5
ELEMENTS = (8, 12, 14, 26)


def write_velox(
    path: str | Path,
    *,
    shape: tuple[int, int],
    channels: int = 4096,
    photons_per_pixel: float = 100.0,
    frames: int = 1,
    detectors: int = 4,
    seed: int = 0,
) -> int:
    """Write one spectrum image of Poisson photons and return how many photons it holds.

    Parameters
    ----------
    path : file to write; replaced if it exists
    shape : rows, columns
    channels : length of the energy axis, at most 65535
    photons_per_pixel : mean over the map, all frames and detectors together
    frames, detectors : how often the area was scanned, and by how many detectors
    seed : of the photons

    Returns
    -------
    int
        Number of photons.
    """
    rng = np.random.default_rng(seed)
    quantiles = _quantiles(channels)
    total = 0
    with h5py.File(path, "w") as file:
        _text(file, "Version", {"format": "Velox", "version": "11"})
        _text(file, "Info", {"applicationVersion": "edxdask benchmark"})
        _image(file, rng, shape, frames, detectors)
        segments = []
        for detector in range(detectors):
            mean = photons_per_pixel / (frames * detectors)
            spectrum = _stream(file, rng, quantiles, shape, channels, mean, frames, detectors, detector)
            _spectrum(file, spectrum, shape, frames, detectors, detector)
            total += int(spectrum.sum())
            segments.append(
                {
                    "index": detector + 1,
                    "spectrumStream": _link(file, f"Data/SpectrumStream/{_key('stream', detector)}"),
                    "renderedSpectrum": _link(file, f"Data/Spectrum/{_key('spectrum', detector)}"),
                    "summed": True,
                }
            )
        _feature(file, segments, shape, frames, detectors)
    return total


def _quantiles(channels: int) -> np.ndarray:
    """Channel of each of 65,536 equally likely photons: peaks on a falling background."""
    channel = np.arange(channels)
    density = np.exp(-channel / (0.3 * channels))
    for centre, height in ((0.06, 12.0), (0.11, 6.0), (0.13, 20.0), (0.17, 15.0), (0.4, 4.0), (0.7, 2.0)):
        density += height * np.exp(-(((channel - centre * channels) / max(1.0, 0.002 * channels)) ** 2))
    cumulated = np.cumsum(density) / density.sum()
    return np.searchsorted(cumulated, (np.arange(65536) + 0.5) / 65536).astype(np.uint16)


def _key(kind: str, number: int) -> str:
    return f"{kind.encode().hex():0<24}{number:08x}"[:32]


def _detector_metadata(frames: int, detectors: int) -> dict[str, Any]:
    haadf = {"DetectorName": "HAADF", "DetectorType": "ScanningDetector", "Inserted": "true"}
    out: dict[str, Any] = {"Detector-0": haadf}
    for d in range(detectors):
        out[f"Detector-{d + 1}"] = {
            "DetectorName": f"SuperXG2{d + 1}",
            "DetectorType": "AnalyticalDetector",
            "ElevationAngle": repr(ELEVATION_RAD),
            "AzimuthAngle": repr(np.pi / 4 + d * np.pi / 2),
            "Dispersion": repr(DISPERSION_EV),
            "OffsetEnergy": repr(OFFSET_EV),
            "RealTime": repr(0.5 * frames),
            "LiveTime": repr(0.4 * frames),
        }
    return out


def _metadata(
    shape: tuple[int, int], frames: int, detectors: int, name: str, index: int | None
) -> dict[str, Any]:
    """Metadata as Velox has them after ``frames`` frames: numbers are strings, in SI units."""
    result: dict[str, Any] = {
        "Detector": name,
        "PixelSize": {"width": repr(PIXEL_M), "height": repr(PIXEL_M)},
        "PixelUnitX": "m",
        "PixelUnitY": "m",
        "Offset": {"x": "0", "y": "0"},
    }
    if index is not None:
        result["DetectorIndex"] = str(index)
    return {
        "Core": {"MetadataDefinitionVersion": "7.9"},
        "Instrument": {"InstrumentClass": "Titan"},
        "Acquisition": {"AcquisitionStartDatetime": {"DateTime": "1700000000"}},
        "Optics": {"AccelerationVoltage": repr(BEAM_V)},
        "Stage": {"Position": {"x": "0", "y": "0", "z": "0"}, "AlphaTilt": "0.1", "BetaTilt": "-0.05"},
        "Scan": {
            "ScanSize": {"width": str(shape[1]), "height": str(shape[0])},
            "ScanArea": {"left": "0", "top": "0", "right": "1", "bottom": "1"},
            "DwellTime": repr(DWELL_S),
            "FrameTime": repr(DWELL_S * shape[0] * shape[1]),
        },
        "Detectors": _detector_metadata(frames, detectors),
        "BinaryResult": result,
        "CustomProperties": {},
    }


def _text(file: h5py.File, name: str, value: Any) -> None:
    file.create_dataset(name, data=[json.dumps(value)], dtype=h5py.string_dtype())


def _columns(group: h5py.Group, values: list[dict[str, Any]]) -> None:
    data = group.create_dataset(
        "Metadata", (METADATA_BYTES, len(values)), np.uint8, chunks=(METADATA_BYTES, 1)
    )
    for column, value in enumerate(values):
        text = np.frombuffer(json.dumps(value).encode(), np.uint8)
        data[: text.size, column] = text


def _link(file: h5py.File, target: str) -> str:
    name = f"SharedProperties/DataReference/{target.rpartition('/')[2]}"
    _text(file, name, {"dataPath": f"/{target}"})
    return f"/{name}"


def _stream(
    file: h5py.File,
    rng: np.random.Generator,
    quantiles: np.ndarray,
    shape: tuple[int, int],
    channels: int,
    mean: float,
    frames: int,
    detectors: int,
    detector: int,
) -> np.ndarray:
    """Write one detector's photons; return its sum spectrum."""
    group = file.create_group(f"Data/SpectrumStream/{_key('stream', detector)}")
    settings: dict[str, Any] = {
        "encoding": "uint16",
        "bincount": str(channels),
        "StreamEncoding": "uint16",
        "Size": "262144",
    }
    settings["RasterScanDefinition"] = {"Width": str(shape[1]), "Height": str(shape[0])}
    _text(group, "AcquisitionSettings", settings)
    name = f"SuperXG2{detector + 1}"
    _columns(group, [_metadata(shape, f + 1, detectors, name, detector + 1) for f in range(frames)])
    data = group.create_dataset("Data", (0, 1), np.uint16, maxshape=(None, 1), chunks=CHUNK)
    spectrum = np.zeros(channels, dtype=np.int64)
    starts, pixels = [], shape[0] * shape[1]
    for _ in range(frames):
        starts.append(data.shape[0])
        for first in range(0, pixels, BLOCK_PIXELS):
            counts = rng.poisson(mean * _brightness(first, min(first + BLOCK_PIXELS, pixels), pixels))
            photons = quantiles[rng.integers(0, 65536, counts.sum(), dtype=np.uint16)]
            spectrum += np.bincount(photons, minlength=channels)
            block = np.full(photons.size + counts.size, GATE, dtype=np.uint16)
            is_photon = np.ones(block.size, dtype=bool)
            is_photon[np.cumsum(counts + 1) - 1] = False
            block[is_photon] = photons
            data.resize(data.shape[0] + block.size, axis=0)
            data[-block.size :, 0] = block
    table = np.array(starts, dtype=np.uint64).reshape(-1, 1)
    group.create_dataset("FrameLocationTable", data=table, maxshape=(None, 1), chunks=CHUNK)
    return spectrum


def _brightness(first: int, last: int, pixels: int) -> np.ndarray:
    """Photons per pixel relative to the mean; not the same everywhere, so that a shift shows."""
    return 1.0 + 0.8 * np.sin(np.arange(first, last) * (9.7 * np.pi / pixels))


def _spectrum(
    file: h5py.File, spectrum: np.ndarray, shape: tuple[int, int], frames: int, detectors: int, detector: int
) -> None:
    group = file.create_group(f"Data/Spectrum/{_key('spectrum', detector)}")
    group.create_dataset("Data", data=spectrum.astype(np.uint32).reshape(-1, 1))
    _columns(group, [_metadata(shape, frames, detectors, f"SuperXG2{detector + 1}", detector + 1)])


def _image(
    file: h5py.File, rng: np.random.Generator, shape: tuple[int, int], frames: int, detectors: int
) -> None:
    """Write the HAADF image, one frame per scan, and what Velox needs to show it."""
    key = _key("image", 0)
    group = file.create_group(f"Data/Image/{key}")
    data = group.create_dataset("Data", (*shape, frames), np.uint16, chunks=(*shape, 1))
    for frame in range(frames):
        data[:, :, frame] = rng.integers(1000, 2000, shape, dtype=np.uint16)
    group.create_dataset("FrameLookupTable", data=np.arange(frames, dtype=np.uint32))
    _columns(group, [_metadata(shape, f + 1, detectors, "HAADF", 0) for f in range(frames)])
    series = f"SharedProperties/ImageSeriesDataReference/{key}"
    _text(file, series, {"dataPath": f"/Data/Image/{key}", "frameIndex": 0})
    _text(file, f"Displays/ImageDisplay/{key}", {"id": "HAADF", "title": "HAADF", "data": f"/{series}"})


def _feature(
    file: h5py.File, segments: list[dict[str, Any]], shape: tuple[int, int], frames: int, detectors: int
) -> None:
    """Write what joins streams, spectra and settings to one spectrum image."""
    key = _key("si", 0)
    group = file.create_group(f"Data/SpectrumImage/{key}")
    group.create_dataset("Data", data=np.zeros((1, 1), np.uint8))  # Velox's own, closed form of the cube
    _columns(group, [_metadata(shape, frames, detectors, "SuperXG2", None)])
    _text(group, "SpectrumImageSettings", {"startFramePosition": "1", "endFramePosition": str(frames)})
    settings = f"SharedProperties/EDSSpectrumQuantificationSettings/{key}"
    _text(file, settings, {"elementSelection": list(ELEMENTS)})
    eds = {
        "detectors": [{"physicalDetector": "SuperXG2", "segments": segments}],
        "quantificationSettings": f"/{settings}",
        "spectrumImage": _link(file, f"Data/SpectrumImage/{key}"),
    }
    _text(file, f"Features/SIFeature/{key}", {"eds": eds})
    _text(file, "Features/Features", {"features": [{"SIFeature": f"/Features/SIFeature/{key}"}]})
