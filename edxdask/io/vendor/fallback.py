"""Another decoder for files with a structure ours does not know: rosettasciio, checked by the file's totals.

It decodes a whole map into the memory of the child process, which is limited, and checks little:
so its result is accepted only if it agrees with the file's own sum spectrum within 1 %. A file in which
our reader saw damage never comes here.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edxdask.io.vendor.base import ReadOptions, VendorMap
from edxdask.io.vendor.signals import Signal, maps_of

NAME = "rosettasciio"
_LARGEST_DIFFERENCE = 0.01
_UNCALIBRATED = "rosettasciio found none in this file"


@dataclass(frozen=True)
class _Decoded:
    """What rosettasciio made of a file.

    Attributes
    ----------
    signals : spectrum images, and the images beside them
    accounts : for each spectrum image, photons by the file's own sum spectrum, None where it has none;
        and which counts that spectrum does not cover
    exact : whether that total is of every photon
    """

    signals: list[Signal]
    accounts: list[tuple[int | None, str]]
    exact: bool


def open_maps(reader: str, path: Path, options: ReadOptions, reason: str) -> list[VendorMap]:
    """Read the maps of a file that ``reader`` refused for ``reason`` with rosettasciio.

    Raises
    ------
    ValueError
        If their counts differ by more than 1 % from the file's own sum spectra.
    """
    decoded = DECODERS[reader](path, options)
    found = maps_of(decoded.signals, lazy=False, uncalibrated=_UNCALIBRATED)
    if len(found) != len(decoded.accounts):
        raise ValueError(f"it found {len(found)} maps where the file describes {len(decoded.accounts)}")
    maps: list[VendorMap] = []
    for item, (account, unverified) in zip(found, decoded.accounts, strict=True):
        photons = int(item.signal["data"].sum(dtype=np.int64))
        remark = (
            f"the {reader} reader does not know the structure of this file ({reason}); {NAME} read it, "
            f"{_compared(photons, account)}"
        )
        item.map.header = replace(
            item.map.header,
            remarks=(*item.map.header.remarks, remark),
            expected_total=account,
            total_is_exact=decoded.exact,
            unverified=unverified,
        )
        maps.append(item.map)
    return maps


def _compared(photons: int, account: int | None) -> str:
    """Compare the photons that were found with those in the file's total; raise if they differ too much."""
    if account is None:
        return f"and nothing in the file can confirm its {photons} photons: compare them with the vendor's"
    if abs(photons - account) > _LARGEST_DIFFERENCE * account:
        raise ValueError(f"it found {photons} photons, the file's own sum spectrum has {account}")
    differ = 100 * abs(photons - account) / max(account, 1)
    return f"and its {photons} photons agree with the file's own sum spectrum to {differ:.2g} %"


def _bruker(path: Path, options: ReadOptions) -> _Decoded:
    if options.frames is not None:
        raise ValueError("a .bcf file holds no frames to choose from: leave frames out")
    bruker: Any = importlib.import_module("rsciio.bruker._api")
    file = bruker.BCF_reader(str(path))
    if len(set(file.available_indexes)) < len(file.available_indexes):
        raise ValueError("it cannot distinguish the maps of a file with more than ten of them")
    # otherwise it guesses a type from twice the mean count, and larger counts wrap silently
    file.header.estimate_map_depth = lambda *_, **__: np.uint32
    signals = bruker.bcf_hyperspectra(file, index="all", downsample=1)
    for signal in signals:
        signal["axes"][1]["scale"] = file.header.x_res  # it gives both axes the step of y
    accounts = [(int(file.header.spectra_data[i].data.sum()), "") for i in file.available_indexes]
    return _Decoded([*signals, *bruker.bcf_images(file)], [*accounts], exact=False)


def _velox(path: Path, options: ReadOptions) -> _Decoded:
    read = importlib.import_module("rsciio.emd").file_reader
    first, last = options.frames or (0, None)
    together = options.detectors == "sum"
    # without select_type it takes an EDX map beside images for as large as the largest image
    signals = read(
        str(path),
        select_type="spectrum_image",
        first_frame=first,
        last_frame=last,
        sum_EDS_detectors=together,
        SI_dtype=np.uint32,
    )
    maps = [signal for signal in signals if signal["axes"][-1]["name"] == "X-ray energy"]
    account = None
    unverified = "the file keeps no sum spectrum of these frames and detectors"
    if options.frames is None and together and len(maps) == 1:
        spectra = [s["data"] for s in read(str(path), select_type="single_spectrum")]
        account = sum(int(np.asarray(data).sum(dtype=np.int64)) for data in spectra) or None
    return _Decoded(maps, [(account, "" if account else unverified)] * len(maps), exact=True)


def _jeol(path: Path, options: ReadOptions) -> _Decoded:
    if options.frames is not None:
        raise ValueError("it takes all frames or none: leave frames out")
    if path.suffix.lower() == ".asw":
        raise ValueError("of a project it leaves out what it cannot read: give its .pts files one by one")
    read = importlib.import_module("rsciio.jeol").file_reader
    jeol: Any = importlib.import_module("edxdask.io.vendor.jeol")
    jeol.words_of(path, whole=True)  # raises where the file was cut short, which rosettasciio does not see
    signals = read(str(path), SI_dtype=np.uint32)
    maps = [signal for signal in signals if signal["data"].ndim == 3]
    accounts = [
        jeol.held_against_header(signal, signal["data"].sum(axis=(0, 1), dtype=np.int64)) for signal in maps
    ]
    return _Decoded(signals, accounts, exact=False)


DECODERS: dict[str, Callable[[Path, ReadOptions], _Decoded]] = {
    "Bruker": _bruker,
    "velox": _velox,
    "JEOL": _jeol,
}
