"""Cliff-Lorimer, ζ-factors and cross-sections: from intensities of lines to atoms of elements.

All three say n_A = f_A I_A / T_A, with f the factor of the line, I its photons and T the fraction of them
that leaves the film. Cliff-Lorimer gives f up to a common scale (k_A = f_A M_A), the others absolutely:
ρt C_A = ζ_A I_A / D_e (M. Watanabe, D. B. Williams, J. Microsc. 221 (2006) 89) and n_A = I_A / (D_e σ_A)
(K. E. MacArthur et al., Microsc. Microanal. 22 (2016) 71). T depends on the composition: both are iterated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import xraylib

from edxdask.errors import EdxdaskError, ParameterError
from edxdask.physics.absorption import NM_PER_CM
from edxdask.physics.lines import atomic_number, parse_line
from edxdask.physics.spectrum import AVOGADRO_PER_MOL
from edxdask.quantify.composition import OXYGEN, charges_of, fractions, with_oxygen
from edxdask.quantify.recipe import QuantificationRecipe

BARN_PER_NM2 = 1e-10  # nm² in a barn
NM2_PER_CM2 = 1e14
FACTOR_NAMES = {"cliff-lorimer": "k_factors", "zeta": "zeta_factors", "cross-section": "cross_sections"}
ROUNDS, CONVERGED = 200, 1e-8  # of the absorption correction; largest |change| of a fraction


@dataclass(frozen=True, eq=False)
class LineFactors:
    """Atoms per photon of each line before absorption, and relative covariance of these factors.

    Attributes
    ----------
    values : (lines,) atoms/nm² per photon and electron; of Cliff-Lorimer to a common factor
    relative : (lines, lines)
    """

    values: np.ndarray
    relative: np.ndarray


@dataclass(frozen=True, eq=False)
class Quantified:
    """Composition of one spectrum.

    Attributes
    ----------
    elements : those measured, then oxygen where it follows from the charges
    atoms : (elements,) in the scale of the factors
    atoms_covariance, composition, composition_covariance, mass_fraction, mass_covariance : of ``elements``
    mass_thickness : nm × g/cm³ (= 1e-7 g/cm²); its error beside it; None of Cliff-Lorimer
    per_photon : (measured,) atoms per photon of each line, absorption corrected
    """

    elements: tuple[str, ...]
    atoms: np.ndarray
    atoms_covariance: np.ndarray
    composition: np.ndarray
    composition_covariance: np.ndarray
    mass_fraction: np.ndarray
    mass_covariance: np.ndarray
    mass_thickness: tuple[float, float] | None
    per_photon: np.ndarray


def atomic_mass(element: str) -> float:
    """Mass of an atom in g/mol."""
    return float(xraylib.AtomicWeight(atomic_number(element)))


def table_factors(recipe: QuantificationRecipe, lines: Sequence[str], barn: np.ndarray) -> LineFactors:
    """Factors from the emission tables.

    Parameters
    ----------
    barn : (lines,) photons counted per atom and electrons per barn, over the full sphere
    """
    if recipe.method == "cliff-lorimer":
        share = 1.0
    elif recipe.solid_angle is None:
        raise ParameterError(
            "solid_angle",
            None,
            f"the solid angle (sr) of all detectors, or {FACTOR_NAMES[recipe.method]} by line",
            "Without either the tables give ratios only, as in method='cliff-lorimer'.",
        )
    else:
        share = recipe.solid_angle / (4.0 * np.pi)
    size = len(lines)
    return LineFactors(1.0 / (barn * BARN_PER_NM2 * share), np.zeros((size, size)))


def given_factors(recipe: QuantificationRecipe, lines: Sequence[str]) -> LineFactors:
    """Factors of the user by line: k (to a common factor, by mass), ζ (kg/m²) or σ (barn, as counted).

    Raises
    ------
    ParameterError
        If a line has none; the error names it.
    """
    given, name = recipe.factors or {}, FACTOR_NAMES[recipe.method]
    values, errors = [], []
    for line in lines:
        if line not in given:
            raise ParameterError(
                name,
                list(given),
                f"a factor for every line; {line} has none",
                f"Add {line!r}: ...",
                typed_fix=f"Add a row to the file: {line},1.0",
            )
        pair = given[line]
        value, error = pair if isinstance(pair, tuple | list) else (pair, 0.0)
        if not (np.isfinite(value) and value > 0 and np.isfinite(error) and error >= 0):
            raise ParameterError(f"{name}[{line!r}]", pair, "a number above 0, or (number, standard error)")
        values.append(float(value))
        errors.append(float(error) / float(value))
    mass = np.array([atomic_mass(parse_line(line).element) for line in lines])
    numbers = np.array(values)
    if recipe.method == "cliff-lorimer":
        numbers = numbers / mass
    elif recipe.method == "zeta":  # kg/m² = 0.1 g/cm²
        numbers = 0.1 * numbers / mass * AVOGADRO_PER_MOL / NM2_PER_CM2
    else:
        numbers = 1.0 / (numbers * BARN_PER_NM2)
    return LineFactors(numbers, np.diag(np.square(errors)))


def standard_factors(
    intensities: np.ndarray, covariance: np.ndarray, composition: Mapping[str, float], lines: Sequence[str]
) -> LineFactors:
    """k-factors from a standard: f = x / I, with the covariance of its intensities.

    Parameters
    ----------
    intensities, covariance : of the standard's lines, (lines,), (lines, lines), corrected for absorption
    composition : atoms of each element of the standard
    lines : of the unknown; each of their elements must be in the standard
    """
    shares = []
    for line, photons in zip(lines, intensities, strict=True):
        element = parse_line(line).element
        if not composition.get(element, 0.0) > 0:
            raise ParameterError("standard", dict(composition), f"a standard that holds {element}")
        if not photons > 0:
            raise ParameterError("standard", line, "a line with photons in the standard's spectrum")
        shares.append(float(composition[element]))
    return LineFactors(np.array(shares) / intensities, covariance / np.outer(intensities, intensities))


def solve(
    recipe: QuantificationRecipe,
    lines: Sequence[str],
    intensities: np.ndarray,
    covariance: np.ndarray,
    factors: LineFactors,
    *,
    dose: float | None = None,
) -> Quantified:
    """Composition from intensities, with absorption iterated until no fraction changes.

    Parameters
    ----------
    dose : electrons behind ``intensities``; needed by the absolute methods
    """
    energies = np.array([parse_line(line).centroid_kev for line in lines])
    scale = 1.0 if recipe.method == "cliff-lorimer" else 1.0 / float(dose or np.nan)
    through = np.ones(len(lines))
    last: np.ndarray | None = None
    for _ in range(ROUNDS):
        per_photon = scale * factors.values / through
        found = _composition(recipe, lines, intensities, covariance, factors.relative, per_photon)
        thickness = _mass_thickness(recipe, found)
        if thickness is None or not (found.composition > 0).any() or not thickness > 0:
            return found
        if last is not None and np.abs(found.composition - last).max() < CONVERGED:
            return found
        last = found.composition
        amounts = {e: max(float(x), 0.0) for e, x in zip(found.elements, found.composition, strict=True)}
        through = recipe.transmission(amounts, energies, thickness)
    raise EdxdaskError(
        f"absorption does not converge within {ROUNDS} rounds: the film is too thick for this correction"
    )


def _mass_thickness(recipe: QuantificationRecipe, found: Quantified) -> float | None:
    """Of the film, in nm × g/cm³; None where absorption is not corrected."""
    if recipe.method != "cliff-lorimer":
        return found.mass_thickness[0] if found.mass_thickness and recipe.angles_known else None
    if recipe.thickness is None or recipe.density is None:
        return None
    return recipe.thickness * recipe.density


def _composition(
    recipe: QuantificationRecipe,
    lines: Sequence[str],
    intensities: np.ndarray,
    covariance: np.ndarray,
    relative: np.ndarray,
    per_photon: np.ndarray,
) -> Quantified:
    elements = tuple(parse_line(line).element for line in lines)
    atoms = per_photon * intensities
    spread = covariance * np.outer(per_photon, per_photon) + relative * np.outer(atoms, atoms)
    if recipe.oxygen is not None:
        atoms, spread = with_oxygen(atoms, spread, charges_of(elements, recipe.oxygen))
        elements = (*elements, OXYGEN)
    mass = np.array([atomic_mass(e) for e in elements])
    x, x_covariance = fractions(atoms, spread)
    w, w_covariance = fractions(atoms * mass, spread * np.outer(mass, mass))
    thickness = None
    if recipe.method != "cliff-lorimer":
        unit = mass * NM2_PER_CM2 / AVOGADRO_PER_MOL * NM_PER_CM  # nm × g/cm³ of one atom/nm²
        thickness = (float(unit @ atoms), float(np.sqrt(unit @ spread @ unit)))
    return Quantified(elements, atoms, spread, x, x_covariance, w, w_covariance, thickness, per_photon)
