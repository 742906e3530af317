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
    divide,
    dot4,
    fma,
    fma_each,
    load,
    multiply,
    normalise,
    peek,
    peek_if,
    store,
    widen,
    zero,
)

FAST = {"contract", "reassoc", "nsz", "arcp"}  # NaN and infinity keep their meaning
LOG_LANES = 16
LOG_LIKE = (1,) * LOG_LANES
PAD = 16  # what vectors may read or write past the last photon of a tile
LOG_ROWS = 16  # factors a lane takes before it is normalised: 16 of 1e-7 … 1e19 stay within a double


@njit(cache=True, nogil=True, error_model="numpy")
def _tile_end(indptr, first, room, most):
    """End of the tile of pixels from ``first`` on whose photons fit ``room``."""
    pixel = first + 1
    pixels = min(indptr.size - 1, first + most)
    while pixel < pixels and indptr[pixel + 1] - indptr[first] <= room:
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
def _copy_photons(values, start, size, copy):
    """Channels or counts of a tile, with ``PAD`` zeros behind, so that vectors may read past the end."""
    found = values[start : start + size]
    for j in range(size):
        copy[j] = found[j]
    for j in range(size, size + PAD):
        copy[j] = 0


@njit(cache=True, nogil=True, error_model="numpy")
def _fits(like, indptr, first, last, index, tile, spectra, fit):
    """Modelled counts of a tile's photons; a pixel's last group runs into the next, which overwrites it."""
    base = indptr[first]
    for i in range(last - first):
        a = load(like, tile, i)
        for j in range(indptr[first + i] - base, indptr[first + i + 1] - base, 4):
            dot4(spectra, index, j, a, fit)


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def _ratios(count, size, floor, fit, ratio):
    """Divide counts by fits, with the fits clamped from below first."""
    for j in range(size):
        fit[j] = max(fit[j], floor)
        ratio[j] = fit.dtype.type(count[j]) / fit[j]


@njit(cache=True, nogil=True, error_model="numpy")
def _gains(like, start, stop, index, ratio, spectra):
    """Sum of ``ratio * spectra`` over one pixel's photons.

    Four sums, so that none waits for another. The last group is masked, not a loop of its own: one more
    branch that cannot be predicted would cost as much as ten photons.
    """
    s0 = zero(like, spectra[0, 0])
    s1 = s0
    s2 = s0
    s3 = s0
    j = start
    while j < stop - 3:
        s0 = fma(peek(ratio, j), load(like, spectra, peek(index, j)), s0)
        s1 = fma(peek(ratio, j + 1), load(like, spectra, peek(index, j + 1)), s1)
        s2 = fma(peek(ratio, j + 2), load(like, spectra, peek(index, j + 2)), s2)
        s3 = fma(peek(ratio, j + 3), load(like, spectra, peek(index, j + 3)), s3)
        j += 4
    s0 = fma(peek_if(j < stop, ratio, j), load(like, spectra, peek(index, j)), s0)
    s1 = fma(peek_if(j + 1 < stop, ratio, j + 1), load(like, spectra, peek(index, j + 1)), s1)
    s2 = fma(peek_if(j + 2 < stop, ratio, j + 2), load(like, spectra, peek(index, j + 2)), s2)
    return add(add(s0, s1), add(s2, s3))


@njit(cache=True, nogil=True, error_model="numpy")
def _spread(start, stop, index, ratio, a, like, numerator):
    """Add ``ratio * a`` to the rows of one pixel's channels, in double precision."""
    for j in range(start, stop):
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
def _update_tile(like, indptr, first, last, index, ratio, spectra, rate, keep, tile):
    """Multiply each pixel's abundances with ``rate`` times its gains, or with 1 where they are kept."""
    base = indptr[first]
    for i in range(last - first):
        gain = _gains(like, indptr[first + i] - base, indptr[first + i + 1] - base, index, ratio, spectra)
        gain = fma_each(gain, load(like, rate, 0), load(like, keep, 0))
        store(tile, i, multiply(load(like, tile, i), gain))


@njit(cache=True, nogil=True, error_model="numpy")
def _spread_tile(like, indptr, first, last, index, ratio, tile, numerator):
    """Add what a tile gives to the spectra's numerator."""
    base = indptr[first]
    for i in range(last - first):
        a = widen(load(like, tile, i))
        _spread(indptr[first + i] - base, indptr[first + i + 1] - base, index, ratio, a, like, numerator)


