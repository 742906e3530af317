"""The conditions of a measurement: beam, detector and film, as far as the attributes of a cube say."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from edxdask.errors import ParameterError
from edxdask.physics.absorption import film_transmission
from edxdask.physics.basis import Seen
from edxdask.physics.detector import efficiency
from edxdask.physics.emission import check_beam_energy, is_bulk
from edxdask.physics.geometry import Detector
from edxdask.schema import BEAM_ENERGY, DENSITY, THICKNESS, TILT_ALPHA, TILT_BETA

SAME_BEAM, SAME_FILM = 1e-3, 0.02  # relative; maps that differ by less were made alike


@dataclass(frozen=True)
class Conditions:
    """Beam, detector and film.

    Attributes
    ----------
    beam_energy : keV
    detector : window, thicknesses, width, angles
    thickness_nm, density_g_cm3 : of the film; None: absorption is left to corrections found from the data
    tilt_alpha_deg, tilt_beta_deg : of the stage
    """

    beam_energy: float
    detector: Detector = field(default_factory=Detector)
    thickness_nm: float | None = None
    density_g_cm3: float | None = None
    tilt_alpha_deg: float = 0.0
    tilt_beta_deg: float = 0.0

    @classmethod
    def of(cls, attrs: Mapping[Hashable, Any], *, detector: Detector | None = None) -> Conditions:
        """Read the attributes of a cube or a result.

        Raises
        ------
        ParameterError
            If the beam energy is missing or not in keV, or only one of thickness and density is there.
        """
        beam = attrs.get(BEAM_ENERGY)
        if beam is None:
            raise ParameterError(
                BEAM_ENERGY, None, "the energy of the beam in keV",
                f"Set it: ds.attrs[{BEAM_ENERGY!r}] = 200.0",
            )  # fmt: skip
        film = {name: attrs.get(name) for name in (THICKNESS, DENSITY)}
        missing = [name for name, value in film.items() if value is None]
        if len(missing) == 1:
            (other,) = set(film) - set(missing)
            raise ParameterError(
                missing[0], None, f"a number beside {other}={film[other]!r}: absorption needs both",
                f"Set ds.attrs[{missing[0]!r}], or remove {other!r}.",
            )  # fmt: skip
        thickness, density = (None if value is None else float(value) for value in film.values())
        return cls(
            check_beam_energy(float(beam)),
            detector or Detector.of(attrs),
            thickness_nm=thickness,
            density_g_cm3=density,
            tilt_alpha_deg=float(attrs.get(TILT_ALPHA) or 0.0),
            tilt_beta_deg=float(attrs.get(TILT_BETA) or 0.0),
        )

    @property
    def fwhm_mn_ka_ev(self) -> float:
        """Width of the detector at Mn Kα."""
        return self.detector.fwhm_mn_ka_ev

    @property
    def is_bulk(self) -> bool:
        """Whether electrons stop in the sample: lines are known, but atoms cannot be counted."""
        return is_bulk(self.beam_energy)

    @property
    def absorbs(self) -> bool:
        """Whether the film's own absorption is known."""
        return self.thickness_nm is not None and self.density_g_cm3 is not None

    def with_width(self, fwhm_mn_ka_ev: float) -> Conditions:
        """Return the same conditions with another width."""
        return replace(self, detector=replace(self.detector, fwhm_mn_ka_ev=fwhm_mn_ka_ev))

    @property
    def mass_thickness(self) -> float:
        """Of the film, nm g/cm3; NaN where it is not known."""
        return (
            math.nan if not self.absorbs else float(self.thickness_nm or 0) * float(self.density_g_cm3 or 0)
        )

    def of_film(self, thickness_nm: float | None, density_g_cm3: float | None) -> Conditions:
        """Return the same conditions with another film."""
        return replace(self, thickness_nm=thickness_nm, density_g_cm3=density_g_cm3)

    def heavier(self, mass: float) -> Conditions:
        """Return the conditions of a film of ``mass`` times the mass thickness, where it is known."""
        if self.density_g_cm3 is None:
            return self
        return replace(self, density_g_cm3=mass * self.density_g_cm3)

    def seen(self, composition: Mapping[str, float] | None = None) -> Seen:
        """Fraction of photons that leave a film of this composition, and that the detector counts."""

        def share(energy: np.ndarray) -> np.ndarray:
            counted = efficiency(energy, detector=self.detector)
            if composition is None or self.thickness_nm is None or self.density_g_cm3 is None:
                return counted
            return counted * film_transmission(
                composition,
                energy,
                thickness_nm=self.thickness_nm,
                density_g_cm3=self.density_g_cm3,
                detector=self.detector,
                tilt_deg=(self.tilt_alpha_deg, self.tilt_beta_deg),
            )

        return share


