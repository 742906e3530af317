"""The XML header of a .bcf file: calibration, conditions, images and the sum spectrum, in our units.

What the file does not say is left out. Numbers may have a decimal comma (it follows the language of the
machine that wrote the file).
"""

from __future__ import annotations

import base64
import binascii
import logging
import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np

from edxdask import schema

_log = logging.getLogger(__name__)
_MN_KA_KEV = 5.89880  # Mn Ka1, Bearden, Rev. Mod. Phys. 39 (1967) 78
_LARGEST = 1 << 48  # no detector counts that far
_FWHM_PER_SIGMA = 2.0 * math.sqrt(2.0 * math.log(2.0))
_IMAGES = ".//ClassInstance[@Type='TRTImageData']"
_REGIONS = ".//ClassInstance[@Type='TRTSpectrumRegionList']//ClassInstance[@Type='TRTSpectrumRegion']"


class HeaderError(ValueError):
    """The header is damaged, or lacks something that the counts need."""


class UnknownHeaderError(HeaderError):
    """The header is whole and lacks something: other versions may keep it elsewhere."""


@dataclass(frozen=True)
class SumSpectrum:
    """The header's own sum over one map.

    Attributes
    ----------
    counts : (channels,) int64
    offset, scale : keV, of channel 0 and between channels
    attrs : what the schema has names for
    """

    counts: np.ndarray
    offset: float
    scale: float
    attrs: dict[str, Any]


@dataclass(frozen=True)
class Header:
    """What all maps of the file have in common, and their sum spectra by number.

    Attributes
    ----------
    shape : rows, columns
    pixel_size : nm (y, x), None where the file has no calibration
    attrs : what the schema has names for
    images : scanned images by name
    text : the header as it is, without the images' pixels
    """

    shape: tuple[int, int]
    pixel_size: tuple[float, float] | None
    attrs: dict[str, Any]
    images: dict[str, np.ndarray]
    text: str
    spectra: dict[int, SumSpectrum]


def parse_header(data: bytes, numbers: Collection[int]) -> Header:
    """Header of a file that holds the maps ``numbers``.

    Raises
    ------
    HeaderError
        If it is not XML, or lacks the size of the map or the calibration of a sum spectrum.
    """
    root = _tree(data).find("./ClassInstance[@Type='TRTSpectrumDatabase']")
    if root is None:
        raise UnknownHeaderError("the header describes no spectrum database")
    scan = [node for node in root.findall("./ClassInstance[@Type='TRTImageData']") if not node.get("Name")]
    if not scan:
        raise UnknownHeaderError("the header does not say how many rows and columns the map has")
    shape = _whole(scan[-1], "Height"), _whole(scan[-1], "Width")
    steps = [_number(root, f"./ClassInstance[@Type='TRTSEMData']/{name}") for name in ("DY", "DX")]
    dy, dx = steps
    calibrated = dy is not None and dx is not None and dy > 0 and dx > 0
    return Header(
        shape=shape,
        pixel_size=(1000.0 * dy, 1000.0 * dx) if calibrated and dy and dx else None,  # µm to nm
        attrs=_shared_attrs(root, shape),
        images=_images(root),
        text=re.sub(r"<Data>[^<]*</Data>", "<Data/>", data.decode("cp1252", "replace")),
        spectra={number: _sum_spectrum(root, number) for number in numbers},
    )


def _tree(data: bytes) -> ET.Element:
    try:
        return ET.fromstring(data)
    except (ET.ParseError, ValueError, LookupError):  # the last two: of an encoding nobody knows
        pass
    try:  # some versions write tags that start with a digit, which XML forbids
        return ET.fromstring(re.sub(rb"<(/?)(\d)", rb"<\1_\2", data))
    except (ET.ParseError, ValueError, LookupError) as error:
        raise HeaderError(f"the header is not XML ({error})") from error


def _number(node: ET.Element, path: str) -> float | None:
    text = node.findtext(path)
    if text is None:
        return None
    try:
        value = float(text.replace(",", "."))
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _whole(node: ET.Element, path: str) -> int:
    value = _number(node, path)
    if value is None or value != int(value) or value < 1:
        raise HeaderError(f"the header has {path} {node.findtext(path)!r}; expected a positive whole number")
    return int(value)


def _list(text: str | None) -> list[int]:
    try:
        values = [int(item) for item in (text or "").split(",") if item.strip()]
    except ValueError as error:
        raise HeaderError(f"the header has a damaged list of numbers ({error})") from error
    if any(not 0 <= value < _LARGEST for value in values):
        raise HeaderError("the header has a list of numbers that cannot be counts")
    return values


def _positive(values: dict[str, float | None]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None and 0 < value < math.inf}