@njit(cache=True, nogil=True, error_model="numpy")
def _add_rows(like, tile, rows, total):
    """Add the abundances of a tile to ``total``."""
    for i in range(rows):
        total = add(total, widen(load(like, tile, i)))
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def kl_tiles(
    like, indptr, channel, count, abundance, spectra, rate, keep, floor, inner, joint, update, statistics,
    index, number, fit, ratio, tile, numerator, sums, product, exponent,
):  # fmt: skip
    """One Kullback-Leibler sweep over all pixels; see ``photons.factor.kl_sweep``."""
    first = 0
    entry = zero(like, 0.0)
    after = zero(like, 0.0)
    photons = 0
    while first < indptr.size - 1:
        last = _tile_end(indptr, first, ratio.size - PAD, tile.shape[0])
        base = indptr[first]
        size = indptr[last] - base
        _copy_photons(channel, base, size, index)
        _copy_photons(count, base, size, number)
        _copy_in(abundance, first, last, tile)
        entry = _add_rows(like, tile, last - first, entry)
        for turn in range(inner):
            _fits(like, indptr, first, last, index, tile, spectra, fit)
            _ratios(number, size, floor, fit, ratio)
            if turn == 0:
                photons += multiply_logs(number, size, fit, product, exponent)
            if statistics and joint and turn == inner - 1:
                _spread_tile(like, indptr, first, last, index, ratio, tile, numerator)
            if update:
                _update_tile(like, indptr, first, last, index, ratio, spectra, rate, keep, tile)
        if statistics and not joint:
            if update:
                _fits(like, indptr, first, last, index, tile, spectra, fit)
                _ratios(number, size, floor, fit, ratio)
            _spread_tile(like, indptr, first, last, index, ratio, tile, numerator)
        after = _add_rows(like, tile, last - first, after)
        if update:
            _copy_out(tile, first, last, abundance)
        first = last
    store(sums, 0, entry)
    store(sums, 1, after)
    return photons


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def _numbers(count, start, size, number):
    """Give the counts of a tile as floating-point numbers."""
    found = count[start : start + size]
    for j in range(size):
        number[j] = found[j]


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
def frobenius_tiles(
    like, indptr, channel, count, abundance, spectra, gram, keep, floor, inner, update, statistics,
    index, number, tile, numerator, outer, sums,
):  # fmt: skip
    """One Frobenius sweep over all pixels; see ``photons.factor.frobenius_sweep``."""
    first = 0
    cross = zero(like, 0.0)
    quadratic = cross
    while first < indptr.size - 1:
        last = _tile_end(indptr, first, number.size - PAD, tile.shape[0])
        base = indptr[first]
        size = indptr[last] - base
        _copy_photons(channel, base, size, index)
        _numbers(count, base, size, number)
        _copy_in(abundance, first, last, tile)
        for i in range(last - first):
            j0 = indptr[first + i] - base
            j1 = indptr[first + i + 1] - base
            gain = _gains(like, j0, j1, index, number, spectra)
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
                a = widen(load(like, tile, i))
                _spread(j0, j1, index, number, a, like, numerator)
                for c in range(len(like)):
                    store(outer, c, fma(tile[i, c], a, load(like, outer, c)))
        if update:
            _copy_out(tile, first, last, abundance)
        first = last
    store(sums, 0, cross)
    store(sums, 1, quadratic)


@njit(cache=True, nogil=True, error_model="numpy")
def project_tiles(like, indptr, channel, count, table, index, number, tile, out):
    """``out[i] = sum_e count(i, e) * table[e]``: the counts times a narrow matrix."""
    first = 0
    while first < indptr.size - 1:
        last = _tile_end(indptr, first, number.size - PAD, tile.shape[0])
        base = indptr[first]
        size = indptr[last] - base
        _copy_photons(channel, base, size, index)
        _numbers(count, base, size, number)
        for i in range(last - first):
            j0 = indptr[first + i] - base
            store(tile, i, _gains(like, j0, indptr[first + i + 1] - base, index, number, table))
        _copy_out(tile, first, last, out)
        first = last


@njit(cache=True, nogil=True, error_model="numpy")
def back_project_tiles(like, indptr, channel, count, values, index, number, tile, out):
    """``out[e] += sum_i count(i, e) * values[i]``: the transposed counts times a narrow matrix."""
    first = 0
    while first < indptr.size - 1:
        last = _tile_end(indptr, first, number.size - PAD, tile.shape[0])
        base = indptr[first]
        size = indptr[last] - base
        _copy_photons(channel, base, size, index)
        _numbers(count, base, size, number)
        _copy_in(values, first, last, tile)
        for i in range(last - first):
            a = widen(load(like, tile, i))
            _spread(indptr[first + i] - base, indptr[first + i + 1] - base, index, number, a, like, out)
        first = last
