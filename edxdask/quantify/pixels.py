"""Quantification of every pixel, chunk by chunk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import dask.array as da
import numpy as np
import xarray as xr
from threadpoolctl import threadpool_limits

from edxdask import schema
from edxdask.errors import ChunkError, ParameterError
from edxdask.quantify.cautions import measured_intensities
from edxdask.quantify.composition import OXYGEN
from edxdask.quantify.intensities import LineFit, fit_model, settled_model, starting_model
from edxdask.quantify.kernels.pixels import fit_pixels
from edxdask.quantify.methods import solve
from edxdask.quantify.recipe import QuantificationRecipe
from edxdask.quantify.spectra import LinePlan, Standard, make_plan, notes, variable


@dataclass(frozen=True, eq=False)
class PixelModel:
    """Shapes that pixels are fitted with, as the sum of all pixels found them.

    Attributes
    ----------
    rows : (M, E) families of lines with the rates of the sum spectrum, and last its continuum; sum 1 each
    shares : (lines, M) photons of a line for a photon in a column
    first : channel that the rows begin with
    """

    rows: np.ndarray
    shares: np.ndarray
    first: int


def quantify_pixels(
    ds: xr.Dataset, spectrum: np.ndarray, recipe: QuantificationRecipe, *, standard: Standard | None = None
) -> xr.Dataset:
    """Quantify every pixel; lazy except for the sum spectrum, which gives axis, width, rates and continuum.

    Parameters
    ----------
    ds : cube
    spectrum : (E,) its sum spectrum

    Raises
    ------
    ChunkError
        If the energy axis is cut into chunks.

    Notes
    -----
    *Chunks.* Whole spectra in every chunk; one task per chunk reads it, fits its pixels and keeps a few
    numbers per pixel. The memory of a task is that of its chunk, and 8 bytes times the squared number of
    columns per pixel.
    """
    counts = ds[schema.COUNTS]
    data = counts.data
    if isinstance(data, da.Array) and data.numblocks[-1] > 1:
        raise ChunkError(
            f"the energy axis of counts is cut into {data.numblocks[-1]} chunks; fitting a pixel needs its "
            "whole spectrum: ds.chunk(energy=-1)"
        )
    if not spectrum.sum() > 0:
        raise ParameterError("data", "0 counts", "a cube with photons")
    energy = ds[schema.ENERGY].values
    model, floor = starting_model(energy, recipe, spectrum)
    first = floor.first
    with threadpool_limits(1):
        fit = fit_model(spectrum[first:], settled_model(spectrum[first:], model, recipe))
        plan = make_plan(recipe, fit, standard)
    pixels = schema.pixel_dims(ds)
    share = 1.0 / float(np.prod([ds.sizes[d] for d in pixels]))
    dose = None if recipe.dose is None else recipe.dose * share
    sizes = _sizes(plan)
    if not isinstance(data, da.Array):
        data = da.from_array(np.asarray(data), chunks=(*data.shape[:-1], -1), name=False)
    out = data.map_blocks(
        quantify_block,
        plan=plan,
        pixel_model=pixel_model(fit, plan.lines, first),
        dose=dose,
        chunks=(*data.chunks[:-1], (sum(sizes.values()),)),
        dtype=np.float32,
        meta=np.empty((0,) * data.ndim, np.float32),
    )
    whole = solve(
        recipe, plan.measured, *measured_intensities(fit, plan.measured), plan.factors, dose=recipe.dose
    )
    said = notes(plan, [fit], [whole], ["the sum of all pixels"], floor)
    return _as_maps(ds, out, plan, sizes).assign_attrs(said)


def pixel_model(fit: LineFit, lines: Sequence[str], first: int) -> PixelModel:
    """Shapes for single pixels from the fit of their sum."""
    matrix, columns = fit.model.matrix, fit.model.column_of
    per_column = fit.shares(lines)
    members: dict[tuple[str, str], list[int]] = {}
    for group, column in zip(fit.model.groups, columns, strict=True):
        members.setdefault((group.element, group.family), []).append(int(column))
    rows, shares = [], []
    for of_family in members.values():
        unique = sorted(set(of_family))
        rate = fit.weights[unique]
        if len(unique) == 1 or not rate.min() > 0:
            rate = np.ones(len(unique))  # the sum spectrum does not say: as in the tables
        row = rate @ matrix[unique]
        rows.append(row / row.sum())
        shares.append(per_column[:, unique] @ rate / row.sum())
    if fit.continuum.sum() > 0:
        rows.append(fit.continuum / fit.continuum.sum())
        shares.append(np.zeros(len(lines)))
    return PixelModel(np.ascontiguousarray(rows), np.array(shares).T, first)


def _sizes(plan: LinePlan) -> dict[str, int]:
    """Numbers kept for each pixel, by variable."""
    elements = len(plan.recipe.measured) + (plan.recipe.oxygen is not None)
    names = [schema.COMPOSITION, schema.MASS_FRACTION]
    sizes = {n + suffix: elements for n in names for suffix in ("", schema.STD_SUFFIX)}
    sizes |= {schema.LINE_INTENSITY + suffix: len(plan.lines) for suffix in ("", schema.STD_SUFFIX)}
    if plan.recipe.method != "cliff-lorimer":
        sizes |= {schema.AREAL_DENSITY + suffix: elements for suffix in ("", schema.STD_SUFFIX)}
        sizes |= {schema.MASS_THICKNESS + suffix: 1 for suffix in ("", schema.STD_SUFFIX)}
    return sizes


def quantify_block(
    block: np.ndarray, plan: LinePlan, pixel_model: PixelModel, dose: float | None
) -> np.ndarray:
    """Quantify (pixels…, E) counts: (pixels…, numbers of `_sizes`)."""
    flat = np.ascontiguousarray(block[..., pixel_model.first :]).reshape(-1, pixel_model.rows.shape[1])
    size = len(pixel_model.rows)
    weights = np.zeros((len(flat), size))
    covariance = np.zeros((len(flat), size, size))
    fit_pixels(flat, pixel_model.rows, weights, covariance)
    shares = pixel_model.shares
    photons = weights @ shares.T
    spread = shares @ covariance @ shares.T
    out = np.empty((len(flat), sum(_sizes(plan).values())), np.float32)
    for p in range(len(flat)):
        out[p] = _numbers(plan, photons[p], spread[p], dose)
    return out.reshape(*block.shape[:-1], -1)


def _numbers(plan: LinePlan, photons: np.ndarray, spread: np.ndarray, dose: float | None) -> np.ndarray:
    used = len(plan.measured)
    one = solve(plan.recipe, plan.measured, photons[:used], spread[:used, :used], plan.factors, dose=dose)
    parts = [
        one.composition,
        _root(one.composition_covariance),
        one.mass_fraction,
        _root(one.mass_covariance),
        photons,
        _root(spread),
    ]
    if plan.recipe.method != "cliff-lorimer":
        parts += [one.atoms, _root(one.atoms_covariance), np.array(one.mass_thickness)]
    return np.concatenate(parts)


def _root(covariance: np.ndarray) -> np.ndarray:
    return np.sqrt(np.maximum(np.diag(covariance), 0.0))


def _as_maps(ds: xr.Dataset, out: da.Array, plan: LinePlan, sizes: dict[str, int]) -> xr.Dataset:
    pixels = schema.pixel_dims(ds)
    elements = [*plan.recipe.measured, *([OXYGEN] if plan.recipe.oxygen is not None else [])]
    at, variables = 0, {}
    for name, size in sizes.items():
        base = name.removesuffix(schema.STD_SUFFIX)
        part = da.moveaxis(out[..., at : at + size], -1, 0)
        at += size
        own = schema.VARIABLES[base].dims[1:]
        error = base != name
        values, dims = (part, (*own, *pixels)) if own else (part[0], pixels)
        variables[name] = variable(base, dims, values, error=error)
    coords = {
        **{d: ds[d] for d in pixels if d in ds.coords},
        schema.ELEMENT: elements,
        schema.LINE: list(plan.lines),
    }
    return xr.Dataset(variables, coords=coords)
