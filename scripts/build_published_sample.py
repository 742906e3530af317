"""Build ``tests/physics/published_emission.csv``: a random sample of published emission cross-sections.

Usage::

    python -m pip download --no-deps pyTEMlib espm==1.1.3 -d wheels
    python scripts/build_published_sample.py wheels/pytemlib-*.whl wheels/espm-*.whl

Both wheels are under the MIT licence (Copyright (c) 2024 Gerd Duscher; 2022-2023 Adrien Teurtrie, Nathanael
Perraudin). Of each table 40 lines are drawn, seed 0, among those above 1 % of their family and above 0.2 keV.
"""

from __future__ import annotations

import json
import random
import sys
import zipfile
from pathlib import Path

TABLES = {
    "pytemlib": {e: f"pyTEMlib/data/xrays_X_section_{e}kV.json" for e in (60, 100, 200, 300)},
    "espm": {e: f"espm/tables/{e}keV_xrays.json" for e in (100, 200, 300)},
}
TARGET = Path(__file__).resolve().parent.parent / "tests" / "physics" / "published_emission.csv"
LEAST_SHARE, LEAST_ENERGY_KEV, DRAWN = 0.01, 0.2, 40
HEADER = """\
# Emission cross-sections (cm2 per atom) as published in {wheels} (MIT licence), computed there
# with emtables (A. Teurtrie). A random sample, built by scripts/build_published_sample.py.
wheel,beam_energy_kev,Z,line,cm2
"""


def strong_lines(table: dict[str, dict[str, dict[str, float]]]) -> list[tuple[int, str, float]]:
    """Atomic number, IUPAC name and cross-section of every line that counts."""
    found = []
    for number, lines in table.items():
        family: dict[str, float] = {}
        for name, values in lines.items():
            family[name[0]] = family.get(name[0], 0.0) + values["cs"]
        found += [
            (int(number), name, values["cs"])
            for name, values in lines.items()
            if values["cs"] > LEAST_SHARE * family[name[0]] and values["energy"] > LEAST_ENERGY_KEV
        ]
    return found


def main(arguments: list[str]) -> None:
    """Write the sample."""
    if len(arguments) != len(TABLES):
        raise SystemExit(__doc__)
    draw, rows, names = random.Random(0), [], []
    for path, (source, tables) in zip(map(Path, arguments), TABLES.items(), strict=True):
        names.append("-".join(path.name.split("-")[:2]))
        with zipfile.ZipFile(path) as wheel:
            for energy, name in tables.items():
                lines = strong_lines(json.loads(wheel.read(name))["table"])
                rows += [
                    f"{source},{energy},{z},{n},{cs:.6e}" for z, n, cs in sorted(draw.sample(lines, DRAWN))
                ]
    TARGET.write_text(HEADER.format(wheels=" and ".join(names)) + "\n".join(rows) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
