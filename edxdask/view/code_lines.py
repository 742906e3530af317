"""The Python lines that make what a page shows."""

from __future__ import annotations

from collections.abc import Sequence

from edxdask import schema
from edxdask.view.layers import LayerKind, ShownLayer
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
    if scene.cube is not None and scene.plane:
        lead = [d for d in schema.pixel_dims(scene.cube) if d not in (schema.Y, schema.X)]
        lines.append(
            f"ds = ds.isel({lead[-1]}={scene.plane})" if len(lead) == 1 else f"# image {scene.plane}"
        )
    lines += [line for layer in layers for line in _of_layer(layer)]
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


def _of_layer(layer: ShownLayer) -> list[str]:
    if layer.kind is LayerKind.TOTAL:
        return ["image = ds.edx.total_map().compute()"]
    if layer.kind is LayerKind.LINE:
        return [f"image = ds.edx.line_map({layer.name!r}).compute()"]
    if layer.kind is LayerKind.WINDOW:
        low, high = layer.name.split("-")
        return [f"image = ds.edx.window_map({low}, {high}).compute()"]
    if layer.kind is LayerKind.IMAGE:
        return [f"image = ds[{layer.name!r}].compute()"]
    if layer.kind is LayerKind.PHASE:
        return [f"image = result[{schema.ABUNDANCE!r}].sel({schema.PHASE}={layer.name!r}).compute()"]
    return [f"image = edxdask.reconstruct(result).edx.line_map({layer.name!r}).compute()"]
