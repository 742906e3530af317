"""What ``edxdask diagnose`` examines in the child process: the container's structure, rosettasciio's answer.

The child uses both as readers: they send one "map" with what was found as its metadata, so that a file which
crashes or hangs a library ends in one error here too. What is sent is an outline, [line, [lines below it]].
A line holds no values of the file but sizes; names and messages in it are marked, and ``redacted`` makes of
them, on our side, what ``allowed.py`` lets pass.
"""

from __future__ import annotations

import json
import re
import struct
import xml.etree.ElementTree as ET
import zipfile
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from edxdask.io.allowed import shown_message, shown_name, shown_suffix
from edxdask.io.vendor.base import MapHeader, ReadOptions
from edxdask.photons import PhotonBlock

MAGICS: dict[bytes, str] = {
    b"\x89HDF\r\n\x1a\n": "HDF5",
    b"AAMVHFSS": "SFS container (Bruker)",
    b"PK\x03\x04": "zip archive",
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": "OLE compound file",
    b"BZh": "bzip2",
    b"\x1f\x8b": "gzip",
    b"\x30\x02\x00\x00\x30\x01\x00\x00JED": "JEOL stream (.pts)",
    b"MAPSPECTRA_DATA": "EDAX map (.spd)",
    b"\x00\x00\x00\x03\x00": "DigitalMicrograph 3",
    b"\x00\x00\x00\x04\x00": "DigitalMicrograph 4",
    b"II\x97\x01": "TIA series (.ser)",
    b"II*\x00": "TIFF, little-endian",
    b"MM\x00*": "TIFF, big-endian",
    b"\x93NUMPY": "NumPy array",
    b"\x89PNG": "PNG picture",
    b"\xff\xd8\xff": "JPEG picture",
    b"<?xml": "XML",
    b"key\tvalue": "Ripple header (.rpl)",
}
Outline = list[tuple[str, Any]]  # of lines, each with the outline below it
_MARKED = re.compile("\x01(.*?)\x02|\x03(.*?)\x04|\x05(.*?)\x06", re.DOTALL)
MOST_LINES, MOST_TEXT, DEEPEST = 2000, 1 << 24, 12
_JSON_NAMES = ("Metadata", "AcquisitionSettings", "SpectrumImageSettings")  # of Velox: JSON in padded bytes
REPORT = "report"


def magic_of(start: bytes) -> str:
    """Name of the kind of file that starts so, "" for none that is known.

    Examples
    --------
    >>> magic_of(b"AAMVHFSS and more")
    'SFS container (Bruker)'
    """
    return next((name for magic, name in MAGICS.items() if start.startswith(magic)), "")


def name(value: object) -> str:
    """Mark a name of the file."""
    return f"\x01{_plain(value)}\x02"


def message(value: object) -> str:
    """Mark a text by a program that may repeat something of the file."""
    return f"\x03{_plain(value)[:500]}\x04"


def suffix(value: str) -> str:
    """Mark a file's name, of which the suffix may be shown."""
    return f"\x05{_plain(value)}\x06"


def _plain(value: object) -> str:
    return re.sub("[\x00-\x06]", "", str(value))


def redacted(lines: Outline, path: Path) -> Outline:
    """Return the outline with what may be shown in the place of marked names and messages.

    Parameters
    ----------
    lines : list of (str, list)
        What a probe found.
    path : Path
        The file; its own name is removed everywhere.
    """

    def shown(match: re.Match[str]) -> str:
        if match[1] is not None:
            return shown_name(match[1])
        return (
            shown_message(match[2], *names_of(path)) if match[2] is not None else shown_suffix(Path(match[3]))
        )

    return [(_MARKED.sub(shown, line), redacted(below, path)) for line, below in lines]


def names_of(path: Path) -> tuple[str, ...]:
    """All names that a message may use for the file."""
    return str(path), str(path.resolve()), str(path.parent), path.name, path.stem


def indented(lines: Outline) -> list[str]:
    """Outline as indented lines; neighbours that are alike are listed once, with their number.

    Examples
    --------
    >>> indented([("a", [("b", []), ("b", [])])])
    ['a', '  b (2 of them)']
    """
    found: list[str] = []
    for (line, below), many in groupby((line, indented(below)) for line, below in lines):
        number = len(list(many))
        found.append(line + (f" ({number} of them)" if number > 1 else ""))
        found += [f"  {each}" for each in below]
    return found


