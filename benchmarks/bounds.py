"""What the photons of a map with known truth allow, if the abundances of every pixel are also known.

The most favourable case: Cramér-Rao bounds for unbiased estimates of the weights of element and
continuum columns, and the maximum of the likelihood for the same photons that were drawn. Pixels of
the same fractions (rounded to 1/40) say the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edxdask.factorize.spectra.elemental import ElementalSpectra
from edxdask.physics.basis import basis
from edxdask.physics.conditions import Conditions
from edxdask.physics.poisson import fit_weights

ROUNDED = 40
PHOTONS = 1e7  # a true spectrum is fitted as if it had this many photons
ROUNDS = 500  # of expectation-maximization, from the truth


@dataclass(frozen=True)
class Bound:
    """Least root mean square errors.

    Attributes
    ----------
    angles : (k,) degrees between spectra and the truth
    composition : (k, elements) relative errors of the amounts of atoms, NaN where there are none
    """

    angles: np.ndarray
    composition: np.ndarray


def bound(
    spectra: np.ndarray,
    abundance: np.ndarray,
    totals: np.ndarray,
    energy: np.ndarray,
    elements: list[str],
    composition: np.ndarray,
    conditions: Conditions,
) -> Bound:
    """Find the bound for true ``spectra`` (k, E), ``abundance`` (k, pixels) and ``totals`` (pixels,)."""
    rows, owners = [], []
    for phase, (spectrum, atoms) in enumerate(zip(spectra, composition, strict=True)):
        held = {e: float(a) for e, a in zip(elements, atoms, strict=True) if a > 0}
        made = basis(
            energy, list(held), beam_energy=conditions.beam_energy,
            fwhm_mn_ka_ev=conditions.fwhm_mn_ka_ev, seen=conditions.seen(held),
        )  # fmt: skip
        weights = fit_weights(PHOTONS * spectrum, made.matrix).weights / PHOTONS
        for column, row, weight in zip(made.columns, made.matrix, weights, strict=True):
            if weight > 0:
                rows.append(weight * row)
                owners.append((phase, column.element))
    shapes, phases = np.array(rows), np.array([phase for phase, _ in owners])
    information = np.zeros((len(rows), len(rows)))
    for fractions, photons in zip(*_groups(abundance, totals), strict=True):
        slopes = fractions[phases, None] * shapes
        information += photons * (slopes / np.maximum(fractions @ spectra, 1e-12)) @ slopes.T
    covariance = np.linalg.pinv(information, rcond=1e-12, hermitian=True)  # of the logarithms of the weights
    angles = np.zeros(len(spectra))
    relative = np.full(composition.shape, np.nan)
    for phase, spectrum in enumerate(spectra):
        mine = np.flatnonzero(phases == phase)
        aside = shapes[mine] - np.outer(shapes[mine] @ spectrum, spectrum) / (spectrum @ spectrum)
        spread = np.trace(aside.T @ covariance[np.ix_(mine, mine)] @ aside) / (spectrum @ spectrum)
        angles[phase] = np.degrees(np.sqrt(spread))
        for index in mine:
            if owners[index][1] is not None:
                relative[phase, elements.index(owners[index][1])] = np.sqrt(covariance[index, index])
    return Bound(angles, relative)


def of_these_photons(
    counts: np.ndarray, spectra: np.ndarray, abundance: np.ndarray, model: ElementalSpectra
) -> tuple[np.ndarray, np.ndarray]:
    """Spectra (k, E) and composition (k, elements) of most likelihood for ``counts`` (pixels, E)."""
    place = _places(abundance)
    summed = np.zeros((place.max() + 1, counts.shape[1]))
    np.add.at(summed, place, counts)
    fractions, photons = _groups(abundance, counts.sum(axis=1, dtype=float))
    amounts = fractions * photons[:, None]
    weights = model.start(spectra)
    for _ in range(ROUNDS):
        ratio = summed / np.maximum(amounts @ model.spectra(weights), 1e-12)
        weights = model.update(weights, {"numerator": amounts.T @ ratio})
    return model.spectra(weights), model.composition(weights)


def _places(abundance: np.ndarray) -> np.ndarray:
    _, where = np.unique(np.rint(abundance.T * ROUNDED), axis=0, return_inverse=True)
    return where.ravel()


def _groups(abundance: np.ndarray, totals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    where = _places(abundance)
    photons = np.bincount(where, weights=totals)
    sums = [np.bincount(where, weights=totals * row) for row in abundance]
    return np.stack(sums, axis=1) / photons[:, None], photons
