"""The pinned-core likelihood fit: compositions that all maps share, from photons summed in groups of pixels.

y_gc ~ Poisson(Σ_p n_gp Σ_j W_pj G_pjc). Every map has columns G of its own (energy axis, width, thickness,
detector); atoms W of the phases are common to all maps. Columns that count no atoms (continuum, families of
unknown strength, elements that nobody listed) have weights of their own in every map. Amounts n are as
unknown as W is, except where a group cannot hold a phase: in a core, far from every precipitate, all others
are exactly zero. Without such groups the amounts have a floor, since they are never negative, and the traces
of the matrix go to phases that are not there.

Fisher scoring finds W, own weights and n together. Amounts are eliminated group by group, own weights map by
map, so that the system to solve has the size of W only; what remains is the information on W beyond what n
and own weights could explain (Schur complement), and its inverse is the covariance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import xlogy
from threadpoolctl import threadpool_limits

from edxdask.unmix.normal_equations import (
    LEAST_EXPECTED,
    TINY,
    GroupedCounts,
    MapState,
    bounded_step,
    gauge,
    inverse_with_open_directions,
    reduced,
)

EM_ROUNDS, NEWTON_ROUNDS = 30, 60
TOLERANCE = 1e-13  # gain of the log-likelihood, relative to the photons, at which a fit has converged
SHORTEST_STEP = 1e-4


@dataclass(frozen=True, eq=False)
class FittedMap:
    """What belongs to one map.

    Attributes
    ----------
    amount : (groups, phases) of atoms, so that ``amount @ spectra`` are counts
    weights : (phases, own) of the columns that count no atoms, for one atom of the phase
    spectra : (phases, E) counts of one atom
    """

    amount: np.ndarray
    weights: np.ndarray
    spectra: np.ndarray

    @property
    def expected(self) -> np.ndarray:
        """Counts that the fit expects: (groups, E)."""
        return self.amount @ self.spectra


@dataclass(frozen=True, eq=False)
class PinnedFit:
    """Compositions of the phases, common to all maps.

    Attributes
    ----------
    composition : (phases, elements) atomic fractions
    covariance : (phases, elements, elements) of each row
    joint : (phases × elements, phases × elements) covariance of all of them together
    information : of the same shape, what the counts say of amounts of atoms, whose scale is open
    maps : what belongs to each map
    deviance : (maps,) of the counts in all groups
    misfit : (maps,) chi-squared per channel of the summed spectrum, 1 where all is well
    gain : of the log-likelihood in the last round, relative to the photons
    """

    composition: np.ndarray
    covariance: np.ndarray
    joint: np.ndarray
    information: np.ndarray
    maps: tuple[FittedMap, ...]
    deviance: np.ndarray
    misfit: np.ndarray
    gain: float

    @property
    def errors(self) -> np.ndarray:
        """Standard errors of the composition: (phases, elements)."""
        return np.sqrt(np.maximum(np.einsum("pee->pe", self.covariance), 0.0))


@threadpool_limits.wrap(limits=1)
def fit_pinned(
    maps: Sequence[GroupedCounts],
    composition: np.ndarray,
    *,
    present: np.ndarray | None = None,
    fixed: bool = False,
) -> PinnedFit:
    """Fit compositions that all maps share, by maximum Poisson likelihood.

    Parameters
    ----------
    maps : sequence of GroupedCounts
        Photons of each map; phases and elements are the same in all of them.
    composition : ndarray
        (phases, elements) atomic fractions to begin with.
    present : ndarray of bool, optional
        (phases, elements) what a phase may hold; None allows all.
    fixed : bool
        Keep the composition as it is, and fit only what belongs to each map.

    Returns
    -------
    PinnedFit
        An element at its bound of zero has the error that it has where it may vary.

    Examples
    --------
    >>> columns = np.array([[[4.0, 1.0, 0.0], [0.0, 1.0, 4.0]]])
    >>> own = np.array([[[1.0, 1.0, 1.0]]]) / 3
    >>> counts = np.array([[500.0, 350.0, 900.0]])
    >>> every, photons = np.ones((1, 1), bool), np.array([[1750.0]])
    >>> one = GroupedCounts(counts, every, photons, columns, own, np.ones(1))
    >>> fit_pinned([one], np.array([[0.5, 0.5]])).composition.round(3).tolist()
    [[0.357, 0.643]]
    """
    may = np.ones(composition.shape, bool) if present is None else np.asarray(present, bool)
    atoms = np.where(may, np.maximum(composition, 1e-7), 0.0)
    atoms = atoms / atoms.sum(axis=1, keepdims=True)
    states = [_begin(one, atoms) for one in maps]
    for _ in range(EM_ROUNDS):
        atoms, states = _em_round(maps, atoms, states, fixed=fixed)
    last, gain = _likelihood(maps, atoms, states), np.inf
    photons = max(sum(float(one.counts.sum()) for one in maps), 1.0)
    for _ in range(NEWTON_ROUNDS):
        atoms, states, value = _newton_round(maps, atoms, states, may, last, fixed=fixed)
        gain, last = (value - last) / photons, value
        if gain < TOLERANCE:
            break
    return _finished(maps, atoms, states, may, gain)


def _begin(one: GroupedCounts, atoms: np.ndarray) -> MapState:
    """Begin with half as many photons in own columns as in lines, and amounts as they are thought to be."""
    lines = np.einsum("pe,pec->p", atoms, one.columns)
    own = one.own.shape[1]
    weights = np.broadcast_to(0.5 * lines[:, None] / max(own, 1), (len(lines), own)).copy()
    least = 1e-4 * one.counts.sum(axis=1, keepdims=True)
    photons = np.where(one.allowed, np.maximum(one.start, least), 0.0)
    whole = np.maximum(photons.sum(axis=1, keepdims=True), TINY)
    photons = photons * one.counts.sum(axis=1, keepdims=True) / whole
    return MapState(photons / np.maximum(1.5 * lines, TINY), weights)


def _em_round(
    maps: Sequence[GroupedCounts], atoms: np.ndarray, states: list[MapState], *, fixed: bool
) -> tuple[np.ndarray, list[MapState]]:
    """One round of expectation-maximization: amounts, then all weights."""
    seen, reach, fresh = np.zeros_like(atoms), np.zeros_like(atoms), []
    for one, state in zip(maps, states, strict=True):
        spectra = state.spectra(one, atoms)
        ratio = one.counts / np.maximum(state.amount @ spectra, LEAST_EXPECTED)
        amount = state.amount * (ratio @ spectra.T) / np.maximum(spectra.sum(axis=1), TINY)
        ratio = one.counts / np.maximum(amount @ spectra, LEAST_EXPECTED)
        back, total = amount.T @ ratio, amount.sum(axis=0)
        seen += np.einsum("pec,pc->pe", one.columns, back)
        reach += total[:, None] * one.columns.sum(axis=2)
        weights = state.weights * np.einsum("pjc,pc->pj", one.own, back)
        weights = weights / np.maximum(total[:, None] * one.own.sum(axis=2), TINY)
        fresh.append(MapState(amount, weights))
    made = atoms if fixed else atoms * seen / np.maximum(reach, TINY)
    return _scaled(made, fresh)


def _scaled(atoms: np.ndarray, states: Sequence[MapState]) -> tuple[np.ndarray, list[MapState]]:
    """Make atoms of every phase sum to 1; amounts and own weights follow, and no expected count changes."""
    sums = np.maximum(atoms.sum(axis=1), TINY)
    return atoms / sums[:, None], [MapState(s.amount * sums, s.weights / sums[:, None]) for s in states]


def _likelihood(maps: Sequence[GroupedCounts], atoms: np.ndarray, states: Sequence[MapState]) -> float:
    """Log-likelihood, without what does not depend on the unknowns."""
    total = 0.0
    for one, state in zip(maps, states, strict=True):
        expected = state.amount @ state.spectra(one, atoms)
        expected = np.maximum(expected, LEAST_EXPECTED)
        total += float(np.sum(xlogy(one.counts, expected) - expected))
    return total


def _newton_round(
    maps: Sequence[GroupedCounts],
    atoms: np.ndarray,
    states: list[MapState],
    may: np.ndarray,
    last: float,
    *,
    fixed: bool,
) -> tuple[np.ndarray, list[MapState], float]:
    """One step of Fisher scoring, shortened until it gains; what would leave its bound of 0 stays there."""
    made = [reduced(one, atoms, state) for one, state in zip(maps, states, strict=True)]
    information = np.sum([one.information for one in made], axis=0)
    slope = np.sum([one.slope for one in made], axis=0)
    step = np.zeros(atoms.size)
    if not fixed:
        step = bounded_step(information, slope, atoms, may)
    steps = [one.steps(step, len(atoms)) for one in made]
    length = 1.0
    while length > SHORTEST_STEP:
        tried = np.where(may, np.maximum(atoms + length * step.reshape(atoms.shape), 0.0), 0.0)
        fresh = [
            MapState(
                np.where(one.allowed, np.maximum(state.amount + length * more, 0.0), 0.0),
                np.maximum(state.weights + length * own, 0.0),
            )
            for one, state, (own, more) in zip(maps, states, steps, strict=True)
        ]
        value = _likelihood(maps, tried, fresh)
        if value > last:
            return (*_scaled(tried, fresh), value)
        length /= 2
    return atoms, states, last


def _finished(
    maps: Sequence[GroupedCounts], atoms: np.ndarray, states: list[MapState], may: np.ndarray, gain: float
) -> PinnedFit:
    """Covariances, and what the fit expects."""
    phases, elements = atoms.shape
    information = np.sum(
        [reduced(one, atoms, s).information for one, s in zip(maps, states, strict=True)], axis=0
    )
    index = np.flatnonzero(may.ravel() & (np.diag(information) > 0))
    held = information[np.ix_(index, index)] + gauge(information, index, elements)
    joint = np.zeros((atoms.size, atoms.size))
    joint[np.ix_(index, index)] = inverse_with_open_directions(held)
    # c = a / Σa: dc = da - c Σ da
    carry = np.zeros((atoms.size, atoms.size))
    for p in range(phases):
        mine = slice(p * elements, (p + 1) * elements)
        carry[mine, mine] = np.eye(elements) - np.outer(atoms[p], np.ones(elements))
    joint = carry @ joint @ carry.T
    rows = joint.reshape(phases, elements, phases, elements)
    fitted = tuple(
        FittedMap(s.amount, s.weights, s.spectra(one, atoms)) for one, s in zip(maps, states, strict=True)
    )
    return PinnedFit(
        composition=atoms,
        covariance=np.stack([rows[p, :, p] for p in range(phases)]),
        joint=joint,
        information=np.where(np.outer(may.ravel(), may.ravel()), information, 0.0),
        maps=fitted,
        deviance=np.array([_deviance(one, f) for one, f in zip(maps, fitted, strict=True)]),
        misfit=np.array([_misfit(one, f) for one, f in zip(maps, fitted, strict=True)]),
        gain=float(gain),
    )


def _deviance(one: GroupedCounts, fitted: FittedMap) -> float:
    expected = np.maximum(fitted.expected, LEAST_EXPECTED)
    return float(2 * np.sum(expected - one.counts + xlogy(one.counts, one.counts / expected)))


def _misfit(one: GroupedCounts, fitted: FittedMap) -> float:
    counts, expected = one.counts.sum(axis=0), np.maximum(fitted.expected.sum(axis=0), LEAST_EXPECTED)
    free = int((fitted.weights > 0).sum()) + one.columns.shape[1]
    return float(np.sum((counts - expected) ** 2 / expected) / max(counts.size - free, 1))
