"""Partitions made from partitions: binned, thinned, or both, on the workers that hold the photons.

Bins need not end where partitions end. A bin belongs to the partition that holds its first row; the rows
it lacks come as photons (``head``) from the partitions below.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path

import numpy as np

from edxdask.engine.layout import ImageStack, PartitionPlan, TilePlan
from edxdask.engine.partition import CachedBlock, Partition, Tile, in_blocks
from edxdask.photons import (
    PhotonBlock,
    SweepBlock,
    as_photons,
    bin_block,
    concat_blocks,
    hold_dense,
    take_rows,
    thin,
)


@dataclass(frozen=True)
class Thinning:
    """One of the two independent parts that binomial thinning makes of every pixel.

    Attributes
    ----------
    fraction : fraction of the photons in the first part
    rest : take the second part
    """

    fraction: float
    seed: int
    rest: bool = False

    def __call__(self, block: PhotonBlock, first_pixel: int) -> PhotonBlock:
        """Cut the part out of the block that begins at that pixel."""
        parts = thin(block, self.fraction, seed=self.seed, pixel_index=first_pixel)
        return parts[1 if self.rest else 0]

    @property
    def kept(self) -> float:
        """Fraction of the photons that the part has."""
        return 1 - self.fraction if self.rest else self.fraction


@dataclass(frozen=True)
class Derivation:
    """How to make one partition from another.

    Attributes
    ----------
    plan : of the new partition, in rows and pixels of bins
    dense_channels : channels that are held dense
    factor : pixels per bin, along rows and columns
    thinning : which photons are taken; None takes all
    cache : folder for the new photons on disk; None keeps them in memory
    """

    plan: PartitionPlan
    dense_channels: np.ndarray
    factor: int = 1
    thinning: Thinning | None = None
    cache: Path | None = None

    def __call__(self, source: Partition, heads: Sequence[PhotonBlock]) -> Partition:
        """Bin and thin ``source``; ``heads`` are the rows below it, nearest first."""
        if self.cache is not None:
            self.cache.mkdir(parents=True, exist_ok=True)
        plans = {(t.map_index, t.image): t for t in self.plan.tiles}
        tiles: list[Tile] = []
        start = nonzeros = photons = 0
        for index, tile in enumerate(source.tiles):
            plan = plans.get((tile.plan.map_index, tile.plan.image))
            if plan is None:
                continue
            held: list[SweepBlock | CachedBlock] = []
            edges = [plan.first_row]
            for block in self.photons(source, heads, index):
                nonzeros += block.count.size
                photons += block.total
                edges.append(edges[-1] + block.pixels // plan.width)
                again = DeriveAgain(self, source, tuple(heads), index, len(held))
                kept = hold_dense(block, self.dense_channels)
                held.append(kept if self.cache is None else CachedBlock.keep(kept, self.cache, again))
            tiles.append(Tile(replace(plan, edges=tuple(edges)), start, tuple(held)))
            start += tiles[-1].plan.pixels
        return Partition(
            replace(self.plan, tiles=tuple(t.plan for t in tiles)), tuple(tiles), nonzeros, photons
        )

    def photons(self, source: Partition, heads: Sequence[PhotonBlock], index: int) -> Iterator[PhotonBlock]:
        """Blocks of the new tile that is made from tile number ``index`` of ``source``."""
        tile = source.tiles[index]
        for block, _ in in_blocks(self._bands(tile, heads if tile is source.tiles[-1] else ())):
            yield block

    def _bands(self, tile: Tile, heads: Sequence[PhotonBlock]) -> Iterator[PhotonBlock]:
        plan, factor, width = tile.plan, self.factor, tile.plan.width
        begin = -(-plan.first_row // factor) * factor
        end = min(-(-(plan.first_row + plan.rows) // factor) * factor, plan.image_rows)
        pending: list[PhotonBlock] = []
        row, have = plan.first_row, 0
        for block in chain(thinned(tile, self.thinning), heads):
            rows = block.pixels // width
            low, high = max(row, begin), min(row + rows, end)
            if high > low:
                pending.append(take_rows(block, slice((low - row) * width, (high - row) * width)))
                have += high - low
            row += rows
            whole = have - have % factor  # rows of bins that are complete
            if whole:
                joined = concat_blocks(pending)
                yield bin_block(take_rows(joined, slice(0, whole * width)), (whole, width), factor)
                pending, have = [take_rows(joined, slice(whole * width, None))], have - whole
        if have:
            yield bin_block(concat_blocks(pending), (have, width), factor)


@dataclass(frozen=True)
class DeriveAgain:
    """Makes one block of a derived tile again, where its file is gone."""

    derivation: Derivation
    source: Partition
    heads: tuple[PhotonBlock, ...]
    tile: int
    block: int

    def __call__(self) -> PhotonBlock:
        """Bin and thin once more."""
        return next(islice(self.derivation.photons(self.source, self.heads, self.tile), self.block, None))


def thinned(tile: Tile, thinning: Thinning | None) -> Iterator[PhotonBlock]:
    """Blocks of a tile as photons, thinned."""
    for where, block in tile.blocks():
        sparse = as_photons(block)
        first = tile.plan.first_pixel + where.start - tile.start
        yield thinning(sparse, first) if thinning else sparse


def head(partition: Partition, rows: int, thinning: Thinning | None) -> PhotonBlock:
    """First ``rows`` rows of a partition's first tile, or all it has."""
    tile = partition.tiles[0]
    found: list[PhotonBlock] = []
    missing = rows * tile.plan.width
    for block in thinned(tile, thinning):
        found.append(take_rows(block, slice(0, missing)))
        missing -= found[-1].pixels
        if missing <= 0:
            break
    return concat_blocks(found)


