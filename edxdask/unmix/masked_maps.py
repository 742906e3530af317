"""One map of an aided unmixing: its masks, and its photons in groups, in one pass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr

from edxdask import schema
from edxdask.engine.problem import Demand, photons_of
from edxdask.errors import ParameterError, SchemaError
from edxdask.physics.conditions import Conditions
from edxdask.unmix.bases import SummedMap, moved_spectra
from edxdask.unmix.grouped_maps import Reading
from edxdask.unmix.groups import sum_groups
from edxdask.unmix.known_phases import KnownPhases
from edxdask.unmix.masks import MaskPlan
from edxdask.unmix.masks_abundance import Rule
from edxdask.unmix.masks_potts import log_ratios
from edxdask.unmix.pixel_sums import projected
from edxdask.unmix.regions import Regions
from edxdask.unmix.rings import REACH, Rings

GROUPS = 300  # of a map, about
MASK_BYTES = 64  # of a pixel: the graph of a Potts cut, distances


@dataclass(frozen=True, eq=False)
class MaskedMap:
    """What is kept of one map after its photons were read.

    Attributes
    ----------
    name : in the collection
    regions : masks
    rings : groups of pixels
    counts : (groups, E)
    energy, conditions : axis in keV as the file has it; beam, detector and film
    start : (phases, groups) fractions, about
    warnings : faults of the detector and the scan
    """

    name: str
    regions: Regions
    rings: Rings
    counts: np.ndarray
    energy: np.ndarray
    conditions: Conditions
    start: np.ndarray
    warnings: tuple[str, ...]

    @property
    def summed(self) -> SummedMap:
        """Sum spectrum, which the basis follows from."""
        return SummedMap(self.counts.sum(axis=0), self.energy, self.conditions)


def check_maps(cubes: Mapping[str, xr.Dataset], known: KnownPhases, plan: MaskPlan) -> None:
    """Refuse cubes that are no maps over y and x, and abundances that are not theirs.

    Raises
    ------
    SchemaError, ParameterError
        Naming the map.
    """
    for name, cube in cubes.items():
        said = f"map {name!r}" if name else "the map"
        schema.validate_cube(cube, name=name or "data")
        pixels = schema.pixel_dims(cube)
        if pixels != (schema.Y, schema.X):
            raise SchemaError(
                f"{said} has the pixel dimensions {pixels}; masks need y and x: take one image, "
                "or sum the frames with edxdask.sum_frames"
            )
        shape = tuple(cube.sizes[d] for d in pixels)
        found = known.fractions.shape(name)
        if found is not None and found != shape:
            raise ParameterError(
                "result",
                f"abundances of {found} pixels",
                f"those of {said}, which has {shape}",
                "Was the result made from another map?",
            )
        if found is None and plan.needs_abundances:
            raise ParameterError(
                "result",
                list(known.fractions),
                f"abundances of {said}, which masks={set(plan.methods.values())} need",
                "masks='potts' needs none.",
            )


def read_masked(
    cube: xr.Dataset,
    name: str,
    known: KnownPhases,
    plan: MaskPlan,
    rules: Mapping[str, Rule],
    *,
    reach: int = REACH,
    reading: Reading | None = None,
) -> MaskedMap:
    """Read the photons of a map once: make its masks, and sum its pixels in groups.

    Parameters
    ----------
    cube : Dataset
        One map.
    name : str
        In its collection.
    known : KnownPhases
        Spectra and abundances.
    plan : MaskPlan
        How masks are made.
    rules : mapping
        Of masks that follow from abundances.
    reach : int
        Farthest ring around the masks.
    reading : Reading, optional
        Threads, memory and cache.
    """
    how, energy = reading or Reading(), cube[schema.ENERGY].values.astype(np.float64)
    fractions = known.fractions.get(name)
    shape = (cube.sizes[schema.Y], cube.sizes[schema.X])
    with photons_of(
        cube,
        step="aided",
        demand=Demand(MASK_BYTES + 8 * len(known.names), 2 * 8 * GROUPS * energy.size),
        workers=how.workers,
        memory_limit=how.memory_limit,
        cache=how.cache,
    ) as problem:
        ratios: dict[str, np.ndarray] = {}
        if plan.needs_photons:
            spectra = moved_spectra(known.spectra, known.energy, energy)
            table = log_ratios(known.purest @ spectra, spectra[1:])
            table[:, energy < problem.floor.energy_kev] = 0.0  # no photons of lines are there
            maps = projected(problem, table).T.reshape(-1, *shape)
            ratios = dict(zip(known.precipitates, maps, strict=True))
        regions = plan.regions(name, rules, fractions, ratios)
        more = None if fractions is None else fractions[1:] - known.purest[1:, None, None]
        rings = Rings.of(regions, more, reach)
        counts = sum_groups(problem, rings.layout)
        warnings = problem.warnings
    return MaskedMap(
        name,
        regions,
        rings,
        counts,
        energy,
        Conditions.of(cube.attrs),
        _start(regions, rings, fractions),
        warnings,
    )


def _start(regions: Regions, rings: Rings, fractions: np.ndarray | None) -> np.ndarray:
    """Fractions (phases, groups) to begin with."""
    if fractions is None:
        inside = 0.5 * regions.masks / np.maximum(regions.masks.sum(axis=0), 1)
        fractions = np.concatenate([1.0 - inside.sum(axis=0, keepdims=True), inside])
    return (rings.layout.sums(fractions) / rings.pixels[:, None]).T
