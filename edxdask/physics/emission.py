"""Emission cross-sections: photons of a line per atom and per electron through unit area.

emission = (vacancies in the subshell, including those passed down from inner ones) × fluorescence yield
× radiative rate. Vacancies: `edxdask.physics.ionisation`; yields and rates: xraylib. Below 60 keV the
electrons stop in the sample, and vacancies are the mean along their path.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import xraylib

from edxdask.physics.ionisation import (
    AS_PUBLISHED,
    DEFAULT_TABLE,
    SUBSHELLS,
    TABLE_BEAM_ENERGIES_KEV,
    beta_squared,
    check_beam_energy,
    check_thin_film,
    ionisation_cross_section,
    is_bulk,
    stopped_cross_section,
)
from edxdask.physics.lines import Transition, atomic_number, parse_line, transitions_of

__all__ = [
    "TABLE_BEAM_ENERGIES_KEV",
    "Emission",
    "beta_squared",
    "check_beam_energy",
    "check_thin_film",
    "emission",
    "ionisation_cross_section",
    "is_bulk",
    "line_cross_section",
]


@dataclass(frozen=True, slots=True)
class Emission:
    """Everything one element emits under electrons of one energy.

    Attributes
    ----------
    element : symbol
    transitions : by energy
    energy_kev : (lines,)
    cross_section_cm2 : (lines,) per atom, over the full sphere
    """

    element: str
    transitions: tuple[Transition, ...]
    energy_kev: np.ndarray
    cross_section_cm2: np.ndarray


def _coster_kronig(number: int, source: str, target: str) -> float:
    code = getattr(xraylib, f"F{source[0]}{source[1]}{target[1]}_TRANS", None)
    if code is None:
        return 0.0
    try:
        return float(xraylib.CosKronTransProb(number, code))
    except ValueError:  # not tabulated: the transition is closed
        return 0.0


def _vacancies(element: str, beam_energy: float, coster_kronig: bool, table: str) -> dict[str, float]:
    """Cross-section (cm²) for a vacancy to be in each subshell when it decays out of its shell."""
    number = atomic_number(element)
    cross_section = stopped_cross_section if is_bulk(beam_energy) else ionisation_cross_section
    vacancy = {
        shell: cross_section(element, shell, beam_energy=beam_energy, table=table) for shell in SUBSHELLS
    }
    if coster_kronig:
        return vacancy
    return {
        target: value
        - sum(
            _coster_kronig(number, source, target) * vacancy[source]
            for source in SUBSHELLS[1:]
            if source[0] == target[0] and source < target
        )
        for target, value in vacancy.items()
    }


def _fluorescence_yield(number: int, subshell: str) -> float:
    try:
        return float(xraylib.FluorYield(number, getattr(xraylib, f"{subshell}_SHELL")))
    except ValueError:  # not tabulated: too light to fluoresce from there
        return 0.0


@lru_cache(maxsize=512)
def emission(
    element: str, beam_energy: float, coster_kronig: bool = True, table: str = DEFAULT_TABLE
) -> Emission:
    """All lines of an element and their emission cross-sections at ``beam_energy`` keV.

    Parameters
    ----------
    element : symbol
    beam_energy : keV
    coster_kronig : count vacancies that moved between the subshells of L and of M before they decayed, as
        the published tables do; False leaves them out
    table : of ionisation cross-sections, "emtables" or "bote_salvat"; see `edxdask.physics.ionisation`

    Examples
    --------
    >>> lines = emission("Mg", 200.0)
    >>> [t.iupac for t in lines.transitions if t.energy_kev > 1.0]
    ['KL2', 'KL3']
    """
    number = atomic_number(element)
    vacancy = _vacancies(element, beam_energy, coster_kronig, table)
    light = {shell: vacancy[shell] * _fluorescence_yield(number, shell) for shell in SUBSHELLS}
    lines = tuple(t for t in transitions_of(element, table != AS_PUBLISHED) if light[t.subshell] > 0)
    energy = np.array([t.energy_kev for t in lines], dtype=np.float64)
    sigma = np.array([light[t.subshell] * t.rate for t in lines], dtype=np.float64)
    energy.flags.writeable = sigma.flags.writeable = False  # the cache gives the same arrays to all callers
    return Emission(element, lines, energy, sigma)


def line_cross_section(
    name: str, *, beam_energy: float, coster_kronig: bool = True, table: str = DEFAULT_TABLE
) -> float:
    """Emission cross-section (cm² per atom, full sphere) of one line such as "Fe_Ka"."""
    line = parse_line(name)
    all_lines = emission(line.element, float(beam_energy), coster_kronig, table)
    wanted = {t.iupac for t in line.transitions}
    pairs = zip(all_lines.transitions, all_lines.cross_section_cm2, strict=True)
    return float(sum(sigma for t, sigma in pairs if t.iupac in wanted))
