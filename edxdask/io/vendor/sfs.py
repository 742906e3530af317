"""The container of .bcf files: a small file system in one file, with chained chunks, zlib or raw.

Only what reading needs. Every pointer and size in it is checked against the file's length before it is
used, so that damaged containers end in an error: nothing outside the file is read, no chain is followed
longer than its content, and no block grows beyond what it says.

Layout (all little-endian): the magic, chunk size at 0x128, directory at 0x140; from 0x118 on, chunks of a
32-byte header (its first word links to the next chunk of a table) and a payload. A directory entry has
512 bytes and points to a table of the chunks that hold the file. A compressed file starts with a 128-byte
header, then come blocks: packed size, size, a checksum, end, zlib data. The end counts from the start of the
file in containers of version 2.6 and from the start of the block in version 2.8; the first block shows which
holds. A block that ends otherwise is damage in these versions, and in any other a structure not known here.
"""

from __future__ import annotations

import os
import struct
import zlib
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Protocol

import numpy as np

from edxdask.errors import VendorFileError
from edxdask.io.vendor.base import UnknownStructureError
from edxdask.portable import read_at

MAGIC = b"AAMVHFSS"
_COMPRESSED = b"AACS"
_CHUNKS_AT, _CHUNK_HEADER = 0x118, 32
_VOLUME, _VERSION = struct.Struct("<I"), struct.Struct("<f")
_KNOWN_VERSIONS = (2.6, 2.8)
_DIRECTORY = struct.Struct("<II")
_ENTRY = struct.Struct("<iQ24xIi176x?3x256s32x")
_PACKED_HEADER, _PACKED = struct.Struct("<4sI4xI"), struct.Struct("<II4xI")
_BLOCKS_AT = 0x80
_LARGEST_BLOCK = 1 << 26
_MOST_ENTRIES, _DEEPEST = 1 << 16, 32


class ByteStream(Protocol):
    """The content of a file, unpacked, at random access."""

    @property
    def size(self) -> int:
        """Bytes in it."""
        ...

    def read(self, offset: int, length: int) -> np.ndarray:
        """Bytes from ``offset`` on, as uint8; fewer than ``length`` only at the end."""
        ...