def shared_conditions(maps: Mapping[str, Mapping[Hashable, Any]]) -> tuple[Conditions, str]:
    """Give the conditions of maps that share their spectra, from the attributes of each.

    Beam and detector must be the same. Width, tilt, thickness and density are means over the maps, whatever
    their order; a text says where films differ so much that a shared basis is not exact, else it is empty.

    Raises
    ------
    ParameterError
        If beams or detectors differ, or only some maps say how thick they are.

    Examples
    --------
    >>> film = {"beam_energy_kev": 200.0, "density_g_cm3": 4.5}
    >>> maps = {"a": film | {"thickness_nm": 100.0}, "b": film | {"thickness_nm": 150.0}}
    >>> found, warning = shared_conditions(maps)
    >>> found.thickness_nm, warning[:43]
    (125.0, 'films differ in thickness times density (45')
    """
    each = {name: Conditions.of(attrs) for name, attrs in maps.items()}
    first = next(iter(each.values()))
    if all(one == first for one in each.values()):
        return first, ""
    _check_alike(each)
    every = list(each.values())

    def mean(values: Sequence[float]) -> float:
        return math.fsum(values) / len(values)

    averaged = replace(
        first.with_width(mean([c.fwhm_mn_ka_ev for c in every])),
        beam_energy=mean([c.beam_energy for c in every]),
        tilt_alpha_deg=mean([c.tilt_alpha_deg for c in every]),
        tilt_beta_deg=mean([c.tilt_beta_deg for c in every]),
    )
    films = [(c.thickness_nm, c.density_g_cm3) for c in every if c.thickness_nm and c.density_g_cm3]
    if not films:
        return averaged, ""
    averaged = replace(
        averaged, thickness_nm=mean([t for t, _ in films]), density_g_cm3=mean([d for _, d in films])
    )
    masses = [t * d for t, d in films]
    if max(masses) <= (1 + SAME_FILM) * min(masses):
        return averaged, ""
    return averaged, (
        f"films differ in thickness times density ({min(masses):.0f} to {max(masses):.0f} nm g/cm3): their "
        f"absorption is that of the mean, {averaged.thickness_nm:.0f} nm. Where soft lines matter, unmix "
        "such maps one by one"
    )


def _check_alike(each: Mapping[str, Conditions]) -> None:
    """Refuse maps of different beams or detectors, or with a film that only some describe."""
    (name, first), *rest = each.items()
    plain = replace(first.detector, fwhm_mn_ka_ev=0.0)
    advice = "Unmix these maps one by one, or correct the attributes if they are wrong."
    for other, one in rest:
        if abs(one.beam_energy - first.beam_energy) > SAME_BEAM * first.beam_energy:
            seen = {name: first.beam_energy, other: one.beam_energy}
            raise ParameterError(BEAM_ENERGY, seen, "one beam energy, as the maps share spectra", advice)
        if replace(one.detector, fwhm_mn_ka_ev=0.0) != plain:
            raise ParameterError(
                "data",
                f"maps {name!r} and {other!r}",
                f"one detector, as the maps share spectra; they have {first.detector} and {one.detector}",
                advice,
            )
        if one.absorbs != first.absorbs:
            raise ParameterError(
                THICKNESS,
                {name: first.thickness_nm, other: one.thickness_nm},
                "a thickness of all maps or of none",
                f"Set ds.attrs[{THICKNESS!r}] of each map.",
            )
