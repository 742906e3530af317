"""A matrix of counts, pixels × channels, as a cube; the best amounts of known spectra in its rows."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import dask
import dask.array as da
import numpy as np
import xarray as xr
from scipy.sparse import issparse
from sklearn.exceptions import ConvergenceWarning

from edxdask import schema
from edxdask.engine.partition import Partition
from edxdask.engine.problem import Problem
from edxdask.engine.states import PixelStates
from edxdask.engine.step import State
from edxdask.errors import ParameterError
from edxdask.factorize.fcls import LikelihoodStep
from edxdask.factorize.iteration.gather import gather_abundance
from edxdask.factorize.iteration.rounds import entropy_of
from edxdask.factorize.iteration.starts import GivenState, ZeroState
from edxdask.factorize.iteration.sweep_step import Call, Loss, SweepStep
from edxdask.photons import PhotonBlock, from_dense, project, to_dense
from edxdask.photons.block import MAX_COUNT, count_dtype

PIECE_BYTES = 8 * 2**20  # dense, of the rows that are turned into photons at once
MOST_PHOTONS = 2.0**60  # of all rows: their sums must stay below 2**63
MOST_TURNS, LEAST_CHANGE = 5000, 1e-11  # of least squares; relative to the largest amount of a row

Count = Callable[[np.ndarray], np.ndarray]


def cube_of(matrix: Any) -> tuple[xr.Dataset, float]:
    """Cube of one pixel per row, and what one count of it is in units of ``matrix``.

    Whole numbers that fit 32 bits are counts, and the unit is 1. Others are rounded to whole numbers of the
    smallest unit with which all fit.

    Parameters
    ----------
    matrix : array or sparse CSR matrix
        Finite numbers of at least 0, pixels × channels.

    Examples
    --------
    >>> cube, unit = cube_of(np.array([[0.0, 2.0], [1.0, 0.0]]))
    >>> cube.counts.dims, cube.counts.values[:, 0].tolist(), unit
    (('y', 'x', 'energy'), [[0, 2], [1, 0]], 1.0)
    """
    rows, channels = matrix.shape
    height = max(1, PIECE_BYTES // (4 * channels))
    pieces = [slice(top, min(top + height, rows)) for top in range(0, rows, height)]
    values = [matrix.data] if issparse(matrix) else [matrix[piece] for piece in pieces]
    largest = max((float(part.max(initial=0)) for part in values), default=0.0)
    if largest == 0:
        raise ParameterError("X", "zeros only", "counts, at least one of them above 0")
    unit = 1.0
    if largest > MAX_COUNT or not all(map(_whole, values)):
        total = sum(float(part.sum(dtype=np.float64)) for part in values)
        unit = max(largest / MAX_COUNT, total / MOST_PHOTONS)

    def counted(part: np.ndarray) -> np.ndarray:
        if unit == 1.0:
            return part.astype(np.uint32)
        return np.minimum(np.rint(part.astype(np.float64) / unit), MAX_COUNT).astype(np.uint32)

    block = _sparse_rows if issparse(matrix) else _dense_rows
    dtype = np.dtype(count_dtype(int(min(largest, MAX_COUNT))) if unit == 1.0 else np.uint32)
    make = dask.delayed(_counts, pure=False)
    arrays = [
        da.from_delayed(
            make(dask.delayed(block(matrix, piece, counted), pure=False, traverse=False), dtype),
            (piece.stop - piece.start, 1, channels),
            dtype,
        )
        for piece in pieces
    ]
    dims = (schema.Y, schema.X, schema.ENERGY)
    axis = schema.energy_coordinate(0.0, 0.01, channels)  # a place holder: nothing here uses energies
    return xr.Dataset({schema.COUNTS: (dims, da.concatenate(arrays))}, {schema.ENERGY: axis}), unit


def _whole(part: np.ndarray) -> bool:
    return part.dtype.kind != "f" or bool(np.array_equal(part, np.rint(part)))


def _dense_rows(matrix: np.ndarray, piece: slice, counted: Count) -> PhotonBlock:
    return from_dense(counted(matrix[piece]))


def _sparse_rows(matrix: Any, piece: slice, counted: Count) -> PhotonBlock:
    own = matrix[piece]  # a copy
    own.sum_duplicates()
    counts = counted(own.data)
    seen = counts > 0  # stored zeros, and what is less than half a unit
    indptr = np.concatenate([[0], np.cumsum(seen)])[own.indptr].astype(np.int64)
    narrow = count_dtype(int(counts.max(initial=0)))
    return PhotonBlock(
        indptr, own.indices[seen].astype(np.uint16), counts[seen].astype(narrow), matrix.shape[1]
    )


def _counts(block: PhotonBlock, dtype: np.dtype[Any]) -> np.ndarray:
    return to_dense(block, dtype)[:, None, :]


def best_amounts(problem: Problem, spectra: np.ndarray, loss: Loss) -> np.ndarray:
    """Amounts (pixels, k) of at least 0 that minimise ``loss``, for spectra (k, E) that sum to 1."""
    if loss == "frobenius":
        products = np.concatenate(list(problem.executor.collect(products_of, spectra)))
        return least_squares(products, spectra @ spectra.T)
    problem.executor.start(ZeroState(len(spectra), np.dtype(np.float64)))
    missed = int(problem.executor.advance(LikelihoodStep(), spectra)["failed"])
    if missed:
        warnings.warn(
            f"{missed} rows of X are not fitted to the last digit: are two components nearly the same?",
            ConvergenceWarning,
            stacklevel=4,
        )
    return gather_abundance(PixelStates.now(problem))


def products_of(partition: Partition, state: State, spectra: np.ndarray) -> np.ndarray:
    """Products of the counts of a partition with spectra, (pixels, k)."""
    out = np.empty((partition.plan.pixels, len(spectra)))
    for where, block in partition.blocks():
        out[where] = project(block, np.ascontiguousarray(spectra.T))
    return out


def least_squares(products: np.ndarray, gram: np.ndarray) -> np.ndarray:
    """Non-negative least squares of many rows: minimise ½ a·G·a - p·a for each row p of ``products``.

    One coordinate after the other, all rows at once; what has converged stays as it is.

    Examples
    --------
    >>> least_squares(np.array([[2.0, -1.0]]), np.eye(2)).tolist()
    [[2.0, 0.0]]
    """
    amounts = np.zeros_like(products)
    open_rows = np.arange(len(products))
    for _ in range(MOST_TURNS):
        own = amounts[open_rows]
        before = own.copy()
        for j in np.flatnonzero(np.diag(gram) > 0):
            slope = own @ gram[:, j] - products[open_rows, j]
            own[:, j] = np.maximum(own[:, j] - slope / gram[j, j], 0)
        amounts[open_rows] = own
        moved = np.abs(own - before).max(axis=1) > LEAST_CHANGE * own.max(axis=1)
        open_rows = open_rows[moved]
        if not open_rows.size:
            break
    return amounts


def loss_of(problem: Problem, amounts: np.ndarray, spectra: np.ndarray, loss: Loss) -> float:
    """Divergence of the counts from ``amounts @ spectra``, or half the squared differences."""
    problem.executor.start(GivenState(amounts.copy()))
    step = SweepStep(loss, spectra_statistics=False, update_abundance=False)
    found = float(problem.executor.advance(step, Call(np.ascontiguousarray(spectra)))["loss"])
    return found + (sum(problem.executor.collect(entropy_of)) if loss == "kl" else 0.0)
