"""Ionisation of inner shells by electrons: cross-sections of Bote and Salvat at any energy of the beam.

They count every vacancy that the electron leaves behind: besides its own, the few to 40 % that
radiative, Auger and Coster-Kronig transitions pass down to outer subshells, as the published tables do.
``data/ionisation.csv`` holds them at four energies, in two versions (see `TABLES`); in between, the ratio
to a closed formula is interpolated. Below 60 keV, as in a scanning microscope, the ratio is that at 60 keV:
good enough to say which lines there are and which are strong, not to count atoms.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from functools import lru_cache
from importlib import resources

import numpy as np
import xraylib

from edxdask.errors import ParameterError
from edxdask.physics.lines import atomic_number

ELECTRON_REST_ENERGY_KEV = 510.99895  # CODATA 2018
TABLE_BEAM_ENERGIES_KEV = (60.0, 100.0, 200.0, 300.0)
LOWEST_BEAM_ENERGY_KEV = 2.0  # of any use: below, hardly a line is left
BULK_ADVICE = (
    "Spectra, maps and elements need no quantities: psnmf, nmf, find_elements and line_map work here."
)
PATH_POINTS = 24  # of the integral over the energies of an electron that slows down
LEAST_PATH_KEV = 0.05  # where an electron's path ends
SUBSHELLS = ("K", "L1", "L2", "L3", "M1", "M2", "M3", "M4", "M5")

# "emtables": as published. "bote_salvat": with an error in the published figures fixed. Above 16 times the
# binding energy they hold (1-β²)^(-1/4) where Bote et al. (2009) have (1-β²)^(1/4), and so are too small: at
# 200 keV by 0.4 % (O K), 1 % (Si K), 5 % (Fe K), 7 % (Zn K), 20 % (W L2). See docs/k_factors.md. With it,
# emission() also counts Mα and Mβ of Ce to Eu, which the published tables lack (see `lines.FOUR_F_LINES`).
TABLES = ("emtables", "bote_salvat")
AS_PUBLISHED = TABLES[0]
DEFAULT_TABLE = "emtables"


def beta_squared(beam_energy: float) -> float:
    """(v/c)² of electrons of ``beam_energy`` keV.

    Examples
    --------
    >>> round(beta_squared(200.0), 4)
    0.4835
    """
    return 1.0 - 1.0 / (1.0 + beam_energy / ELECTRON_REST_ENERGY_KEV) ** 2


def check_beam_energy(beam_energy: float) -> float:
    """Return ``beam_energy`` in keV if lines and their rough strengths are known there: 2 to 300 keV.

    Whoever counts atoms calls `check_thin_film`.
    """
    low, high = LOWEST_BEAM_ENERGY_KEV, TABLE_BEAM_ENERGIES_KEV[-1]
    if not low <= beam_energy <= high:
        fix = f"In keV that is {beam_energy / 1000:g}." if low <= beam_energy / 1000 <= high else ""
        raise ParameterError("beam_energy", beam_energy, f"{low:g} to {high:g} keV", fix)
    return float(beam_energy)


def is_bulk(beam_energy: float) -> bool:
    """Whether electrons of ``beam_energy`` keV are those of a scanning microscope, which stop in the sample.

    Examples
    --------
    >>> is_bulk(15.0), is_bulk(80.0)
    (True, False)
    """
    return beam_energy < TABLE_BEAM_ENERGIES_KEV[0]


def check_thin_film(beam_energy: float, advice: str = BULK_ADVICE) -> float:
    """Return ``beam_energy`` in keV if atoms can be counted there: thin films, 60 to 300 keV."""
    beam = check_beam_energy(beam_energy)
    if is_bulk(beam):
        low, high = TABLE_BEAM_ENERGIES_KEV[0], TABLE_BEAM_ENERGIES_KEV[-1]
        raise ParameterError(
            "beam_energy",
            beam_energy,
            f"{low:g} to {high:g} keV for quantities: below, electrons stop in a bulk sample, whose photons "
            "are made at many depths and absorbed on the path out (ZAF), and edxdask has the physics of thin "
            "films only",
            advice,
        )
    return beam


def fano_coordinate(beam_energy: float) -> float:
    """Compute ln(β²/(1-β²)) - β², the abscissa of a Fano plot (U. Fano, Phys. Rev. 95 (1954) 1198)."""
    squared = beta_squared(beam_energy)
    return float(np.log(squared / (1.0 - squared)) - squared)


def reference_shape(beam_energy: float, edge_kev: float) -> float:
    """Dependence of an ionisation cross-section on beam energy, up to a factor.

    The relativistic binary-encounter Bethe formula in its version for inner shells (Y.-K. Kim, J. P. Santos,
    F. Parente, Phys. Rev. A 62 (2000) 052710; M. Guerra et al., Int. J. Mass Spectrom. 313 (2012) 1), times
    1 + (edge/beam)², which represents the distorted waves near threshold. Cross-sections of Bote and Salvat
    divided by it are straight in a Fano plot: from any three of the four tabulated energies, a straight line
    predicts the fourth within 5 % for each subshell of each element.
    """
    t, b = beam_energy / edge_kev, edge_kev / ELECTRON_REST_ENERGY_KEV
    tau, squared = t * b, beta_squared(beam_energy)
    shrink = (1.0 + tau / 2.0) ** 2
    dipole = 0.5 * (np.log(squared / (1.0 - squared)) - squared - np.log(2.0 * b)) * (1.0 - t**-2)
    exchange = np.log(t) / (t + 1.0) * (1.0 + 2.0 * tau) / shrink
    rest = 1.0 - 1.0 / t - exchange + b**2 / shrink * (t - 1.0) / 2.0
    return float((dipole + rest) / (squared + beta_squared(edge_kev)) * (1.0 + t**-2))


@lru_cache(maxsize=1)
def ionisation_table() -> Mapping[str, Mapping[tuple[int, str], tuple[float, ...]]]:
    """Cross-sections (cm²) at `TABLE_BEAM_ENERGIES_KEV` by table, atomic number and subshell."""
    text = resources.files("edxdask.physics").joinpath("data", "ionisation.csv").read_text(encoding="utf-8")
    rows = csv.reader(line for line in text.splitlines() if not line.startswith("#"))
    next(rows)
    found = [(int(row[0]), row[1], tuple(float(value) for value in row[2:])) for row in rows]
    size = len(TABLE_BEAM_ENERGIES_KEV)
    return {
        name: {(z, s): v[i * size : (i + 1) * size] for z, s, v in found} for i, name in enumerate(TABLES)
    }


def ionisation_cross_section(
    element: str, subshell: str, *, beam_energy: float, table: str = DEFAULT_TABLE
) -> float:
    """Cross-section (cm²) for an electron of ``beam_energy`` keV to leave a vacancy in a subshell of an atom.

    Vacancies passed down from inner subshells are counted.

    Exact at the tabulated energies; between them, straight lines in a Fano plot of the ratio to
    `reference_shape`; below the lowest, the ratio is the one there.
    0 where the table has no such subshell: it is not occupied, or emits almost nothing; and where the beam's
    energy is below the edge.

    Parameters
    ----------
    element : symbol
    subshell : "K", "L1" … "L3", "M1" … "M5"
    beam_energy : keV
    table : "emtables" or "bote_salvat"; `TABLES` says how they differ

    Examples
    --------
    >>> f"{ionisation_cross_section('Fe', 'K', beam_energy=200.0):.2e}"
    '3.03e-22'
    """
    beam = check_beam_energy(beam_energy)
    if subshell not in SUBSHELLS:
        raise ParameterError("subshell", subshell, f"one of {', '.join(SUBSHELLS)}")
    if table not in TABLES:
        raise ParameterError("table", table, f"one of {', '.join(TABLES)}")
    return _cross_section(atomic_number(element), subshell, beam, table)


def _cross_section(number: int, subshell: str, beam: float, table: str) -> float:
    values = ionisation_table()[table].get((number, subshell))
    if values is None:
        return 0.0
    edge = xraylib.EdgeEnergy(number, getattr(xraylib, f"{subshell}_SHELL"))
    if beam <= edge:
        return 0.0
    place = [fano_coordinate(energy) for energy in TABLE_BEAM_ENERGIES_KEV]
    ratio = [v / reference_shape(e, edge) for v, e in zip(values, TABLE_BEAM_ENERGIES_KEV, strict=True)]
    return float(np.interp(fano_coordinate(beam), place, ratio)) * reference_shape(beam, edge)


def stopped_cross_section(
    element: str, subshell: str, *, beam_energy: float, table: str = DEFAULT_TABLE
) -> float:
    """Mean cross-section (cm²) along the path of an electron that stops in the sample.

    Electrons of a scanning microscope slow down: near an edge, most of the path ionises no more. The energy
    loss is Bethe's as D. C. Joy and S. Luo changed it (Scanning 11 (1989) 176), with the mean ionisation
    energy of the element itself (M. J. Berger, S. M. Seltzer, 1964): the others of the sample are not known.

    Examples
    --------
    >>> thin = ionisation_cross_section("Fe", "K", beam_energy=15.0)
    >>> round(stopped_cross_section("Fe", "K", beam_energy=15.0) / thin, 2)
    0.51
    """
    beam, number = check_beam_energy(beam_energy), atomic_number(element)
    mean_kev = 1e-3 * number * (9.76 + 58.5 * number**-1.19)

    def points(low: float) -> tuple[np.ndarray, np.ndarray]:
        """Energies between ``low`` and the beam's, and the path (arbitrary unit) that each stands for."""
        nodes, weights = np.polynomial.legendre.leggauss(PATH_POINTS)
        at = 0.5 * (beam - low) * nodes + 0.5 * (beam + low)
        return at, 0.5 * (beam - low) * weights * at / np.log(1.166 * (at + 0.85 * mean_kev) / mean_kev)

    if (number, subshell) not in ionisation_table()[table]:
        return 0.0
    edge = max(xraylib.EdgeEnergy(number, getattr(xraylib, f"{subshell}_SHELL")), LEAST_PATH_KEV)
    if beam <= edge:
        return 0.0
    at, path = points(edge)
    sigma = np.array([_cross_section(number, subshell, float(energy), table) for energy in at])
    return float(path @ sigma / points(LEAST_PATH_KEV)[1].sum())
