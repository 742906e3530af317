"""What a vendor reader must offer; ``io/vendor`` holds one file per format, all with this interface.

Readers run in a child process (``io/sandbox.py``): they may raise anything, crash or hang. They send
photons, not dense cubes, one band of rows at a time, so that memory follows the photons of a band.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from edxdask.errors import VendorFileError
from edxdask.photons import PhotonBlock


class UnknownStructureError(VendorFileError):
    """The structure of the file is unknown to its reader; nothing says that the file is damaged.

    Another decoder may then try (``fallback.py``). Damage that a reader recognises is never this error.
    """


@dataclass(frozen=True)
class ReadOptions:
    """What the user asked of the reader.

    Attributes
    ----------
    frames : first and one past the last frame to sum, or None for all
    detectors : "sum" for one map of all detectors, "separate" for one map each
    """

    frames: tuple[int, int] | None = None
    detectors: Literal["sum", "separate"] = "sum"


@dataclass(frozen=True)
class MapHeader:
    """Everything about one map but its counts.

    Attributes
    ----------
    name : short and unique within the file; the key of the map in a collection
    shape : rows, columns
    channels : length of the energy axis
    energy_offset, energy_scale : keV, of channel 0 and between channels
    pixel_size : nm (y, x), None where the file has no calibration
    attrs : attributes of ``schema.ATTRIBUTES`` that the file knows, converted to their units
    images : scanned images of the same map, by name ("haadf"); any 2-D shape
    vendor_metadata : what the file says, verbatim
    expected_total : photons by the file's own total, None where it has none
    total_is_exact : False where the file's total may differ for good reasons (then a difference only warns)
    unverified : which counts could not be compared with the file's own totals, and why; "" where all could,
        or where the format has none
    remarks : what the user must know of how the counts were read
    frames : frames that the map is the sum of, where each can be read alone (``FramedMap``); else 0
    frame_images : names of the scanned images that have one image for each of these frames
    dtype_max : bound of the counts of a pixel and channel, as far as the header or format can say; `edxdask
        info` predicts the dense size by it. The store's dtype follows from the counts themselves
    """

    name: str
    shape: tuple[int, int]
    channels: int
    energy_offset: float
    energy_scale: float
    pixel_size: tuple[float, float] | None = None
    attrs: dict[str, Any] = field(default_factory=dict)
    images: dict[str, np.ndarray] = field(default_factory=dict)
    vendor_metadata: dict[str, Any] = field(default_factory=dict)
    expected_total: int | None = None
    total_is_exact: bool = True
    unverified: str = ""
    remarks: tuple[str, ...] = ()
    frames: int = 0
    frame_images: tuple[str, ...] = ()
    dtype_max: int = 0xFFFF


class VendorMap(Protocol):
    """One map in an open file."""

    header: MapHeader

    def bands(self, rows: int, skip: Collection[int] = ()) -> Iterator[tuple[int, PhotonBlock]]:
        """Yield ``(first_row, photons)`` for every band of ``rows`` rows, but for first rows in ``skip``.

        Bands start at multiples of ``rows`` and come in any order; pixels of a block are in C order.
        A band that is skipped must not be decoded.
        """
        ...


class FramedMap(VendorMap, Protocol):
    """A map whose frames can be read one by one; frames count from the first one chosen."""

    def frame_rows(self, first: int, stop: int, top: int, bottom: int) -> PhotonBlock:
        """Photons of rows ``top`` to ``bottom``, summed over frames ``first`` to ``stop``."""
        ...

    def frame_image(self, name: str, frame: int) -> np.ndarray:
        """One frame of a scanned image, of the map's shape."""
        ...


class VendorReader(Protocol):
    """One format. Modules of ``io/vendor`` offer one as ``READER``."""

    name: str
    suffixes: tuple[str, ...]

    def accepts(self, path: Path) -> bool:
        """Whether the file's content (not only its name) is of this format; must not crash on any bytes."""
        ...

    def open(self, path: Path, options: ReadOptions) -> list[VendorMap]:
        """All spectrum maps of the file."""
        ...
