"""Maps of lines as counted beside those that the result expects; of a cube, as counted."""

from __future__ import annotations

from typing import Any

import numpy as np

from edxdask.report.denoised import RAW, common_limits
from edxdask.report.labels import pretty_line
from edxdask.report.maps import color_limits, map_figure
from edxdask.report.page.evidence import Evidence
from edxdask.report.page.parts import Block, Flicker, Note, Row, Section
from edxdask.report.page.phases import SMALL_MAP
from edxdask.report.page.pictures import picture
from edxdask.schema import LINE

LABEL = "counts per pixel"


def line_maps(evidence: Evidence) -> Section | None:
    """Make the section; None where there are no counts, or no line lies on their axis."""
    found = evidence.line_maps
    if found is None:
        return None
    lines = [str(line) for line in found.raw[LINE].values]
    pictures, pairs = [], []
    for i, line in enumerate(lines):
        name, raw = pretty_line(line), found.raw[i]
        if found.denoised is None:
            limits = color_limits(np.asarray(raw.values, dtype=float), counted=True)
        else:
            limits = common_limits(raw.values, [found.denoised[i].values])
        # both colour bars alike, so that the maps of a pair lie in the same place
        drawn: dict[str, Any] = {"label": LABEL, "limits": limits, "width": SMALL_MAP, "beyond": "both"}
        counted = picture(
            f"line-{i}-raw",
            map_figure(raw, title=f"{name}, {RAW}", **drawn),
            f"Map of {name} as counted, above the background beside the line",
        )
        pictures.append(counted)
        if found.denoised is not None:
            expected = picture(
                f"line-{i}-denoised",
                map_figure(found.denoised[i], title=f"{name}, denoised", **drawn),
                f"Map of {name} as the result expects it",
            )
            pairs.append((counted, expected))
    of = f" of {found.map_name}" if found.map_name else ""
    blocks: list[Block] = [
        Note(f"Net counts{of} in a window around each line, above the background beside it.")
    ]
    if not pairs:
        blocks += [Row(pictures), Note("A line for a paper: edxdask.figures.line_maps(cube)", "code")]
        return Section("lines", "Line maps", blocks)
    note = "Both maps of a line have one scale. A line for a paper: edxdask.figures.denoised(cube, result)"
    return Section(
        "lines", "Line maps: as counted, and denoised", [*blocks, Flicker(pairs), Note(note, "code")]
    )
