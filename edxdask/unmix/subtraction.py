"""Spectra of regions as atoms, and precipitates by subtraction: mixture minus matrix, errors propagated.

Regions are summed over all maps. A channel means another energy in each map, so that the spectra of a region
are fitted map by map, each with its own columns, and it is the atoms that are added: the fit is linear in the
counts, so nothing is lost by that. Weights may be negative; a bound at zero would make traces too large.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from edxdask.physics.poisson import fit_weights

LEAST_EXPECTED = 1e-4  # counts in a channel of a map
WEIGHT_ROUNDS = 2
TINY = 1e-300


@dataclass(frozen=True, eq=False)
class MapSpectra:
    """Spectra of the regions of one map.

    Attributes
    ----------
    counts : (regions, E) of the usable channels
    columns : (M, E): those of elements first, for one atom each, then those that count no atoms
    """

    counts: np.ndarray
    columns: np.ndarray


@dataclass(frozen=True, eq=False)
class Amounts:
    """Weights of the columns in a region, of all maps together.

    Attributes
    ----------
    weights : (M,)
    covariance : (M, M) from the Poisson errors of the counts
    """

    weights: np.ndarray
    covariance: np.ndarray

    def atoms(self, elements: int) -> Amounts:
        """Keep the columns of elements."""
        return Amounts(self.weights[:elements], self.covariance[:elements, :elements])

    def fractions(self) -> Amounts:
        """Divide by the sum of all: c = a / Σa, dc = (da - c Σ da) / Σa."""
        whole = self.weights.sum()
        if not whole > 0:
            none = np.full(self.weights.size, np.nan)
            return Amounts(none, np.full((none.size, none.size), np.nan))
        found = self.weights / whole
        slopes = (np.eye(found.size) - found[:, None]) / whole
        return Amounts(found, slopes @ self.covariance @ slopes.T)

    @property
    def errors(self) -> np.ndarray:
        """Standard errors of the weights."""
        return np.sqrt(np.maximum(np.diag(self.covariance), 0.0))


@dataclass(frozen=True, eq=False)
class Subtracted:
    """A precipitate as the published workflow finds it.

    Attributes
    ----------
    composition : Amounts, fractions of atoms
    scale : matrix in the mixture, as a multiple of the matrix's own sum
    scale_std : its standard error
    """

    composition: Amounts
    scale: float
    scale_std: float


@threadpool_limits.wrap(limits=1)
def region_amounts(maps: Sequence[MapSpectra]) -> list[Amounts]:
    """Fit the spectra of every region, map by map, and add up the atoms.

    Parameters
    ----------
    maps : sequence of MapSpectra
        Regions and columns are the same in all of them.

    Notes
    -----
    Channels are weighted by what all maps together expect of a region, scaled to the photons of each: weights
    that follow one map's own noise would make its traces too small.
    """
    regions = len(maps[0].counts)
    return [_amounts([(one.counts[row], one.columns) for one in maps]) for row in range(regions)]


def _amounts(spectra: Sequence[tuple[np.ndarray, np.ndarray]]) -> Amounts:
    """Weights of one region."""
    seen = [(counts, columns) for counts, columns in spectra if counts.sum() > 0]
    size = spectra[0][1].shape[0]
    if not seen:
        return Amounts(np.zeros(size), np.full((size, size), np.nan))
    common = np.sum([fit_weights(counts, columns).weights for counts, columns in seen], axis=0)
    found = Amounts(common, np.zeros((size, size)))
    for _ in range(WEIGHT_ROUNDS):
        parts = [_weighted(counts, columns, np.maximum(found.weights, 0.0)) for counts, columns in seen]
        found = Amounts(
            np.sum([p.weights for p in parts], axis=0), np.sum([p.covariance for p in parts], axis=0)
        )
    return found


def _weighted(counts: np.ndarray, columns: np.ndarray, common: np.ndarray) -> Amounts:
    """Least squares with the variance that is expected; errors from the counts themselves."""
    expected = common @ columns
    expected = expected * (counts.sum() / max(float(expected.sum()), TINY))
    inverse = 1.0 / np.maximum(expected, LEAST_EXPECTED)
    information = (columns * inverse) @ columns.T
    scale = np.sqrt(np.diag(information))
    scale = np.where(scale > 0, scale, 1.0)
    solved = np.linalg.pinv(information / np.outer(scale, scale), rcond=1e-12, hermitian=True)
    gain = (solved / np.outer(scale, scale)) @ (columns * inverse)
    return Amounts(gain @ counts, (gain * counts) @ gain.T)


def subtract(
    mixture: Amounts, matrix: Amounts, absent: Sequence[int], yields: np.ndarray | None = None
) -> Subtracted:
    """Subtract the matrix from a mixture so that nothing is left of what the precipitate cannot hold.

    Parameters
    ----------
    mixture, matrix : Amounts
        Atoms of elements.
    absent : sequence of int
        Numbers of the elements that the precipitate cannot hold; several are weighted by their errors.
    yields : ndarray, optional
        Photons of an atom in the matrix over those of an atom in the precipitate, by element, where the two
        absorb differently.

    Examples
    --------
    >>> sums = [Amounts(np.array(a), np.diag(a)) for a in ([50.0, 70.0, 40.0], [10.0, 20.0, 40.0])]
    >>> found = subtract(*sums, [2])
    >>> found.scale, found.composition.weights.round(2).tolist()
    (1.0, [0.44, 0.56, 0.0])
    """
    scale, by_mixture, by_matrix = _scale_of(mixture, matrix, list(absent))
    left = mixture.weights - scale * matrix.weights
    unit = np.eye(left.size)
    from_mixture = unit - np.outer(matrix.weights, by_mixture)
    from_matrix = -scale * unit - np.outer(matrix.weights, by_matrix)
    ratio = np.ones(left.size) if yields is None else yields
    covariance = from_mixture @ mixture.covariance @ from_mixture.T
    covariance = covariance + from_matrix @ matrix.covariance @ from_matrix.T
    variance = by_mixture @ mixture.covariance @ by_mixture + by_matrix @ matrix.covariance @ by_matrix
    if len(absent) == 1:  # what rounding leaves of it
        left[list(absent)], covariance[list(absent)], covariance[:, list(absent)] = 0.0, 0.0, 0.0
    atoms = Amounts(ratio * left, covariance * np.outer(ratio, ratio))
    return Subtracted(atoms.fractions(), scale, float(np.sqrt(max(variance, 0.0))))


def _scale_of(mixture: Amounts, matrix: Amounts, absent: list[int]) -> tuple[float, np.ndarray, np.ndarray]:
    """Find how much of the matrix is in the mixture, and its slopes by both."""
    own, seen = matrix.weights[absent], mixture.weights[absent]
    weight = 1.0 / np.maximum(np.diag(mixture.covariance)[absent], TINY)
    whole = float((weight * own**2).sum())
    scale = float((weight * own * seen).sum()) / whole
    by_mixture, by_matrix = np.zeros(mixture.weights.size), np.zeros(mixture.weights.size)
    by_mixture[absent] = weight * own / whole
    by_matrix[absent] = weight * (seen - 2 * scale * own) / whole
    return scale, by_mixture, by_matrix
