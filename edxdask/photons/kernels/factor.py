"""Multiplicative updates on photons: one pass over a tile of pixels that stays in the first-level cache.

Photons of neighbouring pixels lie side by side, so the work that has no phases in it (division, logarithm)
runs over whole tiles in full-width registers; the work that has (dot products, sums) runs photon by photon
with the ``lanes`` numbers of a channel in one short vector (see ``vector``).
"""

import numpy as np
from numba import njit

from edxdask.photons.kernels.vector import (
    add,
    chosen,
    copy,
    divide,
    dot4,
    fill,
    fma,
    fma_each,
    load,
    multiply,
    normalise,
    peek,
    store,
    widen,
    zero,
)

FAST = {"contract", "reassoc", "nsz", "arcp"}  # NaN and infinity keep their meaning
LOG_LANES = 16
LOG_LIKE = (1,) * LOG_LANES
GROUP = 4  # photons whose dot products are made together
PAD = 16  # what vectors may read or write past the last photon of a tile
PAD_LIKE = (1,) * PAD
LOG_ROWS = 16  # factors a lane takes before it is normalised: 16 of 1e-7 … 1e19 stay within a double


@njit(cache=True, nogil=True, error_model="numpy")
def _tile_end(indptr, first, room, most):
    """End of the tile of pixels from ``first`` on whose photons, in whole groups, fit ``room``."""
    pixels = min(indptr.size - 1, first + most)
    pixel = first
    used = 0
    while pixel < pixels:
        used += (indptr[pixel + 1] - indptr[pixel] + GROUP - 1) // GROUP * GROUP
        if used > room and pixel > first:
            break
        pixel += 1
    return pixel


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def _copy_in(values, first, last, tile):
    """Rows ``first`` to ``last`` of ``values``, into the wider rows of ``tile``."""
    for i in range(last - first):
        for c in range(values.shape[1]):
            tile[i, c] = values[first + i, c]


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def _copy_out(tile, first, last, values):
    for i in range(last - first):
        for c in range(values.shape[1]):
            values[first + i, c] = tile[i, c]


@njit(cache=True, nogil=True, error_model="numpy")
def _lay_out(indptr, first, last, channel, count, index, number, place, owner):
    """Copy a tile's photons so that each pixel starts a new group; returns the number of groups.

    Groups end in counts of zero, whose ratios are zero. Most loops then run over the groups of the whole
    tile, not over pixels: the end of a pixel's photons is a branch that is missed, and costs as much as ten
    photons (15 counts a pixel, k = 3: 4.6 ns a non-zero with loops over pixels, 3.0 so).
    """
    g = 0
    for i in range(last - first):
        place[i] = g
        start = indptr[first + i]
        size = indptr[first + i + 1] - start
        at = g * GROUP
        if start + size + PAD <= channel.size:
            for j in range(0, size, PAD):
                copy(PAD_LIKE, channel, start + j, index, at + j)
                copy(PAD_LIKE, count, start + j, number, at + j)
        else:  # vectors would read past the end of the block
            for j in range(size):
                index[at + j] = channel[start + j]
                number[at + j] = count[start + j]
        fill(PAD_LIKE, 0, number, at + size)
        end = g + (size + GROUP - 1) // GROUP
        while g < end:
            fill(PAD_LIKE, i, owner, g)
            g += PAD
        g = end
    place[last - first] = g
    return g


@njit(cache=True, nogil=True, error_model="numpy")
def _fits(like, groups, owner, index, tile, spectra, fit):
    """Modelled counts of a tile's photons."""
    for g in range(groups):
        dot4(spectra, index, g * GROUP, load(like, tile, peek(owner, g)), fit)


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def _ratios(count, size, floor, fit, ratio):
    """Divide counts by fits, with the fits clamped from below first."""
    for j in range(size):
        fit[j] = max(fit[j], floor)
        ratio[j] = fit.dtype.type(count[j]) / fit[j]


