"""All that comes before slabs: spectra, geometry, yields, classes, how many rows a slab has."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np

from edxdask import schema
from edxdask.errors import SchemaError
from edxdask.ops import total_map
from edxdask.progress import Progress, ProgressHook
from edxdask.tomo.class_cube import NO_CLASS
from edxdask.tomo.classes import class_responses, classes_of
from edxdask.tomo.estimate import STRENGTH, VolumeSettings
from edxdask.tomographies.fitted import richest_rows
from edxdask.tomographies.model import views_of, yields_of
from edxdask.tomographies.options import Options
from edxdask.tomographies.phases import PhaseSpectra, found_spectra, spectra_of
from edxdask.tomographies.prepared import Prepared
from edxdask.tomographies.refined import refined_spectra
from edxdask.tomographies.series import FEWEST_TILTS, Series

logger = logging.getLogger(__name__)


def prepared_for(
    series: Series, options: Options, scratch: Path, progress: ProgressHook | None
) -> tuple[Prepared, Series]:
    """Find what slabs need, or take what an interrupted run found; the series comes without empty tilts.

    Parameters
    ----------
    series : Series
        As it was given.
    options : Options
        What was asked for.
    scratch : path
        Folder beside the unfinished volume.
    progress : callable, optional
        Called with a ``Progress``.
    """
    kept = Prepared.read(scratch)
    if kept is not None:
        return kept, series.without(kept.left_out.tolist())
    totals = _totals(series, progress)
    series, totals, empty, warnings = _without_empty(series, totals)
    found = _spectra(series, options, scratch)
    views = views_of(series, totals, options)
    trial_rows = richest_rows(totals.sum(axis=(0, 2), dtype=np.float64), _rows(series, options))
    if options.result is None:
        shape = shape_of(series, options)
        found = refined_spectra(found, series, options, views.geometry, shape, trial_rows, scratch, progress)
    yields = yields_of(found, series, options, cut=views.cut)
    responses = found.spectrum * yields.ratio[:, None]
    class_of = _classes(responses, found.first)
    names = [str(n) for n in found.shared.data_vars if n != schema.SPECTRUM]
    coords = found.shared.coords
    elements = list(coords[schema.ELEMENT].values) if schema.ELEMENT in coords else []
    prepared = Prepared(
        left_out=empty,
        geometry=views.geometry,
        labels=found.labels,
        spectra=found.spectrum,
        yields=yields.ratio,
        fractions=yields.fractions,
        class_of=class_of,
        responses=responses_of(found.spectrum, yields.ratio, class_of),
        slab_rows=0,
        band_bytes=0,
        trial_rows=trial_rows,
        variables={n: np.asarray(found.shared[n].values) for n in names} | dict(views.errors),
        elements=[str(one) for one in elements],
        attrs={k: v for k, v in found.shared.attrs.items() if k in KEPT_ATTRIBUTES},
        warnings=[*warnings, *found.shared.attrs.get(schema.WARNINGS, []), *views.warnings, *yields.warnings],
    )
    return prepared, series


def _rows(series: Series, options: Options) -> tuple[int, int]:
    return options.rows or (0, series.counts.shape[1])


KEPT_ATTRIBUTES = (schema.ELEMENTS, schema.LOWEST_ENERGY, schema.BEAM_ENERGY)


def _totals(series: Series, progress: ProgressHook | None) -> np.ndarray:
    """Photons (tilt, row, column)."""
    if progress is not None:
        progress(Progress("photons of the projections", 0, None, "read"))
    return series.image(total_map(series.cube).compute())


def _without_empty(series: Series, totals: np.ndarray) -> tuple[Series, np.ndarray, np.ndarray, list[str]]:
    """Leave out projections without photons, and say so."""
    empty = np.flatnonzero(totals.sum(axis=(1, 2), dtype=np.int64) == 0)
    if not empty.size:
        return series, totals, empty, []
    named = ", ".join(f"{series.tilt_deg[i]:g}°" for i in empty[:8])
    if totals.shape[0] - empty.size < FEWEST_TILTS:
        raise SchemaError(
            f"only {totals.shape[0] - empty.size} projections of tilts hold photons (none: {named}): a "
            f"volume needs at least {FEWEST_TILTS}"
        )
    warning = f"{empty.size} of {totals.shape[0]} projections hold no photons and were left out: {named}"
    logger.warning("%s", warning)
    return series.without(empty.tolist()), np.delete(totals, empty, axis=0), empty, [warning]


def _spectra(series: Series, options: Options, scratch: Path) -> PhaseSpectra:
    if options.result is not None:
        return spectra_of(options.result, series.cube)
    return found_spectra(
        series.cube,
        phases=options.phases,
        elements=options.elements,
        absent=options.absent,
        seed=options.seed,
        workers=options.workers,
        memory_limit=options.memory_limit,
        checkpoint=scratch / "psnmf",
    )


def _classes(responses: np.ndarray, first: int) -> np.ndarray:
    """Class of each channel; those below the first usable one have none."""
    class_of = np.full(responses.shape[1], NO_CLASS, dtype=np.int16)
    class_of[first:] = classes_of(responses[:, first:])
    return class_of


def shape_of(series: Series, options: Options) -> tuple[int, int, int]:
    """Voxels (z, row, column) of the whole volume: as deep as wide, where its depth is not given."""
    _, rows, columns, _ = series.counts.shape
    if options.depth is None:
        return columns, rows, columns
    return max(1, round(options.depth / (series.step or 1.0))), rows, columns


def responses_of(spectra: np.ndarray, ratio: np.ndarray, class_of: np.ndarray) -> np.ndarray:
    """Sum spectra (phase, energy) times their yields over classes of channels: (phase, class)."""
    used = class_of != NO_CLASS
    return class_responses((spectra * ratio[:, None])[:, used], class_of[used])


def settings_of(options: Options, *, fractions: bool) -> VolumeSettings:
    """Give settings of the estimator; without yields nothing says how much fills a voxel."""
    how: dict[str, Any] = {"prior": options.prior, "max_iter": options.max_iter, "tol": options.tol}
    strength = STRENGTH if options.strength is None else options.strength
    return VolumeSettings(strength=strength, cap=options.cap and fractions, seed=options.seed, **how)
