"""Moments of a block: its sum spectrum, the spectra of groups of its pixels, its pixels' totals."""

from __future__ import annotations

import numpy as np

from edxdask.photons.kernels.arrangement import totals_of
from edxdask.photons.kernels.photon_lists import add_grouped, add_spectra, add_totals
from edxdask.photons.sweep_block import Block, SweepBlock, as_photons


def sum_spectrum(block: Block) -> np.ndarray:
    """Return the counts summed over pixels: (E,) int64.

    Examples
    --------
    >>> from edxdask.photons import from_dense
    >>> sum_spectrum(from_dense(np.array([[1, 0], [2, 3]], dtype=np.uint16))).tolist()
    [3, 3]
    """
    out = np.zeros(block.channels, dtype=np.int64)
    if isinstance(block, SweepBlock):
        arrays = block.arrays
        add_spectra(arrays.channel.ravel(), arrays.counts.ravel(), out)
        out[arrays.dense_channels] = arrays.dense.sum(axis=(0, 2), dtype=np.int64)
    else:
        add_spectra(block.channel, block.count, out)
    return out


def grouped_spectra(block: Block, group: np.ndarray, out: np.ndarray) -> None:
    """Add the counts of each pixel to the row of ``out``, (groups, E) int64, that ``group``, (n,), names.

    Examples
    --------
    >>> from edxdask.photons import from_dense
    >>> out = np.zeros((2, 2), dtype=np.int64)
    >>> block = from_dense(np.array([[1, 0], [2, 3], [0, 4]], dtype=np.uint16))
    >>> grouped_spectra(block, np.array([1, 0, 1]), out)
    >>> out.tolist()
    [[2, 3], [1, 4]]
    """
    photons = as_photons(block)
    add_grouped(photons.indptr, photons.channel, photons.count, group, out)


def pixel_totals(block: Block) -> np.ndarray:
    """Return the photons of each pixel: (n,) int64.

    Examples
    --------
    >>> from edxdask.photons import from_dense
    >>> pixel_totals(from_dense(np.array([[1, 0], [2, 3]], dtype=np.uint16))).tolist()
    [1, 5]
    """
    if isinstance(block, SweepBlock):
        return totals_of(block.arrays, block.pixels)
    out = np.empty(block.pixels, dtype=np.int64)
    add_totals(block.indptr, block.count, out)
    return out
