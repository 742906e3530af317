"""Partitions: the photon blocks that one worker holds, read from a lazy cube band by band.

Bands with few photons are joined in one block, since every sweep does some work once per block.

A ``PartitionJob`` is all a worker needs to make its partition, and make it again after a crash: the lazy
array (paths and slices, no data) and the plan. Reading happens inside one task, chunk by chunk, so that a
dense chunk lives only until its photons are out.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import dask
import dask.array as da
import numpy as np

from edxdask.engine.faults import TileFaults, sorted_out
from edxdask.engine.layout import PartitionPlan, TilePlan
from edxdask.errors import ParameterError
from edxdask.photons import (
    BlockArrays,
    PhotonBlock,
    SweepBlock,
    concat_blocks,
    from_dense,
    hold_dense,
    pixel_totals,
    sum_spectrum,
)
from edxdask.photons.assemble import side_by_side
from edxdask.photons.sharp import PeakLimits, without_sharp

# Non-zeros of which a block has more where it can: a sweep over them takes 4 ms, and 0.3 ms once per block.
LEAST_NONZEROS = 4_000_000


@dataclass(frozen=True)
class CachedBlock:
    """A block on local disk; ``load`` reads it, the reader drops it after use.

    Plain files that are read whole, not memory maps: mapped pages count as resident memory. A task that runs
    on another node finds no file there and makes the block again.

    Attributes
    ----------
    remake : makes the photons of the block again
    dense_channels : channels that are held dense
    """

    path: Path
    pixels: int
    channels: int
    remake: Callable[[], PhotonBlock]
    dense_channels: np.ndarray

    def load(self) -> SweepBlock:
        """Read the block."""
        if not self.path.is_file():
            return hold_dense(self.remake(), self.dense_channels)
        with self.path.open("rb") as file:
            arrays = BlockArrays(*(np.load(file, allow_pickle=False) for _ in BlockArrays._fields))
        return SweepBlock(arrays, self.pixels, self.channels)

    @staticmethod
    def keep(block: SweepBlock, folder: Path, remake: Callable[[], PhotonBlock]) -> CachedBlock:
        """Write ``block`` to a new file in ``folder``."""
        path = folder / f"{uuid.uuid4().hex}.photons"
        with path.open("wb") as file:
            for array in block.arrays:
                np.save(file, array, allow_pickle=False)
        return CachedBlock(path, block.pixels, block.channels, remake, block.dense_channels)


@dataclass(frozen=True)
class ReadBands:
    """Makes the photons of a block again from its bands of the cube."""

    bands: tuple[da.Array, ...]
    limits: PeakLimits | None = None

    def __call__(self) -> PhotonBlock:
        """Read them."""
        block = concat_blocks([read_band(band) for band in self.bands])
        return block if self.limits is None else without_sharp(block, self.limits)[0]


@dataclass(frozen=True)
class Tile:
    """The photons of consecutive rows of one image, in blocks of one band or more.

    Attributes
    ----------
    plan : where the rows are
    start : first pixel of the tile within its partition
    held : blocks in the order of their rows
    """

    plan: TilePlan
    start: int
    held: tuple[SweepBlock | CachedBlock, ...]

    def blocks(self) -> Iterator[tuple[slice, SweepBlock]]:
        """Yield ``(pixels within the partition, photons)`` block by block."""
        start = self.start
        for kept in self.held:
            block = kept.load() if isinstance(kept, CachedBlock) else kept
            yield slice(start, start + block.pixels), block
            start += block.pixels

    @property
    def pixels(self) -> slice:
        """Pixels of the tile within its partition."""
        return slice(self.start, self.start + self.plan.pixels)


@dataclass(frozen=True)
class Partition:
    """Tiles of one partition, and what they hold; ``faults`` were found when it was read."""

    plan: PartitionPlan
    tiles: tuple[Tile, ...]
    nonzeros: int
    photons: int
    faults: tuple[TileFaults, ...] = ()

    def blocks(self) -> Iterator[tuple[slice, SweepBlock]]:
        """Yield ``(pixels within the partition, photons)`` over all tiles."""
        for tile in self.tiles:
            yield from tile.blocks()


@dataclass(frozen=True)
class PartitionJob:
    """A partition that can be made anywhere: plan and one lazy ``(rows, width, energy)`` array per tile.

    Attributes
    ----------
    dense_channels : channels that are held dense
    cache : folder for photon blocks on disk; None keeps them in memory
    limits : of a detector's peaks: sharper voxels are left out; None takes the counts as they are
    """

    plan: PartitionPlan
    arrays: tuple[da.Array, ...]
    dense_channels: np.ndarray
    cache: Path | None = None
    limits: PeakLimits | None = None

    def culled(self) -> PartitionJob:
        """Return the same job with no more in its graphs than it needs, to travel."""
        return replace(self, arrays=tuple(dask.optimize(*self.arrays)))

    def load(self) -> Partition:
        """Read the photons."""
        if self.cache is not None:
            self.cache.mkdir(parents=True, exist_ok=True)
        tiles, start, nonzeros, photons = [], 0, 0, 0
        faults: list[TileFaults] = []
        for plan, array in zip(self.plan.tiles, self.arrays, strict=True):
            edges = [edge - plan.first_row for edge in plan.edges]
            bands = [array[top:bottom] for top, bottom in pairwise(edges)]
            held: list[SweepBlock | CachedBlock] = []
            done = 0
            for found, joined in in_blocks(self._read(plan, bands, faults)):
                nonzeros += found.count.size
                photons += found.total
                block = hold_dense(found, self.dense_channels)
                again = ReadBands(tuple(bands[done : done + joined]), self.limits)
                held.append(block if self.cache is None else CachedBlock.keep(block, self.cache, again))
                done += joined
            tiles.append(Tile(plan, start, tuple(held)))
            start += plan.pixels
        return Partition(self.plan, tuple(tiles), nonzeros, photons, tuple(faults))

    def _read(
        self, plan: TilePlan, bands: Iterable[da.Array], faults: list[TileFaults]
    ) -> Iterator[PhotonBlock]:
        """Yield the photons of a tile's bands, and note the faults among them."""
        for (top, bottom), band in zip(pairwise(plan.edges), bands, strict=True):
            block = read_band(band)
            if self.limits is not None:
                skipped = (top - plan.first_row) * plan.width
                own = replace(plan, edges=(top, bottom), first_pixel=plan.first_pixel + skipped)
                block, found = sorted_out(block, own, self.limits)
                faults.append(found)
            yield block


