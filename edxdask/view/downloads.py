"""Files of what a page shows, made here and handed to the browser."""

from __future__ import annotations

import base64
import csv
import io
import json
from collections.abc import Callable, Sequence

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from edxdask import schema
from edxdask.errors import ParameterError
from edxdask.physics.detector import fwhm_kev
from edxdask.report.labels import pretty_line
from edxdask.report.lines import label_lines
from edxdask.report.maps import map_figure
from edxdask.report.spectra import spectra_figure
from edxdask.report.style import COUNTS_COLORS
from edxdask.view.answers import HEADS
from edxdask.view.layers import LayerKind, ShownLayer
from edxdask.view.regions import MarkedRegion
from edxdask.view.scene import Scene
from edxdask.view.viewport import Viewport

# label of the choice: what is written
CHOICES = (
    ("Map as PNG", "map.png"),
    ("Map as SVG", "map.svg"),
    ("Map as CSV", "map.csv"),
    ("Spectrum as PNG", "spectrum.png"),
    ("Spectrum as SVG", "spectrum.svg"),
    ("Spectrum as CSV", "spectrum.csv"),
    ("Amounts as CSV", "amounts.csv"),
    ("Region as mask (PNG)", "mask.png"),
)
# Bokeh offers no download of what Python made: this hands a file to the browser.
GIVE_FILE = """
const {name, data} = JSON.parse(cb_obj.value);
const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
const link = document.createElement("a");
link.href = URL.createObjectURL(new Blob([bytes]));
link.download = name;
link.click();
setTimeout(() => URL.revokeObjectURL(link.href), 60000);
"""


def message_of(name: str, content: bytes) -> str:
    """Write a file as the text that ``GIVE_FILE`` reads."""
    return json.dumps({"name": name, "data": base64.b64encode(content).decode()})


def map_array(scene: Scene, layer: ShownLayer, view: Viewport) -> xr.DataArray:
    """Values of a layer in a viewport, with their axes.

    Raises
    ------
    ParameterError
        If some of it is not made yet.
    """
    values, complete = scene.picture(layer, view)
    if not complete:
        raise ParameterError("export", layer.title, "a map that is complete", "Wait until the index is made.")
    y, x = scene.positions
    coords = {
        dim: (
            dim,
            first[rows[0]] + step * (view.step * np.arange(n) + (view.step - 1) / 2),
            {"units": scene.unit},
        )
        for dim, first, rows, step, n in zip(
            (schema.Y, schema.X), (y, x), (view.rows, view.columns), scene.steps, values.shape, strict=True
        )
    }
    return xr.DataArray(values, coords, (schema.Y, schema.X), layer.title, {"units": layer.unit})


def map_file(scene: Scene, layer: ShownLayer, view: Viewport, suffix: str) -> bytes:
    """Picture or table of a map."""
    array = map_array(scene, layer, view)
    if suffix == "csv":
        corner = f"y\\x ({scene.unit})"
        rows = [
            [f"{y:g}", *(f"{v:.6g}" for v in row)]
            for y, row in zip(array.y.values, array.values, strict=True)
        ]
        return _csv([corner, *(f"{x:g}" for x in array.x.values)], rows)
    colours = {LayerKind.IMAGE: "gray", LayerKind.PHASE: "viridis"}.get(layer.kind, COUNTS_COLORS)
    limits = (0.0, 1.0) if layer.kind is LayerKind.PHASE else None
    return _drawn(
        map_figure(array, title=layer.title, label=layer.unit, colors=colours, limits=limits), suffix
    )


def spectrum_file(scene: Scene, spectrum: np.ndarray, phases: dict[str, np.ndarray], suffix: str) -> bytes:
    """Picture or table of a spectrum, in the table with what is expected of each phase."""
    if suffix == "csv":
        columns = [scene.energy, spectrum, np.sqrt(spectrum), *phases.values()]
        rows = [[f"{values[i]:.6g}" for values in columns] for i in range(scene.energy.size)]
        return _csv(["energy (keV)", "counts", "error", *(f"{name} (expected)" for name in phases)], rows)
    array = xr.DataArray(
        np.asarray(spectrum, dtype=float)[None],
        {"of": ["counts"], schema.ENERGY: scene.energy},
        ("of", schema.ENERGY),
    )
    drawn = spectra_figure(array, log=False)
    axes = drawn.axes[0]
    for name, energy in label_lines(scene.elements, float(scene.energy[0]), float(scene.energy[-1])).items():
        near = np.abs(scene.energy - energy) <= float(fwhm_kev(energy)) / 2
        height = float(array.values[0][near].max(initial=0.0))
        axes.text(energy, height, f" {pretty_line(name)}", rotation=90, ha="center", va="bottom", fontsize=6)
    return _drawn(drawn, suffix)


def amounts_file(rows: Sequence[Sequence[str]]) -> bytes:
    """Table of a composition."""
    if not rows:
        raise ParameterError(
            "export", "no amounts", "a region whose elements are found", "Mark a region first."
        )
    return _csv(HEADS, [[text.replace(",", "") for text in row] for row in rows])


def mask_file(scene: Scene, region: MarkedRegion | None) -> bytes:
    """Black and white picture of a region, as ``edxdask aided --mask`` reads it."""
    import imagecodecs

    if region is None:
        raise ParameterError(
            "export", "no region", "a region to write", "Mark one with the box or the lasso."
        )
    inside = np.zeros(scene.shape, dtype=np.uint8)
    y, x = scene.positions
    for top in range(0, scene.shape[0], 512):  # in strips: the positions of all pixels would take gigabytes
        rows = slice(top, min(top + 512, scene.shape[0]))
        inside[rows] = region.inside(y[rows], x, rows, slice(0, scene.shape[1])) * np.uint8(255)
    return bytes(imagecodecs.png_encode(inside))


def _csv(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(heads)
    writer.writerows(rows)
    return text.getvalue().encode("utf-8")


def _drawn(figure: Figure, suffix: str) -> bytes:
    picture = io.BytesIO()
    figure.savefig(picture, format=suffix, dpi=250, facecolor="white")
    return picture.getvalue()


Maker = Callable[[], bytes]
