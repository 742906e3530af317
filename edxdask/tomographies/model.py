"""How projections follow from volumes: where each looks from, how bright it is, what a full voxel emits."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import xarray as xr

from edxdask import schema
from edxdask.errors import ParameterError
from edxdask.results.kinds import said
from edxdask.tomo.alignment import Alignment, align_images
from edxdask.tomo.alignment_images import stack_of
from edxdask.tomo.geometry import TiltGeometry
from edxdask.tomo.sight import exposure_of
from edxdask.tomographies.options import Options
from edxdask.tomographies.phases import PhaseSpectra
from edxdask.tomographies.series import Series

HAADF = "haadf"  # image that rides along with counts, and shows more than few photons do


@dataclass(frozen=True)
class Views:
    """How projections were taken.

    Attributes
    ----------
    geometry : of each
    cut : whether the field cuts the object across the tilt axis
    warnings : what a person should know
    """

    geometry: TiltGeometry
    cut: bool
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Yields:
    """Photons of voxels.

    Attributes
    ----------
    photons_per_voxel : (phase,) of a voxel full of a phase, at exposure 1
    fractions : whether these are known, so that volumes are fractions of voxels
    warnings : what they rest on
    """

    photons_per_voxel: np.ndarray
    fractions: bool
    warnings: tuple[str, ...] = ()


def views_of(series: Series, totals: np.ndarray, options: Options) -> Views:
    """Find, or take as given, moves and exposures of the projections.

    Parameters
    ----------
    series : Series
        Without empty projections.
    totals : array
        Photons (tilt, row, column).
    options : Options
        ``alignment`` and ``shadows``.
    """
    notes: tuple[str, ...] = ()
    if isinstance(options.alignment, xr.Dataset):
        geometry, cut = _given(series, options.alignment), stack_of(totals).cut_x
    elif options.alignment:
        found = _aligned(series, totals, options)
        geometry, cut, notes = found.geometry, found.cut_x, found.notes
    else:
        lean = series.lean_deg or 0.0
        geometry, cut = TiltGeometry.of(series.tilt_deg, rotation_deg=lean), stack_of(totals).cut_x
    per_tilt = totals.sum(axis=(1, 2), dtype=np.float64)
    dose = series.cube[schema.TILT_DOSE].values if schema.TILT_DOSE in series.cube else None
    exposure = exposure_of(per_tilt, series.tilt_deg, shadows=options.shadows, dose=dose, cut=cut)
    return Views(replace(geometry, exposure=exposure.values), cut, (*notes, *exposure.warnings))


def _aligned(series: Series, totals: np.ndarray, options: Options) -> Alignment:
    """Align the images that show most: those of the annular detector where they are there, else photons."""
    images = totals
    if HAADF in series.cube and set(series.cube[HAADF].dims) == {schema.TILT, schema.Y, schema.X}:
        images = series.image(series.cube[HAADF])
    return align_images(images, series.tilt_deg, rotation_deg=series.lean_deg, threads=options.threads)


def _given(series: Series, known: xr.Dataset) -> TiltGeometry:
    """Take the moves that an alignment says, for the tilts of the series, rows along the tilt axis."""
    needed = (schema.TILT_SHIFT_Y, schema.TILT_SHIFT_X)
    missing = [name for name in needed if name not in known]
    if missing or schema.TILT not in known.coords:
        raise ParameterError(
            "alignment", said(known), "True, False, or what edxdask.align_tilts(tilts) gave of this series"
        )
    there = np.asarray(known[schema.TILT].values, dtype=np.float64)
    places = [int(np.argmin(np.abs(there - tilt))) for tilt in series.tilt_deg]
    if np.abs(there[places] - series.tilt_deg).max() > 1e-3:
        raise ParameterError("alignment", there.tolist(), f"the tilts {series.tilt_deg.tolist()}")
    y, x = (np.asarray(known[name].values, dtype=np.float64)[places] for name in needed)
    along, across = (x, y) if series.along == schema.X else (y, x)
    rotation = np.full(len(places), series.lean_deg or 0.0)
    if schema.TILT_ROTATION in known:
        rotation = np.asarray(known[schema.TILT_ROTATION].values, dtype=np.float64)[places]
    return TiltGeometry.of(series.tilt_deg, shift_y=along, shift_x=across, rotation_deg=rotation)


def yields_of(found: PhaseSpectra, options: Options) -> Yields:
    """Photons of a voxel full of each phase."""
    phases = len(found.labels)
    return Yields(np.ones(phases), fractions=False)
