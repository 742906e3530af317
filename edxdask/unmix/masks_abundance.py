"""Masks from abundance maps: a threshold, Otsu's threshold, clusters of pixels, or GrabCut from Otsu's.

A rule is found from the abundances of all maps together, so that a map without a precipitate gets no mask of
its noise; then it is applied map by map.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from functools import partial

import numpy as np
from scipy.optimize import linear_sum_assignment

from edxdask.errors import ParameterError
from edxdask.optional import require

THRESHOLD, OTSU, KMEANS, GRABCUT = "threshold", "otsu", "kmeans", "grabcut"
LEVEL = 0.1  # abundance above which a pixel holds a precipitate
BINS = 256  # of the histogram of fractions
MOST_PIXELS = 200_000  # that clusters are found from
STARTS = 10  # of k-means; the best one is taken
GRABCUT_ROUNDS = 5
# Gives the mask (y, x) of abundances (phase, y, x).
Rule = Callable[[np.ndarray], np.ndarray]


def abundance_rule(method: str, row: int, fractions: Collection[np.ndarray], level: float = LEVEL) -> Rule:
    """Find the rule that makes the mask of one phase.

    Parameters
    ----------
    method : {"threshold", "otsu", "kmeans", "grabcut"}
        How pixels are divided.
    row : int
        Number of the phase in ``fractions``.
    fractions : collection of ndarray
        Abundances (phase, y, x) of all maps; gone through one map at a time.
    level : float
        Of ``threshold``.
    """
    if method == THRESHOLD:
        return partial(_above, row=row, level=level)
    if method == KMEANS:
        centres, scale = cluster_centres(fractions)
        return partial(_nearest, row=row, centres=centres, scale=scale)
    found = otsu_level(one[row] for one in fractions)
    if method == OTSU:
        return partial(_above, row=row, level=found)
    if method == GRABCUT:
        return partial(_grabbed, row=row, level=found)
    raise ParameterError("masks", method, "threshold, otsu, kmeans or grabcut")


def otsu_level(maps: Iterable[np.ndarray]) -> float:
    """Find the fraction that divides the pixels of all maps into two classes of the least variance.

    Examples
    --------
    >>> otsu_level([np.array([0.0, 0.1, 0.1]), np.array([0.7, 0.8])]).__round__(2)
    0.1
    """
    edges = np.linspace(0.0, 1.0, BINS + 1)
    number = np.zeros(BINS)
    for one in maps:
        number += np.histogram(np.clip(one, 0.0, 1.0), edges)[0]
    middle = (edges[1:] + edges[:-1]) / 2
    below, mass = np.cumsum(number), np.cumsum(number * middle)
    above = below[-1] - below
    with np.errstate(divide="ignore", invalid="ignore"):
        between = below * above * (mass / below - (mass[-1] - mass) / above) ** 2
    return float(edges[1 + int(np.nanargmax(np.where((below > 0) & (above > 0), between, 0.0)))])


def cluster_centres(fractions: Collection[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Find as many clusters of pixels as there are phases: centres (phase, fractions), and units of these.

    A phase gets the cluster that holds most of it, each cluster goes to one phase. Each abundance counts in
    units of its own spread: else a rare precipitate gets no cluster.
    """
    from sklearn.cluster import KMeans

    each = max(MOST_PIXELS // max(len(fractions), 1), 1)
    few = np.concatenate([_some_pixels(one, each) for one in fractions]).astype(np.float64)
    count = few.shape[1]
    if len(np.unique(few, axis=0)) < count:
        raise ParameterError(
            "masks", KMEANS, f"abundances that make {count} clusters", "Take another method."
        )
    scale = np.maximum(few.std(axis=0), np.finfo(float).tiny)
    found = KMeans(count, n_init=STARTS, random_state=0).fit(few / scale).cluster_centers_ * scale
    cluster, phase = linear_sum_assignment(-found / found.max(axis=0))
    centres = np.empty_like(found)
    centres[phase] = found[cluster]
    return centres, scale


def _some_pixels(fractions: np.ndarray, most: int) -> np.ndarray:
    """Fractions (pixels, phase) of pixels at equal distances, at most so many."""
    pixels = fractions.reshape(len(fractions), -1).T
    return pixels[:: max(1, -(-len(pixels) // most))]


def _above(fractions: np.ndarray, *, row: int, level: float) -> np.ndarray:
    return np.asarray(fractions[row] > level)


def _nearest(fractions: np.ndarray, *, row: int, centres: np.ndarray, scale: np.ndarray) -> np.ndarray:
    unit = scale[:, None, None]
    squares = [np.sum(((fractions - centre[:, None, None]) / unit) ** 2, axis=0) for centre in centres]
    return np.asarray(np.argmin(squares, axis=0) == row)


def _grabbed(fractions: np.ndarray, *, row: int, level: float) -> np.ndarray:
    """GrabCut on one abundance map, from Otsu's threshold, as published."""
    cv2 = require("cv2", extra="masks", purpose="masks='grabcut' (OpenCV)")
    grey = np.clip(np.rint(255 * fractions[row]), 0, 255).astype(np.uint8)
    start = fractions[row] > level
    if not start.any() or start.all():
        return np.asarray(start)
    labels = np.where(start, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    cv2.setRNGSeed(0)  # its mixtures of colours begin with k-means
    models = np.zeros((2, 1, 65))
    picture = np.ascontiguousarray(np.repeat(grey[:, :, None], 3, axis=2))
    labels, *_ = cv2.grabCut(picture, labels, None, *models, GRABCUT_ROUNDS, cv2.GC_INIT_WITH_MASK)
    return np.asarray((labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD))
