"""From words of vendor files to those of the schema: numbers, units, names, whole counts, bands of rows."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from edxdask.errors import ParameterError
from edxdask.io.vendor.base import MapHeader, ReadOptions
from edxdask.photons import PhotonBlock, from_dense
from edxdask.schema import VARIABLES

_NM = {"pm": 1e-3, "å": 0.1, "ångström": 0.1, "angstrom": 0.1, "nm": 1.0, "mm": 1e6, "m": 1e9, "meters": 1e9}
_NM |= dict.fromkeys(("µm", "μm", "um", "micron", "microns", "micrometer"), 1e3)
_KEV = {"ev": 1e-3, "kev": 1.0}
_SLAB_BYTES = 64 << 20  # of dense counts held at once while a band is read
_LARGEST_ARRAY = 65536  # elements; longer arrays in vendor metadata are per-pixel data, not metadata
_UINT32_MAX = 0xFFFF_FFFF


def number(value: Any) -> float | None:
    """Finite number in ``value`` (a number, its text, an array of one), else None.

    Goes through the text, so that 22.3 stored in 32 bits stays 22.3.

    Examples
    --------
    >>> number("200"), number(np.float32(22.3)), number(np.array([[15]])), number("off"), number(None)
    (200.0, 22.3, 15.0, None, None)
    """
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, np.ndarray | list | tuple):
        flat = np.asarray(value).ravel()
        value = flat[0] if flat.size == 1 else None
    try:
        found = float(str(value))
    except ValueError:
        return None
    return found if math.isfinite(found) else None


def kev_per(units: Any) -> float | None:
    """How many keV one ``units`` is; None if it is not an energy."""
    return _KEV.get(str(units).strip().lower())


def nm_per(units: Any) -> float | None:
    """How many nm one ``units`` is; None for pixels, points and the like."""
    text = str(units).strip()
    return 0.1 if text == "A" else _NM.get(text.lower())


def pixel_size(y: tuple[Any, Any], x: tuple[Any, Any]) -> tuple[float, float] | None:
    """Pixel size in nm from (scale, units) of both axes; None unless both are calibrated lengths.

    Examples
    --------
    >>> pixel_size((-0.5, "nm"), (0.002, "µm"))
    (0.5, 2.0)
    >>> pixel_size((1, "pix"), (1, "pix")) is None
    True
    """
    sizes = []
    for scale, units in (y, x):
        value, factor = number(scale), nm_per(units)
        if not value or factor is None:  # no number, or a step of zero
            return None
        sizes.append(abs(value) * factor)
    return sizes[0], sizes[1]


def slug(text: Any, default: str) -> str:
    """Short lower-case name of letters, digits and underscores.

    Examples
    --------
    >>> slug("Image 1, Map 3", "map"), slug("", "map")
    ('image_1_map_3', 'map')
    """
    return re.sub(r"[^a-z0-9]+", "_", str(text or "").lower()).strip("_") or default


def image_name(text: Any) -> str:
    """Name that an image may have as a variable of a store.

    Examples
    --------
    >>> image_name("HAADF"), image_name("2nd image"), image_name("Total")
    ('haadf', 'image_2nd_image', 'total_image')
    """
    name = slug(text, "image")
    name = name if name.isidentifier() else f"image_{name}"
    return f"{name}_image" if name in VARIABLES else name


def unique_names(names: Iterable[str]) -> list[str]:
    """Names as they are, with a number after those that occur again.

    Examples
    --------
    >>> unique_names(["edx", "edx", "bse"])
    ['edx', 'edx_2', 'bse']
    """
    taken: list[str] = []
    for name in names:
        candidate, again = name, 1
        while candidate in taken:
            again += 1
            candidate = f"{name}_{again}"
        taken.append(candidate)
    return taken


def element_symbols(values: Any) -> list[str]:
    """Chemical symbols among ``values``, in their order, each once."""
    found = np.asarray(values).ravel().tolist() if values is not None else []
    texts = [item.decode("ascii", "ignore") if isinstance(item, bytes) else str(item) for item in found]
    return list(dict.fromkeys(text for text in texts if re.fullmatch(r"[A-Z][a-z]?", text)))


def verbatim(value: Any) -> Any:
    """Vendor metadata as plain Python that JSON can hold; per-pixel arrays shrink to a line of text."""
    if hasattr(value, "compute"):  # arrays of a lazily read file
        value = value.compute(scheduler="synchronous")
    if isinstance(value, Mapping):
        return {str(key): verbatim(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        if value.size > _LARGEST_ARRAY:
            return f"array of shape {value.shape} and type {value.dtype}, left out"
        return verbatim(value.tolist())
    if isinstance(value, list | tuple):
        return [verbatim(item) for item in value]
    if isinstance(value, np.generic):
        return verbatim(value.item())
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace").rstrip("\x00")
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def whole_counts(dense: np.ndarray) -> np.ndarray:
    """``dense`` as unsigned whole numbers.

    Raises
    ------
    ValueError
        If it holds anything but whole numbers from 0 to 2**32 - 1.
    """
    if dense.dtype.kind not in "buif":
        raise ValueError(f"data of type {dense.dtype} are not counts")
    if dense.dtype.kind == "b" or dense.dtype in (np.uint8, np.uint16, np.uint32):
        return dense.astype(np.uint8) if dense.dtype.kind == "b" else dense
    smallest, largest = dense.min(initial=0), dense.max(initial=0)
    if not (smallest >= 0 and largest <= _UINT32_MAX):  # also true for NaN
        raise ValueError(f"values from {smallest} to {largest} are not counts of photons")
    narrow = dense.astype(np.uint16 if largest <= 0xFFFF else np.uint32)
    if dense.dtype.kind == "f" and not np.array_equal(narrow, dense):
        raise ValueError("the values are not whole numbers: the data were scaled or processed")
    return narrow


def largest_count(dtype: np.dtype[Any]) -> int:
    """Largest count that data of ``dtype`` may hold.

    Examples
    --------
    >>> largest_count(np.dtype("u1")), largest_count(np.dtype("i4")), largest_count(np.dtype("f4"))
    (255, 2147483647, 4294967295)
    """
    return min(int(np.iinfo(dtype).max), _UINT32_MAX) if dtype.kind in "ui" else _UINT32_MAX


def band_ranges(height: int, rows: int, skip: Collection[int]) -> Iterator[tuple[int, int]]:
    """First and one past the last row of each band that is not skipped.

    Examples
    --------
    >>> list(band_ranges(10, 4, {4}))
    [(0, 4), (8, 10)]
    """
    for start in range(0, height, rows):
        if start not in skip:
            yield start, min(start + rows, height)


def joined(blocks: list[PhotonBlock]) -> PhotonBlock:
    """One block of the pixels of several, in order."""
    if len(blocks) == 1:
        return blocks[0]
    ends = np.cumsum([0, *(int(block.indptr[-1]) for block in blocks)])
    indptr = [np.zeros(1, np.int64)]
    indptr += [block.indptr[1:] + end for block, end in zip(blocks, ends, strict=False)]
    return PhotonBlock(
        np.concatenate(indptr),
        np.concatenate([block.channel for block in blocks]),
        np.concatenate([block.count for block in blocks]),
        blocks[0].channels,
    )


@dataclass
class DenseMap:
    """A map that some slicing function reads as dense rows.

    Attributes
    ----------
    slab : first and one past the last row -> dense (rows, columns, channels)
    chunk_rows : rows the file stores together; slabs hold whole multiples where they can
    """

    header: MapHeader
    slab: Callable[[int, int], np.ndarray]
    itemsize: int
    chunk_rows: int = 1

    def bands(self, rows: int, skip: Collection[int] = ()) -> Iterator[tuple[int, PhotonBlock]]:
        """Bands of photons; at most ``_SLAB_BYTES`` (or one stored chunk of rows) are dense at once."""
        row_bytes = self.header.shape[1] * self.header.channels * self.itemsize
        step = max(1, _SLAB_BYTES // (row_bytes * self.chunk_rows)) * self.chunk_rows
        for start, stop in band_ranges(self.header.shape[0], rows, skip):
            edges = [(first, min(first + step, stop)) for first in range(start, stop, step)]
            yield start, joined([from_dense(whole_counts(self.slab(*edge))) for edge in edges])


def refuse_frames(options: ReadOptions, reader: str) -> None:
    """Raise if single frames are requested of a format with files that hold only their sum."""
    if options.frames is not None:
        raise ParameterError(
            "frames", options.frames, f"None, as {reader} files hold the sum of all frames", "Leave it out."
        )
