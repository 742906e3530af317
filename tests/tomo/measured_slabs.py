"""Reconstruct slabs of a random class cube in a process of its own; print its peak and what was predicted."""

from __future__ import annotations

import json
import re
import sys
import tempfile
from pathlib import Path

import numpy as np
import zarr

from edxdask.budget import resident_memory
from edxdask.tomo.class_cube import ClassCube
from edxdask.tomo.estimate import VolumeSettings, first_subsets
from edxdask.tomo.geometry import TiltGeometry
from edxdask.tomo.memory import SlabSizes, rows_that_fit
from edxdask.tomo.records import write_record
from edxdask.tomo.slabs import SlabWork, create_volume, plan_slabs, slab_tasks
from edxdask.tomo.tasks import run_tasks


def main(
    width: int, rows: int, tilts: int, phases: int, workers: int, slab_rows: int, shift_y: float
) -> None:
    rng, classes = np.random.default_rng(0), 16
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cube = ClassCube(folder / "classes", folder / "j", (tilts, rows, width, classes), (0, rows))
        cube.create()
        array, every = zarr.open_array(cube.array, mode="r+"), 8
        for first in range(0, rows, every):
            size = (tilts, min(every, rows - first), width, classes)
            array[:, first : first + every] = rng.poisson(0.3, size)
        write_record(cube.journal, 0, largest=np.array(9), photons=np.ones(tilts), left_out=np.zeros(tilts))
        settings = VolumeSettings(max_iter=10, strength=0.1)
        geometry = TiltGeometry.of(np.linspace(-70, 70, tilts), shift_y=shift_y)
        work = SlabWork(
            cube, True, geometry, (width, rows, width), rng.random((phases, classes)).astype("f4"), settings,
            folder / "volume", folder / "slabs",
        )  # fmt: skip
        sizes = SlabSizes(
            work.shape,
            tilts,
            width,
            classes,
            phases,
            subsets=first_subsets(tilts, settings),
            rows_alike=shift_y == 0,
        )
        plan = rows_that_fit(sizes, wanted=slab_rows, workers=workers, memory_limit="64GiB")
        create_volume(work.out, phases, work.shape, slab_rows, "float32", rows_last=False)
        before = resident_memory()
        run_tasks(
            slab_tasks(plan_slabs((0, rows), slab_rows, work), work), lambda n, m: None, workers=workers
        )
    # of this program alone: the resource limits' figure is at least that of the process that started it
    peak = int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024
    found = {"peak": peak, "predicted": plan.peak, "base": plan.base, "each": plan.each, "before": before}
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main(*json.loads(sys.argv[1]))
