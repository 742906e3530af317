"""The class cube: counts by tilt, row, column and class of channels, on disk, read by rows.

Sixteen classes say what hundreds of channels say of the phases (``classes``), so the dense counts are read
once, and slabs read only their rows. Chunks hold all tilts and few rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import gcd
from pathlib import Path

import dask
import dask.array as da
import numpy as np
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec

from edxdask.engine.partition import read_band
from edxdask.errors import CorruptStoreError, ParameterError
from edxdask.tomo.kernels.into_classes import into_classes
from edxdask.tomo.records import finished, records, write_record
from edxdask.tomo.tasks import Stop

CHUNK_ROWS = 8  # of the class cube: slabs with halo read a quarter more rows than they need
MOST_BAND_BYTES = 256 * 2**20  # of the counts by class that one task holds
LARGEST = np.iinfo(np.uint16).max
NO_CLASS = -1  # of channels that take part in totals only


@dataclass(frozen=True)
class ClassCube:
    """Counts ``(tilt, row, column, class)`` on disk.

    Attributes
    ----------
    array : folder of the Zarr array
    journal : folder of the records of finished bands
    shape : tilts, rows, columns, classes
    edges : first rows of the bands, and the end of the last
    """

    array: Path
    journal: Path
    shape: tuple[int, int, int, int]
    edges: tuple[int, ...]

    @property
    def bands(self) -> int:
        """Number of bands."""
        return len(self.edges) - 1

    def missing(self, rows: tuple[int, int] | None = None) -> list[int]:
        """Bands that are yet to be written, of all or of those that hold ``rows``."""
        first, stop = rows or (0, self.shape[1])
        done = finished(self.journal)
        spans = enumerate(pairwise(self.edges))
        return [band for band, (low, high) in spans if low < stop and high > first and band not in done]

    def create(self) -> None:
        """Make the array, unless an interrupted run has."""
        if (self.array / "zarr.json").exists():
            return
        tilts, _, columns, classes = self.shape
        zarr.create_array(
            self.array,
            shape=self.shape,
            chunks=(tilts, chunk_rows(self.edges), columns, classes),
            dtype=np.uint16,  # the upper bytes are zeros, which take no room in bit planes
            compressors=[BloscCodec(cname="zstd", clevel=1, shuffle="bitshuffle"), Crc32cCodec()],
            fill_value=0,
            zarr_format=3,
        )

    def photons(self) -> tuple[np.ndarray, np.ndarray]:
        """Photons of each tilt in finished bands: those in classes, and those in channels without one."""
        each = list(records(self.journal))
        kept, left_out = (np.sum([one[name] for one in each], axis=0) for name in ("photons", "left_out"))
        return kept, left_out

    def largest(self) -> int:
        """Largest count of a pixel and class."""
        return max(int(one["largest"]) for one in records(self.journal))

    def read(self, first: int, stop: int, *, narrow: bool) -> np.ndarray:
        """Read the counts of rows ``first`` to ``stop``; as bytes where ``narrow``, if none is above 255."""
        opened = zarr.open_array(self.array, mode="r")
        tilts, _, columns, classes = self.shape
        out = np.empty((tilts, stop - first, columns, classes), np.uint8 if narrow else np.uint16)
        step = int(opened.chunks[1])
        for low in range(first - first % step, stop, step):  # one chunk at a time: each lives but briefly
            a, b = max(low, first), min(low + step, stop)
            try:
                out[:, a - first : b - first] = opened[:, a:b]
            except (ValueError, RuntimeError, OSError) as error:
                text = f"rows {a} to {b} of the counts by class in {self.array} are damaged ({error})"
                raise CorruptStoreError(f"{text}: start again without resume") from error
        return out


def class_cube_in(
    folder: Path, journal: Path, counts: da.Array, classes: int, *, most_bytes: int = MOST_BAND_BYTES
) -> ClassCube:
    """Plan the class cube of ``counts(tilt, y, x, energy)``; nothing is read or written."""
    tilts, rows, columns, _ = counts.shape
    row_bytes = tilts * columns * classes * np.dtype(np.uint16).itemsize
    edges = band_edges(counts.chunks[1], max(1, most_bytes // row_bytes))
    return ClassCube(folder, journal, (tilts, rows, columns, classes), edges)


def band_edges(chunks: Sequence[int], most_rows: int) -> tuple[int, ...]:
    """First rows of bands that follow the chunks of the source, none of more than ``most_rows`` rows.

    Examples
    --------
    >>> band_edges((64, 64, 12), 32), band_edges((2, 2, 2), 64)
    ((0, 32, 64, 96, 128, 140), (0, 2, 4, 6))
    """
    edges, top = [0], 0
    for size in chunks:
        pieces = -(-size // max(most_rows, 1))
        step = -(-size // pieces)
        step = -(-step // CHUNK_ROWS) * CHUNK_ROWS if step > CHUNK_ROWS else step
        edges += [*range(top + step, top + size, step), top + size]
        top += size
    return tuple(edges)


def chunk_rows(edges: Sequence[int]) -> int:
    """Rows of a chunk, of which every band but the last is a whole number: two tasks never write one chunk.

    Examples
    --------
    >>> chunk_rows((0, 64, 128, 140)), chunk_rows((0, 50, 100)), chunk_rows((0, 7, 14, 20))
    (8, 5, 7)
    """
    if len(edges) == 2:
        return min(CHUNK_ROWS, edges[1])
    together = gcd(*edges[1:-1])
    return max(rows for rows in range(1, CHUNK_ROWS + 1) if together % rows == 0)


@dataclass(frozen=True)
class BandTask:
    """Reads the counts of one band of rows, all tilts, and writes them by class.

    Attributes
    ----------
    number : of the band
    cube : where they go
    counts : lazy ``(tilt, row, column, energy)`` of the band
    class_of : (energy,) class of each channel, -1 for none
    """

    number: int
    cube: ClassCube
    counts: da.Array
    class_of: np.ndarray

    def __call__(self, stop: Stop | None = None) -> int:
        """Write the band and its record; return its photons."""
        first, last = self.cube.edges[self.number], self.cube.edges[self.number + 1]
        found = rows_by_class(self.counts, self.class_of, self.cube.shape[3], stop)
        band, left_out = found.counts, found.left_out
        zarr.open_array(self.cube.array, mode="r+")[:, first:last] = band
        photons = band.sum(axis=(1, 2, 3), dtype=np.int64)
        largest = np.array(int(band.max(initial=0)))
        write_record(self.cube.journal, self.number, photons=photons, left_out=left_out, largest=largest)
        return int(photons.sum() + left_out.sum())


@dataclass(frozen=True)
class RowsByClass:
    """Counts of some rows by class.

    Attributes
    ----------
    counts : (tilt, row, column, class), uint16
    left_out : (tilt,) photons of channels without a class
    """

    counts: np.ndarray
    left_out: np.ndarray


def rows_by_class(
    counts: da.Array, class_of: np.ndarray, classes: int, stop: Stop | None = None
) -> RowsByClass:
    """Read rows, one tilt at a time, and sum the channels of each class.

    Parameters
    ----------
    counts : dask array
        Counts (tilt, row, column, energy) of the rows.
    class_of : ndarray
        Class of each channel (energy,), ``NO_CLASS`` for channels that take part in totals only.
    classes : int
        Number of classes.
    stop : Stop, optional
        Asked before each tilt.
    """
    tilts, rows, columns, _ = counts.shape
    band = np.zeros((tilts, rows, columns, classes), dtype=np.uint16)
    left_out = np.zeros(tilts, dtype=np.int64)
    known = np.where(class_of == NO_CLASS, classes, class_of).astype(np.int64)
    for tilt in range(tilts):
        if stop is not None:
            stop.check()
        block = read_band(counts[tilt])
        found = np.zeros((block.pixels, classes + 1), dtype=np.uint32)
        into_classes(block.indptr, block.channel, block.count, known, found)
        left_out[tilt] = found[:, classes].sum(dtype=np.int64)
        largest = int(found[:, :classes].max(initial=0))
        if largest > LARGEST:
            expected = f"at most {LARGEST} photons of a pixel in a class of channels"
            raise ParameterError("tilts", largest, expected, "Bin fewer pixels, or fewer frames, into one.")
        band[tilt] = found[:, :classes].reshape(band.shape[1:])
        _check_kept(tilt, block.total, int(band[tilt].sum(dtype=np.int64)) + int(left_out[tilt]))
    return RowsByClass(band, left_out)


def _check_kept(tilt: int, before: int, after: int) -> None:
    if before != after:
        raise CorruptStoreError(
            f"tilt {tilt}: {before} photons were read and {after} arrived in classes: report this"
        )


def band_tasks(
    cube: ClassCube, counts: da.Array, class_of: np.ndarray, *, rows: tuple[int, int] | None = None
) -> list[BandTask]:
    """Tasks that write the missing bands.

    Parameters
    ----------
    cube : ClassCube
        Where they go; made by ``class_cube_in`` for these counts.
    counts : dask array
        Counts (tilt, y, x, energy).
    class_of : array
        Class of each channel (energy,), -1 for channels that take part in totals only.
    rows : (int, int), optional
        First row that is needed, and the end; None means all.
    """
    tasks = []
    for number in cube.missing(rows):
        first, stop = cube.edges[number : number + 2]
        (band,) = dask.optimize(counts[:, first:stop])
        tasks.append(BandTask(number, cube, band, class_of))
    return tasks