def cut(lines: list[str]) -> list[str]:
    """Keep the first lines, and say how many more there are."""
    more = len(lines) - MOST_LINES
    return lines if more <= 0 else [*lines[:MOST_LINES], f"… and {more} lines more"]


def structure(path: Path) -> Outline:
    """Find what the container holds: groups, sizes, types, names.

    Raises
    ------
    OSError, ValueError, …
        Any error of the library that reads the container.
    """
    with path.open("rb") as file:
        start = file.read(64)
    kind = magic_of(start)
    if kind == "HDF5":
        return _hdf5(path)
    if kind.startswith("SFS"):
        return _sfs(path)
    if kind == "zip archive":
        return _zip(path)
    if kind == "XML":
        return _xml(path.read_bytes()[:MOST_TEXT])
    if kind == "NumPy array":
        import numpy as np

        array = np.load(path, mmap_mode="r", allow_pickle=False)
        return [(f"array {array.shape} {array.dtype}", [])]
    if kind.startswith("DigitalMicrograph"):
        return [(_digital_micrograph(start), [])]
    return [(kind or "no container that is known here", [])]


def _digital_micrograph(start: bytes) -> str:
    version = start[3]
    size, little = struct.unpack_from(">II" if version == 3 else ">QI", start, 4)
    return f"version {version}, {size} bytes by its header, {'little' if little else 'big'}-endian"


def _hdf5(path: Path) -> Outline:
    import h5py

    with h5py.File(path, "r") as file:
        return [("/", _hdf5_group(file, 0))]


def _hdf5_group(group: Any, depth: int) -> Outline:
    """Outline of a group; what cannot be opened is named with its error."""
    import h5py

    found = _attributes(group)
    for key in group if depth < DEEPEST else ():
        try:
            item = group[key]
        except (KeyError, OSError, RuntimeError) as error:
            found.append((f"{name(key)}: {message(error)}", []))
            continue
        if isinstance(item, h5py.Group):
            found.append((f"{name(key)}/", _hdf5_group(item, depth + 1)))
        elif isinstance(item, h5py.Dataset):
            found.append((f"{name(key)} {_dataset(item)}", [*_attributes(item), *_json(item, str(key))]))
    return found


def _attributes(item: Any) -> Outline:
    return [("attributes: " + ", ".join(map(name, item.attrs)), [])] if item.attrs else []


def _dataset(item: Any) -> str:
    packing = f", {item.compression}" if item.compression else ""
    packing += f", chunks {item.chunks}" if item.chunks else ""
    kind = str(item.dtype)
    if item.dtype.names:
        kind = "fields " + ", ".join(f"{name(n)} {item.dtype[n].base}" for n in item.dtype.names)
    return f"{item.shape} {kind}{packing}"


def _json(item: Any, key: str) -> Outline:
    """Keys of the JSON that Velox keeps in padded bytes."""
    if key not in _JSON_NAMES or item.dtype != "u1" or not 0 < item.size <= MOST_TEXT:
        return []
    column = item[()] if item.ndim == 1 else item[..., -1]
    try:
        return keys_of(json.loads(bytes(column).rstrip(b"\0")))
    except ValueError as error:
        return [(f"no valid JSON: {type(error).__name__}", [])]


def _sfs(path: Path) -> Outline:
    from edxdask.errors import VendorFileError
    from edxdask.io.vendor.sfs import Volume

    with Volume(path, reader="structure") as volume:
        found: Outline = [(f"chunks of {volume.usable + 32} bytes", [])]
        for each in volume.names:
            called = "/".join(map(name, each.split("/")))
            try:
                stream = volume.open(each)
                header = stream.read(0, min(stream.size, MOST_TEXT)).tobytes() if "Header" in each else b""
            except VendorFileError as error:
                found.append((f"{called}: {message(error.reason)}", []))
                continue
            kind = type(stream).__name__.removesuffix("Stream").lower()
            found.append((f"{called}: {stream.size} bytes, {kind}", _xml(header) if header else []))
    return found


def _zip(path: Path) -> Outline:
    with zipfile.ZipFile(path) as archive:
        return [
            (f"file {suffix(each.filename)}: {each.file_size} bytes, {each.compress_size} packed", [])
            for each in archive.infolist()
        ]


def _xml(content: bytes) -> Outline:
    """Tags of a text; entities are not resolved beyond what expat limits."""
    try:
        root = ET.fromstring(content)
    except ET.ParseError as error:
        return [(f"no valid XML: line {error.position[0]}, column {error.position[1]}", [])]
    return [(_tag(root), _children(root, 0))]


