"""The photon block: the counts of some pixels in sparse form.

``dense → photons`` skips zeros 64 bytes at a time, because 95 to 99.9 % of a cube is zero.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edxdask.errors import ParameterError
from edxdask.photons.kernels.backend import kernels
from edxdask.photons.kernels.scatter import scatter

MAX_CHANNELS = 65536
MAX_COUNT = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class PhotonBlock:
    """Counts of ``n`` pixels; entries ``indptr[i]`` to ``indptr[i + 1]`` belong to pixel ``i``.

    Attributes
    ----------
    indptr : (n + 1,) int64
    channel : (nnz,) uint16, strictly rising within a pixel
    count : (nnz,) uint8 or uint32 (any unsigned type is taken), never 0
    channels : length of the energy axis
    """

    indptr: np.ndarray
    channel: np.ndarray
    count: np.ndarray
    channels: int

    @property
    def pixels(self) -> int:
        """Number of pixels."""
        return self.indptr.size - 1

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self.indptr.nbytes + self.channel.nbytes + self.count.nbytes

    @property
    def total(self) -> int:
        """Number of photons."""
        return int(self.count.sum(dtype=np.int64))

    @property
    def nonzeros(self) -> int:
        """Number of counts that are not zero."""
        return self.count.size


def from_dense(dense: np.ndarray) -> PhotonBlock:
    """Photon block of a dense array; its last axis is energy, the others are the pixels, in C order.

    Examples
    --------
    >>> block = from_dense(np.array([[0, 2, 0], [0, 0, 0], [1, 0, 3]], dtype=np.uint16))
    >>> block.indptr.tolist(), block.channel.tolist(), block.count.tolist()
    ([0, 1, 1, 3], [1, 0, 2], [2, 1, 3])
    """
    width = dense.shape[-1]
    if width > MAX_CHANNELS:
        raise ParameterError("dense", f"{width} channels", f"at most {MAX_CHANNELS}", "Bin the energy axis.")
    flat = np.ascontiguousarray(dense).reshape(-1, width)
    largest = flat.max(initial=0)
    if flat.dtype not in (np.uint8, np.uint16, np.uint32):
        flat = _whole_numbers(flat, largest)
    indptr = np.zeros(flat.shape[0] + 1, dtype=np.int64)
    kernels().count_nonzeros(flat, indptr)
    channel = np.empty(indptr[-1], dtype=np.uint16)
    count = np.empty(indptr[-1], dtype=count_dtype(int(largest)))
    kernels().fill_nonzeros(flat, indptr, channel, count)
    return PhotonBlock(indptr, channel, count, width)


def count_dtype(largest: int) -> type[np.unsignedinteger]:
    """Return the narrowest type of a block's counts; there are two, as every other takes seconds to compile.

    Examples
    --------
    >>> count_dtype(255), count_dtype(256)
    (<class 'numpy.uint8'>, <class 'numpy.uint32'>)
    """
    if largest > MAX_COUNT:
        raise ParameterError("counts", largest, f"at most {MAX_COUNT} photons in a pixel and a channel")
    return np.uint8 if largest <= 0xFF else np.uint32


def _whole_numbers(flat: np.ndarray, largest: float) -> np.ndarray:
    """Return counts of another type as unsigned ones, if that changes no value."""
    kind = flat.dtype.kind
    if kind not in "buif":
        raise ParameterError("dense", str(flat.dtype), "counts of photons, which are whole numbers")
    if kind == "f" and not np.array_equal(flat, np.floor(flat)):  # NaN differs from itself
        bad = flat[flat != np.floor(flat)].flat[0]
        raise ParameterError("dense", float(bad), "counts of photons, which are whole numbers")
    if flat.min(initial=0) < 0:
        raise ParameterError("dense", flat.min(), "counts of photons, which are never negative")
    return flat.astype(np.uint8 if kind == "b" else count_dtype(int(min(largest, MAX_COUNT + 1))))


def to_dense(block: PhotonBlock, dtype: np.typing.DTypeLike = np.uint16) -> np.ndarray:
    """Dense ``(pixels, channels)`` array of a block; a dtype too narrow for its counts is refused.

    Examples
    --------
    >>> dense = np.array([[0, 2, 0], [1, 0, 3]], dtype=np.uint16)
    >>> (to_dense(from_dense(dense)) == dense).all()
    np.True_
    """
    wanted = np.dtype(dtype)
    if wanted.kind in "ui" and wanted.itemsize <= block.count.itemsize:
        largest = int(block.count.max(initial=0))
        if largest > np.iinfo(wanted).max:
            raise ParameterError("dtype", str(wanted), f"one that holds a count of {largest}")
    out = np.zeros((block.pixels, block.channels), dtype=wanted)
    scatter(block.indptr, block.channel, block.count, out)
    return out