def in_blocks(bands: Iterable[PhotonBlock]) -> Iterator[tuple[PhotonBlock, int]]:
    """Join bands until a block has ``LEAST_NONZEROS``, and yield it with their number.

    Examples
    --------
    >>> band = from_dense(np.ones((3, 2), dtype=np.uint16))
    >>> [(block.pixels, bands) for block, bands in in_blocks([band] * 5)]
    [(15, 5)]
    """
    waiting: list[PhotonBlock] = []
    for band in bands:
        waiting.append(band)
        del band  # else it would live as long as what is made of it
        if sum(block.count.size for block in waiting) >= LEAST_NONZEROS:
            yield _joined(waiting)
    if waiting:
        yield _joined(waiting)


def _joined(waiting: list[PhotonBlock]) -> tuple[PhotonBlock, int]:
    """Empty the list, so that only what is made of it is left."""
    bands = len(waiting)
    block = concat_blocks(waiting) if bands > 1 else waiting[0]
    waiting.clear()
    return block, bands


def summed_spectrum(partition: Partition, state: object) -> np.ndarray:
    """Sum the counts of a partition over its pixels."""
    total = np.zeros(next(partition.blocks())[1].channels)
    for _, block in partition.blocks():
        total += sum_spectrum(block)
    return total


def faults_of(partition: Partition, state: object) -> tuple[TileFaults, ...]:
    """Faults that were found when a partition was read."""
    return partition.faults


def partition_mark(partition: Partition, state: object) -> int:
    """Sum over pixels and channels of their photons times a number that belongs to the place, modulo 2⁶⁴.

    Marks of partitions add up to the same number for any partitions.
    """
    mark = np.zeros(1, dtype=np.uint64)  # arrays wrap around, scalars would warn
    for tile in partition.tiles:
        for where, block in tile.blocks():
            first = tile.plan.first_pixel + where.start - tile.start
            mark += place_marks(first, block.pixels) @ pixel_totals(block).astype(np.uint64)
            mark += place_marks(1 << 48, block.channels) @ sum_spectrum(block).astype(np.uint64)
    return int(mark[0])


def place_marks(first: int, count: int) -> np.ndarray:
    """Scrambled numbers of successive places (the finalizer of splitmix64)."""
    x = np.arange(first, first + count, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    return x ^ (x >> np.uint64(31))


def read_band(counts: da.Array) -> PhotonBlock:
    """Photons of a lazy ``(rows, width, energy)`` array, one column of chunks at a time."""
    pieces, left = [], 0
    for width in counts.chunks[1]:
        dense = np.asarray(counts[:, left : left + width].compute(scheduler="synchronous"))
        if dense.dtype.kind == "i" and dense.min(initial=0) < 0:
            raise ParameterError(
                "counts",
                int(dense.min()),
                "counts of photons, which are never negative",
                "Was a background subtracted? Factorize the raw counts.",
            )
        pieces.append(from_dense(dense))
        left += width
    return side_by_side(pieces, counts.shape[0])
