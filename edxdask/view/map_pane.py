"""One map on the page: picture, axes, scale bar, colour bar and marked region; it follows pan and zoom."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from typing import Any

import numpy as np
from bokeh.events import SelectionGeometry
from bokeh.models import (
    BoxSelectTool,
    BoxZoomTool,
    ColorBar,
    ColumnDataSource,
    HoverTool,
    LassoSelectTool,
    LinearColorMapper,
    Metric,
    PanTool,
    PlainText,
    Range1d,
    RangeSlider,
    ResetTool,
    ScaleBar,
    Title,
    WheelZoomTool,
)
from bokeh.palettes import Greys256, Magma256, Viridis256
from bokeh.plotting import figure

from edxdask.report.maps import color_limits
from edxdask.view.errands import Errands
from edxdask.view.layers import LayerKind, ShownLayer
from edxdask.view.scene import Scene
from edxdask.view.viewport import Viewport, viewport_of

FRAME = (560, 460)  # px of the screen, width and height of a map without its axes
_PALETTES = {LayerKind.IMAGE: Greys256, LayerKind.PHASE: Viridis256}
_INK, _DARK = "#1c2733", "#10141a"
_OUTLINE = "#56e0ff"
# The hues that phases have in spectra, as bright as black asks for.
BLEND_COLOURS = ("#ff7a1a", "#00b584", "#e07ab8", "#e6b422", "#56b4e9", "#9a86f0", "#ff5a66")


class MapPane:
    """A map that shows one layer of a scene.

    Parameters
    ----------
    scene : what is shown
    errands : does the work
    name : of the pane, to find it in the page
    beside : MapPane, optional
        Another one that this follows in pan and zoom.
    """

    def __init__(self, scene: Scene, errands: Errands, name: str, *, beside: MapPane | None = None) -> None:
        self._scene, self._errands, self._name = scene, errands, name
        self.layer: ShownLayer | None = None
        self._shown: Viewport | None = None
        self.complete = False
        self.source = ColumnDataSource({"image": [], "x": [], "y": [], "dw": [], "dh": []})
        self._whole = ColumnDataSource({"image": [], "x": [], "y": [], "dw": [], "dh": []})
        self._colours = ColumnDataSource({"image": [], "x": [], "y": [], "dw": [], "dh": []})
        self._blended: tuple[ShownLayer, ...] = ()
        self.outline = ColumnDataSource({"xs": [], "ys": []})
        self.mapper = LinearColorMapper(palette=Magma256, low=0.0, high=1.0, nan_color="#3a4450")
        self.limits = RangeSlider(
            start=0.0, end=1.0, value=(0.0, 1.0), step=0.01, title="Colours from and to", width=FRAME[0]
        )
        self.limits.js_link("value", self.mapper, "low", attr_selector=0)
        self.limits.js_link("value", self.mapper, "high", attr_selector=1)
        ranges = _ranges(scene) if beside is None else (beside.figure.x_range, beside.figure.y_range)
        self.figure: Any = self._made_figure(*ranges)
        self._bar = ColorBar(
            color_mapper=self.mapper,
            width=12,
            title=PlainText(text="counts per pixel"),
            title_text_font_size="12px",
            title_text_font_style="normal",
            major_label_text_font_size="12px",
        )
        self.figure.add_layout(self._bar, "right")

    def _made_figure(self, x_range: Range1d, y_range: Range1d) -> Any:
        lasso, box = LassoSelectTool(continuous=False), BoxSelectTool(continuous=False)
        tools = [PanTool(), WheelZoomTool(), BoxZoomTool(match_aspect=True), box, lasso, ResetTool()]
        made = figure(
            name=self._name,
            frame_width=FRAME[0],
            frame_height=FRAME[1],
            x_range=x_range,
            y_range=y_range,
            tools=tools,
            active_scroll=tools[1],
            background_fill_color=_DARK,
            toolbar_location="above",
            output_backend="canvas",
        )
        made.title = Title(text=PlainText(text=self._name), text_font_size="15px", text_color=_INK)
        made.toolbar.logo = None
        made.grid.visible = False
        for axis, letter in ((made.xaxis, "x"), (made.yaxis, "y")):
            axis.axis_label = PlainText(text=f"{letter} ({self._scene.unit})")
            axis.axis_label_text_font_size = axis.major_label_text_font_size = "12px"
            axis.axis_label_text_font_style = "normal"
        self._value_glyphs = [
            made.image(source=source, color_mapper=self.mapper, level="image")
            for source in (self._whole, self.source)
        ]
        self._blend_glyph = made.image_rgba(source=self._colours, level="image")
        self._blend_glyph.visible = False
        made.patches(source=self.outline, fill_alpha=0.0, line_color=_OUTLINE, line_width=2)
        unit = self._scene.unit
        made.add_tools(
            HoverTool(
                renderers=self._value_glyphs[1:],
                tooltips=[("value", "@image{0.000}"), (f"x ({unit})", "$x{0.0}"), (f"y ({unit})", "$y{0.0}")],
            )
        )
        if unit == "nm":
            bar = ScaleBar(
                range=made.x_range, unit="nm", dimensional=Metric(base_unit="m"), location="bottom_left",
                background_fill_alpha=0.55, background_fill_color="black", label_text_color="white",
                bar_line_color="white", border_line_color=None, label_text_font_size="12px", bar_line_width=3,
            )  # fmt: skip
            made.add_layout(bar)
        for end in ("start", "end"):
            made.x_range.on_change(end, lambda attr, old, new: self.refresh())
            made.y_range.on_change(end, lambda attr, old, new: self.refresh())
        return made

    def blend(self, layers: Sequence[ShownLayer]) -> None:
        """Show several layers at once, each in a colour of its own, added up."""
        scene, names = self._scene, ", ".join(layer.title for layer in layers)
        self.layer, self._blended = None, tuple(layers)
        self.figure.title.text = PlainText(text=names)
        self._set_coloured(True)
        view = _finer(self.in_view(), scene.whole)

        def work() -> tuple[np.ndarray, bool]:
            return blended(scene, layers, view)

        def then(answer: tuple[np.ndarray, bool]) -> None:
            self.complete, self._shown = answer[1], view if answer[1] else None
            self._fill(self._colours, answer[0], view)

        self._errands.run(f"{self._name} blend", work, then)

    def _set_coloured(self, coloured: bool) -> None:
        self._blend_glyph.visible = coloured
        self._bar.visible = self.limits.visible = not coloured
        for glyph in self._value_glyphs:
            glyph.visible = not coloured

    def on_region(self, call: object) -> None:
        """Call when a person marks a region, with the event."""
        self.figure.on_event(SelectionGeometry, call)

    def show(self, layer: ShownLayer) -> None:
        """Show a layer, first the whole map, then what is in view."""
        self.layer, self._shown, self.complete, self._blended = layer, None, False, ()
        self._set_coloured(False)
        self.figure.title.text = PlainText(text=layer.title)
        self._bar.title = PlainText(text=layer.unit)
        self.mapper.palette = _PALETTES.get(layer.kind, Magma256)
        scene = self._scene
        self._errands.run(
            f"{self._name} whole",
            lambda: scene.picture(layer, scene.whole),
            lambda answer: self._show_whole(*answer),
        )

    def _show_whole(self, values: np.ndarray, complete: bool) -> None:
        assert self.layer is not None
        low, high = limits_of(self.layer, values)
        most = max(high, float(np.nanmax(values, initial=high)))
        least = min(low, float(np.nanmin(values, initial=low)))
        self.limits.update(start=least, end=most, step=(most - least) / 200 or 0.01, value=(low, high))
        self.mapper.update(low=low, high=high)
        self._fill(self._whole, values, self._scene.whole)
        self.complete = complete
        self.refresh(again=True)

    def again(self) -> None:
        """Draw once more what was not complete."""
        if not self.complete and self.layer is not None:
            self.show(self.layer)
        elif not self.complete and self._blended:
            self.blend(self._blended)

    def in_view(self) -> Viewport:
        """Give the pixels that the frame shows now, with a margin."""
        y, x = self._scene.positions
        step_y, step_x = self._scene.steps
        ends = []
        for shown, first, step in ((self.figure.y_range, y[0], step_y), (self.figure.x_range, x[0], step_x)):
            low, high = sorted((float(shown.start), float(shown.end)))
            ends.append(((low - first) / step, (high - first) / step))
        return viewport_of(ends[0], ends[1], self._scene.shape)

    def refresh(self, *, again: bool = False) -> None:
        """Draw what is in view at the resolution of the screen, if that is not shown yet."""
        layer, scene = self.layer, self._scene
        view = self.in_view()
        if not again and self._shown is not None and self._shown.covers(_without_margin(view)):
            return
        if layer is None:
            if self._blended:
                self.blend(self._blended)
            return
        if view.step >= scene.whole.step:
            self._shown = None
            self.source.data = {"image": [], "x": [], "y": [], "dw": [], "dh": []}
            return

        def show(answer: tuple[np.ndarray, bool]) -> None:
            self._shown = view if answer[1] else None
            self._fill(self.source, answer[0], view)

        self._errands.run(f"{self._name} part", lambda: scene.picture(layer, view), show)

    def _fill(self, source: ColumnDataSource, values: np.ndarray, view: Viewport) -> None:
        y, x = self._scene.positions
        step_y, step_x = self._scene.steps
        rows, columns = values.shape
        source.data = {
            "image": [values],
            "x": [x[0] + (view.columns[0] - 0.5) * step_x],
            "y": [y[0] + (view.rows[0] - 0.5) * step_y],
            "dw": [columns * view.step * step_x],
            "dh": [rows * view.step * step_y],
        }


def limits_of(layer: ShownLayer, values: np.ndarray) -> tuple[float, float]:
    """Values of the darkest and the brightest colour of a layer."""
    if layer.kind is LayerKind.PHASE:
        return 0.0, 1.0
    if layer.kind is not LayerKind.IMAGE:
        return color_limits(values, counted=True)
    known = values[np.isfinite(values)]
    low, high = np.percentile(known, [0.2, 99.8]) if known.size else (0.0, 1.0)
    return float(low), float(high) if high > low else float(low) + 1.0


def blend_colours(scene: Scene, layers: Sequence[ShownLayer]) -> list[str]:
    """Colour of each layer: of a phase always its own, of others the next that no phase has."""
    own = {
        layer: BLEND_COLOURS[scene.phases.index(layer.name) % len(BLEND_COLOURS)]
        for layer in layers
        if layer.kind is LayerKind.PHASE
    }
    free = cycle([one for one in BLEND_COLOURS if one not in own.values()] or BLEND_COLOURS)
    return [own[layer] if layer in own else next(free) for layer in layers]


def blended(scene: Scene, layers: Sequence[ShownLayer], view: Viewport) -> tuple[np.ndarray, bool]:
    """Add up layers, each in its colour of the palette: (rows, columns) of RGBA; whether all was there."""
    colours, complete = np.zeros((*view.shape, 3)), True
    for layer, colour in zip(layers, cycle(BLEND_COLOURS)):
        _, high = limits_of(layer, scene.picture(layer, scene.whole)[0])
        values, known = scene.picture(layer, view)
        complete &= known
        fraction = np.clip(np.nan_to_num(values) / high, 0.0, 1.0)
        colours += fraction[..., None] * [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    rgba = np.full((*view.shape, 4), 255, dtype=np.uint8)
    rgba[..., :3] = colours / np.maximum(
        colours.max(axis=2, keepdims=True) / 255.0, 1.0
    )  # too bright keeps its hue
    return rgba.view(np.uint32)[..., 0], complete


def _finer(view: Viewport, whole: Viewport) -> Viewport:
    """Give the viewport of what is in view, or of the whole map where that is as fine."""
    return whole if view.step >= whole.step else view


def _without_margin(view: Viewport) -> Viewport:
    """Half of a viewport in each direction: what is surely to be shown."""
    cut = []
    for low, high in (view.rows, view.columns):
        quarter = (high - low) // 6
        cut.append((low + quarter, high - quarter))
    return Viewport(cut[0], cut[1], view.step)


def _ranges(scene: Scene) -> tuple[Range1d, Range1d]:
    """Axes that show the whole map in a frame, with pixels as high as they are wide in nm."""
    y, x = scene.positions
    ends = [
        (float(axis[0]) - step / 2, float(axis[0]) + (axis.size - 0.5) * step)
        for axis, step in zip((y, x), scene.steps, strict=True)
    ]
    (top, bottom), (left, right) = ends
    per_px = max((right - left) / FRAME[0], (bottom - top) / FRAME[1]) * 1.02
    middle_x, middle_y = (left + right) / 2, (top + bottom) / 2
    half_x, half_y = per_px * FRAME[0] / 2, per_px * FRAME[1] / 2
    return (
        Range1d(middle_x - half_x, middle_x + half_x),
        Range1d(middle_y + half_y, middle_y - half_y),
    )
