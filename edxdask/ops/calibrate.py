"""Calibration: offset and scale of the energy axis, refined on lines the sample is known to hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import xarray as xr
from scipy.optimize import least_squares
from scipy.special import ndtr, xlogy

from edxdask.errors import ParameterError
from edxdask.ops._blocks import derived_attrs
from edxdask.ops.spectra import sum_spectrum
from edxdask.physics.detector import FWHM_PER_SIGMA, fwhm_kev
from edxdask.physics.lines import line_centroid
from edxdask.schema import ENERGY, FWHM, energy_axis, energy_coordinate, validate_cube

LEAST_SNR = 5.0  # a fainter peak says little about where it is
APART_IN_FWHM = 1.5  # closer lines push each other's centroids
FIT_IN_FWHM = 1.3  # half-width of the fit: the whole peak and some background on both sides
LARGEST_STRETCH = 0.02


@dataclass(frozen=True)
class Peak:
    """A fitted peak: where the tables put the line, where the axis shows it, and how surely (keV)."""

    line: str
    true_kev: float
    seen_kev: float
    std_kev: float


def calibrate_energy(
    data: xr.Dataset,
    lines: Sequence[str],
    *,
    spectrum: xr.DataArray | None = None,
    max_shift: float = 0.05,
) -> xr.Dataset:
    """Cube whose energy axis puts the peaks of known lines where they belong.

    Each line's peak (Gaussian integrated over the channels, on a straight background) is fitted to the sum
    spectrum by maximum Poisson likelihood; weighted least squares on the centroids give the new scale and
    offset. One line alone moves only the offset. The history says by how much, and how well the lines agree.

    Parameters
    ----------
    data : cube
    lines : lines the sample holds that stand free of others, such as ``["Mg_Ka", "Ca_Ka"]``; best far apart
    spectrum : sum spectrum on the cube's energy axis, if there is one already
    max_shift : farthest (keV) that a line may be from its place, and the axis may move anywhere

    Raises
    ------
    ParameterError
        If lines overlap, lie off the axis, are too faint or farther off than ``max_shift``, or disagree.

    Notes
    -----
    *Chunks.* Any. **This operation computes**: it needs the numbers of the sum spectrum, one read of the
    counts (none if ``spectrum`` is given). The counts of the new cube stay lazy.
    """
    ds = validate_cube(data)
    names = [lines] if isinstance(lines, str) else list(lines)
    if not max_shift > 0:
        raise ParameterError("max_shift", max_shift, "a distance above 0 keV")
    _check_apart(ds, names)
    summed = (sum_spectrum(ds) if spectrum is None else _checked_spectrum(ds, spectrum)).compute()
    peaks = [fit_peak(summed, n, fwhm=_fwhm(ds, line_centroid(n)), max_shift=max_shift) for n in names]
    offset, scale = energy_axis(ds)
    new_offset, new_scale = _refined_axis(peaks, offset, scale)
    channels = ds.sizes[ENERGY]
    _check_axis(peaks, (offset, scale), (new_offset, new_scale), channels, max_shift)
    moved = ", ".join(
        f"{p.line} {1e3 * (p.true_kev - p.seen_kev):+.2f} ± {1e3 * p.std_kev:.2f} eV" for p in peaks
    )
    axis = f"offset {offset:.6g} to {new_offset:.6g} keV, scale {scale:.7g} to {new_scale:.7g} keV"
    entry = f"calibrate: {axis}; {moved}"
    coordinate = energy_coordinate(new_offset, new_scale, channels)
    return validate_cube(ds.assign_coords({ENERGY: coordinate}).assign_attrs(derived_attrs(ds, entry, {})))


def fit_peak(spectrum: xr.DataArray, line: str, *, fwhm: float, max_shift: float) -> Peak:
    """Fit one line's peak in a computed sum spectrum, near where the tables put it (all keV)."""
    energy, counts = spectrum[ENERGY].values, spectrum.values.astype(np.float64)
    scale = (energy[-1] - energy[0]) / (energy.size - 1)
    true = line_centroid(line)
    start = _highest(energy, counts, true, fwhm, max_shift)
    near = np.abs(energy - start) <= FIT_IN_FWHM * fwhm
    e, y = energy[near], counts[near]
    sides = max(float(np.median(np.r_[y[:3], y[-3:]])), 0.5)
    sigma = fwhm / FWHM_PER_SIGMA
    begin = np.array([max(float((y - sides).sum()), 1.0), start, sigma, sides, sides])
    low = [0.0, start - fwhm / 2, 0.5 * sigma, 1e-9, 1e-9]
    high = [np.inf, start + fwhm / 2, 2.0 * sigma, np.inf, np.inf]
    fit = least_squares(
        _deviance_residuals,
        begin,
        bounds=(low, high),
        x_scale=[begin[0], sigma, sigma, sides, sides],
        args=(e, y, scale),
    )
    std = np.sqrt(np.diag(np.linalg.pinv(fit.jac.T @ fit.jac)))
    if not fit.success or not fit.x[0] >= LEAST_SNR * std[0]:
        raise ParameterError(
            "lines", line, f"a line whose peak stands {LEAST_SNR:g} σ above its background", "Leave it out."
        )
    if abs(fit.x[1] - true) > max_shift:
        raise ParameterError(
            "lines",
            line,
            f"a peak within max_shift={max_shift:g} keV of {true:.4f} keV",
            f"The nearest one stands at {fit.x[1]:.4f} keV: is it this line, and the axis in keV?",
        )
    return Peak(line, true, float(fit.x[1]), float(std[1]))


