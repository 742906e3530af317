"""A second start for the fit of bins: from the commonest composition outwards.

The first start follows from singular vectors. Where most of a map is one phase, the matrix, its fit may split
every pixel of the matrix among phases that do not exist. Here the matrix is what most bins have in common,
within noise. Each other phase lies from there in a direction in which many photons lie, and as far
outwards as its spectrum allows: until something that the matrix has is gone from it. All this happens in
the plane of the spectra that the first fit found; the rounds go on from there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import chi2

from edxdask.factorize.identifiability.exchange import in_windows
from edxdask.factorize.iteration.phases import Phases
from edxdask.factorize.spectra.elemental import ElementalSpectra
from edxdask.factorize.spectra.model import StartingModel

MOST_BINS = 10_000  # that are looked at: of more, every second, third, …
MOST_TRIED = 1500  # bins that may be the middle of the matrix
WITHIN = 0.9  # of the bins of one composition count as such
OWN_SPREAD = 0.1  # of the spread of all bins: how much the composition of one phase may vary
BEYOND = 3.0  # standard deviations from the matrix from which a bin belongs to another phase
MOST_DIRECTIONS = 200
NARROW = 0.9  # cosine of the angle within which bins lie in one direction
FAR, FURTHEST = 0.9, 0.8  # part of a direction's photons below its far end; of that end
MOST_OUT = 20.0  # times the distance to the far end
PRESENT = 0.01  # of the matrix's spectrum: a weight below this says nothing
LEFT = 1e-3  # of a bin's photons: least abundance, which the rounds can still raise
TINY = 1e-30


@dataclass(frozen=True, eq=False)
class _Cloud:
    """Bins as points: differences of fractions, scaled so that a bin of N photons has the variance 1/N.

    Attributes
    ----------
    plane : (k, k - 1), from fractions to points
    points : (bins, k - 1)
    fractions, photons : (bins, k), (bins,)
    own : variance that bins of one composition have beyond counting
    """

    plane: np.ndarray
    points: np.ndarray
    fractions: np.ndarray
    photons: np.ndarray
    own: float

    @classmethod
    def of(cls, spectra: np.ndarray, abundance: np.ndarray) -> _Cloud:
        """Place the bins that have photons."""
        photons = abundance.sum(axis=1)
        held = photons > 0
        fractions, photons = abundance[held] / photons[held, None], photons[held]
        phases = len(spectra)
        mean = np.maximum(photons @ fractions / photons.sum() @ spectra, TINY)
        across = np.linalg.svd(np.eye(phases) - 1 / phases)[0][:, : phases - 1]
        information = across.T @ ((spectra / mean) @ spectra.T) @ across
        information += 1e-9 * np.trace(information) * np.eye(phases - 1)
        plane = across @ np.linalg.cholesky(information)
        points = fractions @ plane
        middle = photons @ points / photons.sum()
        spread = photons @ ((points - middle) ** 2).sum(axis=1) / photons.sum()
        return cls(plane, points, fractions, photons, OWN_SPREAD**2 * float(spread))

    def mean_of(self, which: np.ndarray) -> np.ndarray:
        """Fractions of the photons of these bins, (k,)."""
        weight = self.photons[which]
        return weight @ self.fractions[which] / weight.sum()

    def commonest(self) -> np.ndarray:
        """Find the bins of the commonest composition: which they are, (bins,) bool."""
        limit = chi2.ppf(WITHIN, self.points.shape[1])
        every = -(-len(self.points) // MOST_TRIED)
        variance = 1 / self.photons + self.own
        weights = [
            self.photons[
                ((self.points - self.points[at]) ** 2).sum(axis=1) < limit * (variance + variance[at])
            ]
            for at in range(0, len(self.points), every)
        ]
        middle = self.points[every * int(np.argmax([weight.sum() for weight in weights]))]
        members = np.zeros(len(self.points), bool)
        for _ in range(10):
            near = ((self.points - middle) ** 2).sum(axis=1) < limit * variance
            if not near.any() or (near == members).all():
                break
            members = near
            middle = self.photons[members] @ self.points[members] / self.photons[members].sum()
        return members

    def far_end(self, away: np.ndarray) -> np.ndarray:
        """Find the bins at the far end of the direction with most photons; ``away`` is (bins, k - 1)."""
        distance = np.linalg.norm(away, axis=1)
        beyond = np.maximum(distance - BEYOND * np.sqrt(1 / self.photons + self.own), 0.0)
        order = np.argsort(-beyond if beyond.any() else -distance * np.sqrt(self.photons))
        candidates = order[:MOST_DIRECTIONS]
        along = away @ (away[candidates] / np.maximum(distance[candidates, None], TINY)).T
        narrow = along > NARROW * distance[:, None]
        best = int(np.argmax(self.photons @ np.where(narrow, beyond[:, None], 0.0) ** 2))
        inside = narrow[:, best] & (beyond > 0)
        inside[candidates[best]] = True
        reach, weight = along[inside, best], self.photons[inside]
        ranked = np.argsort(reach)
        held = np.cumsum(weight[ranked])
        end = reach[ranked][np.searchsorted(held, FAR * held[-1])]
        return inside & (along[:, best] >= FURTHEST * end)


def from_matrix(found: Phases, model: StartingModel) -> Phases | None:
    """Find the start that lies around the commonest composition of a fit; None where bins are all alike."""
    spectra = found.spectra.astype(np.float64)
    some = found.abundance[:: -(-len(found.abundance) // MOST_BINS)].astype(np.float64)
    if len(spectra) < 2 or not some.any():
        return None
    cloud = _Cloud.of(spectra, some)
    members = cloud.commonest()
    if not members.any():
        return None
    matrix = cloud.mean_of(members)
    away = cloud.points - matrix @ cloud.plane
    ends: list[np.ndarray] = []
    left = np.eye(away.shape[1])
    for _ in range(away.shape[1]):
        end = cloud.far_end(away @ left)
        ends.append(cloud.mean_of(end))
        direction = (ends[-1] - matrix) @ cloud.plane @ left
        length = np.linalg.norm(direction)
        if length < 1e-9:
            return None
        left = left - np.outer(left @ direction, direction @ left) / length**2
    weights = _weights(spectra, model)
    turn = np.stack([matrix, *(matrix + _reach(weights, matrix, end) * (end - matrix) for end in ends)])
    if np.linalg.cond(turn) > 1e6:
        return None
    single = found.abundance.dtype  # as large as the map, where bins are single pixels
    turned = found.abundance @ np.linalg.inv(turn).astype(single)
    np.maximum(turned, LEFT * found.abundance.sum(axis=1, keepdims=True), out=turned)
    return Phases(np.maximum(turn @ spectra, 0.0), turned, found.objectives)


def _weights(spectra: np.ndarray, model: StartingModel) -> np.ndarray:
    """Find what cannot be below zero, (k, any): weights of elements, or counts in windows of channels."""
    if isinstance(model, ElementalSpectra):
        return model.weights_of(spectra)
    return in_windows(spectra)


def _reach(weights: np.ndarray, matrix: np.ndarray, end: np.ndarray) -> float:
    """How far the line from the matrix through ``end`` goes on before a weight is gone; ``end`` is at 1."""
    first, change = matrix @ weights, (end - matrix) @ weights
    falls = (change < 0) & (first > PRESENT * first.sum())
    reach = np.min(first[falls] / -change[falls], initial=MOST_OUT)
    return float(np.clip(reach, 1.0, MOST_OUT))
