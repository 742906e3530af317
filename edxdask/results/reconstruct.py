"""Results back to counts: expected cubes and residuals, lazy, block by block."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr

from edxdask import schema
from edxdask.errors import ParameterError, SchemaError
from edxdask.results.collections import cubes_in

CHUNK_PX = 64  # as in the store
DTYPE = np.dtype(np.float32)


@dataclass(frozen=True)
class MapFactors:
    """One map of a result.

    Attributes
    ----------
    name : in a collection; "" for a single map
    dataset : the map's own variables
    amounts : (rows, *pixel dimensions), counts per unit of the spectra
    """

    name: str
    dataset: xr.Dataset
    amounts: xr.Variable

    @property
    def pixel_dims(self) -> tuple[str, ...]:
        """Pixel dimensions in order."""
        return tuple(str(d) for d in self.amounts.dims[1:])


@dataclass(frozen=True)
class Factors:
    """A result as a product: counts of a pixel ≈ amounts · spectra, of phases or of components.

    Attributes
    ----------
    spectra : (rows, energy)
    energy : coordinate of the energy axis
    labels : of the rows
    """

    spectra: np.ndarray
    energy: xr.DataArray
    labels: tuple[str, ...]
    maps: tuple[MapFactors, ...]


def factors_of(result: xr.Dataset | xr.DataTree, *, name: str = "result") -> Factors:
    """Amounts and spectra of a factorization or PCA, of one map or of a collection; reads the spectra only.

    Raises
    ------
    ParameterError, SchemaError
        If it is no result, naming the variables it lacks.
    """
    shared, maps = nodes_of(result, name=name)
    row = schema.COMPONENT if schema.LOADING in shared else schema.PHASE
    variable = schema.LOADING if row == schema.COMPONENT else schema.SPECTRUM
    require_variables(shared, (variable,), name=name)
    spectra = shared[variable].transpose(row, schema.ENERGY)
    values = np.asarray(spectra.values, dtype=np.float64)
    labels = [str(label) for label in spectra[row].values]
    center = shared.get(schema.CENTER_SPECTRUM)
    if center is not None:
        values = np.vstack([values, center.values])
        labels.append(schema.CENTER_SPECTRUM)
    pieces = tuple(MapFactors(n, ds, _amounts(ds, row, shared, name)) for n, ds in maps)
    return Factors(values, spectra.coords[schema.ENERGY], tuple(labels), pieces)


def nodes_of(
    result: xr.Dataset | xr.DataTree, *, name: str = "result"
) -> tuple[xr.Dataset, list[tuple[str, xr.Dataset]]]:
    """Shared variables and the maps of a result, one or many."""
    if isinstance(result, xr.Dataset):
        return result, [("", result)]
    if not isinstance(result, xr.DataTree):
        raise ParameterError(
            name, type(result).__name__, "a result: a Dataset, or a DataTree of a collection"
        )
    maps = [
        (node.path.lstrip("/"), node.to_dataset(inherit=True))
        for node in result.subtree
        if node is not result and node.data_vars
    ]
    if not maps:
        raise SchemaError(f"{name} is a collection without maps")
    return result.to_dataset(inherit=True), maps


def require_variables(dataset: xr.Dataset, names: Sequence[str], *, name: str) -> None:
    """Refuse a Dataset that lacks what is needed."""
    missing = [n for n in names if n not in dataset]
    if missing:
        have = ", ".join(map(str, dataset.data_vars)) or "nothing"
        raise SchemaError(
            f"{name} lacks {', '.join(missing)} (it has {have}); expected what nmf(...), psnmf(...), "
            "fcls(...) or pca(...) returned"
        )


def _amounts(dataset: xr.Dataset, row: str, shared: xr.Dataset, name: str) -> xr.Variable:
    if row == schema.PHASE:
        require_variables(dataset, (schema.ABUNDANCE, schema.TOTAL), name=name)
        maps = dataset[schema.ABUNDANCE].transpose(schema.PHASE, ...)
        total = dataset[schema.TOTAL].transpose(*maps.dims[1:])
        return (maps * total).variable
    require_variables(dataset, (schema.SCORE,), name=name)
    score = dataset[schema.SCORE].transpose(schema.COMPONENT, ...).variable
    if schema.CENTER_SPECTRUM not in shared:
        return score
    require_variables(dataset, (schema.TOTAL,), name=name)
    photons = dataset[schema.TOTAL].transpose(*score.dims[1:]).variable
    weighted = shared.attrs.get(schema.WEIGHTING) == "poisson"
    own = (photons**0.5 if weighted else xr.ones_like(photons)).astype(score.dtype)
    return xr.Variable.concat([score, own.set_dims((row, *own.dims), (1, *own.shape))], row)


def reconstruct(result: xr.Dataset | xr.DataTree) -> xr.Dataset | xr.DataTree:
    """Give the counts that a result expects, in every pixel and channel.

    For NMF-like results ``total · abundance · spectrum``, for a PCA ``score · loading``, which undoes its
    weights and may be negative.

    Parameters
    ----------
    result : of ``nmf``, ``psnmf``, ``fcls``, ``pca`` or ``ica``; of a map or of a collection

    Returns
    -------
    Dataset
        ``expected(…, energy)``, lazy float32; a DataTree for a collection.

    Notes
    -----
    *Chunks*: 64 × 64 pixels with all channels; a chunk needs its pixels' amounts and the spectra only, and
    is one small matrix product. Of a lazy result, the spectra are read; nothing else is computed.
    """
    factors = factors_of(result)
    out = {}
    for piece in factors.maps:
        shape = piece.amounts.shape[1:]
        chunks = da.core.normalize_chunks(((1,) * (len(shape) - 2) + (CHUNK_PX,) * min(2, len(shape))), shape)
        array = expected_array(piece.amounts, factors.spectra, chunks, ((factors.spectra.shape[1],)))
        out[piece.name] = _cube(piece, factors.energy, schema.EXPECTED, array, "reconstruct()")
    return _joined(out, result)


def residual(
    data: xr.Dataset | xr.DataTree, result: xr.Dataset | xr.DataTree, *, normalise: bool = False
) -> xr.Dataset | xr.DataTree:
    """Subtract what a result expects from the counts.

    Parameters
    ----------
    data : the cube or collection that was factorized
    result : of the same pixels and channels
    normalise : divide by the Poisson standard deviation √expected: noise alone then has variance 1. NaN
        where nothing, or less than nothing (a PCA can), is expected and something was found

    Returns
    -------
    Dataset
        ``residual(…, energy)``, lazy float32; a DataTree for a collection.

    Notes
    -----
    *Chunks*: those of ``counts``; counts in memory get 64 × 64 pixels. Nothing is computed.
    """
    factors, cubes = factors_of(result), cubes_in(data)
    if len(cubes) != len(factors.maps):
        raise ParameterError(
            "result", f"{len(factors.maps)} maps", f"one for each of {len(cubes)} maps of data"
        )
    by_name = {piece.name: piece for piece in factors.maps}
    out = {}
    for name, cube in cubes.items():
        if name not in by_name:
            raise ParameterError("result", list(by_name), f"a map named {name!r}, as in data")
        piece = by_name[name]
        counts = schema.validate_cube(cube, name=name or "data")[schema.COUNTS]
        check_same_pixels(counts, piece, factors)
        data_array = counts.data if isinstance(counts.data, da.Array) else _chunked(counts.data)
        expected = expected_array(
            piece.amounts, factors.spectra, data_array.chunks[:-1], data_array.chunks[-1]
        )
        array = da.map_blocks(
            _normalised_difference if normalise else _difference,
            data_array,
            expected,
            dtype=DTYPE,
            meta=np.empty((0,) * data_array.ndim, DTYPE),
        )
        entry = f"residual(normalise={normalise})"
        out[piece.name] = _cube(piece, factors.energy, schema.RESIDUAL, array, entry)
    return _joined(out, result)


def check_same_pixels(counts: xr.DataArray, piece: MapFactors, factors: Factors) -> None:
    """Refuse a cube whose pixels or channels are not those of a result."""
    wanted = (*piece.pixel_dims, schema.ENERGY)
    shape = (*piece.amounts.shape[1:], factors.spectra.shape[1])
    if tuple(counts.dims) != wanted or counts.shape != shape:
        raise SchemaError(
            f"counts have {dict(counts.sizes)}, the result {dict(zip(wanted, shape, strict=True))}: give the "
            "cube that was factorized, binned and cropped in the same way"
        )
    check_same_energy(counts, factors.energy, name="counts")


def check_same_energy(array: xr.DataArray, energy: xr.DataArray, *, name: str) -> None:
    """Refuse an array on another energy axis; one without coordinate need only be as long."""
    if array.sizes[schema.ENERGY] != energy.size:
        raise SchemaError(
            f"{name} has {array.sizes[schema.ENERGY]} channels, expected {energy.size}: "
            "crop or bin both to the same energy axis"
        )
    if schema.ENERGY not in array.coords:
        return
    mine, theirs = array.coords[schema.ENERGY].values, energy.values
    step = abs(float(theirs[-1] - theirs[0])) / max(1, energy.size - 1)
    off = float(np.abs(mine - theirs).max())
    if off > 1e-3 * step:
        raise SchemaError(
            f"the energy axis of {name} ({mine[0]:.5g} to {mine[-1]:.5g} keV) is not the expected one "
            f"({theirs[0]:.5g} to {theirs[-1]:.5g} keV): crop or calibrate both in the same way"
        )


def expected_array(
    amounts: xr.Variable, spectra: np.ndarray, pixel_chunks: Sequence[Any], energy_chunks: Any
) -> da.Array:
    """Lazy product of amounts ``(k, *pixels)`` and spectra ``(k, E)``: float32 ``(*pixels, E)``."""
    k = spectra.shape[0]
    data = amounts.data
    wanted = ((k,), *pixel_chunks)
    if isinstance(data, da.Array):
        data = data.rechunk(wanted)  # maps, not cubes: k numbers per pixel
    else:
        data = da.from_array(np.asarray(data), chunks=wanted, name=False)
    table = da.from_array(spectra.astype(DTYPE), chunks=((k,), energy_chunks), name=False)
    pixels = tuple(range(1, data.ndim))
    return da.blockwise(
        _product,
        (*pixels, data.ndim),
        data,
        (0, *pixels),
        table,
        (0, data.ndim),
        dtype=DTYPE,
        concatenate=True,
        meta=np.empty((0,) * data.ndim, DTYPE),
    )


def _product(amounts: np.ndarray, spectra: np.ndarray) -> np.ndarray:
    return np.tensordot(amounts.astype(DTYPE, copy=False), spectra, axes=(0, 0))


def _difference(counts: np.ndarray, expected: np.ndarray) -> np.ndarray:
    return np.subtract(counts, expected, dtype=DTYPE, casting="unsafe")


def _normalised_difference(counts: np.ndarray, expected: np.ndarray) -> np.ndarray:
    out = _difference(counts, expected)
    np.divide(out, np.sqrt(expected, where=expected > 0, out=np.ones_like(expected)), out=out)
    out[(expected <= 0) & (out != 0)] = np.nan
    return out


def _chunked(counts: np.ndarray) -> da.Array:
    leading = counts.ndim - 3
    chunks = (1,) * max(0, leading) + (CHUNK_PX,) * min(2, counts.ndim - 1) + (-1,)
    return da.from_array(counts, chunks=chunks, name=False)


def _cube(piece: MapFactors, energy: xr.DataArray, name: str, array: da.Array, entry: str) -> xr.Dataset:
    coords = {d: piece.dataset.coords[d] for d in piece.pixel_dims if d in piece.dataset.coords}
    return xr.Dataset(
        {name: ((*piece.pixel_dims, schema.ENERGY), array, schema.variable_attrs(name))},
        coords={**coords, schema.ENERGY: energy.variable},
        attrs=schema.with_history(piece.dataset.attrs, entry),
    )


def _joined(maps: dict[str, xr.Dataset], result: xr.Dataset | xr.DataTree) -> xr.Dataset | xr.DataTree:
    if isinstance(result, xr.Dataset):
        return next(iter(maps.values()))
    return xr.DataTree.from_dict({"/": xr.Dataset(attrs=result.attrs), **maps})
