"""Sweeps of the multiplicative updates over one block, and products of its counts with narrow matrices.

Each function takes a ``PhotonBlock`` or a ``DenseBlock`` and gives the same numbers for both.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edxdask.errors import ParameterError
from edxdask.photons.block import PhotonBlock
from edxdask.photons.dense_factor import (
    DenseBlock,
    dense_back_project,
    dense_frobenius,
    dense_kl,
    dense_project,
)
from edxdask.photons.kernels.factor import (
    GROUP,
    LOG_LANES,
    PAD,
    back_project_tiles,
    frobenius_tiles,
    kl_tiles,
    project_tiles,
    square_sum,
)
from edxdask.photons.logs import log_sum
from edxdask.photons.sweep import EPSILON, FroSweep, Sweep, check_factors, check_width

# A tile's channels, fits and ratios must stay in a 32 KiB first-level cache beside the busy spectra.
TILE_PHOTONS = 1024
TILE_PIXELS = 256

Block = PhotonBlock | DenseBlock


def kl_sweep(
    block: Block,
    abundance: np.ndarray,
    spectra: np.ndarray,
    *,
    joint: bool = False,
    inner: int = 1,
    update_abundance: bool = True,
    spectra_statistics: bool = True,
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
        entry is forbidden.
    spectra
        (k, E) of the same dtype; rows of any positive sum.
    joint
        Take both factors from the same ratios (as in PLSA): one pass instead of two.
    inner
        Abundance updates before the statistics; a pixel's photons stay in the cache.
    update_abundance, spectra_statistics
        What is wanted.
    frozen
        (k,) phases whose abundance is kept.

    Examples
    --------
    >>> from edxdask.photons import from_dense
    >>> block = from_dense(np.array([[4, 0], [1, 3]], dtype=np.uint16))
    >>> abundance = np.array([[2.0, 2.0], [2.0, 2.0]])
    >>> sweep = kl_sweep(block, abundance, np.array([[0.75, 0.25], [0.25, 0.75]]))
    >>> abundance.tolist(), sweep.photons
    ([[3.0, 1.0], [1.5, 2.5]], 8)
    """
    factors = check_factors(block.pixels, block.channels, abundance, spectra, inner=inner, frozen=frozen)
    if isinstance(block, DenseBlock):
        return dense_kl(
            block, abundance, spectra, factors, inner, joint, update_abundance, spectra_statistics
        )
    work = _Work.of(block, factors.phases, factors.dtype)
    lanes = len(work.like)
    table = pad_columns(spectra.T, lanes, factors.dtype)
    numerator = np.zeros((block.channels if spectra_statistics else 1, lanes))
    sums, product, exponent = (
        np.empty((2, lanes)),
        np.ones((32, LOG_LANES)),
        np.zeros((32, LOG_LANES), np.int64),
    )
    photons = kl_tiles(
        work.like, block.indptr, block.channel, block.count, abundance, table,
        pad_columns(factors.rate[None], lanes, factors.dtype),
        pad_columns(factors.keep[None], lanes, factors.dtype),
        factors.dtype.type(EPSILON), inner, joint, update_abundance, spectra_statistics,
        work.index, work.number, work.fit, work.ratio, work.tile, work.place, work.owner,
        numerator, sums, product, exponent,
    )  # fmt: skip
    k = factors.phases
    found = np.ascontiguousarray(numerator[:, :k].T) if spectra_statistics else np.empty((k, 0))
    return Sweep(found, sums[1, :k], sums[0, :k], log_sum(product, exponent), int(photons))


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
    if isinstance(block, DenseBlock):
        return dense_frobenius(
            block, abundance, spectra, own, factors, inner, update_abundance, spectra_statistics
        )
    work = _Work.of(block, factors.phases, factors.dtype)
    lanes, k = len(work.like), factors.phases
    square_gram = np.zeros((lanes, lanes), dtype=factors.dtype)
    square_gram[:k, :k] = own
    numerator = np.zeros((block.channels if spectra_statistics else 1, lanes))
    outer, sums = np.zeros((lanes, lanes)), np.empty((2, lanes))
    frobenius_tiles(
        work.like, block.indptr, block.channel, block.count, abundance,
        pad_columns(spectra.T, lanes, factors.dtype), square_gram,
        pad_columns(factors.keep[None], lanes, factors.dtype), factors.dtype.type(EPSILON), inner,
        update_abundance, spectra_statistics, work.index, work.number, work.ratio, work.tile, work.place,
        work.owner, numerator, outer, sums,
    )  # fmt: skip
    found = np.ascontiguousarray(numerator[:, :k].T) if spectra_statistics else np.empty((k, 0))
    own_gram = outer[:k, :k].copy() if spectra_statistics else np.empty((k, 0))
    return FroSweep(found, own_gram, float(sums[0].sum()), float(sums[1].sum()), square_sum(block.count))


