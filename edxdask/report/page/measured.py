"""What was measured: acquisition, photons per pixel, images of the scan, the sum spectrum."""

from __future__ import annotations

import numpy as np
import xarray as xr

from edxdask import schema
from edxdask.report.describe import SHOWN_ATTRIBUTES
from edxdask.report.figures import sum_spectrum_figure
from edxdask.report.fit import COUNTS_COLOR
from edxdask.report.layers import over_exposure
from edxdask.report.lines import label_lines
from edxdask.report.maps import map_figure
from edxdask.report.page.evidence import Evidence
from edxdask.report.page.live import GraphCurve, Panels
from edxdask.report.page.parts import Block, Drawing, Note, Row, Section, Table
from edxdask.report.page.phases import SMALL_MAP
from edxdask.report.page.pictures import picture
from edxdask.report.page.words import identifier, size_of, with_unit
from edxdask.report.placement_figure import placement_figure

MOST_IMAGES = 24
NAMES = {
    schema.BEAM_ENERGY: ("beam energy", "keV"),
    schema.BEAM_CURRENT: ("beam current", "nA"),
    schema.DETECTOR: ("detector", ""),
    schema.ELEVATION: ("elevation of the detectors", "°"),
    schema.AZIMUTH: ("azimuth of the detectors", "°"),
    schema.FWHM: ("peak width at Mn Kα", "eV"),
    schema.TILT_ALPHA: ("stage tilt α", "°"),
    schema.TILT_BETA: ("stage tilt β", "°"),
    schema.LIVE_TIME: ("live time", "s"),
    schema.REAL_TIME: ("real time", "s"),
    schema.THICKNESS: ("thickness", "nm"),
    schema.DENSITY: ("density", "g/cm³"),
    schema.ELEMENTS: ("elements listed", ""),
}
PHOTONS = "photons per pixel"


def measured(evidence: Evidence, panels: Panels) -> Section | None:
    """Make the section; None where nothing is known but a table."""
    blocks: list[Block] = []
    rows = acquisition(evidence)
    if rows:
        blocks.append(Table(("", ""), rows))
    pictures = [*_totals(evidence), *_images(evidence)]
    if pictures:
        blocks.append(Row(pictures[:MOST_IMAGES]))
    if len(pictures) > MOST_IMAGES:
        blocks.append(Note(f"{len(pictures) - MOST_IMAGES} more images are not shown."))
    blocks += _mosaic(evidence)
    if evidence.spectrum is not None:
        blocks.append(_sum(evidence, evidence.spectrum, panels))
    return Section("measured", "What was measured", blocks) if blocks else None


def acquisition(evidence: Evidence) -> list[tuple[str, str]]:
    """Rows of what is known of the acquisition: name, and value with its unit."""
    first = next(iter(evidence.cubes.values()), evidence.root)
    rows = []
    if evidence.totals:
        one = next(iter(evidence.totals.values()))
        photons = sum(float(np.nansum(total.values)) for total in evidence.totals.values())
        pixels = sum(total.size for total in evidence.totals.values())
        size = f"{len(evidence.totals)} maps, the first {size_of(one)}" if evidence.many else size_of(one)
        rows += [
            ("size", size),
            ("photons", f"{with_unit(photons, 'photons')}, {photons / pixels:.4g} per pixel"),
        ]
    if schema.ENERGY in first.coords:
        offset, scale = schema.energy_axis(first)
        channels = first.sizes[schema.ENERGY]
        high = offset + (channels - 1) * scale
        rows.append(
            ("energy axis", f"{offset:.4g} to {high:.4g} keV, {channels} channels of {1e3 * scale:.4g} eV")
        )
    attrs = {**evidence.root.attrs, **first.attrs}
    for key in SHOWN_ATTRIBUTES:
        value = attrs.get(key)
        if key in NAMES and value not in (None, "", []):
            name, unit = NAMES[key]
            rows.append((name, _value(value, unit)))
    return rows


def _value(value: object, unit: str) -> str:
    many = value if isinstance(value, list | tuple | np.ndarray) else [value]
    text = ", ".join(f"{v:.5g}" if isinstance(v, float) else str(v) for v in many)
    return f"{text}{unit}" if unit == "°" else f"{text} {unit}".strip()


def _totals(evidence: Evidence) -> list[Drawing]:
    """Photons per pixel of each map; of a mosaic per exposure, so that overlaps are not brighter."""
    drawn = []
    for i, (name, counts) in enumerate(evidence.totals.items()):
        image = over_exposure(counts, evidence.cubes[name]).compute() if name in evidence.cubes else counts
        figure = map_figure(
            image, title=name or PHOTONS, label=PHOTONS if name else "counts", width=SMALL_MAP
        )
        text = f"Map of the photons counted in each pixel{f' of {name}' if name else ''}"
        drawn.append(picture(f"total-{i}", figure, text))
    return drawn


def _images(evidence: Evidence) -> list[Drawing]:
    """Images that the microscope took with the counts, such as HAADF."""
    shown: list[Drawing] = []
    for map_name, cube in evidence.cubes.items():
        for name, array in cube.data_vars.items():
            if name in schema.VARIABLES or set(array.dims) != {schema.Y, schema.X}:
                continue
            if array.dtype.kind not in "iuf":
                continue
            title = f"{map_name}, {name}" if map_name else str(name)
            image = array.transpose(schema.Y, schema.X).compute()
            figure = map_figure(
                image, title=title, label=_unit(array), colors="gray", limits=_limits(image), width=SMALL_MAP
            )
            shown.append(picture(f"image-{len(shown)}-{identifier(str(name))}", figure, f"Image {name}"))
    return shown


def _unit(array: xr.DataArray) -> str:
    unit = str(array.attrs.get("units", ""))
    return unit if unit not in ("", "1") else "intensity"


def _limits(image: xr.DataArray) -> tuple[float, float]:
    """Nearly all of an image's values: its zero is no reference."""
    low, high = np.nanpercentile(np.asarray(image.values, dtype=float), (0.2, 99.8))
    return (float(low), float(high)) if high > low else (float(low), float(low) + 1.0)


def _mosaic(evidence: Evidence) -> list[Block]:
    """Where the maps of a mosaic lie."""
    return [
        picture(
            f"placement-{i}",
            placement_figure(one),
            "Where the maps of the mosaic lie",
            code="edxdask.figures.placement(cube)",
        )
        for i, one in enumerate(evidence.cubes.values())
        if schema.TILE_POSITION in one
    ]


def _sum(evidence: Evidence, spectrum: xr.DataArray, panels: Panels) -> Drawing:
    energy = spectrum[schema.ENERGY].values.astype(float)
    elements = next(iter(evidence.cubes.values())).attrs.get(schema.ELEMENTS, ())
    lines = label_lines(map(str, elements), float(energy[0]), float(energy[-1]))
    curve = GraphCurve("counts", COUNTS_COLOR, energy, np.asarray(spectrum.values, dtype=float))
    return picture(
        "sum",
        sum_spectrum_figure(spectrum, lines=lines),
        "Sum spectrum of all pixels with the names of its lines",
        caption="Counts of all pixels.",
        code="edxdask.figures.sum_spectrum(cube.edx.sum_spectrum())",
        live=panels.add_spectra("sum", [curve], lines, y_label="Counts"),
    )
