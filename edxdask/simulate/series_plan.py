"""From a few numbers to all that a block of a tilt series needs: what ``plan`` is for maps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

import numpy as np

from edxdask.simulate.grains import sample_grid
from edxdask.simulate.objects import CORE_SHELL, TOMOGRAPHY
from edxdask.simulate.plan import CommonSpec, alias_tables, composition_of, dtype_for, intensities
from edxdask.simulate.recipe import ObjectRecipe
from edxdask.simulate.solids import Solids

OBJECTS: Mapping[str, ObjectRecipe] = MappingProxyType({r.name: r for r in (TOMOGRAPHY, CORE_SHELL)})
THICK = 0.25  # pixels whose untilted projection is at least this fraction of its largest are the thick part


@dataclass(frozen=True)
class SeriesSpec(CommonSpec):
    """Everything that decides the counts of a tilt series.

    Attributes
    ----------
    box : voxels along z, y and x
    grain : diameter of a grain in voxels, or None
    margin : rows that stay empty at both ends
    tilt_deg, shift_y, shift_x, rotation_deg, exposure : of each projection
    """

    box: tuple[int, int, int]
    grain: float | None
    margin: float
    tilt_deg: tuple[float, ...]
    shift_y: tuple[float, ...]
    shift_x: tuple[float, ...]
    rotation_deg: tuple[float, ...]
    exposure: tuple[float, ...]

    @property
    def middle(self) -> tuple[float, float]:
        """Row and column of the middle of a projection."""
        return (self.box[1] - 1) / 2, (self.box[2] - 1) / 2


@dataclass(frozen=True, eq=False)
class SeriesPlan:
    """What a block is drawn from.

    Attributes
    ----------
    photons_per_voxel : (phase,), at exposure 1
    spectrum : (phase, energy), rows sum to 1
    composition : (phase, element), rows sum to 1
    accept, alias : (phase, energy), the alias tables of ``spectrum``
    """

    solids: Solids
    photons_per_voxel: np.ndarray
    spectrum: np.ndarray
    composition: np.ndarray
    elements: tuple[str, ...]
    accept: np.ndarray
    alias: np.ndarray
    dtype: np.dtype

    def photons(self, spec: SeriesSpec, tilt: int, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Compute the expected photons of each phase in pixels of one projection: (phase, y, x)."""
        lengths = self.solids.project(
            y,
            x,
            phases=self.spectrum.shape[0],
            middle=spec.middle,
            tilt_deg=spec.tilt_deg[tilt],
            shift=(spec.shift_y[tilt], spec.shift_x[tilt]),
            rotation_deg=spec.rotation_deg[tilt],
        )
        return lengths * (spec.exposure[tilt] * self.photons_per_voxel)[:, None, None]


@lru_cache(maxsize=8)
def make_series_plan(spec: SeriesSpec) -> SeriesPlan:
    """Place the solids and work out spectra, yields and alias tables."""
    intensity = intensities(spec, spec.phases)
    strength = intensity.sum(axis=1)
    spectrum = intensity / strength[:, None]
    per_nm = strength / np.array([phase.thickness_nm for phase in spec.phases])
    solids = OBJECTS[spec.recipe].build(spec.box, seed=spec.seed, grain=spec.grain, margin=spec.margin)
    rows, columns = sample_grid(spec.box[1:])
    untilted = solids.project(rows, columns, phases=len(spec.phases), middle=spec.middle, tilt_deg=0.0)
    bright = np.tensordot(per_nm, untilted, axes=1)
    scale = spec.counts / float(bright[bright >= THICK * bright.max()].mean())
    elements, composition = composition_of(spec.phases)
    largest = scale * per_nm.max() * 2 * solids.reach[0] * max(spec.exposure) * float(spectrum.max())
    return SeriesPlan(
        solids, scale * per_nm, spectrum, composition, elements, *alias_tables(spectrum), dtype_for(largest)
    )
