"""Build ``docs/k_factors.md``: our k-factors compared with the lists of a vendor, and why they differ.

Usage::

    python -m pip download --no-deps pyTEMlib -d wheels
    .venv/bin/python scripts/build_k_factor_table.py wheels/pytemlib-*.whl

The wheel (MIT licence, Copyright (c) 2024 Gerd Duscher) holds two lists exported from Thermo's software, for
200 and 60 keV. A k-factor here turns intensities into masses: C_A/C_B = (k_A/k_B) I_A/I_B, with I the sum
over a family. The text of the page is in ``k_factors_template.md``.
"""

from __future__ import annotations

import json
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import xraylib
from scipy.optimize import least_squares

from edxdask.physics.detector import efficiency
from edxdask.physics.emission import emission
from edxdask.physics.geometry import Detector
from edxdask.physics.ionisation import TABLES
from edxdask.physics.lines import atomic_number, parse_line

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "docs" / "k_factors.md"
TEMPLATE = Path(__file__).with_name("k_factors_template.md")
BEAM_KEV, LOW_BEAM_KEV = 200.0, 60.0
LINES = {"K": "Ka1", "L": "La1", "M": "Ma1"}  # of the list: one value per family, however many lines it has
EDGES = {"Ka1": "K", "La1": "L3", "Lb1": "L2", "Ma1": "M5"}
BROWN_POWELL_K = (
    0.52,
    0.0029,
)  # b = 0.52 + 0.0029 Z, c = 1; D. B. Brown, in: Handbook of Spectroscopy I (1974) 248
KFactors = dict[str, dict[str, float]]


def read_lists(path: Path) -> tuple[KFactors, KFactors]:
    """Read the lists for 200 and for 60 keV, by element and line."""
    with zipfile.ZipFile(path) as wheel:
        high, low = (
            json.loads(wheel.read(f"pyTEMlib/data/k_factors_Thermo_{beam}keV.json")) for beam in (200, 60)
        )
    return tuple(
        {e: {line: float(k) for line, k in lines.items()} for e, lines in table.items() if e}
        for table in (high, low["table"])
    )


def edge_kev(element: str, line: str) -> float:
    """Binding energy of the subshell behind a line of the list."""
    return xraylib.EdgeEnergy(atomic_number(element), getattr(xraylib, f"{EDGES[line]}_SHELL"))


def brown_powell(element: str, beam_kev: float) -> float:
    """Cross-section of the K shell by Brown and Powell, not relativistic, to a factor."""
    edge, (b, slope) = edge_kev(element, "Ka1"), BROWN_POWELL_K
    return (b + slope * atomic_number(element)) * np.log(beam_kev / edge) / (beam_kev * edge)


def yield_per_mass(
    element: str, family: str, table: str, detector: Detector, beam_kev: float = BEAM_KEV
) -> float:
    """Compute counts of a family per mass, to a factor."""
    lines = emission(element, beam_kev, table=table)
    counted = lines.cross_section_cm2 * efficiency(lines.energy_kev, detector=detector)
    inside = np.array([t.iupac[0] == family for t in lines.transitions], dtype=bool)
    return (
        float(counted[inside].sum()) / xraylib.AtomicWeight(atomic_number(element)) if inside.any() else 0.0
    )


def ratios(listed: KFactors, family: str, count: Callable[[str, str], float]) -> dict[str, float]:
    """Our k-factor over the vendor's, both relative to K of silicon."""
    line, ours, theirs = LINES[family], count("Si", "K"), listed["Si"]["Ka1"]
    found = {}
    for element, lines in listed.items():
        counts = count(element, family) if line in lines else 0.0
        if counts > 0:
            found[element] = (ours / counts) / (lines[line] / theirs)
    return found


def like_for_like(element: str, _family: str, detector: Detector) -> float:
    """Compute counts of the K family per mass with the vendor's cross-section and our yields."""
    number = atomic_number(element)
    seen = efficiency(np.array([parse_line(f"{element}_Ka").energy_kev]), detector=detector)[0]
    light = xraylib.FluorYield(number, xraylib.K_SHELL) * seen
    return brown_powell(element, BEAM_KEV) * light / xraylib.AtomicWeight(number)


