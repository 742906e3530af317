"""Phases whose maps are flat at the top: pixels of one composition, from which too much was taken away.

Where two phases have elements in common, one may be subtracted from the other until something reaches zero,
and the counts are explained as well as before: SiO2 beside Si comes back as oxygen. Where pure pixels of the
phase exist, its map then has a flat top below 1, as many pixels have the same mixture. A phase of changing
thickness in a matrix, which is never pure, has no such top: its map rises to the middle of every grain. So
the top is examined from the edge of the grains inwards, on the summed counts of pixels of the same depth:
their fraction, and the counts of the phase themselves, must have stopped to rise; and all grains must have
the same top. The spectrum then becomes
the mixture at the top. What the user has said of a phase comes first: those phases are left alone.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import binary_erosion, label

from edxdask.engine.layout import ImageStack
from edxdask.engine.partition import Partition
from edxdask.engine.states import PixelStates
from edxdask.engine.step import State
from edxdask.factorize.iteration.grouped import TINY, Groups, most_likely_abundance
from edxdask.factorize.iteration.sweep_step import ABUNDANCE
from edxdask.photons import grouped_spectra

logger = logging.getLogger(__name__)

MOST_PIXELS = 1 << 20  # examined; of larger data the middle rows of the biggest map
DEPTHS = 4  # pixels from the edge of a grain: 1, 2, 3, more
HALF, TOP_QUANTILE = 0.5, 0.995  # a grain is where a map is above half of its top
PURE = 0.95  # fraction from which a phase counts as pure
SECOND, DEEP = 1, 2  # two pixels from the edge; from three pixels on
STILL, STILL_COUNTS = 0.9, 0.85  # of the top's fraction, beyond its error, and of its counts per pixel
FEWEST_PIXELS = 9  # of each depth, and of a grain
ALIKE = 0.05  # of the top, by which the tops of grains may differ beyond counting
THIRD = 0.1  # fraction of phases that are neither this one nor the one it lies in
# fraction in the mixture at a flat top from which a phase was taken back; of a group that may be pure; errors
PARTNER, PURE_ENOUGH, BY_CHANCE = 0.02, 0.9, 2.0
DISTINCT = 0.05  # least singular value of all tops together; 0.2 where one is 0.25 pure
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
    unit = spectra.astype(np.float64)
    unit /= np.maximum(unit.sum(axis=1, keepdims=True), TINY)
    chosen = list(rows)
    images = _images([view.stack for view in maps.problem.maps])
    fractions = _fractions(maps, *_range(images))
    tops = {}
    for row in chosen:
        depth = _depths(fractions, row, images)
        mixture = _flat_top(_sums(maps, depth, images), unit, row)
        if mixture is not None and _grains_are_alike(maps, depth, images, unit, row):
            tops[row] = mixture
    return _distinct(tops, len(spectra))


def _distinct(tops: Mapping[int, np.ndarray], phases: int) -> np.ndarray:
    """Rows for ``turned``: of phases in the same grains, which have one top, only the largest takes it.

    Examples
    --------
    >>> _distinct({0: np.array([0.7, 0.3]), 1: np.array([0.7, 0.3])}, 2).tolist()
    [[0.7, 0.3], [0.0, 1.0]]
    """
    turn = np.eye(phases)
    for row in sorted(tops, key=lambda row: -tops[row][row]):
        trial = turn.copy()
        trial[row] = tops[row]
        if np.linalg.svd(trial, compute_uv=False)[-1] < DISTINCT:
            logger.info("phase %d: its flat top is that of another phase, too; it stays", row)
            continue
        logger.info("phase %d: flat top at %.2f; its spectrum becomes the mixture there", row, tops[row][row])
        turn = trial
    return turn


def flat_rows(turn: np.ndarray) -> np.ndarray:
    """Say which phases have a flat top.

    Examples
    --------
    >>> flat_rows(np.array([[1.0, 0.0], [0.5, 0.5]])).tolist()
    [1]
    """
    return np.flatnonzero((turn != np.eye(len(turn))).any(axis=1))


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


def pinned(groups: Groups, spectra: np.ndarray, turn: np.ndarray) -> Groups:
    """Give groups exact abundances, nothing by chance alone of what was taken back into a spectrum.

    A little of it would be left at the flat top, and the next fit would subtract it from the spectrum again.

    Parameters
    ----------
    spectra : (k, E) after ``turn``
    """
    held = most_likely_abundance(groups, spectra, FIT_ROUNDS)
    fraction = held / np.maximum(held.sum(axis=1, keepdims=True), TINY)
    for row in flat_rows(turn):
        for other in np.flatnonzero((turn[row] > PARTNER) & (np.arange(len(turn)) != row)):
            for at in np.flatnonzero((fraction[:, row] > PURE_ENOUGH) & (held[:, other] > 0)):
                pair = spectra[[other, row]]
                information = (pair / np.maximum(held[at] @ spectra, TINY)) @ pair.T
                error = np.sqrt(max(np.linalg.pinv(information, hermitian=True)[0, 0], 0.0))
                held[at, other] *= held[at, other] > BY_CHANCE * error
    return replace(groups, abundance=held)


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


def _depths(fractions: np.ndarray, row: int, images: Sequence[_Image]) -> np.ndarray:
    """Depth of every pixel within a grain, from 0 to ``DEPTHS`` - 1; ``DEPTHS`` outside of grains.

    Pixels with a third phase are left out: where a grain of another kind lies above it, a grain is no longer
    as pure as it is elsewhere.
    """
    fraction = fractions[:, row]
    level = HALF * np.quantile(fraction, TOP_QUANTILE)
    held = fractions[fraction > level].mean(axis=0) if (fraction > level).any() else fractions.mean(axis=0)
    held[row] = -1.0
    third = 1 - fraction - fractions[:, int(np.argmax(held))] > THIRD
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
    out[third] = DEPTHS
    return out


def _sums(maps: PixelStates, depth: np.ndarray, images: Sequence[_Image]) -> DepthSums:
    first, stop = _range(images)
    counts = np.sum(list(maps.collect(_sums_by, depth, DEPTHS, first, stop)), axis=0)
    return DepthSums(counts[:DEPTHS].astype(np.float64), np.bincount(depth, minlength=DEPTHS + 1)[:DEPTHS])


def _sums_by(
    partition: Partition, state: State, number: np.ndarray, groups: int, first: int, stop: int
) -> np.ndarray:
    """Sum the counts of a partition over pixels of the same number, (groups + 1, E); the rest comes last."""
    group = np.full(partition.plan.pixels, groups, dtype=np.int64)
    own = _own(partition, first, stop)
    offset = partition.plan.first_pixel - first
    group[own] = number[offset + own.start : offset + own.stop]
    out = np.zeros((groups + 1, next(partition.blocks())[1].channels), np.int64)
    for where, block in partition.blocks():
        grouped_spectra(block, group[where], out)
    return out


def _grains_are_alike(
    maps: PixelStates, depth: np.ndarray, images: Sequence[_Image], spectra: np.ndarray, row: int
) -> bool:
    """Say whether all grains have the same top: pure ones have, spheres in a matrix have not."""
    number, grains = _grains(depth, images)
    if grains < 2:
        return True
    first, stop = _range(images)
    sums = np.sum(list(maps.collect(_sums_by, number, grains, first, stop)), axis=0)[:grains]
    parts = [_mixture(counts, spectra) for counts in sums.astype(np.float64)]
    tops = np.array([part[row] for part in parts])
    errors = np.array(
        [_standard_error(counts, spectra, part, row) for counts, part in zip(sums, parts, strict=True)]
    )
    weight = 1 / np.maximum(errors, TINY) ** 2
    mean = weight @ tops / weight.sum()
    beyond = max(0.0, float(weight @ (tops - mean) ** 2) - (grains - 1)) / weight.sum()
    logger.info("phase %d: tops of %d grains differ by %.3f of %.3f", row, grains, np.sqrt(beyond), mean)
    return bool(np.sqrt(beyond) < ALIKE * mean)


def _grains(depth: np.ndarray, images: Sequence[_Image]) -> tuple[np.ndarray, int]:
    """Give the pixels inside each grain its number; those of no grain, or of a small one, come last."""
    pieces, found = [], 0
    at = 0
    for image in images:
        own = depth[at : at + image.rows * image.width].reshape(image.rows, image.width)
        at += image.rows * image.width
        labels, count = label((own >= SECOND) & (own < DEPTHS))
        sizes = np.bincount(labels.ravel(), minlength=count + 1)[1:]
        kept = np.flatnonzero(sizes >= FEWEST_PIXELS) + 1
        numbers = np.full(count + 1, -1)
        numbers[kept] = found + np.arange(len(kept))
        found += len(kept)
        pieces.append(numbers[labels].ravel())
    number = np.concatenate(pieces)
    return np.where(number < 0, found, number), found


def _flat_top(sums: DepthSums, spectra: np.ndarray, row: int) -> np.ndarray | None:
    """Mixture at the top of a phase, if it is flat and below 1; None if not, or if too few pixels say so.

    Flat means: two pixels from the edge a grain is already what it is in its middle. A sphere of any size has
    there at most 0.85 of its top.
    """
    counts, pixels = sums.counts[DEEP:].sum(axis=0), int(sums.pixels[DEEP:].sum())
    # of small grains, most pixels are near the edge, and nothing can be said of their middle
    if sums.pixels[SECOND] < FEWEST_PIXELS or pixels < sums.pixels[SECOND]:
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
    flat = ratio - error > STILL and amounts > STILL_COUNTS
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
