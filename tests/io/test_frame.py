"""Chunks made from photons are what stock Blosc and Zarr read, whatever their shape, fill and counts."""

from __future__ import annotations

import struct

import google_crc32c
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from numcodecs import Blosc
from numcodecs import zstd as stock_zstd

from edxdask.io.frame import PIECE, codecs_of_counts, encode_chunk
from edxdask.io.manifest import codecs
from edxdask.photons import from_dense


def decoded(stored, dtype):
    frame, checksum = stored[:-4], struct.unpack("<I", stored[-4:])[0]
    assert google_crc32c.value(frame) == checksum
    return np.frombuffer(Blosc().decode(frame), dtype)


def check(dense, chunk_shape=None):
    """Stored and read back by Blosc, the counts are the same and zeros lie around them."""
    chunk_shape = chunk_shape or dense.shape
    stored = encode_chunk(from_dense(dense), dense.shape, chunk_shape, dense.itemsize)
    whole = decoded(stored, dense.dtype).reshape(chunk_shape)
    inside = tuple(slice(n) for n in dense.shape)
    np.testing.assert_array_equal(whole[inside], dense)
    assert np.count_nonzero(whole) == np.count_nonzero(dense)
    return stored


def counts(shape, fill, largest, dtype=np.uint16, seed=0):
    rng = np.random.default_rng(seed)
    return (rng.integers(1, largest + 1, shape) * (rng.random(shape) < fill)).astype(dtype)


@settings(max_examples=150, deadline=None)
@given(
    pixels=st.lists(st.integers(1, 9), min_size=1, max_size=3),
    more=st.lists(st.integers(0, 5), min_size=3, max_size=3),
    channels=st.integers(1, 70),
    fill=st.sampled_from([0.0, 0.01, 0.2, 1.0]),
    bits=st.integers(1, 32),
    wide=st.booleans(),
    seed=st.integers(0, 99),
)
def test_blosc_reads_small_chunks_of_any_shape(pixels, more, channels, fill, bits, wide, seed):
    pixels = [1] * max(len(pixels) - 2, 0) + pixels[-2:]  # chunks are one pixel deep before the last two
    dtype = np.uint32 if wide else np.uint16
    dense = counts((*pixels, channels), fill, 2 ** min(bits, 32 if wide else 16) - 1, dtype, seed)
    grown = [n + m if n > 1 or i else n for i, (n, m) in enumerate(zip(pixels, more, strict=False))]
    check(dense, (*grown, channels))


@pytest.mark.parametrize("channels", [970, 1918, 2048, 1023, 4096])
@pytest.mark.parametrize("dtype", [np.uint16, np.uint32])
@pytest.mark.parametrize(("fill", "largest"), [(0.03, 3), (0.0005, 60_000), (1.0, 65_535)])
def test_blosc_reads_chunks_of_many_pieces(channels, dtype, fill, largest):
    dense = counts((17, 64, channels), fill, largest, dtype)
    dense[3:9] = 0  # pieces without a photon
    check(dense, (64, 64, channels))


def test_counts_that_do_not_compress_are_stored_as_they_are():
    dense = np.random.default_rng(1).integers(1, 1 << 16, (8, 64, 2048)).astype(np.uint16)
    stored = check(dense)
    assert dense.nbytes < len(stored) < dense.nbytes + 100


def test_every_piece_is_one_zstd_frame_that_stock_zstd_reads():
    dense = counts((16, 64, 1500), 0.03, 5)
    stored = encode_chunk(from_dense(dense), dense.shape, dense.shape, 2)
    total, piece = struct.unpack_from("<2I", stored, 4)
    pieces = -(-total // piece)
    assert piece == PIECE
    assert total == dense.nbytes
    for at in struct.unpack_from(f"<{pieces}i", stored, 16):
        (size,) = struct.unpack_from("<i", stored, at)
        out = stock_zstd.decompress(stored[at + 4 : at + 4 + size])
        assert len(out) == min(piece, total)
        total -= len(out)


def test_the_planes_are_those_that_blosc_itself_makes():
    dense = counts((4, 64, 4096), 0.03, 5)
    ours = encode_chunk(from_dense(dense), dense.shape, dense.shape, 2)
    theirs = Blosc(cname="zstd", clevel=1, shuffle=Blosc.BITSHUFFLE, blocksize=PIECE).encode(dense)
    assert ours[:16][:12] == theirs[:12]  # version, flags, size of a count, of the chunk, of a piece
    pieces = []
    for frame in (ours, theirs):
        at = struct.unpack_from("<i", frame, 16)[0]
        size = struct.unpack_from("<i", frame, at)[0]
        pieces.append(stock_zstd.decompress(frame[at + 4 : at + 4 + size]))
    assert pieces[0] == pieces[1]


def test_zarr_reads_the_chunk_and_finds_every_flipped_bit(tmp_path):
    dense = counts((50, 64, 300), 0.03, 5)
    array = zarr.create_array(
        tmp_path, shape=dense.shape, chunks=(64, 64, 300), dtype="uint16", compressors=codecs_of_counts(),
        chunk_key_encoding={"name": "default", "separator": "."},
    )  # fmt: skip
    stored = encode_chunk(from_dense(dense), dense.shape, (64, 64, 300), 2)
    (tmp_path / "c.0.0.0").write_bytes(stored)
    np.testing.assert_array_equal(array[:], dense)
    rng = np.random.default_rng(0)
    for _ in range(60):
        damaged = bytearray(stored)
        damaged[rng.integers(len(stored))] ^= 1 << rng.integers(8)
        (tmp_path / "c.0.0.0").write_bytes(damaged)
        with pytest.raises((ValueError, RuntimeError)):
            array[:]


def test_it_takes_no_more_room_than_blosc_at_the_level_of_the_small_arrays(tmp_path):
    rng = np.random.default_rng(0)
    dense = rng.poisson(0.03 * rng.gamma(0.3, 3, 2048), (64, 64, 2048)).astype(np.uint16)
    array = zarr.create_array(
        tmp_path, shape=dense.shape, chunks=dense.shape, dtype="uint16", compressors=codecs()
    )
    array[:] = dense
    theirs = sum(p.stat().st_size for p in tmp_path.rglob("c/*/*/*"))
    assert len(check(dense)) < 1.02 * theirs
