"""From a prepared series to a finished store: the class cube, the slabs, and what is said of them."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import dask.array as da
import numpy as np
from dask.system import CPU_COUNT

from edxdask import schema
from edxdask.errors import EdxdaskError
from edxdask.io.groups import begin_group, finish_group, write_rest
from edxdask.io.target import Target
from edxdask.progress import Progress, ProgressHook
from edxdask.tomo.class_cube import BandTask, ClassCube, band_tasks, class_cube_in
from edxdask.tomo.estimate import first_subsets
from edxdask.tomo.memory import SlabMemory, SlabSizes, rows_that_fit
from edxdask.tomo.records import finished, write_record
from edxdask.tomo.slabs import Slab, SlabTask, SlabWork, create_volume, plan_slabs, slab_tasks
from edxdask.tomo.tasks import run_tasks, tasks_at_once
from edxdask.tomographies.absorbed import with_absorption
from edxdask.tomographies.fitted import fitted
from edxdask.tomographies.label import volume_of
from edxdask.tomographies.options import Options
from edxdask.tomographies.prepare import prepared_for, settings_of, shape_of
from edxdask.tomographies.prepared import Prepared
from edxdask.tomographies.series import Series

logger = logging.getLogger(__name__)

VOLUME = "volume"  # what progress calls it
BEGUN, CLASSES, ABSORBED, FITTED, SLABS = "begun", "classes", "absorbed", "fitted", "slabs"
BYTE = np.iinfo(np.uint8).max


def class_cube_of(series: Series, target: Target, prepared: Prepared) -> ClassCube:
    """Plan the class cube beside the unfinished volume."""
    folder, classes = target.scratch / CLASSES, prepared.responses.shape[1]
    journal = target.journal(CLASSES)
    return class_cube_in(folder, journal, series.counts, classes, most_bytes=prepared.band_bytes)


def write_class_cube(
    series: Series,
    cube: ClassCube,
    class_of: np.ndarray,
    *,
    rows: tuple[int, int],
    workers: int,
    progress: ProgressHook | None,
) -> None:
    """Write what is missing of the class cube; interrupted, it continues at the next call."""
    cube.create()
    counts = series.counts
    tasks = band_tasks(cube, counts, class_of, rows=rows)
    sizes = [stop - first for first, stop in zip(cube.edges[:-1], cube.edges[1:], strict=True)]
    before = sum(sizes[band] for band in finished(cube.journal))
    total = before + sum(sizes[task.number] for task in tasks)
    report = _reporter("counts by class", before, total, progress)

    def on_done(task: BandTask) -> None:
        report(sizes[task.number])

    _run(tasks, on_done, workers)


def reconstruct(
    slabs: Sequence[Slab],
    work: SlabWork,
    target: Target,
    memory: SlabMemory,
    *,
    progress: ProgressHook | None,
) -> None:
    """Reconstruct the slabs that are not finished."""
    tasks = slab_tasks(slabs, work)
    done = len(slabs) - len(tasks)
    before = sum(s.own[1] - s.own[0] for s in slabs) - sum(t.slab.own[1] - t.slab.own[0] for t in tasks)
    total = slabs[-1].own[1] - slabs[0].own[0]
    report = _reporter(f"{VOLUME} ({memory})", before, total, progress)
    target.finished("", done, len(slabs), what="slabs of the volume")

    def on_done(task: SlabTask) -> None:
        nonlocal done
        done += 1
        target.finished("", done, len(slabs), what="slabs of the volume")
        report(task.slab.own[1] - task.slab.own[0])

    _run(tasks, on_done, memory.at_once)


def _run(tasks: Sequence[Any], on_done: Callable[[Any], None], workers: int) -> None:
    by_number = {task.number: task for task in tasks}
    run_tasks(tasks, lambda number, made: on_done(by_number[number]), workers=workers)


def _reporter(label: str, before: int, total: int, progress: ProgressHook | None) -> Callable[[int], None]:
    """Turn finished rows into ``Progress``."""
    done = before

    def report(rows: int) -> None:
        nonlocal done
        done += rows
        if progress is not None:
            progress(Progress(label, done, total, "slice", before))

    if progress is not None:
        progress(Progress(label, before, total, "slice", before))
    return report


def fill(target: Target, series: Series, options: Options, entry: str, progress: ProgressHook | None) -> None:
    """Do all the work of a volume that is not done, and write it into the unfinished store."""
    begun = target.journal(BEGUN)
    write_record(begun, 0)  # from here on an interrupted run has something to continue
    try:
        prepared, series = prepared_for(series, options, target.scratch, progress)
        memory = memory_of(series, prepared, options)
        logger.info("tomography: %s", memory)
        if prepared.slab_rows == 0:
            prepared = replace(prepared, slab_rows=memory.slab_rows, band_bytes=memory.band_bytes)
            prepared.write(target.scratch)
        cube = class_cube_of(series, target, prepared)
    except EdxdaskError:
        if not finished(target.journal(SLABS)) and not finished(target.journal(CLASSES)):
            shutil.rmtree(begun)  # a parameter that is wrong leaves nothing behind
        raise
    rows = options.rows or (0, cube.shape[1])
    work = _work(series, cube, prepared, options, target, memory)
    slabs = plan_slabs(rows, prepared.slab_rows, work)
    seen = min(s.seen[0] for s in slabs), max(s.seen[1] for s in slabs)
    workers = tasks_at_once(options.workers, CPU_COUNT)
    write_class_cube(series, cube, prepared.class_of, rows=seen, workers=workers, progress=progress)
    work = replace(work, narrow=cube.largest() <= BYTE)
    prepared = with_absorption(prepared, work, series, options, target.journal(ABSORBED), progress)
    work = replace(work, responses=prepared.responses)
    found = fitted(prepared.trial_rows, work, options, target.journal(FITTED), progress)
    work = replace(
        work,
        responses=found.scale * prepared.responses,
        settings=replace(work.settings, strength=found.strength),
        out_scale=1.0 if prepared.fractions else found.scale,
    )
    with target.writing():
        _begin(target, work, prepared, rows, options.dtype)
    reconstruct(slabs, work, target, memory, progress=progress)
    array = da.from_zarr(str(work.out))
    made = volume_of(array, series, work, prepared, options, scale=found.scale, entry=entry)
    with target.writing():
        write_rest(target.store, made.drop_vars(schema.VOLUME), keep=schema.VOLUME)
        finish_group(target.store, made.attrs)


def memory_of(series: Series, prepared: Prepared, options: Options) -> SlabMemory:
    """Plan the memory of the slabs; those of an interrupted run keep their rows."""
    tilts, _, columns, _ = series.counts.shape
    sizes = SlabSizes(
        shape_of(series, options),
        tilts,
        columns,
        prepared.responses.shape[1],
        len(prepared.labels),
        rows_alike=not (prepared.geometry.shift_y.any() or prepared.geometry.rotation_deg.any()),
        subsets=first_subsets(tilts, settings_of(options, fractions=prepared.fractions)),
    )
    return rows_that_fit(
        sizes,
        wanted=prepared.slab_rows or options.slab_rows,
        workers=options.threads,
        memory_limit=options.memory_limit,
    )


def _work(
    series: Series,
    cube: ClassCube,
    prepared: Prepared,
    options: Options,
    target: Target,
    memory: SlabMemory,
) -> SlabWork:
    return SlabWork(
        cube=cube,
        narrow=False,
        geometry=prepared.geometry,
        shape=shape_of(series, options),
        responses=prepared.responses,
        settings=settings_of(options, fractions=prepared.fractions),
        out=target.store / schema.VOLUME,
        journal=target.journal(SLABS),
        threads=memory.threads,
        first_row=options.rows[0] if options.rows else 0,
        rows_last=series.along == schema.X,
    )


def _begin(target: Target, work: SlabWork, prepared: Prepared, rows: tuple[int, int], dtype: str) -> None:
    begin_group(target.store, "")
    depth, _, width = work.shape
    shape = (depth, rows[1] - rows[0], width)
    create_volume(work.out, len(prepared.labels), shape, prepared.slab_rows, dtype, rows_last=work.rows_last)