@njit(cache=True, nogil=True, error_model="numpy")
def _gains(like, start, stop, index, ratio, spectra):
    """Sum of ``ratio * spectra`` over one pixel's groups; four sums, so that none waits for another."""
    s0 = zero(like, spectra[0, 0])
    s1 = s0
    s2 = s0
    s3 = s0
    for j in range(start * GROUP, stop * GROUP, GROUP):
        s0 = fma(peek(ratio, j), load(like, spectra, peek(index, j)), s0)
        s1 = fma(peek(ratio, j + 1), load(like, spectra, peek(index, j + 1)), s1)
        s2 = fma(peek(ratio, j + 2), load(like, spectra, peek(index, j + 2)), s2)
        s3 = fma(peek(ratio, j + 3), load(like, spectra, peek(index, j + 3)), s3)
    return add(add(s0, s1), add(s2, s3))


@njit(cache=True, nogil=True, error_model="numpy")
def _spread(like, groups, owner, index, ratio, tile, numerator):
    """Add ``ratio * tile`` to the rows of a tile's channels, in double precision."""
    for g in range(groups):
        a = widen(load(like, tile, peek(owner, g)))
        for j in range(g * GROUP, g * GROUP + GROUP):
            row = peek(index, j)
            store(numerator, row, fma(peek(ratio, j), a, load(like, numerator, row)))


@njit(cache=True, nogil=True, error_model="numpy")
def multiply_logs(count, size, fit, product, exponent):
    """Multiply ``fit ** count`` into running products, one row of lanes for each bit of the counts.

    A logarithm a photon would cost more than all the rest; this takes one a block. Lanes are split into
    mantissa and exponent every ``LOG_ROWS`` factors. Counts end in ``PAD`` zeros. Returns their sum.
    """
    present = 0
    photons = 0
    for j in range(size):
        present |= count[j]
        photons += count[j]
    bit = 0
    while present >> bit:
        for row in range(0, size, LOG_LANES * LOG_ROWS):
            even = load(LOG_LIKE, product, bit)
            odd = load(LOG_LIKE, product, bit + 1)
            for j in range(row, min(size, row + LOG_LANES * LOG_ROWS), LOG_LANES):
                even = multiply(even, chosen(LOG_LIKE, fit, count, j, bit))
                odd = multiply(odd, chosen(LOG_LIKE, fit, count, j, bit + 1))
            store(product, bit, even)
            store(product, bit + 1, odd)
            normalise(LOG_LIKE, product, exponent, bit)
            normalise(LOG_LIKE, product, exponent, bit + 1)
        bit += 2
    return photons


@njit(cache=True, nogil=True, error_model="numpy")
def _update_tile(like, place, rows, index, ratio, spectra, rate, keep, tile):
    """Multiply each pixel's abundances with ``rate`` times its gains, or with 1 where they are kept."""
    for i in range(rows):
        gain = _gains(like, place[i], place[i + 1], index, ratio, spectra)
        gain = fma_each(gain, load(like, rate, 0), load(like, keep, 0))
        store(tile, i, multiply(load(like, tile, i), gain))


@njit(cache=True, nogil=True, error_model="numpy")
def _add_rows(like, tile, rows, total):
    """Add the abundances of a tile to ``total``."""
    for i in range(rows):
        total = add(total, widen(load(like, tile, i)))
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def kl_tiles(
    like, indptr, channel, count, abundance, spectra, rate, keep, floor, inner, joint, update, statistics,
    index, number, fit, ratio, tile, place, owner, numerator, sums, product, exponent,
):  # fmt: skip
    """One Kullback-Leibler sweep over all pixels; see ``photons.factor.kl_sweep``."""
    first = 0
    entry = zero(like, 0.0)
    after = zero(like, 0.0)
    photons = 0
    while first < indptr.size - 1:
        last = _tile_end(indptr, first, ratio.size - PAD, tile.shape[0])
        rows = last - first
        groups = _lay_out(indptr, first, last, channel, count, index, number, place, owner)
        _copy_in(abundance, first, last, tile)
        entry = _add_rows(like, tile, rows, entry)
        for turn in range(inner):
            _fits(like, groups, owner, index, tile, spectra, fit)
            _ratios(number, groups * GROUP, floor, fit, ratio)
            if turn == 0:
                photons += multiply_logs(number, groups * GROUP, fit, product, exponent)
            if statistics and joint and turn == inner - 1:
                _spread(like, groups, owner, index, ratio, tile, numerator)
            if update:
                _update_tile(like, place, rows, index, ratio, spectra, rate, keep, tile)
        if statistics and not joint:
            if update:
                _fits(like, groups, owner, index, tile, spectra, fit)
                _ratios(number, groups * GROUP, floor, fit, ratio)
            _spread(like, groups, owner, index, ratio, tile, numerator)
        after = _add_rows(like, tile, rows, after)
        if update:
            _copy_out(tile, first, last, abundance)
        first = last
    store(sums, 0, entry)
    store(sums, 1, after)
    return photons


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def _as_floats(number, size, ratio):
    """Give the counts of a tile as floating-point numbers."""
    for j in range(size):
        ratio[j] = number[j]


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def square_sum(count):
    """Sum of the squared counts."""
    total = 0.0
    for j in range(count.size):
        total += np.float64(count[j]) * np.float64(count[j])
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def _times_gram(like, tile, i, gram):
    """Row ``i`` of ``tile`` times the symmetric ``gram``."""
    out = zero(like, tile[0, 0])
    for c in range(len(like)):
        out = fma(tile[i, c], load(like, gram, c), out)
    return out


