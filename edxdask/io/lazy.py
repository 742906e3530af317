"""Stored counts as a lazy array, one block per chunk.

The graph holds a path, not an open file: every process opens the array once, so that the
same graph runs on threads and on workers elsewhere.
"""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass
from pathlib import Path

import dask.array as da
import numpy as np
import zarr
from dask.base import tokenize

from edxdask.errors import CorruptStoreError
from edxdask.io.grid import ChunkGrid
from edxdask.io.manifest import read_manifest
from edxdask.schema import COUNTS

Index = tuple[slice | int, ...]  # dask joins what is picked with what is read: one tilt is a number


def stamp(folder: Path) -> str:
    """Mark that changes when a store at the same path is replaced."""
    status = (folder / COUNTS / "zarr.json").stat()
    return f"{status.st_ino}-{status.st_mtime_ns}"


@functools.lru_cache(maxsize=64)
def _opened(folder: str, mark: str) -> zarr.Array:
    return zarr.open_array(Path(folder) / COUNTS, mode="r")


@functools.lru_cache(maxsize=64)
def _photons(folder: str, mark: str) -> np.ndarray:
    return read_manifest(zarr.open_group(folder, mode="r"), folder).photons


@dataclass(frozen=True)
class StoredCounts:
    """Counts of one map on disk; only indexing reads them.

    Attributes
    ----------
    folder : of the map's group
    shape, dtype : of the array, energy last
    """

    folder: str
    shape: tuple[int, ...]
    dtype: np.dtype
    mark: str

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    @property
    def grid(self) -> ChunkGrid:
        """Chunks of the array."""
        return ChunkGrid(self.shape[:-1], self.shape[-1])

    def __getitem__(self, index: Index) -> np.ndarray:
        folder = Path(self.folder)
        try:
            array = _opened(self.folder, stamp(folder))
            if array.shape != self.shape:
                raise CorruptStoreError(f"{folder} was replaced by another map: open it again")
            self._check_present(folder, index)
            return np.asarray(array[index])
        except (ValueError, RuntimeError, OSError, KeyError, TypeError) as error:
            raise CorruptStoreError(f"{self.folder}: {self._blame(index)} ({error})") from error

    def _chunks(self, index: Index) -> list[tuple[int, ...]]:
        """List the indices of the chunks that ``index`` touches."""
        spans = []
        for want, side, n in zip(index, self.grid.chunk_pixels, self.shape, strict=False):
            picked = range(n)[want if isinstance(want, slice) else slice(want % n, want % n + 1)]
            low, high = (min(picked[0], picked[-1]), max(picked[0], picked[-1])) if picked else (0, -1)
            spans.append(range(low // side, high // side + 1))
        return list(itertools.product(*spans))

    def _check_present(self, folder: Path, index: Index) -> None:
        """Zarr reads a missing chunk as zeros: refuse one that should hold photons."""
        for chunk in self._chunks(index):
            name = self.grid.file_name(chunk)
            if not (folder / COUNTS / name).exists():
                photons = int(_photons(self.folder, stamp(folder))[self.grid.place(chunk)])
                if photons:
                    raise CorruptStoreError(
                        f"{folder}: chunk {name} of counts is missing; it should hold {photons} photons. "
                        "Ingest the source again."
                    )

    def _blame(self, index: Index) -> str:
        """Say which chunk cannot be read, and what to do."""
        array = zarr.open_array(Path(self.folder) / COUNTS, mode="r")
        for chunk in self._chunks(index):
            try:
                array[(*self.grid.region(*self.grid.place(chunk)), slice(None))]
            except (ValueError, RuntimeError, OSError, KeyError, TypeError):
                name = self.grid.file_name(chunk)
                return f"chunk {name} of counts is damaged; ingest the source again"
        return "counts cannot be read; see edxdask.io.verify.verify(path)"


def lazy_counts(folder: Path, shape: tuple[int, ...], dtype: np.dtype) -> da.Array:
    """Dask array over the stored counts; reads nothing.

    Notes
    -----
    Chunks: those of the store.
    """
    reader = StoredCounts(str(folder.resolve()), shape, dtype, stamp(folder))
    chunks = reader.grid.chunk_shape
    meta = np.empty((0,) * len(shape), dtype=dtype)
    return da.from_array(reader, chunks=chunks, name=array_name(reader), inline_array=True, meta=meta)


def array_name(reader: StoredCounts) -> str:
    """Name of the dask array over these counts: equal names, equal counts."""
    return f"edxdask-counts-{tokenize(reader.folder, reader.shape, str(reader.dtype), reader.mark)}"
