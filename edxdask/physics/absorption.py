"""Absorption of X-rays in the sample, a flat film, on their path to the detectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
import xraylib
import xraylib_np

from edxdask.errors import ParameterError
from edxdask.physics.geometry import Detector
from edxdask.physics.lines import atomic_number

LOWEST_TABULATED_KEV = 0.1  # of xraylib's attenuation tables; below, the value at this energy is used
NM_PER_CM = 1e7
FEW = 100  # energies below which xraylib's threads cost more than they give: 4 ms per call on busy cores
LEAST_SINE = 1e-6  # of a take-off angle: keeps paths finite; no photon gets through

# A usual film for (S)TEM. What it would absorb says whether a composition depends on the thickness.
TYPICAL_NM, TYPICAL_G_CM3 = 100.0, 4.0
# A change that is worth a word: in stated errors, and as a fraction of the amount (tables are no better).
MOST_SIGMA, LEAST_CHANGE = 3.0, 0.03
TYPICAL_ROUNDS = 4
NOT_CORRECTED = "the film's thickness is not known, and what it absorbs is not corrected"


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
        raise ParameterError("composition", dict(composition), "an amount above 0 of at least one element")
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
    clipped = np.maximum(np.asarray(energy, dtype=np.float64), LOWEST_TABULATED_KEV)
    return _tabulated(atomic_number(element), clipped.tobytes()).reshape(np.shape(energy)).copy()


@lru_cache(maxsize=2048)
def _tabulated(z: int, energies: bytes) -> np.ndarray:
    """Keep what one guided fit needs thousands of times, of a few elements at the same energies."""
    keys = np.frombuffer(energies)
    if keys.size < FEW:
        return np.array([xraylib.CS_Total(z, e) for e in keys.tolist()])
    return np.asarray(xraylib_np.CS_Total(np.array([z]), keys)[0])


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
    detector: Detector | None = None,
    tilt_deg: tuple[float, float] = (0.0, 0.0),
    in_sight: Sequence[float] | None = None,
) -> np.ndarray:
    """Fraction of photons that leave a film towards the detectors; mean over detectors.

    Emission is even through the depth, so (1 - exp(-t))/t with t = (μ/ρ) ρ d / sin(take-off): the
    thin-film factor of J. I. Goldstein et al., SEM/1977 I (1977) 315.

    Parameters
    ----------
    composition : atoms of each element, in any unit
    energy : keV
    thickness_nm, density_g_cm3 : of the film, along its normal
    elevation_deg : of the detectors, over a film that is not tilted
    detector : angles and solid angles of the detectors, instead of ``elevation_deg``
    tilt_deg : alpha and beta of the stage; they need ``detector``, which knows azimuths
    in_sight : fraction of each detector that the holder does not shadow; also needs ``detector``
    """
    for name, value in (("thickness_nm", thickness_nm), ("density_g_cm3", density_g_cm3)):
        if not (np.isfinite(value) and value > 0):
            raise ParameterError(name, value, "a number above 0")
    sines, shares = _lines_of_sight(elevation_deg, detector, tilt_deg, in_sight)
    column = film_attenuation(composition, energy) * density_g_cm3 * thickness_nm / NM_PER_CM
    path = column[None, ...] / sines.reshape(-1, *([1] * np.ndim(column)))
    return np.tensordot(shares, -np.expm1(-path) / path, axes=1)


def _lines_of_sight(
    elevation_deg: float | Sequence[float],
    detector: Detector | None,
    tilt_deg: tuple[float, float],
    in_sight: Sequence[float] | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Sine of the take-off angle and weight of each detector."""
    if detector is None:
        if any(tilt_deg) or in_sight is not None:
            raise ParameterError(
                "detector", detector, "a Detector, as tilt and shadows depend on its azimuths"
            )
        elevations = np.atleast_1d(np.asarray(elevation_deg, dtype=np.float64))
        if not ((elevations > 0) & (elevations <= 90)).all():
            raise ParameterError("elevation_deg", elevation_deg, "angles above 0 and up to 90 degrees")
        return np.sin(np.deg2rad(elevations)), np.full(elevations.size, 1.0 / elevations.size)
    angles = detector.takeoff_deg(alpha_deg=tilt_deg[0], beta_deg=tilt_deg[1])
    # photons that leave through the lower side have the same mean path; a detector in the plane sees nothing
    sines = np.maximum(np.abs(np.sin(np.deg2rad(angles))), LEAST_SINE)
    seen = np.ones(angles.size) if in_sight is None else np.asarray(in_sight, dtype=np.float64)
    if seen.shape != angles.shape or not ((seen >= 0) & (seen <= 1)).all():
        raise ParameterError("in_sight", in_sight, f"{angles.size} fractions from 0 to 1")
    return sines, detector.shares() * seen


def typical_film(
    elements: Sequence[str], found: np.ndarray, lines_kev: np.ndarray, detector: Detector
) -> np.ndarray:
    """Correct atomic fractions that were found without absorption for that of a usual film.

    Parameters
    ----------
    elements : symbols
    found : (elements,) atomic fractions
    lines_kev : (elements,) energies of the lines that they were found by
    detector : with its angles
    """
    corrected = found / found.sum()
    for _ in range(TYPICAL_ROUNDS):
        through = film_transmission(
            dict(zip(elements, corrected.tolist(), strict=True)),
            lines_kev,
            thickness_nm=TYPICAL_NM,
            density_g_cm3=TYPICAL_G_CM3,
            detector=detector,
        )
        corrected = found / through / (found / through).sum()
    return corrected


def absorption_text(
    names: Sequence[str],
    elements: Sequence[str],
    found: np.ndarray,
    errors: np.ndarray,
    corrected: np.ndarray,
) -> str | None:
    """Say which compositions the absorption of a usual film changes beyond their errors; None if it does not.

    Of each composition only the element that changes most is named.

    Parameters
    ----------
    names : of the spectra or phases
    elements : symbols
    found, errors : (names, elements) atomic fractions without correction, and their errors
    corrected : (names, elements) atomic fractions, corrected for a film of ``TYPICAL_NM`` and
        ``TYPICAL_G_CM3``

    Examples
    --------
    >>> found, corrected = np.array([[0.40, 0.60], [0.5, 0.5]]), np.array([[0.32, 0.68], [0.5, 0.5]])
    >>> absorption_text(["a", "b"], ["Ti", "O"], found, 0.01 + 0 * found, corrected).partition("most ")[2]
    'in O of a (68 at.% instead of 60 ± 1).'
    """
    change = np.abs(corrected - found)
    worth = (change > MOST_SIGMA * errors) & (change > LEAST_CHANGE * np.maximum(found, corrected))
    named = []
    for row, name in enumerate(names):
        if not worth[row].any():
            continue
        most = int(np.argmax(np.where(worth[row], change[row], 0.0)))
        before, error, after = (100 * values[row, most] for values in (found, errors, corrected))
        named.append(f"{elements[most]} of {name} ({after:.3g} at.% instead of {before:.3g} ± {error:.2g})")
    if not named:
        return None
    return (
        f"{NOT_CORRECTED}: {TYPICAL_NM:g} nm at {TYPICAL_G_CM3:g} g/cm³ would change compositions by more "
        f"than their errors, most in {', '.join(named)}."
    )
