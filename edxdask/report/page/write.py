"""The page itself: sections in their order, put into the template, written whole or not at all."""

from __future__ import annotations

from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Any

from edxdask._version import __version__
from edxdask.io.export.target import writing
from edxdask.optional import require
from edxdask.progress import Progress, ProgressHook
from edxdask.report.page.composition import composition
from edxdask.report.page.done import done
from edxdask.report.page.evidence import Evidence
from edxdask.report.page.goodness import goodness
from edxdask.report.page.line_maps import line_maps
from edxdask.report.page.live import EXTRA, PURPOSE, Panels
from edxdask.report.page.measured import acquisition, measured
from edxdask.report.page.parts import Section
from edxdask.report.page.phases import phases
from edxdask.report.page.spectra import spectra
from edxdask.report.page.verdict import verdict

SECTIONS = 8


def write_page(evidence: Evidence, path: Path, *, overwrite: bool, hook: ProgressHook | None = None) -> Path:
    """Write the report of what was gathered.

    Parameters
    ----------
    evidence : what the report shows
    path : HTML file
    overwrite : replace what is there
    hook : called after each section
    """
    require("jinja2", extra=EXTRA, purpose=PURPOSE)
    panels = Panels()
    sections = _sections(evidence, panels, hook)
    text = _rendered(evidence, sections, panels)
    with writing(path, overwrite=overwrite) as partial:
        partial.write_text(text, encoding="utf-8")
    return path


def _sections(evidence: Evidence, panels: Panels, hook: ProgressHook | None) -> list[Section]:
    makers = (
        lambda: verdict(evidence),
        lambda: phases(evidence, panels),
        lambda: spectra(evidence, panels),
        lambda: composition(evidence),
        lambda: goodness(evidence, panels),
        lambda: line_maps(evidence),
        lambda: measured(evidence, panels),
        lambda: done(evidence),
    )
    found = []
    for number, make in enumerate(makers, start=1):
        section = make()
        if section is not None:
            found.append(section)
        if hook is not None:
            hook(Progress("drawing the report", number, SECTIONS, "sections"))
    return found


def _rendered(evidence: Evidence, sections: list[Section], panels: Panels) -> str:
    jinja2 = require("jinja2", extra=EXTRA, purpose=PURPOSE)
    markupsafe = require("markupsafe", extra=EXTRA, purpose=PURPOSE)
    folder = resources.files("edxdask.report.page") / "data"
    template, style, script = (
        (folder / f"page.{suffix}").read_text(encoding="utf-8") for suffix in ("html", "css", "js")
    )
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    elements, documents, items = panels.embedded() if len(panels) else ({}, "", "")
    return str(
        environment.from_string(template).render(
            title=evidence.title,
            subtitle=_subtitle(evidence),
            version=__version__,
            date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
            sections=sections,
            panels=elements,
            documents=documents,
            items=items,
            bokeh=_bokeh() if len(panels) else "",
            style=markupsafe.Markup(style),
            script=script,
        )
    )


def _subtitle(evidence: Evidence) -> str:
    """Say what the report is of: its path, size and photons."""
    parts = [evidence.origin.data] if evidence.origin.data else []
    parts += [value for name, value in acquisition(evidence) if name in ("size", "photons")]
    return ", ".join(parts)


def _bokeh() -> str:
    """Bokeh's own script, without which the page would need a network."""
    found: Any = require("bokeh.resources", extra=EXTRA, purpose=PURPOSE)
    return "\n".join(found.Resources(mode="inline", components=["bokeh"]).js_raw)
