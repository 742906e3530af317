"""Figures as SVG that goes into a page: the same bytes at every build, colours that follow light and dark."""

from __future__ import annotations

import base64
import io
import re
import warnings
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from edxdask.report.page.parts import Drawing
from edxdask.report.style import FAINT, INK

DPI = 220  # of the images inside
MOST_NATIVE = 512  # pixels per side of an image that is kept as it is; larger ones are drawn for their size
# colours of a figure on white paper: names of the page's own, which are others in the dark
THEMED = {
    INK: "var(--ink)",
    FAINT: "var(--faint)",
    "#cfdbe8": "var(--fill)",
    "#eef1f4": "var(--band)",
    "#1f4e79": "var(--curve)",
}
_ID = re.compile(r'\bid="([^"]+)"')
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_STYLE = re.compile(r"<style[^>]*>.*?</style>", re.DOTALL)
_METADATA = re.compile(r"<metadata>.*?</metadata>", re.DOTALL)
_PATH, _LONG = re.compile(r' d="[^"]*"'), re.compile(r"(\d\.\d\d)\d+")
_IMAGE = re.compile(r"(data:image/png;base64,)([A-Za-z0-9+/=\s]+)")
_SIZE = re.compile(r'(<svg[^>]*?) width="([\d.]+)pt" height="([\d.]+)pt"')


def svg_of(figure: Figure, name: str) -> str:
    """Draw a figure as one ``<svg>`` element whose ids begin with ``name``.

    Examples
    --------
    >>> from edxdask.report.style import new_figure
    >>> svg_of(new_figure(1, 1), "empty").startswith("<svg")
    True
    """
    for image in (one for axes in figure.axes for one in axes.images):
        if max(image.get_size()) <= MOST_NATIVE:
            image.set_interpolation("none")
    out = io.StringIO()
    with warnings.catch_warnings():  # a label in a script that the font lacks is drawn as boxes
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.draw_without_rendering()
        figure.set_layout_engine("none")  # laid out once: saving would do it twice again
        figure.savefig(out, format="svg", dpi=DPI, transparent=True, metadata={"Date": None, "Creator": None})
    text = out.getvalue()
    text = text[text.index("<svg") :]
    for pattern in (_COMMENT, _STYLE, _METADATA):
        text = pattern.sub("", text)
    for color, variable in THEMED.items():
        text = text.replace(color, variable)
    text = _SIZE.sub(_responsive, text, count=1)
    text = _PATH.sub(lambda found: _LONG.sub(r"\1", found[0]), text)
    text = _IMAGE.sub(lambda found: found[1] + _with_palette(found[2]), text)
    return _renamed(text, name)


def _responsive(found: re.Match[str]) -> str:
    """Let the page set the size; it keeps the shape, and is at most a little larger than on paper."""
    points = float(found[2])
    return f'{found[1]} preserveAspectRatio="xMinYMin meet" style="max-width:{points * 1.5:.0f}px"'


def _with_palette(encoded: str) -> str:
    """Write an image with few colours as one byte per pixel: a third of the size."""
    with Image.open(io.BytesIO(base64.b64decode(encoded))) as image:
        pixels = np.asarray(image.convert("RGBA"))
    colors, places = np.unique(pixels.reshape(-1, 4).view(np.uint32)[:, 0], return_inverse=True)
    out = io.BytesIO()
    if len(colors) > 256:
        Image.fromarray(pixels).save(out, format="PNG", optimize=True)
    else:
        table = colors.view(np.uint8).reshape(-1, 4)
        small = Image.fromarray(places.reshape(pixels.shape[:2]).astype(np.uint8), mode="P")
        small.putpalette(table[:, :3].tobytes())
        small.save(out, format="PNG", optimize=True, transparency=table[:, 3].tobytes())
    return base64.b64encode(out.getvalue()).decode("ascii")


def _renamed(text: str, name: str) -> str:
    """Give ids numbers in their order: matplotlib's are chance, and figures of a page share some."""
    new = {old: f"{name}-{i}" for i, old in enumerate(dict.fromkeys(_ID.findall(text)))}
    text = _ID.sub(lambda found: f'id="{new[found[1]]}"', text)
    text = re.sub(r"url\(#([^)]+)\)", lambda found: f"url(#{new.get(found[1], found[1])})", text)
    return re.sub(r'href="#([^"]+)"', lambda found: f'href="#{new.get(found[1], found[1])}"', text)


def picture(name: str, figure: Figure, alt: str, **more: Any) -> Drawing:
    """Make a picture of a figure; the keywords are further attributes of ``Drawing``."""
    return Drawing(name, svg_of(figure, name), alt, **more)
