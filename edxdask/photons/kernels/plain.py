"""The backend of ordinary loops: what the vector kernels do, one photon at a time, for people to read.

All sums are made in double precision, so that it is also the reference in tests of the others. Each
batch of pixels is first written out as a list of its photons; the rest is loops over that list.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from edxdask.photons.kernels.arrangement import BATCH_PIXELS, LANES
from edxdask.photons.kernels.contract import LikelihoodSums, SquareSums

QUIET = np.errstate(all="ignore")  # as compiled code is: infinite numbers are the caller's to see


class PhotonList(NamedTuple):
    """Photons of a batch, one entry each: pixel of the batch, channel, and count as float64."""

    pixel: np.ndarray
    channel: np.ndarray
    counts: np.ndarray


@njit(cache=True, nogil=True, error_model="numpy")
def _list_batch(block, batch, pixels, found):
    """Write the photons of a batch to ``found``, those of a pixel in their order; return their number."""
    first = batch * BATCH_PIXELS
    last = min(first + BATCH_PIXELS, pixels)
    n = 0
    for i in range(first, last):
        for d in range(block.dense_channels.size):
            count = block.dense[i // LANES, d, i % LANES]
            if count > 0:
                found.pixel[n] = i - first
                found.channel[n] = block.dense_channels[d]
                found.counts[n] = count
                n += 1
    for g in range(block.batch_starts[batch], block.batch_starts[batch + 1]):
        for lane in range(LANES):
            for row in range(block.group_starts[g], block.group_starts[g + 1]):
                if block.counts[row, lane] == 0:
                    break
                found.pixel[n] = block.owner[g, lane]
                found.channel[n] = block.channel[row, lane]
                found.counts[n] = block.counts[row, lane]
                n += 1
    return n


def _batches(block, pixels):
    """Yield ``(pixels, photons)`` of each batch: where its pixels are, and a ``PhotonList``."""
    rows = np.diff(block.group_starts[block.batch_starts]).max(initial=0)
    room = rows * LANES + BATCH_PIXELS * block.dense_channels.size
    found = PhotonList(np.empty(room, np.int64), np.empty(room, np.int64), np.empty(room))
    for batch in range(block.batch_starts.size - 1):
        n = _list_batch(block, batch, pixels, found)
        first = batch * BATCH_PIXELS
        where = slice(first, min(first + BATCH_PIXELS, pixels))
        yield where, PhotonList(*(array[:n] for array in found))


@njit(cache=True, nogil=True, error_model="numpy")
def _fit(amounts, table, i, e, floor):
    total = 0.0
    for c in range(table.shape[1]):
        total += np.float64(amounts[i, c]) * np.float64(table[e, c])
    return floor if floor > total else total  # which leaves NaN as it is


@njit(cache=True, nogil=True, error_model="numpy")
def _add_ratios(photons, amounts, table, floor, gains):
    """Add Σ_e y S / ŷ to each pixel's gains; returns Σ y log ŷ."""
    logs = 0.0
    for j in range(photons.counts.size):
        i, e = photons.pixel[j], photons.channel[j]
        fit = _fit(amounts, table, i, e, floor)
        logs += photons.counts[j] * np.log(fit)
        for c in range(table.shape[1]):
            gains[i, c] += photons.counts[j] / fit * table[e, c]
    return logs


@njit(cache=True, nogil=True, error_model="numpy")
def _spread_ratios(photons, amounts, table, floor, numerator):
    """Add Σ_i A y / ŷ to each channel's row."""
    for j in range(photons.counts.size):
        i, e = photons.pixel[j], photons.channel[j]
        ratio = photons.counts[j] / _fit(amounts, table, i, e, floor)
        for c in range(table.shape[1]):
            numerator[e, c] += ratio * amounts[i, c]


@njit(cache=True, nogil=True, error_model="numpy")
def _add_curvatures(photons, amounts, table, products, floor, curvatures):
    """Add Σ_e y P / ŷ² to each pixel's curvatures."""
    for j in range(photons.counts.size):
        i, e = photons.pixel[j], photons.channel[j]
        fit = _fit(amounts, table, i, e, floor)
        for c in range(products.shape[1]):
            curvatures[i, c] += photons.counts[j] / (fit * fit) * products[e, c]


@njit(cache=True, nogil=True, error_model="numpy")
def _add_products(photons, table, out):
    """Add counts times the rows of their channels to the rows of their pixels."""
    for j in range(photons.counts.size):
        for c in range(table.shape[1]):
            out[photons.pixel[j], c] += photons.counts[j] * table[photons.channel[j], c]


@njit(cache=True, nogil=True, error_model="numpy")
def _spread_products(photons, values, out):
    """Add counts times the rows of their pixels to the rows of their channels."""
    for j in range(photons.counts.size):
        for c in range(values.shape[1]):
            out[photons.channel[j], c] += photons.counts[j] * values[photons.pixel[j], c]


