"""Writes files in Bruker's .bcf layout, of any size, with only one row in memory.

Public readers agree on the layout; ours and rosettasciio's read the same from these files
(tests/io/vendor/test_bruker.py). Chunk checksums, which no public reader knows, are left at zero.
"""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

CHUNK, BLOCK = 4096, 1 << 19
_CHUNK0, _CHUNK_HEADER = 0x118, 32
_WIDTHS = {1: ("u1", 15), 2: ("u1", 0xFF), 4: ("<u2", 0xFFFF), 8: ("<u4", 0xFFFFFFFF)}


def write_bcf(
    path: Path,
    *,
    shape: tuple[int, int],
    channels: int,
    photons_per_pixel: float,
    seed: int = 0,
    compressed: bool = True,
) -> np.ndarray:
    """Write one map of Poisson counts; returns its sum spectrum, (channels,) int64."""
    total = np.zeros(channels, np.int64)

    def stream() -> Iterator[bytes]:
        yield stream_head(shape)
        for counts in _rows(shape, channels, photons_per_pixel, seed):
            total[:] += counts.sum(axis=0)
            yield encode_row({x: encode_pixel(counts[x]) for x in range(shape[1])})

    def header() -> Iterator[bytes]:  # called last, when the sum is known
        yield header_xml(shape, [total])

    files = {"SpectrumData0": stream(), "HeaderData": header()}
    write_container(Path(path), files, compressed=compressed)
    return total


def _rows(shape: tuple[int, int], channels: int, mean: float, seed: int) -> Iterator[np.ndarray]:
    rng = np.random.default_rng(seed)
    energy = np.arange(channels) / channels
    shape_of_it = np.exp(-6 * energy)
    for centre, height in ((0.03, 8), (0.09, 20), (0.2, 6), (0.32, 10), (0.4, 15)):
        shape_of_it += height * np.exp(-0.5 * ((energy - centre) / 0.004) ** 2)
    cdf = np.cumsum(shape_of_it / shape_of_it.sum())
    for _ in range(shape[0]):
        photons = rng.poisson(mean, shape[1])
        channel = np.minimum(np.searchsorted(cdf, rng.random(photons.sum())), channels - 1)
        key = np.repeat(np.arange(shape[1]), photons) * channels + channel
        yield np.bincount(key, minlength=shape[1] * channels).reshape(shape[1], channels)


def stream_head(shape: tuple[int, int]) -> bytes:
    """The part before the first row."""
    return struct.pack("<4I", *shape, 4096, 1).ljust(0x1A0, b"\0")


def encode_row(pixels: Mapping[int, bytes]) -> bytes:
    """One row from encoded pixels by x."""
    parts = (struct.pack("<I", x) + body for x, body in pixels.items())
    return struct.pack("<I", len(pixels)) + b"".join(parts)


def encode_pixel(counts: np.ndarray, packing: str | None = None, *, pulses: Sequence[int] = ()) -> bytes:
    """One pixel without its x: ``counts`` (channels,) as "12bit", "16bit" or "runs", None for the shorter.

    ``pulses`` are channels of photons that come on top of runs.
    """
    (hit,) = np.nonzero(counts)
    photons = int(counts.sum())
    if packing is None:
        packing = "runs" if photons > 0.4 * counts.size else "12bit" if counts.size <= 4096 else "16bit"
    last = max([int(hit[-1]) + 1 if hit.size else 0, *(p + 1 for p in pulses)])
    if packing == "runs":
        body = encode_runs(counts[:last])
        extra = struct.pack(f"<I{len(pulses)}H", 2 * len(pulses), *pulses)
        head = struct.pack("<HHIHHHI", last, last, 0xC0000, 3 if pulses else 2, 0, len(pulses), len(body) + 4)
        return head + body + extra
    listed = np.repeat(hit, counts[hit]).astype("<u2")
    flag, body = (1, _pack12(listed)) if packing == "12bit" else (0, listed.tobytes())
    return struct.pack("<HHIHHHI", last, 0, 0xC0000, flag, 0, photons, len(body)) + body


