"""The report of a volume: what it shows, read once, and its sections but for the verdict and the last."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from edxdask import schema
from edxdask.progress import ProgressHook
from edxdask.readable import grouped, si
from edxdask.report.page.evidence import Origin
from edxdask.report.page.parts import Block, Note, Section, Table
from edxdask.report.page.pictures import picture
from edxdask.report.page.words import plus_minus
from edxdask.report.particle_sizes import sizes_figure
from edxdask.report.phase_colors import phase_colors
from edxdask.report.phase_spectra import phase_spectra_figure
from edxdask.report.rendered import rendered_figure
from edxdask.report.tables import Row
from edxdask.report.tilts import tilts_figure
from edxdask.report.volume_overview import VolumeOverview, overview_of
from edxdask.report.volumes import slices_figure
from edxdask.results.volume_statistics import VolumeStatistics, volume_statistics

MOST_PARTICLES = 12  # rows of the table of particles, for each phase
MEANING = {
    "fraction": "fractions of voxels",
    "photons": "photons of voxels; fractions are not known",
}


@dataclass(frozen=True, eq=False)
class VolumeEvidence:
    """All that the report of a volume shows.

    Attributes
    ----------
    volume : Dataset
        What ``tomography`` gave.
    title : str
        Of the page.
    origin : Origin
        Paths, for the lines that repeat the work.
    overview : VolumeOverview
        The reduced volume.
    statistics : VolumeStatistics
        Of phases and particles.
    """

    volume: xr.Dataset
    title: str
    origin: Origin
    overview: VolumeOverview
    statistics: VolumeStatistics

    @property
    def colors(self) -> dict[str, str]:
        """Colours of the phases."""
        return phase_colors(self.overview.labels)


def gather_volume(volume: xr.Dataset, origin: Origin, hook: ProgressHook | None = None) -> VolumeEvidence:
    """Read and measure what the report of a volume shows; the volume is read twice."""
    title = str(volume.attrs.get(schema.TITLE) or origin.data or "Volumes of phases")
    return VolumeEvidence(
        volume,
        title,
        origin,
        overview_of(volume, progress=hook),
        volume_statistics(volume),
    )


def planes(evidence: VolumeEvidence) -> Section:
    """Make the section of pictures: planes through the volume, and its surfaces."""
    seen = slices_figure(evidence.volume, overview=evidence.overview)
    blocks: list[Block] = [
        picture(
            "planes",
            seen,
            "Three planes through the volume in the colours of its phases, its surfaces, each phase alone",
            caption="Planes through the place where the volume holds most of all phases, which counts every "
            "phase alike; ticks mark where the planes meet.",
            code="edxdask.figures.slices(volume)",
        ),
        picture(
            "rendered",
            rendered_figure(evidence.overview),
            "Surfaces of the phases in the box of the volume",
            caption="Surfaces where a phase fills half of a voxel; large phases are drawn like glass.",
            code="edxdask.figures.rendered(volume)",
        ),
    ]
    if evidence.overview.step > 1:
        n = evidence.overview.step
        blocks.append(Note(f"The surfaces are those of means of {n} × {n} × {n} voxels."))
    return Section("phases", "Volumes", blocks)


def particles(evidence: VolumeEvidence) -> Section:
    """Make the section of statistics: phases, and their particles."""
    found, unit = evidence.statistics, evidence.statistics.unit
    heads = (
        "phase", f"volume, {unit}³", "of all phases", f"surface, {unit}²", "particles",
        f"mean diameter, {unit}", f"largest, {unit}",
    )  # fmt: skip
    rows = [_statistics_cells(row, unit) for row in found.rows()]
    text = (
        "Particles are voxels at or above the threshold that share faces. "
        f"Thresholds: {', '.join(f'{one.phase} {one.threshold:.3g}' for one in found.phases)}. "
        "Surfaces include those of holes. Total variation, the prior, makes volumes 2 to 3 % smaller than "
        "they are, and small ones more."
    )
    blocks: list[Block] = [
        Table(
            heads, rows, row_colors=list(evidence.colors.values()), numbers=range(1, 7), narrow_hides=(3, 6)
        ),
        picture(
            "sizes",
            sizes_figure(evidence.volume, statistics=found),
            "Histograms of the diameters of particles, by phase",
            caption="Diameters of balls of the same volume; hollow marks are particles that the edge cuts.",
            code="edxdask.figures.particle_sizes(volume)",
        ),
        Note(text),
    ]
    listed = [row for row in found.particle_rows() if row["particle"] < MOST_PARTICLES]
    if listed:
        blocks.append(_particle_table(listed, unit))
        if len(listed) < len(found.particle_rows()):
            blocks.append(
                Note(f"The {MOST_PARTICLES} largest of each phase; all: edxdask export VOLUME particles.csv")
            )
    return Section("particles", "Particles", blocks)


def _statistics_cells(row: Row, unit: str) -> tuple[str, ...]:
    def known(value: float, text: str) -> str:
        return text if np.isfinite(value) else ""

    fraction, mean = row["object_fraction"], row[f"mean_diameter_{unit}"]
    return (
        str(row["of"]),
        grouped(row[f"volume_{unit}3"]),
        known(fraction, f"{100 * fraction:.2f} %"),
        grouped(row[f"surface_{unit}2"]),
        str(row["particles"]) + (f" (+ {row['smaller']} small)" if row["smaller"] else ""),
        known(mean, f"{mean:.3g}"),
        f"{row[f'largest_diameter_{unit}']:.3g}" if row["particles"] else "",
    )


def _particle_table(rows: Sequence[Row], unit: str) -> Table:
    heads = ("particle", f"diameter, {unit}", f"volume, {unit}³", "sphericity", f"z, y, x, {unit}", "")
    cells = [
        (
            f"{row['of']} {row['particle'] + 1}",
            f"{row[f'diameter_{unit}']:.3g}",
            grouped(row[f"volume_{unit}3"]),
            f"{row['sphericity']:.2f}" if np.isfinite(row["sphericity"]) else "",
            ", ".join(f"{row[f'{dim}_{unit}']:.4g}" for dim in "zyx"),
            "cut by the edge" if row["cut"] else "",
        )
        for row in rows
    ]
    return Table(heads, cells, caption="Particles, the largest first", numbers=(1, 2, 3), narrow_hides=(2, 4))


def spectra(evidence: VolumeEvidence) -> Section | None:
    """Make the section of what phases emit and are made of; None where no spectra are known."""
    volume = evidence.volume
    if schema.SPECTRUM not in volume:
        return None
    shared = volume.drop_dims([schema.Z], errors="ignore").compute()
    blocks: list[Block] = [
        picture(
            "spectra",
            phase_spectra_figure(shared),
            "Spectra of the phases with the names of their lines",
            caption="Spectra of the phases, the same in all projections.",
            code="edxdask.figures.phase_spectra(volume)",
        )
    ]
    if schema.COMPOSITION in volume:
        blocks.append(_compositions(shared))
    return Section("spectra", "Spectra", blocks)


def _compositions(shared: xr.Dataset) -> Table:
    """Atomic fractions, phases side by side; with errors where they are known."""
    found = shared[schema.COMPOSITION].transpose(schema.PHASE, schema.ELEMENT)
    error = schema.COMPOSITION + schema.STD_SUFFIX
    errors = shared[error].transpose(*found.dims).values if error in shared else np.full(found.shape, np.nan)
    elements = [str(e) for e in found[schema.ELEMENT].values]
    order = np.argsort(-np.nan_to_num(found.values).max(axis=0), kind="stable")
    rows = [
        (
            elements[i],
            *(plus_minus(100 * a, 100 * e) for a, e in zip(found.values[:, i], errors[:, i], strict=True)),
        )
        for i in order
    ]
    labels = [str(label) for label in found[schema.PHASE].values]
    numbers = range(1, len(labels) + 1)
    return Table(("at.%", *labels), rows, caption="Compositions", numbers=numbers)


def tilts(evidence: VolumeEvidence) -> Section | None:
    """Make the section of the projections; None where nothing is known of them."""
    volume = evidence.volume
    if schema.TILT_PHOTONS not in volume and schema.TILT_CHI2 not in volume:
        return None
    blocks: list[Block] = [
        picture(
            "tilts",
            tilts_figure(volume),
            "Photons, exposure, moves and chi-squared of each tilt",
            caption="Crosses are tilts that the volume does not explain. χ² is 1 where only the noise of "
            "counts is left.",
            code="edxdask.figures.tilts(volume)",
        ),
        _tilt_table(volume),
    ]
    return Section("tilts", "Tilts", blocks)


def _tilt_table(volume: xr.Dataset) -> Table:
    columns: list[tuple[str, str, Callable[[Any], str]]] = [
        (schema.TILT_PHOTONS, "photons", lambda v: si(float(v)).strip()),
        (schema.TILT_EXPOSURE, "exposure", lambda v: f"{float(v):.3f}"),
        (schema.TILT_SHIFT_X, "moved along x, px", lambda v: f"{float(v):+.2f}"),
        (schema.TILT_SHIFT_Y, "along y, px", lambda v: f"{float(v):+.2f}"),
        (schema.TILT_CHI2, "χ²", lambda v: f"{float(v):.2f}"),
        (schema.TILT_REASON, "does not fit", str),
    ]
    kept = [one for one in columns if one[0] in volume]
    values = {name: volume[name].values for name, _, _ in kept}
    if schema.TILT_REASON in values and not any(map(str, values[schema.TILT_REASON])):
        kept = kept[:-1]
    rows = [
        (f"{float(tilt):.4g}°", *(write(values[name][i]) for name, _, write in kept))
        for i, tilt in enumerate(volume[schema.TILT].values)
    ]
    heads = ("tilt", *(head for _, head, _ in kept))
    numbers = [i for i, head in enumerate(heads) if head not in ("tilt", "does not fit")]
    return Table(heads, rows, numbers=numbers)
