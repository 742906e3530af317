"""The Python lines that make what a page shows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edxdask import schema
from edxdask.ops.maps import weighted_windows
from edxdask.view.layers import LayerKind, ShownLayer, windows_of
from edxdask.view.regions import MarkedRegion
from edxdask.view.scene import Scene


def code_of(
    scene: Scene, layers: Sequence[ShownLayer], region: MarkedRegion | None, elements: Sequence[str]
) -> str:
    """Write the lines for what is shown, to copy into a notebook.

    Parameters
    ----------
    scene : the map
    layers : that are shown
    region : that is marked
    elements : that are quantified
    """
    lines = ["import edxdask", *scene.opening]
    lines += _of_plane(scene)
    lines += [line for layer in layers for line in _of_layer(scene, layer)]
    if scene.cube is None:
        return "\n".join(lines)
    if region is None:
        lines += ["spectrum = ds.edx.sum_spectrum().compute()"]
        of = "ds"
    else:
        lines += [f"region = {region.code}", "spectrum = ds.edx.sum_spectrum(mask=region).compute()"]
        of = "ds, per=region"
    if elements:
        lines.append(f"composition = edxdask.quantify({of}, elements={list(elements)!r})")
    return "\n".join(lines)


def _of_plane(scene: Scene) -> list[str]:
    """Pick the image of a series."""
    if scene.cube is None:
        return []
    lead = [dim for dim in schema.pixel_dims(scene.cube) if dim not in (schema.Y, schema.X)]
    at = np.unravel_index(scene.plane, [scene.cube.sizes[dim] for dim in lead]) if lead else ()
    where = ", ".join(f"{dim}={number}" for dim, number in zip(lead, at, strict=True))
    return [f"ds = ds.isel({where})"] if where else []


def _of_layer(scene: Scene, layer: ShownLayer) -> list[str]:
    if layer.kind is LayerKind.TOTAL and scene.cube is None:
        return [f"image = result[{schema.TOTAL!r}].compute()"]
    if layer.kind is LayerKind.TOTAL:
        return ["image = ds.edx.total_map().compute()"]
    if layer.kind is LayerKind.LINE:
        return [f"image = ds.edx.line_map({layer.name!r}).compute()"]
    if layer.kind is LayerKind.WINDOW:
        low, high = layer.name.split("-")
        return [f"image = ds.edx.window_map({low}, {high}).compute()"]
    if layer.kind is LayerKind.IMAGE:
        of = "ds" if scene.cube is not None and layer.name in scene.cube else "result"
        return [f"image = {of}[{layer.name!r}].compute()"]
    if layer.kind is LayerKind.PHASE:
        return [f"image = result[{schema.ABUNDANCE!r}].sel({schema.PHASE}={layer.name!r}).compute()"]
    assert scene.result is not None
    windows = weighted_windows(scene.result, windows_of(layer, scene.result))
    summed = f"weight * expected.isel({schema.ENERGY}=slice(a, b)).sum({schema.ENERGY!r})"
    return [
        f"expected = edxdask.reconstruct(result)[{schema.EXPECTED!r}]",
        f"windows = {[(a, b, round(weight, 6)) for a, b, weight in windows]}  # {layer.name}",
        f"image = sum({summed} for a, b, weight in windows).compute()",
    ]
