"""Few classes of channels that know nearly as much of the phases as all channels do.

A photon of channel ``c`` says which phase it may come from by ``G_kc / Σ_l G_lc`` alone, so channels of
equal ratios merge without loss. With more classes than that the loss is the scatter of ratios within a
class: the Fisher information on the amounts of phases, at a mixture λ, is ``Σ_c G_kc G_lc / λ_c``, and
what merging takes from it is the weighted variance of ``G_c / λ_c`` within classes. k-means in the metric
of the information's inverse, weighted by λ, loses the least.
"""

from __future__ import annotations

import numpy as np

from edxdask.errors import ParameterError

CLASSES = 16
ROUNDS, STARTS = 100, 4
# Of the mean response, added to all: a photon in a channel that no phase reaches then tells none apart.
FLOOR = 1e-6
SAME = 1e-9  # scatter of ratios, relative, that is rounding or the floor


def classes_of(responses: np.ndarray, *, classes: int = CLASSES, seed: int = 0) -> np.ndarray:
    """Give each channel a class, so that sums over classes lose little of what photons say of phases.

    Parameters
    ----------
    responses : ndarray
        (phase, channel) expected photons of a full voxel of each phase.
    classes : int
        Most classes that may be made.
    seed : int
        Of the starts of k-means.

    Returns
    -------
    ndarray
        Class of each channel, uint8, numbered by how much they speak for the first phase.

    Examples
    --------
    >>> spectra = np.array([[4.0, 4.0, 0.0, 2.0], [0.0, 0.0, 3.0, 1.0]])
    >>> classes_of(spectra).tolist()
    [2, 2, 0, 1]
    """
    floored = checked_responses(responses)
    if not 1 <= classes <= 256:
        raise ParameterError("classes", classes, "a number from 1 to 256")
    points, weights = _points(floored)
    labels = k_means(points, weights, classes, seed)
    # order by the mean posterior of the first phase, so that equal input gives equal numbers
    speaks = floored[0] / floored.sum(axis=0)
    used = np.unique(labels)
    means = [np.average(speaks[labels == one], weights=weights[labels == one]) for one in used]
    rank = np.empty(classes, np.uint8)
    rank[used[np.argsort(means)]] = np.arange(used.size)
    return rank[labels]


def class_responses(responses: np.ndarray, class_of: np.ndarray) -> np.ndarray:
    """Sum responses (phase, channel) over the channels of each class: (phase, class), float32.

    Examples
    --------
    >>> class_responses(np.array([[1.0, 2.0, 3.0]]), np.array([1, 0, 1])).round(3).tolist()
    [[2.0, 4.0]]
    """
    floored = checked_responses(responses)
    if class_of.shape != floored.shape[1:]:
        raise ParameterError("class_of", class_of.shape, f"one class per channel ({floored.shape[1]})")
    out = np.zeros((len(floored), int(class_of.max()) + 1))
    for row, response in zip(out, floored, strict=True):
        row[:] = np.bincount(class_of, weights=response, minlength=row.size)
    return out.astype(np.float32)


def information(responses: np.ndarray, mixture: np.ndarray) -> np.ndarray:
    """Compute the Fisher information (phase, phase) of one voxel's photons on its amounts of phases.

    Parameters
    ----------
    responses : ndarray
        (phase, channel or class).
    mixture : ndarray
        (phase,) amounts.
    """
    expected = np.maximum(mixture @ responses, np.finfo(np.float64).tiny)
    return np.asarray((responses / expected) @ responses.T)


def variance_lost(responses: np.ndarray, class_of: np.ndarray, mixture: np.ndarray) -> np.ndarray:
    """Fraction by which the variance of each phase's amount grows when channels are merged into classes.

    Examples
    --------
    >>> spectra = np.array([[4.0, 4.0, 0.0], [0.0, 0.0, 3.0]])
    >>> bool(variance_lost(spectra, np.array([0, 0, 1]), np.array([0.5, 0.5])).max() < 1e-6)
    True
    """
    merged = class_responses(responses, class_of).astype(np.float64)
    floored = checked_responses(responses)
    best, now = (np.diag(np.linalg.inv(information(g, mixture))) for g in (floored, merged))
    return np.asarray(now / best - 1.0)


def checked_responses(responses: np.ndarray) -> np.ndarray:
    """Responses of phases in double precision, with a floor where no phase has any."""
    values = np.asarray(responses, dtype=np.float64)
    if values.ndim != 2 or 0 in values.shape:
        raise ParameterError("responses", values.shape, "an array (phase, channel)")
    if not np.isfinite(values).all() or values.min() < 0:
        raise ParameterError("responses", values.min(), "numbers that are finite and not negative")
    if (values.sum(axis=1) <= 0).any():
        empty = int(np.argmin(values.sum(axis=1)))
        raise ParameterError(
            "responses", 0.0, f"photons of phase {empty} in some channel", "Leave the phase out."
        )
    return np.asarray(values + FLOOR * values.mean(axis=1, keepdims=True))


def _points(responses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Channels as points whose weighted variance is lost information, relative to all of it.

    Mixtures where each phase prevails count alike, so that small phases are told apart where they are pure
    and in the phase around them.
    """
    phases = len(responses)
    pieces, weight = [], responses.sum(axis=0)
    for mixture in np.full((phases, phases), 0.1 / phases) + 0.9 * np.eye(phases):
        expected = mixture @ responses
        inverse = np.linalg.pinv(information(responses, mixture))
        values, vectors = np.linalg.eigh(inverse)
        metric = vectors * np.sqrt(np.maximum(values, 0.0))
        ratio = (responses / expected).T @ metric
        pieces.append(ratio * np.sqrt(expected / weight)[:, None])
    return np.concatenate(pieces, axis=1), weight


def k_means(points: np.ndarray, weights: np.ndarray, classes: int, seed: int) -> np.ndarray:
    """Weighted k-means, the best of a few starts; channels of equal ratios stay together."""
    rng = np.random.default_rng(seed)
    best, labels = np.inf, np.zeros(len(points), np.int64)
    for _ in range(STARTS):
        lost, found = _lloyd(points, weights, _spread_start(points, weights, classes, rng))
        if lost < best:
            best, labels = lost, found
    return labels


def _spread_start(
    points: np.ndarray, weights: np.ndarray, classes: int, rng: np.random.Generator
) -> np.ndarray:
    """k-means++: each centre is drawn by how much the ones before it leave unexplained."""
    centres = [points[rng.choice(len(points), p=weights / weights.sum())]]
    distance = np.full(len(points), np.inf)
    while len(centres) < classes:
        distance = np.minimum(distance, ((points - centres[-1]) ** 2).sum(axis=1))
        left = distance * weights
        if left.sum() <= SAME * weights.sum():
            break
        centres.append(points[rng.choice(len(points), p=left / left.sum())])
    return np.array(centres)


def _lloyd(points: np.ndarray, weights: np.ndarray, centres: np.ndarray) -> tuple[float, np.ndarray]:
    labels = np.full(len(points), -1)
    for _ in range(ROUNDS):
        squares = ((points[:, None, :] - centres[None]) ** 2).sum(axis=2)
        new = squares.argmin(axis=1)
        if np.array_equal(new, labels):
            break
        labels = new
        for one in np.unique(labels):
            members = labels == one
            centres[one] = np.average(points[members], axis=0, weights=weights[members])
    return float((weights * squares.min(axis=1)).sum()), labels
