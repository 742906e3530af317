"""Multiplicative updates on counts: one pass over a tile of pixels that stays near the processor.

The work that has phases in it (dot products, sums) runs on sixteen counts at a time (see ``lanes``): of
sixteen pixels in a channel that is held dense (see ``full``), or of sixteen strips of photons (see
``strips``). What is done once per pixel runs on short vectors of its ``lanes`` numbers (see ``vector``).
"""

import numpy as np
from numba import njit

from edxdask.photons.kernels.full import (
    count_gains,
    ratio_gains,
    ratio_gains_and_logs,
    spread_counts,
    spread_ratios,
)
from edxdask.photons.kernels.lanes import LANES
from edxdask.photons.kernels.split import TILE_PIXELS
from edxdask.photons.kernels.strips import (
    find_places,
    keep_shapes,
    strip_count_gains,
    strip_counts,
    strip_ratio_gains,
    strip_ratio_gains_and_logs,
    strip_ratios,
    strip_spread,
    turn,
    turn_back,
)
from edxdask.photons.kernels.vector import (
    add,
    divide,
    fetch,
    fma,
    fma_each,
    lift,
    load,
    multiply,
    store,
    widen,
    zero,
)

FAST = {"contract", "reassoc", "nsz", "arcp"}  # NaN and infinity keep their meaning
ACROSS = (0,) * LANES
LINE = 64  # bytes that come near the processor together
AHEAD = 8192  # entries: what is asked for when its time has come is waited for


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def _copy_in(width, values, first, last, tile):
    """Rows ``first`` to ``last`` of ``values``, into rows of ``tile`` that are as wide or wider.

    Written out, since numba takes seconds to compile a copy of slices; and twice, since a copy of as many
    numbers as ``width`` has needs no inner loop.
    """
    if values.shape[1] == len(width):
        for i in range(last - first):
            for c in range(len(width)):
                tile[i, c] = values[first + i, c]
    else:
        for i in range(last - first):
            for c in range(values.shape[1]):
                tile[i, c] = values[first + i, c]


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def _copy_out(width, tile, first, last, values):
    """Copy rows of ``tile`` to ``values``, from row ``first`` on."""
    if values.shape[1] == len(width):
        for i in range(last - first):
            for c in range(len(width)):
                values[first + i, c] = tile[i, c]
    else:
        for i in range(last - first):
            for c in range(values.shape[1]):
                values[first + i, c] = tile[i, c]


