"""A chunk of counts as stored bytes, made from its photons: a Blosc frame, then crc32c.

Blosc would get 32 MiB of dense counts, shuffle their bits into 16 planes per piece, and search all of them
for repeats; all but one to three of those planes are zero. Here the planes are made from the photons, zstd
sees those that hold a bit, and the zeros behind them are four bytes for every 128 KiB. Any Blosc reads the
result: a frame of version 2, pieces not split, bits shuffled, each piece one zstd frame. The bytes
depend on the counts alone, whether they came as photons or dense.

Sources of the layouts: README_CHUNK_FORMAT.rst of c-blosc 1.21; RFC 8878 for zstd.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator

import google_crc32c
import numpy as np
from numcodecs import zstd
from zarr.codecs import BloscCodec, Crc32cCodec

from edxdask.photons import PhotonBlock
from edxdask.photons.kernels.bitshuffle import (
    PhotonArrays,
    Pieces,
    fill_bits,
    fill_elements,
    piece_bits,
)

# Measured on a chunk of 0.56 M photons, 64 × 64 × 4096, level and piece against size and time of this module:
# level 1: 591 kB in pieces of 128 KiB, 570 of 512, 552 of 2048; level 3: 595, 576, 568 and a tenth slower.
LEVEL, PIECE = 1, 512 << 10
_VERSION, _ZSTD_VERSION = 2, 1
_FLAGS = 0x04 | 0x10 | 4 << 5  # bits shuffled, pieces not split, zstd
_MAGIC, _SINGLE_SEGMENT, _SIZE_IN_4_BYTES = 0xFD2FB528, 0x20, 2 << 6
_RLE = 1  # a block that repeats one byte
_MOST = 128 << 10  # bytes of a zstd block


def codecs_of_counts() -> list[BloscCodec | Crc32cCodec]:
    """Name what ``encode_chunk`` writes in Zarr's words."""
    return [
        BloscCodec(cname="zstd", clevel=LEVEL, shuffle="bitshuffle", blocksize=PIECE),
        Crc32cCodec(),
    ]


def encode_chunk(
    block: PhotonBlock, shape: tuple[int, ...], chunk_shape: tuple[int, ...], itemsize: int
) -> bytes:
    """Make the stored bytes of a chunk.

    Parameters
    ----------
    block
        Photons of the chunk's pixels that are in the array, in C order.
    shape
        Of that part, energy last.
    chunk_shape
        Of whole chunks; what is outside the array is zero.
    itemsize
        Bytes of a count, which must hold the largest.
    """
    elements = math.prod(chunk_shape)
    size = min(PIECE // itemsize, elements)
    where, parts, at = [], [], 16 + 4 * -(-elements // size)
    for piece in _pieces(block, (shape[-2], chunk_shape[-2], size), elements, itemsize):
        where.append(at)
        parts += [struct.pack("<i", len(piece)), piece]
        at += 4 + len(piece)
    marks = (_VERSION, _ZSTD_VERSION, _FLAGS, itemsize)
    head = struct.pack(f"<4B3I{len(where)}i", *marks, elements * itemsize, size * itemsize, at, *where)
    frame = b"".join([head, *parts])
    return frame + struct.pack("<I", google_crc32c.value(frame))


def _pieces(
    block: PhotonBlock, layout: tuple[int, int, int], elements: int, itemsize: int
) -> Iterator[bytes]:
    """Compressed pieces of ``layout[-1]`` elements; the last may be shorter."""
    photons = PhotonArrays(block.indptr, block.channel, block.count, block.channels)
    pieces, size = Pieces(*layout), layout[-1]
    bits = np.zeros(-(-elements // size), np.uint32)
    piece_bits(photons, pieces, bits)
    last = elements - (bits.size - 1) * size
    # Blosc does not shuffle a last piece without a whole number of bytes per plane
    plain = bits.size - 1 if last % 8 else bits.size
    lengths = np.full(bits.size, size // 8)
    lengths[-1] = last // 8
    starts = np.zeros(plain + 1, np.int64)
    np.cumsum([int(b).bit_length() * n for b, n in zip(bits[:plain], lengths, strict=False)], out=starts[1:])
    shuffled = np.zeros(starts[-1], np.uint8)
    fill_bits(photons, pieces, starts, lengths, plain * size, shuffled)
    for i in range(plain):
        yield _compressed(shuffled[starts[i] : starts[i + 1]], int(lengths[i]) * 8 * itemsize)
    if plain < bits.size:
        tail = np.zeros(last, f"<u{itemsize}")
        fill_elements(photons, pieces, plain * size, tail)
        yield _compressed(tail.view(np.uint8), tail.nbytes)


def _compressed(data: np.ndarray, total: int) -> bytes:
    """Make one zstd frame of ``data`` and zeros up to ``total`` bytes; where it is longer, leave them."""
    head = struct.pack("<IBI", _MAGIC, _SIZE_IN_4_BYTES | _SINGLE_SEGMENT, total)
    frame = head + _blocks(data, last=data.size == total) + _zeros(total - data.size)
    return frame if len(frame) < total else data.tobytes() + bytes(total - data.size)


def _blocks(data: np.ndarray, *, last: bool) -> bytes:
    """Take the blocks that zstd makes of ``data`` out of their frame."""
    if not data.size:
        return b""
    frame = zstd.compress(data, LEVEL)
    marks = frame[4]
    single = bool(marks & _SINGLE_SEGMENT)
    # magic, marks, the window's size, the content's size; no checksum and no dictionary
    at = start = 5 + (not single) + ((int(single), 2, 4, 8)[marks >> 6])
    while not frame[at] & 1:
        header = int.from_bytes(frame[at : at + 3], "little")
        at += 3 + (1 if header >> 1 & 3 == _RLE else header >> 3)
    return frame[start:at] + bytes([frame[at] & 0xFE | last]) + frame[at + 1 :]


def _zeros(count: int) -> bytes:
    """Make blocks of ``count`` zeros, the last of which ends the frame."""
    sizes = [min(_MOST, count - at) for at in range(0, count, _MOST)]
    return b"".join(
        ((n << 3) | _RLE << 1 | (i == len(sizes) - 1)).to_bytes(3, "little") + b"\0"
        for i, n in enumerate(sizes)
    )
