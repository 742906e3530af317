"""What the object absorbs of its own photons, as one mean factor for each phase, in spectra and yields.

The factor follows from where the phases are, so a coarse volume is found first, from the counts by class.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import xarray as xr

from edxdask import schema
from edxdask.errors import ParameterError
from edxdask.physics.absorption import mean_atomic_mass
from edxdask.physics.conditions import Conditions
from edxdask.physics.geometry import Detector, shadow_shares
from edxdask.physics.lines import line_energy, main_line
from edxdask.progress import Progress, ProgressHook
from edxdask.results.kinds import Kind, kind_of
from edxdask.tomo.absorption import Object, mean_factor
from edxdask.tomo.geometry import TiltGeometry
from edxdask.tomo.projector import Projector
from edxdask.tomo.records import finished, read_record, write_record
from edxdask.tomo.slabs import SlabWork
from edxdask.tomo.yields import checked_densities, common_scale, photons_per_atom
from edxdask.tomographies.options import Options
from edxdask.tomographies.prepare import responses_of
from edxdask.tomographies.prepared import Prepared
from edxdask.tomographies.series import Series

COARSE = 40  # pixels, at most, across and along the axis of the volume that paths are followed in
LARGEST = np.iinfo(np.uint16).max
CUT = (
    "the field cuts the object, so paths out of it are not known: absorption was not folded into the spectra"
)


def check_absorption(series: Series, options: Options) -> None:
    """Refuse ``absorption`` where it cannot be known how much there is.

    Raises
    ------
    ParameterError
        If densities or the size of pixels are missing.
    """
    if not options.absorption:
        return
    if not options.densities:
        fix = "Give both: densities={'Brg': 4.1, …} in g/cm³, and elements or a result with compositions."
        raise ParameterError("absorption", True, "densities of the phases beside it", fix)
    if series.step is None:
        fix = "Set it: series = series.assign_coords(y=…, x=…) in nm, or ingest files that say it."
        raise ParameterError("absorption", True, "pixels with a size in nm, as paths have lengths", fix)


def with_absorption(
    prepared: Prepared,
    work: SlabWork,
    series: Series,
    options: Options,
    journal: Path,
    progress: ProgressHook | None,
) -> Prepared:
    """Fold the mean factor of each phase into what its full voxels emit, and into spectra without it.

    Parameters
    ----------
    prepared : Prepared
        As it is without absorption.
    work : SlabWork
        With counts by class, all written.
    series, options : Series, Options
        What was asked for.
    journal : path
        Folder of the record, so that a run that goes on has the same.
    progress : callable, optional
        Called with a ``Progress``.
    """
    if not options.absorption:
        return prepared
    if not prepared.fractions:
        return replace(prepared, warnings=[*prepared.warnings, CUT])
    if not finished(journal):
        if progress is not None:
            progress(Progress("absorption in the object", 0, None, "trial"))
        write_record(journal, 0, factor=_factor(prepared, work, series, options))
    factor = read_record(journal, 0)["factor"]
    spectra, variables = prepared.spectra, prepared.variables
    if not holds_absorption(options):
        spectra = spectra * factor
        spectra = spectra / spectra.sum(axis=1, keepdims=True)
    elif schema.THICKNESS not in series.cube.attrs:  # else compositions are those of a film already
        variables = {**variables, **_without_loss(prepared, series, factor)}
    new = replace(prepared, spectra=spectra, variables=variables)
    before, after = (
        _photons(one, series, options, through)
        for one, through in ((prepared, np.ones_like(factor)), (new, factor))
    )
    yields = prepared.yields * after / before
    yields = yields / yields.mean()
    return replace(new, yields=yields, responses=responses_of(spectra, yields, prepared.class_of))


def holds_absorption(options: Options) -> bool:
    """Whether spectra were found from projections of the object, which have lost what it absorbs."""
    result = options.result
    if result is None or kind_of(result) is Kind.VOLUME:
        return True
    return isinstance(result, xr.Dataset) and schema.TILT in result.dims


def _factor(prepared: Prepared, work: SlabWork, series: Series, options: Options) -> np.ndarray:
    """Mean factor (phase, energy) over all tilts, from a coarse volume."""
    size = -(-max(work.cube.shape[2], *work.shape) // COARSE)
    volume = _coarse_volume(work, size)
    energy = _energy(series)
    thing = Object(
        volume,
        size * float(series.step or 1.0),
        _compositions(prepared),
        checked_densities(options.densities or {}, prepared.labels).tolist(),
    )
    detector, tilts = Detector.of(series.cube.attrs), prepared.geometry.tilt_deg
    sight = None if options.shadows is None else shadow_shares(tilts, options.shadows)
    if sight is not None and sight.shape[1] != len(detector.elevation_deg):
        sight = None  # the file does not say where each detector is
    exposure = prepared.geometry.exposure
    return mean_factor(thing, energy, tilt_deg=tilts, detector=detector, sight=sight, exposure=exposure)


def _coarse_volume(work: SlabWork, size: int) -> np.ndarray:
    """Fractions (phase, z, y, x) of voxels of ``size`` times the side."""
    cube, geometry = work.cube, work.geometry
    tilts, rows, columns, classes = cube.shape
    across = -(-columns // size)
    counts = np.zeros((tilts, -(-rows // size), across, classes), np.int64)
    for row in range(counts.shape[1]):
        band = cube.read(row * size, min((row + 1) * size, rows), narrow=work.narrow).sum(
            axis=1, dtype=np.int64
        )
        padded = np.pad(band, ((0, 0), (0, across * size - columns), (0, 0)))
        counts[:, row] = padded.reshape(tilts, across, size, classes).sum(axis=2)
    # the middle of what was padded is moved
    moved = [(size * n - whole) / 2 for n, whole in ((counts.shape[1], rows), (across, columns))]
    coarse = TiltGeometry(
        geometry.tilt_deg,
        (geometry.shift_y - moved[0]) / size,
        (geometry.shift_x - moved[1]) / size,
        geometry.rotation_deg,
        geometry.exposure,
    )
    projector = Projector(
        coarse,
        shape=(-(-work.shape[0] // size), -(-work.shape[2] // size)),
        columns=across,
        volume_rows=counts.shape[1],
        threads=work.threads,
    )
    less = -(-int(counts.max()) // LARGEST)  # paths need shapes, not noise
    scaled = (counts // max(less, 1)).astype(np.uint16)
    return common_scale(scaled, projector, work.responses, work.settings)[1]


def _without_loss(prepared: Prepared, series: Series, factor: np.ndarray) -> dict[str, np.ndarray]:
    """Compositions, and their errors, of the atoms that emitted: lines were weakened by the factor."""
    energy = _energy(series)
    lines = [main_line(element, float(energy[0]), float(energy[-1])) for element in prepared.elements]
    at = np.array([line_energy(line) if line else energy[-1] for line in lines])
    through = np.stack([np.interp(at, energy, row) for row in factor])
    atoms = prepared.variables[schema.COMPOSITION] / through
    whole = atoms.sum(axis=1, keepdims=True)
    made = {schema.COMPOSITION: atoms / whole}
    errors = schema.COMPOSITION + schema.STD_SUFFIX
    if errors in prepared.variables:
        made[errors] = prepared.variables[errors] / through / whole
    return made


def _photons(prepared: Prepared, series: Series, options: Options, through: np.ndarray) -> np.ndarray:
    """Photons that leave a volume full of each phase, in any unit."""
    conditions = Conditions.of(series.cube.attrs | prepared.attrs)
    densities = checked_densities(options.densities or {}, prepared.labels)
    found = [
        photons_per_atom(spectrum, _energy(series), atoms, conditions, through=row) / mean_atomic_mass(atoms)
        for spectrum, atoms, row in zip(prepared.spectra, _compositions(prepared), through, strict=True)
    ]
    return np.array(found) * densities


def _compositions(prepared: Prepared) -> list[dict[str, float]]:
    rows = prepared.variables[schema.COMPOSITION]
    return [{e: float(a) for e, a in zip(prepared.elements, row, strict=True) if a > 0} for row in rows]


def _energy(series: Series) -> np.ndarray:
    return np.asarray(series.cube.coords[schema.ENERGY].values, dtype=np.float64)
