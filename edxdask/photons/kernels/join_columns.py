"""Photon blocks side by side: one block of whole rows from blocks of some columns each."""

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def interleaved_indptr(indptr, piece_indptr, rows, piece_width, width, first_column):
    """Add the lengths of one piece's pixels to ``indptr`` of the whole (lengths, not yet summed)."""
    for row in range(rows):
        for column in range(piece_width):
            i = row * piece_width + column
            indptr[row * width + first_column + column + 1] = piece_indptr[i + 1] - piece_indptr[i]


@njit(cache=True, nogil=True)
def copy_piece(
    indptr, channel, count, piece_indptr, piece_channel, piece_count, rows, piece_width, width, first_column
):
    """Copy one piece's photons to their place; pixels of a row are together, so each row is one run."""
    for row in range(rows):
        start = piece_indptr[row * piece_width]
        stop = piece_indptr[(row + 1) * piece_width]
        target = indptr[row * width + first_column]
        for j in range(stop - start):
            channel[target + j] = piece_channel[start + j]
            count[target + j] = np.uint32(piece_count[start + j])
