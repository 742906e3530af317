"""Reads a whole store and compares it with its manifest; a checksum over its files."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import xarray as xr

from edxdask.errors import CorruptStoreError
from edxdask.io.grid import ChunkGrid
from edxdask.io.lazy import StoredCounts, stamp
from edxdask.io.manifest import chunk_record
from edxdask.io.store import manifest_of, open_store
from edxdask.photons import from_dense
from edxdask.schema import COUNTS


def verify(path: str | Path) -> int:
    """Read every chunk of every array of a store; return its photons.

    Raises
    ------
    CorruptStoreError
        If a chunk is damaged or missing, or has not the photons that the manifest says.
    """
    root = Path(path)
    data = open_store(root)
    if isinstance(data, xr.Dataset):
        return _verify_map(root, data)
    top = _verify_map(root, data.to_dataset(inherit=False))
    return top + sum(_verify_map(root / name, child.to_dataset()) for name, child in data.children.items())


def _verify_map(folder: Path, ds: xr.Dataset) -> int:
    try:
        for name in ds.variables:
            if name != COUNTS:
                _ = ds[name].values
    except (ValueError, RuntimeError, OSError) as error:
        raise CorruptStoreError(f"{folder}: variable {name!r} is damaged ({error})") from error
    if COUNTS not in ds:
        return 0
    counts, manifest = ds[COUNTS], manifest_of(folder)
    grid = ChunkGrid(tuple(counts.shape[:-1]), counts.shape[-1])
    reader = StoredCounts(str(folder.resolve()), counts.shape, counts.dtype, stamp(folder))
    for band in range(grid.bands):
        spectrum = np.zeros(grid.channels, dtype=np.uint64)
        for column in range(grid.columns):
            dense = reader[(*grid.region(band, column), slice(None))]
            record = chunk_record(band, column, from_dense(dense))
            spectrum += record.spectrum
            noted = tuple(
                int(a[band, column]) for a in (manifest.photons, manifest.nonzeros, manifest.largest)
            )
            if noted != (record.photons, record.nonzeros, record.largest):
                raise CorruptStoreError(
                    f"{folder}: chunk {grid.file_name(grid.index(band, column))} of counts holds "
                    f"{record.photons} photons, the manifest says {noted[0]}; ingest the source again"
                )
        if not np.array_equal(spectrum, manifest.spectrum[band]):
            raise CorruptStoreError(
                f"{folder}: the sum spectrum of band {band} is not what the manifest says"
            )
    return int(manifest.photons.sum())


def checksum(path: str | Path) -> str:
    """SHA-256 over the names and bytes of all files of a store, in order of their names."""
    root = Path(path)
    digest = hashlib.sha256()
    for file in sorted(p for p in root.rglob("*") if p.is_file()):
        digest.update(f"{file.relative_to(root).as_posix()}\0{file.stat().st_size}\0".encode())
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
