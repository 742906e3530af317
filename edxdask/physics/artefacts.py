"""Peaks that no line of the sample makes: escape peaks and sum peaks, as columns for a fit."""

from __future__ import annotations

import numpy as np
import xraylib

from edxdask.errors import ParameterError
from edxdask.physics.absorption import mass_attenuation
from edxdask.physics.detector import line_response

SILICON = 14
SI_KA_KEV = 1.7398  # xraylib; energy that leaves the detector
SI_K_EDGE_KEV = 1.8389  # xraylib


def escape_probability(energy: np.ndarray | float) -> np.ndarray:
    """Fraction of photons of ``energy`` keV stopped in silicon whose Si Kα photon leaves through the front.

    ½ ω (1 - 1/r) [1 - (μ_K/μ) ln(1 + μ/μ_K)], with μ and μ_K the attenuation in silicon of the photon and of
    Si Kα, ω the fluorescence yield and r the jump of the K edge: S. J. B. Reed, N. G. Ware, J. Phys. E 5
    (1972) 582. 0 below the K edge of silicon.

    Examples
    --------
    >>> [round(float(p) * 100, 2) for p in escape_probability(np.array([1.5, 3.69, 6.40]))]
    [0.0, 0.91, 0.32]
    """
    energy = np.asarray(energy, dtype=np.float64)
    ratio = mass_attenuation("Si", energy) / mass_attenuation("Si", SI_KA_KEV)
    share = 1.0 - 1.0 / xraylib.JumpFactor(SILICON, xraylib.K_SHELL)
    inner = 0.5 * xraylib.FluorYield(SILICON, xraylib.K_SHELL) * share * (1.0 - np.log1p(ratio) / ratio)
    return np.where(energy > SI_K_EDGE_KEV, inner, 0.0)


def escape_response(energy: np.ndarray, lines_kev: np.ndarray, *, fwhm_mn_ka_ev: float = 130.0) -> np.ndarray:
    """Escape peaks as a fraction of the counts in the parents' peaks: (lines, channels).

    A row sums to p/(1-p), p being `escape_probability`, as far as it is on the axis; added to the row of
    `edxdask.physics.detector.line_response` it gives all that one line makes.

    Parameters
    ----------
    energy : channel centres, keV
    lines_kev : energies of the parent lines
    fwhm_mn_ka_ev : width of the detector at Mn Kα
    """
    lines = np.asarray(lines_kev, dtype=np.float64)
    probability = escape_probability(lines)
    share = probability / (1.0 - probability)
    return share[:, None] * line_response(energy, lines - SI_KA_KEV, fwhm_mn_ka_ev=fwhm_mn_ka_ev)


def sum_peaks(
    lines_kev: np.ndarray, rates_per_s: np.ndarray, *, resolving_time_s: float, strongest: int = 10
) -> tuple[np.ndarray, np.ndarray]:
    """Energies (keV) and rates (1/s) of the peaks that pairs of photons make when they arrive together.

    Photons arrive independently of one another. Two lines of rates a and b coincide 2abτ times per second
    within the resolving time τ, a line with itself a²τ times.

    Parameters
    ----------
    lines_kev, rates_per_s : energy and count rate of each line, in one detector
    resolving_time_s : within which the electronics count two photons as one; 0.1 to 1 µs is usual
    strongest : how many of the strongest lines to pair

    Examples
    --------
    >>> at, rate = sum_peaks([1.74, 6.4], [1e4, 1e3], resolving_time_s=1e-6)
    >>> at.round(2).tolist(), rate.round(6).tolist()
    ([3.48, 8.14, 12.8], [100.0, 20.0, 1.0])
    """
    lines, rates = np.asarray(lines_kev, dtype=np.float64), np.asarray(rates_per_s, dtype=np.float64)
    if lines.ndim != 1 or lines.shape != rates.shape or not (rates >= 0).all():
        raise ParameterError(
            "rates_per_s", rates.shape, f"one rate, 0 or more, for each of {lines.size} lines"
        )
    if not resolving_time_s >= 0:
        raise ParameterError("resolving_time_s", resolving_time_s, "a time, 0 s or more")
    chosen = np.sort(np.argsort(-rates, kind="stable")[:strongest])
    first, second = np.triu_indices(chosen.size)
    a, b = chosen[first], chosen[second]
    return lines[a] + lines[b], np.where(a == b, 1.0, 2.0) * rates[a] * rates[b] * resolving_time_s


def sum_peak_column(
    energy: np.ndarray,
    lines_kev: np.ndarray,
    rates_per_s: np.ndarray,
    *,
    resolving_time_s: float,
    fwhm_mn_ka_ev: float = 130.0,
    strongest: int = 10,
) -> np.ndarray:
    """Compute counts per second and channel from all sum peaks: (channels,). Parameters as `sum_peaks`."""
    at, rate = sum_peaks(lines_kev, rates_per_s, resolving_time_s=resolving_time_s, strongest=strongest)
    return rate @ line_response(energy, at, fwhm_mn_ka_ev=fwhm_mn_ka_ev)
