"""Signal dictionaries of rosettasciio (HyperSpy's conventions) in terms of the schema."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from edxdask import schema
from edxdask.io.vendor.convert import (
    element_symbols,
    image_name,
    number,
    pixel_size,
    unique_names,
    verbatim,
)

Signal = dict[str, Any]
# path below Acquisition_instrument.TEM or .SEM -> attribute; HyperSpy's units are those of the schema
_NUMBERS = {
    "beam_energy": schema.BEAM_ENERGY,
    "beam_current": schema.BEAM_CURRENT,
    "tilt_stage": schema.TILT_ALPHA,  # where HyperSpy kept it before its version 1
    "Stage.tilt_alpha": schema.TILT_ALPHA,
    "Stage.tilt_beta": schema.TILT_BETA,
    "Detector.EDS.energy_resolution_MnKa": schema.FWHM,
    "Detector.EDS.live_time": schema.LIVE_TIME,
    "Detector.EDS.real_time": schema.REAL_TIME,
}
_PER_DETECTOR = {
    "Detector.EDS.elevation_angle": schema.ELEVATION,
    "Detector.EDS.azimuth_angle": schema.AZIMUTH,
}


def lookup(tree: Any, path: str) -> Any:
    """Value at a dotted path of nested mappings, None where it ends early.

    Examples
    --------
    >>> lookup({"a": {"b": 1}}, "a.b"), lookup({"a": 1}, "a.b")
    (1, None)
    """
    for key in path.split("."):
        if not isinstance(tree, Mapping) or key not in tree:
            return None
        tree = tree[key]
    return tree


def mapped_metadata(signal: Mapping[str, Any]) -> dict[str, Any]:
    """Metadata of the signal, completed by its ``mapping`` from the vendor's own.

    Some of rosettasciio's readers leave that step to HyperSpy: {source path: (target path, function)}.
    """
    metadata: dict[str, Any] = _copied(signal.get("metadata", {}))
    for source, (target, function) in (signal.get("mapping") or {}).items():
        value = lookup(signal.get("original_metadata", {}), source)
        if value is None:
            continue
        try:
            value = function(value) if function is not None else value
        except (TypeError, ValueError, KeyError, AttributeError):
            continue  # text where a number was meant: the original stays in the vendor metadata
        *folders, last = target.split(".")
        node = metadata
        for folder in folders:
            node = node.setdefault(folder, {})
        node[last] = value
    return metadata


def _copied(tree: Any) -> Any:
    return {key: _copied(item) for key, item in tree.items()} if isinstance(tree, Mapping) else tree


def attributes(signal: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes of the schema that the signal knows."""
    metadata = mapped_metadata(signal)
    instruments = lookup(metadata, "Acquisition_instrument") or {}
    attrs: dict[str, Any] = {}
    for kind in ("SEM", "TEM"):
        instrument = instruments.get(kind, {})
        for path, attr in (*_NUMBERS.items(), *_PER_DETECTOR.items()):
            value = number(lookup(instrument, path))
            if value is not None:
                attrs[attr] = [value] if path in _PER_DETECTOR else value
        detector = lookup(instrument, "Detector.EDS.detector_type")
        if detector:
            attrs[schema.DETECTOR] = str(verbatim(detector))
    elements = element_symbols(lookup(metadata, "Sample.elements"))
    title = str(lookup(metadata, "General.title") or "")
    return (
        attrs | ({schema.ELEMENTS: elements} if elements else {}) | ({schema.TITLE: title} if title else {})
    )


def vendor_metadata(signal: Mapping[str, Any]) -> dict[str, Any]:
    """Original metadata, and what rosettasciio made of them."""
    return {
        "original_metadata": verbatim(signal.get("original_metadata", {})),
        "metadata": verbatim(mapped_metadata(signal)),
    }


def pixel_size_of(y: Mapping[str, Any], x: Mapping[str, Any]) -> tuple[float, float] | None:
    """Pixel size in nm from two axis dictionaries."""
    return pixel_size((y.get("scale"), y.get("units")), (x.get("scale"), x.get("units")))


def title_of(signal: Mapping[str, Any]) -> str:
    """Title of the signal, empty where it has none."""
    return str(lookup(signal.get("metadata", {}), "General.title") or "")


def collect_images(signals: Iterable[Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """2-D signals of plain numbers, by their title."""
    found = [
        s for s in signals if len(s["axes"]) == 2 and s["data"].ndim == 2 and s["data"].dtype.kind in "buif"
    ]
    found = [s for s in found if not any(str(a.get("units")).lower() in ("ev", "kev") for a in s["axes"])]
    names = unique_names(image_name(title_of(s)) for s in found)
    return {name: np.asarray(s["data"]) for name, s in zip(names, found, strict=True)}
