"""What ``info`` says of a tilt series: its tilts and how many photons each has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from edxdask import schema
from edxdask.readable import si
from edxdask.results.tilts import tilts_text
from edxdask.tomo.sight import DARK

FEWEST_MAPS = 3  # of one tilt each, all different: two may be any pair of maps
SHOWN = 8


def tilts_of_cube(tilt_deg: Sequence[float], photons: np.ndarray | None) -> dict[str, Any]:
    """Describe the tilts of a cube of all of them, ready for JSON.

    Examples
    --------
    >>> tilts_of_cube([-10.0, 0.0, 10.0], np.array([90, 100, 0]))["photons"]
    [90, 100, 0]
    """
    angles = [float(tilt) for tilt in tilt_deg]
    known = {} if photons is None else {"photons": np.asarray(photons).astype(int).tolist()}
    return {"tilt_deg": angles, **known}


def tilts_of_maps(maps: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Describe a collection of maps of one tilt each, by tilt; None if it is no such collection."""
    tilts = [each["attributes"].get(schema.TILT_ALPHA) for each in maps]
    if len(maps) < FEWEST_MAPS or None in tilts or len(set(tilts)) < len(tilts):
        return None
    order = np.argsort(tilts)
    found = tilts_of_cube([tilts[i] for i in order], None) | {"names": [maps[i]["name"] for i in order]}
    if all("photons" in each for each in maps):
        found["photons"] = [int(maps[i]["photons"]) for i in order]
    return found


def tilt_lines(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Rows of text, name and value: the tilts, the photons per tilt, and tilts that have nearly none."""
    angles = np.array(found["tilt_deg"])
    rows = [("tilts", tilts_text(angles))]
    photons = np.array(found.get("photons", []))
    if photons.size:
        least, most = si(int(photons.min())).strip(), si(int(photons.max())).strip()
        rows.append(("per tilt", f"{least} to {most} photons"))
        dark = angles[photons <= DARK * photons.mean()]
        if dark.size:
            more = f" and {dark.size - SHOWN} more" if dark.size > SHOWN else ""
            named = ", ".join(f"{tilt:.4g}°" for tilt in dark[:SHOWN])
            rows.append(("dark", f"nearly no photons at {named}{more}"))
    return rows


def tilt_rows(found: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Head and rows of a table of the maps of a series, by tilt."""
    photons = found.get("photons") or [None] * len(found["tilt_deg"])
    rows = [
        [name, f"{tilt:.4g}°", "" if count is None else si(count).strip()]
        for name, tilt, count in zip(found["names"], found["tilt_deg"], photons, strict=True)
    ]
    return ["map", "tilt", "photons"], rows
