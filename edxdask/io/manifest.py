"""What is known about the counts without reading them: photons of every chunk, sum spectrum of every band.

While a store is written, the *journal* holds one small file per finished band; resume uses it.
At the end it becomes the store's ``manifest`` group. The existence of a chunk's file says nothing:
chunks without photons are not stored.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec

from edxdask.errors import CorruptStoreError
from edxdask.io.grid import ChunkGrid
from edxdask.photons import PhotonBlock
from edxdask.photons.kernels.bitshuffle import add_spectrum
from edxdask.portable import sync_folder
from edxdask.schema import ENERGY

MANIFEST = "manifest"
_ARRAYS = ("photons", "nonzeros", "largest", "spectrum")
_BAND, _COLUMN = "band", "column"
_BANDS_PER_CHUNK = 64  # of the spectrum: 2 MB at 4096 channels


def codecs() -> list[BloscCodec | Crc32cCodec]:
    """Compression of every array of a store; crc32c comes last, Blosc alone misses bit flips."""
    return [BloscCodec(cname="zstd", clevel=3, shuffle="bitshuffle"), Crc32cCodec()]


@dataclass(frozen=True)
class ChunkRecord:
    """What one written chunk holds; ``spectrum`` is the sum over its pixels."""

    band: int
    column: int
    photons: int
    nonzeros: int
    largest: int
    spectrum: np.ndarray


def chunk_record(band: int, column: int, block: PhotonBlock) -> ChunkRecord:
    """Record of a chunk from its photons."""
    spectrum = np.zeros(block.channels, dtype=np.uint64)
    add_spectrum(block.channel, block.count, spectrum)
    largest = int(block.count.max(initial=0))
    return ChunkRecord(band, column, block.total, block.channel.size, largest, spectrum)


@dataclass(frozen=True)
class Manifest:
    """Photons of a stored map, chunk by chunk.

    Attributes
    ----------
    photons, nonzeros : (bands, columns) uint64
    largest : (bands, columns) uint32, the largest count of a pixel and channel
    spectrum : (bands, channels) uint64
    """

    photons: np.ndarray
    nonzeros: np.ndarray
    largest: np.ndarray
    spectrum: np.ndarray

    @property
    def sum_spectrum(self) -> np.ndarray:
        """Counts of the whole map, channel by channel."""
        return self.spectrum.sum(axis=0, dtype=np.uint64)

    def fits(self, grid: ChunkGrid) -> bool:
        """Whether it describes a cube of this grid."""
        return (
            self.photons.shape == self.nonzeros.shape == self.largest.shape == (grid.bands, grid.columns)
            and self.spectrum.shape == (grid.bands, grid.channels)
            and int(self.photons.sum()) == int(self.spectrum.sum())
        )

    def write(self, group: zarr.Group) -> None:
        """Store as plain arrays under ``group``."""
        home = group.create_group(MANIFEST, overwrite=True)
        for name in ("photons", "nonzeros", "largest"):
            home.create_array(
                name,
                data=getattr(self, name),
                compressors=codecs(),
                dimension_names=(_BAND, _COLUMN),
                config={"write_empty_chunks": True},
            )
        bands, channels = self.spectrum.shape
        home.create_array(
            "spectrum",
            data=self.spectrum,
            chunks=(min(bands, _BANDS_PER_CHUNK), channels),
            compressors=codecs(),
            dimension_names=(_BAND, ENERGY),
            config={"write_empty_chunks": True},
        )


def read_manifest(group: zarr.Group, where: str) -> Manifest:
    """Manifest under ``group``; raises ``CorruptStoreError`` that names the store where it is damaged."""
    try:
        home: Any = group[MANIFEST]
        return Manifest(*(np.asarray(home[name][...]) for name in _ARRAYS))
    except (KeyError, ValueError, TypeError, RuntimeError, OSError) as error:
        raise CorruptStoreError(
            f"{where}: its manifest cannot be read ({error}); ingest the source again"
        ) from error


class Journal:
    """Finished bands of a map that is being written, one file each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def done(self) -> set[int]:
        """Bands that are on disk."""
        return {int(p.stem) for p in self.folder.iterdir() if re.fullmatch(r"\d+\.npz", p.name)}

    def record(self, band: int, records: Iterable[ChunkRecord]) -> None:
        """Record a band as finished: atomic, and on the disk when this returns."""
        ordered = sorted(records, key=lambda r: r.column)
        target = self.folder / f"{band:08d}.npz"
        scratch = target.with_suffix(".tmp")
        with scratch.open("wb") as file:
            np.savez(
                file,
                photons=np.array([r.photons for r in ordered], dtype=np.uint64),
                nonzeros=np.array([r.nonzeros for r in ordered], dtype=np.uint64),
                largest=np.array([r.largest for r in ordered], dtype=np.uint32),
                spectrum=np.sum([r.spectrum for r in ordered], axis=0, dtype=np.uint64),
            )
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(target)
        sync_folder(self.folder)

    def manifest(self, grid: ChunkGrid) -> Manifest:
        """All bands together; every band must be done."""
        parts = []
        for band in range(grid.bands):
            with np.load(self.folder / f"{band:08d}.npz", allow_pickle=False) as file:
                parts.append([file[n] for n in _ARRAYS])
        return Manifest(*(np.stack(column) for column in zip(*parts, strict=True)))