def _tag(element: ET.Element) -> str:
    kind = element.get("Type")
    text = " with text" if (element.text or "").strip() else ""
    return name(element.tag) + (f" Type={name(kind)}" if kind else "") + text


def _children(element: ET.Element, depth: int) -> Outline:
    return [(_tag(child), _children(child, depth + 1)) for child in element] if depth < DEEPEST else []


def keys_of(tree: Any, depth: int = 0) -> Outline:
    """Keys of nested metadata, each with the type of its value.

    Examples
    --------
    >>> indented(redacted(keys_of({"Detector": {"LiveTime": 3.0}, "Rossi": "basalt"}), Path("a")))
    ['Detector', '  LiveTime: number', '<name of 5 characters>: text']
    """
    if not isinstance(tree, Mapping) or depth >= DEEPEST:
        return []
    return [
        (name(key), keys_of(value, depth + 1))
        if isinstance(value, Mapping)
        else (f"{name(key)}: {_kind(value)}", [])
        for key, value in tree.items()
    ]


def _kind(value: Any) -> str:
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"array {tuple(value.shape)} {value.dtype}"
    if isinstance(value, str | bytes):
        return "text"
    if isinstance(value, bool):
        return "yes or no"
    if isinstance(value, int | float):
        return "number"
    return f"list of {len(value)}" if isinstance(value, list | tuple) else type(value).__name__


def rosettasciio(path: Path) -> Outline:
    """Find what rosettasciio makes of the file, plugin by plugin until one reads it."""
    import importlib

    import rsciio

    ending = path.suffix.lower().removeprefix(".")
    plugins = [p for p in rsciio.IO_PLUGINS if ending in {s.lower() for s in p["file_extensions"]}]
    found: Outline = [] if plugins else [("no plugin for files of this suffix", [])]
    for plugin in plugins:
        try:
            reader = importlib.import_module(plugin["api"]).file_reader
            try:
                signals = reader(str(path), lazy=True)
            except NotImplementedError:  # formats that it decodes at once
                signals = reader(str(path))
            signs = [_signal(signal) for signal in signals]
        except Exception as error:  # any error of a plugin is what we report
            found.append((f"{plugin['name']}: {_failure(error)}", []))
            continue
        found.append((f"{plugin['name']}: {len(signs)} signals", signs))
        break
    return found


def _failure(error: Exception) -> str:
    """Kind of an error, its message, and where in rosettasciio it was raised."""
    place = ""
    trace = error.__traceback__
    while trace is not None:
        file = Path(trace.tb_frame.f_code.co_filename)
        if "rsciio" in file.parts:
            place = f" ({'/'.join(file.parts[file.parts.index('rsciio') :])}, line {trace.tb_lineno})"
        trace = trace.tb_next
    return f"{type(error).__name__}: {message(error)}{place}"


def _signal(signal: Mapping[str, Any]) -> tuple[str, Outline]:
    below: Outline = []
    for axis in signal.get("axes", ()):
        scale, offset = axis.get("scale"), axis.get("offset", 0.0)
        step = "no step" if scale is None else f"step {scale:.6g}, start {offset:.6g}"
        unit = message(axis.get("units") or "no unit")
        below.append((f"axis {name(axis.get('name'))}: {axis.get('size')} of {step} {unit}", []))
    below += [(part, keys_of(signal.get(part, {}))) for part in ("metadata", "original_metadata")]
    return f"signal {tuple(signal['data'].shape)} {signal['data'].dtype}", below


@dataclass(frozen=True)
class _Found:
    """What a probe found, in the place of a map."""

    header: MapHeader

    def bands(self, rows: int, skip: Collection[int] = ()) -> Iterator[tuple[int, PhotonBlock]]:
        """Have none: it is never used."""
        yield from ()


@dataclass(frozen=True)
class Probe:
    """A method to examine a file, as a reader of the child process.

    Attributes
    ----------
    name : str
        What messages call it.
    look : callable
        Path in, outline out.
    """

    name: str
    look: Callable[[Path], Outline]
    suffixes: tuple[str, ...] = ()

    def accepts(self, path: Path) -> bool:
        """Whether there is a file."""
        return path.is_file()

    def open(self, path: Path, options: ReadOptions) -> list[_Found]:
        """Examine the file; one "map" that holds what was found."""
        metadata = {REPORT: self.look(path)}
        return [_Found(MapHeader("report", (1, 1), 1, 0.0, 0.01, vendor_metadata=metadata))]


STRUCTURE = Probe("structure", structure)
ROSETTASCIIO = Probe("rosettasciio", rosettasciio)
