"""Products of counts with narrow matrices, and the quadratic model of a likelihood."""

import numpy as np

from edxdask.photons.kernels.arrangement import BATCH_PIXELS, LANES
from edxdask.photons.kernels.jit import kernel
from edxdask.photons.kernels.vector.batches import (
    add_count_products,
    copy_in,
    copy_out,
    ratio_strips,
    set_dense_products,
    spread_count_strips,
    spread_dense_counts,
    turn_all,
    turn_all_back,
)
from edxdask.photons.kernels.vector.dense_channels import ratio_gains_and_logs
from edxdask.photons.kernels.vector.scratch import (
    Model,
    Sums,
    Widths,
    counts_for,
    empty_rows,
    padded_rows,
    whole_rows,
    work_for,
)
from edxdask.photons.kernels.vector.updates import log_total

MOST_COLUMNS = 32  # curvatures at once: as many as vectors that hold sums


@kernel
def project_batches(widths, counts, table, work, out):
    """``out[i] = sum_e count(i, e) * table[e]``: the counts times a narrow matrix."""
    phases = widths.phases
    strips, batch_starts = counts.strips, counts.batch_starts
    for t in range(batch_starts.size - 1):
        first = t * BATCH_PIXELS
        last = min(first + BATCH_PIXELS, out.shape[0])
        here = counts.dense[first // LANES : (last + LANES - 1) // LANES]
        pixel_groups = here.shape[0] if here.shape[1] > 0 else 0
        groups = batch_starts[t], batch_starts[t + 1]
        set_dense_products(phases, here, pixel_groups, table.dense, work)
        add_count_products(phases, groups, strips, table.by_channel, work.gains)
        copy_out(phases, work.gains, first, last, out)


@kernel
def back_project_batches(widths, counts, values, work, totals):
    """``out[e] += sum_i count(i, e) * values[i]``: the transposed counts times a narrow matrix."""
    phases = widths.phases
    strips, batch_starts = counts.strips, counts.batch_starts
    for t in range(batch_starts.size - 1):
        first = t * BATCH_PIXELS
        last = min(first + BATCH_PIXELS, values.shape[0])
        here = counts.dense[first // LANES : (last + LANES - 1) // LANES]
        pixel_groups = here.shape[0] if here.shape[1] > 0 else 0
        groups = batch_starts[t], batch_starts[t + 1]
        copy_in(phases, values, first, last, work.amounts)
        spread_dense_counts(phases, here, pixel_groups, work, totals.dense)
        spread_count_strips(phases, groups, strips, work.amounts, work.wide_amounts, totals.by_channel)


@kernel
def curvature_batches(widths, curve, counts, amounts, tables, floor, works, log_sums, found):
    """Slopes and curvatures of the likelihood of all pixels; see ``contract.Kernels.likelihood_model``.

    Of ``tables``, ``works`` and ``found`` the first is that of the slopes, the second that of the curvatures.
    """
    table, curve_table = tables
    work, curve_work = works
    slopes, curvatures = found
    phases, columns = widths.phases, curve.phases
    strips, batch_starts = counts.strips, counts.batch_starts
    model = Model(table.by_channel, curve_table.by_channel, work.amounts, floor)
    dense_model = Model(table.dense, curve_table.dense, work.across, floor)
    sums = Sums(work.gains, curve_work.gains, log_sums)
    dense_sums = Sums(work.across_gains, curve_work.across_gains, log_sums)
    for t in range(batch_starts.size - 1):
        first = t * BATCH_PIXELS
        last = min(first + BATCH_PIXELS, amounts.shape[0])
        here = counts.dense[first // LANES : (last + LANES - 1) // LANES]
        pixel_groups = here.shape[0] if here.shape[1] > 0 else 0
        groups = batch_starts[t], batch_starts[t + 1]
        copy_in(phases, amounts, first, last, work.amounts)
        turn_all(phases, pixel_groups, work.amounts, work.across)
        for g in range(pixel_groups):
            ratio_gains_and_logs(phases, columns, g, here, dense_model, dense_sums)
        turn_all_back(phases, pixel_groups, work.across_gains, work.gains)
        turn_all_back(columns, pixel_groups, curve_work.across_gains, curve_work.gains)
        ratio_strips(phases, columns, True, groups, strips, model, sums, 0)
        copy_out(phases, work.gains, first, last, slopes)
        copy_out(columns, curve_work.gains, first, last, curvatures)


def project(block, basis, pixels):
    """See ``contract.Kernels``."""
    widths = Widths.of(basis.shape[1])
    table = padded_rows(basis, block.dense_channels, widths)
    out = np.empty((pixels, basis.shape[1]), dtype=basis.dtype)
    counts = counts_for(block, basis.dtype)
    project_batches(widths, counts, table, work_for(widths, basis.dtype), out)
    return out


def back_project(block, values, channels):
    """See ``contract.Kernels``."""
    columns = values.shape[1]
    widths = Widths.of(columns)
    totals = empty_rows(channels, block.dense_channels, widths)
    counts = counts_for(block, values.dtype)
    back_project_batches(widths, counts, values, work_for(widths, values.dtype), totals)
    return np.ascontiguousarray(whole_rows(totals, block.dense_channels, columns).T)


def likelihood_model(block, amounts, spectra, products, floor):
    """See ``contract.Kernels``."""
    dtype, held = amounts.dtype, block.dense_channels
    widths = Widths.of(len(spectra))
    table = padded_rows(spectra.T, held, widths)
    slopes = np.empty_like(amounts)
    curvatures = np.empty((len(amounts), products.shape[1]), dtype=dtype)
    log_sums = np.zeros((2, LANES))
    for begin in range(0, max(1, products.shape[1]), MOST_COLUMNS):  # all at once up to eight phases
        some = products[:, begin : begin + MOST_COLUMNS]
        curve = Widths.of(max(1, some.shape[1]))
        found = np.empty((len(amounts), some.shape[1]), dtype=dtype)
        log_sums[:] = 0
        curvature_batches(
            widths,
            curve,
            counts_for(block, dtype),
            amounts,
            (table, padded_rows(some, held, curve)),
            dtype.type(floor),
            (work_for(widths, dtype), work_for(curve, dtype)),
            log_sums,
            (slopes, found),
        )
        curvatures[:, begin : begin + MOST_COLUMNS] = found
    return slopes, curvatures, log_total(log_sums)
