"""Bruker .bcf: a decoder by bands of rows; its memory follows the photons of a band.

The rows of a map follow one another in the stream and nothing says where one starts, so opening a map walks
it once: that finds the rows (a band can then be sought), the largest count (so that none ever overflows), the
last channel in use, and any damage before the first band is sent.

The energy axis is as long as the header's sum spectrum, and longer only where a pixel holds photons beyond
it. Several maps in one file (detectors or slices) are sent one by one.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edxdask.errors import ParameterError, VendorFileError
from edxdask.io.vendor.base import (
    MapHeader,
    ReadOptions,
    UnknownStructureError,
    VendorMap,
    VendorReader,
)
from edxdask.io.vendor.bruker_header import Header, HeaderError, UnknownHeaderError, parse_header
from edxdask.io.vendor.kernels import bruker as kernel
from edxdask.io.vendor.sfs import MAGIC, ByteStream, Volume
from edxdask.photons import PhotonBlock

NAME = "Bruker"
_HEADER, _MAP = "EDSDatabase/HeaderData", "EDSDatabase/SpectrumData"
_ROWS_AT = 0x1A0
_WINDOW = 4 << 20  # bytes of the stream held at once; the largest possible pixel has 1.2 MB
_ENTRIES, _PIXELS = 1 << 19, 1 << 16  # output of one kernel call
_LARGEST_HEADER = 1 << 30
_NO_WRAP = 0xFFFFFFFF  # where a pixel may come twice, one occurrence does not bound its counts

_DAMAGE = {
    kernel.BAD_ROW: "a row claims more pixels than the map is wide",
    kernel.BAD_X: "a pixel claims to be outside the row",
    kernel.BAD_SIZE: "the size of a pixel does not fit its pulses",
    kernel.BAD_CHANNEL: "a photon is beyond the last channel its pixel names",
    kernel.BAD_RUN: "a packed spectrum does not fill its bytes and channels",
    kernel.BAD_VALUE: "a count does not fit 32 bits",
}


def _damaged(path: Path, row: int, reason: str) -> VendorFileError:
    return VendorFileError(path, NAME, f"decoding row {row}", reason)


class _Decoder:
    """Walks the rows of one stream with a window of it and one piece of output in memory."""

    def __init__(self, path: Path, stream: ByteStream, width: int, *, keep: bool) -> None:
        self._path, self._stream, self._width = path, stream, width
        self._window, self._at = np.empty(0, np.uint8), _ROWS_AT
        self.cursor = np.zeros(kernel.CURSOR, np.int64)
        self.cursor[kernel.LEFT] = -1
        entries, pixels = (_ENTRIES, _PIXELS) if keep else (0, 0)
        self._hist = np.zeros(kernel.MAX_CHANNELS, np.uint32)
        self._groups = np.zeros(kernel.MAX_CHANNELS // kernel.GROUP, np.uint8)
        self._channel, self._count = np.empty(entries, np.uint16), np.empty(entries, np.uint32)
        self._pixel, self._ends = np.empty(pixels, np.int64), np.empty(pixels, np.int64)

    @property
    def offset(self) -> int:
        """Where in the stream it is."""
        return self._at + int(self.cursor[kernel.POSITION])

    def seek(self, row: int, offset: int) -> None:
        """Go to the start of a row."""
        if offset != self.offset:
            self._window, self._at = np.empty(0, np.uint8), offset
            self.cursor[kernel.POSITION] = 0
        self.cursor[[kernel.ROW, kernel.LEFT]] = row, -1

    def rows(self, stop: int) -> Iterator[tuple[np.ndarray, ...]]:
        """Decode up to row ``stop``; yields pieces (pixel, entries of each, channel, count)."""
        status = kernel.MORE
        while status != kernel.DONE:
            status = kernel.decode(
                self._window,
                self.cursor,
                stop,
                self._width,
                self._hist,
                self._groups,
                self._channel,
                self._count,
                self._pixel,
                self._ends,
            )
            if status < 0:
                raise _damaged(self._path, int(self.cursor[kernel.ROW]), _DAMAGE[status])
            if status == kernel.MORE:
                self._refill()
            else:
                yield self._take()

    def _refill(self) -> None:
        rest = self._window[self.cursor[kernel.POSITION] :]
        self._at = self.offset
        self.cursor[kernel.POSITION] = 0
        more = self._stream.read(self._at + rest.size, _WINDOW - rest.size)
        if more.size == 0:
            raise _damaged(self._path, int(self.cursor[kernel.ROW]), "the spectrum data end there")
        self._window = np.concatenate((rest, more))

    def _take(self) -> tuple[np.ndarray, ...]:
        entries, pixels = int(self.cursor[kernel.ENTRIES]), int(self.cursor[kernel.PIXELS])
        self.cursor[[kernel.ENTRIES, kernel.PIXELS]] = 0
        count = self._count[:entries]
        sizes = np.diff(self._ends[:pixels], prepend=0)
        narrow = count.astype(np.min_scalar_type(int(count.max(initial=0))))
        return self._pixel[:pixels].copy(), sizes, self._channel[:entries].copy(), narrow


def _block(pieces: list[tuple[np.ndarray, ...]], pixels: int, channels: int) -> PhotonBlock:
    """Photon block of ``pixels`` pixels from pieces with pixels in any order, or twice."""
    pixel, sizes, channel, count = (np.concatenate(parts) for parts in zip(*pieces, strict=True))
    if np.any(pixel[1:] <= pixel[:-1]):
        key = np.repeat(pixel, sizes) * kernel.MAX_CHANNELS + channel
        key, where = np.unique(key, return_inverse=True)
        total = np.zeros(key.size, np.int64)
        np.add.at(total, where, count)
        if total.max(initial=0) > _NO_WRAP:
            raise OverflowError("a pixel that comes several times has a count that does not fit 32 bits")
        pixel, sizes = np.unique(key // kernel.MAX_CHANNELS, return_counts=True)
        channel = (key % kernel.MAX_CHANNELS).astype(np.uint16)
        count = total.astype(np.min_scalar_type(int(total.max(initial=0))))
    indptr = np.zeros(pixels + 1, np.int64)
    indptr[pixel + 1] = sizes
    return PhotonBlock(np.cumsum(indptr), channel, count, channels)


@dataclass
class BrukerMap:
    """One map of a .bcf file.

    Attributes
    ----------
    header : everything but the counts
    path, stream : the file, and the name of the map's stream in it
    rows_at : (rows + 1,) int64, where in the stream each row starts
    """

    header: MapHeader
    path: Path
    stream: str
    rows_at: np.ndarray

    def bands(self, rows: int, skip: Collection[int] = ()) -> Iterator[tuple[int, PhotonBlock]]:
        """Yield ``(first_row, photons)`` of every band that is not in ``skip``, in order."""
        if rows < 1:
            raise ParameterError("rows", rows, "at least 1")
        height, width = self.header.shape
        with Volume(self.path, reader=NAME) as volume:
            decoder = _Decoder(self.path, volume.open(self.stream), width, keep=True)
            for first in range(0, height, rows):
                if first in skip:
                    continue
                stop = min(first + rows, height)
                decoder.seek(first, int(self.rows_at[first]))
                yield first, self._band(decoder, first, stop)

    def _band(self, decoder: _Decoder, first: int, stop: int) -> PhotonBlock:
        width = self.header.shape[1]
        decoder.seek(first, int(self.rows_at[first]))
        pieces = [(pixel - first * width, *rest) for pixel, *rest in decoder.rows(stop)]
        if decoder.offset != self.rows_at[stop]:
            raise _damaged(self.path, first, "the file has changed since it was opened")
        return _block(pieces, (stop - first) * width, self.header.channels)


def _walk(path: Path, stream: ByteStream, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Start of every row, and the cursor after the last row, with what it recorded."""
    height, width = shape
    size = tuple(int(n) for n in stream.read(0, 8).view("<u4")) if stream.size >= _ROWS_AT else ()
    if size != shape:
        raise _damaged(path, 0, f"the spectrum data are of {size} pixels, the header says {shape}")
    if stream.size < _ROWS_AT + 4 * height or width > 1 << 20:
        raise _damaged(path, 0, f"{stream.size} bytes of spectrum data cannot hold {shape} pixels")
    decoder = _Decoder(path, stream, width, keep=False)
    starts = np.empty(height + 1, np.int64)
    for row in range(height):
        starts[row] = decoder.offset
        for _ in decoder.rows(row + 1):
            pass  # nothing is kept
    starts[height] = decoder.offset
    rest = decoder.offset
    while (more := stream.read(rest, _WINDOW)).size:
        if more.any():
            raise _damaged(path, height, f"{stream.size - rest} bytes are left over after the last row")
        rest += more.size
    return starts, decoder.cursor


