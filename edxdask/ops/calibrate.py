"""Calibration: offset and scale of the energy axis, refined on known lines of the sample."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import xarray as xr
from scipy.linalg import block_diag

from edxdask.errors import ParameterError
from edxdask.ops._blocks import derived_attrs
from edxdask.ops.usable import usable_spectrum
from edxdask.physics import energy_axis as axis_fit
from edxdask.physics.detector import fwhm_kev, line_response
from edxdask.physics.energy_axis import DEFAULT_FWHM_EV, LINEAR, OFFSET, USUAL, WIDTH, EnergyAxis
from edxdask.physics.lines import line_centroid
from edxdask.physics.poisson import LinearFit, fit_weights
from edxdask.schema import ENERGY, FWHM, energy_axis, energy_coordinate, validate_cube

logger = logging.getLogger(__name__)

LEAST_SNR = 5.0  # a fainter peak says little about where it is
APART_IN_FWHM = 1.5  # closer lines push each other's centroids
FIT_IN_FWHM = 1.3  # half-width of the fit: the whole peak and some background on both sides
LARGEST_STRETCH = 0.02
# Only the lines that the user names fix the axis; the width is held near usual values.
UNKNOWN = np.where(np.arange(USUAL.size) < 2, np.inf, USUAL)


@dataclass(frozen=True)
class Peak:
    """A fitted peak: where the tables put the line, where the axis shows it, and the error (keV)."""

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
    """Correct the energy axis so that the peaks of known lines are at their energies.

    The peaks (Gaussians integrated over the channels, each on a straight background) are fitted to the sum
    spectrum by maximum Poisson likelihood together with offset, scale and width, by the fit that is used
    everywhere (`edxdask.physics.energy_axis`). One line alone moves only the offset. The history says
    by how much, and how well the lines agree.

    Parameters
    ----------
    data : Dataset
        Cube.
    lines : list of str
        Lines of the sample that overlap no others, such as ``["Mg_Ka", "Ca_Ka"]``; best far apart.
    spectrum : DataArray, optional
        Sum spectrum on the cube's energy axis, if there is one already.
    max_shift : float
        Largest distance, in keV, of a line from its energy, and largest move of any channel.

    Returns
    -------
    Dataset
        The same counts on the new axis.

    Raises
    ------
    ParameterError
        If lines overlap, are off the axis, are too faint or farther off than ``max_shift``, or disagree.

    Notes
    -----
    *Chunks.* Any. **This operation computes**: it needs the numbers of the sum spectrum, one read of the
    counts (none if ``spectrum`` is given). The counts of the new cube stay lazy.

    Examples
    --------
    >>> import edxdask
    >>> ds = edxdask.simulate(shape=(16, 16), counts=400)
    >>> moved = ds.assign_coords(energy=ds.energy + 0.012)
    >>> fixed = calibrate_energy(moved, ["Mg_Ka", "Ca_Ka", "Fe_Ka"])
    >>> bool(abs(fixed.energy.values - ds.energy.values).max() < 0.003)
    True
    """
    ds = validate_cube(data)
    names = [lines] if isinstance(lines, str) else list(lines)
    if not max_shift > 0:
        raise ParameterError("max_shift", max_shift, "a distance above 0 keV")
    _check_apart(ds, names)
    summed = _usable(ds) if spectrum is None else _checked_spectrum(ds, spectrum).compute()
    width = float(ds.attrs.get(FWHM, DEFAULT_FWHM_EV))
    peaks = [fit_peak(summed, n, fwhm_mn_ka_ev=width, max_shift=max_shift) for n in names]
    offset, scale = energy_axis(ds)
    found = _axis_of(summed, peaks, width)
    new_offset, new_scale = found.offset_kev + found.gain * offset, found.gain * scale
    channels = ds.sizes[ENERGY]
    _check_axis(peaks, found, max_shift)
    moved = ", ".join(
        f"{p.line} {1e3 * (p.true_kev - p.seen_kev):+.2f} ± {1e3 * p.std_kev:.2f} eV" for p in peaks
    )
    axis = f"offset {offset:.6g} to {new_offset:.6g} keV, scale {scale:.7g} to {new_scale:.7g} keV"
    entry = f"calibrate: {axis}; {moved}"
    coordinate = energy_coordinate(new_offset, new_scale, channels)
    return validate_cube(ds.assign_coords({ENERGY: coordinate}).assign_attrs(derived_attrs(ds, entry, {})))


def _usable(ds: xr.Dataset) -> xr.DataArray:
    """Sum spectrum without what no detector can make."""
    found = usable_spectrum(ds)
    for text in found.warnings:
        logger.warning("calibrate_energy: %s", text)
    return xr.DataArray(found.counts, {ENERGY: ds[ENERGY]}, (ENERGY,))


@dataclass(frozen=True, eq=False)
class PeakWindow:
    """Channels around one line's peak.

    Attributes
    ----------
    true_kev : where the tables put the line
    energy, counts : (channels,) energies moved so that the peak is about there
    """

    true_kev: float
    energy: np.ndarray
    counts: np.ndarray

    def columns(self, axis: EnergyAxis) -> np.ndarray:
        """Peak, and a background that falls and one that rises: (3, channels)."""
        ramp = np.linspace(0.0, 1.0, self.energy.size)
        line = np.array([self.true_kev])
        peak = line_response(axis.energy(self.energy), line, fwhm_mn_ka_ev=axis.fwhm_mn_ka_ev)
        return np.vstack([peak, 1.0 - ramp, ramp])


def _window(spectrum: xr.DataArray, line: str, at: float, moved: float, fwhm_mn_ka_ev: float) -> PeakWindow:
    """Cut out the channels of a line's peak, which is at ``at`` keV, and move them by ``moved`` keV."""
    energy = spectrum[ENERGY].values
    true = line_centroid(line)
    near = np.abs(energy - at) <= FIT_IN_FWHM * fwhm_kev(true, fwhm_mn_ka_ev=fwhm_mn_ka_ev)
    return PeakWindow(true, energy[near] + moved, spectrum.values[near].astype(np.float64))


