"""The sweeps of ``factor`` on dense counts: a few pixels at a time, all loops along the energy axis.

Four phases (or pixels) share each load and store, so that full-width multiply-adds set the pace. Phases are
padded with zeros to a multiple of ``GROUP``.
"""

import numpy as np
from numba import njit

from edxdask.photons.kernels.factor import FAST, PAD, _copy_in, _copy_out, _ratios, multiply_logs

GROUP = 4
TILE_ROWS = 8  # fits and ratios of a tile, 128 KiB at 2048 channels, stay in the second-level cache


@njit(cache=True, nogil=True, error_model="numpy")
def _copy_photons(values, start, size, copy):
    """Copy the counts of a tile, with ``PAD`` zeros behind, so that vectors may read past the end."""
    found = values[start : start + size]
    for j in range(size):
        copy[j] = found[j]
    for j in range(size, size + PAD):
        copy[j] = 0


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def _numbers(count, start, size, number):
    """Give the counts of a tile as floating-point numbers."""
    found = count[start : start + size]
    for j in range(size):
        number[j] = found[j]


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def _dense_fits(tile, rows, spectra, fit):
    """``fit = tile @ spectra`` for the first ``rows`` rows."""
    channels = spectra.shape[1]
    for i in range(rows):
        row = fit[i]
        row[:] = 0
        for c in range(0, spectra.shape[0], GROUP):
            a0, a1, a2, a3 = tile[i, c], tile[i, c + 1], tile[i, c + 2], tile[i, c + 3]
            s0, s1, s2, s3 = spectra[c], spectra[c + 1], spectra[c + 2], spectra[c + 3]
            for e in range(channels):
                row[e] += a0 * s0[e] + a1 * s1[e] + a2 * s2[e] + a3 * s3[e]


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def _dense_gains(ratio, rows, spectra, gain):
    """``gain = ratio @ spectra.T``."""
    channels = spectra.shape[1]
    for i in range(rows):
        row = ratio[i]
        for c in range(0, spectra.shape[0], GROUP):
            s0, s1, s2, s3 = spectra[c], spectra[c + 1], spectra[c + 2], spectra[c + 3]
            g0 = g1 = g2 = g3 = ratio.dtype.type(0)
            for e in range(channels):
                g0 += row[e] * s0[e]
                g1 += row[e] * s1[e]
                g2 += row[e] * s2[e]
                g3 += row[e] * s3[e]
            gain[i, c], gain[i, c + 1], gain[i, c + 2], gain[i, c + 3] = g0, g1, g2, g3


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def _dense_spread(ratio, tile, numerator):
    """``numerator += tile.T @ ratio``; rows of ``tile`` beyond the tile's pixels must be zero."""
    channels = ratio.shape[1]
    r0, r1, r2, r3 = ratio[0], ratio[1], ratio[2], ratio[3]
    r4, r5, r6, r7 = ratio[4], ratio[5], ratio[6], ratio[7]
    for c in range(numerator.shape[0]):
        a0, a1, a2, a3 = tile[0, c], tile[1, c], tile[2, c], tile[3, c]
        a4, a5, a6, a7 = tile[4, c], tile[5, c], tile[6, c], tile[7, c]
        out = numerator[c]
        for e in range(channels):
            low = a0 * r0[e] + a1 * r1[e] + a2 * r2[e] + a3 * r3[e]
            out[e] += low + (a4 * r4[e] + a5 * r5[e] + a6 * r6[e] + a7 * r7[e])


@njit(cache=True, nogil=True, error_model="numpy")
def _clear(tile, ratio, rows):
    """Empty what the last, shorter tile does not fill."""
    tile[rows:] = 0
    ratio[rows:] = 0


