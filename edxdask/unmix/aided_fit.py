"""From the sums of all maps to compositions: width of the core, subtraction, pinned-core fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edxdask.errors import ParameterError
from edxdask.factorize.guidance.guide import Guide
from edxdask.progress import Progress, ProgressHook
from edxdask.unmix.bases import guides_of, moved_photons
from edxdask.unmix.core import CoreChoice, RingCounts, choose_core
from edxdask.unmix.grouped_maps import GroupedMap, fit_grouped, phase_columns, present_in
from edxdask.unmix.judge import fraction_names, verdicts_of
from edxdask.unmix.known_phases import KnownPhases
from edxdask.unmix.masked_maps import MaskedMap
from edxdask.unmix.other_lines import by_other_lines
from edxdask.unmix.pinned import PinnedFit
from edxdask.unmix.rings import joined_sums
from edxdask.unmix.subtraction import Amounts, MapSpectra, Subtracted, region_amounts, subtract
from edxdask.unmix.verdicts import MapVerdict

LEAST_SIGMA = 5.0  # of an absent element in the matrix, which the subtraction is scaled on
MOST_SIGMA = 3.0  # by which two estimates may differ
LEAST_FAR = (
    0.2  # of the photons of a mixture that must be far from other precipitates to do without the others
)
LEAST_START = 1e-4  # atomic fraction that a fit begins with


@dataclass(frozen=True, eq=False)
class AidedFit:
    """What the sums of all maps say.

    Attributes
    ----------
    choice : width of the core
    guides : calibrated basis of every map
    pinned : compositions of the pinned-core fit
    spread : (phases, elements) what families of lines of one element contradict each other by
    subtracted : compositions (phases, elements) of the published subtraction, and their errors
    spectra : (phases, E) of unit sum, by map
    main : name of the map with the most photons, whose axis serves for what is common to all
    sums, sums_std : (phases, E) counts on the axis of that map: the core of the matrix; masks less it
    warnings : what a person should know
    verdicts : of every map of a collection, whether it belongs to the others
    """

    choice: CoreChoice
    guides: Mapping[str, Guide]
    pinned: PinnedFit
    spread: np.ndarray
    subtracted: Amounts
    spectra: Mapping[str, np.ndarray]
    main: str
    sums: np.ndarray
    sums_std: np.ndarray
    warnings: tuple[str, ...]
    verdicts: tuple[MapVerdict, ...] = ()

    @property
    def strangers(self) -> dict[str, str]:
        """Maps that do not belong to the others, and why not."""
        return {one.name: one.reason for one in self.verdicts if not one.belongs}


@dataclass(frozen=True, eq=False)
class _Calibrated:
    """One map with its columns.

    Attributes
    ----------
    columns : (phases, elements, E) and own columns (phases, own, E), of all channels
    """

    map: MaskedMap
    guide: Guide
    columns: np.ndarray
    own: np.ndarray

    @property
    def first(self) -> int:
        """First channel of use."""
        return self.guide.calibration.floor.first

    @property
    def usable(self) -> np.ndarray:
        """Counts (groups, E) in usable channels."""
        return self.map.counts[:, self.first :]

    @property
    def matrix_columns(self) -> np.ndarray:
        """All columns (M, E) of the matrix, in usable channels."""
        return np.concatenate([self.columns[0], self.own[0]])[:, self.first :]

    def core(self, width: int) -> np.ndarray:
        """Sum the core of the matrix over all channels: (E,)."""
        return np.asarray(self.map.counts[self.map.rings.nearest > width].sum(axis=0))

    def mixtures(self, width: int, row: int) -> tuple[np.ndarray, np.ndarray]:
        """Sum a mask: far from other precipitates, and where just none of them is: (E,) each."""
        rings = self.map.rings
        others = np.delete(np.arange(rings.ring.shape[1]), row)
        masked, near = rings.masked[:, row], rings.near(width)[:, others].any(axis=1)
        among = (rings.ring[:, others] == 0).any(axis=1)
        counts = self.map.counts
        return counts[masked & ~near].sum(axis=0), counts[masked & ~among].sum(axis=0)


def fit_maps(
    maps: Sequence[MaskedMap],
    known: KnownPhases,
    core: int | None,
    unread: Mapping[str, str] | None = None,
    progress: ProgressHook | None = None,
) -> AidedFit:
    """Find compositions from the sums of all maps, and judge whether each belongs to the others.

    Parameters
    ----------
    maps : sequence of MaskedMap
        Sums of groups of pixels.
    known : KnownPhases
        Names, elements, absences.
    core : int, optional
        Width of the margin around masks, px; None chooses it.
    unread : mapping of str, optional
        Why other maps cannot be read. Where it is given, maps that cannot be calibrated are left out as well;
        all these do not belong to the others.
    progress : callable, optional
        Gets a report after every fit.

    Raises
    ------
    ParameterError
        If a precipitate has no pixels of its own, or the matrix lacks an absent element too.
    """
    failed = dict(unread or {})
    sums_of_maps = {one.name: one.summed for one in maps}
    guides = guides_of(sums_of_maps, known.request, None if unread is None else failed)
    begun = known.composition
    mean = next(iter(guides.values())).calibration.mean_composition
    about = np.array([[mean[e] for e in known.elements]] * len(known.names)) if begun is None else begun
    ready = [
        _Calibrated(one, guides[one.name], *phase_columns(guides[one.name], about, known.names))
        for one in maps
        if one.name in guides
    ]
    sums = [RingCounts(one.map.rings, one.usable, one.matrix_columns) for one in ready]
    choice = choose_core(sums, known.names, known.elements, core)
    regions = _regions(ready, known, choice.width)
    found = _region_atoms(ready, regions, known)
    _check_matrix_holds(known, found[0])
    parts = _subtracted(ready, known, found)
    subtracted = [found[0].fractions(), *(part.composition for part in parts)]
    if begun is None:
        rows = [one.weights if np.isfinite(one.weights).all() else about[0] for one in subtracted]
        begun = np.maximum(rows, LEAST_START)
    present = present_in(known.request, known.names)
    grouped = [_grouped(one, choice.width) for one in ready]
    pinned = fit_grouped(grouped, known.names, begun * present, present)
    others = by_other_lines(grouped, known.names, known.elements, pinned, present, known.names)
    verdicts = _judged(grouped, known, pinned, present, failed, progress)
    values = Amounts(
        np.array([one.weights for one in subtracted]), np.array([one.covariance for one in subtracted])
    )
    return AidedFit(
        choice,
        guides,
        pinned,
        others.spread,
        values,
        {one.map.name: _whole(fitted.spectra, one) for one, fitted in zip(ready, pinned.maps, strict=True)},
        _main(ready).map.name,
        *_spectra_of_sums(ready, regions, parts),
        (*choice.warnings, *_differences(known, pinned, subtracted), *others.warnings),
        verdicts,
    )


def _judged(
    maps: Sequence[GroupedMap],
    known: KnownPhases,
    fit: PinnedFit,
    present: np.ndarray,
    failed: Mapping[str, str],
    progress: ProgressHook | None,
) -> tuple[MapVerdict, ...]:
    """Compare the maps of a collection by fits of each of them alone."""
    if len(maps) + len(failed) < 2:
        return ()
    fits = []
    for done, one in enumerate(maps, start=1):
        fits.append(fit_grouped([one], known.names, fit.composition, present))
        if progress:
            progress(Progress("fits", done, len(maps), "map"))
    names = fraction_names(known.elements, known.names)
    return tuple(verdicts_of(maps, fits, failed, names).values())


def _regions(ready: Sequence[_Calibrated], known: KnownPhases, width: int) -> list[np.ndarray]:
    """Sum the core of the matrix, and the mixture of every precipitate with it: (phases, E) of each map.

    Pixels of a mixture are far from other precipitates, unless that leaves too few of its photons.
    """
    out = [[one.core(width)] for one in ready]
    for row, name in enumerate(known.precipitates):
        sums = [one.mixtures(width, row) for one in ready]
        far, apart = (sum(float(pair[i].sum()) for pair in sums) for i in (0, 1))
        if not apart > 0:
            raise ParameterError(
                "masks",
                name,
                "pixels in its mask where no other precipitate is",
                f"Draw it: user_masks={{{name!r}: 'mask.png'}}.",
            )
        which = 0 if far > LEAST_FAR * apart else 1
        for spectra, pair in zip(out, sums, strict=True):
            spectra.append(pair[which])
    return [np.array(spectra) for spectra in out]


def _region_atoms(
    ready: Sequence[_Calibrated], regions: Sequence[np.ndarray], known: KnownPhases
) -> list[Amounts]:
    """Find the atoms in the core of the matrix and in every mixture, over all maps."""
    spectra = [
        MapSpectra(counts[:, one.first :], one.matrix_columns)
        for one, counts in zip(ready, regions, strict=True)
    ]
    return [amounts.atoms(len(known.elements)) for amounts in region_amounts(spectra)]


def _check_matrix_holds(known: KnownPhases, matrix: Amounts) -> None:
    """Refuse an absent element that the matrix lacks as well: nothing could be scaled on it."""
    for name in known.precipitates:
        rows = known.absent_rows(name)
        if any(matrix.weights[row] > LEAST_SIGMA * matrix.errors[row] for row in rows):
            continue
        held = [
            e
            for e, w, s in zip(known.elements, matrix.weights, matrix.errors, strict=True)
            if w > LEAST_SIGMA * s
        ]
        raise ParameterError(
            f"absent[{name!r}]",
            [known.elements[row] for row in rows],
            f"an element that the matrix {known.matrix!r} holds, which shows how much of it is in {name!r} "
            "(the matrix lacks it too)",
            f"It holds {', '.join(held)}.",
        )


def _subtracted(
    ready: Sequence[_Calibrated], known: KnownPhases, found: Sequence[Amounts]
) -> list[Subtracted]:
    """Subtract the matrix from every mixture."""
    best = _main(ready)
    counted = best.columns[:, :, best.first :].sum(axis=2)
    yields = counted[:1] / np.where(counted > 0, counted, 1.0)
    return [
        subtract(found[row], found[0], known.absent_rows(name), np.where(counted[row] > 0, yields[row], 1.0))
        for row, name in enumerate(known.names)
        if row > 0
    ]


def _main(ready: Sequence[_Calibrated]) -> _Calibrated:
    """Give the map with the most photons: its axis is that of what is common to all."""
    return max(ready, key=lambda one: float(one.map.counts.sum()))


def _grouped(one: _Calibrated, width: int) -> GroupedMap:
    """Join the groups beyond ``width`` to a core, as the pinned-core fit takes them."""
    layout, joined = one.map.rings.with_core(width)
    counts = joined_sums(one.map.counts, joined)
    fractions = joined_sums(one.map.start.T * one.map.rings.pixels[:, None], joined) / layout.pixels[:, None]
    start = np.where(layout.allowed, fractions, 0.0)
    start = start / np.maximum(start.sum(axis=1, keepdims=True), 1e-12) * counts.sum(axis=1, keepdims=True)
    return GroupedMap(one.map.name, one.guide, layout, counts, start, one.map.warnings)


def _whole(spectra: np.ndarray, one: _Calibrated) -> np.ndarray:
    """Spectra of unit sum on all channels; those below the first usable one are zeros."""
    out = np.zeros((len(spectra), one.map.energy.size))
    out[:, one.first :] = spectra / spectra.sum(axis=1, keepdims=True)
    return out


def _spectra_of_sums(
    ready: Sequence[_Calibrated], regions: Sequence[np.ndarray], parts: Sequence[Subtracted]
) -> tuple[np.ndarray, np.ndarray]:
    """Add up counts of the core, and of masks less the matrix, on the axis of the main map; and errors."""
    best = _main(ready)
    to = best.guide.calibration.energy
    total = np.zeros((len(parts) + 1, to.size))
    for one, spectra in zip(ready, regions, strict=True):
        energy, seed = one.guide.calibration.energy, int(one.map.counts.sum())
        total += spectra if one is best else [moved_photons(s, energy, to, seed) for s in spectra]
    core, mixtures = total[0], total[1:]
    scale = np.array([[part.scale, part.scale_std] for part in parts])
    left = mixtures - scale[:, :1] * core
    errors = np.sqrt(mixtures + scale[:, :1] ** 2 * core + (scale[:, 1:] * core) ** 2)
    return np.vstack([core, left]), np.vstack([np.sqrt(core), errors])


def _differences(known: KnownPhases, pinned: PinnedFit, subtracted: Sequence[Amounts]) -> list[str]:
    """Name the elements where both estimates differ by more than their errors allow."""
    texts = []
    for row, name in enumerate(known.names):
        if not np.isfinite(subtracted[row].weights).all():
            texts.append(
                f"{name}: nothing is left of its mask once the matrix is subtracted; look at the mask"
            )
            continue
        error = np.hypot(pinned.errors[row], subtracted[row].errors)
        gap = np.abs(pinned.composition[row] - subtracted[row].weights)
        gone = known.absent_rows(name) if row > 0 else []
        far = [i for i in np.flatnonzero(gap > MOST_SIGMA * error) if i not in gone]
        if far:
            said = ", ".join(f"{known.elements[i]} by {gap[i] / error[i]:.1f} σ" for i in far)
            texts.append(
                f"{name}: the pinned-core fit and the subtraction differ in {said}; look at the masks, the "
                "core, and lines that nobody listed"
            )
    return texts
