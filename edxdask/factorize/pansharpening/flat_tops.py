"""Phases whose maps are flat at the top: pixels of one composition, from which too much was taken away.

Where two phases have elements in common, one may be subtracted from the other until something reaches zero,
and the counts are explained as well as before: SiO2 beside Si comes back as oxygen. Where pure pixels of the
phase exist, its map then has a flat top below 1, as many pixels have the same mixture. A phase of changing
thickness in a matrix, which is never pure, has no such top: its map rises to the middle of every grain. So
the top is examined from the edge of the grains inwards, on the summed counts of pixels of the same depth:
their fraction, and the counts of the phase themselves, must have stopped to rise. The spectrum then becomes
the mixture at the top. What the user has said of a phase comes first: those phases are left alone.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import binary_erosion

from edxdask.engine.layout import ImageStack
from edxdask.engine.partition import Partition
from edxdask.engine.states import PixelStates
from edxdask.engine.step import State
from edxdask.factorize.iteration.grouped import TINY
from edxdask.factorize.iteration.sweep_step import ABUNDANCE
from edxdask.photons import grouped_spectra

logger = logging.getLogger(__name__)

MOST_PIXELS = 1 << 20  # examined; of larger data the middle rows of the biggest map
DEPTHS = 4  # pixels from the edge of a grain: 1, 2, 3, more
HALF, TOP_QUANTILE = 0.5, 0.995  # a grain is where a map is above half of its top
PURE = 0.95  # fraction from which a phase counts as pure
SECOND, DEEP = 1, 2  # two pixels from the edge; from three pixels on
STILL, STILL_COUNTS = 0.9, 0.85  # of the top's fraction, beyond two errors, and of its counts per pixel
FEWEST_PIXELS = 9  # of each depth
FIT_ROUNDS = 300


@dataclass(frozen=True, eq=False)
class DepthSums:
    """Sums over pixels of the same depth within the grains of one phase.

    Attributes
    ----------
    counts : (depths, E)
    pixels : (depths,)
    """

    counts: np.ndarray
    pixels: np.ndarray


def mixtures_at_flat_tops(maps: PixelStates, spectra: np.ndarray, rows: Iterable[int]) -> np.ndarray:
    """Find what the spectra of phases with a flat top are mixtures of: (k, k), the unit matrix where none is.

    Parameters
    ----------
    maps : abundances of all pixels
    spectra : (k, E), rows sum to 1
    rows : phases to examine

    Returns
    -------
    array
        Row j holds the fractions of the phases in pixels where phase j has its flat top.
    """
    turn = np.eye(len(spectra))
    unit = spectra.astype(np.float64)
    unit /= np.maximum(unit.sum(axis=1, keepdims=True), TINY)
    chosen = list(rows)
    images = _images([view.stack for view in maps.problem.maps])
    fractions = _fractions(maps, *_range(images))
    for row in chosen:
        depth = _depths(fractions[:, row], images)
        mixture = _flat_top(_sums(maps, depth, images), unit, row)
        if mixture is not None:
            logger.info(
                "phase %d: flat top at %.2f; its spectrum becomes the mixture there", row, mixture[row]
            )
            turn[row] = mixture
    return turn


def turned(abundance: np.ndarray, turn: np.ndarray) -> np.ndarray:
    """Abundances (n, k) for spectra that are ``turn`` times those before; none below zero, sums stay.

    Examples
    --------
    >>> turned(np.array([[5.0, 5.0], [10.0, 0.0]]), np.array([[1.0, 0.0], [0.5, 0.5]])).tolist()
    [[0.0, 10.0], [10.0, 0.0]]
    """
    total = abundance.sum(axis=1, keepdims=True, dtype=np.float64)
    fresh = np.maximum(abundance @ np.linalg.inv(turn), 0.0)
    fresh *= total / np.maximum(fresh.sum(axis=1, keepdims=True), TINY)
    return fresh.astype(abundance.dtype)


@dataclass(frozen=True)
class _Image:
    """Rows of one image that are examined: their pixels follow one another from ``first``."""

    first: int
    rows: int
    width: int


def _images(stacks: Sequence[ImageStack]) -> list[_Image]:
    """List all images, or the middle rows of one where there are too many pixels."""
    if sum(stack.pixels for stack in stacks) <= MOST_PIXELS:
        return [
            _Image(stack.first_pixel + i * stack.rows * stack.width, stack.rows, stack.width)
            for stack in stacks
            for i in range(stack.images)
        ]
    stack = max(stacks, key=lambda one: one.rows * one.width)
    rows = min(stack.rows, max(1, MOST_PIXELS // stack.width))
    first_row = (stack.images // 2) * stack.rows + (stack.rows - rows) // 2
    return [_Image(stack.first_pixel + first_row * stack.width, rows, stack.width)]


def _range(images: Sequence[_Image]) -> tuple[int, int]:
    last = images[-1]
    return images[0].first, last.first + last.rows * last.width


def _fractions(maps: PixelStates, first: int, stop: int) -> np.ndarray:
    """Fractions of the pixels from ``first`` to ``stop``, (pixels, k)."""
    return np.concatenate(list(maps.collect(_fractions_between, first, stop)))


def _fractions_between(partition: Partition, state: State, first: int, stop: int) -> np.ndarray:
    abundance = state[ABUNDANCE][_own(partition, first, stop)]
    return abundance / np.maximum(abundance.sum(axis=1, keepdims=True), TINY)


def _own(partition: Partition, first: int, stop: int) -> slice:
    """Pixels of a partition that lie in a range of all pixels."""
    start, pixels = partition.plan.first_pixel, partition.plan.pixels
    return slice(*np.clip([first - start, stop - start], 0, pixels).tolist())


def _depths(fraction: np.ndarray, images: Sequence[_Image]) -> np.ndarray:
    """Depth of every pixel within a grain, from 0 to ``DEPTHS`` - 1; ``DEPTHS`` outside of grains."""
    level = HALF * np.quantile(fraction, TOP_QUANTILE)
    out = np.full(fraction.size, DEPTHS, dtype=np.uint8)
    at = 0
    for image in images:
        own = slice(at, at + image.rows * image.width)
        at = own.stop
        inside = (fraction[own] > level).reshape(image.rows, image.width)
        depth = out[own].reshape(image.rows, image.width)
        for ring in range(DEPTHS):
            depth[inside] = ring
            # beyond the edge of an image a grain may go on
            inside = binary_erosion(inside, border_value=1)
    return out


def _sums(maps: PixelStates, depth: np.ndarray, images: Sequence[_Image]) -> DepthSums:
    first, stop = _range(images)
    counts = np.sum(list(maps.collect(_depth_sums, depth, first, stop)), axis=0)
    return DepthSums(counts[:DEPTHS].astype(np.float64), np.bincount(depth, minlength=DEPTHS + 1)[:DEPTHS])


def _depth_sums(partition: Partition, state: State, depth: np.ndarray, first: int, stop: int) -> np.ndarray:
    """Sum the counts of a partition over pixels of the same depth, (depths + 1, E); the rest comes last."""
    groups = np.full(partition.plan.pixels, DEPTHS, dtype=np.int64)
    own = _own(partition, first, stop)
    offset = partition.plan.first_pixel - first
    groups[own] = depth[offset + own.start : offset + own.stop]
    out = np.zeros((DEPTHS + 1, next(partition.blocks())[1].channels), np.int64)
    for where, block in partition.blocks():
        grouped_spectra(block, groups[where], out)
    return out


def _flat_top(sums: DepthSums, spectra: np.ndarray, row: int) -> np.ndarray | None:
    """Mixture at the top of a phase, if it is flat and below 1; None if not, or if too few pixels say so.

    Flat means: two pixels from the edge a grain is already what it is in its middle. A sphere of any size has
    there at most 0.85 of its top.
    """
    counts, pixels = sums.counts[DEEP:].sum(axis=0), int(sums.pixels[DEEP:].sum())
    if min(pixels, sums.pixels[SECOND]) < FEWEST_PIXELS:
        return None
    top, lower = _mixture(counts, spectra), _mixture(sums.counts[SECOND], spectra)
    error = np.hypot(
        _standard_error(counts, spectra, top, row),
        _standard_error(sums.counts[SECOND], spectra, lower, row),
    ) / max(top[row], TINY)
    ratio = lower[row] / max(top[row], TINY)
    amounts = ratio * (sums.counts[SECOND].sum() / sums.pixels[SECOND]) / (counts.sum() / pixels)
    logger.info(
        "phase %d: top %.3f, ratio %.3f +- %.3f, of counts %.3f, %d and %d pixels",
        row, top[row], ratio, error, amounts, pixels, sums.pixels[SECOND],
    )  # fmt: skip
    flat = ratio - 2 * error > STILL and amounts > STILL_COUNTS
    return top if flat and top[row] < PURE else None


def _mixture(counts: np.ndarray, spectra: np.ndarray) -> np.ndarray:
    """Most likely fractions of known spectra (k, E) in counts (E,), by expectation-maximization."""
    amounts = np.full(len(spectra), counts.sum() / len(spectra))
    for _ in range(FIT_ROUNDS):
        amounts = amounts * (spectra @ (counts / np.maximum(amounts @ spectra, TINY)))
    return amounts / max(amounts.sum(), TINY)


def _standard_error(counts: np.ndarray, spectra: np.ndarray, mixture: np.ndarray, row: int) -> float:
    """Find the counting error of a fraction, from the Fisher information of the phases that are there."""
    there = mixture > 1e-4
    there[row] = True
    model = np.maximum(mixture @ spectra, TINY)
    information = counts.sum() * (spectra[there] / model) @ spectra[there].T
    place = int(np.count_nonzero(there[:row]))
    return float(np.sqrt(np.linalg.pinv(information, hermitian=True)[place, place]))
