"""Maps as the pinned-core fit takes them: groups of photons, each map with columns of its own calibration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import xarray as xr

from edxdask import schema
from edxdask.engine.problem import Demand, photons_of
from edxdask.factorize.guidance.guide import Guide
from edxdask.factorize.guidance.request import PhysicsRequest
from edxdask.physics.conditions import Conditions
from edxdask.unmix.bases import SummedMap, guides_of
from edxdask.unmix.groups import GroupLayout, sum_groups
from edxdask.unmix.normal_equations import GroupedCounts
from edxdask.unmix.pinned import PinnedFit, fit_pinned

COLUMN_ROUNDS = 3  # of fitting, and of making columns that absorb by the composition found
SETTLED = 1e-4  # change of a composition, relative to its largest fraction, that ends these rounds


@dataclass(frozen=True)
class Reading:
    """How photons are read.

    Attributes
    ----------
    workers, memory_limit, cache : as of every photon method
    """

    workers: int | None = None
    memory_limit: str | float | None = None
    cache: str | Path | None = None


@dataclass(frozen=True, eq=False)
class GroupedMap:
    """One map: its photons in groups, and its calibrated basis.

    Attributes
    ----------
    name : in the collection
    guide : basis on this map's own energy axis, with its own width, film and detector
    layout : which group a pixel is in
    counts : (groups, E)
    start : (groups, phases) photons, about
    warnings : what is in the spectrum and was not listed, and faults of the detector
    summed : (groups,) pixels, where these are not all groups of the layout
    """

    name: str
    guide: Guide
    layout: GroupLayout
    counts: np.ndarray
    start: np.ndarray
    warnings: tuple[str, ...] = ()
    summed: np.ndarray | None = None

    def only(self, groups: np.ndarray, phase: int) -> GroupedMap:
        """Keep some groups, which hold one phase and nothing else."""
        kept = self.layout
        layout = replace(kept, allowed=kept.allowed[groups][:, [phase]], part=kept.part[groups])
        return replace(
            self,
            layout=layout,
            counts=self.counts[groups],
            start=self.start[groups][:, [phase]],
            summed=self.pixels[groups],
        )

    @property
    def pixels(self) -> np.ndarray:
        """Pixels in each group."""
        return self.layout.pixels if self.summed is None else self.summed

    @property
    def first(self) -> int:
        """First channel of use."""
        return self.guide.calibration.floor.first

    @property
    def energy(self) -> np.ndarray:
        """Energies (keV) of the channels of use, as calibrated."""
        return self.guide.calibration.energy[self.first :]

    def fitted_with(self, composition: np.ndarray, phases: Sequence[str]) -> GroupedCounts:
        """Give the numbers of a fit, with columns of phases of about this composition."""
        columns, own = phase_columns(self.guide, composition, phases)
        return GroupedCounts(
            self.counts[:, self.first :],
            self.layout.allowed,
            self.start,
            columns[:, :, self.first :],
            own[:, :, self.first :],
            self.pixels,
        )


@dataclass(frozen=True, eq=False)
class PhotonSums:
    """Photons of one map in groups, before anything is known of its energy axis.

    Attributes
    ----------
    name : in the collection
    layout : which group a pixel is in
    counts : (groups, E)
    start : (groups, phases) photons, about
    energy : (E,) keV, as the file has it
    conditions : beam, detector and film
    warnings : faults of the detector
    """

    name: str
    layout: GroupLayout
    counts: np.ndarray
    start: np.ndarray
    energy: np.ndarray
    conditions: Conditions
    warnings: tuple[str, ...] = ()

    @property
    def summed(self) -> SummedMap:
        """What a basis follows from."""
        return SummedMap(self.counts.sum(axis=0), self.energy, self.conditions)

    def with_guide(self, guide: Guide) -> GroupedMap:
        """Add the calibrated basis."""
        warnings = (*guide.warnings, *self.warnings)
        return GroupedMap(self.name, guide, self.layout, self.counts, self.start, warnings)


def read_groups(
    cube: xr.Dataset,
    layout: GroupLayout,
    fractions: np.ndarray,
    *,
    name: str = "",
    step: str = "pinned-core fit",
    reading: Reading | None = None,
) -> PhotonSums:
    """Read the photons of a map once, and sum them over groups.

    Parameters
    ----------
    cube : Dataset
        One map.
    layout : GroupLayout
        Groups of its pixels.
    fractions : ndarray
        (phases, y, x) abundances, about.
    name : str
        Of the map in its collection.
    step : str
        Name of the work, in messages.
    reading : Reading, optional
        Threads, memory and cache.
    """
    how = reading or Reading()
    size = layout.groups * cube.sizes[schema.ENERGY] * 8
    with photons_of(
        cube,
        step=step,
        demand=Demand(8, 2 * size),
        workers=how.workers,
        memory_limit=how.memory_limit,
        cache=how.cache,
    ) as problem:
        counts = sum_groups(problem, layout)
        warnings = problem.warnings
    start = layout.sums(fractions)
    start = start / np.maximum(start.sum(axis=1, keepdims=True), 1e-12) * counts.sum(axis=1, keepdims=True)
    energy = cube[schema.ENERGY].values.astype(np.float64)
    return PhotonSums(name, layout, counts, start, energy, Conditions.of(cube.attrs), warnings)


def calibrated(
    sums: Sequence[PhotonSums], request: PhysicsRequest
) -> tuple[list[GroupedMap], dict[str, str]]:
    """Calibrate all maps together, each on its own energy axis.

    Returns
    -------
    maps : list of GroupedMap
        Those that can be calibrated.
    failed : dict of str
        Why others cannot, by name.
    """
    failed: dict[str, str] = {}
    guides = guides_of({one.name: one.summed for one in sums}, request, failed) if sums else {}
    return [one.with_guide(guides[one.name]) for one in sums if one.name in guides], failed


def phase_columns(
    guide: Guide, composition: np.ndarray, phases: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Make the columns of phases on the axis of one map.

    Parameters
    ----------
    guide : Guide
        Of that map.
    composition : ndarray
        (phases, elements), about: what a phase absorbs by.
    phases : sequence of str
        Their names.

    Returns
    -------
    columns : ndarray
        (phases, elements, E) counts of one atom of each listed element, up to a factor common to all.
    own : ndarray
        (phases, own, E) unit columns that count no atoms; zero where a phase cannot hold the element.
    """
    guide = _with_free_soft_lines(guide)
    places: dict[str | int, int] = {name: row for row, name in enumerate(phases)}
    places = {label: row for label, row in places.items() if label in guide.labels}
    model = guide.model(composition, places)
    elements, last = len(guide.elements), len(guide.column_elements)
    atoms = np.einsum("pee->pe", model.atoms[:, :elements])
    columns = model.columns[:, :elements] / np.maximum(atoms, np.finfo(float).tiny)[:, :, None]
    allowed = np.ones(model.columns.shape[:2], bool) if model.allowed is None else model.allowed
    own = model.columns[:, elements:last] * allowed[:, elements:last, None]
    return columns, own


