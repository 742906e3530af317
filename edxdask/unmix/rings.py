"""Groups of pixels for any width of the core: rings around every precipitate, bins of abundance inside.

The width of the core is chosen from the sums of all maps, and photons are read once: so pixels are grouped by
their distance from each precipitate first, and which groups are core is decided when the width is known.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edxdask.unmix.groups import NONE, GroupLayout
from edxdask.unmix.regions import Regions, distances_of

REACH = 12  # rings of one pixel around the masks; what is farther is one group
# Abundance of a precipitate beyond which a pixel is not taken for pure matrix, whatever the masks say: those
# of Otsu's threshold leave out what holds a third of it.
SEEN = 0.1
# Of abundance, inside precipitates. Amounts are never negative, so that each group takes a little of what is
# not there from what is: few groups take less (with 16 bins, Fe of Ca-perovskite is 0.8 errors too low).
BINS = 6


@dataclass(frozen=True, eq=False)
class Rings:
    """Pixels of one map, grouped by their distance from every precipitate.

    A precipitate is where its mask is, and where abundances show more than ``SEEN`` of it.

    Attributes
    ----------
    label : (y, x) number of the group
    ring : (groups, precipitates) 0 where the precipitate is, d for distances above d - 1 up to d px,
        ``reach`` + 1 beyond
    masked : (groups, precipitates) bool, inside the mask
    pixels : (groups,)
    reach : farthest ring
    """

    label: np.ndarray
    ring: np.ndarray
    masked: np.ndarray
    pixels: np.ndarray
    reach: int

    @classmethod
    def of(cls, regions: Regions, fractions: np.ndarray | None = None, reach: int = REACH) -> Rings:
        """Group the pixels of a map.

        Parameters
        ----------
        regions : Regions
            Masks.
        fractions : ndarray, optional
            (precipitate, y, x) abundances, which bin the pixels inside masks; None bins them by depth.
        reach : int
            Farthest ring.

        Examples
        --------
        >>> mask = np.zeros((1, 5), bool)
        >>> mask[0, 0] = True
        >>> made = Rings.of(Regions.of({"Fp": mask}), reach=2)
        >>> made.ring[made.label[0], 0].tolist()
        [0, 1, 2, 3, 3]
        """
        places = regions.masks if fractions is None else regions.masks | (fractions > SEEN)
        ring = np.stack([np.ceil(np.minimum(distances_of(place), reach + 1)) for place in places])
        inside = places.any(axis=0)
        if fractions is None:
            bins = np.minimum(regions.depth.max(axis=0), BINS - 1).astype(np.int64)
        else:
            most = np.where(places, np.clip(fractions, 0.0, 1.0), 0.0).max(axis=0)
            bins = np.minimum((most * BINS).astype(np.int64), BINS - 1)
        count = len(ring)
        keys = np.concatenate([ring.astype(np.int64), regions.masks, np.where(inside, bins, 0)[None]])
        found, label, pixels = np.unique(
            keys.reshape(len(keys), -1), axis=1, return_inverse=True, return_counts=True
        )
        label = label.ravel().reshape(inside.shape).astype(np.int32)
        return cls(label, found[:count].T, found[count : 2 * count].T.astype(bool), pixels, reach)

    @property
    def nearest(self) -> np.ndarray:
        """Ring of the nearest precipitate: (groups,), 0 where one is."""
        return np.asarray(self.ring.min(axis=1))

    @property
    def layout(self) -> GroupLayout:
        """Groups as their sums need them."""
        allowed = np.ones((len(self.ring), self.ring.shape[1] + 1), bool)
        return GroupLayout(self.label, allowed, np.full(len(self.ring), NONE))

    def core(self, width: int) -> np.ndarray:
        """Pixels (y, x) that are farther than ``width`` px from all precipitates."""
        return np.asarray((self.nearest > width)[self.label])

    def near(self, width: int) -> np.ndarray:
        """Say which precipitates may be in each group: (groups, precipitates)."""
        return np.asarray(self.ring <= width)

    def with_core(self, width: int) -> tuple[GroupLayout, np.ndarray]:
        """Join what is farther than ``width`` px from all masks to one group, the core, of the matrix alone.

        Other groups hold the matrix, and each precipitate that is not farther than that.

        Returns
        -------
        layout : GroupLayout
            Phases are the matrix, then the precipitates.
        joined : ndarray of int
            (groups,) new number of each group; sums of groups with the same number add up.
        """
        core = self.nearest > width
        first = int(core.any())  # a small map may have no core of its own
        joined = np.where(core, 0, np.cumsum(~core) - 1 + first)
        number = int((~core).sum()) + first
        allowed = np.zeros((number, self.ring.shape[1] + 1), bool)
        allowed[:, 0] = True
        allowed[joined[~core], 1:] = self.near(width)[~core]
        part = np.full(number, NONE)
        part[:first] = 0
        return GroupLayout(joined[self.label].astype(np.int32), allowed, part), joined


def joined_sums(sums: np.ndarray, joined: np.ndarray) -> np.ndarray:
    """Add up the sums, (groups, …), of groups that were joined."""
    out = np.zeros((int(joined.max()) + 1, *sums.shape[1:]))
    np.add.at(out, joined, sums)
    return out
