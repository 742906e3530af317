"""Spectra that ``psnmf`` found on projections, judged and improved in three dimensions."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np

from edxdask import schema
from edxdask.progress import Progress, ProgressHook
from edxdask.quiet import quiet
from edxdask.tomo.class_cube import NO_CLASS, rows_by_class
from edxdask.tomo.estimate import VolumeSettings
from edxdask.tomo.geometry import TiltGeometry
from edxdask.tomo.projector import Projector
from edxdask.tomo.volume_spectra import VolumeSpectra, spectra_in_volume
from edxdask.tomographies.options import Options
from edxdask.tomographies.phases import PhaseSpectra, found_spectra
from edxdask.tomographies.series import Series

logger = logging.getLogger(__name__)

WIDE, ROWS_IF_WIDE = 256, 4  # columns from which on fewer rows say enough


def refined_spectra(
    found: PhaseSpectra,
    series: Series,
    options: Options,
    geometry: TiltGeometry,
    shape: tuple[int, int, int],
    rows: tuple[int, int],
    scratch: Path,
    progress: ProgressHook | None,
) -> PhaseSpectra:
    """Improve free spectra by what some rows say in three dimensions; those of elements stay as they are.

    Parameters
    ----------
    found : PhaseSpectra
        Of the projections.
    series : Series
        Without empty projections.
    options : Options
        What was asked for.
    geometry : TiltGeometry
        Of the projections.
    shape : (int, int, int)
        Voxels (z, row, column) of the whole volume.
    rows : (int, int)
        First of the rows that are looked at, and the end.
    scratch : path
        Folder beside the unfinished volume.
    progress : callable, optional
        Called with a ``Progress``.
    """
    if found.composition is not None or len(found.labels) < 2:
        return found
    if progress is not None:
        progress(Progress("spectra of the phases in three dimensions", 0, None, "trial"))
    depth, height, width = shape
    if width > WIDE:
        rows = (rows[0], min(rows[1], rows[0] + ROWS_IF_WIDE))
    projector = Projector(
        geometry, shape=(depth, width), columns=width, rows=rows, volume_rows=height, threads=options.threads
    )
    counts = series.counts[:, slice(*projector.detector_rows)]

    def counts_of(class_of: np.ndarray) -> np.ndarray:
        return rows_by_class(counts, class_of, int(class_of[class_of != NO_CLASS].max()) + 1).counts

    def more_spectra(phases: int) -> np.ndarray:
        with quiet("edxdask"):  # of phases that no result has
            more = found_spectra(
                series.cube,
                phases=phases,
                elements=None,
                absent=None,
                seed=options.seed,
                workers=options.workers,
                memory_limit=options.memory_limit,
                checkpoint=scratch / "psnmf-more",
            )
        return more.spectrum

    settings = VolumeSettings(seed=options.seed)
    better = spectra_in_volume(
        counts_of, projector, found.spectrum, more_spectra, settings, first=found.first
    )
    return _taken(found, better) if better.changed else found


def _taken(found: PhaseSpectra, better: VolumeSpectra) -> PhaseSpectra:
    """Put the better spectra into the result, and say so there."""
    text = (
        "spectra of phases were found again in three dimensions, since those of the projections are mixtures "
        "of phases there: the log-likelihood of photons kept apart gained "
        f"{better.gain:.0f} ± {better.std:.0f}"
    )
    logger.info("tomography: %s", text)
    spectrum = found.shared[schema.SPECTRUM].transpose(schema.PHASE, schema.ENERGY).copy(data=better.spectra)
    warnings = [*found.shared.attrs.get(schema.WARNINGS, []), text]
    shared = found.shared.assign({schema.SPECTRUM: spectrum}).assign_attrs({schema.WARNINGS: warnings})
    return replace(found, shared=shared)
