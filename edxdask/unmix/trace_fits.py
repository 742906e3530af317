"""Fits of the traces of one phase: of single maps, of all together, and of growing parts of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from edxdask.physics.lines import Line
from edxdask.unmix.detection import PeakSums, peak_sums
from edxdask.unmix.grouped_maps import GroupedMap, fit_grouped, present_in
from edxdask.unmix.groups import PARTS
from edxdask.unmix.growth import GrowthStep, map_numbers
from edxdask.unmix.inputs import PhasesOfMaps
from edxdask.unmix.normal_equations import GroupedCounts
from edxdask.unmix.pinned import FittedMap, PinnedFit

LEAST_OF_PHASE = 0.1  # fraction of a group's photons that makes it one of a precipitate


@dataclass(frozen=True, eq=False)
class FittedMaps:
    """A fit of some maps, and its peaks.

    Attributes
    ----------
    maps, numbers : that were fitted
    fit : compositions
    peaks : counts in the windows of lines, summed over the maps
    pixels, photons : whose counts these are
    """

    maps: tuple[GroupedMap, ...]
    numbers: tuple[GroupedCounts, ...]
    fit: PinnedFit
    peaks: PeakSums
    pixels: float
    photons: float


@dataclass(frozen=True, eq=False)
class TraceWork:
    """Fits of one phase's traces.

    Attributes
    ----------
    given : maps and phases
    phase : number of the phase
    elements : to report
    lines : peaks that may show them
    """

    given: PhasesOfMaps
    phase: int
    elements: tuple[str, ...]
    lines: tuple[Line, ...]

    @property
    def rows(self) -> list[int]:
        """Numbers of the elements to report."""
        return [self.given.request.elements.index(e) for e in self.elements]

    @property
    def present(self) -> np.ndarray:
        """What phases may hold."""
        return present_in(self.given.request, self.given.phases)

    def fit(self, maps: Sequence[GroupedMap]) -> FittedMaps:
        """Fit maps together, and sum their peaks."""
        phases = self.given.phases
        fit = fit_grouped(maps, phases, self.given.composition, self.present)
        numbers = tuple(one.fitted_with(fit.composition, phases) for one in maps)
        groups = [
            self.groups(one, counts, fitted)
            for one, counts, fitted in zip(maps, numbers, fit.maps, strict=True)
        ]
        peaks = [
            peak_sums(one, counts, fitted, fit.composition, self.phase, used, self.lines)
            for one, counts, fitted, used in zip(maps, numbers, fit.maps, groups, strict=True)
        ]
        pixels = sum(float(one.pixels[used].sum()) for one, used in zip(numbers, groups, strict=True))
        photons = sum(float(one.counts[used].sum()) for one, used in zip(numbers, groups, strict=True))
        return FittedMaps(tuple(maps), numbers, fit, sum(peaks[1:], peaks[0]), pixels, photons)

    def groups(self, one: GroupedMap, numbers: GroupedCounts, fitted: FittedMap) -> np.ndarray:
        """Choose groups that show the phase: the core of the matrix; pixels that hold a precipitate."""
        if self.phase == self.given.home:
            return one.layout.core
        photons = fitted.amount * fitted.spectra.sum(axis=1)
        part = photons[:, self.phase] / np.maximum(photons.sum(axis=1), 1e-300)
        return np.asarray(numbers.allowed[:, self.phase] & (part > LEAST_OF_PHASE))

    def growth(self, maps: Sequence[GroupedMap]) -> list[GrowthStep]:
        """Sum more and more pixels: parts of the core of the first map that has one, then more maps."""
        if self.phase != self.given.home:
            fits = [self.fit(maps[:number]) for number in map_numbers(len(maps))]
            return [self._step(found, len(found.maps), self.phase) for found in fits]
        cores = [one.only(one.layout.core, self.phase) for one in maps]
        cores = [core for core in cores if core.counts.sum() > 0]
        parts = [cores[0].only(cores[0].layout.part <= last, 0) for last in range(len(PARTS) - 1)]
        steps = [self._core_step([part]) for part in parts if part.counts.sum() > 0]
        return steps + [self._core_step(cores[:number]) for number in map_numbers(len(cores))]

    def _core_step(self, cores: Sequence[GroupedMap]) -> GrowthStep:
        """Fit the core alone: it holds the matrix and nothing else."""
        name = self.given.phases[self.phase]
        alone = replace(
            self.given,
            phases=(name,),
            matrix=name,
            composition=self.given.composition[[self.phase]],
        )
        found = TraceWork(alone, 0, self.elements, self.lines).fit(cores)
        return self._step(found, len(cores), 0)

    def _step(self, found: FittedMaps, maps: int, row: int) -> GrowthStep:
        fit = found.fit
        return GrowthStep(found.pixels, maps, found.peaks, fit.composition[row], fit.errors[row])
