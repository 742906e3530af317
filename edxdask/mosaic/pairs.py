"""All pairs of maps that may overlap, registered, and the placement that follows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edxdask.mosaic.placement import Pairs, Placement, place, with_shift
from edxdask.mosaic.registration import LEAST_PIXELS, LEAST_SIDE, overlap_of, register

AGAIN_PX = 2.0  # how far from the others' positions a pair that failed is searched for again

Image = np.ndarray | None


@dataclass(frozen=True, eq=False)
class PlacedPairs:
    """Placement of maps, and what was measured of their pairs.

    Attributes
    ----------
    pairs : measured shifts
    placement : positions, residuals, pieces
    correlation : (m,) of the images where they overlap; NaN where no shift could be measured
    pixels : (m,) pixels in common
    """

    pairs: Pairs
    placement: Placement
    correlation: np.ndarray
    pixels: np.ndarray


def candidates(start: np.ndarray, sizes: np.ndarray, radius: float) -> np.ndarray:
    """Pairs (m, 2) of maps that overlap, if each start position may be off.

    Examples
    --------
    >>> candidates(np.array([[0, 0], [0, 18], [0, 60]]), np.full((3, 2), 24), 2.0).tolist()
    [[0, 1]]
    """
    low, high = start[:, None], (start + sizes)[:, None]
    sides = np.minimum(high, high.swapaxes(0, 1)) - np.maximum(low, low.swapaxes(0, 1)) + radius
    least = np.minimum(sizes[:, None], sizes[None])
    sides = np.minimum(sides, least)
    found = np.all(sides >= LEAST_SIDE, axis=-1) & (sides.prod(axis=-1) >= LEAST_PIXELS)
    return np.argwhere(np.triu(found, 1))


def place_by_images(
    images: Sequence[Image], start: np.ndarray, sizes: np.ndarray, prior_px: float, *, constraints: int = 0
) -> PlacedPairs:
    """Register all pairs on their images, and find the positions they agree on.

    A pair that could not be registered, or that contradicts the others, is tried once more where the others
    say that it lies.

    Parameters
    ----------
    images : sequence of array or None
        Image (channel, y, x) of each map; None where a map has none.
    start : array
        Start positions (n, 2), px.
    sizes : array
        Rows and columns of the maps (n, 2).
    prior_px : float
        How far a start position may be off along each axis.
    constraints : int
        Sums of channels that are constant.
    """
    radius = 2 * prior_px
    chosen = candidates(start, sizes, radius)
    first, second = chosen[:, 0], chosen[:, 1]
    pairs = Pairs(first, second, np.full((len(chosen), 2), np.nan), np.full((len(chosen), 2), np.nan))
    correlation, pixels = np.full(len(chosen), np.nan), np.zeros(len(chosen), dtype=int)

    def measure(pairs: Pairs, number: int, expected: np.ndarray, reach: float) -> Pairs:
        i, j = int(first[number]), int(second[number])
        one, other = images[i], images[j]
        if one is None or other is None:
            return pairs
        found = register(one, other, expected, reach, constraints=constraints)
        if found is None:
            return pairs
        correlation[number] = found.correlation
        return with_shift(pairs, number, found.shift, found.std)

    for number in range(len(chosen)):
        pairs = measure(pairs, number, start[second[number]] - start[first[number]], radius)
    placement = place(start, pairs)
    again = np.flatnonzero(~placement.used & _in_one_piece(placement, pairs))
    if again.size:
        for failed in again.tolist():
            here = placement.positions[second[failed]] - placement.positions[first[failed]]
            pairs = measure(pairs, failed, here, AGAIN_PX)
        placement = place(start, pairs)
    shifts = placement.positions[second] - placement.positions[first]
    for number, shift in enumerate(shifts):
        own, other = tuple(sizes[first[number]]), tuple(sizes[second[number]])
        pixels[number] = int(np.prod(overlap_of(own, other, shift)))
    return PlacedPairs(pairs, placement, correlation, pixels)


def _in_one_piece(placement: Placement, pairs: Pairs) -> np.ndarray:
    return np.asarray(placement.pieces[pairs.first] == placement.pieces[pairs.second])
