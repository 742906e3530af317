"""What the finished slabs are called: the Dataset of a volume."""

from __future__ import annotations

from typing import Any

import dask.array as da
import numpy as np
import xarray as xr

from edxdask import schema
from edxdask.results.volumes import (
    FRACTION,
    PHOTONS,
    VOXELS,
    check_volume,
    depth_coordinate,
    is_fraction,
    make_volume,
)
from edxdask.tomo.absorption import warnings_of_volume
from edxdask.tomo.class_cube import ClassCube
from edxdask.tomo.mixing import Mixing, mixing_warnings
from edxdask.tomo.quality import TiltMisfit, reasons
from edxdask.tomo.records import records
from edxdask.tomo.slabs import SlabWork
from edxdask.tomographies.options import Options
from edxdask.tomographies.prepared import Prepared
from edxdask.tomographies.series import Series

NOT_KEPT = (schema.COMPLETE, schema.TILT_ALPHA, schema.THICKNESS)  # of the series: not of its volume
LONGEST_REASON = 80
FOLDED = ". Spectra and yields hold the mean factor"
NOT_FOLDED = ". absorption=True takes the mean factor into account"


def volume_of(
    array: da.Array,
    series: Series,
    work: SlabWork,
    prepared: Prepared,
    options: Options,
    *,
    scale: float,
    entry: str,
) -> xr.Dataset:
    """Label the volume (phase, z, y, x), of which nothing is computed.

    ``scale`` are the photons of a full voxel, mean over the phases.
    """
    slabs = list(records(work.journal))
    objective = _objective(slabs)
    variables = {
        schema.SPECTRUM: prepared.spectra,
        schema.PHOTONS_PER_VOXEL: scale * prepared.yields if prepared.fractions else None,
        schema.OBJECTIVE: objective,
        **{n: values for n, values in prepared.variables.items() if not n.endswith(schema.STD_SUFFIX)},
        **_of_tilts(series, work.cube, prepared, slabs),
    }
    coords = {
        **_voxels(series, work.shape, options.rows),
        schema.TILT: prepared.geometry.tilt_deg,
        schema.ENERGY: series.cube.coords[schema.ENERGY],
        schema.ITERATION: np.arange(objective.size),
        **({schema.ELEMENT: prepared.elements} if prepared.elements else {}),
    }
    converged = bool(all(bool(one["converged"]) for one in slabs))
    warnings = [*series.cube.attrs.get(schema.WARNINGS, []), *prepared.warnings]
    if not converged:
        open_ones = sum(not bool(one["converged"]) for one in slabs)
        warnings.append(
            f"{open_ones} of {len(slabs)} slabs had not converged after {options.max_iter} passes: "
            f"max_iter={2 * options.max_iter} lets them go on"
        )
    sums = (np.sum([one[name] for one in slabs], axis=0) for name in ("pure_sums", "phase_sums"))
    warnings += mixing_warnings(Mixing(*sums), prepared.labels)
    attrs: dict[str, Any] = {
        **{k: v for k, v in series.cube.attrs.items() if k in schema.ATTRIBUTES and k not in NOT_KEPT},
        **prepared.attrs,
        schema.TILT_AXIS: series.along,
        schema.TILT_AXIS_DEG: float(np.mean(prepared.geometry.rotation_deg)),
        schema.VOLUME_PRIOR: options.prior,
        schema.VOLUME_STRENGTH: float(work.settings.strength),
        schema.VOLUME_CONVERGED: int(converged),
        schema.SEED: options.seed,
    }
    if warnings:
        attrs[schema.WARNINGS] = warnings
    kind = FRACTION if prepared.fractions else PHOTONS
    made = make_volume(
        array, phases=prepared.labels, coords=coords, variables=variables, kind=kind, attrs=attrs, entry=entry
    )
    return check_volume(_with_absorption(made.assign(_errors(prepared)), series, options))


def _with_absorption(made: xr.Dataset, series: Series, options: Options) -> xr.Dataset:
    """Add warnings of lines that the object absorbs, where its size, phases and densities are known."""
    if not (is_fraction(made) and options.densities and series.step):
        return made
    along_y = made
    if series.along == schema.X:  # shadows are cast across the tilt axis
        along_y = made.rename({schema.Y: schema.X, schema.X: schema.Y}).transpose(..., schema.Y, schema.X)
    texts = [
        f"{text}{NOT_FOLDED if not options.absorption else FOLDED}"
        for text in warnings_of_volume(along_y, options.densities)
    ]
    return (
        made.assign_attrs({schema.WARNINGS: [*made.attrs.get(schema.WARNINGS, []), *texts]})
        if texts
        else made
    )


def _errors(prepared: Prepared) -> dict[str, xr.Variable]:
    """Variables with the errors of others."""
    found = {}
    for name, values in prepared.variables.items():
        if name.endswith(schema.STD_SUFFIX):
            base = name.removesuffix(schema.STD_SUFFIX)
            found[name] = xr.Variable(schema.dims_of(base, VOXELS), values, schema.variable_attrs(base))
    return found


def _objective(slabs: list[dict[str, np.ndarray]]) -> np.ndarray:
    """Objective per photon of all slabs; one that ended before others keeps its last value."""
    each = [one for one in slabs if one["objective"].size]
    if not each:
        return np.zeros(0)
    longest = max(one["objective"].size for one in each)
    padded = [np.pad(one["objective"], (0, longest - one["objective"].size), mode="edge") for one in each]
    return np.asarray(np.average(padded, axis=0, weights=[float(one["photons"]) for one in each]))


def _of_tilts(
    series: Series, cube: ClassCube, prepared: Prepared, slabs: list[dict[str, np.ndarray]]
) -> dict[str, np.ndarray]:
    """Variables of the projections; moves along y and x as the projections have them."""
    geometry, (photons, left_out) = prepared.geometry, cube.photons()
    misfit = TiltMisfit(*(np.sum([one[name] for one in slabs], axis=0) for name in ("chi2", "blocks")))
    texts = reasons(misfit)
    along, across = geometry.shift_y, geometry.shift_x
    if series.along == schema.X:
        along, across = across, along
    return {
        schema.TILT_SHIFT_Y: along,
        schema.TILT_SHIFT_X: across,
        schema.TILT_ROTATION: geometry.rotation_deg,
        schema.TILT_EXPOSURE: geometry.exposure,
        schema.TILT_PHOTONS: (photons + left_out).astype(np.float64),
        schema.TILT_CHI2: misfit.reduced,
        schema.TILT_FITS: np.array([not text for text in texts]),
        schema.TILT_REASON: np.array(texts),
    }


def _voxels(series: Series, shape: tuple[int, int, int], rows: tuple[int, int] | None) -> dict[str, Any]:
    """Coordinates z, y and x: z from the middle, the others as the projections have them."""
    coords: dict[str, Any] = {schema.Z: depth_coordinate(shape[0], series.step)}
    for dim in (schema.Y, schema.X):
        if dim in series.cube.coords:
            own = series.cube.coords[dim]
        else:
            own = xr.DataArray(
                np.arange(series.cube.sizes[dim]), dims=dim, attrs={"units": schema.PIXEL_UNIT}
            )
        coords[dim] = own[slice(*rows)] if rows is not None and dim == series.rows_dim else own
    return coords