def _map(volume: Volume, header: Header, number: int, name: str) -> BrukerMap:
    stream_name = f"{_MAP}{number}"
    starts, seen = _walk(volume.path, volume.open(stream_name), header.shape)
    spectrum = header.spectra[number]
    described = MapHeader(
        name=name,
        shape=header.shape,
        channels=max(spectrum.counts.size, int(seen[kernel.WIDEST])),
        energy_offset=spectrum.offset,
        energy_scale=spectrum.scale,
        pixel_size=header.pixel_size,
        attrs={**header.attrs, **spectrum.attrs},
        images=header.images,
        vendor_metadata={"header_xml": header.text, "stream": stream_name},
        expected_total=int(spectrum.counts.sum()),
        total_is_exact=False,  # real files differ from their header's sum by up to 2e-4
        dtype_max=_NO_WRAP if seen[kernel.UNORDERED] else int(seen[kernel.LARGEST]),
    )
    return BrukerMap(described, volume.path, stream_name, starts)


class BrukerReader:
    """Reads Bruker .bcf files of any size."""

    name = NAME
    suffixes: tuple[str, ...] = (".bcf",)

    def accepts(self, path: Path) -> bool:
        """Whether the file starts like the container of .bcf files."""
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC

    def open(self, path: Path, options: ReadOptions) -> list[VendorMap]:
        """All maps of the file, each walked once from end to end."""
        if options.frames is not None:
            raise ParameterError(
                "frames", options.frames, "None", "A .bcf file holds no frames to choose from."
            )
        with Volume(path, reader=NAME) as volume:
            found = (re.fullmatch(_MAP + r"(\d{1,4})", entry) for entry in volume.names)
            numbers = sorted(int(match[1]) for match in found if match)
            if not numbers:
                raise volume.error(
                    f"it holds no spectrum map (it holds {', '.join(volume.names) or 'nothing'})"
                )
            stream = volume.open(_HEADER)
            if stream.size > _LARGEST_HEADER:
                raise volume.error(f"a header of {stream.size} bytes is not possible")
            try:
                header = parse_header(stream.read(0, stream.size).tobytes(), numbers)
            except UnknownHeaderError as error:
                raise UnknownStructureError(path, NAME, "reading the header", str(error)) from error
            except HeaderError as error:
                raise VendorFileError(path, NAME, "reading the header", str(error)) from error
            names = ["map"] if len(numbers) == 1 else [f"map_{number}" for number in numbers]
            return [_map(volume, header, n, name) for n, name in zip(numbers, names, strict=True)]


READER: VendorReader = BrukerReader()
