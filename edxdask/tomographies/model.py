"""How projections follow from volumes: where each looks from, how bright it is, what a full voxel emits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from edxdask import schema
from edxdask.errors import ParameterError
from edxdask.results.kinds import said
from edxdask.tomo.geometry import TiltGeometry
from edxdask.tomographies.options import Options
from edxdask.tomographies.phases import PhaseSpectra
from edxdask.tomographies.series import Series


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


def geometry_of(series: Series, totals: np.ndarray, options: Options) -> tuple[TiltGeometry, list[str]]:
    """Find, or take as given, moves and exposures of the projections; with what a person should know.

    Parameters
    ----------
    series : Series
        Without empty projections.
    totals : array
        Photons (tilt, row, column).
    options : Options
        ``alignment`` and ``shadows``.
    """
    moves: dict[str, Any] = {"rotation_deg": series.lean_deg}
    if isinstance(options.alignment, xr.Dataset):
        moves = _given(series, options.alignment)
    per_tilt = totals.sum(axis=(1, 2), dtype=np.float64)
    return TiltGeometry.of(series.tilt_deg, exposure=per_tilt / per_tilt.mean(), **moves), []


def _given(series: Series, known: xr.Dataset) -> dict[str, np.ndarray]:
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
    rotation = np.full(len(places), series.lean_deg)
    if schema.TILT_ROTATION in known:
        rotation = np.asarray(known[schema.TILT_ROTATION].values, dtype=np.float64)[places]
    return {"shift_y": along, "shift_x": across, "rotation_deg": rotation}


def yields_of(found: PhaseSpectra, options: Options) -> Yields:
    """Photons of a voxel full of each phase."""
    phases = len(found.labels)
    return Yields(np.ones(phases), fractions=False)