def _highest(energy: np.ndarray, counts: np.ndarray, true: float, fwhm: float, max_shift: float) -> float:
    """Energy near ``true`` around which a window of half a width holds most, less what its sides hold."""
    scale = (energy[-1] - energy[0]) / (energy.size - 1)
    half = max(round(0.25 * fwhm / scale), 1)
    smooth = np.convolve(counts, np.ones(2 * half + 1), mode="same")
    near = np.flatnonzero(np.abs(energy - true) <= max_shift + scale)
    return float(energy[near[np.argmax(smooth[near])]])


def _deviance_residuals(p: np.ndarray, energy: np.ndarray, counts: np.ndarray, scale: float) -> np.ndarray:
    """Signed roots of the Poisson deviance: least squares on these is maximum likelihood."""
    area, centre, sigma, left, right = p
    edges = np.append(energy - scale / 2, energy[-1] + scale / 2)
    peak = area * np.diff(ndtr((edges - centre) / sigma))
    model = peak + np.linspace(left, right, energy.size)
    deviance = 2 * (model - counts + xlogy(counts, counts / model))
    return np.sign(model - counts) * np.sqrt(np.maximum(deviance, 0))


def _refined_axis(peaks: Sequence[Peak], offset: float, scale: float) -> tuple[float, float]:
    """Offset and scale (keV) that put the centroids, weighted by 1/variance, on the tabulated energies."""
    channel = np.array([(p.seen_kev - offset) / scale for p in peaks])
    true = np.array([p.true_kev for p in peaks])
    root_weight = 1 / np.array([p.std_kev for p in peaks])
    if len(peaks) == 1:
        return float(true[0] - scale * channel[0]), scale
    design = np.stack([np.ones(channel.size), channel], axis=1) * root_weight[:, None]
    (new_offset, new_scale), *_ = np.linalg.lstsq(design, true * root_weight, rcond=None)
    return float(new_offset), float(new_scale)


def _fwhm(ds: xr.Dataset, energy: float) -> float:
    known = ds.attrs.get(FWHM)
    return float(fwhm_kev(energy) if known is None else fwhm_kev(energy, fwhm_mn_ka_ev=float(known)))


def _check_apart(ds: xr.Dataset, lines: Sequence[str]) -> None:
    if not lines:
        raise ParameterError("lines", lines, "one line or more, such as ['Mg_Ka', 'Ca_Ka']")
    energy = ds[ENERGY].values
    placed = sorted((line_centroid(name), name) for name in lines)
    for centre, name in placed:
        reach = FIT_IN_FWHM * _fwhm(ds, centre)
        if not energy[0] <= centre - reach or not centre + reach <= energy[-1]:
            axis = f"{energy[0]:g} to {energy[-1]:g} keV"
            raise ParameterError(
                "lines", name, f"a line whose whole peak ({centre:.4f} keV) is on the axis, {axis}"
            )
    for (lower, first), (upper, second) in pairwise(placed):
        if upper - lower < APART_IN_FWHM * _fwhm(ds, lower):
            raise ParameterError(
                "lines", [first, second], "lines that do not overlap", "Leave one of them out."
            )


def _checked_spectrum(ds: xr.Dataset, spectrum: xr.DataArray) -> xr.DataArray:
    if spectrum.dims != (ENERGY,) or spectrum.sizes[ENERGY] != ds.sizes[ENERGY]:
        raise ParameterError(
            "spectrum", dict(spectrum.sizes), f"one value per channel, {ds.sizes[ENERGY]} of them"
        )
    return spectrum.assign_coords({ENERGY: ds[ENERGY]})


def _check_axis(
    peaks: Sequence[Peak], old: tuple[float, float], new: tuple[float, float], channels: int, max_shift: float
) -> None:
    stretch = new[1] / old[1] - 1
    if abs(stretch) > LARGEST_STRETCH:
        raise ParameterError(
            "lines",
            [p.line for p in peaks],
            f"lines that change the scale by less than {LARGEST_STRETCH:.0%}, not {stretch:+.2%}",
            "Name lines that are farther apart.",
        )
    channel = np.array([(p.seen_kev - old[0]) / old[1] for p in peaks])
    miss = new[0] + new[1] * channel - [p.true_kev for p in peaks]
    worst = int(np.argmax(np.abs(miss)))
    if abs(miss[worst]) > max_shift / 5:
        raise ParameterError(
            "lines",
            peaks[worst].line,
            f"lines that agree within {max_shift / 5:g} keV, not {miss[worst]:+.4f} keV",
            "Leave it out: another line may lie under it.",
        )
