"""All maps of a collection as small pictures; a click on one shows it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from bokeh.events import Tap
from bokeh.models import ColumnDataSource, LinearColorMapper, Range1d, Title
from bokeh.palettes import Magma256
from bokeh.plotting import figure

from edxdask.report.maps import color_limits
from edxdask.report.style import INK
from edxdask.view.errands import Errands
from edxdask.view.layers import LayerKind, ShownLayer
from edxdask.view.scene import Scene
from edxdask.view.viewport import whole

_PX, _TEXT, _ROW = 120, 22, 10  # px of a picture and of the line below it; pictures in a row
_LETTERS = 16  # of a name that fit below a picture


class Thumbnails:
    """Pictures of all maps.

    Parameters
    ----------
    scenes : the maps
    errands : does the work
    chosen : callable
        Is given the number of the map that was clicked.
    """

    def __init__(self, scenes: Sequence[Scene], errands: Errands, chosen: Callable[[int], None]) -> None:
        self._scenes, self._errands, self._chosen = scenes, errands, chosen
        self._across = min(_ROW, len(scenes))
        rows = math.ceil(len(scenes) / self._across)
        cell = _PX + _TEXT
        self.figure = figure(
            name="thumbnails",
            frame_width=self._across * (_PX + 8),
            frame_height=rows * cell,
            x_range=Range1d(-4, self._across * (_PX + 8) - 4),
            y_range=Range1d(rows * cell - 4, -4),
            tools="",
            toolbar_location=None,
            title=Title(text="Maps of the collection: click one"),
            outline_line_color=None,
        )
        self.figure.title.text_font_size = "14px"
        self.figure.axis.visible = False
        self.figure.grid.visible = False
        self._pictures = [self._picture() for _ in scenes]
        places = [self._place(i) for i in range(len(scenes))]
        self._marks = ColumnDataSource({"x": [], "y": []})
        self.figure.rect(
            "x", "y", _PX + 6, _PX + 2, source=self._marks, fill_alpha=0, line_color="#d55e00", line_width=3
        )
        names = [s.name if len(s.name) <= _LETTERS else f"{s.name[: _LETTERS - 1]}…" for s in scenes]
        texts = ColumnDataSource(
            {"x": [x for x, _ in places], "y": [y + _PX + 15 for _, y in places], "text": names}
        )
        self.figure.text("x", "y", "text", source=texts, text_font_size="12px", text_color=INK)
        self.figure.on_event(Tap, self._take_tap)
        self._complete = [False] * len(scenes)
        self.refresh()

    def _picture(self) -> tuple[ColumnDataSource, LinearColorMapper]:
        source = ColumnDataSource({"image": [], "x": [], "y": [], "dw": [], "dh": []})
        mapper = LinearColorMapper(palette=Magma256, low=0, high=1, nan_color="#3a4450")
        self.figure.image(source=source, color_mapper=mapper, level="image")
        return source, mapper

    def _place(self, number: int) -> tuple[float, float]:
        row, column = divmod(number, self._across)
        return float(column * (_PX + 8)), float(row * (_PX + _TEXT))

    def mark(self, number: int) -> None:
        """Frame the map that is shown."""
        x, y = self._place(number)
        self._marks.data = {"x": [x + _PX / 2], "y": [y + _PX / 2]}

    def _take_tap(self, event: Tap) -> None:
        column, row = int(event.x // (_PX + 8)), int(event.y // (_PX + _TEXT))
        number = row * self._across + column
        if 0 <= column < self._across and 0 <= number < len(self._scenes):
            self._chosen(number)

    def refresh(self) -> bool:
        """Draw what was not complete; whether all is."""
        for number in range(len(self._scenes)):
            if not self._complete[number]:
                self._ask(number)
        return all(self._complete)

    def _ask(self, number: int) -> None:
        scene = self._scenes[number]

        def work() -> tuple[np.ndarray, bool]:
            return scene.picture(ShownLayer(LayerKind.TOTAL), whole(scene.shape, _PX))

        self._errands.run(f"thumbnail {number}", work, lambda answer: self._draw(number, *answer))

    def _draw(self, number: int, values: np.ndarray, complete: bool) -> None:
        source, mapper = self._pictures[number]
        low, high = color_limits(values, counted=True)
        mapper.update(low=low, high=high)
        rows, columns = (
            n * step for n, step in zip(self._scenes[number].shape, self._scenes[number].steps, strict=True)
        )
        scale = _PX / max(rows, columns)
        x, y = self._place(number)
        source.data = {
            "image": [values],
            "x": [x + (_PX - columns * scale) / 2],
            "y": [y + (_PX - rows * scale) / 2],
            "dw": [columns * scale],
            "dh": [rows * scale],
        }
        self._complete[number] = complete