def binned_stacks(stacks: Sequence[ImageStack], factor: int) -> list[ImageStack]:
    """Geometry of maps in bins of ``factor``."""
    binned: list[ImageStack] = []
    first = 0
    for stack in stacks:
        rows, width = -(-stack.rows // factor), -(-stack.width // factor)
        binned.append(ImageStack(stack.images, rows, width, first, ()))
        first += binned[-1].pixels
    return binned


def bin_sizes(whole: ImageStack, factor: int) -> np.ndarray:
    """Pixels of every bin of a map, in order; bins at the far edges hold fewer.

    Examples
    --------
    >>> bin_sizes(ImageStack(1, 3, 5, 0, ()), 2).tolist()
    [4, 4, 2, 2, 2, 1]
    """
    rows, columns = (
        np.diff(np.append(np.arange(0, length, factor), length)) for length in (whole.rows, whole.width)
    )
    return np.tile(np.outer(rows, columns).ravel(), whole.images)


def derivations(
    stacks: Sequence[ImageStack],
    plans: Sequence[PartitionPlan],
    dense_channels: np.ndarray,
    *,
    factor: int = 1,
    thinning: Thinning | None = None,
    cache: Path | None = None,
) -> list[tuple[int, Derivation]]:
    """Plan the partitions of ``stacks`` in bins of ``factor``: (source partition, derivation) of each.

    Partitions in which no bin begins are left out.
    """
    made: list[tuple[int, Derivation]] = []
    for source, plan in enumerate(plans):
        tiles = tuple(t for t in (_binned_tile(stacks, tile, factor) for tile in plan.tiles) if t.rows)
        if tiles:
            fresh = PartitionPlan(len(made), tiles)
            made.append((source, Derivation(fresh, dense_channels, factor, thinning, cache)))
    return made


def _binned_tile(stacks: Sequence[ImageStack], tile: TilePlan, factor: int) -> TilePlan:
    stack = stacks[tile.map_index]
    first, last = -(-tile.first_row // factor), -(-(tile.first_row + tile.rows) // factor)
    first_pixel = stack.first_pixel + (tile.image * stack.rows + first) * stack.width
    return TilePlan(tile.map_index, tile.image, (first, last), stack.rows, stack.width, first_pixel)
