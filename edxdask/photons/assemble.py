"""Blocks joined: chunks that are side by side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edxdask.photons.block import PhotonBlock
from edxdask.photons.kernels.join_columns import copy_piece, interleaved_indptr


def side_by_side(pieces: Sequence[PhotonBlock], rows: int) -> PhotonBlock:
    """Join blocks of the same rows and successive columns into one block of whole rows.

    Examples
    --------
    >>> from edxdask.photons import from_dense, to_dense
    >>> dense = np.arange(2 * 5 * 3, dtype=np.uint16).reshape(2, 5, 3)
    >>> joined = side_by_side([from_dense(dense[:, :2]), from_dense(dense[:, 2:])], 2)
    >>> (to_dense(joined) == dense.reshape(10, 3)).all()
    np.True_
    """
    if len(pieces) == 1:
        return pieces[0]
    widths = [piece.pixels // rows for piece in pieces]
    width = sum(widths)
    indptr = np.zeros(rows * width + 1, dtype=np.int64)
    firsts = np.concatenate([[0], np.cumsum(widths)[:-1]])
    for piece, own, first in zip(pieces, widths, firsts, strict=True):
        interleaved_indptr(indptr, piece.indptr, rows, own, width, first)
    np.cumsum(indptr, out=indptr)
    channel = np.empty(indptr[-1], dtype=np.uint16)
    count = np.empty(indptr[-1], dtype=max((piece.count.dtype for piece in pieces), key=lambda d: d.itemsize))
    for piece, own, first in zip(pieces, widths, firsts, strict=True):
        copy_piece(indptr, channel, count, piece.indptr, piece.channel, piece.count, rows, own, width, first)
    return PhotonBlock(indptr, channel, count, pieces[0].channels)