def _shared_attrs(root: ET.Element, shape: tuple[int, int]) -> dict[str, Any]:
    dsp = "./ClassInstance[@Type='TRTDSPConfiguration']/"
    factors = [_number(root, dsp + name) for name in ("LineAverage", "PixelAverage", "PixelTime")]
    scans = sum(_list(root.findtext("./LineCounter")))  # of all lines together
    real_time = math.prod(f or 0.0 for f in factors) * scans * shape[1] * 1e-6  # µs to s
    attrs = _positive(
        {
            schema.BEAM_ENERGY: _number(root, "./ClassInstance[@Type='TRTSEMData']/HV"),
            schema.REAL_TIME: real_time,
        }
    )
    tilt = _number(root, "./ClassInstance[@Type='TRTSEMStageData']/Tilt")
    if tilt is not None:
        attrs[schema.TILT_ALPHA] = tilt
    elements = {node.get("Name") for node in root.iterfind(_REGIONS)} - {None, ""}
    if elements:
        attrs[schema.ELEMENTS] = sorted(str(name) for name in elements)
    if root.get("Name"):
        attrs[schema.TITLE] = root.get("Name")
    return attrs


def _sum_spectrum(root: ET.Element, number: int) -> SumSpectrum:
    node = root.find(f"./SpectrumData{number}/ClassInstance")
    if node is None:
        raise UnknownHeaderError(f"the header does not describe map {number}")
    counts = _list(node.findtext("./Channels"))
    calibration = "./ClassInstance[@Type='TRTSpectrumHeader']/"
    offset, scale = _number(node, calibration + "CalibAbs"), _number(node, calibration + "CalibLin")
    if not counts:
        raise UnknownHeaderError(f"the header's sum spectrum of map {number} is missing")
    if offset is None or scale is None or scale <= 0:
        raise UnknownHeaderError(
            f"map {number} has no energy calibration (offset {offset}, scale {scale} keV)"
        )
    return SumSpectrum(np.array(counts, np.int64), offset, scale, _spectrum_attrs(node, calibration))


def _spectrum_attrs(node: ET.Element, calibration: str) -> dict[str, Any]:
    parts = "./TRTHeaderedClass/ClassInstance[@Type='{}']/{}"
    hardware = {
        n: _number(node, parts.format("TRTSpectrumHardwareHeader", n)) for n in ("LifeTime", "RealTime")
    }
    esma = {
        n: _number(node, parts.format("TRTESMAHeader", n))
        for n in ("PrimaryEnergy", "ElevationAngle", "AzimutAngle")
    }
    xrf = {n: _number(node, parts.format("TRTXrfHeader", n)) for n in ("Voltage", "ExcitationAngle")}
    constant, slope = _number(node, calibration + "SigmaAbs"), _number(node, calibration + "SigmaLin")
    variance = (constant or 0.0) + (slope or 0.0) * _MN_KA_KEV  # keV²
    attrs = _positive(
        {
            schema.LIVE_TIME: (hardware["LifeTime"] or 0.0) / 1000.0,
            schema.REAL_TIME: (hardware["RealTime"] or 0.0) / 1000.0,
            schema.BEAM_ENERGY: xrf["Voltage"] if esma["PrimaryEnergy"] is None else esma["PrimaryEnergy"],
            schema.FWHM: 1000.0 * _FWHM_PER_SIGMA * math.sqrt(max(variance, 0.0)),
        }
    )
    elevation = xrf["ExcitationAngle"] if esma["ElevationAngle"] is None else esma["ElevationAngle"]
    for name, angle in ((schema.ELEVATION, elevation), (schema.AZIMUTH, esma["AzimutAngle"])):
        if angle is not None:
            attrs[name] = [angle]
    detector = node.findtext(parts.format("TRTDetectorHeader", "Type"))
    if detector:
        attrs[schema.DETECTOR] = detector
    return attrs


def _images(root: ET.Element) -> dict[str, np.ndarray]:
    overviews = set(
        root.iterfind(".//ClassInstance[@Name='OverviewImages']//ClassInstance[@Type='TRTImageData']")
    )
    images: dict[str, np.ndarray] = {}
    for node in root.iterfind(_IMAGES):
        prefix = "overview" if node in overviews else node.get("Name") or ""
        for plane in (child for child in node if re.fullmatch(r"Plane\d+", child.tag)):
            label = f"{prefix} {plane.findtext('./Description') or ''}".lower()
            name = re.sub(r"\W+", "_", label).strip("_") or "image"
            pixels = _pixels(node, plane, name)
            if pixels is not None and pixels.any():  # planes of detectors that are absent are all zero
                while name in images:
                    name += "_"
                images[name] = pixels
    return images


def _pixels(node: ET.Element, plane: ET.Element, name: str) -> np.ndarray | None:
    """One plane; None, with a line in the log, if its layout is unknown: counts do not need it."""
    try:
        height, width, size = (_whole(node, path) for path in ("Height", "Width", "ItemSize"))
        raw = base64.b64decode(plane.findtext("./Data") or "")
        return np.frombuffer(raw, f"<u{size}").reshape(height, width)
    except (HeaderError, binascii.Error, OverflowError, TypeError, ValueError) as error:
        _log.warning("the image %r of the header cannot be read and is left out (%s)", name, error)
        return None
