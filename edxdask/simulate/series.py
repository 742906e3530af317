"""The cube of a simulated tilt series: lazy, block by block, with its truth beside it."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr

from edxdask import schema
from edxdask.simulate.recipe import ObjectRecipe
from edxdask.simulate.series_plan import SeriesPlan, SeriesSpec, fractions_of, make_series_plan

Spans = tuple[tuple[int, ...], ...]


def series_dataset(
    spec: SeriesSpec, recipe: ObjectRecipe, pixel_size: float, chunks: tuple[int, int]
) -> xr.Dataset:
    """Make the cube (tilt, y, x, energy); a block of counts is one projection's ``chunks`` of pixels."""
    plan, phases, tilts = make_series_plan(spec), len(spec.phases), len(spec.tilt_deg)
    rows, columns = (_cut(n, step) for n, step in zip(spec.box[1:], chunks, strict=True))
    each = (1,) * tilts
    voxels = (_cut(spec.box[0], chunks[0]), rows, columns)
    pixels = (schema.TILT, schema.Y, schema.X)
    arrays: dict[str, tuple[tuple[str, ...], Any]] = {
        schema.COUNTS: (
            (*pixels, schema.ENERGY),
            _lazy(_counts_block, spec, (each, rows, columns, (spec.channels,)), plan.dtype),
        ),
        schema.TRUTH_ABUNDANCE: (
            (schema.PHASE, *pixels),
            _lazy(_abundance_block, spec, ((phases,), each, rows, columns), np.float64),
        ),
        schema.TRUTH_TOTAL: (pixels, _lazy(_total_block, spec, (each, rows, columns), np.float64)),
        schema.TRUTH_VOLUME: (
            (schema.PHASE, schema.Z, schema.Y, schema.X),
            _lazy(_volume_block, spec, ((phases,), *voxels), np.float32),
        ),
        schema.TRUTH_SPECTRUM: ((schema.PHASE, schema.ENERGY), plan.spectrum.copy()),
        schema.TRUTH_COMPOSITION: ((schema.PHASE, schema.ELEMENT), plan.composition.copy()),
        schema.TRUTH_PHOTONS_PER_VOXEL: ((schema.PHASE,), plan.photons_per_voxel.copy()),
        schema.TRUTH_SHIFT_Y: ((schema.TILT,), np.array(spec.shift_y)),
        schema.TRUTH_SHIFT_X: ((schema.TILT,), np.array(spec.shift_x)),
        schema.TRUTH_ROTATION: ((schema.TILT,), np.array(spec.rotation_deg)),
        schema.TRUTH_EXPOSURE: ((schema.TILT,), np.array(spec.exposure)),
    }
    variables = {
        name: xr.Variable(dims, data, schema.variable_attrs(name)) for name, (dims, data) in arrays.items()
    }
    coords = _coords(spec, plan, pixel_size)
    return schema.validate_cube(xr.Dataset(variables, coords, _attrs(spec, plan, recipe)))


def _cut(size: int, step: int) -> tuple[int, ...]:
    return tuple(min(step, size - start) for start in range(0, size, step))


def _coords(spec: SeriesSpec, plan: SeriesPlan, pixel_size: float) -> dict[str, Any]:
    coords: dict[str, Any] = {
        schema.TILT: np.array(spec.tilt_deg),
        schema.ENERGY: schema.energy_coordinate(spec.energy_offset, spec.energy_scale, spec.channels),
        schema.PHASE: [phase.name for phase in spec.phases],
        schema.ELEMENT: list(plan.elements),
    }
    for dim, size in zip((schema.Z, schema.Y, schema.X), spec.box, strict=True):
        middle = (size - 1) / 2 if dim == schema.Z else 0.0
        coords[dim] = (np.arange(size) - middle) * pixel_size
    return {
        name: xr.Variable((name,), values, {"units": schema.COORDINATE_UNITS[name]})
        if isinstance(values, np.ndarray)
        else values
        for name, values in coords.items()
    }


def _attrs(spec: SeriesSpec, plan: SeriesPlan, recipe: ObjectRecipe) -> dict[Any, Any]:
    attrs: dict[Hashable, Any] = {
        schema.SCHEMA_VERSION_KEY: schema.SCHEMA_VERSION,
        schema.TITLE: recipe.title,
        schema.RECIPE: recipe.name,
        schema.SEED: spec.seed,
        schema.BEAM_ENERGY: spec.beam_energy,
        schema.FWHM: spec.fwhm_mn_ka_ev,
        schema.ELEVATION: list(spec.detector.elevation_deg),
        schema.AZIMUTH: list(spec.detector.azimuth_deg),
        schema.ELEMENTS: list(plan.elements),
        schema.TILT_AXIS: schema.Y,
    }
    entry = (
        f"simulate({recipe.name!r}, shape={spec.box}, counts={spec.counts:g}, seed={spec.seed}), "
        f"{len(spec.tilt_deg)} tilts from {min(spec.tilt_deg):g}° to {max(spec.tilt_deg):g}°"
    )
    return schema.with_history(attrs, entry)


def _lazy(function: Any, spec: SeriesSpec, chunks: Spans, dtype: Any) -> da.Array:
    meta = np.empty((0,) * len(chunks), dtype=dtype)
    return da.map_blocks(function, spec, chunks=chunks, dtype=dtype, meta=meta)


def _counts_block(spec: SeriesSpec, block_info: Any) -> np.ndarray:
    """Draw the counts of a block (tilt, y, x, energy)."""
    plan = make_series_plan(spec)
    tilts, y, x = _indices(block_info, slice(0, 3))
    out = np.zeros((tilts.size, y.size, x.size, spec.channels), dtype=plan.dtype)
    for counts, tilt in zip(out, tilts, strict=True):
        plan.draw(spec, int(tilt), counts, y, x)
    return out


def _abundance_block(spec: SeriesSpec, block_info: Any) -> np.ndarray:
    """Evaluate the true abundance of a block (phase, tilt, y, x); 0 where nothing is."""
    plan = make_series_plan(spec)
    tilts, y, x = _indices(block_info, slice(1, 4))
    return np.stack([fractions_of(plan.photons(spec, tilt, y, x))[0] for tilt in tilts], axis=1)


def _total_block(spec: SeriesSpec, block_info: Any) -> np.ndarray:
    """Evaluate the expected photons of a block (tilt, y, x)."""
    plan = make_series_plan(spec)
    tilts, y, x = _indices(block_info, slice(0, 3))
    return np.stack([plan.photons(spec, tilt, y, x).sum(axis=0) for tilt in tilts])


def _volume_block(spec: SeriesSpec, block_info: Any) -> np.ndarray:
    """Evaluate the true fractions of a block (phase, z, y, x)."""
    places = _indices(block_info, slice(1, 4))
    axes = [at - (n - 1) / 2 for at, n in zip(places, spec.box, strict=True)]
    return make_series_plan(spec).solids.fractions(*axes, phases=len(spec.phases))


def _indices(block_info: Any, which: slice) -> list[np.ndarray]:
    """Give the indices of a block along some axes, from where dask says it is."""
    return [np.arange(start, stop) for start, stop in block_info[None]["array-location"][which]]