@njit(cache=True, nogil=True, error_model="numpy")
def _widen(values, wide):
    """Copy numbers, a multiple of sixteen, to double precision."""
    for i in range(values.size // LANES):
        store(wide, i, widen(load(ACROSS, values, i)))


@njit(cache=True, nogil=True, error_model="numpy")
def _update_tile(like, rows, rules, added, tile):
    """Multiply each pixel's abundances with rates times its gains, or with 1 where they are kept."""
    rate, keep, least = load(like, rules, 0), load(like, rules, 1), load(like, rules, 2)
    for i in range(rows):
        gain = fma_each(load(like, added, i), rate, keep)
        store(tile, i, lift(multiply(load(like, tile, i), gain), least))


@njit(cache=True, nogil=True, error_model="numpy")
def _turn(width, dense, tile, across):
    """Copy the pixels of each group from rows of ``tile`` to lanes of ``across``."""
    for g in range(dense.shape[0] if dense.shape[1] > 0 else 0):
        turn(width, g, tile, across)


@njit(cache=True, nogil=True, error_model="numpy")
def _turn_back(width, dense, across, added):
    """Set each pixel's row of ``added`` to what lanes of ``across`` hold for it."""
    if dense.shape[1] == 0:
        added[:] = 0
        return
    for g in range(dense.shape[0]):
        turn_back(width, g, added, across)


@njit(cache=True, nogil=True, error_model="numpy")
def _add_rows(like, tile, rows, total):
    """Add the abundances of a tile to ``total``."""
    for i in range(rows):
        total = add(total, widen(load(like, tile, i)))
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def _fetch(array, first, last):
    """Ask for the rows of sixteen that come some time after these."""
    for place in range(first * LANES + AHEAD, last * LANES + AHEAD, LINE // array.itemsize):
        fetch(array, place)


@njit(cache=True, nogil=True, error_model="numpy")
def _find_places(channel, first, last, lanes, place):
    """Where the rows of channels begin in a table whose rows are ``lanes`` long."""
    for n in range(last - first):
        find_places(channel, first + n, lanes, place, n)


@njit(cache=True, nogil=True, error_model="numpy")
def _ratio_strips(
    width, curve, logs, groups, steps, owner, channel, count, place, curve_place, table, curve_table, floor,
    tile, added, curve_added, log_sums, shapes, apart,
):  # fmt: skip
    """Add what photons give their pixels to the rows of ``added``."""
    for g in range(groups[0], groups[1]):
        kept = (steps[g] - steps[groups[0]]) * apart
        _fetch(channel, steps[g], steps[g + 1])
        _fetch(count, steps[g], steps[g + 1])
        _find_places(channel, steps[g], steps[g + 1], table.shape[1], place)
        if len(curve) > 0:
            _find_places(channel, steps[g], steps[g + 1], curve_table.shape[1], curve_place)
        if logs:
            strip_ratio_gains_and_logs(
                width, curve, g, steps, owner, place, curve_place, count, table, curve_table, tile, floor,
                added, curve_added, log_sums, shapes, kept, apart,
            )  # fmt: skip
        else:
            strip_ratio_gains(
                width, curve, g, steps, owner, place, curve_place, count, table, curve_table, tile, floor,
                added, curve_added, log_sums, shapes, kept, apart,
            )  # fmt: skip


@njit(cache=True, nogil=True, error_model="numpy")
def _spread_ratio_strips(
    width, groups, steps, owner, channel, count, place, weight, spectra, floor, tile, wide_tile, numerator,
    shapes, apart,
):  # fmt: skip
    """Add ``ratio * tile`` to the rows of the channels of photons, whose spectra are kept unless none is."""
    _widen(tile, wide_tile)
    for g in range(groups[0], groups[1]):
        _find_places(channel, steps[g], steps[g + 1], spectra.shape[1], place)
        kept = (steps[g] - steps[groups[0]]) * apart
        if apart == 0:
            keep_shapes(width, g, steps, owner, place, spectra, shapes, kept, len(width))
        strip_ratios(width, g, steps, owner, count, spectra, tile, floor, weight, shapes, kept, len(width))
        strip_spread(width, g, steps, owner, place, weight, wide_tile, numerator)


@njit(cache=True, nogil=True, error_model="numpy")
def _count_strips(width, groups, steps, owner, channel, count, place, table, tile, added):
    """Add counts times ``table`` to the rows of ``added``."""
    for g in range(groups[0], groups[1]):
        _find_places(channel, steps[g], steps[g + 1], table.shape[1], place)
        strip_count_gains(
            width, (), g, steps, owner, place, place, count, table, table, tile, table[0, 0], added, added,
            added, added, 0, 0,
        )  # fmt: skip


@njit(cache=True, nogil=True, error_model="numpy")
def _spread_count_strips(
    width, groups, steps, owner, channel, count, place, weight, tile, wide_tile, numerator
):
    """Add counts times the rows of ``tile`` to those of their channels."""
    _widen(tile, wide_tile)
    for g in range(groups[0], groups[1]):
        _find_places(channel, steps[g], steps[g + 1], tile.shape[1], place)
        strip_counts(width, g, steps, owner, count, tile, tile, tile[0, 0], weight, tile, 0, 0)
        strip_spread(width, g, steps, owner, place, weight, wide_tile, numerator)


@njit(cache=True, nogil=True, error_model="numpy")
def kl_tiles(
    like, width, dense, tiles, steps, owner, channel, count, abundance, spectra, full_spectra, rules,
    floor, inner, update, statistics, logs, place, weight, tile, added, wide_tile, across, across_gain,
    numerator, full_numerator, sums, log_sums, shapes,
):  # fmt: skip
    """One Kullback-Leibler sweep over all pixels; see ``photons.factor.kl_sweep``."""
    unused = across_gain
    entry = zero(like, 0.0)
    after = zero(like, 0.0)
    for t in range(tiles.size - 1):
        first = t * TILE_PIXELS
        last = min(first + TILE_PIXELS, abundance.shape[0])
        here = dense[first // LANES : (last + LANES - 1) // LANES]
        groups = (tiles[t], tiles[t + 1])
        rows = (steps[groups[1]] - steps[groups[0]]) * len(width)
        apart = len(width) if rows <= shapes.shape[0] else 0  # spectra are kept where there is room for all
        _copy_in(width, abundance, first, last, tile)
        entry = _add_rows(like, tile, last - first, entry)
        for repeat in range(inner):
            _turn(width, here, tile, across)
            for g in range(here.shape[0]):
                _fetch(here, g * here.shape[1], (g + 1) * here.shape[1])
                if repeat == 0 and logs:
                    ratio_gains_and_logs(
                        width, (), g, here, full_spectra, unused, across, floor, across_gain, unused, log_sums
                    )
                else:
                    ratio_gains(
                        width, (), g, here, full_spectra, unused, across, floor, across_gain, unused, log_sums
                    )
            _turn_back(width, here, across_gain, added)
            _ratio_strips(
                width, (), repeat == 0 and logs, groups, steps, owner, channel, count, place, place, spectra,
                spectra, floor, tile, added, unused, log_sums, shapes, apart,
            )  # fmt: skip
            if update:
                _update_tile(like, last - first, rules, added, tile)
        if statistics:
            _turn(width, here, tile, across)
            for e in range(dense.shape[1]):
                spread_ratios(width, e, here, full_spectra, across, floor, full_numerator)
            _spread_ratio_strips(
                width, groups, steps, owner, channel, count, place, weight, spectra, floor, tile, wide_tile,
                numerator, shapes, apart,
            )  # fmt: skip
        after = _add_rows(like, tile, last - first, after)
        if update:
            _copy_out(width, tile, first, last, abundance)
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
def _full_spread(width, dense, tile, across, wide, numerator):
    """Add the counts of channels held dense times ``tile`` to the rows of ``numerator``."""
    _turn(width, dense, tile, across)
    _widen(across, wide)
    for e in range(dense.shape[1]):
        spread_counts(width, e, dense, wide, wide, wide[0, 0], numerator)


@njit(cache=True, nogil=True, error_model="numpy")
def frobenius_tiles(
    like, width, dense, tiles, steps, owner, channel, count, abundance, spectra, full_spectra, gram, rules,
    floor, inner, update, statistics, place, weight, tile, added, wide_tile, across, wide, across_gain,
    numerator, full_numerator, outer, sums,
):  # fmt: skip
    """One Frobenius sweep over all pixels; see ``photons.factor.frobenius_sweep``."""
    cross = zero(like, 0.0)
    quadratic = cross
    for t in range(tiles.size - 1):
        first = t * TILE_PIXELS
        last = min(first + TILE_PIXELS, abundance.shape[0])
        here = dense[first // LANES : (last + LANES - 1) // LANES]
        groups = (tiles[t], tiles[t + 1])
        _copy_in(width, abundance, first, last, tile)
        _full_products(width, here, full_spectra, across, across_gain, added)
        _count_strips(width, groups, steps, owner, channel, count, place, spectra, tile, added)
        for i in range(last - first):
            gain = load(like, added, i)
            cross = fma_each(widen(gain), widen(load(like, tile, i)), cross)
            loss = _times_gram(like, tile, i, gram)
            quadratic = fma_each(widen(loss), widen(load(like, tile, i)), quadratic)
            if update:
                for repeat in range(inner):
                    if repeat > 0:
                        loss = _times_gram(like, tile, i, gram)
                    share = divide(gain, loss, load(like, rules, 1), floor)
                    store(tile, i, lift(multiply(load(like, tile, i), share), load(like, rules, 2)))
        if statistics:
            _full_spread(width, here, tile, across, wide, full_numerator)
            _spread_count_strips(
                width, groups, steps, owner, channel, count, place, weight, tile, wide_tile, numerator
            )
            _add_outer(like, tile, last - first, outer)
        if update:
            _copy_out(width, tile, first, last, abundance)
    store(sums, 0, cross)
    store(sums, 1, quadratic)


@njit(cache=True, nogil=True, error_model="numpy")
def project_tiles(
    width, dense, tiles, steps, owner, channel, count, table, full_table, place, tile, added, across,
    across_gain, out,
):  # fmt: skip
    """``out[i] = sum_e count(i, e) * table[e]``: the counts times a narrow matrix."""
    for t in range(tiles.size - 1):
        first = t * TILE_PIXELS
        last = min(first + TILE_PIXELS, out.shape[0])
        here = dense[first // LANES : (last + LANES - 1) // LANES]
        _full_products(width, here, full_table, across, across_gain, added)
        groups = (tiles[t], tiles[t + 1])
        _count_strips(width, groups, steps, owner, channel, count, place, table, tile, added)
        _copy_out(width, added, first, last, out)


@njit(cache=True, nogil=True, error_model="numpy")
def back_project_tiles(
    width, dense, tiles, steps, owner, channel, count, values, place, weight, tile, wide_tile, across,
    wide, out, full_out,
):  # fmt: skip
    """``out[e] += sum_i count(i, e) * values[i]``: the transposed counts times a narrow matrix."""
    for t in range(tiles.size - 1):
        first = t * TILE_PIXELS
        last = min(first + TILE_PIXELS, values.shape[0])
        here = dense[first // LANES : (last + LANES - 1) // LANES]
        _copy_in(width, values, first, last, tile)
        _full_spread(width, here, tile, across, wide, full_out)
        groups = (tiles[t], tiles[t + 1])
        _spread_count_strips(width, groups, steps, owner, channel, count, place, weight, tile, wide_tile, out)


@njit(cache=True, nogil=True, error_model="numpy")
def curvature_tiles(
    width, curve, dense, tiles, steps, owner, channel, count, amounts, table, full_table, curve_table,
    full_curve_table, floor, place, curve_place, tile, added, across, across_gain, curve_added, curve_gain,
    log_sums, gains, curvatures,
):  # fmt: skip
    """Slopes and curvatures of the likelihood of all pixels; see ``photons.factor.likelihood_model``."""
    for t in range(tiles.size - 1):
        first = t * TILE_PIXELS
        last = min(first + TILE_PIXELS, amounts.shape[0])
        here = dense[first // LANES : (last + LANES - 1) // LANES]
        _copy_in(width, amounts, first, last, tile)
        _turn(width, here, tile, across)
        for g in range(here.shape[0]):
            ratio_gains_and_logs(
                width, curve, g, here, full_table, full_curve_table, across, floor, across_gain, curve_gain,
                log_sums,
            )  # fmt: skip
        _turn_back(width, here, across_gain, added)
        _turn_back(curve, here, curve_gain, curve_added)
        _ratio_strips(
            width, curve, True, (tiles[t], tiles[t + 1]), steps, owner, channel, count, place, curve_place,
            table, curve_table, floor, tile, added, curve_added, log_sums, added, 0,
        )  # fmt: skip
        _copy_out(width, added, first, last, gains)
        _copy_out(curve, curve_added, first, last, curvatures)
