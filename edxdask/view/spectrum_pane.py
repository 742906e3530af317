"""The spectrum on the page: counts with their errors, names of lines, phases; a click names a peak."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from bokeh.events import Tap
from bokeh.models import (
    BoxZoomTool,
    ColumnDataSource,
    HoverTool,
    NumeralTickFormatter,
    PanTool,
    PlainText,
    Range1d,
    ResetTool,
    Span,
    WheelZoomTool,
)
from bokeh.plotting import figure

from edxdask.physics.detector import fwhm_kev
from edxdask.report.labels import pretty_line
from edxdask.report.lines import label_lines
from edxdask.report.style import INK, PALETTE
from edxdask.view.scene import Scene

HEIGHT = 330
_MOST_PHOTONS = 0.995  # of the photons are in the first view
_LETTER = 0.016  # of the energies in view: the least distance between two upright names
_BAND, _FIT = "#7fb2dd", "#1c2733"


class SpectrumPane:
    """Graphs of one spectrum, linear and logarithmic, of which one is seen.

    Parameters
    ----------
    scene : whose energies are used
    elements : whose lines are named; the page may change it
    on_energy : callable
        Is given the energy (keV) of a click.
    """

    def __init__(self, scene: Scene, elements: list[str], on_energy: Callable[[float], None]) -> None:
        self._elements, self._on_energy = elements, on_energy
        self._energy = scene.energy
        empty: dict[str, list[float]] = {"energy": [], "counts": [], "low": [], "high": []}
        self.source = ColumnDataSource(empty)
        self._labels = ColumnDataSource({"x": [], "y": [], "text": []})
        self._phases = ColumnDataSource({"xs": [], "ys": [], "colour": [], "name": []})
        low, high = float(self._energy[0]), float(self._energy[-1])
        self._range = Range1d(low, high, bounds=(low, high), reset_start=low, reset_end=high)
        self._high = {False: Range1d(0.0, 1.0), True: Range1d(0.5, 10.0)}
        self._marks: list[Span] = []
        self.figures = {log: self._made(log) for log in (False, True)}
        self.figures[True].visible = False
        self._range.on_change("end", lambda attr, old, new: self._name_lines())

    def _made(self, log: bool) -> figure:
        tools = [PanTool(dimensions="width"), WheelZoomTool(dimensions="width"), BoxZoomTool(), ResetTool()]
        made = figure(
            name="spectrum_log" if log else "spectrum",
            height=HEIGHT,
            sizing_mode="stretch_width",
            min_width=420,
            x_range=self._range,
            y_range=self._high[log],
            y_axis_type="log" if log else "linear",
            tools=tools,
            active_drag=tools[2],
            toolbar_location="above",
        )
        made.toolbar.logo = None
        if not log:
            made.yaxis.formatter = NumeralTickFormatter(format="0,0")
        made.xaxis.axis_label = PlainText(text="energy (keV)")
        made.yaxis.axis_label = PlainText(text="counts per channel")
        for axis in (made.xaxis, made.yaxis):
            axis.axis_label_text_font_size = axis.major_label_text_font_size = "12px"
            axis.axis_label_text_font_style = "normal"
        made.varea("energy", "low", "high", source=self.source, fill_color=_BAND, fill_alpha=0.45)
        drawn = made.step("energy", "counts", source=self.source, mode="center", line_color=PALETTE[0])
        made.multi_line("xs", "ys", source=self._phases, line_color="colour", line_width=1.8)
        made.text(
            "x", "y", "text", source=self._labels, angle=np.pi / 2, text_font_size="12px",
            text_baseline="middle", text_color=INK, x_offset=0, y_offset=-6,
        )  # fmt: skip
        made.add_tools(
            HoverTool(
                renderers=[drawn],
                mode="vline",
                tooltips=[("energy", "@energy{0.000} keV"), ("counts", "@counts{0,0}")],
            )
        )
        mark = Span(
            dimension="height", line_color="#d55e00", line_dash="dashed", line_width=1.5, visible=False
        )
        made.add_layout(mark)
        self._marks.append(mark)
        made.on_event(Tap, lambda event: self._on_energy(float(event.x)))
        return made

    def set_log(self, log: bool) -> None:
        """Show the logarithmic graph, or the linear one."""
        for own, one in self.figures.items():
            one.visible = own == log

    def mark(self, energy: float | None) -> None:
        """Mark an energy, or none."""
        for mark in self._marks:
            mark.visible = energy is not None
            mark.location = energy

    def show(self, counts: np.ndarray, phases: Mapping[str, np.ndarray]) -> None:
        """Draw a spectrum with the error of each channel, and what is expected of phases by name."""
        values = np.asarray(counts, dtype=float)
        error = np.sqrt(np.maximum(values, 0.0))
        self.source.data = {
            "energy": self._energy,
            "counts": values,
            "low": np.maximum(values - error, 0.3),
            "high": values + error,
        }
        if self._range.end == self._energy[-1] and values.sum() > 0:
            self._range.end = self._last_seen(values)
        most = self._highest(values)
        self._high[False].update(start=0.0, end=1.3 * most, reset_start=0.0, reset_end=1.3 * most)
        self._high[True].update(start=0.5, end=30 * most, reset_start=0.5, reset_end=30 * most)
        colours = phase_colours(list(phases))
        self._phases.data = {
            "xs": [self._energy] * len(phases),
            "ys": [np.maximum(one, 0.3) for one in phases.values()],
            "colour": [colours.get(name, _FIT) for name in phases],
            "name": list(phases),
        }
        self._name_lines()

    def _last_seen(self, values: np.ndarray) -> float:
        """Energy up to which a spectrum has something to be seen, for the first view of it."""
        below = np.cumsum(values) / values.sum()
        last = float(self._energy[min(int(np.searchsorted(below, _MOST_PHOTONS)), self._energy.size - 1)])
        return min(1.1 * last, float(self._energy[-1]))

    def _highest(self, values: np.ndarray) -> float:
        """Highest count above the noise peak near 0 keV, which would flatten all lines."""
        seen = values[self._energy > 0.2] if (self._energy > 0.2).any() else values
        return max(float(seen.max(initial=0.0)), 1.0)

    def _name_lines(self) -> None:
        """Write names of lines where there is room, the higher peaks first."""
        values = np.asarray(self.source.data["counts"], dtype=float)
        if not values.size:
            return
        low, high = float(self._range.start), float(self._range.end)
        gap = _LETTER * (high - low)
        named = label_lines(self._elements, max(low, 0.1), high)
        heights = {name: self._height(values, energy) for name, energy in named.items()}
        kept: list[str] = []
        for name in sorted(named, key=lambda name: -heights[name]):
            if all(abs(named[name] - named[other]) >= gap for other in kept):
                kept.append(name)
        self._labels.data = {
            "x": [named[name] for name in kept],
            "y": [heights[name] for name in kept],
            "text": [pretty_line(name) for name in kept],
        }

    def _height(self, values: np.ndarray, energy: float) -> float:
        near = np.abs(self._energy - energy) <= float(fwhm_kev(energy)) / 2
        return max(float(values[near].max(initial=0.0)), 1.0)


def phase_colours(names: Sequence[str]) -> dict[str, str]:
    """Colour of each phase, the same on all figures; what is called "all phases" has none."""
    phases = [name for name in names if name != ALL_PHASES]
    return {name: PALETTE[(number + 1) % len(PALETTE)] for number, name in enumerate(phases)}


ALL_PHASES = "all phases"
