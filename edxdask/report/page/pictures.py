"""Figures as SVG that goes into a page: the same bytes at every build, colours that follow light and dark."""

from __future__ import annotations

import io
import re
import warnings

from matplotlib.figure import Figure

from edxdask.report.page.parts import Picture
from edxdask.report.style import FAINT, INK

DPI = 220  # of the images inside
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
_SIZE = re.compile(r'(<svg[^>]*?) width="([\d.]+)pt" height="([\d.]+)pt"')


def svg_of(figure: Figure, name: str) -> str:
    """Draw a figure as one ``<svg>`` element whose ids begin with ``name``.

    Examples
    --------
    >>> from edxdask.report.style import new_figure
    >>> svg_of(new_figure(1, 1), "empty").startswith("<svg")
    True
    """
    out = io.StringIO()
    with warnings.catch_warnings():  # a label in a script that the font lacks is drawn as boxes
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(out, format="svg", dpi=DPI, transparent=True, metadata={"Date": None, "Creator": None})
    text = out.getvalue()
    text = text[text.index("<svg") :]
    for pattern in (_COMMENT, _STYLE, _METADATA):
        text = pattern.sub("", text)
    for color, variable in THEMED.items():
        text = text.replace(color, variable)
    text = _SIZE.sub(_responsive, text, count=1)
    return _renamed(text, name)


def _responsive(found: re.Match[str]) -> str:
    """Let the page set the size; it keeps the shape, and is at most a little larger than on paper."""
    points = float(found[2])
    return f'{found[1]} preserveAspectRatio="xMinYMin meet" style="max-width:{points * 1.5:.0f}px"'


def _renamed(text: str, name: str) -> str:
    """Give ids numbers in their order: matplotlib's are chance, and figures of a page share some."""
    new = {old: f"{name}-{i}" for i, old in enumerate(dict.fromkeys(_ID.findall(text)))}
    text = _ID.sub(lambda found: f'id="{new[found[1]]}"', text)
    text = re.sub(r"url\(#([^)]+)\)", lambda found: f"url(#{new.get(found[1], found[1])})", text)
    return re.sub(r'href="#([^"]+)"', lambda found: f'href="#{new.get(found[1], found[1])}"', text)


def picture(
    name: str, figure: Figure, alt: str, *, caption: str = "", code: str = "", live: str | None = None
) -> Picture:
    """Make a picture of a figure; parameters as the attributes of ``Picture``."""
    return Picture(name, svg_of(figure, name), alt, caption, code, live)
