"""How projections follow from volumes: where each looks from, how bright it is, what a full voxel emits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import xarray as xr

from edxdask import schema
from edxdask.errors import ParameterError
from edxdask.physics.conditions import Conditions
from edxdask.physics.energy_axis import NOMINAL, EnergyAxis
from edxdask.results.kinds import said
from edxdask.tomo.alignment import AlignedTilts, align_images
from edxdask.tomo.geometry import TiltGeometry
from edxdask.tomo.sight import exposure_of
from edxdask.tomo.yields import relative_yields
from edxdask.tomographies.options import Options
from edxdask.tomographies.phases import PhaseSpectra
from edxdask.tomographies.series import Series

HAADF = "haadf"  # image that rides along with counts, and shows more than few photons do

BORDER, THICK = 2, 0.9  # columns at each side; the quantile of columns that is thick
REACHES, OFTEN = 0.1, 0.25  # of what is thick; of the projections


@dataclass(frozen=True)
class Views:
    """How projections were taken.

    Attributes
    ----------
    geometry : of each
    cut : whether the field cuts the object across the tilt axis
    warnings : what a person should know
    errors : by name in the schema, standard errors of what was found
    """

    geometry: TiltGeometry
    cut: bool
    warnings: tuple[str, ...] = ()
    errors: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class KnownYields:
    """Photons of voxels.

    Attributes
    ----------
    ratio : (phase,) of a voxel full of a phase, over their mean
    fractions : whether these are known, so that volumes are fractions of voxels
    warnings : what they rest on
    """

    ratio: np.ndarray
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
    errors: dict[str, np.ndarray] = {}
    if isinstance(options.alignment, xr.Dataset):
        geometry, cut = _given(series, options.alignment), False
    elif options.alignment:
        found = _aligned(series, totals, options)
        geometry, cut, notes = found.geometry, found.cut_x, found.notes
        errors = _errors(series, found)
    else:
        lean = series.lean_deg or 0.0
        geometry, cut = TiltGeometry.of(series.tilt_deg, rotation_deg=lean), False
    cut = cut or cuts_across(totals)
    per_tilt = totals.sum(axis=(1, 2), dtype=np.float64)
    dose = series.cube[schema.TILT_DOSE].values if schema.TILT_DOSE in series.cube else None
    exposure = exposure_of(per_tilt, series.tilt_deg, shadows=options.shadows, dose=dose, cut=cut)
    return Views(replace(geometry, exposure=exposure.values), cut, (*notes, *exposure.warnings), errors)


def cuts_across(totals: np.ndarray) -> bool:
    """Whether the object reaches the first or last columns of many projections (tilt, row, column).

    Photons come from matter alone, so none belong there; an image of another kind has a background.

    Examples
    --------
    >>> images = np.zeros((3, 8, 20)); images[:, :, 5:15] = 9
    >>> cuts_across(images), cuts_across(images[:, :, 7:])
    (False, True)
    """
    columns = totals.sum(axis=1, dtype=np.float64)
    thick = np.quantile(columns, THICK, axis=1)
    edges = np.stack([columns[:, :BORDER].mean(axis=1), columns[:, -BORDER:].mean(axis=1)])
    reaches = (edges > REACHES * thick) & (thick > 0)
    return bool((reaches.mean(axis=1) > OFTEN).any())


def _errors(series: Series, found: AlignedTilts) -> dict[str, np.ndarray]:
    """Give standard errors of moves along y and x as the projections have them, and of the axis' angle."""
    names = (schema.TILT_SHIFT_Y, schema.TILT_SHIFT_X)
    if series.along == schema.X:
        names = names[::-1]
    each = (found.shift_y_std, found.shift_x_std, np.full(len(found.shift_y_std), found.rotation_std))
    return {name + schema.STD_SUFFIX: v for name, v in zip((*names, schema.TILT_ROTATION), each, strict=True)}


def _aligned(series: Series, totals: np.ndarray, options: Options) -> AlignedTilts:
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


def yields_of(found: PhaseSpectra, series: Series, options: Options, *, cut: bool) -> KnownYields:
    """Find photons of a voxel full of each phase, relative to their mean.

    Parameters
    ----------
    found : PhaseSpectra
        Spectra, and compositions where they are known.
    series : Series
        Whose attributes say the conditions of the measurement, where the spectra do not.
    options : Options
        ``densities``.
    cut : bool
        Whether the field cuts the object.
    """
    even = np.ones(len(found.labels))
    if found.composition is None:
        if options.densities:
            fix = "Name the elements, so that compositions are found: elements=['Mg', 'Si', 'O']."
            known = "compositions beside them, since yields follow from both"
            raise ParameterError("densities", dict(options.densities), known, fix)
        return KnownYields(even, fractions=False)
    if cut:
        text = (
            "the field cuts the object: at high tilts rays pass through matter that others do not show, so "
            "no absolute fractions can be had. Volumes are in photons of a voxel; record a field that holds "
            "the whole object across the tilt axis"
        )
        return KnownYields(even, fractions=False, warnings=(text,))
    attrs = {**series.cube.attrs, **found.shared.attrs}
    axis = EnergyAxis.of(attrs) or NOMINAL
    energy = axis.energy(found.shared[schema.ENERGY].values)
    relative = relative_yields(
        found.spectrum,
        energy,
        list(found.composition.values()),
        found.labels,
        Conditions.of(attrs),
        densities=options.densities,
    )
    return KnownYields(relative.ratio, fractions=True, warnings=relative.warnings)
