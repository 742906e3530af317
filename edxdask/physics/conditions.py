"""The conditions of a measurement: beam, detector and film, as far as the attributes of a cube say."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
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
