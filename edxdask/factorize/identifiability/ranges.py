"""Ranges that the compositions, or the spectra, of phases may lie in, by linear programmes.

The region of u (``exchange``) is bounded by planes, and a composition is a ratio of two linear functions of
u: its extremes are linear programmes of k variables each.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linprog

from edxdask.factorize.identifiability.exchange import SIGMAS, GroupFit, in_windows
from edxdask.factorize.iteration.grouped import TINY, Groups
from edxdask.factorize.spectra.elemental import ElementalSpectra

# of the brightness of what lies on a film; part of the film that the spectrum must have room for
THIN, MOST_OF_FILM = 0.5, 0.6
# elements that show another phase in it: how many, their least part of that phase's peaks, how far their
# ratios may be apart, and their part of the peaks of a phase that is made of them
SEVERAL, LEAST_PART, IN_PROPORTION, MADE_OF = 2, 0.03, 1.6, 0.5
MUCH_HELD = 0.3  # of the other phase per photon: with so much of each element it may be there in any case
NEIGHBOURS = 4  # windows to either side that a peak rises above
IMPURE = 0.05  # of another phase, per photon, that the purest pixels of a gradient may hold
FAR = 1.5  # degrees, from which a spectrum counts as another one
LEAST_INFORMATION, LEAST_EXPECTED = 1e-6, 1e-9
# photons that matter absorbs: below this energy, and the least part of them that gets out of what lies on
# their source (oxygen under 50 nm of gold at a take-off angle of 18 degrees: a quarter; half in most others)
SOFT_KEV, GETS_OUT = 1.1, 0.5
HARDLY = 0.02  # part of the photons of an element
LEAST_LEFT = 0.1  # of a phase's atoms, when those of other phases in it are taken away


@dataclass(frozen=True, eq=False)
class Open:
    """What the counts leave open.

    Attributes
    ----------
    least, most : (k, k), how much of each other phase may be taken away from a phase (below zero) or added
        to it, per photon of its own
    distance, angle : (k,) largest part of a spectrum's photons that another solution has in other channels,
        and the largest angle to one, in degrees, beyond what counting alone makes of it
    low, high : (k, elements) of the composition; None without elements
    """

    least: np.ndarray
    most: np.ndarray
    distance: np.ndarray
    angle: np.ndarray
    low: np.ndarray | None = None
    high: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class _Region:
    """Linear conditions on (s, u_1 s, u_2 s, …), for one phase: s of itself, then the others.

    Attributes
    ----------
    above, zero : rows of conditions ≤ 0, and = 0
    """

    above: np.ndarray
    zero: np.ndarray

    def extreme(
        self, target: np.ndarray, scale: np.ndarray, sign: int, most: float | None = None
    ) -> np.ndarray | None:
        """Find where ``target`` is least (sign 1) or largest (-1) while ``scale`` is 1; None if nowhere.

        ``most`` is the largest s.
        """
        found = linprog(
            sign * target,
            A_ub=self.above,
            b_ub=np.zeros(len(self.above)),
            A_eq=np.vstack([scale, self.zero]),
            b_eq=np.concatenate([[1.0], np.zeros(len(self.zero))]),
            bounds=[(0, most), *[(None, None)] * (len(target) - 1)],
        )
        return np.asarray(found.x) if found.status == 0 else None


def open_ranges(
    model: ElementalSpectra | None,
    weights: np.ndarray,
    groups: Groups,
    energy: np.ndarray,
    flat: np.ndarray | None = None,
) -> Open:
    """Find what the counts of groups of pixels leave open about the phases.

    Parameters
    ----------
    model : of elements; None where ``weights`` are the spectra themselves
    weights : (k, M) as ``model`` has them, or (k, E)
    energy : (E,) keV
    flat : phases with a flat top, whose spectrum is what is there
    """
    spectra = (weights if model is None else model.spectra(weights)).astype(np.float64)
    fit = GroupFit.of(groups, spectra, flat)
    parts = _parts(fit, model, weights, spectra, energy < SOFT_KEV)
    regions = _regions(fit, parts)
    phases = len(spectra)
    least, most = np.zeros((phases, phases)), np.zeros((phases, phases))
    distance, angle = np.zeros(phases), np.zeros(phases)
    for phase, region in enumerate(regions):
        others = np.delete(np.arange(phases), phase)
        for place, other in enumerate(others, start=1):
            for sign, bound in ((1, least), (-1, most)):
                end = region.extreme(np.eye(phases)[place], np.eye(phases)[0], sign)
                if end is not None:
                    bound[phase, other] = end[place]
                    moved = end @ spectra[[phase, *others]]
                    distance[phase] = max(distance[phase], part_elsewhere(moved, spectra[phase]))
                    angle[phase] = max(angle[phase], angle_between(moved, spectra[phase]))
    angle = np.sqrt(np.maximum(angle**2 - parts.counting_angles() ** 2, 0.0))
    if model is None:
        return Open(least, most, distance, angle)
    low, high = _compositions(model, weights, regions)
    return Open(least, most, distance, angle, low, high)


def _compositions(
    model: ElementalSpectra, weights: np.ndarray, regions: list[_Region]
) -> tuple[np.ndarray, np.ndarray]:
    """Least and largest fraction of each element in each phase.

    A photon means as many atoms as in this phase, wherever else it might come from: what lies on a film is
    not absorbed as the film is. Where all atoms could be those of other phases, within the errors, ratios of
    what is left have no bounds: some atoms are its own.
    """
    phases = len(weights)
    per_photon = np.broadcast_to(model.atoms, (phases, *model.atoms.shape[1:]))
    low = model.composition(weights)
    high = low.copy()
    for phase, region in enumerate(regions):
        mine = weights[[phase, *np.delete(np.arange(phases), phase)]] @ per_photon[phase]
        most = 1 / (LEAST_LEFT * max(float(mine[0].sum()), TINY))
        for element in range(mine.shape[1]):
            for sign, bound in ((1, low), (-1, high)):
                end = region.extreme(mine[:, element], mine.sum(axis=1), sign, most)
                if end is not None:
                    bound[phase, element] = np.clip(end @ mine[:, element], 0.0, 1.0)
    return low, high


def _regions(fit: GroupFit, parts: _Parts) -> list[_Region]:
    """Conditions on what each phase may be: no abundance and no weight clearly below zero.

    From a phase that is pure in many pixels nothing needs to be taken away, unless it may lie on a film of
    another phase that is as thick everywhere, has all elements of another pure phase (in its proportions or
    much of each), which may lie above or below it, or its purest pixels are not alike, as in a gradient.
    """
    pure, plateau, brightness = fit.pure(), fit.has_plateau(), fit.brightness()
    phases, regions = len(parts.own), []
    for phase in range(phases):
        others = np.delete(np.arange(phases), phase)
        rows, allowed = parts.own[[phase, *others]], parts.allowed[phase]
        if not plateau[phase]:  # what lies below it may have lost some of its soft photons on their path
            rows[1:, parts.soft] *= GETS_OUT
        loose = np.zeros_like(rows)
        loose[0] = SIGMAS * parts.errors[phase]
        above = [-(rows + loose).T[allowed]]
        for place, other in enumerate(others, start=1):
            limit = np.eye(phases)[place]
            limit[0] = -fit.most_of(int(other), phase)
            above.append(limit[None])
        ruled_out = rows.T[~allowed]
        zero = ruled_out[(ruled_out > 0).any(axis=1)]
        for place, other in enumerate(others, start=1):
            film = bool(pure[other]) and brightness[other] < THIN * brightness[phase]
            # a film is below all that is pure somewhere
            below = film and all(
                parts.has_room(one, int(other), brightness)
                for one in range(phases)
                if one != other and (pure[one] or one == phase)
            )
            within = bool(pure[other]) and parts.may_hold(phase, int(other))
            if pure[phase] and not below and not within:
                limit = -np.eye(phases)[place]
                limit[0] = 0.0 if plateau[phase] else -IMPURE
                above.append(limit[None])
        regions.append(_Region(np.vstack(above), zero))
    return regions


@dataclass(frozen=True, eq=False)
class _Parts:
    """What cannot be below zero in the spectra of phases: elements, or windows of channels.

    Attributes
    ----------
    own, errors : (k, parts), and the error of each if all else were known
    allowed : (k, parts)
    elements : (parts,) whether a part is an element
    soft : (parts,) whether all its photons are below ``SOFT_KEV``
    """

    own: np.ndarray
    errors: np.ndarray
    allowed: np.ndarray
    elements: np.ndarray
    soft: np.ndarray

    def counting_angles(self) -> np.ndarray:
        """Degrees by which ``SIGMAS`` counting errors turn each spectrum, (k,)."""
        errors, lengths = np.linalg.norm(self.errors, axis=1), np.linalg.norm(self.own, axis=1)
        return np.asarray(np.degrees(SIGMAS * errors / np.maximum(lengths, TINY)))

    def has_room(self, phase: int, other: int, brightness: np.ndarray) -> bool:
        """Say whether most of a film of another phase may be in the spectrum of this one."""
        film = brightness[other] / max(float(brightness[phase]), TINY)
        return bool(
            (self.own[phase] + SIGMAS * self.errors[phase] >= MOST_OF_FILM * film * self.own[other]).all()
        )

    def may_hold(self, phase: int, other: int) -> bool:
        """Say whether a phase has all elements of another one, several: in its proportions, or much of each.

        Elements that a third phase is made of say nothing: it may be there as well. Where no elements are
        known, peaks above ``SOFT_KEV`` are held against one another.
        """
        if self.elements.any():
            own, asked = self.own, self.elements
        else:
            own, asked = above_neighbours(self.own), ~self.soft
        whole = own[:, asked].sum(axis=1, keepdims=True)
        most = own / np.maximum(whole, TINY)
        third = np.delete(most, [phase, other], axis=0)
        there = asked & (most[other] > LEAST_PART) & ~(third > MADE_OF).any(axis=0)
        if np.count_nonzero(there) < SEVERAL:
            return False
        ratio = own[phase, there] / own[other, there]
        error = SIGMAS * self.errors[phase, there] / own[other, there]
        least = (ratio + error).min()
        return bool((ratio - error).max() <= IN_PROPORTION * least or least >= MUCH_HELD)


def _parts(
    fit: GroupFit,
    model: ElementalSpectra | None,
    weights: np.ndarray,
    spectra: np.ndarray,
    soft: np.ndarray,
) -> _Parts:
    expected = np.maximum(fit.abundance @ spectra, LEAST_EXPECTED)
    if model is None:
        own = in_windows(spectra)
        information = (fit.abundance**2).T @ (1 / in_windows(expected))
        errors = np.sqrt(fit.misfit / np.maximum(information, LEAST_INFORMATION))
        soft_parts = in_windows((~soft)[None].astype(float))[0] == 0
        return _Parts(own, errors, np.ones(own.shape, bool), np.zeros(own.shape[1], bool), soft_parts)
    columns = np.broadcast_to(model.columns, (len(weights), *model.columns.shape[1:]))
    inverse = (fit.abundance**2).T @ (1 / expected)
    information = np.einsum("ke,kme->km", inverse, columns**2)
    errors = np.sqrt(fit.misfit / np.maximum(information, LEAST_INFORMATION))
    elements = (model.atoms > 0).any(axis=(0, 2))
    allowed = np.ones(weights.shape, bool) if model.allowed is None else model.allowed
    # the counts hardly tell the shapes of the continuum apart: one part
    own = np.column_stack([weights[:, elements], weights[:, ~elements].sum(axis=1)])
    errors = np.column_stack([errors[:, elements], np.hypot.reduce(errors[:, ~elements], axis=1)])
    allowed = np.column_stack([allowed[:, elements], np.ones(len(weights), bool)])
    hard = columns[0][:, ~soft].sum(axis=1)
    return _Parts(
        own,
        errors,
        allowed,
        np.append(np.ones(np.count_nonzero(elements), bool), False),
        np.append(hard[elements] < HARDLY, False),
    )


def above_neighbours(windows: np.ndarray) -> np.ndarray:
    """Give what each window of spectra (k, windows) has above the lowest ones on either side of it.

    Examples
    --------
    >>> above_neighbours(np.array([[1.0, 1.0, 5.0, 2.0, 2.0]])).tolist()
    [[0.0, 0.0, 3.0, 0.0, 0.0]]
    """
    padded = np.pad(windows, ((0, 0), (NEIGHBOURS, NEIGHBOURS)), mode="edge")
    pieces = np.lib.stride_tricks.sliding_window_view(padded, NEIGHBOURS + 1, axis=1).min(axis=2)
    before, after = pieces[:, : windows.shape[1]], pieces[:, NEIGHBOURS:]
    return np.asarray(windows - np.maximum(before, after))


def part_elsewhere(moved: np.ndarray, spectrum: np.ndarray) -> float:
    """Part of the photons that lies in other channels: half the sum of differences of unit spectra."""
    moved = np.maximum(moved, 0.0)
    return float(0.5 * np.abs(moved / max(moved.sum(), TINY) - spectrum / max(spectrum.sum(), TINY)).sum())


def angle_between(moved: np.ndarray, spectrum: np.ndarray) -> float:
    """Degrees between two spectra."""
    lengths = np.linalg.norm(moved) * np.linalg.norm(spectrum)
    return float(np.degrees(np.arccos(np.clip(moved @ spectrum / max(lengths, TINY), -1.0, 1.0))))
