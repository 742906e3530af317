"""What is known of a marked region: composition with errors and limits, and its phases."""

from __future__ import annotations

import html
import logging
import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from edxdask import schema
from edxdask.errors import EdxdaskError
from edxdask.quantify.recipe import make_recipe
from edxdask.quantify.spectra import quantify_spectra
from edxdask.report.labels import pretty_line
from edxdask.view.scene import Scene

_LOGGERS = tuple(
    logging.getLogger(f"edxdask.quantify.{name}") for name in ("cautions", "spectra", "unlisted")
)
REGION = "region"
LEAST_PHOTONS = 30  # of a spectrum that is quantified
HEADS = ("element", "at.%", "±", "line", "net counts", "SNR", "limit at.%")


@dataclass(frozen=True)
class RegionAnswer:
    """Composition of a spectrum.

    Attributes
    ----------
    rows : texts by column of ``HEADS``
    note : what a person should know of it; or why there is none
    """

    rows: tuple[tuple[str, ...], ...]
    note: str


def composition_of(
    scene: Scene, spectrum: np.ndarray, elements: Sequence[str], fraction: float
) -> RegionAnswer:
    """Quantify a spectrum as ``edxdask.quantify`` does, with errors and limits of detection.

    Parameters
    ----------
    scene : whose conditions hold
    spectrum : counts
    elements : all that are in it
    fraction : of the map's pixels, which got so much of the dose
    """
    if not elements:
        return RegionAnswer((), "Name the elements, and their amounts are found.")
    if spectrum.sum() < LEAST_PHOTONS:
        return RegionAnswer((), f"{int(spectrum.sum())} photons are too few to say what is there.")
    try:
        recipe = make_recipe(
            scene.data.attrs,
            scene.energy,
            elements=elements,
            method="cliff-lorimer",
            lines=None,
            factors=None,
            thickness=None,
            density=None,
            oxygen=None,
            foreign=(),
            beam_energy=None,
            dose=None,
            solid_angle=None,
            detector=None,
            refine_axis=True,
        )
        found = _quietly_quantified(
            np.asarray(spectrum, dtype=float)[None],
            scene.energy,
            recipe,
            dim=schema.REGION,
            labels=[REGION],
            dose_shares=np.array([fraction]),
        ).isel({schema.REGION: 0})
    except EdxdaskError as error:
        return RegionAnswer((), f"No composition: {error}")
    warnings = found.attrs.get(schema.WARNINGS, [])
    note = f"Reduced χ² {float(found[schema.CHI2_RED]):.2f}. " + " ".join(map(str, warnings))
    return RegionAnswer(tuple(_rows(found)), note.strip())


class _OtherThreads(logging.Filter):
    """Lets pass what other threads log."""

    def __init__(self) -> None:
        super().__init__()
        self._own = threading.get_ident()

    def filter(self, record: logging.LogRecord) -> bool:
        return record.thread != self._own


def _quietly_quantified(*given: Any, **options: Any) -> xr.Dataset:
    """Quantify without log: what it warns of stands on the page, for each region that is marked."""
    quiet = _OtherThreads()
    for logger in _LOGGERS:
        logger.addFilter(quiet)
    try:
        return quantify_spectra(*given, **options)
    finally:
        for logger in _LOGGERS:
            logger.removeFilter(quiet)


def _rows(found: xr.Dataset) -> list[tuple[str, ...]]:
    """Sort elements by amount, and write their numbers."""
    amounts, errors = found[schema.COMPOSITION], found[schema.COMPOSITION + schema.STD_SUFFIX]
    lines = {str(line).split("_")[0]: str(line) for line in found[schema.LINE].values}
    rows: list[tuple[str, ...]] = []
    for element in map(str, amounts[schema.ELEMENT].values[np.argsort(-amounts.values)]):
        line = lines[element]
        at = {schema.LINE: line}
        snr, limit = float(found[schema.SNR].sel(at)), float(found[schema.LOD].sel(at))
        one = {schema.ELEMENT: element}
        error = 100 * float(errors.sel(one))
        digits = min(4, max(1, 1 - math.floor(math.log10(error)))) if error > 0 else 2
        rows.append(
            (
                element,
                f"{100 * float(amounts.sel(one)):.{digits}f}",
                f"{error:.{digits}f}",
                pretty_line(line),
                f"{float(found[schema.LINE_INTENSITY].sel(at)):,.0f}",
                (f"{snr:,.0f}" if snr >= 100 else f"{snr:.1f}") + ("" if snr >= 3 else " (not detected)"),
                f"{100 * limit:.2g}" if np.isfinite(limit) else "",
            )
        )
    return rows


def table_html(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Write a table; all texts are escaped.

    Examples
    --------
    >>> table_html(["a"], [["<b>"]])
    '<table><thead><tr><th>a</th></tr></thead><tbody><tr><td>&lt;b&gt;</td></tr></tbody></table>'
    """

    def cells(tag: str, texts: Sequence[str]) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(text)}</{tag}>" for text in texts) + "</tr>"

    body = "".join(cells("td", row) for row in rows)
    return f"<table><thead>{cells('th', heads)}</thead><tbody>{body}</tbody></table>"
