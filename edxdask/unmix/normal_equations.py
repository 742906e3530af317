"""Normal equations of the pinned-core fit: what a map says about atoms, beyond what else could explain it.

Arrays in, arrays out. The unknowns of one map are amounts (groups, phases) and own weights (phases, own);
atoms (phases, elements) are common to all maps.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

LEAST_EXPECTED = 1e-12  # counts in a channel of a group
AT_ZERO = 1e-12  # of the largest of its kind
LEAST_EIGENVALUE = 1e-13  # over the largest, of an information matrix with a unit diagonal
TINY = 1e-300


@dataclass(frozen=True, eq=False)
class GroupedCounts:
    """Photons of one map, summed in groups of pixels.

    Attributes
    ----------
    counts : (groups, E) usable channels only
    allowed : (groups, phases) bool; False: none of the phase is there
    start : (groups, phases) photons of each phase, about
    columns : (phases, elements, E) what one atom of each element adds; zeros where an element has no line
    own : (phases, own, E) unit columns that count no atoms: continuum, loose families, elements not listed
    pixels : (groups,) summed
    """

    counts: np.ndarray
    allowed: np.ndarray
    start: np.ndarray
    columns: np.ndarray
    own: np.ndarray
    pixels: np.ndarray

    def selected(self, groups: np.ndarray) -> GroupedCounts:
        """Keep some of the groups, by number or by a bool for each."""
        return replace(
            self,
            counts=self.counts[groups],
            allowed=self.allowed[groups],
            start=self.start[groups],
            pixels=self.pixels[groups],
        )


@dataclass(frozen=True, eq=False)
class MapState:
    """Unknowns of one map: amounts (groups, phases) and own weights (phases, own)."""

    amount: np.ndarray
    weights: np.ndarray

    def spectra(self, one: GroupedCounts, atoms: np.ndarray) -> np.ndarray:
        """Add up the counts of one atom of each phase: (phases, E)."""
        lines = np.einsum("pe,pec->pc", atoms, one.columns)
        return np.asarray(lines + np.einsum("pj,pjc->pc", self.weights, one.own))


@dataclass(frozen=True, eq=False)
class Reduced:
    """Normal equations of one map with its amounts and own weights eliminated.

    Attributes
    ----------
    information, slope : (K, K), (K,) on all atoms, flat
    own_gain, own_slope : solve own weights once the step of the atoms is known: own_slope - own_gain @ step
    amount_gain, amount_slope : the same of the amounts, (groups, phases, K + own) and (groups, phases)
    """

    information: np.ndarray
    slope: np.ndarray
    own_gain: np.ndarray
    own_slope: np.ndarray
    amount_gain: np.ndarray
    amount_slope: np.ndarray

    def steps(self, atoms_step: np.ndarray, phases: int) -> tuple[np.ndarray, np.ndarray]:
        """Find the steps of own weights (phases, own) and of amounts (groups, phases)."""
        own = self.own_slope - self.own_gain @ atoms_step
        both = np.concatenate([atoms_step, own])
        return own.reshape(phases, -1), self.amount_slope - self.amount_gain @ both


def bounded_step(
    information: np.ndarray, slope: np.ndarray, atoms: np.ndarray, may: np.ndarray
) -> np.ndarray:
    """Step of the atoms; those at zero that would fall further are held."""
    elements = atoms.shape[1]
    flat, step = atoms.ravel(), np.zeros(atoms.size)
    free = may.ravel() & ((flat > AT_ZERO) | (slope > 0))
    for _ in range(atoms.size):
        index = np.flatnonzero(free)
        held = information[np.ix_(index, index)] + gauge(information, index, elements)
        scale = np.sqrt(np.maximum(np.diag(held), TINY))
        step[:] = 0.0
        step[index] = (
            np.linalg.lstsq(held / np.outer(scale, scale), slope[index] / scale, rcond=1e-13)[0] / scale
        )
        down = free & (flat <= AT_ZERO) & (step < 0)
        if not down.any():
            break
        free &= ~down
    return step


def gauge(information: np.ndarray, index: np.ndarray, elements: int) -> np.ndarray:
    """Hold the sum of the atoms of each phase: their scale is that of the amounts."""
    owner = index // elements
    same = owner[:, None] == owner[None, :]
    return np.where(same, np.max(np.diag(information), initial=TINY), 0.0)


def reduced(one: GroupedCounts, atoms: np.ndarray, state: MapState) -> Reduced:
    """Information and slopes of one map; amounts are eliminated in every group, then own weights."""
    spectra = state.spectra(one, atoms)
    expected = np.maximum(state.amount @ spectra, LEAST_EXPECTED)
    inverse, rest = 1.0 / expected, one.counts / expected - 1.0
    phases, elements, own = len(atoms), atoms.shape[1], one.own.shape[1]
    columns = np.concatenate([one.columns, one.own], axis=1)
    slope_n = rest @ spectra.T
    free = one.allowed & ((state.amount > AT_ZERO * state.amount.max()) | (slope_n > 0))
    between = _amount_inverse(inverse, spectra, free)
    slope_w = np.einsum("pjc,pc->pj", columns, state.amount.T @ rest)
    information, cross = _blocks(columns, spectra, state.amount, inverse, free)
    solved = np.einsum("gpq,kgq->gpk", between, cross)
    amount_slope = np.einsum("gpq,gq->gp", between, np.where(free, slope_n, 0.0))
    information = information - np.einsum("kgp,gpl->kl", cross, solved)
    slope = slope_w.ravel() - np.einsum("kgp,gp->k", cross, amount_slope)
    order = np.argsort(np.tile(np.arange(elements + own) >= elements, phases), kind="stable")
    information, slope, solved = information[np.ix_(order, order)], slope[order], solved[:, :, order]
    return _without_own(information, slope, state.weights.ravel(), solved, amount_slope)


def _without_own(
    information: np.ndarray,
    slope: np.ndarray,
    weights: np.ndarray,
    amount_gain: np.ndarray,
    amount_slope: np.ndarray,
) -> Reduced:
    """Eliminate own weights, which come after the atoms; those at zero that would fall further are held."""
    kept = len(slope) - len(weights)
    loose = (weights > AT_ZERO * max(weights.max(initial=0.0), TINY)) | (slope[kept:] > 0)
    corner = np.where(np.outer(loose, loose), information[kept:, kept:], 0.0) + np.diag(~loose * 1.0)
    side = np.where(loose[:, None], information[kept:, :kept], 0.0)
    scale = np.sqrt(np.maximum(np.diag(corner), TINY))
    inverted = np.linalg.pinv(corner / np.outer(scale, scale), rcond=1e-12, hermitian=True)
    inverted = inverted / np.outer(scale, scale)
    own_slope = inverted @ np.where(loose, slope[kept:], 0.0)
    own_gain = inverted @ side
    return Reduced(
        information[:kept, :kept] - side.T @ own_gain,
        slope[:kept] - side.T @ own_slope,
        own_gain,
        own_slope,
        amount_gain,
        amount_slope,
    )


def _amount_inverse(inverse: np.ndarray, spectra: np.ndarray, free: np.ndarray) -> np.ndarray:
    """Inverse information on the amounts of each group, (groups, phases, phases); 0 for those held."""
    phases = len(spectra)
    pairs = np.einsum("pc,qc->pqc", spectra, spectra).reshape(phases * phases, -1)
    about = (inverse @ pairs.T).reshape(-1, phases, phases)
    both = free[:, :, None] & free[:, None, :]
    diagonal = np.maximum(np.einsum("gpp->gp", about), TINY)
    scale = 1.0 / np.sqrt(np.where(free, diagonal, 1.0))
    unit = np.where(both, about * scale[:, :, None] * scale[:, None, :], np.eye(phases))
    found = np.linalg.pinv(unit, rcond=1e-12, hermitian=True) * scale[:, :, None] * scale[:, None, :]
    return np.where(both, found, 0.0)


def _blocks(
    columns: np.ndarray, spectra: np.ndarray, amount: np.ndarray, inverse: np.ndarray, free: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Information on all weights, (K, K), and between weights and amounts, (K, groups, phases)."""
    phases, each = columns.shape[:2]
    information = np.zeros((phases, each, phases, each))
    cross = np.zeros((phases, each, *amount.shape))
    for p in range(phases):
        for q in range(phases):
            both = (amount[:, p] * amount[:, q]) @ inverse
            if q <= p:
                information[p, :, q] = (columns[p] * both) @ columns[q].T
                information[q, :, p] = information[p, :, q].T
            seen = (columns[p] * spectra[q]) @ inverse.T
            cross[p, :, :, q] = seen * amount[:, p] * free[:, q]
    return information.reshape(phases * each, -1), cross.reshape(phases * each, *amount.shape)


def inverse_with_open_directions(matrix: np.ndarray) -> np.ndarray:
    """Inverse of an information matrix; what the counts leave open has a very large variance, not none."""
    scale = np.sqrt(np.maximum(np.diag(matrix), TINY))
    values, vectors = np.linalg.eigh(matrix / np.outer(scale, scale))
    values = np.maximum(values, LEAST_EIGENVALUE * values.max())
    return np.asarray((vectors / values) @ vectors.T / np.outer(scale, scale))
