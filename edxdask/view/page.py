"""The page of one map in one browser: its controls, its panes, and what happens when they are used."""

from __future__ import annotations

import base64
import html
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from bokeh.document import Document
from bokeh.layouts import column, row
from bokeh.models import TextInput

from edxdask.errors import EdxdaskError, ParameterError
from edxdask.physics.lines import checked_elements, parse_line
from edxdask.unmix.masks_user import user_mask
from edxdask.view import downloads
from edxdask.view.answers import HEADS, RegionAnswer, composition_of, table_html
from edxdask.view.code_lines import code_of
from edxdask.view.errands import Errands
from edxdask.view.layers import LayerKind, ShownLayer, asked_layer, layer_of, lines_near
from edxdask.view.map_pane import MapPane, blend_colours
from edxdask.view.regions import MarkedRegion, from_mask, polygon, rectangle
from edxdask.view.scene import Scene
from edxdask.view.spectrum_pane import ALL_PHASES, SpectrumPane, phase_colours
from edxdask.view.widgets import NONE, Controls, styled, swatches_html

_MOST_LINES = 15  # that a click on a peak offers


class MapPage:
    """Panes and controls of one map, for one browser.

    Parameters
    ----------
    scene : the map
    document : of the browser
    download : what hands files to it
    """

    def __init__(self, scene: Scene, document: Document, download: TextInput) -> None:
        self.scene, self._download = scene, download
        self.controls = Controls(scene)
        self.errands = Errands(document, self.controls.say)
        self.elements = list(scene.elements)
        self.spectrum = SpectrumPane(scene, self.elements, self._choose_peak)
        self.first = MapPane(scene, self.errands, "map")
        self.second = MapPane(scene, self.errands, "map_beside", beside=self.first)
        self._beside = column(self.second.figure, self.second.limits, visible=False)
        self._region: MarkedRegion | None = None
        self._counts = np.zeros(scene.energy.size)
        self._phases: dict[str, np.ndarray] = {}
        self._answer = RegionAnswer((), "")
        self._listen()
        self.first.show(scene.layers[0])
        self._take_region(None)
        if scene.cube is not None and scene.result is not None:
            self.controls.phases.active = [0]

    @property
    def maps(self) -> list[Any]:
        """What stands on the left."""
        c = self.controls
        first = column(self.first.figure, self.first.limits)
        return [row(c.show, c.line, c.beside), row(first, self._beside), c.blend, c.legend]

    @property
    def spectra(self) -> list[Any]:
        """What stands on the right."""
        c = self.controls
        return [
            row(c.scale, c.peak, c.phases),
            *self.spectrum.figures.values(),
            c.message,
            c.region,
            row(c.elements, c.clear, c.save),
            c.amounts,
            c.mask,
            styled("<h2>The same in Python</h2>"),
            c.code,
            c.copy,
        ]

    def _listen(self) -> None:
        c = self.controls
        c.show.on_change("value", lambda attr, old, new: self._show(layer_of(new)))
        c.beside.on_change("value", lambda attr, old, new: self._show_beside(new))
        c.blend.on_change("value", lambda attr, old, new: self._blend())
        c.line.on_change("value", lambda attr, old, new: self._ask_line(new))
        c.peak.on_change("value", lambda attr, old, new: self._show_line(new) if new else None)
        c.scale.on_change("active", lambda attr, old, new: self.spectrum.set_log(bool(new)))
        c.phases.on_change("active", lambda attr, old, new: self._draw_spectrum())
        c.elements.on_change("value", lambda attr, old, new: self._take_elements(new))
        c.mask.on_change("value", lambda attr, old, new: self._take_mask(new))
        c.clear.on_click(lambda: self._take_region(None))
        c.save.on_click(lambda event: self._save(event.item))
        for pane in (self.first, self.second):
            pane.on_region(self._take_geometry)

    # Maps.

    def _show(self, layer: ShownLayer) -> None:
        self.controls.say("")
        self.controls.legend.visible = False
        self.first.show(layer)
        energy = parse_line(layer.name).centroid_kev if layer.kind is LayerKind.LINE else None
        self.spectrum.mark(energy)
        self._write_code()

    def _show_beside(self, key: str) -> None:
        self._beside.visible = key != NONE
        if key != NONE:
            self.second.show(layer_of(key))
        self._write_code()

    def _blend(self) -> None:
        layers = self.controls.blended()
        if not layers:
            self._show(layer_of(self.controls.show.value))
            return
        self.controls.legend.text = swatches_html(
            [layer.title for layer in layers], blend_colours(self.scene, layers)
        )
        self.controls.legend.visible = True
        self.first.blend(layers)
        self._write_code()

    def _ask_line(self, text: str) -> None:
        if not text.strip():
            return
        try:
            layer = asked_layer(text, self.scene.energy)
        except EdxdaskError as error:
            self.controls.say(str(error))
            return
        self._offer(layer)

    def _show_line(self, name: str) -> None:
        self._offer(ShownLayer(LayerKind.LINE, name))

    def _offer(self, layer: ShownLayer) -> None:
        """Add a line to the choices, and show it; without counts, as the result expects it."""
        if self.scene.cube is None and layer.kind is LayerKind.LINE:
            layer = ShownLayer(LayerKind.EXPECTED, layer.name)
        self.controls.add_layer(layer)
        if self.scene.result is not None and layer.kind is LayerKind.LINE:
            self.controls.add_layer(ShownLayer(LayerKind.EXPECTED, layer.name))
        if self.controls.show.value == layer.key:
            self._show(layer)
        else:
            self.controls.show.value = layer.key

    def _choose_peak(self, energy: float) -> None:
        """Offer the lines near a click, and show the likeliest."""
        found = lines_near(energy, self.elements)[:_MOST_LINES]
        if not found:
            self.controls.say(f"No line of any element is within a peak's width of {energy:.3f} keV.")
            return
        self.controls.peak.options = [
            (line.name, f"{ShownLayer(LayerKind.LINE, line.name).title}  {line.centroid_kev:.3f} keV")
            for line in found
        ]
        if self.controls.peak.value == found[0].name:
            self._show_line(found[0].name)
        else:
            self.controls.peak.value = found[0].name

    # Regions.

    def _take_geometry(self, event: Any) -> None:
        if not event.final:
            return
        shape = event.geometry
        if shape["type"] == "rect":
            self._take_region(rectangle((shape["y0"], shape["y1"]), (shape["x0"], shape["x1"])))
        elif shape["type"] == "poly" and len(shape["x"]) > 2:
            self._take_region(polygon(list(shape["y"]), list(shape["x"])))

    def _take_mask(self, content: str) -> None:
        name = str(self.controls.mask.filename)
        try:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / f"mask{Path(name).suffix.lower()}"
                path.write_bytes(base64.b64decode(content))
                mask = user_mask(path, self.scene.data, name="mask")
        except EdxdaskError as error:
            self.controls.say(f"{name}: {error}")
            return
        self._take_region(from_mask(mask, name))

    def _take_region(self, region: MarkedRegion | None) -> None:
        """Show the spectrum of a region, or of the whole map, then what it is made of."""
        self._region = region
        self.controls.say("")
        xs, ys = ([], []) if region is None else region.outline()
        for pane in (self.first, self.second):
            pane.outline.data = {"xs": [xs], "ys": [ys]} if xs else {"xs": [], "ys": []}
        scene = self.scene

        def work() -> tuple[np.ndarray, int, np.ndarray | None]:
            if region is None:
                counts, pixels = scene.sum_spectrum(), int(np.prod(scene.shape))
            else:
                counts, pixels = scene.region_spectrum(region)
            return counts, pixels, scene.region_photons(region)[0] if scene.result is not None else None

        self.errands.run("region", work, lambda answer: self._show_region(*answer))
        self._write_code()

    def _show_region(self, counts: np.ndarray, pixels: int, photons: np.ndarray | None) -> None:
        self._counts, self._phases = np.asarray(counts), {}
        if photons is not None and self.scene.spectra.shape[1] == counts.size:
            expected = photons[:, None] * self.scene.spectra
            self._phases = {
                ALL_PHASES: expected.sum(axis=0),
                **dict(zip(self.scene.phases, expected, strict=True)),
            }
        name = "Whole map" if self._region is None else "Marked region"
        total = float(counts.sum())
        kind = "photons" if self.scene.cube is not None else "photons that the result expects"
        text = f"<h2>{name}</h2>{pixels:,} pixels, {total:,.0f} {kind}"
        if photons is not None and photons.sum() > 0:
            shares = (
                f"{label} {100 * n / photons.sum():.1f} %"
                for label, n in zip(self.scene.phases, photons, strict=True)
            )
            text += (
                f"; of these {swatches_html(list(shares), list(phase_colours(self.scene.phases).values()))}"
            )
        self.controls.region.text = text
        self._draw_spectrum()
        self._quantify(pixels)

    def _draw_spectrum(self) -> None:
        laid_over = self._phases if self.controls.phases.active else {}
        self.spectrum.show(self._counts, laid_over)

    def _quantify(self, pixels: int) -> None:
        scene, counts, elements = self.scene, self._counts, tuple(self.elements)
        if scene.cube is None:
            return
        fraction = pixels / max(1, int(np.prod(scene.shape)))
        self.controls.amounts.text = '<p class="faint">finding amounts …</p>'

        def then(answer: RegionAnswer) -> None:
            self._answer = answer
            note = f"<p>{html.escape(answer.note)}</p>" if answer.note else ""
            self.controls.amounts.text = (table_html(HEADS, answer.rows) if answer.rows else "") + note

        self.errands.run("amounts", lambda: composition_of(scene, counts, elements, fraction), then)

    def _take_elements(self, text: str) -> None:
        try:
            self.elements[:] = checked_elements([one for one in text.replace(",", " ").split() if one])
        except EdxdaskError as error:
            self.controls.say(str(error))
            return
        self._take_region(self._region)

    # What can be taken away.

    def _shown_layers(self) -> list[ShownLayer]:
        shown = self.controls.blended() or [layer_of(self.controls.show.value)]
        beside = self.controls.beside.value
        return shown if beside == NONE else [*shown, layer_of(beside)]

    def _write_code(self) -> None:
        self.controls.code.text = code_of(self.scene, self._shown_layers(), self._region, self.elements)

    def _save(self, choice: str) -> None:
        """Make a file and hand it to the browser."""
        scene, region, counts, phases = self.scene, self._region, self._counts, self._phases
        layer, view, rows = layer_of(self.controls.show.value), self.first.in_view(), self._answer.rows
        what, suffix = choice.split(".")

        def work() -> bytes:
            if what == "map":
                return downloads.map_file(scene, layer, view, suffix)
            if what == "spectrum":
                return downloads.spectrum_file(scene, counts, phases, suffix)
            if what == "amounts":
                return downloads.amounts_file(rows)
            if what == "mask":
                return downloads.mask_file(scene, region)
            raise ParameterError("save", choice, "one of the choices")

        def then(content: bytes) -> None:
            self._download.value = downloads.message_of(choice, content)

        self.errands.run("save", work, then)

    def refresh(self) -> bool:
        """Show what has been indexed since; whether all is there."""
        for pane in (self.first, self.second):
            pane.again()
        return self.first.complete and (self.second.layer is None or self.second.complete)

    def close(self, *, wait: bool = False) -> None:
        """Drop what is not begun yet, and wait for what is, if asked to."""
        self.errands.close(wait=wait)
