"""``simulate``: a cube of any size with known truth, drawn chunk by chunk when asked."""

from __future__ import annotations

import math
import numbers
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr

from edxdask import schema
from edxdask.errors import ParameterError
from edxdask.photons.block import MAX_CHANNELS
from edxdask.physics.emission import check_thin_film
from edxdask.simulate.acquisition import Acquisition, Misaligned, Shadows
from edxdask.simulate.checks import box_of, finite, pair, positive, size_of, whole
from edxdask.simulate.kernels.draw import draw_photons
from edxdask.simulate.objects import ObjectRecipe
from edxdask.simulate.plan import RECIPES, Plan, Spec, make_plan
from edxdask.simulate.recipe import Compositions, Recipe, changed_phases
from edxdask.simulate.series import series_dataset
from edxdask.simulate.series_plan import OBJECTS, SeriesSpec

DEFAULT_GRAIN_PX = 30.0  # a handful of grains on 180 × 180 pixels
SMALLEST_GRAIN_PX = 4.0
MAP_OVER_GRAIN = 6.0  # smaller maps have smaller grains
CHUNK_PX = 64
LARGEST_COUNTS = 1e8  # photons per pixel; uint32 holds what 12 σ above that can put into a channel

Where = Mapping[Any, Mapping[str, Any]]


def simulate(
    recipe: str = "mantle",
    *,
    shape: Sequence[int] = (180, 180),
    counts: float = 147.0,
    seed: int = 0,
    channels: int | None = None,
    energy_offset: float | None = None,
    energy_scale: float = 0.01,
    beam_energy: float = 200.0,
    fwhm_mn_ka_ev: float = 130.0,
    elevation_deg: float | Sequence[float] = 22.0,
    pixel_size: float | None = None,
    grain: float | None = None,
    compositions: Compositions | None = None,
    thickness: float | None = None,
    chunks: int | tuple[int, int] = CHUNK_PX,
    tilts: Sequence[float] | None = None,
    misaligned: Misaligned = False,
    shadows: Shadows = False,
    dose_drift: float | Sequence[float] | None = None,
    absorption: bool = False,
) -> xr.Dataset:
    """Simulate a spectrum image, or a tilt series, with known truth; parameters as of ``edxdask.simulate``.

    Parameters
    ----------
    recipe : "mantle", "nanoparticles" (maps), "tomography" or "core-shell" (tilt series)
    shape : rows and columns; of a tilt series also planes, rows and columns
    tilts, misaligned, shadows, dose_drift, absorption : how a tilt series is acquired

    Returns
    -------
    Dataset
        ``counts`` with ``truth_abundance``, ``truth_total`` (per pixel), ``truth_spectrum`` and
        ``truth_composition``; of a tilt series also ``truth_volume`` and how it was acquired.

    Notes
    -----
    *Chunks*: everything per pixel is lazy. A chunk needs its own coordinates only, costs about
    10 ns per photon plus the zeroing of its counts, and keeps nothing. The same pixel has the same photons
    in any chunking.

    Examples
    --------
    >>> ds = simulate(shape=(32, 32), counts=20)
    >>> dict(ds.counts.sizes)
    {'y': 32, 'x': 32, 'energy': 970}
    >>> ds.phase.values.tolist()
    ['Brg', 'Fp', 'CaPv']
    """
    known = _recipe(recipe)
    chosen = replace(known, phases=changed_phases(known.phases, compositions, thickness))
    conditions: dict[str, Any] = {
        "recipe": chosen.name,
        "phases": chosen.phases,
        "counts": positive("counts", counts, most=LARGEST_COUNTS),
        "seed": whole("seed", seed, least=0, most=2**63 - 1),
        "channels": whole("channels", chosen.channels if channels is None else channels, 2, MAX_CHANNELS),
        "energy_offset": finite("energy_offset", chosen.energy_offset_kev, energy_offset),
        "energy_scale": positive("energy_scale", energy_scale, most=1.0),
        "beam_energy": check_thin_film(
            positive("beam_energy", beam_energy), "Simulated samples are films: simulate one at 200."
        ),
        "fwhm_mn_ka_ev": positive("fwhm_mn_ka_ev", fwhm_mn_ka_ev),
        "elevation_deg": tuple(float(e) for e in np.atleast_1d(elevation_deg)),
    }
    step = chosen.pixel_size_nm if pixel_size is None else positive("pixel_size", pixel_size)
    diameter = None if grain is None else positive("grain", grain)
    acquisition = Acquisition(tilts, misaligned, shadows, dose_drift, absorption)
    if isinstance(chosen, ObjectRecipe):
        box = box_of(shape)
        if absorption and thickness is not None:
            expected = "None with absorption: the object itself says how far photons run in it"
            raise ParameterError("thickness", thickness, expected)
        details = acquisition.fields(box, seed=seed)
        of_series = SeriesSpec(**conditions, box=box, grain=diameter, voxel_nm=step, **details)
        return series_dataset(of_series, chosen, step, _steps(chunks))
    acquisition.check_none(chosen.name, OBJECTS)
    size = size_of(shape)
    of_map = Spec(**conditions, shape=size, grain=diameter or _default_grain(size))
    return _dataset(of_map, make_plan(of_map), chosen, step, _chunks(chunks, size))


