"""Standard errors of guided compositions, from the Fisher information of spectra and abundances together.

Abundances are as unknown as weights are: what they could explain is subtracted from the information on the
weights, bin by bin (Schur complement). Bins of the same fractions give the same information per photon, so
bins are grouped by fractions first, and the cost does not grow with the map.
"""

from __future__ import annotations

import numpy as np

from edxdask.factorize.spectra.elemental import ElementalSpectra

MOST_GROUPS = 2000
MOST_STEPS, FEWEST_STEPS = 40, 4  # steps that fractions are rounded to
PRESENT = 1e-4  # fraction of the photons below which a phase, or a column, is at its bound of zero
LEAST_SIGMA = 2.0  # a weight of less than this, all others known, may as well be there
LEAST_EXPECTED = 1e-12


def composition_errors(model: ElementalSpectra, weights: np.ndarray, abundance: np.ndarray) -> np.ndarray:
    """Find standard errors of ``model.composition(weights)``, (k, elements).

    Parameters
    ----------
    weights : (k, M), rows sum to 1
    abundance : (bins, k) in counts

    Notes
    -----
    Abundances that are at zero are held there, and so are weights; an element at zero has the error that it
    would have if all else were known, 0 where it is ruled out.
    """
    phases = len(weights)
    own = np.broadcast_to(model.columns, (phases, *model.columns.shape[1:]))
    spectra = model.spectra(weights)
    groups = _groups(abundance)
    # what the photons say of each weight if all others were known
    alone = np.zeros_like(weights)
    for fractions, photons in zip(*groups, strict=True):
        seen = (own**2 / np.maximum(fractions @ spectra, LEAST_EXPECTED)).sum(axis=2)
        alone += photons * fractions[:, None] ** 2 * seen
    least = 1 / np.sqrt(np.maximum(alone, 1e-300))
    free = (weights > PRESENT) & (weights > LEAST_SIGMA * least)
    if model.below > 0:
        free[:, -1] = False  # held
    index, rows = np.argwhere(free), own[free]
    information = np.zeros((len(index), len(index)))
    for fractions, photons in zip(*groups, strict=True):
        information += photons * _information(fractions, rows, index[:, 0], spectra)
    errors = _carried(information, model, weights, index)
    return np.maximum(errors, _bounds(model, weights, np.where(free, 0.0, least)))


def _bounds(model: ElementalSpectra, weights: np.ndarray, least: np.ndarray) -> np.ndarray:
    """Errors of elements with weights at zero: one sigma of the weight, in atoms."""
    amounts = (weights[:, None, :] @ model.atoms)[:, 0].sum(axis=1, keepdims=True)
    allowed = np.ones_like(least) if model.allowed is None else model.allowed
    return ((least * allowed)[:, None, :] @ model.atoms)[:, 0] / np.maximum(amounts, 1e-300)


def _groups(abundance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fractions of groups of bins, (groups, k), and the photons in each."""
    total = abundance.sum(axis=1, dtype=np.float64)
    held = abundance[total > 0] / total[total > 0, None]
    for steps in range(MOST_STEPS, FEWEST_STEPS - 1, -4):
        keys, where = np.unique(np.rint(held * steps).astype(np.int16), axis=0, return_inverse=True)
        if len(keys) <= MOST_GROUPS:
            break
    where = where.ravel()
    photons = np.bincount(where, weights=total[total > 0])
    fractions = np.stack(
        [np.bincount(where, weights=total[total > 0] * column) for column in held.T], axis=1
    ) / photons[:, None]  # fmt: skip
    return fractions, photons


def _information(
    fractions: np.ndarray, rows: np.ndarray, phase: np.ndarray, spectra: np.ndarray
) -> np.ndarray:
    """Find what a photon says about the free weights beyond what the fractions could explain."""
    expected = np.maximum(fractions @ spectra, LEAST_EXPECTED)
    slopes = fractions[phase, None] * rows
    about = (slopes / expected) @ slopes.T
    present = spectra[fractions > PRESENT]
    cross = (slopes / expected) @ present.T
    between = (present / expected) @ present.T
    return about - cross @ np.linalg.lstsq(between, cross.T, rcond=1e-12)[0]


def _carried(
    information: np.ndarray, model: ElementalSpectra, weights: np.ndarray, index: np.ndarray
) -> np.ndarray:
    """Errors of compositions; weights of a phase sum to 1, which fixes the scale that the data leave open."""
    phases = len(weights)
    sums = np.array([(index[:, 0] == p).astype(float) for p in range(phases)])
    heavy = 1e3 * max(float(np.diag(information).max()), 1e-300)
    held = information + heavy * sums.T @ sums
    scale = np.sqrt(np.diag(held))
    covariance = np.linalg.pinv(held / np.outer(scale, scale), rcond=1e-12, hermitian=True) / np.outer(
        scale, scale
    )
    atoms = np.broadcast_to(model.atoms, (phases, *model.atoms.shape[1:]))
    composition = model.composition(weights)
    errors = np.zeros_like(composition)
    for phase in range(phases):
        mine = np.flatnonzero(index[:, 0] == phase)
        used = atoms[phase, index[mine, 1]]
        whole = float((weights[phase] @ atoms[phase]).sum())
        # c = a / Σa: dc = (da - c Σ da) / Σa
        slopes = (used - used.sum(axis=1, keepdims=True) * composition[phase]) / max(whole, 1e-300)
        block = covariance[np.ix_(mine, mine)]
        errors[phase] = np.sqrt(np.maximum(np.einsum("mi,mn,ni->i", slopes, block, slopes), 0))
    return errors
