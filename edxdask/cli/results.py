"""Results of factorizations at the command line: what they hold, and what of them goes into a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from edxdask import schema
from edxdask.cli.output import si
from edxdask.errors import ParameterError

MAPS = {schema.ABUNDANCE: schema.PHASE, schema.SCORE: schema.COMPONENT}
SPECTRA = {schema.SPECTRUM: schema.PHASE, schema.LOADING: schema.COMPONENT}


def holds_counts(data: xr.Dataset | xr.DataTree) -> bool:
    """Whether this is a cube or a collection of cubes."""
    nodes = [data] if isinstance(data, xr.Dataset) else [data, *data.children.values()]
    return any(schema.COUNTS in node for node in nodes)


def described(path: Path, data: xr.Dataset | xr.DataTree, shown: tuple[str, ...]) -> dict[str, Any]:
    """Describe a result, ready for JSON; reads its maps, which are small."""
    root = data if isinstance(data, xr.Dataset) else data.to_dataset()
    nodes = {"": root} if isinstance(data, xr.Dataset) else {n: c.to_dataset() for n, c in data.items()}
    found: dict[str, Any] = {"path": str(path), "kind": "result"}
    if schema.LOADING in root:
        found |= {"method": "principal components", "components": _variances(root)}
    elif schema.SPECTRUM in root:
        found |= {"method": "factorization", "phases": _shares(root, list(nodes.values()))}
    if schema.ENERGY in root.coords:
        offset, scale = schema.energy_axis(root)
        found |= {
            "channels": root.sizes[schema.ENERGY],
            "energy_offset_kev": offset,
            "energy_scale_kev": scale,
        }
    if schema.OBJECTIVE in root:
        objective = float(root[schema.OBJECTIVE][-1])
        found |= {"iterations": int(root[schema.ITERATION][-1]) + 1, "objective": objective}
    keys = (*shown, schema.BIN, schema.SMOOTH, schema.WEIGHTING)
    maps = [
        {"name": name, "pixels": _pixels(ds), "variables": list(ds.data_vars)} for name, ds in nodes.items()
    ]
    return found | {"maps": maps, "attributes": {k: root.attrs[k] for k in keys if k in root.attrs}}


def _pixels(ds: xr.Dataset) -> dict[str, Any]:
    pixels: dict[str, Any] = {}
    for dim in (schema.TILT, schema.FRAME, schema.Y, schema.X):
        if dim not in ds.sizes:
            continue
        size = ds.sizes[dim]
        step = float(ds[dim][-1] - ds[dim][0]) / (size - 1) if size > 1 else None
        pixels[dim] = {"size": size, "step": step, "unit": ds[dim].attrs.get("units", "1")}
    return pixels


def _shares(root: xr.Dataset, nodes: list[xr.Dataset]) -> dict[str, float | None]:
    """Share of all photons that each phase has; None where the maps are not there to tell."""
    labels = [str(label) for label in root[schema.PHASE].values]
    maps = [ds for ds in nodes if schema.ABUNDANCE in ds and schema.TOTAL in ds]
    if not maps:
        return dict.fromkeys(labels)
    photons = np.sum(
        [(ds[schema.ABUNDANCE] * ds[schema.TOTAL]).sum(schema.pixel_dims(ds[schema.TOTAL])) for ds in maps],
        axis=0,
    )
    return dict(zip(labels, (photons / photons.sum()).tolist(), strict=True))


def _variances(root: xr.Dataset) -> dict[str, float | None]:
    labels = [str(label) for label in root[schema.COMPONENT].values]
    if schema.EXPLAINED_VARIANCE_RATIO not in root:
        return dict.fromkeys(labels)
    return dict(zip(labels, root[schema.EXPLAINED_VARIANCE_RATIO].values.tolist(), strict=False))


def rows(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Rows of the table of a result, but for its maps and attributes."""
    table = [("kind", f"result, {found['method']}" if "method" in found else "result")]
    for key, of in (("phases", "of the photons"), ("components", "of the variance")):
        for label, share in found.get(key, {}).items():
            table.append((label, "" if share is None else f"{100 * share:.2f} % {of}"))
    if "channels" in found:
        low, step = found["energy_offset_kev"], found["energy_scale_kev"]
        high = low + (found["channels"] - 1) * step
        table.append(
            ("energy", f"{low:.4g} to {high:.4g} keV, {found['channels']} channels of {1e3 * step:.4g} eV")
        )
    if "iterations" in found:
        table.append(("iterations", f"{found['iterations']}, objective {si(found['objective']).strip()}"))
    for key in (schema.BIN, schema.SMOOTH, schema.WEIGHTING):
        if key in found["attributes"]:
            table.append((key, str(found["attributes"][key])))
    return table


def parts(ds: xr.Dataset, target: Path, *, spectra: bool) -> list[tuple[xr.DataArray, Path]]:
    """Return what of a result goes into which file: one, or for .msa, which holds one spectrum, one each."""
    suffix = target.suffix.lower()
    if not spectra and suffix not in (".msa", ".emsa", ".csv"):
        return [(_first(ds, MAPS), target)]
    stack = _first(ds, SPECTRA).assign_attrs({k: ds.attrs[k] for k in schema.ATTRIBUTES if k in ds.attrs})
    if suffix not in (".msa", ".emsa"):
        return [(stack, target)]
    dim = str(stack.dims[0])
    return [
        (one.rename(str(one[dim].item())), target.with_stem(f"{target.stem}_{one[dim].item()}"))
        for one in (stack.isel({dim: i}) for i in range(stack.sizes[dim]))
    ]


def _first(ds: xr.Dataset, names: Mapping[str, str]) -> xr.DataArray:
    for name, dim in names.items():
        if name in ds:
            array = ds[name].transpose(dim, ...).compute()
            # scores are counts of either sign: drawn as counts, all below zero would be black
            return array.assign_attrs(units="1") if name == schema.SCORE else array
    have = ", ".join(map(str, ds.data_vars)) or "nothing"
    raise ParameterError("STORE", have, f"a cube, or a result that holds {' or '.join(names)}")