def _lifted(amounts, least):
    """Raise what is above zero to ``least``."""
    return np.where((amounts > 0) & (amounts < least), least, amounts)


@QUIET
def likelihood_sweep(block, abundance, spectra, rules, floor, options):
    """See ``contract.Kernels``."""
    table = np.ascontiguousarray(spectra.T)
    numerator, log_term = np.zeros(table.shape), 0.0
    before = abundance.sum(axis=0, dtype=np.float64)
    least = rules.least.astype(abundance.dtype)
    for where, photons in _batches(block, len(abundance)):
        here = abundance[where]
        for repeat in range(options.inner):
            gains = np.zeros(here.shape)
            logs = _add_ratios(photons, here, table, floor, gains)
            if options.logs and repeat == 0:
                log_term += logs
            if options.update:
                here[:] = _lifted(here * (gains * rules.rate + rules.keep), least)
        if options.statistics:
            _spread_ratios(photons, here, table, floor, numerator)
    after = abundance.sum(axis=0, dtype=np.float64)
    return LikelihoodSums(_by_phase(numerator, options), before, after, log_term)


@QUIET
def squares_sweep(block, abundance, spectra, gram, rules, floor, options):
    """See ``contract.Kernels``."""
    table, square = np.ascontiguousarray(spectra.T), gram.astype(np.float64)
    numerator, outer = np.zeros(table.shape), np.zeros(gram.shape)
    cross = quadratic = 0.0
    least, keep = rules.least.astype(abundance.dtype), rules.keep == 1
    for where, photons in _batches(block, len(abundance)):
        here = abundance[where]
        products = np.zeros(here.shape)
        _add_products(photons, table, products)
        cross += float(np.sum(products * here))
        quadratic += float(np.sum((here @ square) * here))
        for _ in range(options.inner if options.update else 0):
            below = here @ square
            factor = products / np.where(below == 0, floor, below)
            here[:] = _lifted(here * np.where(keep, 1.0, factor), least)
        if options.statistics:
            _spread_products(photons, here, numerator)
            wide = here.astype(np.float64)
            outer += wide.T @ wide
    own_gram = outer if options.statistics else np.empty((len(gram), 0))
    return SquareSums(_by_phase(numerator, options), own_gram, cross, quadratic)


def _by_phase(numerator, options):
    """Return sums by channel as (k, E), or (k, 0) where they were not made."""
    return np.ascontiguousarray(numerator.T) if options.statistics else numerator[:0].T.copy()


@QUIET
def likelihood_model(block, amounts, spectra, products, floor):
    """See ``contract.Kernels``."""
    table = np.ascontiguousarray(spectra.T)
    slopes, curvatures = np.zeros(amounts.shape), np.zeros((len(amounts), products.shape[1]))
    log_term = 0.0
    for where, photons in _batches(block, len(amounts)):
        log_term += _add_ratios(photons, amounts[where], table, floor, slopes[where])
        _add_curvatures(photons, amounts[where], table, products, floor, curvatures[where])
    return slopes.astype(amounts.dtype), curvatures.astype(amounts.dtype), log_term


@QUIET
def project(block, basis, pixels):
    """See ``contract.Kernels``."""
    out = np.zeros((pixels, basis.shape[1]))
    for where, photons in _batches(block, pixels):
        _add_products(photons, basis, out[where])
    return out.astype(basis.dtype)


def back_project(block, values, channels):
    """See ``contract.Kernels``."""
    out = np.zeros((channels, values.shape[1]))
    for where, photons in _batches(block, len(values)):
        _spread_products(photons, values[where], out)
    return out


@njit(cache=True, nogil=True, error_model="numpy")
def extrapolate(now, before, momentum):
    """See ``contract.Kernels``."""
    for i in range(now.size):
        value = now[i]
        factor = 1.0
        if before[i] > 0:
            factor = min(max((np.float64(value) / np.float64(before[i])) ** momentum, 0.5), 2.0)
        before[i] = value
        now[i] = value * factor


@njit(cache=True, nogil=True)
def count_nonzeros(rows, indptr):
    """See ``contract.Kernels``."""
    for i in range(rows.shape[0]):
        n = indptr[i]
        for e in range(rows.shape[1]):
            n += rows[i, e] != 0
        indptr[i + 1] = n


@njit(cache=True, nogil=True)
def fill_nonzeros(rows, indptr, channel, count):
    """See ``contract.Kernels``."""
    for i in range(rows.shape[0]):
        j = indptr[i]
        for e in range(rows.shape[1]):
            if rows[i, e] != 0:
                channel[j] = e
                count[j] = rows[i, e]
                j += 1
