"""Count splitting: two independent Poisson cubes from one.

Each photon goes to the first part with probability ``fraction``. If the counts are Poisson, so are the parts,
independently, with the fraction and its complement of the mean: one can be fitted, the other judges.
"""

from __future__ import annotations

import numpy as np

from edxdask.errors import ParameterError
from edxdask.photons.block import PhotonBlock
from edxdask.photons.kernels.thin import split_lengths, split_photons, thin_photons


def thin(
    block: PhotonBlock, fraction: float, *, seed: int, pixel_index: np.ndarray | int = 0
) -> tuple[PhotonBlock, PhotonBlock]:
    """Split a block at random into two that add up to it.

    Parameters
    ----------
    block
        Counts of ``n`` pixels.
    fraction
        Probability that a photon goes to the first part.
    seed
        Same seed, same split.
    pixel_index
        (n,) index of each pixel in the whole map, or that of the first if they follow one another. The split
        of a pixel depends on nothing else: not on how the map was cut into blocks.

    Examples
    --------
    >>> from edxdask.photons import from_dense, to_dense
    >>> whole = np.full((1, 4), 100, dtype=np.uint16)
    >>> one, other = thin(from_dense(whole), 0.5, seed=1)
    >>> np.array_equal(to_dense(one) + to_dense(other), whole)
    True
    """
    if not 0 <= fraction <= 1:
        raise ParameterError("fraction", fraction, "a probability between 0 and 1")
    if isinstance(pixel_index, int | np.integer):
        pixel_index = np.arange(block.pixels, dtype=np.int64) + pixel_index
    if pixel_index.shape != (block.pixels,):
        raise ParameterError("pixel_index", pixel_index.shape, f"one index for each of {block.pixels} pixels")
    taken = np.empty_like(block.count)
    threshold = np.uint64(round(fraction * 2**53))  # of 53 random bits
    thin_photons(
        block.indptr, block.channel, block.count, pixel_index, np.uint64(seed % 2**64), threshold, taken
    )
    first, second = np.zeros_like(block.indptr), np.zeros_like(block.indptr)
    split_lengths(block.indptr, block.count, taken, first, second)
    sizes = int(first[-1]), int(second[-1])
    channels = [np.empty(size + 1, dtype=np.uint16) for size in sizes]
    counts = [np.empty(size + 1, dtype=block.count.dtype) for size in sizes]
    split_photons(block.channel, block.count, taken, channels[0], counts[0], channels[1], counts[1])
    one = PhotonBlock(first, channels[0][:-1], counts[0][:-1], block.channels)
    return one, PhotonBlock(second, channels[1][:-1], counts[1][:-1], block.channels)
