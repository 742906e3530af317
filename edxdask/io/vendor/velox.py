"""Thermo Velox ``.emd``: HDF5 with one photon stream per detector, decoded band by band.

Velox keeps its spectrum image in a closed format and, unless the file was pruned, the stream it came from:
``Data/SpectrumStream/<id>/Data``, uint16, 65535 = next pixel, anything else = the channel of one photon.
``open`` walks each stream once in slabs: it compares its photons with the file's own sum spectrum, records
where rows begin and counts photons per pixel. ``bands`` reads each photon once more and puts it in place.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from edxdask.errors import ParameterError, VendorFileError
from edxdask.io.vendor import velox_layout as layout
from edxdask.io.vendor import velox_metadata as metadata
from edxdask.io.vendor.base import MapHeader, ReadOptions, UnknownStructureError, VendorMap
from edxdask.io.vendor.kernels import velox as kernels
from edxdask.photons import PhotonBlock

logger = logging.getLogger(__name__)

NAME, _STAGE = "velox", "reading the photon stream"
SLAB = 1 << 20  # elements read at a time: 2 MB
INDEX_ENTRIES = 1 << 20  # positions kept per map: 8 MB
MAX_PIXELS = 1 << 28
THREADS = 2  # a band is decoded while nothing else is done: the next one waits until this one is stored
PARTS = 2 * THREADS  # of a band: parts with equal rows rarely take equal time


@dataclass(frozen=True)
class _Index:
    """Where one stream's pixels begin: ``starts[frame * per_frame + k]`` is that of pixel ``k * step``."""

    starts: np.ndarray
    step: int
    per_frame: int
    frames: int

    def span(self, frame: int, first: int, last: int) -> tuple[int, int, int]:
        """Elements that hold pixels ``first`` to ``last`` of a frame, and the pixel they start in."""
        row = frame * self.per_frame
        begin, end = first // self.step, -(-last // self.step)
        return int(self.starts[row + begin]), int(self.starts[row + end]), begin * self.step