def fit_peak(spectrum: xr.DataArray, line: str, *, fwhm_mn_ka_ev: float, max_shift: float) -> Peak:
    """Fit one line's peak in a computed sum spectrum, near where the tables put it (all keV)."""
    energy, counts = spectrum[ENERGY].values, spectrum.values.astype(np.float64)
    true = line_centroid(line)
    fwhm = float(fwhm_kev(true, fwhm_mn_ka_ev=fwhm_mn_ka_ev))
    start = _highest(energy, counts, true, fwhm, max_shift)
    window = _window(spectrum, line, start, true - start, fwhm_mn_ka_ev)
    begin = EnergyAxis(fwhm_mn_ka_ev=fwhm_mn_ka_ev)
    axis = axis_fit.fit_axis(window.counts, window.columns, begin, free=(OFFSET, WIDTH), usual=UNKNOWN)
    fit = fit_weights(window.counts, window.columns(axis))
    if not fit.weights[0] >= LEAST_SNR * _error_of_area(fit):
        raise ParameterError(
            "lines", line, f"a line with a peak {LEAST_SNR:g} σ above its background", "Leave it out."
        )
    seen = start - axis.offset_kev
    if abs(seen - true) > max_shift:
        raise ParameterError(
            "lines",
            line,
            f"a peak within max_shift={max_shift:g} keV of {true:.4f} keV",
            f"The nearest one is at {seen:.4f} keV: is it this line, and is the axis in keV?",
        )
    return Peak(line, true, seen, axis.error(OFFSET))


def _error_of_area(fit: LinearFit) -> float:
    """1 σ of the counts in the peak, which is the first column; infinite where there are none."""
    variance = float(fit.covariance[0, 0])
    return float(np.sqrt(variance)) if variance > 0 else np.inf


def _highest(energy: np.ndarray, counts: np.ndarray, true: float, fwhm: float, max_shift: float) -> float:
    """Energy near ``true`` around which a window of half a width holds most, less what its sides hold."""
    scale = (energy[-1] - energy[0]) / (energy.size - 1)
    half = max(round(0.25 * fwhm / scale), 1)
    smooth = np.convolve(counts, np.ones(2 * half + 1), mode="same")
    near = np.flatnonzero(np.abs(energy - true) <= max_shift + scale)
    return float(energy[near[np.argmax(smooth[near])]])


def _axis_of(spectrum: xr.DataArray, peaks: Sequence[Peak], fwhm_mn_ka_ev: float) -> EnergyAxis:
    """Axis on which all peaks are where the tables have them; one peak alone moves the offset only."""
    if len(peaks) == 1:
        return EnergyAxis(offset_kev=peaks[0].true_kev - peaks[0].seen_kev, fwhm_mn_ka_ev=fwhm_mn_ka_ev)
    moved = float(np.mean([p.true_kev - p.seen_kev for p in peaks]))
    windows = [_window(spectrum, p.line, p.seen_kev, moved, fwhm_mn_ka_ev) for p in peaks]

    def shapes(axis: EnergyAxis) -> np.ndarray:
        return np.asarray(block_diag(*(w.columns(axis) for w in windows)))

    begin = EnergyAxis(fwhm_mn_ka_ev=fwhm_mn_ka_ev)
    counts = np.concatenate([w.counts for w in windows])
    found = axis_fit.fit_axis(counts, shapes, begin, free=LINEAR, usual=UNKNOWN)
    return replace(found, offset_kev=found.offset_kev + found.gain * moved)


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
                "lines", name, f"a line with its whole peak ({centre:.4f} keV) on the axis, {axis}"
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


def _check_axis(peaks: Sequence[Peak], found: EnergyAxis, max_shift: float) -> None:
    if abs(found.gain - 1) >= LARGEST_STRETCH:
        raise ParameterError(
            "lines",
            [p.line for p in peaks],
            f"lines that change the scale by less than {LARGEST_STRETCH:.0%}, not {found.gain - 1:+.2%}",
            "Name lines that are farther apart.",
        )
    miss = found.energy(np.array([p.seen_kev for p in peaks])) - [p.true_kev for p in peaks]
    worst = int(np.argmax(np.abs(miss)))
    if abs(miss[worst]) > max_shift / 5:
        raise ParameterError(
            "lines",
            peaks[worst].line,
            f"lines that agree within {max_shift / 5:g} keV, not {miss[worst]:+.4f} keV",
            "Leave it out: another line may be under it.",
        )
