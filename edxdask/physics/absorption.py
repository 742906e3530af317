"""Absorption of X-rays in the sample, a flat film, on their way to the detectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import xraylib
import xraylib_np

from edxdask.errors import ParameterError
from edxdask.physics.lines import atomic_number

LOWEST_TABULATED_KEV = 0.1  # of xraylib's attenuation tables; below, the value at this energy is used
NM_PER_CM = 1e7


def normalised(composition: Mapping[str, float]) -> dict[str, float]:
    """Atomic fractions that sum to 1, from any non-negative amounts of atoms.

    Examples
    --------
    >>> normalised({"Mg": 39, "O": 39})
    {'Mg': 0.5, 'O': 0.5}
    """
    for element, amount in composition.items():
        atomic_number(element)
        if not (np.isfinite(amount) and amount >= 0):
            raise ParameterError(f"composition[{element!r}]", amount, "an amount of atoms, 0 or more")
    whole = sum(composition.values())
    if not whole > 0:
        raise ParameterError("composition", dict(composition), "an amount above 0 of one element or more")
    return {element: float(amount) / whole for element, amount in composition.items()}


def mass_fractions(composition: Mapping[str, float]) -> dict[str, float]:
    """Mass fractions of a composition given in atoms.

    Examples
    --------
    >>> {e: round(w, 3) for e, w in mass_fractions({"Si": 1, "O": 2}).items()}
    {'Si': 0.467, 'O': 0.533}
    """
    mass = {e: a * xraylib.AtomicWeight(atomic_number(e)) for e, a in normalised(composition).items()}
    return {element: value / sum(mass.values()) for element, value in mass.items()}


def mean_atomic_mass(composition: Mapping[str, float]) -> float:
    """Mean mass of an atom in g/mol."""
    return float(sum(a * xraylib.AtomicWeight(atomic_number(e)) for e, a in normalised(composition).items()))


def mass_attenuation(element: str, energy: np.ndarray | float) -> np.ndarray:
    """Mass attenuation coefficient (cm²/g) of an element at ``energy`` keV (xraylib)."""
    clipped = np.maximum(np.atleast_1d(np.asarray(energy, dtype=np.float64)), LOWEST_TABULATED_KEV)
    table = xraylib_np.CS_Total(np.array([atomic_number(element)]), np.ascontiguousarray(clipped.ravel()))
    return np.asarray(table[0]).reshape(np.shape(energy))


def film_attenuation(composition: Mapping[str, float], energy: np.ndarray) -> np.ndarray:
    """Mass attenuation coefficient (cm²/g) of a composition at ``energy`` keV."""
    total = np.zeros(np.shape(energy))
    for element, share in mass_fractions(composition).items():
        total += share * mass_attenuation(element, energy)
    return total


def film_transmission(
    composition: Mapping[str, float],
    energy: np.ndarray,
    *,
    thickness_nm: float,
    density_g_cm3: float,
    elevation_deg: float | Sequence[float] = 22.0,
) -> np.ndarray:
    """Share of photons that leave a film towards the detectors; mean over detectors.

    Emission is even through the depth, so (1 - exp(-t))/t with t = (μ/ρ) ρ d / sin(elevation): the
    thin-film factor of J. I. Goldstein et al., SEM/1977 I (1977) 315.
    """
    for name, value in (("thickness_nm", thickness_nm), ("density_g_cm3", density_g_cm3)):
        if not (np.isfinite(value) and value > 0):
            raise ParameterError(name, value, "a number above 0")
    elevations = np.atleast_1d(np.asarray(elevation_deg, dtype=np.float64))
    if not ((elevations > 0) & (elevations <= 90)).all():
        raise ParameterError("elevation_deg", elevation_deg, "angles above 0 and up to 90 degrees")
    column = film_attenuation(composition, energy) * density_g_cm3 * thickness_nm / NM_PER_CM
    path = column[None, ...] / np.sin(np.deg2rad(elevations)).reshape(-1, *([1] * np.ndim(column)))
    return np.mean(-np.expm1(-path) / path, axis=0)
