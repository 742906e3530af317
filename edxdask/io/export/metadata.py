"""Our flat attributes and HyperSpy's metadata tree, in both directions.

HyperSpy's tree holds one elevation and one azimuth, and fills what is missing with its own defaults. So the
attributes also travel whole, as JSON, in ``original_metadata``; when read back, the tree only replaces
them where somebody changed it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from edxdask import schema
from edxdask.errors import SchemaError

RECORD = "edxdask"  # branch of original_metadata that holds our attributes

_NM_PER_M = 1e9
_DETECTOR = "Detector.EDS."


def _scalar(value: Any) -> float | None:
    """One figure of a list of detectors, None where they differ."""
    values = np.atleast_1d(np.asarray(value, dtype=float))
    return float(values[0]) if values.size and np.ptp(values) == 0 else None


def _elements(value: Any) -> list[str]:
    return sorted(str(v) for v in value)


# ours → (path below the instrument or from the root, to HyperSpy, from HyperSpy)
_Rule = tuple[str, Callable[[Any], Any], Callable[[Any], Any]]
_INSTRUMENT: Mapping[str, _Rule] = {
    schema.BEAM_ENERGY: ("beam_energy", float, float),
    schema.BEAM_CURRENT: ("beam_current", float, float),
    schema.TILT_ALPHA: ("Stage.tilt_alpha", float, float),
    schema.TILT_BETA: ("Stage.tilt_beta", float, float),
    schema.ELEVATION: (_DETECTOR + "elevation_angle", _scalar, lambda v: [float(v)]),
    schema.AZIMUTH: (_DETECTOR + "azimuth_angle", _scalar, lambda v: [float(v)]),
    schema.FWHM: (_DETECTOR + "energy_resolution_MnKa", float, float),
    schema.LIVE_TIME: (_DETECTOR + "live_time", float, float),
    schema.REAL_TIME: (_DETECTOR + "real_time", float, float),
    schema.DETECTOR: (_DETECTOR + "detector_type", str, str),
}
_ROOT: Mapping[str, _Rule] = {
    schema.TITLE: ("General.title", str, str),
    schema.SOURCE_FILE: ("General.original_filename", str, str),
    schema.ELEMENTS: ("Sample.elements", _elements, _elements),
    schema.THICKNESS: ("Sample.thickness", lambda v: float(v) / _NM_PER_M, lambda v: float(v) * _NM_PER_M),
}


def to_metadata(attrs: Mapping[Any, Any]) -> dict[str, Any]:
    """HyperSpy's ``metadata`` tree of our attributes.

    Examples
    --------
    >>> tree = to_metadata({"beam_energy_kev": 200.0, "azimuth_deg": [45.0, 135.0]})
    >>> tree["Acquisition_instrument"]
    {'TEM': {'beam_energy': 200.0}}
    """
    tree: dict[str, Any] = {
        "General": {"title": ""},
        "Signal": {"signal_type": "EDS_TEM", "quantity": "X-rays (Counts)"},
    }
    rules = {key: ("Acquisition_instrument.TEM." + rule[0], rule[1]) for key, rule in _INSTRUMENT.items()}
    rules |= {key: (rule[0], rule[1]) for key, rule in _ROOT.items()}
    for key, (path, convert) in rules.items():
        value = convert(attrs[key]) if attrs.get(key) is not None else None
        if value is not None:
            _put(tree, path, value)
    return tree


def to_original_metadata(attrs: Mapping[Any, Any]) -> dict[str, Any]:
    """HyperSpy's ``original_metadata``: the vendor's tree, and our attributes as JSON under ``edxdask``."""
    vendor = json.loads(attrs.get(schema.VENDOR_METADATA) or "{}")
    tree = _storable(vendor if isinstance(vendor, dict) else {"vendor": vendor})
    # a list of one text becomes an HDF5 dataset, which may exceed the 64 KiB an HDF5 attribute may hold
    tree[RECORD] = {"attrs": [schema.as_json(dict(attrs))]}
    return tree


def from_metadata(
    metadata: Mapping[str, Any],
    original: Mapping[str, Any],
    *,
    defaults: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Our attributes from HyperSpy's two trees.

    Parameters
    ----------
    metadata, original : trees as nested dicts
    defaults : HyperSpy's default by path ("Stage.tilt_alpha"), which it writes where nothing was known;
        such a value is ignored if our own record has none
    """
    record = _record(original)
    if record is None and original:
        found: dict[str, Any] = {schema.VENDOR_METADATA: schema.as_json(dict(original))}
    else:
        found = dict(record or {})
    written = to_metadata(found)
    instruments = metadata.get("Acquisition_instrument", {})
    name = "SEM" if "SEM" in instruments and "TEM" not in instruments else "TEM"
    for rules, prefix, ours in (
        (_INSTRUMENT, f"Acquisition_instrument.{name}.", "Acquisition_instrument.TEM."),
        (_ROOT, "", ""),
    ):
        for key, (path, _, convert) in rules.items():
            value = _get(metadata, prefix + path)
            if value is None or (isinstance(value, str) and not value):
                continue
            new = _converted(convert, value, prefix + path)
            known = _get(written, ours + path)
            default = (defaults or {}).get(path) if record is not None and known is None else None
            if not any(_same(new, convert(other)) for other in (known, default) if other is not None):
                found[key] = new
    return found


def _record(original: Mapping[str, Any]) -> dict[str, Any] | None:
    text = _get(original, f"{RECORD}.attrs")
    if text is None:
        return None
    return dict(json.loads(text if isinstance(text, str) else str(np.asarray(text).reshape(-1)[0])))


def _converted(convert: Callable[[Any], Any], value: Any, path: str) -> Any:
    try:
        return convert(value)
    except (TypeError, ValueError) as error:
        raise SchemaError(
            f"metadata.{path} is {value!r}, which is not what HyperSpy keeps there: {error}; "
            f"set it with signal.metadata.set_item({path!r}, ...)"
        ) from error


def _same(left: Any, right: Any) -> bool:
    if isinstance(left, float) or (isinstance(left, list) and left and isinstance(left[0], float)):
        return bool(np.allclose(left, right, rtol=1e-12, atol=0.0))
    return bool(left == right)


def _put(tree: dict[str, Any], path: str, value: Any) -> None:
    *folders, leaf = path.split(".")
    for folder in folders:
        tree = tree.setdefault(folder, {})
    tree[leaf] = value


def _get(tree: Mapping[str, Any], path: str) -> Any:
    node: Any = tree
    for key in path.split("."):
        if not isinstance(node, Mapping) or key not in node:
            return None
        node = node[key]
    return node


_LONGEST_ATTRIBUTE = 60_000  # bytes; HDF5 attributes end at 64 KiB


def _storable(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Tree with keys and values that an HDF5 group can hold under the same name."""
    result: dict[str, Any] = {}
    for key, value in tree.items():
        name = str(key).replace("/", "_") or "_"
        if isinstance(value, Mapping):
            result[name] = _storable(value)
        elif isinstance(value, str) and len(value.encode()) > _LONGEST_ATTRIBUTE:
            result[name] = [value]
        elif isinstance(value, list) and any(isinstance(v, Mapping | list) for v in value):
            result[name] = _storable({str(i): v for i, v in enumerate(value)})
        else:
            result[name] = value
    return result
