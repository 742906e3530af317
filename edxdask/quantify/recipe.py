"""How to quantify: elements, method, factors and conditions, checked before any work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from edxdask import schema
from edxdask.errors import ParameterError
from edxdask.physics.absorption import film_transmission
from edxdask.physics.detector import efficiency
from edxdask.physics.emission import check_thin_film
from edxdask.physics.energy_axis import EnergyAxis
from edxdask.physics.floor import LOWEST_KEV
from edxdask.physics.geometry import Detector
from edxdask.physics.library import listed_elements
from edxdask.physics.lines import checked_elements
from edxdask.quantify.composition import CHARGES, OXYGEN

Method = Literal["cliff-lorimer", "zeta", "cross-section"]
METHODS = ("cliff-lorimer", "zeta", "cross-section")
STOICHIOMETRY = "stoichiometry"
ELECTRONS_PER_NA_S = 6.241509074e9  # 1e-9 / elementary charge, exact, SI
Factors = Mapping[str, float | tuple[float, float]]


@dataclass(frozen=True)
class QuantificationRecipe:
    """Everything a quantification needs beside counts; see `edxdask.quantify` for the meaning.

    ``axis`` is where the fit of the energy axis begins; with ``axis_found``, an earlier fit has found it,
    and it is kept.
    """

    elements: tuple[str, ...]
    method: Method
    beam_energy: float
    axis: EnergyAxis
    axis_found: bool
    detector: Detector
    angles_known: bool
    tilt_deg: tuple[float, float]
    lines: tuple[str, ...]
    factors: Factors | None
    thickness: float | None
    density: float | None
    oxygen: Mapping[str, float] | None
    foreign: tuple[str, ...]
    dose: float | None
    solid_angle: float | None
    refine_axis: bool

    @property
    def measured(self) -> tuple[str, ...]:
        """Elements of the sample that are quantified by a line."""
        left_out = {*self.foreign, *((OXYGEN,) if self.oxygen is not None else ())}
        return tuple(e for e in self.elements if e not in left_out)

    def seen(self, energy: np.ndarray) -> np.ndarray:
        """Fraction of photons of an energy (keV) that a detector counts."""
        return efficiency(energy, detector=self.detector)

    def transmission(
        self, composition: Mapping[str, float], energy: np.ndarray, mass_thickness: float
    ) -> np.ndarray:
        """Fraction of photons that leave a film of ``mass_thickness`` (g/cm² × 1e-7, or nm × g/cm³)."""
        if not self.angles_known:
            raise ParameterError(
                schema.ELEVATION,
                None,
                "angles of the detectors, which the absorption correction needs",
                f"Set ds.attrs[{schema.ELEVATION!r}] = [22.0].",
            )
        return film_transmission(
            composition,
            energy,
            thickness_nm=mass_thickness,
            density_g_cm3=1.0,
            detector=self.detector,
            tilt_deg=self.tilt_deg,
        )


def make_recipe(
    attrs: Mapping[Any, Any],
    energy: np.ndarray,
    *,
    elements: Sequence[str] | None,
    method: str,
    lines: Sequence[str] | None,
    factors: Factors | None,
    thickness: float | None,
    density: float | None,
    oxygen: str | Mapping[str, float] | None,
    foreign: Sequence[str],
    beam_energy: float | None,
    dose: float | None,
    solid_angle: float | None,
    detector: Detector | None,
    refine_axis: bool,
    axis: EnergyAxis | None = None,
) -> QuantificationRecipe:
    """Check the parameters, and fill in what the attributes of the data know.

    ``axis`` is what an earlier fit of the same counts has found; None: there was none.
    """
    if method not in METHODS:
        raise ParameterError("method", method, f"one of {', '.join(METHODS)}")
    beam = _beam_energy(attrs, beam_energy)
    names = _elements(attrs, elements, np.asarray(energy, dtype=np.float64), beam)
    for name in foreign:
        if name not in names:
            raise ParameterError("foreign", name, f"elements of the list, {', '.join(names)}")
    thickness, density = _film(attrs, thickness, density)
    stage = (float(attrs.get(schema.TILT_ALPHA, 0.0)), float(attrs.get(schema.TILT_BETA, 0.0)))
    found = detector or Detector.of(attrs)
    azimuths_known = detector is not None or schema.AZIMUTH in attrs
    return QuantificationRecipe(
        elements=names,
        method=method,  # type: ignore[arg-type]
        beam_energy=beam,
        axis=EnergyAxis(fwhm_mn_ka_ev=found.fwhm_mn_ka_ev) if axis is None else axis,
        axis_found=axis is not None,
        detector=found,
        angles_known=detector is not None or attrs.get(schema.ELEVATION) is not None,
        tilt_deg=stage if azimuths_known else (0.0, 0.0),
        lines=(lines,) if isinstance(lines, str) else tuple(lines or ()),
        factors=factors,
        thickness=thickness,
        density=density,
        oxygen=_oxygen(oxygen),
        foreign=tuple(foreign),
        dose=_dose(attrs, dose) if method != "cliff-lorimer" else dose,
        solid_angle=solid_angle,
        refine_axis=refine_axis,
    )


def _elements(
    attrs: Mapping[Any, Any], elements: Sequence[str] | None, energy: np.ndarray, beam_energy: float
) -> tuple[str, ...]:
    if elements is None:
        elements = listed_elements(attrs, energy[energy >= LOWEST_KEV], beam_energy=beam_energy)
    names = checked_elements(elements)
    if not names:
        raise ParameterError(
            "elements", elements, "the elements in the spectrum", "Write elements=['Mg', 'Si', ...]."
        )
    return names


def _beam_energy(attrs: Mapping[Any, Any], beam_energy: float | None) -> float:
    value = attrs.get(schema.BEAM_ENERGY) if beam_energy is None else beam_energy
    if value is None:
        raise ParameterError(
            "beam_energy",
            None,
            "the energy of the beam in keV, which the file does not say",
            "Pass beam_energy=200.0.",
        )
    return check_thin_film(float(value))


def _film(
    attrs: Mapping[Any, Any], thickness: float | None, density: float | None
) -> tuple[float | None, float | None]:
    if thickness is None and density is None and {schema.THICKNESS, schema.DENSITY} <= set(attrs):
        thickness = float(attrs[schema.THICKNESS])
    if density is None and thickness is not None:
        density = attrs.get(schema.DENSITY)
    for name, value in (("thickness", thickness), ("density", density)):
        if value is not None and not (np.isfinite(value) and value > 0):
            raise ParameterError(name, value, f"a number above 0, in {'nm' if name[0] == 't' else 'g/cm³'}")
    if thickness is not None and density is None:
        raise ParameterError(
            "density", None, "the density (g/cm³) beside the thickness: absorption needs both"
        )
    if density is not None and thickness is None:
        raise ParameterError(
            "thickness", None, "the thickness (nm) beside the density: absorption needs both"
        )
    return thickness, density


def _oxygen(oxygen: str | Mapping[str, float] | None) -> Mapping[str, float] | None:
    if oxygen is None or isinstance(oxygen, Mapping):
        return oxygen
    if oxygen != STOICHIOMETRY:
        example = {"Fe": CHARGES["Fe"] + 1}
        raise ParameterError("oxygen", oxygen, f"None, {STOICHIOMETRY!r} or charges such as {example}")
    return {}


def _dose(attrs: Mapping[Any, Any], dose: float | None) -> float:
    if dose is None and attrs.get(schema.BEAM_CURRENT) and attrs.get(schema.LIVE_TIME):
        dose = float(attrs[schema.BEAM_CURRENT]) * float(attrs[schema.LIVE_TIME]) * ELECTRONS_PER_NA_S
    if dose is None:
        missing = [k for k in (schema.BEAM_CURRENT, schema.LIVE_TIME) if not attrs.get(k)]
        raise ParameterError(
            "dose",
            None,
            f"electrons on the whole map; {' and '.join(missing)} of the data would say, and are missing",
            "It is current (nA) × live time (s) × 6.2415e9; with 1 nA and 100 s, dose=6.24e11.",
        )
    if not (np.isfinite(dose) and dose > 0):
        raise ParameterError("dose", dose, "a number of electrons above 0")
    return float(dose)
