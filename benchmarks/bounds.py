"""What the photons hold: Cramér-Rao bounds on spectra and compositions of a map whose truth is known.

For an unbiased estimate of the weights of element and continuum columns, with every pixel's abundances
known: the most favourable case there can be. Pixels of the same fractions (rounded to 1/40) tell the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edxdask.physics.basis import basis
from edxdask.physics.conditions import Conditions
from edxdask.physics.poisson import fit_weights

ROUNDED = 40
PHOTONS = 1e7  # a true spectrum is taken apart as if so many photons had drawn it


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


def _groups(abundance: np.ndarray, totals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    _, where = np.unique(np.rint(abundance.T * ROUNDED), axis=0, return_inverse=True)
    where = where.ravel()
    photons = np.bincount(where, weights=totals)
    sums = [np.bincount(where, weights=totals * row) for row in abundance]
    return np.stack(sums, axis=1) / photons[:, None], photons
