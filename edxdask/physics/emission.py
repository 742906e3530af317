"""Emission cross-sections: photons of a line per atom and per electron through unit area.

emission = (ionisation of the subshell, with vacancies moved in by Coster-Kronig transitions)
× fluorescence yield × radiative rate. Ionisation: Bote and Salvat's cross-sections (``data/ionisation.csv``
names source and licence); yields, Coster-Kronig probabilities and rates: xraylib.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

import numpy as np
import xraylib

from edxdask.errors import ParameterError
from edxdask.physics.lines import Transition, atomic_number, parse_line, transitions_of

ELECTRON_REST_ENERGY_KEV = 510.99895  # CODATA 2018
TABLE_BEAM_ENERGIES_KEV = (60.0, 100.0, 200.0, 300.0)
SUBSHELLS = ("K", "L1", "L2", "L3", "M1", "M2", "M3", "M4", "M5")


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


def beta_squared(beam_energy: float) -> float:
    """(v/c)² of electrons of ``beam_energy`` keV.

    Examples
    --------
    >>> round(beta_squared(200.0), 4)
    0.4835
    """
    return 1.0 - 1.0 / (1.0 + beam_energy / ELECTRON_REST_ENERGY_KEV) ** 2


def check_beam_energy(beam_energy: float) -> float:
    """Return ``beam_energy`` in keV if the tables cover it."""
    low, high = TABLE_BEAM_ENERGIES_KEV[0], TABLE_BEAM_ENERGIES_KEV[-1]
    if not low <= beam_energy <= high:
        fix = f"In keV that is {beam_energy / 1000:g}." if low <= beam_energy / 1000 <= high else ""
        raise ParameterError("beam_energy", beam_energy, f"{low:g} to {high:g} keV", fix)
    return float(beam_energy)


def _fano_coordinate(beam_energy: float) -> float:
    squared = beta_squared(beam_energy)
    return float(np.log(squared / (1.0 - squared)) - squared)


@lru_cache(maxsize=1)
def _ionisation_table() -> Mapping[tuple[int, str], tuple[float, ...]]:
    text = resources.files("edxdask.physics").joinpath("data", "ionisation.csv").read_text(encoding="utf-8")
    rows = csv.reader(line for line in text.splitlines() if not line.startswith("#"))
    next(rows)
    return {(int(row[0]), row[1]): tuple(float(value) for value in row[2:]) for row in rows}


def ionisation_cross_section(element: str, subshell: str, *, beam_energy: float) -> float:
    """Cross-section (cm²) for one electron of ``beam_energy`` keV to ionise one subshell of an atom.

    Straight lines between the tabulated energies in a Fano plot (U. Fano, Phys. Rev. 95 (1954) 1198):
    σβ² is linear in ln(β²/(1-β²)) - β² far above threshold, so that little is interpolated at all.
    0 where the table has no such subshell: it is not occupied, or emits nothing of note.

    Examples
    --------
    >>> f"{ionisation_cross_section('Fe', 'K', beam_energy=200.0):.2e}"
    '3.03e-22'
    """
    beam = check_beam_energy(beam_energy)
    if subshell not in SUBSHELLS:
        raise ParameterError("subshell", subshell, f"one of {', '.join(SUBSHELLS)}")
    values = _ionisation_table().get((atomic_number(element), subshell))
    if values is None:
        return 0.0
    place = [_fano_coordinate(energy) for energy in TABLE_BEAM_ENERGIES_KEV]
    height = [value * beta_squared(e) for value, e in zip(values, TABLE_BEAM_ENERGIES_KEV, strict=True)]
    return float(np.interp(_fano_coordinate(beam), place, height)) / beta_squared(beam)


def _coster_kronig(number: int, source: str, target: str) -> float:
    code = getattr(xraylib, f"F{source[0]}{source[1]}{target[1]}_TRANS", None)
    if code is None:
        return 0.0
    try:
        return float(xraylib.CosKronTransProb(number, code))
    except ValueError:  # not tabulated: the transition is closed
        return 0.0


def _vacancies(element: str, beam_energy: float, coster_kronig: bool) -> dict[str, float]:
    """Cross-section (cm²) for a vacancy to be in each subshell when it decays out of its shell."""
    number = atomic_number(element)
    vacancy = {s: ionisation_cross_section(element, s, beam_energy=beam_energy) for s in SUBSHELLS}
    if coster_kronig:
        for target in SUBSHELLS[1:]:  # outermost last, so that a source is complete before it is used
            for source in SUBSHELLS[1:]:
                if source[0] == target[0] and source < target:
                    vacancy[target] += _coster_kronig(number, source, target) * vacancy[source]
    return vacancy


def _fluorescence_yield(number: int, subshell: str) -> float:
    try:
        return float(xraylib.FluorYield(number, getattr(xraylib, f"{subshell}_SHELL")))
    except ValueError:  # not tabulated: too light to fluoresce from there
        return 0.0


@lru_cache(maxsize=512)
def emission(element: str, beam_energy: float, coster_kronig: bool = True) -> Emission:
    """All lines of an element and their emission cross-sections at ``beam_energy`` keV.

    Parameters
    ----------
    element : symbol
    beam_energy : keV
    coster_kronig : move vacancies between the subshells of L and of M before they decay;
        published tables for electron microscopes often leave that out

    Examples
    --------
    >>> lines = emission("Mg", 200.0)
    >>> [t.iupac for t in lines.transitions if t.energy_kev > 1.0]
    ['KL2', 'KL3']
    """
    number = atomic_number(element)
    vacancy = _vacancies(element, beam_energy, coster_kronig)
    light = {shell: vacancy[shell] * _fluorescence_yield(number, shell) for shell in SUBSHELLS}
    lines = tuple(t for t in transitions_of(element) if light[t.subshell] > 0)
    energy = np.array([t.energy_kev for t in lines], dtype=np.float64)
    sigma = np.array([light[t.subshell] * t.rate for t in lines], dtype=np.float64)
    energy.flags.writeable = sigma.flags.writeable = False  # the cache hands out the same arrays to all
    return Emission(element, lines, energy, sigma)


def line_cross_section(name: str, *, beam_energy: float, coster_kronig: bool = True) -> float:
    """Emission cross-section (cm² per atom, full sphere) of one line such as "Fe_Ka"."""
    line = parse_line(name)
    all_lines = emission(line.element, float(beam_energy), coster_kronig)
    wanted = {t.iupac for t in line.transitions}
    pairs = zip(all_lines.transitions, all_lines.cross_section_cm2, strict=True)
    return float(sum(sigma for t, sigma in pairs if t.iupac in wanted))
