"""Planning only: which rows of which image go to which partition. No photons are read here.

Pixels are numbered in C order through all maps of a collection and all leading pixel dimensions, so the
number of a pixel never depends on chunks or partitions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod

import numpy as np


@dataclass(frozen=True)
class ImageStack:
    """Geometry of one map: ``images`` pictures of ``rows`` × ``width`` pixels, one after the other.

    Attributes
    ----------
    first_pixel : number of the map's first pixel within the collection
    row_edges : borders of the stored chunks along the rows of an image, from 0 to ``rows``
    """

    images: int
    rows: int
    width: int
    first_pixel: int
    row_edges: tuple[int, ...]

    @property
    def pixels(self) -> int:
        """Number of pixels of the map."""
        return self.images * self.rows * self.width


@dataclass(frozen=True)
class TilePlan:
    """Consecutive rows of one image, read in the bands between ``edges``."""

    map_index: int
    image: int
    edges: tuple[int, ...]
    image_rows: int
    width: int
    first_pixel: int

    @property
    def first_row(self) -> int:
        """First row within the image."""
        return self.edges[0]

    @property
    def rows(self) -> int:
        """Number of rows."""
        return self.edges[-1] - self.edges[0]

    @property
    def pixels(self) -> int:
        """Number of pixels."""
        return self.rows * self.width


@dataclass(frozen=True)
class PartitionPlan:
    """What one partition holds: tiles in the order of their pixels."""

    index: int
    tiles: tuple[TilePlan, ...]

    @property
    def pixels(self) -> int:
        """Number of pixels."""
        return sum(tile.pixels for tile in self.tiles)

    @property
    def first_pixel(self) -> int:
        """Number of the first pixel within the collection."""
        return self.tiles[0].first_pixel


def stack_of(
    pixel_shape: Sequence[int], chunks: Sequence[Sequence[int]], first_pixel: int, max_rows: int
) -> ImageStack:
    """Geometry of a map from the shape and chunks of its pixel dimensions.

    Chunk rows taller than ``max_rows`` are read in several bands, so that a band takes little memory.

    Examples
    --------
    >>> stack_of((2, 100, 50), ((1, 1), (64, 36), (50,)), 0, 64)
    ImageStack(images=2, rows=100, width=50, first_pixel=0, row_edges=(0, 64, 100))
    """
    shape = (1, *pixel_shape) if len(pixel_shape) == 1 else tuple(pixel_shape)
    heights = (1,) if len(pixel_shape) == 1 else tuple(chunks[-2])
    edges = [0]
    for height in heights:
        parts = -(-height // max_rows)
        edges += [edges[-1] + (height * (i + 1)) // parts for i in range(parts)]
    return ImageStack(prod(shape[:-2]), shape[-2], shape[-1], first_pixel, tuple(edges))


def plan_partitions(stacks: Sequence[ImageStack], partitions: int) -> list[PartitionPlan]:
    """Divide the bands of all maps among at most ``partitions`` partitions of about equal pixel numbers.

    Examples
    --------
    >>> stack = ImageStack(1, 100, 10, 0, (0, 25, 50, 75, 100))
    >>> [[tile.edges for tile in part.tiles] for part in plan_partitions([stack], 2)]
    [[(0, 25, 50)], [(50, 75, 100)]]
    """
    bands = [
        (m, image, top, bottom)
        for m, stack in enumerate(stacks)
        for image in range(stack.images)
        for top, bottom in pairwise(stack.row_edges)
    ]
    sizes = np.array([(bottom - top) * stacks[m].width for m, _, top, bottom in bands], dtype=np.float64)
    middle = np.cumsum(sizes) - sizes / 2
    owner = np.minimum((middle / sizes.sum() * partitions).astype(int), partitions - 1)
    plans: list[PartitionPlan] = []
    for part in np.unique(owner):
        mine = [band for band, who in zip(bands, owner, strict=True) if who == part]
        plans.append(PartitionPlan(len(plans), _tiles(stacks, mine)))
    return plans


def _tiles(stacks: Sequence[ImageStack], bands: list[tuple[int, int, int, int]]) -> tuple[TilePlan, ...]:
    runs: list[tuple[int, int, list[int]]] = []
    for m, image, top, bottom in bands:
        if runs and runs[-1][:2] == (m, image) and runs[-1][2][-1] == top:
            runs[-1][2].append(bottom)
        else:
            runs.append((m, image, [top, bottom]))
    return tuple(
        TilePlan(
            m,
            image,
            tuple(edges),
            stacks[m].rows,
            stacks[m].width,
            stacks[m].first_pixel + (image * stacks[m].rows + edges[0]) * stacks[m].width,
        )
        for m, image, edges in runs
    )


def halo_sources(plans: Sequence[PartitionPlan], rows: int) -> list[tuple[list[int], list[int]]]:
    """For each partition, the partitions that hold the ``rows`` rows above and below it, nearest first.

    Only rows of the same image are used: an image's border stays a border.
    """

    def walk(start: int, step: int) -> list[int]:
        here = plans[start].tiles[0 if step < 0 else -1]
        found: list[int] = []
        missing = rows
        i = start + step
        while 0 <= i < len(plans) and missing > 0:
            tile = plans[i].tiles[-1 if step < 0 else 0]
            if (tile.map_index, tile.image) != (here.map_index, here.image):
                break
            found.append(i)
            missing -= tile.rows
            if len(plans[i].tiles) > 1:
                break  # the image ends inside that partition
            i += step
        return found

    return [(walk(i, -1), walk(i, +1)) for i in range(len(plans))]
