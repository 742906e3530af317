"""The detector: width of its peaks, fraction of photons it counts, and how a line falls into channels."""

from __future__ import annotations

import numpy as np
import xraylib
from scipy.special import erf

from edxdask.errors import ParameterError
from edxdask.physics.absorption import LOWEST_TABULATED_KEV, NM_PER_CM, film_attenuation, mass_attenuation
from edxdask.physics.geometry import Detector

MN_KA_KEV = 5.8988  # Mn Kα1, xraylib; ISO 15632 defines a detector's width at Mn Kα
FANO_FACTOR = 0.115  # silicon at 5.9 keV; B. G. Lowe, Nucl. Instrum. Methods A 399 (1997) 354
PAIR_ENERGY_KEV = 3.65e-3  # silicon near 240 K; B. G. Lowe, R. A. Sareen, NIM A 576 (2007) 367
FWHM_PER_SIGMA = 2.0 * np.sqrt(2.0 * np.log(2.0))
SILICON_DENSITY_G_CM3 = 2.329
# Moxtek AP3.3 as modelled by N. W. M. Ritchie, NIST (NeXLSpectrum, ModeledWindow; public domain): 300 nm of a
# polymer, 40 nm of aluminium against light, on a silicon grid 380 µm deep that leaves 77 % open.
POLYMER = {"C": 10, "H": 8, "O": 4, "N": 1}
POLYMER_G_CM3, POLYMER_NM, POLYMER_ALUMINIUM_NM = 1.39, 300.0, 40.0
GRID_MM, GRID_OPEN = 0.38, 0.77


def fwhm_kev(energy: np.ndarray | float, *, fwhm_mn_ka_ev: float = 130.0) -> np.ndarray:
    """Full width at half maximum (keV) of a peak at ``energy`` keV.

    Fano statistics of the electron-hole pairs plus electronic noise; the noise is chosen so that the
    width at Mn Kα is the given one.

    Examples
    --------
    >>> round(float(fwhm_kev(5.8988, fwhm_mn_ka_ev=130.0)), 6)
    0.13
    """
    per_kev = FWHM_PER_SIGMA**2 * FANO_FACTOR * PAIR_ENERGY_KEV
    noise = (fwhm_mn_ka_ev * 1e-3) ** 2 - per_kev * MN_KA_KEV
    if not noise > 0:
        least = 1e3 * np.sqrt(per_kev * MN_KA_KEV)
        raise ParameterError("fwhm_mn_ka_ev", fwhm_mn_ka_ev, f"more than the Fano limit of {least:.0f} eV")
    return np.sqrt(noise + per_kev * np.maximum(np.asarray(energy, dtype=np.float64), 0.0))


def window_transmission(energy: np.ndarray, detector: Detector) -> np.ndarray:
    """Fraction of photons of ``energy`` keV that pass the window of a detector."""
    energy = np.asarray(energy, dtype=np.float64)
    if detector.window == "beryllium":
        beryllium = mass_attenuation("Be", energy) * xraylib.ElementDensity(4)
        return np.exp(-beryllium * detector.beryllium_um * 1e-4)
    if detector.window == "polymer":
        film = film_attenuation(POLYMER, energy) * POLYMER_G_CM3 * POLYMER_NM
        light = mass_attenuation("Al", energy) * xraylib.ElementDensity(13) * POLYMER_ALUMINIUM_NM
        bars = np.exp(-mass_attenuation("Si", energy) * SILICON_DENSITY_G_CM3 * GRID_MM * 0.1)
        return np.exp(-(film + light) / NM_PER_CM) * (GRID_OPEN + (1.0 - GRID_OPEN) * bars)
    return np.ones(energy.shape)


def efficiency(
    energy: np.ndarray,
    *,
    active_mm: float = 0.45,
    dead_layer_nm: float = 100.0,
    contact_nm: float = 30.0,
    detector: Detector | None = None,
) -> np.ndarray:
    """Fraction of photons of ``energy`` keV that a silicon drift detector counts.

    They must pass the window, an aluminium contact and a dead layer of silicon, and stop in the active
    silicon. Without ``detector`` there is no window, and the thicknesses are typical of windowless detectors
    on (S)TEM columns. Nothing is counted below 0.1 keV, where electronic noise hides photons and the
    attenuation tables end, or outside a given curve.

    Parameters
    ----------
    energy : keV
    active_mm, dead_layer_nm, contact_nm : thicknesses, if no ``detector`` is given
    detector : window and thicknesses, or a measured curve
    """
    energy = np.asarray(energy, dtype=np.float64)
    if detector is None:
        detector = Detector(active_mm=active_mm, dead_layer_nm=dead_layer_nm, contact_nm=contact_nm)
    if detector.curve is not None:
        return np.interp(energy, *detector.curve, left=0.0, right=0.0)
    silicon = mass_attenuation("Si", energy) * SILICON_DENSITY_G_CM3
    aluminium = mass_attenuation("Al", energy) * xraylib.ElementDensity(13)
    passed = np.exp(-(silicon * detector.dead_layer_nm + aluminium * detector.contact_nm) / NM_PER_CM)
    counted = window_transmission(energy, detector) * passed * -np.expm1(-silicon * detector.active_mm * 0.1)
    return np.where(energy < LOWEST_TABULATED_KEV, 0.0, counted)


def channel_edges(energy: np.ndarray) -> np.ndarray:
    """Edges (keV) of equal channels with their centres at ``energy``.

    Examples
    --------
    >>> channel_edges(np.array([1.0, 2.0, 3.0])).tolist()
    [0.5, 1.5, 2.5, 3.5]
    """
    energy = np.asarray(energy, dtype=np.float64)
    if energy.ndim != 1 or energy.size < 2:
        raise ParameterError("energy", energy.shape, "the centres of at least two channels")
    step = (energy[-1] - energy[0]) / (energy.size - 1)
    if not step > 0:
        raise ParameterError("energy", step, "a rising axis, in keV")
    return np.append(energy - step / 2, energy[-1] + step / 2)


def line_response(energy: np.ndarray, lines_kev: np.ndarray, *, fwhm_mn_ka_ev: float = 130.0) -> np.ndarray:
    """Fraction of each line's photons that falls into each channel: (lines, channels).

    The Gaussian is integrated over the channel, not sampled in its centre, so that nothing is lost when
    channels are as wide as the peak.
    """
    sigma = fwhm_kev(lines_kev, fwhm_mn_ka_ev=fwhm_mn_ka_ev) / FWHM_PER_SIGMA
    edges = channel_edges(energy)
    place = (edges[None, :] - np.asarray(lines_kev)[:, None]) / (np.sqrt(2.0) * sigma[:, None])
    return 0.5 * np.diff(erf(place), axis=1)
