"""Sweeps of the multiplicative updates over one block, and products of its counts with narrow matrices.

Each function takes a ``PhotonBlock`` or a ``SplitBlock`` and gives the same numbers for both; who sweeps more
than once splits first.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from edxdask.errors import ParameterError
from edxdask.photons.kernels.factor import (
    LINE,
    back_project_tiles,
    curvature_tiles,
    frobenius_tiles,
    kl_tiles,
    project_tiles,
    square_sum,
)
from edxdask.photons.kernels.lanes import LANES
from edxdask.photons.kernels.split import STRIP, TILE_PIXELS
from edxdask.photons.kernels.strips import ROW
from edxdask.photons.split import Block, SplitBlock, choose, counts_of
from edxdask.photons.sweep import EPSILON, MAX_PHASES, FroSweep, Sweep, check_factors, check_width

KEPT_ROWS = 8192  # of sixteen numbers, half a megabyte in single precision; enough for any one group
SMALLEST_FIT = 1e-18  # where no phase has anything: a constant that moves no fraction, and has a square


def kl_sweep(
    block: Block,
    abundance: np.ndarray,
    spectra: np.ndarray,
    *,
    inner: int = 1,
    update_abundance: bool = True,
    spectra_statistics: bool = True,
    log_term: bool = True,
    frozen: np.ndarray | None = None,
) -> Sweep:
    """One multiplicative (EM) update of the abundances, and the statistics for that of the spectra.

    A ← A · (Σ_e r S) / (Σ_e S) with r = y / ŷ at the counts; then Σ_i r A at the *new* abundances, which is
    scikit-learn's order. ``numerator / column_sums`` is the factor by which the spectra change.

    Parameters
    ----------
    block
        Counts of ``n`` pixels and ``E`` channels.
    abundance
        (n, k), C-contiguous, float32 or float64; changed in place. Zeros stay zeros, which is how an
        entry is forbidden; others stop at 1e-19 counts in single precision (``least_of``).
    spectra
        (k, E) of the same dtype; rows of any positive sum.
    inner
        Abundance updates before the statistics; a pixel's photons stay in the cache.
    update_abundance, spectra_statistics, log_term
        What is wanted; logarithms are a quarter of the work.
    frozen
        (k,) phases whose abundance is kept.

    Examples
    --------
    >>> from edxdask.photons import from_dense
    >>> block = from_dense(np.array([[4, 0], [1, 3]], dtype=np.uint16))
    >>> abundance = np.array([[2.0, 2.0], [2.0, 2.0]])
    >>> sweep = kl_sweep(block, abundance, np.array([[0.75, 0.25], [0.25, 0.75]]))
    >>> abundance.tolist()
    [[3.0, 1.0], [1.5, 2.5]]
    """
    factors = check_factors(block.pixels, block.channels, abundance, spectra, inner=inner, frozen=frozen)
    work = _Work.of(block, factors.phases, factors.dtype)
    lanes, k = len(work.like), factors.phases
    rest, full = work.room(spectra_statistics)
    sums, log_sums = np.empty((2, lanes)), np.zeros((2, LANES))
    kl_tiles(
        work.like, work.width, *work.counts, abundance, *work.tables(factors.spectra.T),
        pad_columns(factors.rules, lanes, factors.dtype),
        factors.dtype.type(EPSILON), inner, update_abundance, spectra_statistics, log_term,
        work.place, work.weight, work.tile, work.added, work.wide_tile, work.across, work.across_gain, rest,
        full, sums, log_sums, work.shapes(),
    )  # fmt: skip
    logarithms = _log_term(log_sums) if log_term else math.nan
    return Sweep(work.whole(rest, full), sums[1, :k], sums[0, :k], logarithms)


def frobenius_sweep(
    block: Block,
    abundance: np.ndarray,
    spectra: np.ndarray,
    *,
    gram: np.ndarray | None = None,
    inner: int = 1,
    update_abundance: bool = True,
    spectra_statistics: bool = True,
    frozen: np.ndarray | None = None,
) -> FroSweep:
    """One multiplicative update of the abundances for least squares, and the statistics of the spectra.

    A ← A · (X Sᵀ) / (A S Sᵀ), then AᵀX and AᵀA at the new abundances (scikit-learn's order); the spectra
    change by the factor ``numerator / (gram @ spectra)``.

    Parameters
    ----------
    block, abundance, spectra, inner, update_abundance, spectra_statistics, frozen
        As in ``kl_sweep``.
    gram
        (k, k) S Sᵀ, if it is known.

    Examples
    --------
    >>> from edxdask.photons import from_dense
    >>> block = from_dense(np.array([[4, 0], [1, 3]], dtype=np.uint16))
    >>> abundance = np.ones((2, 2))
    >>> frobenius_sweep(block, abundance, np.eye(2)).loss_entry, abundance.tolist()
    (7.0, [[4.0, 0.0], [1.0, 3.0]])
    """
    factors = check_factors(block.pixels, block.channels, abundance, spectra, inner=inner, frozen=frozen)
    own = spectra @ spectra.T if gram is None else np.asarray(gram, dtype=factors.dtype)
    work = _Work.of(block, factors.phases, factors.dtype)
    lanes, k = len(work.like), factors.phases
    square_gram = np.zeros((lanes, lanes), dtype=factors.dtype)
    square_gram[:k, :k] = own
    rest, full = work.room(spectra_statistics)
    outer, sums = np.zeros((lanes, lanes)), np.empty((2, lanes))
    frobenius_tiles(
        work.like, work.width, *work.counts, abundance, *work.tables(factors.spectra.T), square_gram,
        pad_columns(factors.rules, lanes, factors.dtype), factors.dtype.type(EPSILON), inner,
        update_abundance, spectra_statistics, work.place, work.weight, work.tile, work.added, work.wide_tile,
        work.across, work.wide, work.across_gain, rest, full, outer, sums,
    )  # fmt: skip
    own_gram = outer[:k, :k].copy() if spectra_statistics else np.empty((k, 0))
    return FroSweep(
        work.whole(rest, full), own_gram, float(sums[0].sum()), float(sums[1].sum()), squares(block)
    )


def likelihood_model(
    block: Block, amounts: np.ndarray, spectra: np.ndarray
) -> tuple[np.ndarray, np.ndarray, float]:
    """Slopes and curvatures of Σ y log ŷ of every pixel, ŷ = Σ_k a_k S_k, and the sum itself.

    Returns
    -------
    slopes : (n, k), Σ_e y S_k / ŷ
    curvatures : (n, (k - 1) k / 2), Σ_e y D_c D_d / ŷ² with D_c = S_c - S_last, for d <= c row by row
    log_term : Σ y log ŷ

    Examples
    --------
    >>> from edxdask.photons import from_dense
    >>> block = from_dense(np.array([[4, 2]], dtype=np.uint16))
    >>> slopes, curvatures, _ = likelihood_model(block, np.array([[0.5, 0.5]]), np.eye(2))
    >>> slopes.tolist(), curvatures.tolist()
    ([[8.0, 4.0]], [[24.0]])
    """
    factors = check_factors(block.pixels, block.channels, amounts, spectra, inner=1, frozen=None)
    work = _Work.of(block, factors.phases, factors.dtype)
    above = spectra[:-1] - spectra[-1:]
    rows, columns = np.tril_indices(len(above))
    products = (above[rows] * above[columns]).T
    slopes = np.empty_like(amounts)
    curvatures = np.empty((block.pixels, rows.size), dtype=factors.dtype)
    log_sums = np.zeros((2, LANES))
    for begin in range(0, max(1, rows.size), MAX_PHASES):  # all at once up to eight phases
        some = np.ascontiguousarray(products[:, begin : begin + MAX_PHASES])
        curve = _Work.of(work.split, max(1, some.shape[1]), factors.dtype)
        found = np.empty((block.pixels, some.shape[1]), dtype=factors.dtype)
        log_sums[:] = 0
        curvature_tiles(
            work.width, curve.width, *work.counts, amounts, *work.tables(spectra.T), *curve.tables(some),
            factors.dtype.type(SMALLEST_FIT), work.place, curve.place, work.tile, work.added, work.across,
            work.across_gain, curve.added, curve.across_gain, log_sums, slopes, found,
        )  # fmt: skip
        curvatures[:, begin : begin + MAX_PHASES] = found
    return slopes, curvatures, _log_term(log_sums)


def _log_term(log_sums: np.ndarray) -> float:
    return float(log_sums[0].sum() + math.log(2.0) * log_sums[1].sum())


def entropy_term(block: Block) -> float:
    """Return Σ (y log y - y), the part of the Kullback-Leibler divergence that no factor changes.

    Examples
    --------
    >>> from edxdask.photons import from_dense
    >>> entropy_term(from_dense(np.array([[1, 0, 1]], dtype=np.uint16)))
    -2.0
    """
    return sum(_entropy_of(count) for count in counts_of(block))


def _entropy_of(count: np.ndarray) -> float:
    if count.dtype.itemsize > 2:
        large = count[count > 0].astype(np.float64)
        return float(np.sum(large * np.log(large) - large))
    times = np.bincount(count)[1:].astype(np.float64)  # 65536 logarithms at most
    size = np.arange(1, times.size + 1, dtype=np.float64)
    return float(np.sum(times * (size * np.log(size) - size)))


def squares(block: Block) -> float:
    """Return Σ y².

    Examples
    --------
    >>> from edxdask.photons import from_dense
    >>> squares(from_dense(np.array([[1, 0, 3]], dtype=np.uint16)))
    10.0
    """
    return float(sum(square_sum(count) for count in counts_of(block)))


def project(block: Block, basis: np.ndarray) -> np.ndarray:
    """Return the counts times a narrow matrix: (n, p) = Y V for V of (E, p), in V's dtype.

    Examples
    --------
    >>> from edxdask.photons import from_dense
    >>> project(from_dense(np.array([[4, 0], [1, 3]], dtype=np.uint16)), np.array([[1.0], [-1.0]])).tolist()
    [[4.0], [-2.0]]
    """
    _check_matrix("basis", basis, block.channels)
    work = _Work.of(block, basis.shape[1], basis.dtype)
    out = np.empty((block.pixels, basis.shape[1]), dtype=basis.dtype)
    project_tiles(
        work.width, *work.counts, *work.tables(basis), work.place, work.tile, work.added, work.across,
        work.across_gain, out,
    )  # fmt: skip
    return out


def back_project(block: Block, values: np.ndarray) -> np.ndarray:
    """Return the transposed counts times a narrow matrix: (E, p) float64 = Yᵀ U for U of (n, p).

    Examples
    --------
    >>> from edxdask.photons import from_dense
    >>> block = from_dense(np.array([[4, 0], [1, 3]], dtype=np.uint16))
    >>> back_project(block, np.array([[1.0], [2.0]])).tolist()
    [[6.0], [6.0]]
    """
    _check_matrix("values", values, block.pixels)
    work = _Work.of(block, values.shape[1], values.dtype)
    rest, full = work.room(True)
    back_project_tiles(
        work.width, *work.counts, values, work.place, work.weight, work.tile, work.wide_tile, work.across,
        work.wide, rest, full,
    )  # fmt: skip
    return np.ascontiguousarray(work.whole(rest, full).T)


def _check_matrix(name: str, matrix: np.ndarray, rows: int) -> None:
    if matrix.ndim != 2 or matrix.shape[0] != rows or matrix.dtype not in (np.float32, np.float64):
        raise ParameterError(name, f"{matrix.dtype} {matrix.shape}", f"a float array of {rows} rows")
    check_width(name, matrix.shape[1])


@dataclass(frozen=True)
class _Work:
    """A block as the kernels take it, and scratch for one call.

    Attributes
    ----------
    like, width : tell the kernels how many lanes, and how many vectors a dense channel, to compile for
    phases : columns that are wanted
    split : the block
    place, weight : of the photons of a group, where their channels' rows begin, and what they are worth
    tile, wide_tile : abundances of a tile's pixels, the latter in double precision
    added : sums of their gains
    across, wide, across_gain : abundances, these in double precision, and gains, sixteen pixels side by side
    """

    like: tuple[int, ...]
    width: tuple[int, ...]
    phases: int
    split: SplitBlock
    place: np.ndarray
    weight: np.ndarray
    tile: np.ndarray
    wide_tile: np.ndarray
    added: np.ndarray
    across: np.ndarray
    wide: np.ndarray
    across_gain: np.ndarray

    @staticmethod
    def of(block: Block, phases: int, dtype: np.dtype[Any]) -> _Work:
        split = block if isinstance(block, SplitBlock) else choose(block)
        lanes = -(-phases // ROW) * ROW
        width = phases if phases <= ROW else lanes
        across = (TILE_PIXELS // LANES * width, LANES)
        return _Work(
            (0,) * lanes,
            (0,) * width,
            phases,
            split,
            *scratch(
                ((STRIP, LANES), np.uint32),
                ((STRIP, LANES), np.float64),
                ((TILE_PIXELS, lanes), dtype),
                ((TILE_PIXELS, lanes), np.float64),
                ((TILE_PIXELS, lanes), dtype),
                (across, dtype),
                (across, np.float64),
                (across, dtype),
            ),
        )

    @property
    def counts(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """What kernels take of the block."""
        split = self.split
        return split.dense, split.tiles, split.steps, split.owner, split.channel, split.count

    def tables(self, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """``(E, phases)`` as rows of whole vectors, and the rows of the channels held dense."""
        dtype, full = self.tile.dtype, self.split.full
        rows, some = scratch(((len(columns), len(self.like)), dtype), ((full.size, len(self.width)), dtype))
        rows[:, : columns.shape[1]], some[:, : columns.shape[1]] = columns, columns[full]
        return rows, some

    def room(self, wanted: bool) -> tuple[np.ndarray, np.ndarray]:
        """Room for sums over the pixels: of photons by channels, and of the channels held dense."""
        rows = (self.split.channels, self.split.full.size) if wanted else (0, 0)
        rest, full = scratch(
            ((rows[0], len(self.like)), np.float64), ((rows[1], len(self.width)), np.float64)
        )
        return rest, full

    def shapes(self) -> np.ndarray:
        """Room for the spectra at a tile's photons, as far as it stays near the processor."""
        longest = np.diff(self.split.steps[self.split.tiles]).max(initial=0) * len(self.width)
        return scratch(((int(min(longest, KEPT_ROWS)), LANES), self.tile.dtype))[0]

    def whole(self, rest: np.ndarray, full: np.ndarray) -> np.ndarray:
        """Join the sums of both, as (phases, E)."""
        if len(full):
            rest[self.split.full, : self.phases] = full[:, : self.phases]
        return np.ascontiguousarray(rest[:, : self.phases].T)


def pad_columns(values: np.ndarray, lanes: int, dtype: np.dtype) -> np.ndarray:
    """C-contiguous copy with columns of zeros up to ``lanes``: one row is one vector of the kernels."""
    out = np.zeros((values.shape[0], lanes), dtype=dtype)
    out[:, : values.shape[1]] = values
    return out


def scratch(*wanted: tuple[tuple[int, ...], np.dtype[Any] | type]) -> list[np.ndarray]:
    """Arrays of zeros, for each a shape and a dtype, that begin where a line of the cache does.

    A row that lies in two lines takes twice as long.
    """
    begins, size = [], 0
    for shape, dtype in wanted:
        begins.append(size)
        size += -(-math.prod(shape) * np.dtype(dtype).itemsize // LINE) * LINE
    room = np.zeros(size + LINE, dtype=np.uint8)
    shift = -room.ctypes.data % LINE
    return [
        np.ndarray(shape, dtype, room, shift + begin)
        for (shape, dtype), begin in zip(wanted, begins, strict=True)
    ]
