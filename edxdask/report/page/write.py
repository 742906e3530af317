"""The page itself: sections in their order, put into the template, written whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any

from edxdask import schema
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
from edxdask.report.page.volume import VolumeEvidence, particles, planes, tilts
from edxdask.report.page.volume import spectra as volume_spectra
from edxdask.report.page.volume_done import volume_done
from edxdask.report.page.volume_verdict import volume_verdict


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
    text = _rendered(evidence.title, _subtitle(evidence), sections, panels)
    return _written(text, path, overwrite=overwrite)


def write_volume_page(
    evidence: VolumeEvidence, path: Path, *, overwrite: bool, hook: ProgressHook | None = None
) -> Path:
    """Write the report of a volume; parameters as in ``write_page``."""
    makers = (volume_verdict, planes, particles, volume_spectra, tilts, volume_done)
    sections = _made([partial(make, evidence) for make in makers], hook)
    shown = [evidence.origin.data] if evidence.origin.data else []
    shown.append(" × ".join(map(str, evidence.volume[schema.VOLUME].shape[1:])) + " voxels")
    return _written(
        _rendered(evidence.title, ", ".join(shown), sections, Panels()), path, overwrite=overwrite
    )


def _written(text: str, path: Path, *, overwrite: bool) -> Path:
    with writing(path, overwrite=overwrite) as unfinished:
        unfinished.write_text(text, encoding="utf-8")
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
    return _made(makers, hook)


def _made(makers: Sequence[Callable[[], Section | None]], hook: ProgressHook | None) -> list[Section]:
    """Make sections one after the other; those that have nothing to show are left out."""
    found = []
    for number, make in enumerate(makers, start=1):
        section = make()
        if section is not None:
            found.append(section)
        if hook is not None:
            hook(Progress("drawing the report", number, len(makers), "sections"))
    return found


def _rendered(title: str, subtitle: str, sections: list[Section], panels: Panels) -> str:
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
            title=title,
            subtitle=subtitle,
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