@dataclass(frozen=True)
class RawStream:
    """A file in the container as it is stored.

    Attributes
    ----------
    volume : the open container
    size : bytes
    chunks : (n,) uint32, numbers of the chunks that hold it
    """

    volume: Volume
    size: int
    chunks: np.ndarray

    def read(self, offset: int, length: int) -> np.ndarray:
        """Bytes from ``offset`` on; neighbouring chunks are read in one go."""
        length = min(length, self.size - offset)
        if length <= 0:
            return np.empty(0, np.uint8)
        usable = self.volume.usable
        first = offset // usable
        chunks = self.chunks[first : (offset + length - 1) // usable + 1].astype(np.int64)
        out = np.empty((chunks.size, usable), np.uint8)
        spare = chunks.size * usable - (offset - first * usable + length)
        edges = [0, *(np.flatnonzero(np.diff(chunks) != 1) + 1), chunks.size]
        for a, b in pairwise(edges):
            out[a:b] = self.volume.payloads(int(chunks[a]), int(b - a), spare if b == chunks.size else 0)
        return out.reshape(-1)[offset - first * usable :][:length]


class PackedStream:
    """A file stored as zlib blocks, unpacked block by block; the last block is kept."""

    def __init__(self, raw: RawStream) -> None:
        self._raw = raw
        self._last: tuple[int, np.ndarray] | None = None
        head = raw.read(0, _PACKED_HEADER.size).tobytes()
        if len(head) < _PACKED_HEADER.size:
            raise raw.volume.error("a compressed file in it has no header")
        _, self._largest, blocks = _PACKED_HEADER.unpack(head)
        if not 0 < self._largest <= _LARGEST_BLOCK or blocks * _PACKED.size > raw.size:
            raise raw.volume.error(f"a compressed file in it claims {blocks} blocks of {self._largest} bytes")
        self._packed, sizes = self._table(blocks)
        self._starts = np.concatenate(([0], np.cumsum(sizes, dtype=np.int64)))
        self.size = int(self._starts[-1])

    def _table(self, blocks: int) -> tuple[list[tuple[int, int]], list[int]]:
        """Place and packed size of each block, and the sizes they unpack to."""
        places, sizes, offset, from_block = [], [], _BLOCKS_AT, False
        for number in range(blocks):
            head = self._raw.read(offset, _PACKED.size).tobytes()
            packed, size, end = _PACKED.unpack(head) if len(head) == _PACKED.size else (0, 0, 0)
            block, start = offset, offset + _PACKED.size
            offset = start + packed
            if number == 0:
                from_block = end == offset - block
            if packed == 0 or offset > self._raw.size or not 0 < size <= self._largest:
                raise self._raw.volume.error(f"compressed block {number} of {blocks} has a damaged header")
            if end != offset - block * from_block:
                reason = f"compressed block {number} of {blocks} is said to end at {end} and ends at {offset}"
                raise self._raw.volume.unknown(reason)
            places.append((start, packed))
            sizes.append(size)
        return places, sizes

    def _block(self, number: int) -> np.ndarray:
        if self._last is None or self._last[0] != number:
            start, packed = self._packed[number]
            size = int(self._starts[number + 1] - self._starts[number])
            unpacker = zlib.decompressobj()
            try:  # one byte more than announced bounds a block that is too long, and shows it
                data = unpacker.decompress(self._raw.read(start, packed).tobytes(), size + 1)
            except zlib.error as error:
                raise self._raw.volume.error(f"compressed block {number} is damaged ({error})") from error
            if len(data) != size or not unpacker.eof:
                raise self._raw.volume.error(
                    f"compressed block {number} does not unpack to the {size} bytes it announces"
                )
            self._last = number, np.frombuffer(data, np.uint8)
        return self._last[1]

    def read(self, offset: int, length: int) -> np.ndarray:
        """Bytes from ``offset`` on; only the blocks that hold them are unpacked."""
        stop = min(offset + length, self.size)
        parts = [np.empty(0, np.uint8)]
        while offset < stop:
            number = int(np.searchsorted(self._starts, offset, side="right")) - 1
            start = int(self._starts[number])
            part = self._block(number)[offset - start : stop - start]
            parts.append(part)
            offset += part.size
        return np.concatenate(parts)


class Volume:
    """An open container; use it in a ``with``.

    Attributes
    ----------
    path : the file
    usable : payload bytes of a chunk
    """

    def __init__(self, path: Path, *, reader: str) -> None:
        self.path, self._reader = path, reader
        self._file = path.open("rb")
        try:
            self._length = os.fstat(self._file.fileno()).st_size
            if self._pread(0, len(MAGIC)) != MAGIC:
                raise self.error("it does not start as an SFS container does")
            (self._chunk,) = _VOLUME.unpack(self._pread(0x128, _VOLUME.size))
            if not _ENTRY.size + _CHUNK_HEADER <= self._chunk <= _LARGEST_BLOCK:
                raise self.error(f"chunks of {self._chunk} bytes are not possible")
            self.usable = self._chunk - _CHUNK_HEADER
            self._entries = self._directory()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Volume:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def error(self, reason: str) -> VendorFileError:
        """Make the error to raise when the container is not what it should be."""
        return VendorFileError(self.path, self._reader, "reading the container", reason)

    def unknown(self, reason: str) -> VendorFileError:
        """Make the error for an unknown structure; in a version that is known it is damage."""
        (version,) = _VERSION.unpack(self._pread(0x124, _VERSION.size))
        if any(abs(version - known) < 0.01 for known in _KNOWN_VERSIONS):
            return self.error(reason)
        (chunks,) = _VOLUME.unpack(self._pread(0x148, _VOLUME.size))
        if self._length < _CHUNKS_AT + chunks * self._chunk:
            return self.error(
                f"{reason}, but it announces {chunks} chunks of {self._chunk} bytes: it is truncated"
            )
        reason = f"{reason}; containers of version {version:.3g} are not known"
        return UnknownStructureError(self.path, self._reader, "reading the container", reason)

    @property
    def names(self) -> list[str]:
        """Paths of the files in the container."""
        return sorted(self._entries)

    def open(self, name: str) -> ByteStream:
        """Content of one file."""
        if name not in self._entries:
            raise self.error(f"it holds no {name!r} (it holds {', '.join(self.names) or 'nothing'})")
        table, size = self._entries[name]
        if size > self._length:
            raise self.error(f"{name!r} claims {size} bytes, the file has {self._length}: is it truncated?")
        numbers = self._chain(table, -(-size // self.usable) * 4)
        raw = RawStream(self, size, np.frombuffer(numbers, "<u4"))
        if raw.read(0, len(_COMPRESSED)).tobytes() == _COMPRESSED:
            return PackedStream(raw)
        return raw

    def payloads(self, first: int, count: int, spare: int) -> np.ndarray:
        """Payloads ``(count, usable)`` of neighbouring chunks; the last ``spare`` bytes are not needed."""
        length = count * self._chunk - _CHUNK_HEADER
        buffer = np.zeros(count * self._chunk, np.uint8)
        start = _CHUNKS_AT + first * self._chunk + _CHUNK_HEADER
        buffer[: length - spare] = np.frombuffer(self._pread(start, length - spare), np.uint8)
        return buffer.reshape(count, self._chunk)[:, : self.usable]

    def _pread(self, offset: int, length: int) -> bytes:
        if offset < 0 or offset + length > self._length:
            raise self.error(
                f"it needs bytes {offset} to {offset + length} of {self._length}: is it truncated?"
            )
        data = read_at(self._file.fileno(), length, offset)
        if len(data) != length:
            raise self.error(f"{length} bytes at {offset} could not be read")
        return data

    def _chain(self, chunk: int, size: int, *, item: int = 4) -> bytes:
        """Read ``size`` bytes of a table in linked chunks; its ``item``-byte entries are never split."""
        step = self.usable // item * item
        parts = []
        while size > 0:
            here = min(size, step)
            start = _CHUNKS_AT + chunk * self._chunk
            (following,) = _VOLUME.unpack(self._pread(start, _VOLUME.size))
            parts.append(self._pread(start + _CHUNK_HEADER, here))
            chunk, size = following, size - here
        return b"".join(parts)

    def _directory(self) -> dict[str, tuple[int, int]]:
        chunk, count = _DIRECTORY.unpack(self._pread(0x140, _DIRECTORY.size))
        if count > _MOST_ENTRIES or count * _ENTRY.size > self._length:
            raise self.error(f"a directory of {count} entries is not possible")
        table = self._chain(chunk, count * _ENTRY.size, item=_ENTRY.size)
        items = [_ENTRY.unpack_from(table, i * _ENTRY.size) for i in range(count)]
        names = [item[5].split(b"\0")[0].decode("utf-8", "replace") for item in items]
        entries = {}
        for own, (table_at, size, _, parent, is_folder, _) in enumerate(items):
            if not is_folder:
                entries["/".join([*self._parents(parent, items, names), names[own]])] = table_at, size
        return entries

    def _parents(self, folder: int, items: list[tuple[int, ...]], names: list[str]) -> list[str]:
        path: list[str] = []
        while folder != -1:
            if not 0 <= folder < len(items) or len(path) == _DEEPEST:  # a folder within itself
                raise self.error("its directory is damaged")
            path.insert(0, names[folder])
            folder = items[folder][3]
        return path