class VeloxMap:
    """One map of a Velox file: some streams, summed over the chosen frames."""

    def __init__(
        self,
        path: Path,
        header: MapHeader,
        sources: list[tuple[str, _Index]],
        chosen: tuple[int, int],
        totals: np.ndarray,
        images: dict[str, str],
    ) -> None:
        self.header = header
        self._path, self._sources, self._chosen, self._totals = path, sources, chosen, totals
        self._images = images

    def bands(self, rows: int, skip: Collection[int] = ()) -> Iterator[tuple[int, PhotonBlock]]:
        """Photons of every band of ``rows`` rows, but for first rows in ``skip``."""
        if rows < 1:
            raise ParameterError("rows", rows, "at least 1")
        height = self.header.shape[0]
        with _streams_file(self._path) as file, ThreadPoolExecutor(THREADS) as pool:
            streams = [file[layout.STREAMS][key]["Data"] for key, _ in self._sources]
            for first in range(0, height, rows):
                if first not in skip:
                    bottom = min(first + rows, height)
                    totals = self._totals[first * self.header.shape[1] : bottom * self.header.shape[1]]
                    yield first, self._band(streams, pool, self._chosen, first, bottom, totals)

    def frame_rows(self, first: int, stop: int, top: int, bottom: int) -> PhotonBlock:
        """Photons of rows ``top`` to ``bottom``, summed over frames ``first`` to ``stop``."""
        frames = (self._chosen[0] + first, self._chosen[0] + stop)
        totals = np.zeros((bottom - top) * self.header.shape[1], dtype=np.uint32)
        with _streams_file(self._path) as file, ThreadPoolExecutor(THREADS) as pool:
            streams = [file[layout.STREAMS][key]["Data"] for key, _ in self._sources]
            for slab, pixel in self._elements(streams, frames, top, bottom):
                kernels.count(slab, pixel, totals)
            return self._band(streams, pool, frames, top, bottom, totals)

    def frame_image(self, name: str, frame: int) -> np.ndarray:
        """One frame of a scanned image."""
        with h5py.File(self._path, "r") as file:
            image: np.ndarray = file[layout.IMAGES][self._images[name]]["Data"][:, :, self._chosen[0] + frame]
        return image

    def _band(
        self,
        streams: list[h5py.Dataset],
        pool: ThreadPoolExecutor,
        frames: tuple[int, int],
        top: int,
        bottom: int,
        totals: np.ndarray,
    ) -> PhotonBlock:
        """Rows ``top`` to ``bottom``: parts of them are put in place and merged at once, then joined."""
        width, channels = self.header.shape[1], self.header.channels
        indptr = np.zeros(totals.size + 1, dtype=np.int64)
        np.cumsum(totals, out=indptr[1:])
        channel = np.empty(indptr[-1], dtype=np.uint16)
        count = np.empty(indptr[-1], dtype=_count_dtype(int(totals.max(initial=0))))

        def part(first: int, last: int) -> tuple[np.ndarray, int, int]:
            own = indptr[(first - top) * width : (last - top) * width + 1]
            own, start, stop = own - own[0], own[0], own[-1]
            self._place(streams, frames, first, last, own, channel[start:stop])
            merged = np.zeros_like(own)
            largest = kernels.merge(own, channel[start:stop], count[start:stop], merged, channels)
            return merged, start, int(largest)

        step = -(-(bottom - top) // PARTS)
        cuts = [*range(top, bottom, step), bottom]
        done = list(pool.map(part, cuts[:-1], cuts[1:]))
        pixel, entries = 0, 0
        for merged, start, _ in done:
            size = merged[-1]
            channel[entries : entries + size] = channel[start : start + size]
            count[entries : entries + size] = count[start : start + size]
            indptr[pixel : pixel + merged.size] = merged + entries
            pixel, entries = pixel + merged.size - 1, entries + size
        narrow = _count_dtype(max(largest for _, _, largest in done))
        return PhotonBlock(indptr, channel[:entries], count[:entries].astype(narrow, copy=False), channels)

    def _place(
        self,
        streams: list[h5py.Dataset],
        frames: tuple[int, int],
        top: int,
        bottom: int,
        indptr: np.ndarray,
        channel: np.ndarray,
    ) -> None:
        """Put the photons of some rows into ``channel``, pixel after pixel, in time order."""
        cursor = indptr[:-1].copy()
        for slab, pixel in self._elements(streams, frames, top, bottom):
            if kernels.place(slab, pixel, cursor, indptr[1:], channel) == kernels.OVERFLOW:
                raise self._changed(top)
        if not np.array_equal(cursor, indptr[1:]):
            raise self._changed(top)

    def _elements(
        self, streams: list[h5py.Dataset], frames: tuple[int, int], top: int, bottom: int
    ) -> Iterator[tuple[np.ndarray, int]]:
        """Slabs of the streams that hold some rows of some frames, each with the pixel that it starts in.

        Pixels count from the first of row ``top``.
        """
        width = self.header.shape[1]
        for data, (_, index) in zip(streams, self._sources, strict=True):
            for frame in range(frames[0], min(frames[1], index.frames)):
                begin, end, pixel = index.span(frame, top * width, bottom * width)
                pixel -= top * width
                for at, slab in _slabs(data, begin, end):
                    yield slab, pixel
                    if at + slab.size < end:
                        pixel += int(kernels.count_gates(slab))

    def _changed(self, row: int) -> VendorFileError:
        return VendorFileError(
            self._path,
            NAME,
            "decoding",
            f"the band at row {row} no longer holds the photons counted at opening",
        )


def _count_dtype(largest: int) -> type[np.unsignedinteger[Any]]:
    return np.uint8 if largest <= 0xFF else np.uint16 if largest <= 0xFFFF else np.uint32


def _streams_file(path: Path) -> h5py.File:
    """Open a file; its chunks are read once, so without a cache they go straight to the reader's array."""
    return h5py.File(path, "r", rdcc_nbytes=0)


def _slabs(data: h5py.Dataset, begin: int, end: int) -> Iterator[tuple[int, np.ndarray]]:
    """Elements ``begin`` to ``end`` of a stream, a slab at a time; a slab is overwritten by the next."""
    buffer = np.empty((min(SLAB, max(end - begin, 0)), *data.shape[1:]), dtype=np.uint16)
    for at in range(begin, end, SLAB):
        size = min(SLAB, end - at)
        data.read_direct(buffer, np.s_[at : at + size], np.s_[:size])
        yield at, buffer[:size].reshape(-1)


class VeloxReader:
    """Reader of Thermo Velox files."""

    name = NAME
    suffixes = (".emd",)

    def accepts(self, path: Path) -> bool:
        """Whether the file is HDF5 and says that Velox wrote it."""
        try:
            with h5py.File(path, "r") as file:
                return layout.is_velox(file)
        except Exception:  # any bytes may come; what h5py and json raise on them has no common base
            return False

    def open(self, path: Path, options: ReadOptions) -> list[VendorMap]:
        """All spectrum maps: one for each spectrum image, or for each of its detectors."""
        path = Path(path)
        try:
            with _streams_file(path) as file:
                groups = layout.spectrum_images(file, path)
                maps: list[VendorMap] = []
                for group in groups:
                    maps += _open_group(file, path, group, options, several=len(groups) > 1)
        except (KeyError, IndexError, TypeError, AttributeError) as error:  # not there, or of another kind
            reason = f"{type(error).__name__}: {error}"
            raise UnknownStructureError(path, NAME, "opening", reason) from error
        return maps


def _open_group(
    file: h5py.File, path: Path, group: layout.SpectrumImage, options: ReadOptions, *, several: bool
) -> list[VendorMap]:
    for stream in group.streams:
        _check_storage(file, path, stream)
    shape = _shape(file, path, group)
    frames = max(stream.frames for stream in group.streams)
    chosen = _chosen_frames(options.frames, frames)
    together = [group.streams] if options.detectors == "sum" else [[s] for s in group.streams]
    lock = threading.Lock()
    maps: list[VendorMap] = []
    for streams in together:
        name = group.name if options.detectors == "sum" else streams[0].name
        if several and options.detectors != "sum":
            name = f"{group.name}_{name}"
        metadata.check_same_axis(path, streams)
        totals = np.zeros(shape[0] * shape[1], dtype=np.uint32)

        def index(stream: layout.Stream, totals: np.ndarray = totals) -> tuple[str, _Index]:
            own = np.zeros_like(totals)
            found = _index(file, path, stream, shape, frames, chosen, len(group.streams), own)
            with lock:
                totals += own
            return stream.key, found

        with ThreadPoolExecutor(THREADS) as pool:
            sources = list(pool.map(index, streams))
        images = metadata.scanned_images(file, streams[0])
        header = metadata.header(
            file, group, streams, name=name, shape=shape, frames=frames, chosen=chosen,
            largest=int(totals.max(initial=0)), images=images,
        )  # fmt: skip
        maps.append(VeloxMap(path, header, sources, chosen, totals, images))
    return maps


def _chosen_frames(asked: tuple[int, int] | None, frames: int) -> tuple[int, int]:
    if asked is None:
        return 0, frames
    first, last = asked
    if not 0 <= first < last <= frames:
        raise ParameterError(
            "frames",
            asked,
            f"(first, one past last) within 0 and {frames}",
            f"The file holds {frames} frames.",
        )
    return int(first), int(last)


def _check_storage(file: h5py.File, path: Path, stream: layout.Stream) -> None:
    """Refuse a stream that is not there, or of another kind."""
    data = file[layout.STREAMS][stream.key]["Data"]
    if data.dtype.kind != "u" or data.dtype.itemsize != 2 or data.size != data.shape[0]:
        reason = f"its data are {data.dtype} of shape {data.shape}, expected uint16 (N, 1)"
        raise UnknownStructureError(path, NAME, _STAGE, f"detector {stream.name}: {reason}")
    missing = layout.missing_bytes(data)
    if missing:
        raise _bad(path, stream, missing)
    table = stream.table
    if table[0] != 0 or (np.diff(table) <= 0).any() or table[-1] > data.size:
        raise _bad(
            path, stream, f"FrameLocationTable {table[:4]}… does not rise from 0 to at most {data.size}"
        )


def _shape(file: h5py.File, path: Path, group: layout.SpectrumImage) -> tuple[int, int]:
    """Rows and columns: what the metadata say, compared with the pixels of the first frame."""
    stream = max(group.streams, key=lambda s: s.frames)
    data = file[layout.STREAMS][stream.key]["Data"]
    end = int(stream.table[1]) if stream.frames > 1 else int(data.size)
    gates = sum(int(kernels.count_gates(slab)) for _, slab in _slabs(data, 0, end))
    pixels = {gates} if stream.frames > 1 else {gates, gates + 1}  # the last pixel may lack its mark
    candidates = group.shapes
    for height, width in candidates:
        if height * width in pixels:
            return height, width
    if candidates and gates < candidates[0][0] * candidates[0][1] <= MAX_PIXELS and stream.frames == 1:
        return candidates[0]  # a first frame that was stopped: its index decides whether that may be
    raise _bad(
        path, stream, f"its first frame has {gates} pixels; the metadata say (rows, columns) {candidates}"
    )


def _index(
    file: h5py.File,
    path: Path,
    stream: layout.Stream,
    shape: tuple[int, int],
    frames: int,
    chosen: tuple[int, int],
    streams: int,
    totals: np.ndarray,
) -> _Index:
    """Walk one stream from end to end; adds its photons of the chosen frames to ``totals``."""
    height, width = shape
    rows = 1
    while streams * frames * -(-height // rows) > INDEX_ENTRIES and rows < height:
        rows *= 2
    per_frame = -(-height // rows)
    data = file[layout.STREAMS][stream.key]["Data"]
    starts = np.full(stream.frames * per_frame + 1, data.shape[0], dtype=np.int64)
    starts[0] = 0
    state = np.zeros(kernels.STATE_SIZE, dtype=np.int64)
    spectrum = np.zeros(stream.channels, dtype=np.int64)
    for base, slab in _slabs(data, 0, data.shape[0]):
        if not kernels.scan(
            slab, base, state, stream.frames, height * width, rows * width, chosen, starts, spectrum, totals
        ):
            raise _invalid_element(path, stream, state, height * width)
    index = _Index(starts, rows * width, per_frame, stream.frames)
    _verify(path, stream, index, state, spectrum, height * width, frames)
    return index


def _invalid_element(path: Path, stream: layout.Stream, state: np.ndarray, pixels: int) -> VendorFileError:
    where = int(state[kernels.WHERE])
    if state[kernels.STATUS] == kernels.BAD_CHANNEL:
        return _bad(
            path, stream, f"element {where} is a channel beyond the {stream.channels} of the detector"
        )
    return _bad(
        path, stream, f"element {where} comes after the last of {stream.frames} frames of {pixels} pixels"
    )


def _verify(
    path: Path,
    stream: layout.Stream,
    index: _Index,
    state: np.ndarray,
    spectrum: np.ndarray,
    pixels: int,
    frames: int,
) -> None:
    """Frames must start where the file says, hold all pixels, and add up to the file's own spectrum."""
    begins = index.starts[: -1 : index.per_frame]
    wrong = np.flatnonzero(begins != stream.table)
    if wrong.size:
        frame = int(wrong[0])
        raise _bad(
            path,
            stream,
            f"frame {frame} starts at element {stream.table[frame]} by the FrameLocationTable and at "
            f"{begins[frame]} by its pixels",
        )
    account = stream.spectrum
    if account is not None and not np.array_equal(account, spectrum):
        raise _bad(
            path,
            stream,
            f"it holds {spectrum.sum()} photons, and the file's own sum spectrum {account.sum()}, or others",
        )
    done = int(state[kernels.FRAME]) * pixels + int(state[kernels.PIXEL])
    if done >= frames * pixels - 1:  # Velox may leave out the mark after the last pixel
        return
    if account is None:
        raise _bad(
            path, stream, f"it ends after {done} of {frames * pixels} pixels, and no sum spectrum says why"
        )
    logger.warning(
        "%s: detector %s was stopped after %d of %d pixels; its photons agree with the file's sum spectrum",
        path, stream.name, done, frames * pixels,
    )  # fmt: skip


def _bad(path: Path, stream: layout.Stream, reason: str) -> VendorFileError:
    return VendorFileError(path, NAME, _STAGE, f"detector {stream.name}: {reason}")


READER = VeloxReader()
