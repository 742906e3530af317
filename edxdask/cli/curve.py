"""A detector's efficiency from a file, for the maps that a verb works on."""

from __future__ import annotations

import csv
from itertools import pairwise
from pathlib import Path
from typing import Any

from edxdask import schema
from edxdask.errors import MissingStoreError, ParameterError

EFFICIENCY_HELP = "CSV of energy (keV) and fraction of photons that the detector counts; default: windowless."


def with_efficiency(data: Any, path: str | None) -> Any:
    """Give every map the efficiency that a file lists, if there is a file."""
    from edxdask.results.collections import is_collection

    if path is None:
        return data
    energy, fraction = read_curve(path)
    known = {schema.EFFICIENCY_ENERGY: energy, schema.EFFICIENCY: fraction}
    if is_collection(data):
        return data.map_over_datasets(lambda one: one.assign_attrs(known) if one.variables else one)
    return data.assign_attrs(known)


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