def _with_free_soft_lines(guide: Guide) -> Guide:
    """Leave L lines of elements that are counted on K lines to a column of their own.

    They lie below 1.2 keV, where absorption, efficiency and continuum are known least. Their strength, found
    on the same counts, is 1 to 3 % off, and with it iron would be 0.7 to 1 % off, two of its errors; without
    it that error is a fifth larger.
    """
    found = guide.calibration
    soft = [
        column.family == "L" and found.reference.get(column.element or "") == "K" for column in found.columns
    ]
    return replace(guide, calibration=replace(found, loose=found.loose | np.array(soft)))


def present_in(request: PhysicsRequest, phases: Sequence[str]) -> np.ndarray:
    """Say which elements each phase may hold: (phases, elements) bool."""
    gone = [request.absent.get(name, ()) for name in phases]
    return np.array([[element not in own for element in request.elements] for own in gone])


def fit_grouped(
    maps: Sequence[GroupedMap],
    phases: Sequence[str],
    composition: np.ndarray,
    present: np.ndarray,
    *,
    fixed: bool = False,
) -> PinnedFit:
    """Fit compositions common to all maps; columns follow the composition found, which decides absorption.

    Parameters
    ----------
    maps : sequence of GroupedMap
        Photons and bases.
    phases : sequence of str
        Their names.
    composition : ndarray
        (phases, elements) to begin with.
    present : ndarray of bool
        (phases, elements) what each phase may hold.
    fixed : bool
        Keep the composition.
    """
    absorbs = any(one.guide.calibration.conditions.absorbs for one in maps)
    now = composition
    for _ in range(COLUMN_ROUNDS if absorbs and not fixed else 1):
        made = [one.fitted_with(now, phases) for one in maps]
        fit = fit_pinned(made, now, present=present, fixed=fixed)
        moved = float(np.abs(fit.composition - now).max())
        now = fit.composition
        if moved < SETTLED:
            break
    return fit
