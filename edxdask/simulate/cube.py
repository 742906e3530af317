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
from edxdask.physics.lines import atomic_number
from edxdask.simulate.kernels.draw import draw_photons
from edxdask.simulate.plan import RECIPES, Plan, Spec, make_plan
from edxdask.simulate.recipe import Recipe

DEFAULT_GRAIN_PX = 30.0  # a handful of grains on 180 × 180 pixels
SMALLEST_GRAIN_PX = 4.0
MAP_OVER_GRAIN = 6.0  # smaller maps have smaller grains
CHUNK_PX = 64
LARGEST_COUNTS = 1e8  # photons per pixel; uint32 holds what 12 σ above that can put into a channel

Where = Mapping[Any, Mapping[str, Any]]
Compositions = Mapping[str, Mapping[str, float]]


def simulate(
    recipe: str = "mantle",
    *,
    shape: tuple[int, int] = (180, 180),
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
) -> xr.Dataset:
    """Simulate a spectrum image with known phases, spectra and compositions.

    Parameters
    ----------
    recipe : "mantle" (three phases, two of them never pure) or "nanoparticles" (four phases, total varies)
    shape : rows and columns
    counts : expected photons per pixel, mean over the map
    seed : 0 or more; another seed is another map and other photons
    channels, energy_offset, energy_scale : energy axis, keV; None: the recipe's own
        (mantle 970 channels from 0.3 keV, nanoparticles 1200 from 0.1 keV)
    beam_energy : keV, 60 to 300
    fwhm_mn_ka_ev : width of the detector at Mn Kα, eV
    elevation_deg : of the detector, or of each of an array
    pixel_size : nm; None: the recipe's own
    grain : typical diameter of a grain in pixels; None: 30, or a sixth of a map smaller than 180 × 180.
        Larger maps hold more grains, not larger ones.
    compositions : atoms by phase, ``{"Brg": {"Nd": 0.025}}``: these replace those of the recipe, element by
        element; phases and elements not named stay as they are
    thickness : nm, of all phases; None: the recipe's own
    chunks : pixels along y and x of a chunk

    Returns
    -------
    Dataset
        ``counts`` with ``truth_abundance``, ``truth_total`` (per pixel), ``truth_spectrum`` and
        ``truth_composition``.

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
    chosen = _changed(_recipe(recipe), compositions, thickness)
    size = (_whole("shape[0]", _pair("shape", shape)[0]), _whole("shape[1]", _pair("shape", shape)[1]))
    spec = Spec(
        recipe=chosen.name,
        phases=chosen.phases,
        shape=size,
        counts=_positive("counts", counts, most=LARGEST_COUNTS),
        seed=_whole("seed", seed, least=0, most=2**63 - 1),
        channels=_whole("channels", chosen.channels if channels is None else channels, 2, MAX_CHANNELS),
        energy_offset=_finite("energy_offset", chosen.energy_offset_kev, energy_offset),
        energy_scale=_positive("energy_scale", energy_scale, most=1.0),
        beam_energy=check_thin_film(
            _positive("beam_energy", beam_energy), "Simulated samples are films: simulate one at 200."
        ),
        fwhm_mn_ka_ev=_positive("fwhm_mn_ka_ev", fwhm_mn_ka_ev),
        elevation_deg=tuple(float(e) for e in np.atleast_1d(elevation_deg)),
        grain=_default_grain(size) if grain is None else _positive("grain", grain),
    )
    step = chosen.pixel_size_nm if pixel_size is None else _positive("pixel_size", pixel_size)
    return _dataset(spec, make_plan(spec), chosen, step, _chunks(chunks, size))


def _recipe(name: str) -> Recipe:
    if name not in RECIPES:
        raise ParameterError("recipe", name, f"one of {', '.join(map(repr, RECIPES))}")
    return RECIPES[name]


def _changed(recipe: Recipe, compositions: Compositions | None, thickness: float | None) -> Recipe:
    """Give the recipe with other atoms in its phases, or another thickness of all of them."""
    given, known = compositions or {}, [phase.name for phase in recipe.phases]
    for name, atoms in given.items():
        if name not in known:
            raise ParameterError("compositions", name, f"phases of the recipe: {', '.join(known)}")
        for element, amount in atoms.items():
            atomic_number(element)
            if not (isinstance(amount, numbers.Real) and math.isfinite(amount) and amount >= 0):
                raise ParameterError(f"compositions[{name!r}][{element!r}]", amount, "atoms, 0 or more")
    nm = None if thickness is None else _positive("thickness", thickness)
    phases = []
    for phase in recipe.phases:
        atoms = {**dict(phase.atoms), **given.get(phase.name, {})}
        if not sum(atoms.values()) > 0:
            raise ParameterError(f"compositions[{phase.name!r}]", atoms, "an amount above 0 of one element")
        kept = tuple((element, float(amount)) for element, amount in atoms.items() if amount > 0)
        phases.append(replace(phase, atoms=kept, thickness_nm=nm or phase.thickness_nm))
    return replace(recipe, phases=tuple(phases))


def _pair(name: str, value: Any) -> tuple[Any, Any]:
    if isinstance(value, str) or not isinstance(value, Sequence) or len(value) != 2:
        raise ParameterError(name, value, "two whole numbers, rows and columns")
    return value[0], value[1]


def _whole(name: str, value: Any, least: int = 1, most: int = 2**31 - 1) -> int:
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or not least <= int(value) <= most:
        raise ParameterError(name, value, f"a whole number from {least} to {most}")
    return int(value)


def _finite(name: str, default: float, value: Any) -> float:
    if value is None:
        return default
    if not isinstance(value, numbers.Real) or not math.isfinite(value):
        raise ParameterError(name, value, "a finite number")
    return float(value)


def _positive(name: str, value: Any, *, most: float = math.inf) -> float:
    number = _finite(name, 0.0, value)
    if not 0 < number <= most:
        expected = "a number above 0" + (f" and up to {most:g}" if math.isfinite(most) else "")
        raise ParameterError(name, value, expected)
    return number


def _default_grain(shape: tuple[int, int]) -> float:
    return min(DEFAULT_GRAIN_PX, max(SMALLEST_GRAIN_PX, math.sqrt(shape[0] * shape[1]) / MAP_OVER_GRAIN))


def _chunks(chunks: Any, shape: tuple[int, int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    pair = (chunks, chunks) if isinstance(chunks, numbers.Integral) else _pair("chunks", chunks)
    sizes = (_whole("chunks", pair[0]), _whole("chunks", pair[1]))
    rows, columns = da.core.normalize_chunks(sizes, shape=shape, dtype=np.uint16)
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
