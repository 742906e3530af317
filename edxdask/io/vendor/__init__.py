"""Vendor readers: one file per format, all behind the Protocol of ``base.py``; ``find_reader`` picks one.

A reader is chosen by what the file holds; its suffix only decides which reader is tried first. Reader
modules are imported when they are tried, so that the child process loads one format only.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path

from edxdask.errors import VendorFileError
from edxdask.io.vendor.base import MapHeader, ReadOptions, VendorMap, VendorReader

__all__ = [
    "FORMATS",
    "MapHeader",
    "ReadOptions",
    "VendorMap",
    "VendorReader",
    "find_reader",
    "known_formats",
    "readers_of",
]

_ROSETTA = "edxdask.io.vendor.rosetta"
# suffix -> what people call it, and the module that reads it; the first that accepts the content is used
FORMATS: dict[str, tuple[str, str]] = {
    ".bcf": ("Bruker", "edxdask.io.vendor.bruker"),
    ".emd": ("Thermo Velox", "edxdask.io.vendor.velox"),
    ".pts": ("JEOL", "edxdask.io.vendor.jeol"),
    ".asw": ("JEOL project", "edxdask.io.vendor.jeol"),
    ".h5oina": ("Oxford", "edxdask.io.vendor.oxford"),
    ".edaxh5": ("EDAX APEX", "edxdask.io.vendor.edax"),
    ".spd": ("EDAX TEAM", _ROSETTA),
    ".hspy": ("HyperSpy", _ROSETTA),
    ".rpl": ("Ripple", _ROSETTA),
    ".ser": ("TIA", _ROSETTA),
    ".emi": ("TIA", _ROSETTA),
    ".elid": ("Phenom", _ROSETTA),
    ".dm3": ("DigitalMicrograph", _ROSETTA),
    ".dm4": ("DigitalMicrograph", _ROSETTA),
    ".spx": ("Bruker spectrum", _ROSETTA),
    ".msa": ("EMSA/MAS spectrum", _ROSETTA),
    ".emsa": ("EMSA/MAS spectrum", _ROSETTA),
    ".eds": ("JEOL spectrum", _ROSETTA),
}
_INSTEAD = {
    ".zip": "it is an archive: unpack it and give the file inside",
    ".raw": "give the .rpl file beside it, which says how the .raw is laid out",
    ".spc": "it holds one spectrum: give the .spd file beside it",
    ".ipr": "it holds an image: give the .spd file beside it",
    ".img": "it holds an image: give the .pts file or the .asw project",
    ".map": "it holds an element map: give the .pts file or the .asw project",
}


def known_formats() -> str:
    """All formats in one line, for messages.

    Examples
    --------
    >>> known_formats()[:13]
    'Bruker (.bcf)'
    """
    by_name: dict[str, list[str]] = {}
    for suffix, (name, _) in FORMATS.items():
        by_name.setdefault(name, []).append(suffix)
    return ", ".join(f"{name} ({' '.join(by_name[name])})" for name in sorted(by_name))


def readers_of(module: str) -> tuple[VendorReader, ...]:
    """Readers of one module: its ``READERS``, or its one ``READER``."""
    loaded = importlib.import_module(module)
    return tuple(loaded.READERS) if hasattr(loaded, "READERS") else (loaded.READER,)


def find_reader(path: str | Path) -> VendorReader:
    """Reader of the format of the file at ``path``.

    Reads the content, in part with the HDF5 library: run it where a damaged file may do no harm.

    Raises
    ------
    VendorFileError
        If there is no file, it is empty or a folder, or no reader knows its content.
    """
    path = Path(path)
    _must_hold_something(path)
    for reader in _candidates(path.suffix.lower()):
        if reader.accepts(path):
            return reader
    suffix = path.suffix.lower()
    if suffix in FORMATS:
        reason = f"its content is not that of a {FORMATS[suffix][0]} file: it is damaged, or another format"
    else:
        reason = _INSTEAD.get(suffix, "its content has no known format")
    raise VendorFileError(path, "none", "opening", f"{reason}. Known formats: {known_formats()}")


def _must_hold_something(path: Path) -> None:
    reason = ""
    if not path.exists():
        reason = "there is no such file"
    elif not path.is_file():
        reason = "it is a folder, not a file; give the files inside one by one"
    elif path.stat().st_size == 0:
        reason = "the file is empty"
    if reason:
        raise VendorFileError(path, "none", "opening", f"{reason}. Known formats: {known_formats()}")


def _candidates(suffix: str) -> Iterator[VendorReader]:
    """Readers, those of the suffix's module first; others are imported only if the first ones decline."""
    modules = list(dict.fromkeys(module for _, module in FORMATS.values()))
    first = FORMATS.get(suffix, ("", ""))[1]
    for module in sorted(modules, key=lambda name: name != first):
        yield from sorted(readers_of(module), key=lambda reader: suffix not in reader.suffixes)
