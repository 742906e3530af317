"""Results back to counts: expected cubes and residuals, lazy, block by block."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, overload

import dask.array as da
import numpy as np
import xarray as xr

from edxdask import schema
from edxdask.errors import ParameterError, SchemaError
from edxdask.results.check import check_result, require_variables
from edxdask.results.collections import cubes_in, joined, nodes_of

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
    check_result(result, name=name)
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


@overload
def reconstruct(result: xr.Dataset) -> xr.Dataset: ...
@overload
def reconstruct(result: xr.DataTree) -> xr.DataTree: ...
def reconstruct(result: xr.Dataset | xr.DataTree) -> xr.Dataset | xr.DataTree:
    """Give the counts that a result expects, in every pixel and channel.

    For NMF-like results ``total · abundance · spectrum``, for a PCA ``score · loading``, which undoes its
    weights and may be negative. For selected phases, such as ``result.sel(phase=["Fp"])``, the counts of
    these.

    Parameters
    ----------
    result : Dataset or DataTree
        What ``nmf``, ``psnmf``, ``fcls``, ``pca`` or ``ica`` gave, of a map or of a collection.

    Returns
    -------
    Dataset or DataTree
        ``expected(…, energy)``, lazy float32; a collection of a collection.

    Notes
    -----
    *Chunks*: 64 × 64 pixels with all channels; a chunk needs its pixels' amounts and the spectra only, and
    is one small matrix product. Of a lazy result, the spectra are read; nothing else is computed.

    Examples
    --------
    >>> result = xr.Dataset(
    ...     {
    ...         "spectrum": (("phase", "energy"), [[0.25, 0.75]]),
    ...         "abundance": (("phase", "y", "x"), [[[1.0, 1.0]]]),
    ...         "total": (("y", "x"), [[4.0, 8.0]]),
    ...     },
    ...     {"phase": ["Brg"], "energy": [0.1, 0.2]},
    ... )
    >>> reconstruct(result).expected.values.tolist()
    [[[1.0, 3.0], [2.0, 6.0]]]
    """
    factors = factors_of(result)
    out = {}
    for piece in factors.maps:
        shape = piece.amounts.shape[1:]
        chunks = da.core.normalize_chunks(((1,) * (len(shape) - 2) + (CHUNK_PX,) * min(2, len(shape))), shape)
        array = expected_array(piece.amounts, factors.spectra, chunks, ((factors.spectra.shape[1],)))
        out[piece.name] = _cube(piece, factors.energy, schema.EXPECTED, array, "reconstruct()")
    return joined(out, result)


@overload
def residual(data: xr.Dataset, result: xr.Dataset, *, normalise: bool = False) -> xr.Dataset: ...
@overload
def residual(data: xr.DataTree, result: xr.DataTree, *, normalise: bool = False) -> xr.DataTree: ...
def residual(
    data: xr.Dataset | xr.DataTree, result: xr.Dataset | xr.DataTree, *, normalise: bool = False
) -> xr.Dataset | xr.DataTree:
    """Subtract what a result expects from the counts.

    Parameters
    ----------
    data : Dataset or DataTree
        Cube or collection that was factorized.
    result : Dataset or DataTree
        Result of the same pixels and channels.
    normalise : bool
        Divide by the Poisson standard deviation √expected: noise alone then has variance 1. NaN where
        0 or less (which a PCA can give) is expected and something was found.

    Returns
    -------
    Dataset or DataTree
        ``residual(…, energy)``, lazy float32; a collection of a collection.

    Notes
    -----
    *Chunks*: those of ``counts``; counts in memory get 64 × 64 pixels. Nothing is computed.

    Examples
    --------
    >>> coords = {"energy": [0.1, 0.2]}
    >>> ds = xr.Dataset({"counts": (("y", "x", "energy"), np.array([[[2, 2]]], "u2"))}, coords)
    >>> result = xr.Dataset(
    ...     {
    ...         "spectrum": (("phase", "energy"), [[0.25, 0.75]]),
    ...         "abundance": (("phase", "y", "x"), [[[1.0]]]),
    ...         "total": (("y", "x"), [[4.0]]),
    ...     },
    ...     {"phase": ["Brg"], **coords},
    ... )
    >>> residual(ds, result).residual.values.tolist()
    [[[1.0, -1.0]]]
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
    return joined(out, result)


def check_same_pixels(counts: xr.DataArray, piece: MapFactors, factors: Factors) -> None:
    """Refuse a cube with other pixels or channels than a result."""
    wanted = (*piece.pixel_dims, schema.ENERGY)
    shape = (*piece.amounts.shape[1:], factors.spectra.shape[1])
    if tuple(counts.dims) != wanted or counts.shape != shape:
        raise SchemaError(
            f"counts have {dict(counts.sizes)}, the result {dict(zip(wanted, shape, strict=True))}: give the "
            "cube that was factorized, binned and cropped alike"
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
            f"({theirs[0]:.5g} to {theirs[-1]:.5g} keV): crop or calibrate both alike"
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
