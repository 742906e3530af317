"""Build ``edxdask/physics/data/ionisation.csv`` from the tables inside a pyTEMlib wheel.

Usage::

    python -m pip download --no-deps pyTEMlib -d wheels
    python scripts/build_ionisation_table.py wheels/pytemlib-*.whl

The wheel (MIT licence) holds one JSON file per beam energy, with the ionisation cross-section of the
subshell beside every line. Only those figures are taken, once per subshell: the columns ``emtables_*``.

The columns ``bote_salvat_*`` fix an error in them. Above 16 times the binding energy, the cross-section of
Bote et al. (2009) is, with γ = 1 + T/mc², β² = 1 - 1/γ², X² = γ² - 1, U = T/E_b,

    σ = 4π a0² A/β² · U/(U+b) · [(ln X² - β²)(1 + g1/X) + g2 + g3 γ^(-1/2) + g4/X].

The published tables hold γ^(+1/2) instead, which is why they jump by 1 % (Si K) to 50 % (Ra L2) where a
subshell crosses 16 times its binding energy. They lack 4π a0² A/β² · U/(U+b) · g3 (γ^(-1/2) - γ^(1/2)), for
which three parameters per subshell suffice; they are smooth in Z: ``bote_salvat_high_energy.csv`` lists
enough.
The published figures count all vacancies: besides direct ionisation those passed down by radiative, Auger and
Coster-Kronig transitions, with xraylib's probabilities (checked on Sn L3, Nd L2, Sm L3, Rb L3, Au M4 and M5,
U M5, where direct ionisation plus these sums to the table within 2 %). So Coster-Kronig transitions also pass
down the correction.
Beryllium is in no table: both columns are the formula above.
"""

from __future__ import annotations

import csv
import json
import sys
import zipfile
from pathlib import Path

import numpy as np
import xraylib

SCRIPTS = Path(__file__).resolve().parent
PARAMETERS = SCRIPTS / "bote_salvat_high_energy.csv"
TARGET = SCRIPTS.parent / "edxdask" / "physics" / "data" / "ionisation.csv"
BEAM_ENERGIES_KEV = (60, 100, 200, 300)
ELECTRON_REST_ENERGY_KEV = 510.99895  # CODATA 2018
FOUR_PI_BOHR2_CM2 = 4.0 * np.pi * 5.29177210903e-9**2  # CODATA 2018
FORMULAS_MEET_AT = 16.0  # times the binding energy, Bote et al. (2009)
BERYLLIUM = {"edge_kev": 0.118366, "g": (0.00997, 9.31, -0.0444, 0.0331)}  # ibid., as the parameters' file
HEADER = """\
# Cross-sections (cm2 per atom) for an electron to leave a vacancy in a subshell, one row each: direct
# ionisation and what radiative, Auger and Coster-Kronig transitions pass down.
# Theory: D. Bote, F. Salvat, Phys. Rev. A 77 (2008) 042701; D. Bote et al., At. Data Nucl. Data Tables 95
# (2009) 871. emtables_*: computed with emtables (A. Teurtrie), as published in {wheel}
# (MIT licence, Copyright (c) 2024 Gerd Duscher). bote_salvat_*: with one sign fixed.
# Built by scripts/build_ionisation_table.py, which gives the formula.
"""


def subshell(transition: str) -> str:
    """Subshell that holds the vacancy: ``K`` of ``KL3``, ``L3`` of ``L3M5``."""
    return "K" if transition.startswith("K") else transition[:2]


def read_wheel(path: Path) -> dict[tuple[int, str], dict[int, float]]:
    """Cross-section by (atomic number, subshell) and beam energy in keV."""
    table: dict[tuple[int, str], dict[int, float]] = {}
    with zipfile.ZipFile(path) as wheel:
        for energy in BEAM_ENERGIES_KEV:
            elements = json.loads(wheel.read(f"pyTEMlib/data/xrays_X_section_{energy}kV.json"))["table"]
            for number, lines in elements.items():
                for transition, values in lines.items():
                    row = table.setdefault((int(number), subshell(transition)), {})
                    if row.setdefault(energy, values["xsection"]) != values["xsection"]:
                        raise SystemExit(f"Z={number} {transition}: two cross-sections for one subshell")
    return table


