"""What a reconstruction found, in a few figures: plain values for programs, tables of text for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from edxdask import schema
from edxdask.readable import plural, si
from edxdask.report.summary import Table
from edxdask.results.volumes import VOXELS, check_volume, is_fraction

NAMED = 8  # tilts that a line names


def volume_figures(volume: xr.Dataset, *, filled: bool = True) -> dict[str, Any]:
    """Give what phases fill, how the fit went and which tilts do not fit, ready for JSON.

    Reads the volume once, chunk by chunk; without ``filled``, reads none of it and says less.

    Examples
    --------
    >>> from edxdask.results.volumes import make_volume
    >>> made = make_volume(np.full((1, 2, 3, 4), 0.5, "f4"), phases=["core"], coords={}, entry="made")
    >>> volume_figures(made)["phases"]["core"]["fraction"]
    0.5
    """
    check_volume(volume)
    labels = [str(label) for label in volume[schema.PHASE].values]
    phases: dict[str, dict[str, float]] = {label: {} for label in labels}
    side = _side(volume)
    if filled:
        _add_filled(phases, volume, side)
    if schema.PHOTONS_PER_VOXEL in volume:
        for label, photons in zip(labels, volume[schema.PHOTONS_PER_VOXEL].values, strict=True):
            phases[label][schema.PHOTONS_PER_VOXEL] = float(photons)
    found: dict[str, Any] = {
        "voxels": {dim: volume.sizes[dim] for dim in VOXELS},
        "voxel_nm": side,
        "phases": phases,
        **{name: volume.attrs[name] for name in OF_THE_FIT if name in volume.attrs},
    }
    if schema.OBJECTIVE in volume:
        found |= {"passes": volume.sizes[schema.ITERATION], "objective": float(volume[schema.OBJECTIVE][-1])}
    return found | _tilts(volume)


OF_THE_FIT = (
    schema.VOLUME_KIND,
    schema.VOLUME_PRIOR,
    schema.VOLUME_STRENGTH,
    schema.VOLUME_CONVERGED,
    schema.WARNINGS,
)


def _add_filled(phases: Mapping[str, dict[str, float]], volume: xr.Dataset, side: float | None) -> None:
    """Add what each phase fills; reads the volume."""
    sums = volume[schema.VOLUME].sum(VOXELS, dtype=np.float64).values
    voxels = int(np.prod([volume.sizes[dim] for dim in VOXELS]))
    for one, amount in zip(phases.values(), sums.tolist(), strict=True):
        if not is_fraction(volume):
            one["photons"] = amount
            continue
        one["fraction"] = amount / voxels
        if side is not None:
            one["volume_nm3"] = amount * side**3


def _side(volume: xr.Dataset) -> float | None:
    """Side of a voxel in nm; None without calibration."""
    for dim in VOXELS:
        if dim in volume.coords and volume[dim].attrs.get("units") == schema.COORDINATE_UNITS[dim]:
            values = volume[dim].values
            if values.size > 1:
                return float(values[-1] - values[0]) / (values.size - 1)
    return None


def _tilts(volume: xr.Dataset) -> dict[str, Any]:
    """Tilts, and those that the volume does not explain, with the reason."""
    if schema.TILT not in volume.coords:
        return {}
    tilts = volume[schema.TILT].values.astype(float)
    found: dict[str, Any] = {"tilts": tilts.tolist()}
    for name in (schema.TILT_CHI2, schema.TILT_PHOTONS):
        if name in volume:
            found[name] = volume[name].values.astype(float).tolist()
    if schema.TILT_FITS in volume:
        misfits = np.flatnonzero(~volume[schema.TILT_FITS].values.astype(bool))
        reasons = [""] * tilts.size
        if schema.TILT_REASON in volume:
            reasons = [str(text) for text in volume[schema.TILT_REASON].values]
        found["do_not_fit"] = [{"tilt_deg": float(tilts[i]), "reason": reasons[i]} for i in misfits]
    return found


def volume_table(figures: Mapping[str, Any]) -> Table:
    """Headings and cells: phases side by side, largest first; what each fills, and photons of its voxels.

    Examples
    --------
    >>> one = {"fraction": 0.1, "volume_nm3": 8.0, "photons_per_voxel": 0.25}
    >>> volume_table({"phases": {"core": one, "shell": one | {"fraction": 0.2}}})[1][0]
    ('of the box', '20.00 %', '10.00 %')
    """
    phases = figures["phases"]
    kinds = (
        ("fraction", "of the box", lambda v: f"{100 * v:.2f} %"),
        ("photons", "photons", lambda v: si(v).strip()),
        ("volume_nm3", "volume, nm³", lambda v: f"{v:.4g}"),
        (schema.PHOTONS_PER_VOXEL, "photons per voxel", lambda v: f"{v:.4g}"),
    )
    labels = sorted(phases, key=lambda label: -phases[label].get("fraction", phases[label].get("photons", 0)))
    cells = [
        (name, *(write(phases[label][key]) for label in labels))
        for key, name, write in kinds
        if all(key in phases[label] for label in labels)
    ]
    return ["", *labels], cells


def volume_lines(figures: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Rows of text, name and value, of how a volume was found."""
    z, y, x = figures["voxels"].values()
    side = "" if figures["voxel_nm"] is None else f", {figures['voxel_nm']:.4g} nm each"
    rows = [("voxels", f"{z} × {y} × {x} (z, y, x){side}")]
    if "tilts" in figures:
        tilts = figures["tilts"]
        rows.append(("tilts", f"{len(tilts)}, {min(tilts):g}° to {max(tilts):g}°"))
    prior, strength = figures.get(schema.VOLUME_PRIOR), figures.get(schema.VOLUME_STRENGTH)
    if prior is not None and strength is not None:
        rows.append(("prior", f"{prior}, strength {strength:.3g}" if prior != "none" else "none"))
    if "passes" in figures:
        done = figures["passes"]
        ended = "converged" if figures.get(schema.VOLUME_CONVERGED) else "not converged"
        rows.append(("passes", f"{done} {plural('pass', done)}, {ended}"))
    if schema.TILT_CHI2 in figures:
        chi2 = figures[schema.TILT_CHI2]
        rows.append(("fit", f"reduced chi-squared per tilt {min(chi2):.2f} to {max(chi2):.2f}"))
    if "do_not_fit" in figures:
        bad = figures["do_not_fit"]
        rows.append(("do not fit", _named(bad) if bad else "none: the volume explains every tilt"))
    return rows


def _named(bad: list[dict[str, Any]]) -> str:
    texts = [
        f"{one['tilt_deg']:g}°" + (f" ({one['reason']})" if one["reason"] else "") for one in bad[:NAMED]
    ]
    more = f" and {len(bad) - NAMED} more" if len(bad) > NAMED else ""
    return ", ".join(texts) + more
