"""From a few numbers to all that a block of a tilt series needs: what ``plan`` is for maps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from types import MappingProxyType

import numpy as np

from edxdask import schema
from edxdask.errors import ParameterError
from edxdask.physics.absorption import NM_PER_CM, film_attenuation
from edxdask.physics.geometry import Detector
from edxdask.simulate.grains import sample_grid
from edxdask.simulate.kernels.absorbed import draw_absorbed
from edxdask.simulate.kernels.draw import draw_photons
from edxdask.simulate.objects import CORE_SHELL, TOMOGRAPHY
from edxdask.simulate.plan import CommonSpec, alias_tables, composition_of, dtype_for, intensities
from edxdask.simulate.recipe import ObjectRecipe
from edxdask.simulate.solids import Solids

OBJECTS: Mapping[str, ObjectRecipe] = MappingProxyType({r.name: r for r in (TOMOGRAPHY, CORE_SHELL)})
THIN_NM = 1e-3
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
    sight : of each projection and detector, or of all detectors together
    absorption : whether photons are absorbed on their path to the detectors
    voxel_nm : side of a voxel
    """

    box: tuple[int, int, int]
    grain: float | None
    margin: float
    tilt_deg: tuple[float, ...]
    shift_y: tuple[float, ...]
    shift_x: tuple[float, ...]
    rotation_deg: tuple[float, ...]
    exposure: tuple[float, ...]
    sight: tuple[tuple[float, ...], ...]
    absorption: bool
    voxel_nm: float

    def __post_init__(self) -> None:
        detectors, shaded = len(self.elevation_deg), len(self.sight[0])
        if detectors > 1 and shaded not in (1, detectors):
            expected = f"one shadow or None for each of the {detectors} detectors that elevation_deg has"
            raise ParameterError("shadows", f"{shaded} detectors", expected)

    @property
    def detector(self) -> Detector:
        """The detectors: as many as elevations, or as shadows."""
        count = max(len(self.elevation_deg), len(self.sight[0]))
        if count > 1 and len(self.elevation_deg) == 1:
            return Detector.of({schema.ELEVATION: list(self.elevation_deg * count)})
        return Detector.of({schema.ELEVATION: list(self.elevation_deg)})

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
    attenuation : (energy,), of the outermost solid, per voxel
    """

    solids: Solids
    photons_per_voxel: np.ndarray
    spectrum: np.ndarray
    composition: np.ndarray
    elements: tuple[str, ...]
    accept: np.ndarray
    alias: np.ndarray
    dtype: np.dtype
    attenuation: np.ndarray

    def draw(self, spec: SeriesSpec, tilt: int, counts: np.ndarray, y: np.ndarray, x: np.ndarray) -> None:
        """Draw the counts (y, x, energy) of pixels of one projection into zeros."""
        photons = self.photons(spec, tilt, y, x)
        first = tilt * spec.box[1] + int(y[0])  # rows of all projections, one below the other
        where = (counts, first, int(x[0]), spec.box[2])
        if not spec.absorption:
            abundance, total = fractions_of(photons)
            draw_photons(*where, total, abundance, self.accept, self.alias, spec.seed)
            return
        detector = spec.detector
        weights = detector.shares() * np.broadcast_to(spec.sight[tilt], len(detector.elevation_deg))
        chances = np.cumsum(weights) / max(weights.sum(), 1e-30)
        turn = np.deg2rad([spec.tilt_deg[tilt], spec.rotation_deg[tilt]])
        place = np.array([y[0], *spec.middle, spec.shift_y[tilt], spec.shift_x[tilt]], dtype=np.float64)
        draw_absorbed(
            *where,
            photons.sum(axis=0),
            place,
            turn,
            (self.accept, self.alias, self.photons_per_voxel / self.photons_per_voxel.max()),
            self.solids.tables,
            (chances, detector.directions(spec.tilt_deg[tilt]), self.attenuation),
            spec.seed,
        )

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
    emitted = spec.phases
    if spec.absorption:  # then a film too thin to absorb: what is absorbed depends on each photon's path
        emitted = tuple(replace(phase, thickness_nm=THIN_NM) for phase in spec.phases)
    intensity = intensities(spec, emitted)
    strength = intensity.sum(axis=1)
    spectrum = intensity / strength[:, None]
    per_nm = strength / np.array([phase.thickness_nm for phase in emitted])
    solids = OBJECTS[spec.recipe].build(spec.box, seed=spec.seed, grain=spec.grain, margin=spec.margin)
    rows, columns = sample_grid(spec.box[1:])
    untilted = solids.project(rows, columns, phases=len(spec.phases), middle=spec.middle, tilt_deg=0.0)
    bright = np.tensordot(per_nm, untilted, axes=1)
    scale = spec.counts / float(bright[bright >= THICK * bright.max()].mean())
    elements, composition = composition_of(spec.phases)
    largest = scale * per_nm.max() * 2 * solids.reach[0] * max(spec.exposure) * float(spectrum.max())
    body = spec.phases[solids.phases[0]]
    axis = schema.energy_values(spec.energy_offset, spec.energy_scale, spec.channels)
    per_cm = body.density_g_cm3 * film_attenuation(body.composition, axis)
    return SeriesPlan(
        solids,
        scale * per_nm,
        spectrum,
        composition,
        elements,
        *alias_tables(spectrum),
        dtype_for(largest),
        per_cm * spec.voxel_nm / NM_PER_CM,
    )


def fractions_of(photons: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fractions of the photons (phase, y, x), 0 where there are none, and their sum (y, x)."""
    total = photons.sum(axis=0)
    return np.divide(photons, total, out=np.zeros_like(photons), where=total > 0), total