def entropy_term(block: Block) -> float:
    """Return Σ (y log y - y), the part of the Kullback-Leibler divergence that no factor changes.

    Examples
    --------
    >>> from edxdask.photons import from_dense
    >>> entropy_term(from_dense(np.array([[1, 0, 1]], dtype=np.uint16)))
    -2.0
    """
    count = block.counts.ravel() if isinstance(block, DenseBlock) else block.count
    if count.dtype.itemsize > 2:
        large = count[count > 0].astype(np.float64)
        return float(np.sum(large * np.log(large) - large))
    times = np.bincount(count)[1:].astype(np.float64)  # 65536 logarithms at most
    size = np.arange(1, times.size + 1, dtype=np.float64)
    return float(np.sum(times * (size * np.log(size) - size)))


def project(block: Block, basis: np.ndarray) -> np.ndarray:
    """Return the counts times a narrow matrix: (n, p) = Y V for V of (E, p), in V's dtype.

    Examples
    --------
    >>> from edxdask.photons import from_dense
    >>> project(from_dense(np.array([[4, 0], [1, 3]], dtype=np.uint16)), np.array([[1.0], [-1.0]])).tolist()
    [[4.0], [-2.0]]
    """
    _check_matrix("basis", basis, block.channels)
    if isinstance(block, DenseBlock):
        return dense_project(block, basis)
    work = _Work.of(block, basis.shape[1], basis.dtype)
    out = np.empty((block.pixels, basis.shape[1]), dtype=basis.dtype)
    table = pad_columns(basis, len(work.like), basis.dtype)
    project_tiles(
        work.like, block.indptr, block.channel, block.count, table,
        work.index, work.number, work.ratio, work.tile, work.place, work.owner, out,
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
    if isinstance(block, DenseBlock):
        return dense_back_project(block, values)
    work = _Work.of(block, values.shape[1], values.dtype)
    out = np.zeros((block.channels, len(work.like)))
    back_project_tiles(
        work.like, block.indptr, block.channel, block.count, values,
        work.index, work.number, work.ratio, work.tile, work.place, work.owner, out,
    )  # fmt: skip
    return np.ascontiguousarray(out[:, : values.shape[1]])


def _check_matrix(name: str, matrix: np.ndarray, rows: int) -> None:
    if matrix.ndim != 2 or matrix.shape[0] != rows or matrix.dtype not in (np.float32, np.float64):
        raise ParameterError(name, f"{matrix.dtype} {matrix.shape}", f"a float array of {rows} rows")
    check_width(name, matrix.shape[1])


@dataclass(frozen=True)
class _Work:
    """Scratch of one call.

    Attributes
    ----------
    like : tells the kernels how many lanes to compile for
    index, number, fit, ratio : of each photon of a tile
    tile : abundances of its pixels
    place : first group of each pixel, and the end
    owner : pixel of each group
    """

    like: tuple[int, ...]
    index: np.ndarray
    number: np.ndarray
    fit: np.ndarray
    ratio: np.ndarray
    tile: np.ndarray
    place: np.ndarray
    owner: np.ndarray

    @staticmethod
    def of(block: PhotonBlock, phases: int, dtype: np.dtype) -> _Work:
        lanes = 1 << (phases - 1).bit_length()
        largest = int(np.diff(block.indptr).max(initial=0))
        room = -(-max(TILE_PHOTONS, largest) // GROUP) * GROUP
        size = room + PAD
        return _Work(
            (0,) * lanes,
            np.zeros(size, dtype=np.uint16),
            np.zeros(size, dtype=block.count.dtype),
            np.zeros(size, dtype=dtype),
            np.zeros(size, dtype=dtype),
            np.zeros((TILE_PIXELS, lanes), dtype=dtype),
            np.zeros(TILE_PIXELS + 1, dtype=np.int64),
            np.zeros(room // GROUP + PAD, dtype=np.uint16),
        )


def pad_columns(values: np.ndarray, lanes: int, dtype: np.dtype) -> np.ndarray:
    """C-contiguous copy with columns of zeros up to ``lanes``: one row is one vector of the kernels."""
    out = np.zeros((values.shape[0], lanes), dtype=dtype)
    out[:, : values.shape[1]] = values
    return out