@njit(cache=True, nogil=True, error_model="numpy")
def dense_kl_tiles(
    counts, abundance, spectra, rate, keep, floor, inner, joint, update, statistics,
    number, flat_fit, flat_ratio, tile, gain, numerator, sums, product, exponent,
):  # fmt: skip
    """One Kullback-Leibler sweep over all pixels; see ``photons.factor.kl_sweep``."""
    channels = counts.shape[1]
    flat = counts.reshape(-1)
    fit = flat_fit[: flat_fit.size - PAD].reshape(TILE_ROWS, channels)
    ratio = flat_ratio[: flat_ratio.size - PAD].reshape(TILE_ROWS, channels)
    photons = 0
    for first in range(0, counts.shape[0], TILE_ROWS):
        last = min(first + TILE_ROWS, counts.shape[0])
        rows = last - first
        base, size = first * channels, rows * channels
        _clear(tile, ratio, rows)
        _copy_photons(flat, base, size, number)
        _copy_in(abundance, first, last, tile)
        sums[0] += tile.sum(axis=0)
        for turn in range(inner):
            _dense_fits(tile, rows, spectra, fit)
            _ratios(number, size, floor, flat_fit, flat_ratio)
            if turn == 0:
                photons += multiply_logs(number, size, flat_fit, product, exponent)
            if statistics and joint and turn == inner - 1:
                _dense_spread(ratio, tile, numerator)
            if update:
                _dense_gains(ratio, rows, spectra, gain)
                for i in range(rows):
                    for c in range(rate.size):
                        tile[i, c] *= gain[i, c] * rate[c] + keep[c]
        if statistics and not joint:
            if update:
                _dense_fits(tile, rows, spectra, fit)
                _ratios(number, size, floor, flat_fit, flat_ratio)
            _dense_spread(ratio, tile, numerator)
        sums[1] += tile.sum(axis=0)
        if update:
            _copy_out(tile, first, last, abundance)
    return photons


@njit(cache=True, nogil=True, error_model="numpy")
def _share(above, below, keep, floor):
    """Factor of a least-squares update, as scikit-learn guards it."""
    if keep == 1:
        return keep
    return above / (below if below != 0 else floor)


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def _row_times_gram(row, gram, out):
    """``out = row @ gram``."""
    for c in range(row.size):
        total = out.dtype.type(0)
        for d in range(row.size):
            total += row[d] * gram[d, c]
        out[c] = total


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def _add_outer(row, outer):
    for c in range(row.size):
        for d in range(row.size):
            outer[c, d] += np.float64(row[c]) * np.float64(row[d])


@njit(cache=True, nogil=True, error_model="numpy")
def dense_frobenius_tiles(
    counts, abundance, spectra, gram, keep, floor, inner, update, statistics,
    number, tile, gain, loss, numerator, outer, sums,
):  # fmt: skip
    """One Frobenius sweep over all pixels; see ``photons.factor.frobenius_sweep``."""
    channels = counts.shape[1]
    flat, flat_number = counts.reshape(-1), number.reshape(-1)
    for first in range(0, counts.shape[0], TILE_ROWS):
        last = min(first + TILE_ROWS, counts.shape[0])
        _clear(tile, number, last - first)
        _copy_in(abundance, first, last, tile)
        _numbers(flat, first * channels, (last - first) * channels, flat_number)
        _dense_gains(number, last - first, spectra, gain)
        for i in range(last - first):
            for turn in range(inner):
                _row_times_gram(tile[i], gram, loss)
                if turn == 0:
                    for c in range(keep.size):
                        sums[0] += np.float64(gain[i, c]) * np.float64(tile[i, c])
                        sums[1] += np.float64(loss[c]) * np.float64(tile[i, c])
                if update:
                    for c in range(keep.size):
                        tile[i, c] *= _share(gain[i, c], loss[c], keep[c], floor)
            if statistics:
                _add_outer(tile[i], outer)
        if statistics:
            _dense_spread(number, tile, numerator)
        if update:
            _copy_out(tile, first, last, abundance)


@njit(cache=True, nogil=True, error_model="numpy")
def dense_project_tiles(counts, table, number, gain, out):
    """``out = counts @ table.T``."""
    channels = counts.shape[1]
    flat, flat_number = counts.reshape(-1), number.reshape(-1)
    for first in range(0, counts.shape[0], TILE_ROWS):
        last = min(first + TILE_ROWS, counts.shape[0])
        _numbers(flat, first * channels, (last - first) * channels, flat_number)
        _dense_gains(number, last - first, table, gain)
        _copy_out(gain, first, last, out)


@njit(cache=True, nogil=True, error_model="numpy")
def dense_back_project_tiles(counts, values, number, tile, out):
    """``out += values.T @ counts``."""
    channels = counts.shape[1]
    flat, flat_number = counts.reshape(-1), number.reshape(-1)
    for first in range(0, counts.shape[0], TILE_ROWS):
        last = min(first + TILE_ROWS, counts.shape[0])
        _clear(tile, number, last - first)
        _numbers(flat, first * channels, (last - first) * channels, flat_number)
        _copy_in(values, first, last, tile)
        _dense_spread(number, tile, out)
