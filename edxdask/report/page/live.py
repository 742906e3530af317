"""Panels that zoom and answer the pointer, of Bokeh; each replaces a picture where scripts run."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from edxdask import schema
from edxdask.io.export.target import axis_of
from edxdask.optional import require
from edxdask.report.labels import pretty_line
from edxdask.report.maps import extent_of
from edxdask.report.phase_colors import fading, mixed
from edxdask.report.style import FAINT, INK

EXTRA, PURPOSE = "report", "the HTML report"
MOST_SIDE = 256  # pixels per side of an image that answers the pointer; the pictures have all
TOOLS = "pan,box_zoom,wheel_zoom,reset"
ABOVE, BELOW = "/above", "/below"  # parts of a panel of a fit
LEAST_SHOWN = 1e-5  # of the highest peak: the lower end of a logarithmic axis
APART = 0.022  # of the axis, between two names of lines
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_MODEL = re.compile(r'"p(\d+)"')
_SCRIPT = re.compile(r"const docs_json = ('.*?');\s+const render_items = (\[.*?\]);\n", re.DOTALL)


@dataclass(frozen=True, eq=False)
class GraphCurve:
    """A line of a graph.

    Attributes
    ----------
    name, color : in the legend
    energy, values : keV, and intensities
    step : drawn as steps, as counts are
    """

    name: str
    color: str
    energy: np.ndarray
    values: np.ndarray
    step: bool = True


class Panels:
    """All panels of a page: made one by one, put into the page together."""

    def __init__(self) -> None:
        self._plotting = require("bokeh.plotting", extra=EXTRA, purpose=PURPOSE)
        self._models = require("bokeh.models", extra=EXTRA, purpose=PURPOSE)
        self._all: dict[str, Any] = {}
        self._energy_range: Any = None

    def __len__(self) -> int:
        """Count the panels."""
        return len(self._all)

    def embedded(self) -> tuple[dict[str, list[str]], str, str]:
        """Give the elements of the page by panel (a fit has two), and what Bokeh makes the panels from.

        Ids are numbered in their order, so that the same panels are the same text.
        """
        embed = require("bokeh.embed", extra=EXTRA, purpose=PURPOSE)
        script, divs = embed.components(self._all, wrap_script=False)
        found = _SCRIPT.search(script)
        if found is None:
            raise RuntimeError("Bokeh's script has another form than this version of edxdask knows")
        texts = [*divs.values(), found[2], found[1]]
        whole = "\0".join(texts)
        ids = {old: f"panel-{i}" for i, old in enumerate(dict.fromkeys(_UUID.findall(whole)))}
        models = {old: f'"p{i}"' for i, old in enumerate(dict.fromkeys(_MODEL.findall(whole)))}
        whole = _UUID.sub(lambda one: ids[one[0]], whole)
        whole = _MODEL.sub(lambda one: models[one[1]], whole)
        *elements, items, documents = whole.split("\0")
        of_panels: dict[str, list[str]] = {}
        for name, element in zip(divs, elements, strict=True):
            of_panels.setdefault(name.removesuffix(ABOVE).removesuffix(BELOW), []).append(element)
        return of_panels, documents, items

    def add_phases(self, name: str, abundance: xr.DataArray, colors: Mapping[str, str]) -> dict[str, str]:
        """Add a panel per phase and one of all; they zoom together, and name all fractions at the pointer.

        Returns
        -------
        dict
            Name of the panel by phase; that of all under "".
        """
        small = _reduced(np.asarray(abundance.values, dtype=np.float32))
        height, width = extent_of(abundance[0])
        unit = axis_of(abundance, schema.X).unit
        columns = {f"phase{i}": [one] for i, one in enumerate(small)}
        source = self._models.ColumnDataSource(
            {**columns, "all": [_rgba(mixed(small, list(colors.values())))]}
        )
        ranges = (self._models.Range1d(0, width), self._models.Range1d(height, 0))
        names = {}
        place = f"$x{{0}}, $y{{0}} {unit}"
        tips = [("x, y", place), *((label, f"@phase{i}{{0.000}}") for i, label in enumerate(colors))]
        for i, label in enumerate([*colors, ""] if len(colors) > 1 else colors):
            panel = self._figure(height / width, ranges)
            box = {"x": 0, "y": 0, "dw": width, "dh": height, "source": source}
            if label:
                palette = [_hex(fading(colors[label])(v)) for v in range(256)]
                mapper = self._models.LinearColorMapper(palette=palette, low=0.0, high=1.0)
                image = panel.image(image=f"phase{i}", color_mapper=mapper, **box)
            else:
                image = panel.image_rgba(image="all", **box)
            panel.add_tools(self._models.HoverTool(renderers=[image], tooltips=tips))
            self._add_scale_bar(panel, unit)
            names[label] = f"{name}-{i}"
            self._all[names[label]] = panel
        return names

    def _figure(self, shape: float, ranges: tuple[Any, Any]) -> Any:
        panel = self._plotting.figure(
            x_range=ranges[0], y_range=ranges[1], tools=TOOLS, active_drag="box_zoom",
            sizing_mode="stretch_width", height=300, toolbar_location="above",
            aspect_ratio=1.0 / max(min(shape, 3.0), 0.2),
            background_fill_alpha=0, border_fill_alpha=0, outline_line_alpha=0, min_border=0,
        )  # fmt: skip
        panel.axis.visible = False
        panel.grid.visible = False
        panel.toolbar.logo = None
        return panel

    def _add_scale_bar(self, panel: Any, unit: str) -> None:
        if unit != "nm":
            return
        bar = self._models.ScaleBar(
            range=panel.x_range, unit="nm", location="bottom_left", background_fill_color="white",
            background_fill_alpha=0.75, border_line_alpha=0, label_text_font_size="11px", bar_length=0.25,
            label_text_color="black", bar_line_color="black",
        )  # fmt: skip
        panel.add_layout(bar)

    def add_spectra(
        self, name: str, curves: Sequence[GraphCurve], lines: Mapping[str, float], *, y_label: str
    ) -> str:
        """Add a graph of curves over energy, logarithmic, with named lines; a legend hides curves."""
        panel = self._graph(y_label, 330, logarithmic=True)
        self._draw(panel, curves, lines)
        panel.xaxis.axis_label = "Energy (keV)"
        self._all[name] = panel
        return name

    def add_fit(
        self, name: str, curves: Sequence[GraphCurve], residual: np.ndarray, lines: Mapping[str, float]
    ) -> str:
        """Add a graph of counts and fit above one of the residuals in sigma, with one energy axis."""
        above = self._graph("Counts", 300, logarithmic=True)
        self._draw(above, curves, lines)
        above.xaxis.major_label_text_font_size = "0px"
        below = self._graph("Residual (σ)", 130, logarithmic=False)
        below.toolbar_location = None
        below.add_layout(
            self._models.BoxAnnotation(bottom=-2, top=2, fill_color=FAINT, fill_alpha=0.2, line_alpha=0)
        )
        energy = curves[0].energy
        step = below.step(energy.astype("f4"), residual.astype("f4"), mode="center", color=curves[0].color)
        below.add_tools(self._hover([step], "residual"))
        below.xaxis.axis_label = "Energy (keV)"
        self._all[name + ABOVE], self._all[name + BELOW] = above, below
        return name

    def _graph(self, y_label: str, height: int, *, logarithmic: bool) -> Any:
        panel = self._plotting.figure(
            height=height, sizing_mode="stretch_width", tools=TOOLS, active_drag="box_zoom",
            y_axis_type="log" if logarithmic else "linear", background_fill_alpha=0, border_fill_alpha=0,
            y_axis_label=y_label, toolbar_location="above", min_border_right=8,
            min_border_left=66, min_border_bottom=4,
            **({} if self._energy_range is None else {"x_range": self._energy_range}),
        )  # fmt: skip
        panel.toolbar.logo = None
        panel.outline_line_color = None
        panel.grid.grid_line_color = FAINT
        panel.grid.grid_line_alpha = 0.25
        for axis in panel.axis:
            axis.axis_label_text_color = axis.major_label_text_color = INK
            axis.axis_line_color = axis.major_tick_line_color = axis.minor_tick_line_color = FAINT
            axis.axis_label_text_font_style = "normal"
        return panel

    def _draw(self, panel: Any, curves: Sequence[GraphCurve], lines: Mapping[str, float]) -> None:
        top = max(float(curve.values.max()) for curve in curves)
        if self._energy_range is None:
            energy = curves[0].energy
            low, high = float(energy[0]), float(energy[-1])
            self._energy_range = self._models.Range1d(low, high, bounds=(low, high))
            panel.x_range = self._energy_range
        least = min(float(c.values[c.values > 0].min(initial=top)) for c in curves)
        low = max(LEAST_SHOWN * top, 0.7 * least)
        panel.y_range = self._models.Range1d(low, 20 * top)
        drawn = []
        for curve in curves:
            data = {"x": curve.energy.astype("f4"), "y": np.maximum(curve.values, low / 10).astype("f4")}
            source = self._models.ColumnDataSource(data)
            common = {
                "source": source,
                "color": curve.color,
                "line_width": 1.2,
                "legend_label": _no_tex(curve.name),
            }
            if curve.step:
                drawn.append(panel.step("x", "y", mode="center", name=curve.name, **common))
            else:
                drawn.append(panel.line("x", "y", name=curve.name, **common))
        panel.add_tools(self._hover(drawn, "$name"))
        self._name_lines(panel, curves, lines)
        legend = panel.legend[0]
        legend.click_policy = "hide"
        legend.background_fill_alpha = 0
        legend.border_line_alpha = 0
        legend.label_text_color = INK
        legend.orientation = "horizontal"
        legend.margin = legend.padding = 0
        panel.add_layout(legend, "above")

    def _hover(self, renderers: Sequence[Any], name: str) -> Any:
        tips = [("", name), ("energy", "@x{0.000} keV"), ("value", "@y{0.000 a}")]
        return self._models.HoverTool(renderers=list(renderers), tooltips=tips, mode="mouse")

    def _name_lines(self, panel: Any, curves: Sequence[GraphCurve], lines: Mapping[str, float]) -> None:
        """Write names upright above peaks; of lines that would touch, the highest has its name."""
        low, high = panel.x_range.start, panel.x_range.end
        heights = {n: max(_near(c, e) for c in curves) for n, e in lines.items() if low < e < high}
        kept: list[str] = []
        for name in sorted(heights, key=lambda n: -heights[n]):
            if all(abs(lines[name] - lines[other]) > APART * (high - low) for other in kept):
                kept.append(name)
        if not kept:
            return
        source = self._models.ColumnDataSource(
            {
                "x": [float(lines[n]) for n in kept],
                "y": [1.5 * max(float(heights[n]), panel.y_range.start) for n in kept],
                "text": [pretty_line(n) for n in kept],
            }
        )
        panel.text(
            "x", "y", "text", source=source, angle=np.pi / 2, text_font_size="10px", text_color=INK,
            text_baseline="middle",
        )  # fmt: skip


def _near(curve: GraphCurve, energy: float) -> float:
    """Highest value beside an energy."""
    return float(curve.values[np.abs(curve.energy - energy) <= 0.06].max(initial=0.0))


def _reduced(stack: np.ndarray) -> np.ndarray:
    """Average over bins of pixels, so that no side is longer than the limit."""
    side = -(-max(stack.shape[1:]) // MOST_SIDE)
    if side == 1:
        return stack
    rows, columns = (n // side * side for n in stack.shape[1:])
    bins = stack[:, :rows, :columns].reshape(len(stack), rows // side, side, columns // side, side)
    return np.asarray(bins.mean(axis=(2, 4)), dtype=np.float32)


def _rgba(colors: np.ndarray) -> np.ndarray:
    """Colours as Bokeh has them: four bytes in one number."""
    bytes_ = np.full((*colors.shape[:2], 4), 255, dtype=np.uint8)
    bytes_[..., :3] = np.rint(255 * colors)
    return bytes_.view(np.uint32)[..., 0]


def _hex(color: Sequence[float]) -> str:
    red, green, blue = (round(255 * part) for part in color[:3])
    return f"#{red:02x}{green:02x}{blue:02x}"


def _no_tex(text: str) -> str:
    """Keep Bokeh from taking a name for a formula."""
    return text.replace("$$", "$ $").replace("\\(", "(").replace("\\[", "[")
