"""What a map can show: its photons, lines, scanned images, phases, and lines as a result expects them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import xarray as xr

from edxdask import schema
from edxdask.errors import ParameterError
from edxdask.ops.maps import Window, line_windows
from edxdask.physics.detector import fwhm_kev
from edxdask.physics.library import NEVER_FOUND
from edxdask.physics.lines import Line, checked_elements, element_symbols, lines_of, parse_line
from edxdask.report.labels import pretty_line
from edxdask.report.lines import MAIN_LINES
from edxdask.view.viewport import Viewport

_RANGE = re.compile(r"\s*([0-9.]+)\s*(?:-|–|…|to)\s*([0-9.]+)\s*(?:keV)?\s*$")
_IN_MEMORY = 4_000_000  # pixels of an image, or of its copy in larger steps, that are kept


class LayerKind(StrEnum):
    """What the values of a layer are."""

    TOTAL = "total"
    LINE = "line"
    WINDOW = "window"
    IMAGE = "image"
    PHASE = "phase"
    EXPECTED = "expected"


@dataclass(frozen=True)
class ShownLayer:
    """One thing that a map can show.

    Attributes
    ----------
    kind : what its values are
    name : line, phase, image or "lo-hi" keV
    """

    kind: LayerKind
    name: str = ""

    @property
    def key(self) -> str:
        """Text that stands for it in a list of choices."""
        return f"{self.kind} {self.name}".strip()

    @property
    def title(self) -> str:
        """What it is called on the page."""
        return {
            LayerKind.TOTAL: "All photons",
            LayerKind.LINE: pretty_line(self.name),
            LayerKind.WINDOW: f"{self.name} keV",
            LayerKind.IMAGE: self.name,
            LayerKind.PHASE: f"Phase {self.name}",
            LayerKind.EXPECTED: f"{pretty_line(self.name)}, denoised",
        }[self.kind]

    @property
    def unit(self) -> str:
        """Unit of its values, for the colour bar."""
        return {LayerKind.IMAGE: "signal", LayerKind.PHASE: "fraction"}.get(self.kind, "counts per pixel")


def layer_of(key: str) -> ShownLayer:
    """Find the layer that a text stands for.

    Examples
    --------
    >>> layer_of("line Fe_Ka").title, layer_of("total").title
    ('Fe Kα', 'All photons')
    """
    kind, _, name = key.partition(" ")
    return ShownLayer(LayerKind(kind), name)


def asked_layer(text: str, energy: np.ndarray) -> ShownLayer:
    """Find what a person means: an element, a line, or a range of energies.

    Raises
    ------
    ParameterError
        If it is none of them.

    Examples
    --------
    >>> axis = np.arange(0.3, 10.0, 0.01)
    >>> asked_layer("fe", axis).key, asked_layer("Nd La", axis).key, asked_layer("6.2-6.6", axis).key
    ('line Fe_Ka', 'line Nd_La', 'window 6.2-6.6')
    """
    found = _RANGE.match(text)
    if found:
        low, high = float(found[1]), float(found[2])
        if not energy[0] <= low < high <= energy[-1]:
            expected = f"two energies from {energy[0]:.4g} to {energy[-1]:.4g} keV, the lower one first"
            raise ParameterError("line", text, expected)
        return ShownLayer(LayerKind.WINDOW, f"{low:g}-{high:g}")
    words = re.sub(r"[\s_]+", "_", text.strip().translate(str.maketrans("αβγ", "abg")))
    symbol, _, line = words.partition("_")
    symbol = symbol[:1].upper() + symbol[1:].lower()
    if not line:
        checked_elements([symbol])
        lines = main_lines([symbol], energy)
        if not lines:
            expected = f"an element with a line from {energy[0]:.4g} to {energy[-1]:.4g} keV"
            raise ParameterError("line", text, expected)
        return ShownLayer(LayerKind.LINE, lines[0])
    return ShownLayer(LayerKind.LINE, parse_line(f"{symbol}_{line[:1].upper()}{line[1:]}").name)


def main_lines(elements: Sequence[str], energy: np.ndarray) -> list[str]:
    """Name one line for each element: the first of Kα, Lα and Mα with its window on the axis.

    Examples
    --------
    >>> main_lines(["Mg", "Fe", "U"], np.arange(0.3, 10.0, 0.01))
    ['Mg_Ka', 'Fe_Ka', 'U_Ma']
    """
    low, high = float(energy[0]) + 0.2, float(energy[-1]) - 0.4
    named = []
    for element in elements:
        there = {line.siegbahn: line.name for line in lines_of(element, low, high)}
        named += [there[name] for name in MAIN_LINES if name in there][:1]
    return named


def lines_near(energy: float, elements: Sequence[str], *, fwhm_mn_ka_ev: float = 130.0) -> list[Line]:
    """Lines that a click at an energy (keV) may mean, those of the listed elements first, then the nearest.

    Examples
    --------
    >>> lines_near(6.41, ["Mg", "Fe"])[0].name, lines_near(8.05, [])[0].name
    ('Fe_Ka', 'Cu_Ka')
    """
    reach = 0.6 * float(fwhm_kev(energy, fwhm_mn_ka_ev=fwhm_mn_ka_ev))
    found = [
        line
        for element in element_symbols()
        if element not in NEVER_FOUND or element in elements
        for line in lines_of(element, energy - reach, energy + reach)
        if line.siegbahn in (*MAIN_LINES, "Kb", "Lb1")
    ]
    return sorted(
        found,
        key=lambda line: (line.element not in elements, _order(line), abs(line.centroid_kev - energy)),
    )


def _order(line: Line) -> int:
    return 0 if line.siegbahn in MAIN_LINES else 1


def windows_of(layer: ShownLayer, data: xr.Dataset) -> list[Window]:
    """Window (keV) of a line or a range of energies, and the windows of its background where they fit."""
    if layer.kind is LayerKind.WINDOW:
        low, high = layer.name.split("-")
        return [(float(low), float(high))]
    energy = data[schema.ENERGY].values
    found = line_windows(data, layer.name)
    inside = energy[0] <= min(found)[0] and max(found)[1] <= energy[-1]
    return found if inside else found[:1]


class SteppedImage:
    """An image (y, x) of any size, lazy or not, in any step.

    Of one with more than four million pixels, a copy in larger steps is made at first use and kept; finer
    parts are read from the image itself.

    Parameters
    ----------
    make : callable
        Gives the image.
    """

    def __init__(self, make: Callable[[], xr.DataArray]) -> None:
        self._make = make
        self._image: xr.DataArray | None = None
        self._coarse: tuple[int, np.ndarray] | None = None

    @property
    def image(self) -> xr.DataArray:
        """The image itself."""
        if self._image is None:
            image = self._make().transpose(schema.Y, schema.X)
            self._image = image.astype(np.float32) if image.size > _IN_MEMORY else _loaded(image)
        return self._image

    def picture(self, view: Viewport) -> np.ndarray:
        """Means over the steps of a viewport; NaN takes no part."""
        rows, columns = view.rows, view.columns
        if self.image.size > _IN_MEMORY:
            step, coarse = self._coarse or self._made()
            if view.step >= step:
                cut = [slice(a // step, -(-b // step)) for a, b in (rows, columns)]
                smaller = Viewport(
                    (cut[0].start, cut[0].stop), (cut[1].start, cut[1].stop), view.step // step
                )
                return smaller.averaged(coarse[cut[0], cut[1]])
        return view.averaged(_values(self.image[slice(*rows), slice(*columns)]))

    def _made(self) -> tuple[int, np.ndarray]:
        """Make the copy in larger steps, strip by strip."""
        height, width = self.image.shape
        step = 4
        while height * width / step**2 > _IN_MEMORY:
            step *= 2
        strips = []
        for top in range(0, height, 64 * step):
            view = Viewport((top, min(top + 64 * step, height)), (0, width), step)
            strips.append(view.averaged(_values(self.image[slice(*view.rows)])).astype(np.float32))
        self._coarse = step, np.concatenate(strips)
        return self._coarse


def _values(image: xr.DataArray) -> np.ndarray:
    return np.asarray(image.compute(scheduler="threads").values, dtype=np.float32)


def _loaded(image: xr.DataArray) -> xr.DataArray:
    return image.copy(data=_values(image))
