"""One basis for every map: energy axis and width are the map's own, strengths of lines are common to all.

Maps of one sample have axes that differ by some 15 eV and 0.2 %. Each map is calibrated on its own sum
spectrum. What a table of lines leaves open (strength of families, the smooth factor) follows from the sum of
maps that were made alike, moved to one axis: compositions can be shared only if an atom means the same in
every map. Maps of another beam, detector or film have a factor of their own, and the strengths of the group
with most photons.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from edxdask.errors import EdxdaskError, ParameterError
from edxdask.factorize.guidance.guide import Guide
from edxdask.factorize.guidance.request import PhysicsRequest
from edxdask.physics.calibration import CalibratedBasis, calibrate
from edxdask.physics.conditions import Conditions
from edxdask.unmix.verdicts import UNCALIBRATED

Made = TypeVar("Made", Guide, CalibratedBasis)

MOST_HEAVIER = 1.2  # mass thickness of a film over that of another, with which it shares a basis
LEAST_PHOTONS = 2000  # in which an energy axis can be found


@dataclass(frozen=True, eq=False)
class SummedMap:
    """What a basis follows from: the sum spectrum of one map.

    Attributes
    ----------
    counts, energy : (E,) counts; channel centres in keV as the file has them
    conditions : beam, detector and film
    """

    counts: np.ndarray
    energy: np.ndarray
    conditions: Conditions


def guides_of(
    maps: Mapping[str, SummedMap], request: PhysicsRequest, failed: dict[str, str] | None = None
) -> dict[str, Guide]:
    """Calibrate every map: one guide each, whose columns mean the same in all of them.

    Parameters
    ----------
    maps : mapping of SummedMap
        By name.
    request : PhysicsRequest
        Elements, and whether energy axes are refined.
    failed : dict, optional
        Gets the reasons of maps that cannot be calibrated, by name; these have no guide. None raises.

    Raises
    ------
    ParameterError, EdxdaskError
        Naming the map that has too few photons, or an axis that cannot be; or if no map can be calibrated.
    """
    own: dict[str, CalibratedBasis] = {}
    known: Guide | None = None
    best = ""
    for name in sorted(maps, key=lambda name: (-float(maps[name].counts.sum()), name)):
        try:
            if known is None:
                known, best = _first(name, maps[name], request), name
                own[name] = known.calibration
            else:
                own[name] = _own_axis(name, maps[name], known, request)
        except EdxdaskError as error:
            if failed is None or (known is None and len(failed) == len(maps) - 1):
                raise
            failed[name] = f"{UNCALIBRATED}: {error.__cause__ or error}"
    if known is None:
        raise ParameterError("data", list(maps), "a map with photons")
    if len(own) == 1:
        known.say()
        return {best: known}
    # lines that nobody listed are looked for in all photons: a map may have too few to show them
    total = _on_one_axis(maps, own, list(own), best)
    known = request.guide_of(total, maps[best].energy, maps[best].conditions)
    known.say()
    groups = _made_alike(maps, list(own))
    alone = len(groups) == 1
    shared = [known.calibration] if alone else [_shared(maps, own, g, known, request) for g in groups]
    shared = [shared[0], *(_with_strengths_of(shared[0], one) for one in shared[1:])]
    of = {name: basis for group, basis in zip(groups, shared, strict=True) for name in group}
    return {name: replace(known, calibration=_with_axis(of[name], own[name])) for name in maps if name in own}


def _made_alike(maps: Mapping[str, SummedMap], names: Sequence[str]) -> list[list[str]]:
    """Group maps of the same beam and detector, and about the same film; the group with most photons first.

    Examples
    --------
    >>> films = [Conditions(200.0, thickness_nm=t, density_g_cm3=4.0) for t in (100.0, 200.0, 105.0)]
    >>> made = {n: SummedMap(np.ones(2), np.ones(2), film) for n, film in zip("abc", films)}
    >>> _made_alike(made, "abc")
    [['a', 'c'], ['b']]
    """
    groups: list[list[str]] = []
    for name in names:
        alike = [group for group in groups if _is_alike(maps[group[0]].conditions, maps[name].conditions)]
        if alike:
            alike[0].append(name)
        else:
            groups.append([name])
    photons = [sum(float(maps[name].counts.sum()) for name in group) for group in groups]
    return [groups[i] for i in sorted(range(len(groups)), key=lambda i: -photons[i])]


def _is_alike(one: Conditions, other: Conditions) -> bool:
    if one.with_width(0.0).of_film(None, None) != other.with_width(0.0).of_film(None, None):
        return False
    if not (one.absorbs and other.absorbs):
        return one.absorbs == other.absorbs
    masses = [c.mass_thickness for c in (one, other)]
    return max(masses) <= MOST_HEAVIER * min(masses)


def _shared(
    maps: Mapping[str, SummedMap],
    own: Mapping[str, CalibratedBasis],
    group: Sequence[str],
    known: Guide,
    request: PhysicsRequest,
) -> CalibratedBasis:
    """Calibrate the sum of maps that were made alike."""
    first = group[0]
    return calibrate(
        _on_one_axis(maps, own, group, first),
        maps[first].energy,
        known.elements,
        maps[first].conditions,
        extra=known.calibration.extra,
        refine_axis=request.refine_axis,
    )


def _with_strengths_of(known: CalibratedBasis, own: CalibratedBasis) -> CalibratedBasis:
    """Give families the strengths found on other maps, where those have them: an atom is to mean the same."""
    found = {
        column.name: (float(strength), bool(loose))
        for column, strength, loose in zip(known.columns, known.strength, known.loose, strict=True)
    }
    pairs = [
        found.get(column.name, (float(strength), bool(loose)))
        for column, strength, loose in zip(own.columns, own.strength, own.loose, strict=True)
    ]
    strength, loose = zip(*pairs, strict=True)
    reference = own.reference | {e: known.reference[e] for e in own.reference if e in known.reference}
    return replace(own, strength=np.array(strength), loose=np.array(loose), reference=reference)


def moved_counts(counts: np.ndarray, energy: np.ndarray, to: np.ndarray) -> np.ndarray:
    """Move counts of channels at ``energy`` to channels at ``to`` (keV), in parts: for sums only.

    Examples
    --------
    >>> moved_counts(np.array([4.0, 8.0, 0.0]), np.array([1.0, 2.0, 3.0]), np.array([1.5, 2.5])).tolist()
    [6.0, 4.0]
    """
    edges, wanted = _edges(energy), _edges(to)
    return np.diff(np.interp(wanted, edges, np.concatenate([[0.0], np.cumsum(counts, dtype=np.float64)])))


def moved_spectra(spectra: np.ndarray, energy: np.ndarray, to: np.ndarray) -> np.ndarray:
    """Spectra (k, E) of unit sum on channels at ``energy``, as channels at ``to`` (keV) have them."""
    return np.array([moved_counts(one, energy, to) for one in spectra])


def _on_one_axis(
    maps: Mapping[str, SummedMap], own: Mapping[str, CalibratedBasis], names: Sequence[str], best: str
) -> np.ndarray:
    """Sum maps on the axis of the ``best``; where a map has no channels, as if it were like the best."""
    to = own[best].energy
    step, total = to[1] - to[0], np.zeros(to.size)
    for name in sorted(names):
        one, ends = maps[name], _edges(own[name].energy)[[0, -1]]
        covered = (to > ends[0] + step) & (to < ends[1] - step)
        alike = maps[best].counts * (one.counts.sum() / maps[best].counts.sum())
        total += np.where(covered, moved_counts(one.counts, own[name].energy, to), alike)
    return total


def moved_photons(counts: np.ndarray, energy: np.ndarray, to: np.ndarray, seed: int = 0) -> np.ndarray:
    """Move whole photons from channels at ``energy`` to channels at ``to`` (keV); counts stay Poisson's.

    A photon of a channel that lies in two others goes to one of them by chance, as often as the channel lies
    there; those beyond the ends are lost.

    Examples
    --------
    >>> moved = moved_photons(np.array([4, 800, 0]), np.array([1.0, 2.0, 3.0]), np.array([1.5, 2.5]))
    >>> int(moved.sum()) <= 804, abs(int(moved[1]) - 400) < 100
    (True, True)
    """
    edges, wanted = _edges(energy), _edges(to)
    rng, rest = np.random.default_rng(seed), np.asarray(counts, dtype=np.int64).copy()
    low, width = edges[:-1].copy(), np.diff(edges)
    out = np.zeros(to.size, dtype=np.int64)
    target = np.searchsorted(wanted, low, side="right") - 1  # -1: before the first channel
    beyond = max(edges[-1], wanted[-1]) + 1.0
    while rest.any():
        high = np.where(target < to.size, wanted[np.minimum(target + 1, to.size)], beyond)
        left = np.maximum(edges[1:] - low, 0.0)
        part = np.where(
            left > 1e-9 * width, np.clip((high - low) / np.maximum(left, 1e-12 * width), 0, 1), 1.0
        )
        drawn = rng.binomial(rest, part)
        inside = (target >= 0) & (target < to.size)
        np.add.at(out, target[inside], drawn[inside])
        rest, low, target = rest - drawn, np.maximum(low, high), target + 1
    return out


def _edges(energy: np.ndarray) -> np.ndarray:
    middle = (energy[1:] + energy[:-1]) / 2
    return np.concatenate(
        [[1.5 * energy[0] - 0.5 * energy[1]], middle, [1.5 * energy[-1] - 0.5 * energy[-2]]]
    )


def _first(name: str, one: SummedMap, request: PhysicsRequest) -> Guide:
    """Calibrate the main map, and find what is in it and was not listed."""
    _check_photons(name, one)
    return _calibrated(name, lambda: request.guide_of(one.counts, one.energy, one.conditions))


def _check_photons(name: str, one: SummedMap) -> None:
    if one.counts.sum() < LEAST_PHOTONS:
        raise ParameterError(
            "data",
            f"{name or 'one map'} with {int(one.counts.sum())} photons",
            f"at least {LEAST_PHOTONS}, in which its energy axis can be found",
            "Leave it out.",
        )


def _own_axis(name: str, one: SummedMap, known: Guide, request: PhysicsRequest) -> CalibratedBasis:
    """Calibrate one more map, with what was found in the first one."""
    _check_photons(name, one)

    def made() -> CalibratedBasis:
        return calibrate(
            one.counts,
            one.energy,
            known.elements,
            one.conditions,
            extra=known.calibration.extra,
            refine_axis=request.refine_axis,
        )

    return _calibrated(name, made)


def _calibrated(name: str, make: Callable[[], Made]) -> Made:
    """Calibrate a map; an error says which map it was."""
    try:
        return make()
    except ParameterError as error:
        expected = f"{error.expected}, on the axis of map {name!r}" if name else error.expected
        raise ParameterError(error.parameter, error.value, expected, error.fix) from error
    except EdxdaskError as error:
        if not name:
            raise
        raise EdxdaskError(f"map {name!r} cannot be calibrated: {error} Or leave this map out.") from error


def _with_axis(shared: CalibratedBasis, own: CalibratedBasis) -> CalibratedBasis:
    """Give the calibration of all maps on the axis of one of them."""
    factor = np.interp(own.energy, shared.energy, shared.correction)
    return replace(
        shared,
        energy=own.energy,
        axis=own.axis,
        floor=own.floor,
        below=own.below,
        conditions=own.conditions,
        correction=np.where(np.arange(own.energy.size) < own.floor.first, 1.0, factor),
        fit=own.fit,
    )
