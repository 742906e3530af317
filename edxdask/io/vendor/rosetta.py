"""Formats that rosettasciio reads: HyperSpy, Ripple, EDAX .spd, TIA, Phenom, DigitalMicrograph, and spectra.

One adapter for all, and a small record for each: how its content is recognised, whether rosettasciio reads it
piece by piece, and what must be true before its answer is accepted. Where it does read piece by piece
(``lazy``) bands are read slab by slab; elsewhere it decodes the file once, into the memory of this process.

Facts about the formats: TIA energies are in eV and its y scale is negative; a truncated Phenom file makes
rosettasciio wait for ever, and its blocks carry checksums, so it is unpacked once before it is read; a .raw
or .spd file with another length than its header says was cut, or its header is wrong; .hspy files may hold
numbers as text, and signals of any kind side by side; .msa and .spx files say how many channels they hold.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from edxdask.io.vendor.base import ReadOptions, VendorMap
from edxdask.io.vendor.convert import refuse_frames
from edxdask.io.vendor.signals import Signal, maps_of

# what rosettasciio says if it cannot read lazily: a colour picture in a DM file, HDF5 data without chunks
_NEVER_LAZY = ("RGBA", "chunks=")
_HDF5 = b"\x89HDF\r\n\x1a\n"


def _always(path: Path) -> None:
    """Nothing to check before the file is read."""


def _as_it_is(signal: Signal) -> Signal:
    return signal


@dataclass(frozen=True)
class RosettaReader:
    """A format that a plugin of rosettasciio reads.

    Attributes
    ----------
    plugin : module of rosettasciio
    looks_right : whether the first 64 KiB (and the path) are of this format
    lazy : whether rosettasciio reads it piece by piece
    check : raises if the file has damage that rosettasciio would not notice
    fix : corrects what is wrong or missing in a signal of this format
    uncalibrated : what to do about a file without an energy axis
    """

    name: str
    suffixes: tuple[str, ...]
    plugin: str
    looks_right: Callable[[Path, bytes], bool]
    lazy: bool = True
    check: Callable[[Path], None] = _always
    fix: Callable[[Signal], Signal] = _as_it_is
    uncalibrated: str = "give its energy axis a unit, keV or eV, in the program that wrote it"
    options: Mapping[str, Any] = field(default_factory=dict)

    def accepts(self, path: Path) -> bool:
        """Whether the content is of this format."""
        with path.open("rb") as file:
            return self.looks_right(path, file.read(65536))

    def open(self, path: Path, options: ReadOptions) -> list[VendorMap]:
        """All EDX spectrum images of the file; where it holds none, its EDX spectra, as maps of one pixel."""
        refuse_frames(options, self.name)
        self.check(path)
        signals = [self.fix(signal) for signal in self._signals(path)]
        return [found.map for found in maps_of(signals, lazy=self.lazy, uncalibrated=self.uncalibrated)]

    def _signals(self, path: Path) -> list[Signal]:
        read = importlib.import_module(f"rsciio.{self.plugin}").file_reader
        if not self.lazy:
            return list(read(str(path), **self.options))
        try:
            return list(read(str(path), lazy=True, **self.options))
        except ValueError as error:
            if not any(word in str(error) for word in _NEVER_LAZY):
                raise
            return list(read(str(path), **self.options))


def _is_hspy(path: Path, start: bytes) -> bool:
    if not start.startswith(_HDF5):
        return False
    import h5py

    try:
        with h5py.File(path, "r") as file:
            return "Experiments" in file and isinstance(file["Experiments"], h5py.Group)
    except (OSError, KeyError, RuntimeError, ValueError):
        return path.suffix.lower() == ".hspy"  # damaged: its reader says how


def _is_ripple(path: Path, start: bytes) -> bool:
    text = start.decode("latin-1").lower()
    return path.suffix.lower() == ".rpl" and all(word in text for word in ("width", "height", "depth"))


def _raw_length(path: Path) -> None:
    from rsciio.ripple import file_reader

    described = file_reader(str(path), lazy=True)[0]
    raws = [path.with_suffix(suffix) for suffix in (".raw", ".RAW")]
    size = next(raw for raw in raws if raw.exists()).stat().st_size
    stated = described["original_metadata"]
    expected = stated["offset"] + described["data"].size * described["data"].dtype.itemsize
    if size != expected:
        raise ValueError(f"the .raw file holds {size} bytes, the .rpl file describes {expected}: correct one")


def _ripple_energy(signal: Signal) -> Signal:
    """Plain Ripple files calibrate in one key, in eV; rosettasciio leaves that axis without a unit."""
    stated = signal["original_metadata"]
    if "ev-per-chan" in stated and "depth-scale" not in stated and signal["data"].ndim == 3:
        depth = 2 if stated["record-by"] == "vector" else 0
        signal["axes"][depth]["units"] = "eV"
    return signal


def _is_spd(path: Path, start: bytes) -> bool:
    return path.suffix.lower() == ".spd" and start.startswith(b"MAPSPECTRA_DATA")


def _spd_length(path: Path) -> None:
    """Raise where the header describes fewer spectra than the file holds: the rest would be lost silently."""
    head = np.fromfile(path, dtype="<i4", count=8, offset=16)
    if head.size < 8:
        raise ValueError("the header is cut off")
    _, spectra, points, lines, channels, width, offset, _ = (int(value) for value in head)
    row = points * channels * width
    size, expected = path.stat().st_size, offset + lines * row
    if min(points, lines, channels, width, offset) <= 0 or not expected <= size < expected + row:
        raise ValueError(
            f"the header describes {lines} × {points} spectra of {channels} channels, {expected} bytes; "
            f"the file holds {size}"
        )
    if spectra not in (0, points * lines):
        raise ValueError(
            f"the header counts {spectra} spectra in a map of {lines} × {points}: it was cut short"
        )


def _is_tia(path: Path, start: bytes) -> bool:
    if path.suffix.lower() == ".ser":
        return start[:4] == b"II\x97\x01"
    if path.suffix.lower() != ".emi":
        return False
    return b"<ObjectInfo>" in start or b"<ObjectInfo>" in path.read_bytes()


def _records_agree(signal: Signal) -> Signal:
    """Each TIA record states its type and length; rosettasciio applies the first one to all."""
    stated = signal["original_metadata"].get("ser_header_parameters", {})
    for key in ("DataType", "ArrayLength"):
        values = np.unique(np.asarray(stated.get(key, ())))
        if values.size > 1:
            raise ValueError(f"its records differ in {key} ({values[:3].tolist()}): the file is damaged")
    return signal


def _is_phenom(path: Path, start: bytes) -> bool:
    return path.suffix.lower() == ".elid" and start[:3] == b"BZh"


def _unpacks(path: Path) -> None:
    """Unpack the whole file: bzip2 notices a missing end and any changed bit; the reader notices neither."""
    import bz2

    with bz2.open(path) as file:
        while file.read(1 << 20):
            pass


def _loss_is_in_ev(signal: Signal) -> Signal:
    """DigitalMicrograph calibrates X-ray axes in keV and energy losses in eV; old files name no kind."""
    metadata = signal.setdefault("metadata", {}).setdefault("Signal", {})
    if not metadata.get("signal_type") and any(str(axis.get("units")) == "eV" for axis in signal["axes"]):
        metadata["signal_type"] = "EELS"
    return signal


def _is_dm(path: Path, start: bytes) -> bool:
    if path.suffix.lower() not in (".dm3", ".dm4") or len(start) < 16:
        return False
    return int.from_bytes(start[:4], "big") in (3, 4)


def _is_spx(path: Path, start: bytes) -> bool:
    return path.suffix.lower() == ".spx" and b"TRTSpectrum" in start


def _spx_is_whole(signal: Signal) -> Signal:
    stated = signal["original_metadata"]["Spectrum"].get("ChannelCount")
    return _of_length(signal, stated)


def _of_length(signal: Signal, stated: Any) -> Signal:
    """Refuse a spectrum of another length than its header says: the rest would be lost silently."""
    if stated is not None and int(stated) != signal["data"].size:
        held = signal["data"].size
        raise ValueError(
            f"its header announces {int(stated)} channels, it holds {held}: the file was cut short"
        )
    return signal


def _is_msa(path: Path, start: bytes) -> bool:
    return path.suffix.lower() in (".msa", ".emsa") and start.lstrip().startswith(b"#FORMAT")


def _has_an_end(path: Path) -> None:
    if b"#ENDOFDATA" not in path.read_bytes()[-4096:].replace(b" ", b""):
        raise ValueError("it does not end with #ENDOFDATA, as the format demands: the file was cut short")


def _msa_as_told(signal: Signal) -> Signal:
    """Rosettasciio takes a missing scale for 1, checks no length, and knows only some kinds of spectra."""
    stated = signal["original_metadata"]
    if stated.get("XPERCHAN") is None:
        signal["axes"][0]["scale"] = None
    kind = str(stated.get("SIGNALTYPE") or "")
    if kind and not signal["metadata"]["Signal"].get("signal_type"):
        signal["metadata"]["Signal"]["signal_type"] = kind  # WDS, XRF, …: X-rays, but not of this kind
    return _of_length(signal, stated.get("NPOINTS"))


def _is_eds(path: Path, start: bytes) -> bool:
    return path.suffix.lower() == ".eds" and len(start) > 400 and not start.startswith(_HDF5)


READERS = (
    RosettaReader("HyperSpy", (".hspy",), "hspy", _is_hspy),
    RosettaReader(
        "Ripple",
        (".rpl",),
        "ripple",
        _is_ripple,
        check=_raw_length,
        fix=_ripple_energy,
        uncalibrated="add a line 'ev-per-chan<TAB>10' with the right number of eV to the .rpl file",
    ),
    RosettaReader(
        "EDAX TEAM",
        (".spd",),
        "edax",
        _is_spd,
        check=_spd_length,
        uncalibrated="put the .spc file of the same name, which holds the calibration, beside the .spd file",
    ),
    RosettaReader("TIA", (".ser", ".emi"), "tia", _is_tia, lazy=False, fix=_records_agree),
    RosettaReader("Phenom", (".elid",), "phenom", _is_phenom, lazy=False, check=_unpacks),
    RosettaReader("DigitalMicrograph", (".dm3", ".dm4"), "digitalmicrograph", _is_dm, fix=_loss_is_in_ev),
    RosettaReader("Bruker spectrum", (".spx",), "bruker", _is_spx, lazy=False, fix=_spx_is_whole),
    RosettaReader(
        "EMSA/MAS",
        (".msa", ".emsa"),
        "msa",
        _is_msa,
        lazy=False,
        check=_has_an_end,
        fix=_msa_as_told,
        uncalibrated="its lines #XPERCHAN, #OFFSET and #XUNITS (keV or eV) say how channels become energies",
    ),
    RosettaReader("JEOL spectrum", (".eds",), "jeol", _is_eds, lazy=False),
)