def _pack12(channel: np.ndarray) -> bytes:
    a, b, c, d = np.pad(channel, (0, -channel.size % 4)).reshape(-1, 4).T
    words = np.stack((a << 4 | b >> 8, (b & 255) << 8 | c >> 4, (c & 15) << 12 | d), axis=1).astype("<u2")
    return words.tobytes()[: 2 * -(-12 * channel.size // 16)]


def encode_runs(counts: np.ndarray, *, length: int = 40) -> bytes:
    """Runs of up to ``length`` channels, each as narrow as its range allows."""
    parts = []
    for start in range(0, counts.size, length):
        run = counts[start : start + length]
        base = int(run.min())
        if not run.any():
            parts.append(bytes((0, run.size)))
            continue
        width = next(w for w, (_, top) in _WIDTHS.items() if run.max() - base <= top and base >> 8 * w == 0)
        above = (run - base).astype(_WIDTHS[width][0])
        if width == 1:
            above = np.pad(above, (0, above.size % 2))
            above = above[::2] | above[1::2] << 4
        parts.append(bytes((width, run.size)) + base.to_bytes(width, "little") + above.tobytes())
    return b"".join(parts)


def write_container(
    path: Path, files: Mapping[str, Iterable[bytes]], *, compressed: bool, chunk: int = CHUNK
) -> None:
    """Write ``files``, one after the other, into the folder EDSDatabase of a container."""
    usable = chunk - _CHUNK_HEADER
    with path.open("wb") as out:
        out.write(bytes(_CHUNK0 + chunk))
        entries = [_entry(0, 0, -1, True, "EDSDatabase")]
        for name, parts in files.items():
            first, blocks = (out.tell() - _CHUNK0) // chunk, [0]
            size = _write_chunks(out, _packed(parts, blocks) if compressed else parts, chunk)
            here = (out.tell() - _CHUNK0) // chunk
            if compressed:  # known only now
                out.seek(_CHUNK0 + first * chunk + _CHUNK_HEADER + 12)
                out.write(struct.pack("<I", blocks[0]))
                out.seek(0, 2)
            _write_table(out, np.arange(first, here, dtype="<u4").tobytes(), chunk, usable // 4 * 4)
            entries.append(_entry(here, size, 0, False, name))
        tree = (out.tell() - _CHUNK0) // chunk
        _write_table(out, b"".join(entries), chunk, usable // 512 * 512)
        chunks = (out.tell() - _CHUNK0) // chunk
        out.seek(0)
        out.write(b"AAMVHFSS")
        out.seek(0x118)
        out.write(b"\x00\xf9\xb7\x01AASFSSGN")
        out.seek(0x124)
        out.write(struct.pack("<fI", 2.6, chunk))
        out.seek(0x140)
        out.write(struct.pack("<III", tree, len(entries), chunks))


def _entry(table: int, size: int, parent: int, folder: bool, name: str) -> bytes:
    times = (131040003140000000,) * 3
    return struct.pack(
        "<iQQQQIi176x?3x256s32x", table, size, *times, 16 * folder, parent, folder, name.encode()
    )


def _packed(parts: Iterable[bytes], blocks: list[int]) -> Iterator[bytes]:
    """The compressed form of ``parts``; counts its blocks in ``blocks[0]``."""
    yield b"AACS" + struct.pack("<5I", BLOCK, 0, 0, 1 << 30, 1).ljust(0x7C, b"\0")
    offset = 0x80
    for block in _regrouped(parts, BLOCK):
        packed = zlib.compress(block, 1)
        offset += 16 + len(packed)
        blocks[0] += 1
        yield struct.pack("<4I", len(packed), len(block), 0, offset) + packed


def _regrouped(parts: Iterable[bytes], size: int) -> Iterator[bytes]:
    rest = bytearray()
    for part in parts:
        rest += part
        for start in range(0, len(rest) - size + 1, size):
            yield bytes(rest[start : start + size])
        del rest[: len(rest) // size * size]
    if rest:
        yield bytes(rest)


def _write_chunks(out: BinaryIO, parts: Iterable[bytes], chunk: int) -> int:
    """Append ``parts`` as chunks; returns how many bytes they were."""
    usable, size = chunk - _CHUNK_HEADER, 0
    for piece in _regrouped(parts, 256 * usable):
        size += len(piece)
        payload = np.frombuffer(piece.ljust(-(-len(piece) // usable) * usable, b"\0"), np.uint8)
        chunks = np.zeros((payload.size // usable, chunk), np.uint8)
        chunks[:, _CHUNK_HEADER:] = payload.reshape(-1, usable)
        out.write(chunks.tobytes())
    return size


def _write_table(out: BinaryIO, table: bytes, chunk: int, step: int) -> None:
    """Append a table as linked chunks of ``step`` bytes each."""
    here = (out.tell() - _CHUNK0) // chunk
    for number, start in enumerate(range(0, len(table), step), start=1):
        link = here + number if start + step < len(table) else 0xFFFFFFFF
        head = struct.pack("<I", link).ljust(_CHUNK_HEADER, b"\0")
        out.write(head + table[start : start + step].ljust(chunk - _CHUNK_HEADER, b"\0"))


def header_xml(shape: tuple[int, int], sums: Sequence[np.ndarray], *, step_um: float | None = 0.002) -> bytes:
    """The header of a file with one map for each of the sum spectra ``sums``."""
    rows, columns = shape
    image = (np.arange(rows * columns) % 60000 + 1).astype("<u2").tobytes()
    lines = ",".join(["1"] * rows)
    step = f"<DX>{step_um}</DX><DY>{step_um}</DY>" if step_um else ""
    dated = "<Date>1.2.2024</Date><Time>3:4:5</Time>"
    maps = "".join(_sum_xml(number, counts, dated) for number, counts in enumerate(sums))
    return (
        '<?xml version="1.0" encoding="WINDOWS-1252" standalone="yes"?><TRTSpectrumDatabase>'
        '<ClassInstance Type="TRTSpectrumDatabase" Name="Simulated">'
        f"<Header>{dated}<FileVersion>1</FileVersion></Header>"
        f'<ClassInstance Type="TRTSEMData"><HV>200</HV>{step}</ClassInstance>'
        '<ClassInstance Type="TRTSEMStageData"><Tilt>1,5</Tilt></ClassInstance>'
        '<ClassInstance Type="TRTDSPConfiguration"><LineAverage>1</LineAverage>'
        "<PixelAverage>100</PixelAverage><PixelTime>1</PixelTime></ClassInstance>"
        f'<ClassInstance Type="TRTImageData"><ItemSize>2</ItemSize><Width>{columns}</Width>'
        f"<Height>{rows}</Height><PlaneCount>1</PlaneCount><Plane0><Description>HAADF</Description>"
        f"<Data>{base64.b64encode(image).decode()}</Data></Plane0></ClassInstance>"
        f"<LineCounter>{lines}</LineCounter><ChCount>4096</ChCount><DetectorCount>1</DetectorCount>"
        f"{maps}</ClassInstance></TRTSpectrumDatabase>"
    ).encode("cp1252")


def _sum_xml(number: int, counts: np.ndarray, dated: str) -> str:
    layers = base64.b64encode(zlib.compress(b"<DetLayers/>")).decode()
    return (
        f'<SpectrumData{number}><ClassInstance Type="TRTSpectrum"><TRTHeaderedClass>'
        '<ClassInstance Type="TRTSpectrumHardwareHeader"><Amplification>40000</Amplification>'
        "</ClassInstance>"
        f'<ClassInstance Type="TRTDetectorHeader"><Type>Simulated</Type><DetLayers>{layers}</DetLayers>'
        "</ClassInstance>"
        '<ClassInstance Type="TRTESMAHeader"><PrimaryEnergy>2E2</PrimaryEnergy>'
        "<ElevationAngle>22</ElevationAngle><AzimutAngle>45</AzimutAngle></ClassInstance>"
        f'</TRTHeaderedClass><ClassInstance Type="TRTSpectrumHeader">{dated}'
        f"<ChannelCount>{counts.size}</ChannelCount><CalibAbs>-4.8E-1</CalibAbs><CalibLin>1E-2</CalibLin>"
        "<SigmaAbs>3E-4</SigmaAbs><SigmaLin>4.5E-4</SigmaLin></ClassInstance>"
        f"<Channels>{','.join(map(str, counts.tolist()))}</Channels></ClassInstance></SpectrumData{number}>"
    )