@njit(cache=True, nogil=True, error_model="numpy")
def _add_outer(like, tile, rows, outer):
    """Add ``tile.T @ tile`` to ``outer``."""
    for i in range(rows):
        a = widen(load(like, tile, i))
        for c in range(len(like)):
            store(outer, c, fma(tile[i, c], a, load(like, outer, c)))


@njit(cache=True, nogil=True, error_model="numpy")
def frobenius_tiles(
    like, indptr, channel, count, abundance, spectra, gram, keep, floor, inner, update, statistics,
    index, number, ratio, tile, place, owner, numerator, outer, sums,
):  # fmt: skip
    """One Frobenius sweep over all pixels; see ``photons.factor.frobenius_sweep``."""
    first = 0
    cross = zero(like, 0.0)
    quadratic = cross
    while first < indptr.size - 1:
        last = _tile_end(indptr, first, ratio.size - PAD, tile.shape[0])
        groups = _lay_out(indptr, first, last, channel, count, index, number, place, owner)
        _as_floats(number, groups * GROUP, ratio)
        _copy_in(abundance, first, last, tile)
        for i in range(last - first):
            gain = _gains(like, place[i], place[i + 1], index, ratio, spectra)
            cross = fma_each(widen(gain), widen(load(like, tile, i)), cross)
            loss = _times_gram(like, tile, i, gram)
            quadratic = fma_each(widen(loss), widen(load(like, tile, i)), quadratic)
            if update:
                for turn in range(inner):
                    if turn > 0:
                        loss = _times_gram(like, tile, i, gram)
                    share = divide(gain, loss, load(like, keep, 0), floor)
                    store(tile, i, multiply(load(like, tile, i), share))
        if statistics:
            _spread(like, groups, owner, index, ratio, tile, numerator)
            _add_outer(like, tile, last - first, outer)
        if update:
            _copy_out(tile, first, last, abundance)
        first = last
    store(sums, 0, cross)
    store(sums, 1, quadratic)


@njit(cache=True, nogil=True, error_model="numpy")
def project_tiles(like, indptr, channel, count, table, index, number, ratio, tile, place, owner, out):
    """``out[i] = sum_e count(i, e) * table[e]``: the counts times a narrow matrix."""
    first = 0
    while first < indptr.size - 1:
        last = _tile_end(indptr, first, ratio.size - PAD, tile.shape[0])
        groups = _lay_out(indptr, first, last, channel, count, index, number, place, owner)
        _as_floats(number, groups * GROUP, ratio)
        for i in range(last - first):
            store(tile, i, _gains(like, place[i], place[i + 1], index, ratio, table))
        _copy_out(tile, first, last, out)
        first = last


@njit(cache=True, nogil=True, error_model="numpy")
def back_project_tiles(like, indptr, channel, count, values, index, number, ratio, tile, place, owner, out):
    """``out[e] += sum_i count(i, e) * values[i]``: the transposed counts times a narrow matrix."""
    first = 0
    while first < indptr.size - 1:
        last = _tile_end(indptr, first, ratio.size - PAD, tile.shape[0])
        groups = _lay_out(indptr, first, last, channel, count, index, number, place, owner)
        _as_floats(number, groups * GROUP, ratio)
        _copy_in(values, first, last, tile)
        _spread(like, groups, owner, index, ratio, tile, out)
        first = last
