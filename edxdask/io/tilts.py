"""Files of one tilt each, checked by their headers and put in order before any is decoded."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import dask.array as da
import numpy as np
import xarray as xr

from edxdask.errors import ParameterError
from edxdask.io.arrays import coordinates
from edxdask.io.remote import RemoteReader
from edxdask.io.vendor.base import MapHeader, ReadOptions
from edxdask.results.tilts import series_of_maps
from edxdask.schema import COUNTS, ENERGY, TILT, TILT_ALPHA, TILT_MAP, X, Y

Tilts = bool | Sequence[float]  # False: no series; True: as the files say; or one per file


@dataclass(frozen=True)
class TiltFile:
    """A file of a series: where it is, what its map is called, and its tilt.

    Names begin with a number, so that maps in the order of their names are in that of their tilts.
    """

    path: Path
    name: str
    tilt_deg: float


def files_by_tilt(
    paths: Sequence[Path], tilts: Tilts, options: ReadOptions, *, reader: str | None = None
) -> list[TiltFile]:
    """Order files by tilt; raise what ``collect_tilts`` would of their maps. Reads headers only."""
    if len({path.resolve() for path in paths}) < len(paths):
        raise ParameterError("src", [str(path) for path in paths], "each file once")
    names = [path.name for path in paths]
    known = {
        name if names.count(name) == 1 else str(path): path for name, path in zip(names, paths, strict=True)
    }
    maps = {name: _of_headers(path, options, reader) for name, path in known.items()}
    given = None if isinstance(tilts, bool) else tilts
    try:
        series = series_of_maps(maps, tilts_deg=given, said=False)
    except ParameterError as error:
        if error.parameter != "tilts_deg":
            raise
        words = (text.replace("tilts_deg", "tilts") for text in (error.expected, error.fix))
        raise ParameterError("tilts", error.value, *words) from None
    digits = max(2, len(str(len(paths) - 1)))
    return [
        TiltFile(known[name], f"{i:0{digits}d}_{_plain(known[name].stem)}", tilt)
        for i, (name, tilt) in enumerate(
            zip(series[TILT_MAP].values.tolist(), series[TILT].values.tolist(), strict=True)
        )
    ]


def _of_headers(path: Path, options: ReadOptions, reader: str | None) -> xr.Dataset:
    """Give what a file's header says of its one map, as a cube whose counts are never read."""
    with RemoteReader(path, options, reader=reader) as remote:
        headers: list[MapHeader] = remote.headers
    if len(headers) != 1:
        names = ", ".join(header.name for header in headers) or "none"
        raise ParameterError(
            "src",
            str(path),
            f"a file of one map, as a tilt series has them; this one has {len(headers)}: {names}",
            "Sum detectors (detectors='sum'), or ingest such files one by one and use collect_tilts.",
        )
    (header,) = headers
    dims, shape = (Y, X, ENERGY), (*header.shape, header.channels)
    coords = coordinates(
        dims, shape, offset=header.energy_offset, scale=header.energy_scale, pixel_size=header.pixel_size
    )
    attrs = {TILT_ALPHA: header.attrs[TILT_ALPHA]} if header.attrs.get(TILT_ALPHA) is not None else {}
    return xr.Dataset({COUNTS: (dims, da.zeros(shape, dtype=np.uint16))}, coords, attrs)


def _plain(text: str) -> str:
    return re.sub(r"[^\w-]+", "_", text).strip("_") or "map"
