"""Multiplicative updates: one pass over a batch of pixels that stays in the cache."""

import math

import numpy as np

from edxdask.photons.kernels.arrangement import BATCH_PIXELS
from edxdask.photons.kernels.contract import LikelihoodSums, SquareSums
from edxdask.photons.kernels.jit import helper, kernel
from edxdask.photons.kernels.vector.batches import (
    add_count_products,
    add_rows,
    copy_in,
    copy_out,
    fetch_rows,
    ratio_strips,
    set_dense_products,
    spread_count_strips,
    spread_dense_counts,
    spread_ratio_strips,
    turn_all,
    turn_all_back,
)
from edxdask.photons.kernels.vector.dense_channels import ratio_gains, ratio_gains_and_logs, spread_ratios
from edxdask.photons.kernels.vector.registers import (
    divide,
    fma,
    fma_each,
    lift,
    load,
    multiply,
    store,
    widen,
    zero,
)
from edxdask.photons.kernels.vector.scratch import (
    LANES,
    Model,
    Sums,
    Widths,
    counts_for,
    empty_rows,
    padded,
    padded_rows,
    whole_rows,
    work_for,
)


@helper
def _update(like, last, rules, gains, amounts):
    """Multiply each pixel's abundances with rates times its gains, or with 1 where they are kept."""
    rate, keep, least = load(like, rules, 0), load(like, rules, 1), load(like, rules, 2)
    for i in range(last):
        gain = fma_each(load(like, gains, i), rate, keep)
        store(amounts, i, lift(multiply(load(like, amounts, i), gain), least))


