"""What fills the document of each browser: heading, thumbnails, and the page of the map that is chosen."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from typing import Any
from weakref import WeakSet

from bokeh.document import Document
from bokeh.layouts import column
from jinja2 import Environment

from edxdask.view.errands import Errands
from edxdask.view.page import MapPage
from edxdask.view.scene import Scene
from edxdask.view.thumbnails import Thumbnails
from edxdask.view.widgets import download_of, heading_html, styled

_REFRESH_MS = 1000


class BrowserSession:
    """What one browser shows; others show something else of the same scenes.

    Parameters
    ----------
    scenes : all maps
    document : of the browser
    """

    def __init__(self, scenes: Sequence[Scene], document: Document) -> None:
        self._scenes, self._document = scenes, document
        self._heading = styled(name="heading")
        self._download = download_of()
        self._maps, self._spectra = column(name="maps"), column(name="spectra", sizing_mode="stretch_width")
        self._errands = Errands(document, lambda text: None)
        self._thumbnails = Thumbnails(scenes, self._errands, self.choose) if len(scenes) > 1 else None
        self._page: MapPage | None = None
        self._number = 0
        self._ticking: Any = None
        self._drawn: list[float] = []
        for root in (self._heading, self._maps, self._spectra, self._download):
            document.add_root(root)
        if self._thumbnails is not None:
            document.add_root(self._thumbnails.figure)
        document.title = f"{scenes[0].name} · edxdask"
        document.template = _template()
        document.template_variables.update(many=len(scenes) > 1, name=scenes[0].name)
        document.on_session_destroyed(lambda context: self.close())
        self.choose(0)

    def choose(self, number: int) -> None:
        """Show a map."""
        if self._page is not None:
            self._page.close()
        self._number = number
        self._page = MapPage(self._scenes[number], self._document, self._download)
        self._maps.children, self._spectra.children = self._page.maps, self._page.spectra
        if self._thumbnails is not None:
            self._thumbnails.mark(number)
        self._tell()
        if self._ticking is None:
            self._ticking = self._document.add_periodic_callback(self._tick, _REFRESH_MS)

    def _tell(self) -> None:
        """Write the heading, with how far the index is."""
        scene = self._scenes[self._number]
        done = scene.fraction_indexed
        status = "" if done == 1 else f"preparing fast maps: {100 * done:.0f} %"
        self._heading.text = heading_html(scene, status)

    def _tick(self) -> None:
        assert self._page is not None
        done = [scene.fraction_indexed for scene in self._begun()]
        if done == self._drawn and 1.0 not in done:
            return  # nothing is there that is not drawn
        self._drawn = done
        self._tell()
        complete = self._page.refresh()
        if self._thumbnails is not None:
            complete = self._thumbnails.refresh() and complete
        if complete and self._is_done() and self._ticking is not None:
            self._document.remove_periodic_callback(self._ticking)
            self._ticking = None

    def _begun(self) -> Sequence[Scene]:
        """Give the maps that are drawn: all as thumbnails, or the one that is shown."""
        return self._scenes if self._thumbnails is not None else [self._scenes[self._number]]

    def _is_done(self) -> bool:
        return all(scene.fraction_indexed == 1 for scene in self._begun())

    def close(self, *, wait: bool = False) -> None:
        """Drop what is not begun yet, and wait for what is, if asked to."""
        self._errands.close(wait=wait)
        if self._page is not None:
            self._page.close(wait=wait)


class ViewerApplication:
    """Fills the document of each browser.

    Parameters
    ----------
    scenes : all maps
    """

    def __init__(self, scenes: Sequence[Scene]) -> None:
        self._scenes = scenes
        self._sessions: WeakSet[BrowserSession] = WeakSet()

    def __call__(self, document: Document) -> None:
        """Fill a document."""
        self._sessions.add(BrowserSession(self._scenes, document))

    def close(self) -> None:
        """Wait for all that was begun."""
        for session in list(self._sessions):
            session.close(wait=True)


def _template() -> Any:
    """Read the page that the parts are put into."""
    text = files("edxdask.view").joinpath("data/page.html").read_text(encoding="utf-8")
    return Environment(autoescape=False).from_string(text)