def read_parameters() -> dict[str, np.ndarray]:
    """Rows Z, b, A, g3 of the high-energy formula by subshell."""
    found: dict[str, list[tuple[float, ...]]] = {}
    lines = (line for line in PARAMETERS.read_text(encoding="utf-8").splitlines() if line[0] != "#")
    for row in csv.DictReader(lines):
        found.setdefault(row["subshell"], []).append(tuple(float(row[k]) for k in ("Z", "b", "A", "g3")))
    return {name: np.array(rows).T for name, rows in found.items()}


def scale_and_gamma(parameters: np.ndarray, number: int, edge_kev: float, beam: float) -> tuple[float, ...]:
    """4π a0² A/β² · U/(U+b), then g3 and γ."""
    z, b, strength, g3 = parameters
    gamma = 1.0 + beam / ELECTRON_REST_ENERGY_KEV
    overvoltage = beam / edge_kev
    a = np.exp(np.interp(np.log(number), np.log(z), np.log(strength)))
    share = overvoltage / (overvoltage + np.interp(number, z, b))
    return FOUR_PI_BOHR2_CM2 * a / (1.0 - gamma**-2) * share, float(np.interp(number, z, g3)), gamma


def correction(parameters: np.ndarray, number: int, shell: str, beam: float) -> float:
    """Compute what the published cross-section lacks (cm²)."""
    edge = xraylib.EdgeEnergy(number, getattr(xraylib, f"{shell}_SHELL"))
    if beam / edge <= FORMULAS_MEET_AT:
        return 0.0
    scale, g3, gamma = scale_and_gamma(parameters, number, edge, beam)
    return scale * g3 * (gamma**-0.5 - gamma**0.5)


def coster_kronig(number: int, source: str, target: str) -> float:
    """Return the fraction of vacancies in ``source`` that move to ``target`` of the same shell."""
    try:
        return float(
            xraylib.CosKronTransProb(number, getattr(xraylib, f"F{source[0]}{source[1]}{target[1]}_TRANS"))
        )
    except (ValueError, AttributeError):  # closed, or no such transition
        return 0.0


def corrections(
    parameters: dict[str, np.ndarray], number: int, shells: list[str], beam: float
) -> dict[str, float]:
    """Corrections of all subshells of an element (cm²), including those passed down by Coster-Kronig."""
    found: dict[str, float] = {}
    for shell in sorted(shells):  # L1 before L2 before L3: sources are complete before they are used
        found[shell] = correction(parameters[shell], number, shell, beam) + sum(
            coster_kronig(number, source, shell) * value
            for source, value in found.items()
            if source[0] == shell[0] != "K"
        )
    return found


def beryllium(parameters: np.ndarray, beam: float, exponent: float) -> float:
    """Cross-section of the K shell of beryllium (cm²)."""
    scale, _, gamma = scale_and_gamma(parameters, 4, BERYLLIUM["edge_kev"], beam)
    x = (gamma**2 - 1.0) ** 0.5
    g1, g2, g3, g4 = BERYLLIUM["g"]
    beta2 = 1.0 - gamma**-2
    return scale * ((2.0 * np.log(x) - beta2) * (1.0 + g1 / x) + g2 + g3 * gamma**exponent + g4 / x)


def main(arguments: list[str]) -> None:
    """Write the table."""
    if len(arguments) != 1:
        raise SystemExit(__doc__)
    wheel = Path(arguments[0])
    published, parameters = read_wheel(wheel), read_parameters()
    columns = [
        f"{source}_{energy}_kev" for source in ("emtables", "bote_salvat") for energy in BEAM_ENERGIES_KEV
    ]
    published[4, "K"] = {e: beryllium(parameters["K"], e, +0.5) for e in BEAM_ENERGIES_KEV}
    rows = ["Z,subshell," + ",".join(columns)]
    shells: dict[int, list[str]] = {}
    for number, shell in published:
        shells.setdefault(number, []).append(shell)
    for (number, shell), values in sorted(published.items()):
        fixed = {e: v + corrections(parameters, number, shells[number], e)[shell] for e, v in values.items()}
        both = [table[energy] for table in (values, fixed) for energy in BEAM_ENERGIES_KEV]
        rows.append(f"{number},{shell}," + ",".join(f"{value:.6e}" for value in both))
    name = "-".join(wheel.name.split("-")[:2])
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_text(HEADER.format(wheel=name) + "\n".join(rows) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
