"""The spectrum of a homogeneous film: lines and continuum, absorbed, detected, spread over channels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from edxdask.errors import ParameterError
from edxdask.physics.absorption import NM_PER_CM, film_transmission, mean_atomic_mass, normalised
from edxdask.physics.continuum import MEASURED_OVER_KRAMERS, bremsstrahlung
from edxdask.physics.detector import channel_edges, efficiency, fwhm_kev, line_response
from edxdask.physics.emission import check_thin_film, emission
from edxdask.physics.geometry import Detector
from edxdask.physics.ionisation import DEFAULT_TABLE

AVOGADRO_PER_MOL = 6.02214076e23  # exact, SI
LINE_REACH_FWHM = 4.0  # a line further outside the axis than this adds less than 1e-20 of itself


def phase_intensity(
    composition: Mapping[str, float],
    energy: np.ndarray,
    *,
    beam_energy: float = 200.0,
    thickness_nm: float = 100.0,
    density_g_cm3: float = 4.5,
    fwhm_mn_ka_ev: float = 130.0,
    elevation_deg: float | Sequence[float] = 22.0,
    continuum_scale: float = MEASURED_OVER_KRAMERS,
    detector: Detector | None = None,
    tilt_deg: tuple[float, float] = (0.0, 0.0),
    table: str = DEFAULT_TABLE,
) -> np.ndarray:
    """Compute photons per electron in each channel of a detector that covers the full sphere: (energy,).

    Parameters
    ----------
    composition : atoms of each element, in any unit ({"Mg": 39, "O": 50})
    energy : channel centres in keV, equally spaced
    beam_energy : keV
    thickness_nm, density_g_cm3 : of the film
    fwhm_mn_ka_ev : width of the detector at Mn Kα
    elevation_deg : of the detector, or of each detector of an array (then their mean)
    continuum_scale : factor on the bremsstrahlung
    detector : window, thicknesses, width and angles, instead of the width and elevation above
    tilt_deg : alpha and beta of the stage; they need ``detector``
    table : of ionisation cross-sections, see `edxdask.physics.ionisation`
    """
    check_thin_film(beam_energy, "The spectrum of a film can be computed at 200.")
    if not (np.isfinite(continuum_scale) and continuum_scale >= 0):
        raise ParameterError("continuum_scale", continuum_scale, "a number, 0 or more")
    atoms = normalised(composition)
    if detector is not None:
        fwhm_mn_ka_ev = detector.fwhm_mn_ka_ev

    def seen(at_kev: np.ndarray) -> np.ndarray:
        through = film_transmission(
            atoms,
            at_kev,
            thickness_nm=thickness_nm,
            density_g_cm3=density_g_cm3,
            elevation_deg=elevation_deg,
            detector=detector,
            tilt_deg=tilt_deg,
        )
        return through * efficiency(at_kev, detector=detector)

    centres = np.asarray(energy, dtype=np.float64)
    edges = channel_edges(centres)
    out = np.zeros(centres.size)
    for element, share in atoms.items():
        lines = emission(element, float(beam_energy), table=table)
        reach = LINE_REACH_FWHM * fwhm_kev(lines.energy_kev, fwhm_mn_ka_ev=fwhm_mn_ka_ev)
        near = (lines.energy_kev > edges[0] - reach) & (lines.energy_kev < edges[-1] + reach)
        at, sigma = lines.energy_kev[near], lines.cross_section_cm2[near]
        out += share * ((sigma * seen(at)) @ line_response(centres, at, fwhm_mn_ka_ev=fwhm_mn_ka_ev))
        braking = bremsstrahlung(element, centres, beam_energy=beam_energy)
        out += share * continuum_scale * braking * np.diff(edges) * seen(centres)
    atoms_per_cm2 = AVOGADRO_PER_MOL * density_g_cm3 * thickness_nm / NM_PER_CM / mean_atomic_mass(atoms)
    return atoms_per_cm2 * out


def phase_spectrum(
    composition: Mapping[str, float],
    energy: np.ndarray,
    *,
    beam_energy: float = 200.0,
    thickness_nm: float = 100.0,
    density_g_cm3: float = 4.5,
    fwhm_mn_ka_ev: float = 130.0,
    elevation_deg: float | Sequence[float] = 22.0,
    continuum_scale: float = MEASURED_OVER_KRAMERS,
    detector: Detector | None = None,
    tilt_deg: tuple[float, float] = (0.0, 0.0),
    table: str = DEFAULT_TABLE,
) -> np.ndarray:
    """Spectrum of a film, scaled to sum to 1 over ``energy``: (energy,). Parameters as `phase_intensity`.

    Examples
    --------
    >>> axis = 0.3 + 0.01 * np.arange(970)
    >>> spectrum = phase_spectrum({"Mg": 1, "O": 1}, axis)
    >>> float(axis[100 + spectrum[100:].argmax()].round(2))
    1.3
    """
    intensity = phase_intensity(
        composition,
        energy,
        beam_energy=beam_energy,
        thickness_nm=thickness_nm,
        density_g_cm3=density_g_cm3,
        fwhm_mn_ka_ev=fwhm_mn_ka_ev,
        elevation_deg=elevation_deg,
        continuum_scale=continuum_scale,
        detector=detector,
        tilt_deg=tilt_deg,
        table=table,
    )
    if not intensity.sum() > 0:
        raise ParameterError("energy", [energy[0], energy[-1]], "an axis (keV) on which the phase emits")
    return intensity / intensity.sum()
