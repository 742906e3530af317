"""Groups of pixels: photons of a map summed by where they are, in one pass over its blocks.

A pixel may hold the matrix and every precipitate that is nearer than a margin. Pixels of the core, farther
than that from all of them, hold the matrix and nothing else. Around the masks pixels are grouped by distance,
in rings of one pixel; inside by the fraction of the precipitate, in bins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edxdask.engine.partition import Partition
from edxdask.engine.problem import Problem
from edxdask.engine.step import State
from edxdask.photons import grouped_spectra
from edxdask.photons.kernels.random import uniforms
from edxdask.unmix.regions import Regions, distances_of

BINS = 16  # of the fraction of a precipitate, inside its mask
NONE = -1  # of pixels in no group
# Parts of the core, summed one after the other, that show how errors fall with the number of pixels.
PARTS = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0)
PARTS_STREAM = 6  # of random numbers; those below are named in photons.kernels.random


@dataclass(frozen=True, eq=False)
class GroupLayout:
    """Which group every pixel of a map is in.

    Attributes
    ----------
    label : (y, x) number of the group, -1 for none
    allowed : (groups, phases) bool, what the pixels of a group may hold
    part : (groups,) number of the part of the core, -1 of groups outside it
    """

    label: np.ndarray
    allowed: np.ndarray
    part: np.ndarray

    @property
    def groups(self) -> int:
        """How many groups there are."""
        return len(self.allowed)

    @property
    def core(self) -> np.ndarray:
        """Groups of the core: (groups,) bool."""
        return np.asarray(self.part >= 0)

    def sums(self, values: np.ndarray) -> np.ndarray:
        """Add up maps (any, y, x) over the pixels of every group: (groups, any)."""
        inside = self.label.ravel() != NONE
        group = self.label.ravel()[inside]
        flat = np.asarray(values, dtype=np.float64).reshape(len(values), -1)[:, inside]
        return np.stack([np.bincount(group, row, self.groups) for row in flat], axis=1)

    @property
    def pixels(self) -> np.ndarray:
        """Pixels of every group."""
        return self.sums(np.ones((1, *self.label.shape)))[:, 0]


def lay_out(
    regions: Regions, abundance: np.ndarray, phases: Sequence[str], matrix: str, margin: float
) -> GroupLayout:
    """Put the pixels of a map in groups.

    Parameters
    ----------
    regions : masks of the precipitates
    abundance : (phases, y, x) fractions, which bin the pixels inside masks
    phases : names, in the order of ``abundance``
    matrix : name of the phase around the precipitates
    margin : distance in pixels, beyond which there is nothing of a precipitate

    Examples
    --------
    >>> mask = np.zeros((9, 9), bool)
    >>> mask[4, 4] = True
    >>> fractions = np.stack([1.0 - mask, 1.0 * mask])
    >>> made = lay_out(Regions.of({"Fp": mask}), fractions, ["Brg", "Fp"], "Brg", 2.0)
    >>> int(made.pixels[made.core].sum()), made.allowed[made.core].all(axis=0).tolist()
    (68, [True, False])
    """
    near = {name: distances_of(mask) for name, mask in zip(regions.phases, regions.masks, strict=True)}
    shape = abundance.shape[1:]
    far = np.full(shape, np.inf)
    distance = np.stack([far if name == matrix else near.get(name, far) for name in phases])
    home = list(phases).index(matrix)
    may = distance <= margin
    may[home] = True
    nearest = distance.min(axis=0)
    main = np.where(may & (np.arange(len(phases)) != home)[:, None, None], abundance, -1.0).argmax(axis=0)
    fraction = np.clip(np.take_along_axis(abundance, main[None], axis=0)[0], 0.0, 1.0)
    ring = -np.ceil(np.minimum(nearest, margin)).astype(int)
    kind = np.where(nearest > 0, ring, np.minimum((fraction * BINS).astype(int), BINS - 1))
    core = may.sum(axis=0) == 1
    part = np.where(core, _parts(shape), NONE)
    kind = np.where(core, part, kind)
    main = np.where(core | (nearest > 0), home, main)
    keys = np.stack([core.ravel(), *may.reshape(len(phases), -1), main.ravel(), kind.ravel()])
    found, label = np.unique(keys.astype(np.int64), axis=1, return_inverse=True)
    is_core = found[0].astype(bool)
    return GroupLayout(
        label.ravel().reshape(shape).astype(np.int32),
        found[1 : 1 + len(phases)].T.astype(bool),
        np.where(is_core, found[-1], NONE),
    )


def _parts(shape: tuple[int, ...]) -> np.ndarray:
    """Part of every pixel, drawn by its number alone: parts 0 to i hold a fraction ``PARTS[i]`` of all."""
    drawn = uniforms(0, PARTS_STREAM, int(np.prod(shape)))
    return np.asarray(np.searchsorted(PARTS, drawn, side="right").reshape(shape))


def sum_groups(problem: Problem, layout: GroupLayout) -> np.ndarray:
    """Sum the photons of one map over its groups: (groups, E); its cost follows the photons."""
    label = layout.label.ravel()
    return np.sum(list(problem.executor.collect(_summed, label, layout.groups)), axis=0)


def _summed(partition: Partition, state: State, label: np.ndarray, groups: int) -> np.ndarray:
    """Sum the photons of one partition; pixels in no group go to a row that is cut off."""
    counts = np.zeros((groups + 1, next(partition.blocks())[1].channels), np.int64)
    for tile in partition.tiles:
        for where, block in tile.blocks():
            first = tile.plan.first_pixel + where.start - tile.start
            own = label[first : first + block.pixels]
            grouped_spectra(block, np.where(own == NONE, groups, own).astype(np.int64), counts)
    return counts[:groups].astype(np.float64)