def _recipe(name: str) -> Recipe | ObjectRecipe:
    if name in OBJECTS:
        return OBJECTS[name]
    if name not in RECIPES:
        raise ParameterError("recipe", name, f"one of {', '.join(map(repr, (*RECIPES, *OBJECTS)))}")
    return RECIPES[name]


def _default_grain(shape: tuple[int, int]) -> float:
    return min(DEFAULT_GRAIN_PX, max(SMALLEST_GRAIN_PX, math.sqrt(shape[0] * shape[1]) / MAP_OVER_GRAIN))


def _steps(chunks: Any) -> tuple[int, int]:
    both = (chunks, chunks) if isinstance(chunks, numbers.Integral) else pair("chunks", chunks)
    return whole("chunks", both[0]), whole("chunks", both[1])


def _chunks(chunks: Any, shape: tuple[int, int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    rows, columns = da.core.normalize_chunks(_steps(chunks), shape=shape, dtype=np.uint16)
    return tuple(rows), tuple(columns)


def _indices(spans: Sequence[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    """Pixel indices of a block, from where dask says it is along y and x."""
    (top, bottom), (left, right) = spans
    return np.arange(top, bottom), np.arange(left, right)


def _draw_block(spec: Spec, block_info: Where) -> np.ndarray:
    """Draw the counts of one chunk (y, x, energy)."""
    plan = make_plan(spec)
    y, x = _indices(block_info[None]["array-location"][:2])
    abundance, total = plan.geometry.fields(y, x)
    out = np.zeros((y.size, x.size, spec.channels), dtype=plan.dtype)
    expected = spec.counts * total
    draw_photons(out, y[0], x[0], spec.shape[1], expected, abundance, plan.accept, plan.alias, spec.seed)
    return out


def _abundance_block(spec: Spec, block_info: Where) -> np.ndarray:
    """Evaluate the true abundance of one chunk (phase, y, x)."""
    return make_plan(spec).geometry.fields(*_indices(block_info[None]["array-location"][1:]))[0]


def _total_block(spec: Spec, block_info: Where) -> np.ndarray:
    """Evaluate the expected photons of one chunk (y, x)."""
    return spec.counts * make_plan(spec).geometry.fields(*_indices(block_info[None]["array-location"]))[1]


def _lazy(function: Any, spec: Spec, chunks: tuple[tuple[int, ...], ...], dtype: np.dtype) -> da.Array:
    meta = np.empty((0,) * len(chunks), dtype=dtype)
    return da.map_blocks(function, spec, chunks=chunks, dtype=dtype, meta=meta)


def _dataset(
    spec: Spec,
    plan: Plan,
    recipe: Recipe,
    pixel_size: float,
    chunks: tuple[tuple[int, ...], tuple[int, ...]],
) -> xr.Dataset:
    phases = len(recipe.phases)
    arrays = {
        schema.COUNTS: _lazy(_draw_block, spec, (*chunks, (spec.channels,)), plan.dtype),
        schema.TRUTH_ABUNDANCE: _lazy(_abundance_block, spec, ((phases,), *chunks), np.dtype(np.float64)),
        schema.TRUTH_TOTAL: _lazy(_total_block, spec, chunks, np.dtype(np.float64)),
        schema.TRUTH_SPECTRUM: plan.spectrum.copy(),
        schema.TRUTH_COMPOSITION: plan.composition.copy(),
    }
    pixels = (schema.Y, schema.X)
    coords: dict[str, Any] = {
        schema.ENERGY: schema.energy_coordinate(spec.energy_offset, spec.energy_scale, spec.channels),
        schema.PHASE: [phase.name for phase in recipe.phases],
        schema.ELEMENT: list(plan.elements),
    }
    for dim, size in zip(pixels, spec.shape, strict=True):
        units = {"units": schema.COORDINATE_UNITS[dim]}
        coords[dim] = xr.Variable((dim,), np.arange(size) * pixel_size, units)
    variables = {
        name: xr.Variable(schema.dims_of(name, pixels), data, schema.variable_attrs(name))
        for name, data in arrays.items()
    }
    return schema.validate_cube(xr.Dataset(variables, coords, _attrs(spec, plan, recipe)))


def _attrs(spec: Spec, plan: Plan, recipe: Recipe) -> dict[Any, Any]:
    attrs: dict[Hashable, Any] = {
        schema.SCHEMA_VERSION_KEY: schema.SCHEMA_VERSION,
        schema.TITLE: recipe.title,
        schema.RECIPE: recipe.name,
        schema.SEED: spec.seed,
        schema.BEAM_ENERGY: spec.beam_energy,
        schema.FWHM: spec.fwhm_mn_ka_ev,
        schema.ELEVATION: list(spec.elevation_deg),
        schema.ELEMENTS: list(plan.elements),
    }
    if recipe.uniform_film:
        attrs[schema.THICKNESS] = recipe.phases[0].thickness_nm
        attrs[schema.DENSITY] = recipe.phases[0].density_g_cm3
    entry = f"simulate({recipe.name!r}, shape={spec.shape}, counts={spec.counts:g}, seed={spec.seed})"
    return schema.with_history(attrs, entry)
