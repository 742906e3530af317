"""Writes one map into a store that is being made: chunk by chunk, two threads, bounded memory."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr
import zarr

from edxdask.errors import ParameterError, SchemaError, StoreWriteError
from edxdask.io.frame import codecs_of_counts, encode_chunk
from edxdask.io.grid import ChunkGrid
from edxdask.io.groups import begin_group, finish_group, write_rest
from edxdask.io.manifest import ChunkRecord, Journal, Manifest, chunk_record
from edxdask.io.target import Target
from edxdask.photons import PhotonBlock, from_dense
from edxdask.portable import sync_folder
from edxdask.schema import (
    COUNTS,
    ENERGY,
    variable_attrs,
)

logger = logging.getLogger(__name__)

THREADS = 2
_BIG_CHUNK = 256 << 20  # bytes; such chunks are written one at a time
_WIDE, _NARROW = "uint32", "uint16"


@dataclass(frozen=True)
class ChunkCounts:
    """Counts of one chunk, dense (any integer dtype, shape of the chunk's region) or as photons."""

    band: int
    column: int
    counts: np.ndarray | PhotonBlock


Job = Callable[[], Iterable[ChunkCounts]]


class _CountTooLarge(Exception):
    """A count needs uint32 and the array is uint16; never leaves this module."""


class _DiskError(Exception):
    """The operating system refused a write in a thread; never leaves this module."""

    def __init__(self, cause: OSError) -> None:
        self.cause = cause
        super().__init__(str(cause))


class MapWriter:
    """One map of a store that is being written.

    Parameters
    ----------
    target
        The store; its lock must be held.
    name
        Map within a collection, "" for a store of one map.
    dims, grid
        Pixel dimensions and their chunks.
    """

    def __init__(self, target: Target, name: str, dims: tuple[str, ...], grid: ChunkGrid) -> None:
        self.target, self.name, self.dims, self.grid = target, name, dims, grid
        self.folder = target.store / name if name else target.store
        self._counts_folder = self.folder / COUNTS
        self._scratch = target.scratch / f"map-{name}"
        with target.writing():
            self.journal = Journal(target.journal(name))
            self.done = self.journal.done()
            begin_group(target.store, name)
            self._recover()
            self._array = self._open()
        self._open_bands: dict[int, dict[int, ChunkRecord]] = {}
        target.finished(name, len(self.done), grid.bands)

    @property
    def missing(self) -> list[int]:
        """Bands still to be written."""
        return [b for b in range(self.grid.bands) if b not in self.done]

    def write(self, jobs: Iterable[Job], on_band: Callable[[int], None] | None = None) -> None:
        """Run ``jobs`` on the writer's threads; each yields counts of whole chunks, in any order.

        A band is recorded as soon as all its chunks are on disk; ``on_band`` is then called, from the
        calling thread.
        """
        threads = THREADS if self.grid.dense_bytes() < _BIG_CHUNK else 1
        pending: dict[Future[list[ChunkRecord]], Job] = {}
        with ThreadPoolExecutor(threads, thread_name_prefix="edxdask-write") as pool:
            try:
                for job in jobs:
                    pending[pool.submit(self._run, job)] = job
                    if len(pending) >= threads:
                        self._collect(pool, pending, on_band)
                while pending:
                    self._collect(pool, pending, on_band)
            except BaseException as error:
                self._salvage(pending)
                if isinstance(error, _DiskError):
                    with (
                        self.target.writing()
                    ):  # the message says how much is safe, so it comes after that is known
                        raise error.cause from None
                raise

    def finish(self, rest: xr.Dataset) -> Manifest:
        """Write everything but the counts: coordinates, other variables, attributes, manifest."""
        manifest = self.journal.manifest(self.grid)
        with self.target.writing():
            write_rest(self.folder, rest, keep=COUNTS)
            manifest.write(zarr.open_group(self.folder, mode="r+"))
            finish_group(self.folder, rest.attrs)
        return manifest

    def _run(self, job: Job) -> list[ChunkRecord]:
        return [self._write_chunk(chunk) for chunk in job()]

    def _write_chunk(self, chunk: ChunkCounts) -> ChunkRecord:
        region = self.grid.region(chunk.band, chunk.column)
        shape = (*(s.stop - s.start for s in region), self.grid.channels)
        counts = chunk.counts
        block = counts if isinstance(counts, PhotonBlock) else from_dense(_checked(counts, shape))
        record = chunk_record(chunk.band, chunk.column, block)
        if record.largest > np.iinfo(self._array.dtype).max:
            raise _CountTooLarge
        if record.photons:
            stored = encode_chunk(block, shape, self.grid.chunk_shape, self._array.dtype.itemsize)
            try:
                _write_synced(self._file(chunk.band, chunk.column), stored)
            except OSError as error:
                raise _DiskError(error) from error
        return record

    def _collect(
        self,
        pool: ThreadPoolExecutor,
        pending: dict[Future[list[ChunkRecord]], Job],
        on_band: Callable[[int], None] | None,
    ) -> None:
        """Wait for a job; where a count did not fit, wait for all, widen the array and run those again."""
        too_large: list[Job] = []
        failure: BaseException | None = None
        finished = wait(pending, return_when=FIRST_COMPLETED).done
        while finished:
            for future in finished:
                job, error = pending.pop(future), future.exception()
                if error is None:
                    self._keep(future.result(), on_band)
                elif isinstance(error, _CountTooLarge):
                    too_large.append(job)
                else:
                    failure = error
            finished = wait(pending).done if too_large and pending else set()
        if failure is not None:
            raise failure
        if too_large:
            with self.target.writing():
                self._widen()
            pending.update({pool.submit(self._run, job): job for job in too_large})

    def _salvage(self, pending: dict[Future[list[ChunkRecord]], Job]) -> None:
        """After a failure, keep what the other threads still finish."""
        for future in pending:
            future.cancel()
        for future in wait(pending).done:
            if not future.cancelled() and future.exception() is None:
                with contextlib.suppress(StoreWriteError):  # the first failure is the one to report
                    self._keep(future.result(), None)

    def _file(self, band: int, column: int) -> Path:
        return self._counts_folder / self.grid.file_name(self.grid.index(band, column))

    def _keep(self, records: list[ChunkRecord], on_band: Callable[[int], None] | None) -> None:
        for record in records:
            if record.band in self.done:  # a job may cover more bands than were missing
                continue
            band = self._open_bands.setdefault(record.band, {})
            band[record.column] = record
            if len(band) == self.grid.columns:
                with self.target.writing():
                    sync_folder(self._counts_folder)
                    self.journal.record(record.band, self._open_bands.pop(record.band).values())
                self.done.add(record.band)
                self.target.finished(self.name, len(self.done), self.grid.bands)
                if on_band is not None:
                    on_band(record.band)

    def _create(self, folder: Path, dtype: str) -> zarr.Array:
        return zarr.create_array(
            folder,
            shape=(*self.grid.pixels, self.grid.channels),
            chunks=self.grid.chunk_shape,
            dtype=dtype,
            compressors=codecs_of_counts(),
            fill_value=0,
            # flat names: a folder per chunk would double the inodes, which clusters limit
            chunk_key_encoding={"name": "default", "separator": "."},
            dimension_names=(*self.dims, ENERGY),
            attributes={**variable_attrs(COUNTS)},
            zarr_format=3,
        )

    def _open(self) -> zarr.Array:
        if not (self._counts_folder / "zarr.json").exists():
            return self._create(self._counts_folder, "uint16")
        array = zarr.open_array(self._counts_folder, mode="r+")
        if array.shape != (*self.grid.pixels, self.grid.channels):
            raise ParameterError(
                "resume",
                True,
                f"a cube of shape {array.shape}, as at the start",
                "Start again with overwrite=True (--overwrite).",
            )
        return array

    def _widen(self) -> None:
        """Make the array uint32, keeping the chunks written so far.

        Killed at any point, the next ``_recover`` finds either the old array or the new one whole.
        """
        if self._array.dtype == np.uint32:
            return
        logger.info("there is a count above 65535: %s becomes uint32", self._counts_folder)
        shutil.rmtree(self._scratch, ignore_errors=True)
        wide = self._create(self._scratch / _WIDE, "uint32")
        for band, column in np.ndindex(self.grid.bands, self.grid.columns):
            if (chunk := self._file(band, column)).exists():
                dense = np.asarray(self._array[(*self.grid.region(band, column), slice(None))])
                stored = encode_chunk(
                    from_dense(dense), dense.shape, self.grid.chunk_shape, wide.dtype.itemsize
                )
                _write_synced(self._scratch / _WIDE / chunk.name, stored)
        self._counts_folder.rename(self._scratch / _NARROW)
        (self._scratch / _WIDE).rename(self._counts_folder)
        sync_folder(self.folder)
        shutil.rmtree(self._scratch)
        self._array = zarr.open_array(self._counts_folder, mode="r+")

    def _recover(self) -> None:
        """Finish or undo an interrupted widening: the old array is removed when the new one is complete."""
        if (self._scratch / _WIDE).exists() and not self._counts_folder.exists():
            (self._scratch / _WIDE).rename(self._counts_folder)
        shutil.rmtree(self._scratch, ignore_errors=True)


def _checked(dense: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Dense counts of the right shape that fit uint32, as uint16 where they fit that."""
    if dense.shape != shape:
        raise SchemaError(f"counts of a chunk have shape {dense.shape}, the store expects {shape}")
    if dense.dtype == np.uint16 or dense.dtype == np.uint8:
        return dense.astype(np.uint16, copy=False)
    if dense.dtype.kind not in "ui":
        raise SchemaError(f"counts have dtype {dense.dtype}; counts of photons are whole numbers")
    low, high = int(dense.min()), int(dense.max())
    if low < 0 or high > 0xFFFFFFFF:
        raise SchemaError(f"counts are between {low} and {high}; a store holds 0 to {0xFFFFFFFF}")
    return dense.astype(np.uint16 if high <= 0xFFFF else np.uint32, copy=False)


def _write_synced(path: Path, content: bytes) -> None:
    """Write a complete file, safe on the disk, or none."""
    scratch = path.with_name(f"{path.name}.partial")
    with scratch.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(path)


def photon_jobs(band: int, block: PhotonBlock, grid: ChunkGrid) -> Iterator[Job]:
    """Jobs that write the photons of one band of a map of two pixel dimensions, a chunk each."""
    width = grid.pixels[-1]
    for column in range(grid.columns):
        where = grid.region(band, column)[-1]
        yield functools.partial(_photon_chunk, block, width, where, band, column)


def _photon_chunk(block: PhotonBlock, width: int, where: slice, band: int, column: int) -> list[ChunkCounts]:
    return [ChunkCounts(band, column, _columns_of(block, width, where))]


def _columns_of(block: PhotonBlock, width: int, where: slice) -> PhotonBlock:
    """Photons of a range of columns; the block's pixels are rows of ``width``."""
    rows = block.indptr[:-1].reshape(-1, width)
    begin = rows[:, where.start]
    stop = block.indptr[1:].reshape(-1, width)[:, where.stop - 1]
    pieces = [slice(a, b) for a, b in zip(begin.tolist(), stop.tolist(), strict=True)]
    sizes = np.diff(block.indptr).reshape(-1, width)[:, where]
    indptr = np.zeros(sizes.size + 1, dtype=np.int64)
    np.cumsum(sizes.ravel(), out=indptr[1:])
    channel = np.concatenate([block.channel[p] for p in pieces])
    count = np.concatenate([block.count[p] for p in pieces])
    return PhotonBlock(indptr, channel, count, block.channels)
