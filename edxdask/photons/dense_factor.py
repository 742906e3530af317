"""Blocks so full that photons no longer pay: the counts stay dense, the answers are the same."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edxdask.photons.block import PhotonBlock, to_dense
from edxdask.photons.kernels.dense_factor import (
    GROUP,
    TILE_ROWS,
    dense_back_project_tiles,
    dense_frobenius_tiles,
    dense_kl_tiles,
    dense_project_tiles,
)
from edxdask.photons.kernels.factor import LOG_LANES, PAD, square_sum
from edxdask.photons.logs import log_sum
from edxdask.photons.sweep import EPSILON, Factors, FroSweep, Sweep

# Measured on 2048 channels, one thread, ns a voxel as photons and dense: k = 3 in single precision
# 0.44 and 0.83 at a fill of 0.2, 0.80 and 0.84 at 0.35, 1.14 and 0.80 at 0.5. So does memory break even:
# 3 bytes a photon, 1 a dense voxel. (In double precision and at k = 16 the times break even near 0.5.)
DENSE_FILL = 0.35


@dataclass(frozen=True, slots=True)
class DenseBlock:
    """Counts of ``n`` pixels held dense.

    Attributes
    ----------
    counts : (n, channels) uint8, uint16 or uint32, C-contiguous
    """

    counts: np.ndarray

    @property
    def pixels(self) -> int:
        """Number of pixels."""
        return int(self.counts.shape[0])

    @property
    def channels(self) -> int:
        """Length of the energy axis."""
        return int(self.counts.shape[1])

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self.counts.nbytes

    @property
    def total(self) -> int:
        """Number of photons."""
        return int(self.counts.sum(dtype=np.int64))


def choose(block: PhotonBlock) -> PhotonBlock | DenseBlock:
    """Return ``block``, or its dense form where more than ``DENSE_FILL`` of it is filled.

    Examples
    --------
    >>> from edxdask.photons import from_dense
    >>> type(choose(from_dense(np.eye(8, dtype=np.uint16)))).__name__
    'PhotonBlock'
    >>> type(choose(from_dense(np.ones((8, 8), dtype=np.uint16)))).__name__
    'DenseBlock'
    """
    if block.count.size <= DENSE_FILL * block.pixels * block.channels:
        return block
    return DenseBlock(to_dense(block, block.count.dtype))


def dense_kl(
    block: DenseBlock,
    abundance: np.ndarray,
    spectra: np.ndarray,
    factors: Factors,
    inner: int,
    joint: bool,
    update: bool,
    statistics: bool,
) -> Sweep:
    """``kl_sweep`` of a dense block."""
    k, dtype = factors.phases, factors.dtype
    width = _width(k)
    size = TILE_ROWS * block.channels + PAD
    number = np.zeros(size, dtype=block.counts.dtype)
    fit, ratio = np.zeros(size, dtype=dtype), np.zeros(size, dtype=dtype)
    tile, gain = (np.zeros((TILE_ROWS, width), dtype=dtype) for _ in range(2))
    numerator = np.zeros((k, block.channels if statistics else 0))
    sums, product, exponent = (
        np.zeros((2, width)),
        np.ones((32, LOG_LANES)),
        np.zeros((32, LOG_LANES), np.int64),
    )
    photons = dense_kl_tiles(
        block.counts, abundance, _pad_rows(spectra, dtype), factors.rate.astype(dtype),
        factors.keep.astype(dtype), dtype.type(EPSILON), inner, joint, update, statistics,
        number, fit, ratio, tile, gain, numerator, sums, product, exponent,
    )  # fmt: skip
    return Sweep(numerator, sums[1, :k], sums[0, :k], log_sum(product, exponent), int(photons))


def dense_frobenius(
    block: DenseBlock,
    abundance: np.ndarray,
    spectra: np.ndarray,
    gram: np.ndarray,
    factors: Factors,
    inner: int,
    update: bool,
    statistics: bool,
) -> FroSweep:
    """``frobenius_sweep`` of a dense block."""
    k, dtype = factors.phases, factors.dtype
    width = _width(k)
    padded = np.zeros((width, width), dtype=dtype)
    padded[:k, :k] = gram
    number = np.zeros((TILE_ROWS, block.channels), dtype=dtype)
    tile, gain = (np.zeros((TILE_ROWS, width), dtype=dtype) for _ in range(2))
    numerator = np.zeros((k, block.channels if statistics else 0))
    outer, sums = np.zeros((width, width)), np.zeros(2)
    dense_frobenius_tiles(
        block.counts, abundance, _pad_rows(spectra, dtype), padded, factors.keep.astype(dtype),
        dtype.type(EPSILON), inner, update, statistics, number, tile, gain, np.zeros(width, dtype=dtype),
        numerator, outer, sums,
    )  # fmt: skip
    own = outer[:k, :k].copy() if statistics else np.empty((k, 0))
    return FroSweep(numerator, own, float(sums[0]), float(sums[1]), square_sum(block.counts.reshape(-1)))


def dense_project(block: DenseBlock, basis: np.ndarray) -> np.ndarray:
    """``project`` of a dense block."""
    number = np.zeros((TILE_ROWS, block.channels), dtype=basis.dtype)
    gain = np.zeros((TILE_ROWS, _width(basis.shape[1])), dtype=basis.dtype)
    out = np.empty((block.pixels, basis.shape[1]), dtype=basis.dtype)
    dense_project_tiles(block.counts, _pad_rows(basis.T, basis.dtype), number, gain, out)
    return out


def dense_back_project(block: DenseBlock, values: np.ndarray) -> np.ndarray:
    """``back_project`` of a dense block."""
    number = np.zeros((TILE_ROWS, block.channels), dtype=values.dtype)
    tile = np.zeros((TILE_ROWS, _width(values.shape[1])), dtype=values.dtype)
    out = np.zeros((values.shape[1], block.channels))
    dense_back_project_tiles(block.counts, values, number, tile, out)
    return np.ascontiguousarray(out.T)


def _width(phases: int) -> int:
    return -(-phases // GROUP) * GROUP


def _pad_rows(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """C-contiguous copy with rows of zeros up to a multiple of ``GROUP``."""
    out = np.zeros((_width(values.shape[0]), values.shape[1]), dtype=dtype)
    out[: values.shape[0]] = values
    return out
