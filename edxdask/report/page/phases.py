"""Phases: a map of each in its colour, all in one image, and how much there is of each."""

from __future__ import annotations

from edxdask import schema
from edxdask.errors import ParameterError
from edxdask.readable import si
from edxdask.report.masks import masks_figure
from edxdask.report.page.evidence import Evidence
from edxdask.report.page.live import Panels
from edxdask.report.page.parts import Block, Note, Row, Section, Table
from edxdask.report.page.pictures import picture
from edxdask.report.page.words import number_of
from edxdask.report.phase_maps import abundance_maps, mixture_figure, phase_map_figure
from edxdask.report.style import MM
from edxdask.report.tables import PHOTON_FRACTION, PHOTONS, phase_rows
from edxdask.results.collections import Data, nodes_of

MOST_MAPS = 60  # small pictures of a collection
MOST_LIVE = 1  # maps with moving panels: each of a collection would make the page too large
ALL = "all phases"
SMALL_MAP = 46 * MM  # width of a map that stands beside others


def phases(evidence: Evidence, panels: Panels) -> Section | None:
    """Make the section; None where there are no phases."""
    if evidence.result is None:
        return None
    blocks: list[Block] = [_table(evidence.result, list(evidence.colors.values()))]
    try:
        maps = abundance_maps(evidence.result)
    except ParameterError:
        blocks.append(Note("The pixels do not lie over y and x, so there are no maps of phases."))
        return Section("phases", "Phases", blocks)
    colors = dict(evidence.colors)
    for number, (name, array) in enumerate(maps.items()):
        if number * (len(colors) + 1) >= MOST_MAPS:
            blocks.append(Note(f"The first {number_of(number, 'map')} of {len(maps)} are shown."))
            break
        panel = panels.add_phases("phases", array, colors) if len(maps) <= MOST_LIVE else {}
        shown = [
            picture(
                f"map-{number}-{i}",
                phase_map_figure(array[i], color=color, title=label, width=SMALL_MAP),
                f"Map of {label}: fraction of the photons of each pixel, from 0 to 1",
                live=panel.get(label),
                title=label,
                color=color,
            )
            for i, (label, color) in enumerate(colors.items())
        ]
        composite = picture(
            f"map-{number}-all",
            mixture_figure(array, colors, title=ALL, width=SMALL_MAP),
            "All phases in one image, their colours mixed by fractions",
            live=panel.get(""),
            title=ALL,
        )
        if name:
            blocks.append(Note(name, "head"))
        blocks.append(Row([composite, *shown] if len(colors) > 1 else shown))
    blocks.append(
        Note("Lines for a paper: edxdask.figures.phases(result), edxdask.figures.composite(result)", "code")
    )
    return Section("phases", "Phases", [*blocks, *_masks(evidence.result)])


def _table(result: Data, colors: list[str]) -> Table:
    rows = [
        (
            str(row["of"]),
            f"{100 * row[PHOTON_FRACTION]:.2f} %" if PHOTON_FRACTION in row else "",
            si(row[PHOTONS]).strip() if PHOTONS in row else "",
        )
        for row in phase_rows(result)
    ]
    return Table(("phase", "of the photons", "photons"), rows, row_colors=colors, numbers=(1, 2))


def _masks(result: Data) -> list[Block]:
    """Masks of precipitates and the core of the matrix, where the result was made with them."""
    root, nodes = nodes_of(result)
    if schema.SPECTRUM_SUBTRACTED not in root or not any(schema.MASK in one for _, one in nodes):
        return []
    text = "Masks of precipitates, the core of the matrix, and the summed spectra that follow from them"
    code = "edxdask.figures.masks(result)"
    return [picture("masks", masks_figure(result), text, caption=f"{text}.", code=code)]
