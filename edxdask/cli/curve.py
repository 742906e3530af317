"""A detector's efficiency from a file."""

from __future__ import annotations

import csv
from itertools import pairwise
from pathlib import Path

from edxdask.errors import MissingStoreError, ParameterError

EFFICIENCY_HELP = "CSV of energy (keV) and fraction of photons that the detector counts; default: windowless."


def read_curve(path: str) -> tuple[list[float], list[float]]:
    """Energies and efficiencies, one pair per line; headings and comments are skipped."""
    if not Path(path).is_file():
        raise MissingStoreError(f"{path}: there is no such file")
    pairs: list[tuple[float, float]] = []
    text = Path(path).read_text(encoding="utf-8", errors="replace").replace("\0", "")
    for number, row in enumerate(csv.reader(text.splitlines()), start=1):
        cells = [cell.strip() for cell in row if cell.strip()]
        if not cells or cells[0].startswith("#"):
            continue
        try:
            energy, fraction = map(float, cells)
        except ValueError:
            if number == 1:
                continue  # a heading
            raise ParameterError(
                f"{path}, line {number}", ",".join(row), "an energy in keV and a fraction: 1.74,0.95"
            ) from None
        pairs.append((energy, fraction))
    rising = all(first[0] < second[0] for first, second in pairwise(pairs))
    if len(pairs) < 2 or not rising or not all(0 <= fraction <= 1 for _, fraction in pairs):
        raise ParameterError(
            "--efficiency", path, "two lines or more: rising energies in keV, fractions from 0 to 1"
        )
    return [energy for energy, _ in pairs], [fraction for _, fraction in pairs]
