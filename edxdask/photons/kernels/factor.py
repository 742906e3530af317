"""Multiplicative updates on counts: one pass over a tile of pixels that stays near the processor.

The work that has phases in it (dot products, sums) runs four photons of a pixel at a time, with the ``lanes``
numbers of a channel in one short vector (see ``vector``). Channels held dense are worked on for sixteen
pixels at once, before and after their photons (see ``full``).
"""

import numpy as np
from numba import njit

from edxdask.photons.kernels.four import count_spread4, ratio_gains4, ratio_spread4, weighted_gains4
from edxdask.photons.kernels.full import (
    LANES,
    count_gains,
    ratio_gains,
    ratio_gains_and_logs,
    spread_counts,
    spread_ratios,
)
from edxdask.photons.kernels.logs import mantissa_term, power_term
from edxdask.photons.kernels.split import GROUP, TILE_PIXELS, TURNS
from edxdask.photons.kernels.vector import (
    add,
    divide,
    fill,
    fma,
    fma_each,
    load,
    multiply,
    peek,
    store,
    widen,
    zero,
)

FAST = {"contract", "reassoc", "nsz", "arcp"}  # NaN and infinity keep their meaning
LOG_LIKE = (1,) * LANES
LOG_PHOTONS = 1024  # fits that are kept, to take their logarithms together


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
def _ratio_gains(begin, end, channel, count, owner, spectra, floor, like, tile, fit, added):
    """Add the gains of photons ``begin`` to ``end`` to the rows of ``added``, and keep their fits."""
    for j in range(begin, end, GROUP):
        row = peek(owner, j // GROUP)
        amounts = load(like, tile, row // TURNS)
        gain = ratio_gains4(spectra, channel, j, count, amounts, floor, fit, j - begin)
        store(added, row, add(load(like, added, row), gain))


@njit(cache=True, nogil=True, error_model="numpy")
def _ratio_spread(begin, end, channel, count, owner, spectra, floor, like, tile, numerator):
    """Add ``ratio * tile`` to the rows of the channels of photons ``begin`` to ``end``."""
    for j in range(begin, end, GROUP):
        amounts = load(like, tile, peek(owner, j // GROUP) // TURNS)
        ratio_spread4(spectra, channel, j, count, amounts, floor, numerator)


@njit(cache=True, nogil=True, error_model="numpy")
def _count_gains(begin, end, channel, count, owner, table, like, added):
    """Add counts times ``table`` to the rows of ``added``."""
    for j in range(begin, end, GROUP):
        row = peek(owner, j // GROUP)
        store(added, row, add(load(like, added, row), weighted_gains4(like, table, channel, j, count, j)))


@njit(cache=True, nogil=True, error_model="numpy")
def _count_spread(begin, end, channel, count, owner, like, tile, numerator):
    """Add counts times the rows of ``tile`` to those of their channels."""
    for j in range(begin, end, GROUP):
        count_spread4(channel, j, count, load(like, tile, peek(owner, j // GROUP) // TURNS), numerator)


@njit(cache=True, nogil=True, error_model="numpy")
def _add_logs(count, start, size, fit, log_sums):
    """Add Σ count · log(fit) to the lanes of ``log_sums``; counts begin at ``start``."""
    fill(LOG_LIKE, 1, fit, size)  # vectors read on
    mantissas = load(LOG_LIKE, log_sums, 0)
    powers = load(LOG_LIKE, log_sums, 1)
    for j in range(0, size, LANES):
        mantissas = add(mantissas, widen(mantissa_term(LOG_LIKE, count, start + j, fit, j)))
        powers = add(powers, widen(power_term(LOG_LIKE, count, start + j, fit, j)))
    store(log_sums, 0, mantissas)
    store(log_sums, 1, powers)


@njit(cache=True, nogil=True, error_model="numpy")
def _added(like, added, i):
    """Sum of a pixel's rows."""
    total = load(like, added, i * TURNS)
    for turn in range(1, TURNS):
        total = add(total, load(like, added, i * TURNS + turn))
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def _update_tile(like, rows, rate, keep, added, tile):
    """Multiply each pixel's abundances with ``rate`` times its gains, or with 1 where they are kept."""
    for i in range(rows):
        gain = fma_each(_added(like, added, i), load(like, rate, 0), load(like, keep, 0))
        store(tile, i, multiply(load(like, tile, i), gain))


@njit(cache=True, nogil=True, error_model="numpy")
def _turn(width, dense, tile, across):
    """Copy the pixels of each group from rows of ``tile`` to lanes of ``across``, one row a phase."""
    for g in range(dense.shape[0] if dense.shape[1] > 0 else 0):
        for c in range(len(width)):
            for lane in range(LANES):
                across[g * len(width) + c, lane] = tile[g * LANES + lane, c]


@njit(cache=True, nogil=True, error_model="numpy")
def _turn_back(width, dense, across, added):
    """Set each pixel's rows of ``added`` to what lanes of ``across`` hold for it, and to zero."""
    added[:] = 0
    for g in range(dense.shape[0] if dense.shape[1] > 0 else 0):
        for lane in range(LANES):
            for c in range(len(width)):
                added[(g * LANES + lane) * TURNS, c] = across[g * len(width) + c, lane]


@njit(cache=True, nogil=True, error_model="numpy")
def _add_rows(like, tile, rows, total):
    """Add the abundances of a tile to ``total``."""
    for i in range(rows):
        total = add(total, widen(load(like, tile, i)))
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def kl_tiles(
    like, width, indptr, channel, count, owner, dense, abundance, spectra, full_spectra, rate, keep, floor,
    inner, update, statistics, logs, fit, tile, added, across, wide, across_gain,
    numerator, full_numerator, sums, log_sums,
):  # fmt: skip
    """One Kullback-Leibler sweep over all pixels; see ``photons.factor.kl_sweep``."""
    pixels = indptr.size - 1
    unused = across_gain
    entry = zero(like, 0.0)
    after = zero(like, 0.0)
    for first in range(0, pixels, TILE_PIXELS):
        last = min(first + TILE_PIXELS, pixels)
        begin, end = indptr[first], indptr[last]
        here = dense[first // LANES : (last + LANES - 1) // LANES]
        _copy_in(abundance, first, last, tile)
        entry = _add_rows(like, tile, last - first, entry)
        for turn in range(inner):
            _turn(width, here, tile, across)
            for g in range(here.shape[0]):
                if turn == 0 and logs:
                    ratio_gains_and_logs(
                        width, (), g, here, full_spectra, unused, across, floor, across_gain, unused, log_sums
                    )
                else:
                    ratio_gains(
                        width, (), g, here, full_spectra, unused, across, floor, across_gain, unused, log_sums
                    )
            _turn_back(width, here, across_gain, added)
            for start in range(begin, end, LOG_PHOTONS):
                stop = min(start + LOG_PHOTONS, end)
                _ratio_gains(start, stop, channel, count, owner, spectra, floor, like, tile, fit, added)
                if turn == 0 and logs:
                    _add_logs(count, start, stop - start, fit, log_sums)
            if update:
                _update_tile(like, last - first, rate, keep, added, tile)
        if statistics:
            _turn(width, here, tile, across)
            _turn(width, here, tile, wide)
            for e in range(dense.shape[1]):
                spread_ratios(width, e, here, full_spectra, across, wide, floor, full_numerator)
            _ratio_spread(begin, end, channel, count, owner, spectra, floor, like, tile, numerator)
        after = _add_rows(like, tile, last - first, after)
        if update:
            _copy_out(tile, first, last, abundance)
    store(sums, 0, entry)
    store(sums, 1, after)


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
def _full_products(width, dense, table, across, gain, added):
    """Set ``added`` to the counts of channels held dense times ``table``."""
    for g in range(dense.shape[0] if dense.shape[1] > 0 else 0):
        count_gains(width, (), g, dense, table, table, across, table[0, 0], gain, gain, gain)
    _turn_back(width, dense, gain, added)


@njit(cache=True, nogil=True, error_model="numpy")
def _full_spread(width, dense, tile, wide, numerator):
    """Add the counts of channels held dense times ``tile`` to the rows of ``numerator``."""
    _turn(width, dense, tile, wide)
    for e in range(dense.shape[1]):
        spread_counts(width, e, dense, wide, wide, wide, wide[0, 0], numerator)


@njit(cache=True, nogil=True, error_model="numpy")
def frobenius_tiles(
    like, width, indptr, channel, count, owner, dense, abundance, spectra, full_spectra, gram, keep, floor,
    inner, update, statistics, tile, added, across, wide, across_gain, numerator, full_numerator, outer, sums,
):  # fmt: skip
    """One Frobenius sweep over all pixels; see ``photons.factor.frobenius_sweep``."""
    pixels = indptr.size - 1
    cross = zero(like, 0.0)
    quadratic = cross
    for first in range(0, pixels, TILE_PIXELS):
        last = min(first + TILE_PIXELS, pixels)
        begin, end = indptr[first], indptr[last]
        here = dense[first // LANES : (last + LANES - 1) // LANES]
        _copy_in(abundance, first, last, tile)
        _full_products(width, here, full_spectra, across, across_gain, added)
        _count_gains(begin, end, channel, count, owner, spectra, like, added)
        for i in range(last - first):
            gain = _added(like, added, i)
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
            _full_spread(width, here, tile, wide, full_numerator)
            _count_spread(begin, end, channel, count, owner, like, tile, numerator)
            _add_outer(like, tile, last - first, outer)
        if update:
            _copy_out(tile, first, last, abundance)
    store(sums, 0, cross)
    store(sums, 1, quadratic)


@njit(cache=True, nogil=True, error_model="numpy")
def project_tiles(
    like, width, indptr, channel, count, owner, dense, table, full_table,
    tile, added, across, across_gain, out,
):  # fmt: skip
    """``out[i] = sum_e count(i, e) * table[e]``: the counts times a narrow matrix."""
    pixels = indptr.size - 1
    for first in range(0, pixels, TILE_PIXELS):
        last = min(first + TILE_PIXELS, pixels)
        here = dense[first // LANES : (last + LANES - 1) // LANES]
        _full_products(width, here, full_table, across, across_gain, added)
        _count_gains(indptr[first], indptr[last], channel, count, owner, table, like, added)
        for i in range(last - first):
            store(tile, i, _added(like, added, i))
        _copy_out(tile, first, last, out)


@njit(cache=True, nogil=True, error_model="numpy")
def back_project_tiles(
    like, width, indptr, channel, count, owner, dense, values, tile, wide, out, full_out
):  # fmt: skip
    """``out[e] += sum_i count(i, e) * values[i]``: the transposed counts times a narrow matrix."""
    pixels = indptr.size - 1
    for first in range(0, pixels, TILE_PIXELS):
        last = min(first + TILE_PIXELS, pixels)
        here = dense[first // LANES : (last + LANES - 1) // LANES]
        _copy_in(values, first, last, tile)
        _full_spread(width, here, tile, wide, full_out)
        _count_spread(indptr[first], indptr[last], channel, count, owner, like, tile, out)


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def _curvatures(count, start, size, fit, weight):
    """Divide counts by squares of the fits; counts begin at ``start``."""
    some = count[start : start + size]
    for j in range(size):
        weight[j] = fit.dtype.type(some[j]) / (fit[j] * fit[j])


@njit(cache=True, nogil=True, error_model="numpy")
def curvature_tiles(
    like, width, curve_like, curve, indptr, channel, count, owner, dense, amounts, table, full_table,
    curve_table, full_curve_table, floor, fit, weight, tile, added, across, across_gain,
    curve_tile, curve_added, curve_gain, log_sums, gains, curvatures,
):  # fmt: skip
    """Slopes and curvatures of the likelihood of all pixels; see ``photons.factor.likelihood_model``."""
    pixels = indptr.size - 1
    for first in range(0, pixels, TILE_PIXELS):
        last = min(first + TILE_PIXELS, pixels)
        here = dense[first // LANES : (last + LANES - 1) // LANES]
        _copy_in(amounts, first, last, tile)
        _turn(width, here, tile, across)
        for g in range(here.shape[0]):
            ratio_gains_and_logs(
                width, curve, g, here, full_table, full_curve_table, across, floor, across_gain, curve_gain,
                log_sums,
            )  # fmt: skip
        _turn_back(width, here, across_gain, added)
        _turn_back(curve, here, curve_gain, curve_added)
        for start in range(indptr[first], indptr[last], LOG_PHOTONS):
            stop = min(start + LOG_PHOTONS, indptr[last])
            _ratio_gains(start, stop, channel, count, owner, table, floor, like, tile, fit, added)
            _curvatures(count, start, stop - start, fit, weight)
            _add_logs(count, start, stop - start, fit, log_sums)
            for j in range(start, stop, GROUP):
                row = peek(owner, j // GROUP)
                more = weighted_gains4(curve_like, curve_table, channel, j, weight, j - start)
                store(curve_added, row, add(load(curve_like, curve_added, row), more))
        for i in range(last - first):
            store(tile, i, _added(like, added, i))
            store(curve_tile, i, _added(curve_like, curve_added, i))
        _copy_out(tile, first, last, gains)
        _copy_out(curve_tile, first, last, curvatures)
