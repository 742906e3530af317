"""Regions of one map: masks of the precipitates, the matrix around them, and distances between the two."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import distance_transform_edt


@dataclass(frozen=True)
class Regions:
    """Where the phases of one map are.

    Parameters
    ----------
    phases : tuple of str
        Names of the precipitates; the matrix is not among them.
    masks : ndarray of bool, (phase, y, x)
        Pixels that hold a precipitate, pixels of two precipitates included in both.
    """

    phases: tuple[str, ...]
    masks: np.ndarray

    @classmethod
    def of(cls, masks: Mapping[str, np.ndarray]) -> Regions:
        """Make regions of masks (y, x) by the names of their phases.

        Examples
        --------
        >>> mask = np.zeros((5, 5), bool)
        >>> mask[2, 2] = True
        >>> Regions.of({"Fp": mask}).distance[2].tolist()
        [2.0, 1.0, 0.0, 1.0, 2.0]
        """
        return cls(tuple(masks), np.stack([np.asarray(mask, dtype=bool) for mask in masks.values()]))

    @property
    def overlap(self) -> np.ndarray:
        """Pixels (y, x) in more than one mask."""
        return np.asarray(np.count_nonzero(self.masks, axis=0) > 1)

    @property
    def matrix(self) -> np.ndarray:
        """Pixels (y, x) in no mask."""
        return np.asarray(~self.masks.any(axis=0))

    @property
    def mixtures(self) -> np.ndarray:
        """Masks (phase, y, x) without their overlap: one precipitate and the matrix."""
        return self.masks & ~self.overlap

    @property
    def distance(self) -> np.ndarray:
        """Distance (y, x) of every pixel from the nearest mask in pixels, 0 in masks; inf without masks."""
        return distances_of(~self.matrix)

    @property
    def depth(self) -> np.ndarray:
        """Distance (phase, y, x) of a mask's pixels from the nearest pixel outside that mask, 0 outside."""
        return np.stack([distances_of(~mask) for mask in self.masks])


def distances_of(mask: np.ndarray) -> np.ndarray:
    """Distance (y, x) in pixels from a mask, 0 inside; inf where the mask is empty."""
    return np.asarray(distance_transform_edt(~mask)) if mask.any() else np.full(mask.shape, np.inf)
