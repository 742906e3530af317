"""Build ``edxdask/physics/data/ionisation.csv`` from the tables inside a pyTEMlib wheel.

Usage::

    python -m pip download --no-deps pyTEMlib -d wheels
    python scripts/build_ionisation_table.py wheels/pytemlib-*.whl

The wheel (MIT licence) holds one JSON file a beam energy, with the ionisation cross-section of the
subshell beside every line. Only those figures are taken, once a subshell.
"""

from __future__ import annotations

import json
import sys
import zipfile
from pathlib import Path

BEAM_ENERGIES_KEV = (60, 100, 200, 300)
TARGET = Path(__file__).resolve().parent.parent / "edxdask" / "physics" / "data" / "ionisation.csv"
HEADER = """\
# Inner-shell ionisation cross-sections by electrons, cm2 per atom, one row a subshell.
# Theory: D. Bote, F. Salvat, Phys. Rev. A 77 (2008) 042701; D. Bote et al., At. Data Nucl. Data Tables 95
# (2009) 871. Figures: computed with emtables (A. Teurtrie), as published in {wheel}
# (MIT licence, Copyright (c) 2024 Gerd Duscher). Built by scripts/build_ionisation_table.py.
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


def main(arguments: list[str]) -> None:
    """Write the table."""
    if len(arguments) != 1:
        raise SystemExit(__doc__)
    wheel = Path(arguments[0])
    rows = ["Z,subshell," + ",".join(f"cm2_at_{energy}_kev" for energy in BEAM_ENERGIES_KEV)]
    for (number, shell), values in sorted(read_wheel(wheel).items()):
        rows.append(f"{number},{shell}," + ",".join(f"{values[energy]:.6e}" for energy in BEAM_ENERGIES_KEV))
    name = "-".join(wheel.name.split("-")[:2])
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_text(HEADER.format(wheel=name) + "\n".join(rows) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
