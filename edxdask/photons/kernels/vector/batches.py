"""What every kernel does with a batch of pixels: rows in and out, lanes transposed, sums over photons.

The work over phases (dot products, sums) runs on sixteen counts at a time (see ``lanes``): of
sixteen pixels in a channel that is held dense (see ``dense_channels``), or of sixteen strips of photons (see
``strips``). Work done once per pixel runs on short vectors of its numbers (see ``registers``).
"""

from edxdask.photons.kernels.arrangement import LANES
from edxdask.photons.kernels.jit import helper
from edxdask.photons.kernels.vector.dense_channels import count_gains, spread_counts
from edxdask.photons.kernels.vector.registers import add, fetch, load, store, widen
from edxdask.photons.kernels.vector.scratch import LINE, Model, Sums
from edxdask.photons.kernels.vector.strips import (
    find_places,
    keep_spectra,
    strip_count_gains,
    strip_counts,
    strip_ratio_gains,
    strip_ratio_gains_and_logs,
    strip_ratios,
    strip_spread,
    turn,
    turn_back,
)

ACROSS = (0,) * LANES
AHEAD = 8192  # entries: a prefetch that is too late makes the processor wait


@helper
def copy_in(width, values, first, last, rows):
    """Rows ``first`` to ``last`` of ``values``, into rows of ``rows`` that are as wide or wider.

    Written as loops, since numba takes seconds to compile a copy of slices; and twice, since a copy of
    exactly ``width`` numbers needs no inner loop.
    """
    if values.shape[1] == len(width):
        for i in range(last - first):
            for c in range(len(width)):
                rows[i, c] = values[first + i, c]
    else:
        for i in range(last - first):
            for c in range(values.shape[1]):
                rows[i, c] = values[first + i, c]


@helper
def copy_out(width, rows, first, last, values):
    """Copy rows of ``rows`` to ``values``, from row ``first`` on."""
    if values.shape[1] == len(width):
        for i in range(last - first):
            for c in range(len(width)):
                values[first + i, c] = rows[i, c]
    else:
        for i in range(last - first):
            for c in range(values.shape[1]):
                values[first + i, c] = rows[i, c]


@helper
def widen_all(values, wide):
    """Copy numbers, a multiple of sixteen, to double precision."""
    for i in range(values.size // LANES):
        store(wide, i, widen(load(ACROSS, values, i)))


@helper
def turn_all(width, groups, rows, across):
    """Copy the pixels of each group from ``rows`` to lanes of ``across``."""
    for g in range(groups):
        turn(width, g, rows, across)


@helper
def turn_all_back(width, groups, across, rows):
    """Set each pixel's row to its lanes of ``across``, or to zero where there are no groups."""
    if groups == 0:
        for i in range(rows.shape[0]):
            for c in range(rows.shape[1]):
                rows[i, c] = 0
    for g in range(groups):
        turn_back(width, g, rows, across)


@helper
def add_rows(like, rows, last, total):
    """Add the first ``last`` rows to ``total``."""
    for i in range(last):
        total = add(total, widen(load(like, rows, i)))
    return total


@helper
def fetch_rows(array, first, last):
    """Prefetch the rows of sixteen that are needed some time after these."""
    for place in range(first * LANES + AHEAD, last * LANES + AHEAD, LINE // array.itemsize):
        fetch(array, place)


@helper
def find_all_places(channel, first, last, length, place):
    """Where the rows of channels begin in a table with rows ``length`` long."""
    for n in range(last - first):
        find_places(channel, first + n, length, place, n)


@helper
def ratio_strips(phases, curve, logs, groups, strips, model, sums, apart):
    """Add what the photons of some groups give their pixels to the rows of ``sums``.

    Their spectra are kept, ``apart`` rows for each row of photons.
    """
    first, last = groups
    starts = strips.group_starts
    for g in range(first, last):
        kept = (starts[g] - starts[first]) * apart
        fetch_rows(strips.channel, starts[g], starts[g + 1])
        fetch_rows(strips.counts, starts[g], starts[g + 1])
        find_all_places(strips.channel, starts[g], starts[g + 1], model.table.shape[1], strips.place)
        if len(curve) > 0:
            length = model.curve_table.shape[1]
            find_all_places(strips.channel, starts[g], starts[g + 1], length, strips.curve_place)
        if logs:
            strip_ratio_gains_and_logs(phases, curve, g, strips, model, sums, kept, apart)
        else:
            strip_ratio_gains(phases, curve, g, strips, model, sums, kept, apart)


@helper
def spread_ratio_strips(phases, groups, strips, model, wide_amounts, numerator, apart):
    """Add ``ratio * amounts`` to the rows of photons' channels; spectra were kept unless ``apart`` is 0."""
    first, last = groups
    widen_all(model.amounts, wide_amounts)
    starts = strips.group_starts
    for g in range(first, last):
        find_all_places(strips.channel, starts[g], starts[g + 1], model.table.shape[1], strips.place)
        kept = (starts[g] - starts[first]) * apart
        if apart == 0:
            keep_spectra(phases, g, strips, model, kept, len(phases))
        strip_ratios(phases, g, strips, model, kept, len(phases))
        strip_spread(phases, g, strips, wide_amounts, numerator)


@helper
def add_count_products(phases, groups, strips, table, gains):
    """Add counts of photons times ``table`` to the rows of ``gains``."""
    starts = strips.group_starts
    model = Model(table, table, gains, table[0, 0])
    sums = Sums(gains, gains, gains)
    for g in range(groups[0], groups[1]):
        find_all_places(strips.channel, starts[g], starts[g + 1], table.shape[1], strips.place)
        strip_count_gains(phases, (), g, strips, model, sums, 0, 0)


@helper
def set_dense_products(phases, here, groups, table, work):
    """Set the gains of a batch to the counts of channels held dense times ``table``."""
    model = Model(table, table, work.across, work.across[0, 0])
    sums = Sums(work.across_gains, work.across_gains, work.across_gains)
    for g in range(groups):
        count_gains(phases, (), g, here, model, sums)
    turn_all_back(phases, groups, work.across_gains, work.gains)


@helper
def spread_dense_counts(phases, here, groups, work, numerator):
    """Add counts of channels held dense times the abundances of their pixels to the channels' rows."""
    turn_all(phases, groups, work.amounts, work.across)
    wide = work.wide_across
    widen_all(work.across, wide)
    model = Model(wide, wide, wide, wide[0, 0])
    for e in range(here.shape[1]):
        spread_counts(phases, e, here, model, numerator)


@helper
def spread_count_strips(phases, groups, strips, amounts, wide_amounts, numerator):
    """Add counts of photons times the abundances of their pixels to the rows of their channels."""
    widen_all(amounts, wide_amounts)
    starts = strips.group_starts
    model = Model(amounts, amounts, amounts, amounts[0, 0])
    for g in range(groups[0], groups[1]):
        find_all_places(strips.channel, starts[g], starts[g + 1], amounts.shape[1], strips.place)
        strip_counts(phases, g, strips, model, 0, 0)
        strip_spread(phases, g, strips, wide_amounts, numerator)
