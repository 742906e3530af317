"""What the vector kernels get beside the counts: rows of whole vectors, and memory to work in.

Named tuples go to compiled code as they are. Rows begin where a line of the cache begins: a row in two
lines takes twice as long.
"""

import math
from typing import NamedTuple

import numpy as np

from edxdask.photons.kernels.arrangement import BATCH_PIXELS, LANES, STRIP
from edxdask.photons.kernels.vector.strips import ROW

LINE = 64  # bytes of a cache line
KEPT_ROWS = 8192  # of sixteen numbers, half a megabyte in single precision; enough for any one group


class Widths(NamedTuple):
    """How many numbers to compile for: tuples of zeros, since lengths are part of their type.

    Attributes
    ----------
    columns : as long as rows by channel and by pixel are, a multiple of four
    phases : as many as there are vectors of sixteen lanes
    """

    columns: tuple[int, ...]
    phases: tuple[int, ...]

    @staticmethod
    def of(phases):
        """Return those of a number of phases, or of columns."""
        columns = -(-phases // ROW) * ROW
        return Widths((0,) * columns, (0,) * (phases if phases <= ROW else columns))


class Rows(NamedTuple):
    """A matrix with a row for each channel, once for photons and once for the channels held dense.

    Attributes
    ----------
    by_channel : (E, columns)
    dense : (h, phases)
    """

    by_channel: np.ndarray
    dense: np.ndarray


class Strips(NamedTuple):
    """Photons and memory to work on them, as the kernels of ``strips`` take them.

    Attributes
    ----------
    group_starts, owner, channel, counts : of ``BlockArrays``
    place, curve_place : (64, 16), where the rows of the channels of a group's photons begin
    weight : (64, 16) float64, weight of these photons
    spectra_rows : (rows, 16), the spectra at a batch's photons, kept if all fit
    """

    group_starts: np.ndarray
    owner: np.ndarray
    channel: np.ndarray
    counts: np.ndarray
    place: np.ndarray
    curve_place: np.ndarray
    weight: np.ndarray
    spectra_rows: np.ndarray


class Counts(NamedTuple):
    """A block: ``dense`` and ``batch_starts`` of ``BlockArrays``, and its ``Strips``."""

    dense: np.ndarray
    batch_starts: np.ndarray
    strips: Strips


class Work(NamedTuple):
    """Memory for the numbers of a batch of pixels.

    Attributes
    ----------
    amounts, wide_amounts : (256, columns), abundances of a batch of pixels; the latter in double precision
    gains : (256, columns), sums of what their photons give them
    across, wide_across, across_gains : the same with sixteen pixels side by side
    """

    amounts: np.ndarray
    wide_amounts: np.ndarray
    gains: np.ndarray
    across: np.ndarray
    wide_across: np.ndarray
    across_gains: np.ndarray


class Model(NamedTuple):
    """Parts of a fit: spectra, abundances and the least fit; and the products for curvatures."""

    table: np.ndarray
    curve_table: np.ndarray
    amounts: np.ndarray
    floor: np.floating


class Sums(NamedTuple):
    """Where the sums over channels go: (pixels, columns) or across; logarithms (2, 16) float64."""

    gains: np.ndarray
    curve_gains: np.ndarray
    log_sums: np.ndarray


def aligned_zeros(*wanted):
    """Arrays of zeros, for each a shape and a dtype, that begin where a line of the cache does."""
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


def padded_rows(matrix, dense_channels, widths):
    """``(E, p)`` as ``Rows`` of whole vectors."""
    rows, dense = aligned_zeros(
        ((len(matrix), len(widths.columns)), matrix.dtype),
        ((dense_channels.size, len(widths.phases)), matrix.dtype),
    )
    rows[:, : matrix.shape[1]], dense[:, : matrix.shape[1]] = matrix, matrix[dense_channels]
    return Rows(rows, dense)


def empty_rows(channels, dense_channels, widths):
    """Memory for sums in double precision, ``Rows`` of zeros."""
    return Rows(
        *aligned_zeros(
            ((channels, len(widths.columns)), np.float64),
            ((dense_channels.size, len(widths.phases)), np.float64),
        )
    )


def whole_rows(rows, dense_channels, phases):
    """Join the sums of both, as (phases, E)."""
    if len(rows.dense):
        rows.by_channel[dense_channels, :phases] = rows.dense[:, :phases]
    return np.ascontiguousarray(rows.by_channel[:, :phases].T)


def padded(values, columns, dtype):
    """C-contiguous copy with columns of zeros: one row is one vector of the kernels."""
    out = np.zeros((len(values), columns), dtype=dtype)
    out[:, : values.shape[1]] = values
    return out


def counts_for(block, dtype, kept_width=0):
    """Return ``Counts`` of a block, with space for ``kept_width`` vectors of spectra at each of its photons.

    Spectra are kept only as far as they fit in the processor's cache.
    """
    longest = np.diff(block.group_starts[block.batch_starts]).max(initial=0) * kept_width
    kept = (min(int(longest), KEPT_ROWS), LANES)
    strip = (STRIP, LANES)
    memory = aligned_zeros((strip, np.uint32), (strip, np.uint32), (strip, np.float64), (kept, dtype))
    strips = Strips(block.group_starts, block.owner, block.channel, block.counts, *memory)
    return Counts(block.dense, block.batch_starts, strips)


def work_for(widths, dtype):
    """Return memory for the numbers of a batch."""
    pixels = (BATCH_PIXELS, len(widths.columns))
    across = (BATCH_PIXELS // LANES * len(widths.phases), LANES)
    return Work(
        *aligned_zeros(
            (pixels, dtype),
            (pixels, np.float64),
            (pixels, dtype),
            (across, dtype),
            (across, np.float64),
            (across, dtype),
        )
    )