def beam_energy_spread(high: KFactors, low: KFactors, line: str) -> tuple[int, float]:
    """Test that the two lists differ by ln(E0/Ec)/E0 alone: lines, largest deviation from the mean."""
    values = []
    for element in high:
        if line in high[element] and line in low.get(element, {}):
            edge = edge_kev(element, line)
            expected = np.log(BEAM_KEV / edge) / BEAM_KEV / (np.log(LOW_BEAM_KEV / edge) / LOW_BEAM_KEV)
            values.append(low[element][line] / high[element][line] / expected)
    return len(values), float(np.abs(np.array(values) / np.mean(values) - 1).max())


def implied_detector(listed: KFactors) -> tuple[Detector, float]:
    """Fit the windowless detector that the list implies, given our yields, and the rms deviation."""
    elements = [e for e, lines in listed.items() if "Ka1" in lines]
    energy = np.array([parse_line(f"{e}_Ka").energy_kev for e in elements])
    bare = np.array([like_for_like(e, "K", Detector(curve=((0.0, 100.0), (1.0, 1.0)))) for e in elements])
    implied = np.log([1.0 / listed[e]["Ka1"] for e in elements]) - np.log(bare)

    def detector(values: np.ndarray) -> Detector:
        return Detector(dead_layer_nm=values[1], contact_nm=values[2], active_mm=values[3])

    fit = least_squares(
        lambda v: v[0] + np.log(efficiency(energy, detector=detector(v))) - implied,
        [implied[-20:].mean(), 50.0, 10.0, 0.45],
        bounds=([-np.inf, 0, 0, 0.05], np.inf),
    )
    return detector(fit.x), float(np.sqrt(np.mean(fit.fun**2)))


def spread(found: dict[str, float]) -> str:
    """Median and the range of the middle 80 %."""
    low, middle, high = np.percentile(list(found.values()), [10, 50, 90])
    return f"{middle:.3f} ({low:.2f} to {high:.2f})"


def element_rows(listed: KFactors, columns: dict[str, dict[str, dict[str, float]]]) -> str:
    """One row of a table per element."""
    rows = []
    for element in listed:
        cells = [
            f"{columns[table][family][element]:.2f}" if element in columns[table][family] else ""
            for family in LINES
            for table in TABLES
        ]
        rows.append(f"| {element} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def page(wheel: Path) -> str:
    """Write the page into a string."""
    high, low = read_lists(wheel)
    fitted, rms = implied_detector(high)
    columns = {
        table: {f: ratios(high, f, lambda e, g, t=table: yield_per_mass(e, g, t, Detector())) for f in LINES}
        for table in TABLES
    }
    with_k = {element: lines for element, lines in high.items() if "Ka1" in lines}
    same = ratios(with_k, "K", lambda e, g: like_for_like(e, g, Detector()))
    iron = {t: {e: r / columns[t]["K"]["Fe"] for e, r in columns[t]["K"].items()} for t in TABLES}
    at_60 = {
        (t, f): spread(ratios(low, f, lambda e, g, t=t: yield_per_mass(e, g, t, Detector(), LOW_BEAM_KEV)))
        for t in TABLES
        for f in LINES
    }
    proof = {line: beam_energy_spread(high, low, line) for line in EDGES}
    values = {
        **{f"{t}_{f}": spread(columns[t][f]) for t in TABLES for f in LINES},
        **{f"{t}_iron": spread(iron[t]) for t in TABLES},
        **{f"n_{f}": str(len(columns[TABLES[0]][f])) for f in LINES},
        **{f"{t}_{f}_60": text for (t, f), text in at_60.items()},
        "n_K_60": str(sum("Ka1" in lines for lines in low.values())),
        "same": spread(same),
        "dead": f"{fitted.dead_layer_nm:.0f}",
        "contact": f"{fitted.contact_nm:.0f}",
        "active": f"{fitted.active_mm:.2f}",
        "rms": f"{100 * rms:.0f}",
        "proof": "; ".join(f"{line} {100 * d:.2f} % ({n} elements)" for line, (n, d) in proof.items()),
        "rows": element_rows(high, columns),
    }
    text = TEMPLATE.read_text(encoding="utf-8")
    for name, value in values.items():
        text = text.replace("{{" + name + "}}", value)
    if "{{" in text:
        raise SystemExit(f"{TEMPLATE.name}: a name without a value, {text[text.index('{{') :][:30]}")
    return text


def main(arguments: list[str]) -> None:
    """Write the page."""
    if len(arguments) != 1:
        raise SystemExit(__doc__)
    TARGET.write_text(page(Path(arguments[0])), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
