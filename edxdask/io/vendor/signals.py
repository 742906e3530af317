"""Signal dictionaries of rosettasciio, as maps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from edxdask.io.vendor.base import MapHeader
from edxdask.io.vendor.convert import (
    DenseMap,
    kev_per,
    largest_count,
    number,
    slug,
    unique_names,
    whole_counts,
)
from edxdask.io.vendor.hyperspy_dict import (
    Signal,
    attributes,
    collect_images,
    lookup,
    pixel_size_of,
    title_of,
    vendor_metadata,
)
from edxdask.io.vendor.lone import is_spectrum, of_one_pixel

__all__ = ["FoundMap", "Signal", "maps_of"]

_ENERGY_LAST = 2


@dataclass(frozen=True)
class FoundMap:
    """A signal that is a spectrum image, or was made one.

    Attributes
    ----------
    signal : three-dimensional
    energy : position of its energy axis
    map : the map that is sent
    """

    signal: Signal
    energy: int
    map: DenseMap


def maps_of(signals: list[Signal], *, lazy: bool, uncalibrated: str) -> list[FoundMap]:
    """Spectrum images among ``signals``; where there is none, spectra, each as an image of one pixel.

    Parameters
    ----------
    signals : all that a file holds; images among them go with the maps
    lazy : whether counts are read piece by piece; else they are checked now
    uncalibrated : what to do about a map without an energy axis

    Raises
    ------
    ValueError
        If there is neither, or one of them has no calibrated energy axis, or holds no counts.
    """
    signals = [signal for signal in signals if hasattr(signal.get("data"), "ndim")]
    chosen = [(signal, axis) for signal in signals if (axis := _energy_axis(signal)) is not None]
    others = [signal for signal in signals if not any(signal is taken for taken, _ in chosen)]
    if chosen:
        remarks = [""] * len(chosen)
    else:
        lone = [of_one_pixel(signal) for signal in signals if is_spectrum(signal)]
        chosen, remarks = [(signal, _ENERGY_LAST) for signal, _ in lone], [remark for _, remark in lone]
        lazy = lazy and not lone
    if not chosen:
        raise ValueError(f"it holds no spectrum image and no spectrum of X-rays, only {_contents(signals)}")
    names = unique_names(slug(title_of(signal), "map") for signal, _ in chosen)
    return [
        FoundMap(signal, axis, _map(signal, axis, name, others, remark, lazy=lazy, uncalibrated=uncalibrated))
        for (signal, axis), name, remark in zip(chosen, names, remarks, strict=True)
    ]


def _map(
    signal: Signal,
    energy: int,
    name: str,
    others: list[Signal],
    remark: str,
    *,
    lazy: bool,
    uncalibrated: str,
) -> DenseMap:
    axes = signal["axes"]
    factor, scale = kev_per(axes[energy].get("units")), number(axes[energy].get("scale"))
    offset = number(axes[energy].get("offset", 0))
    if factor is None or scale is None or offset is None or not scale > 0:
        seen = {key: axes[energy].get(key) for key in ("scale", "offset", "units")}
        raise ValueError(f"map {name!r} has no energy calibration ({seen}): {uncalibrated}")
    data = signal["data"] if lazy else whole_counts(np.asarray(signal["data"]))
    y, x = (axis for i, axis in enumerate(axes) if i != energy)
    shape = tuple(size for i, size in enumerate(data.shape) if i != energy)
    header = MapHeader(
        name=name,
        shape=(int(shape[0]), int(shape[1])),
        channels=int(data.shape[energy]),
        energy_offset=offset * factor,
        energy_scale=scale * factor,
        pixel_size=pixel_size_of(y, x),
        attrs=attributes(signal),
        images=collect_images(_images_of(signal, others)),
        vendor_metadata=vendor_metadata(signal),
        remarks=(remark,) if remark else (),
        dtype_max=largest_count(data.dtype) if lazy else int(data.max(initial=0)),
    )
    return DenseMap(header, _slabs(data, energy), data.dtype.itemsize, _chunk_rows(data, energy))


def _energy_axis(signal: Signal) -> int | None:
    """Position of the energy axis if the signal is an EDX spectrum image, else None."""
    axes, kind = signal["axes"], str(lookup(signal.get("metadata", {}), "Signal.signal_type") or "")
    if kind and not kind.startswith("EDS"):
        return None  # EELS, cathodoluminescence, …
    if signal["data"].ndim != 3 or len(axes) != 3 or signal["data"].dtype.kind not in "buif":
        return None
    by_units = [i for i, axis in enumerate(axes) if kev_per(axis.get("units")) is not None]
    if len(by_units) == 1:
        return by_units[0]
    by_name = [i for i, axis in enumerate(axes) if "energy" in str(axis.get("name")).lower()]
    if len(by_name) == 1:
        return by_name[0]
    not_scanned = [i for i, axis in enumerate(axes) if not axis.get("navigate", True)]
    # a stack of images has two axes that were not scanned; only a stated kind makes one of them an energy
    return not_scanned[0] if len(not_scanned) == 1 and (kind or not by_units) else None


def _slabs(data: Any, energy: int) -> Callable[[int, int], np.ndarray]:
    row_axis = 1 if energy == 0 else 0

    def slab(start: int, stop: int) -> np.ndarray:
        rows = tuple(slice(start, stop) if i == row_axis else slice(None) for i in range(3))
        part = data[rows]
        if hasattr(part, "compute"):
            part = part.compute(scheduler="synchronous")  # this process is one worker already
        return np.moveaxis(np.asarray(part), energy, -1)

    return slab


def _chunk_rows(data: Any, energy: int) -> int:
    """Rows that an HDF5 file stores together; memory maps have none."""
    return int(data.chunks[1 if energy == 0 else 0][0]) if hasattr(data, "chunks") else 1


def _images_of(signal: Signal, others: list[Signal]) -> list[Signal]:
    """Images with a title that begins the map's title ("Image 1", "Image 1, Map 3"); all, if none."""
    named = [other for other in others if title_of(other) and title_of(signal).startswith(title_of(other))]
    return named or others


def _contents(signals: list[Signal]) -> str:
    kinds = []
    for signal in signals:
        kind = str(lookup(signal.get("metadata", {}), "Signal.signal_type") or "data")
        kinds.append(f"{kind} of shape {tuple(int(n) for n in signal['data'].shape)}")
    return ", ".join(kinds[:5]) + (", …" if len(kinds) > 5 else "") if kinds else "nothing that can be read"