@kernel
def likelihood_batches(widths, counts, abundance, spectra, rules, floor, options, work, totals, sums):
    """One Kullback-Leibler sweep over all pixels; see ``contract.Kernels.likelihood_sweep``."""
    like, phases = widths.columns, widths.phases
    strips, batch_starts = counts.strips, counts.batch_starts
    model = Model(spectra.by_channel, spectra.by_channel, work.amounts, floor)
    dense_model = Model(spectra.dense, spectra.dense, work.across, floor)
    column_sums, log_sums = sums
    into = Sums(work.gains, work.across_gains, log_sums)
    dense_into = Sums(work.across_gains, work.across_gains, log_sums)
    starts = strips.group_starts
    before, after = zero(like, 0.0), zero(like, 0.0)
    for t in range(batch_starts.size - 1):
        first = t * BATCH_PIXELS
        last = min(first + BATCH_PIXELS, abundance.shape[0])
        here = counts.dense[first // LANES : (last + LANES - 1) // LANES]
        pixel_groups = here.shape[0] if here.shape[1] > 0 else 0
        groups = batch_starts[t], batch_starts[t + 1]
        rows = (starts[groups[1]] - starts[groups[0]]) * len(phases)
        # spectra are kept if all fit
        apart = len(phases) if rows <= strips.spectra_rows.shape[0] else 0
        copy_in(phases, abundance, first, last, work.amounts)
        before = add_rows(like, work.amounts, last - first, before)
        for repeat in range(options.inner):
            logs = repeat == 0 and options.logs
            turn_all(phases, pixel_groups, work.amounts, work.across)
            for g in range(pixel_groups):
                fetch_rows(here, g * here.shape[1], (g + 1) * here.shape[1])
                if logs:
                    ratio_gains_and_logs(phases, (), g, here, dense_model, dense_into)
                else:
                    ratio_gains(phases, (), g, here, dense_model, dense_into)
            turn_all_back(phases, pixel_groups, work.across_gains, work.gains)
            ratio_strips(phases, (), logs, groups, strips, model, into, apart)
            if options.update:
                _update(like, last - first, rules, work.gains, work.amounts)
        if options.statistics:
            turn_all(phases, pixel_groups, work.amounts, work.across)
            for e in range(here.shape[1]):
                spread_ratios(phases, e, here, dense_model, totals.dense)
            spread_ratio_strips(phases, groups, strips, model, work.wide_amounts, totals.by_channel, apart)
        after = add_rows(like, work.amounts, last - first, after)
        if options.update:
            copy_out(phases, work.amounts, first, last, abundance)
    store(column_sums, 0, before)
    store(column_sums, 1, after)


@helper
def _times_gram(like, amounts, i, gram):
    """Row ``i`` of ``amounts`` times the symmetric ``gram``."""
    out = zero(like, amounts[0, 0])
    for c in range(len(like)):
        out = fma(amounts[i, c], load(like, gram, c), out)
    return out


@helper
def _add_outer(like, amounts, last, outer):
    """Add ``amounts.T @ amounts`` to ``outer``."""
    for i in range(last):
        a = widen(load(like, amounts, i))
        for c in range(len(like)):
            store(outer, c, fma(amounts[i, c], a, load(like, outer, c)))


@kernel
def squares_batches(widths, counts, abundance, spectra, rules, floor, options, work, totals, sums):
    """One Frobenius sweep over all pixels; see ``contract.Kernels.squares_sweep``."""
    like, phases = widths.columns, widths.phases
    strips, batch_starts = counts.strips, counts.batch_starts
    gram, outer, products = sums
    amounts, gains = work.amounts, work.gains
    update, inner = options.update, options.inner
    cross = zero(like, 0.0)
    quadratic = cross
    for t in range(batch_starts.size - 1):
        first = t * BATCH_PIXELS
        last = min(first + BATCH_PIXELS, abundance.shape[0])
        here = counts.dense[first // LANES : (last + LANES - 1) // LANES]
        pixel_groups = here.shape[0] if here.shape[1] > 0 else 0
        groups = batch_starts[t], batch_starts[t + 1]
        copy_in(phases, abundance, first, last, amounts)
        set_dense_products(phases, here, pixel_groups, spectra.dense, work)
        add_count_products(phases, groups, strips, spectra.by_channel, gains)
        for i in range(last - first):
            gain = load(like, gains, i)
            cross = fma_each(widen(gain), widen(load(like, amounts, i)), cross)
            loss = _times_gram(like, amounts, i, gram)
            quadratic = fma_each(widen(loss), widen(load(like, amounts, i)), quadratic)
            if update:
                for repeat in range(inner):
                    if repeat > 0:
                        loss = _times_gram(like, amounts, i, gram)
                    factor = divide(gain, loss, load(like, rules, 1), floor)
                    store(amounts, i, lift(multiply(load(like, amounts, i), factor), load(like, rules, 2)))
        if options.statistics:
            spread_dense_counts(phases, here, pixel_groups, work, totals.dense)
            spread_count_strips(phases, groups, strips, amounts, work.wide_amounts, totals.by_channel)
            _add_outer(like, amounts, last - first, outer)
        if update:
            copy_out(phases, amounts, first, last, abundance)
    store(products, 0, cross)
    store(products, 1, quadratic)


def likelihood_sweep(block, abundance, spectra, rules, floor, options):
    """See ``contract.Kernels``."""
    phases, channels = spectra.shape
    widths, dtype = Widths.of(phases), abundance.dtype
    columns = len(widths.columns)
    totals = _room(block, channels, widths, options.statistics)
    column_sums, log_sums = np.empty((2, columns)), np.zeros((2, LANES))
    likelihood_batches(
        widths,
        counts_for(block, dtype, len(widths.phases)),
        abundance,
        padded_rows(spectra.T, block.dense_channels, widths),
        padded(np.array(rules), columns, dtype),
        dtype.type(floor),
        options,
        work_for(widths, dtype),
        totals,
        (column_sums, log_sums),
    )
    numerator = _numerator(totals, block, phases, options.statistics)
    return LikelihoodSums(numerator, column_sums[0, :phases], column_sums[1, :phases], log_total(log_sums))


def squares_sweep(block, abundance, spectra, gram, rules, floor, options):
    """See ``contract.Kernels``."""
    phases, channels = spectra.shape
    widths, dtype = Widths.of(phases), abundance.dtype
    columns = len(widths.columns)
    square_gram = np.zeros((columns, columns), dtype=dtype)
    square_gram[:phases, :phases] = gram
    totals = _room(block, channels, widths, options.statistics)
    outer, products = np.zeros((columns, columns)), np.empty((2, columns))
    squares_batches(
        widths,
        counts_for(block, dtype),
        abundance,
        padded_rows(spectra.T, block.dense_channels, widths),
        padded(np.array(rules), columns, dtype),
        dtype.type(floor),
        options,
        work_for(widths, dtype),
        totals,
        (square_gram, outer, products),
    )
    own_gram = outer[:phases, :phases].copy() if options.statistics else np.empty((phases, 0))
    numerator = _numerator(totals, block, phases, options.statistics)
    return SquareSums(numerator, own_gram, float(products[0].sum()), float(products[1].sum()))


def log_total(log_sums):
    """Return the sum of logarithms; their mantissas and powers of two were summed apart."""
    return float(log_sums[0].sum() + math.log(2.0) * log_sums[1].sum())


def _room(block, channels, widths, wanted):
    """Memory for sums over pixels; none where they are not needed."""
    held = block.dense_channels
    return empty_rows(channels, held, widths) if wanted else empty_rows(0, held[:0], widths)


def _numerator(totals, block, phases, wanted):
    return whole_rows(totals, block.dense_channels, phases) if wanted else np.empty((phases, 0))
