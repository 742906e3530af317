"""Volumes larger than memory: peak memory beside the predicted one, time per slice, workers beside threads.

A body with precipitates and small cores (three phases), SIZE × ROWS × SIZE voxels, is projected to 57 tilts
a few rows at a time, and photons of 16 classes of channels are drawn: what ``tomography`` has made of a
series before its slabs begin. Then slabs are reconstructed as ``tomography`` does it, each case in a process
of its own, watched from outside:

- threads: two slabs at once within --limit; time per slice, and what 1024³ × 4 phases × 70 tilts would take
- workers: the same slabs on two worker processes; the volume must be that of threads to 1e-6
- whole: the first rows at once, beside the same rows in slabs; they must agree to 1e-3 rms

Times are processor time of all processes, which other work on the machine changes less than the clock.
What is finished is kept in --folder, and the same command continues.

    python benchmarks/tomography_scale.py --folder /scratch/tomo [--size 512] [--rows 256] [--tiny]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from scale import run_watched
from verdict import Verdict, load_average

GIB, CLASSES, PHASES = 2**30, 16, 3
DRAWN_ROWS = 8
THICK_COUNTS = 20.0  # photons of a pixel of the thick part
MOST_RATIO, SAME, WHOLE = 1.20, 1e-6, 1e-3
TARGET = (1024, 1024, 4, 70)  # side, slices, phases, tilts of the extrapolation


def phantom(size: int, first: int, stop: int, rows: int) -> np.ndarray:
    """Fractions (z, x, phase, row) of some rows: a rod, balls in it, and a core in every third ball."""
    rng = np.random.default_rng(0)
    z, x, y = np.meshgrid(np.arange(size), np.arange(size), np.arange(first, stop), indexing="ij")
    body = np.clip(0.4 * size - np.hypot(z - size / 2, x - size / 2) + 0.5, 0, 1)
    volume = np.zeros((PHASES, *body.shape), np.float32)
    count = max(4, 12 * rows // size)
    places = rng.uniform(0.25, 0.75, (count, 2)) * size
    for i, ((cz, cx), cy, radius) in enumerate(
        zip(places, rng.uniform(0, rows, count), rng.uniform(0.05, 0.11, count) * size, strict=True)
    ):
        if cy + radius < first or cy - radius > stop:
            continue
        far = np.sqrt((z - cz) ** 2 + (x - cx) ** 2 + (y - cy) ** 2)
        ball = np.clip(radius - far + 0.5, 0, 1)
        core = np.clip(0.4 * radius - far + 0.5, 0, 1) if i % 3 == 0 else np.zeros_like(ball)
        volume[1:] *= 1 - ball
        volume[1] += ball - core
        volume[2] += core
    volume[0] = body * (1 - volume[1] - volume[2])
    return np.ascontiguousarray(volume.transpose(1, 2, 0, 3))


def responses(size: int) -> np.ndarray:
    """Photons (phase, class) of full voxels: classes say more or less of each phase."""
    weights = np.random.default_rng(1).dirichlet(np.ones(PHASES) * 0.5, CLASSES).T + 0.05
    shape = weights / weights.sum(axis=1, keepdims=True)
    return (shape * THICK_COUNTS / (0.7 * size)).astype(np.float32)


def tilts(count: int) -> np.ndarray:
    return np.linspace(-70.0, 70.0, count)


def pieces(rows: int) -> Iterator[tuple[int, int, int]]:
    for number, first in enumerate(range(0, rows, DRAWN_ROWS)):
        yield number, first, min(first + DRAWN_ROWS, rows)


def class_cube(args: argparse.Namespace) -> Any:
    from edxdask.tomo.class_cube import ClassCube

    edges = (0, *(stop for _, _, stop in pieces(args.rows)))
    folder = Path(args.folder)
    shape = (args.tilts, args.rows, args.size, CLASSES)
    return ClassCube(folder / "classes", folder / "classes-journal", shape, edges)


def make(args: argparse.Namespace) -> dict[str, Any]:
    """Draw the photons, a few rows at a time; rows that are drawn already stay."""
    import zarr

    from edxdask.tomo.geometry import TiltGeometry
    from edxdask.tomo.projector import Projector
    from edxdask.tomo.records import write_record

    cube, rates, done = class_cube(args), responses(args.size), 0
    cube.create()
    array = zarr.open_array(cube.array, mode="r+")
    geometry = TiltGeometry.of(tilts(args.tilts))
    missing = cube.missing()
    for number, first, stop in pieces(args.rows):
        if number not in missing:
            continue
        projector = Projector(
            geometry, shape=(args.size, args.size), columns=args.size, volume_rows=stop - first
        )
        seen = projector.forward(phantom(args.size, first, stop, args.rows))
        rng = np.random.default_rng([2, number])
        counts = rng.poisson(np.einsum("tukr,kc->truc", seen, rates)).astype(np.uint16)
        array[:, first:stop] = counts
        photons = counts.sum(axis=(1, 2, 3), dtype=np.int64)
        write_record(
            cube.journal, number, photons=photons, left_out=0 * photons, largest=np.array(counts.max())
        )
        done += 1
    return {"photons": int(cube.photons()[0].sum()), "drawn": done, "cpu": sum(os.times()[:2])}


def slab_work(args: argparse.Namespace, name: str, threads: int = 1) -> Any:
    from edxdask.tomo.estimate import VolumeSettings
    from edxdask.tomo.geometry import TiltGeometry
    from edxdask.tomo.slabs import SlabWork

    cube, folder = class_cube(args), Path(args.folder)
    geometry = TiltGeometry.of(tilts(args.tilts))
    return SlabWork(
        cube=cube,
        narrow=cube.largest() <= 255,
        geometry=geometry,
        shape=(args.size, args.rows, args.size),
        responses=responses(args.size),
        settings=VolumeSettings(max_iter=args.passes),
        out=folder / name,
        journal=folder / f"{name}-journal",
        threads=threads,
    )


def reconstruct(args: argparse.Namespace, name: str, rows: tuple[int, int], wanted: int | None) -> Any:
    """Reconstruct slabs within the limit; on the active Client, or on threads."""
    from dataclasses import replace

    from edxdask.budget import return_large_arrays
    from edxdask.tomo.estimate import first_subsets
    from edxdask.tomo.memory import SlabSizes, rows_that_fit
    from edxdask.tomo.slabs import create_volume, plan_slabs, slab_tasks
    from edxdask.tomo.tasks import run_tasks

    return_large_arrays()
    work = slab_work(args, name)
    subsets = first_subsets(args.tilts, work.settings)
    sizes = SlabSizes(work.shape, args.tilts, args.size, CLASSES, PHASES, subsets=subsets, rows_alike=True)
    plan = rows_that_fit(sizes, wanted=wanted, workers=args.workers, memory_limit=f"{args.limit}GiB")
    work = replace(work, threads=plan.threads)
    tasks = slab_tasks(plan_slabs(rows, plan.slab_rows, work), work)
    shape = (args.size, rows[1] - rows[0], args.size)
    create_volume(work.out, PHASES, shape, plan.slab_rows, "float16", rows_last=False)
    begun = time.perf_counter()
    run_tasks(tasks, lambda number, made: None, workers=plan.at_once)
    return plan, len(tasks), time.perf_counter() - begun


def slabs(args: argparse.Namespace, name: str) -> dict[str, Any]:
    """Run all slabs; processor time of this process and its children."""
    from edxdask.cluster import client_for
    from edxdask.tomo.records import records

    on_workers = name == "workers"
    # a worker pauses at 80 % of what it is given
    memory = f"{1.25 * args.limit / args.workers:.2f}GiB"
    before = os.times()
    how = {"workers": args.workers, "memory": memory} if on_workers else {}
    with client_for("local" if on_workers else "threads", **how):
        plan, done, seconds = reconstruct(args, name, (0, args.rows), args.slab_rows)
    found = list(records(slab_work(args, name).journal))
    spent = sum(os.times()[:4]) - sum(before[:4])
    return {
        "predicted": plan.peak,
        "plan": str(plan),
        "slab_rows": plan.slab_rows,
        "slabs_done": done,
        "seconds": seconds,
        "cpu": spent,
        "passes": [int(one["objective"].size) for one in found],
        "converged": bool(all(bool(one["converged"]) for one in found)),
        "own_peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def whole(args: argparse.Namespace) -> dict[str, Any]:
    """Reconstruct a few rows at once and in slabs; both from the same photons."""
    import zarr

    rows = min(args.rows, 3 * args.whole_rows)
    part = argparse.Namespace(**{**vars(args), "limit": 64.0})
    plan, _, _ = reconstruct(part, "whole-at-once", (0, rows), rows)
    reconstruct(part, "whole-in-slabs", (0, rows), args.whole_rows)
    one, other = (
        np.asarray(zarr.open_array(Path(args.folder) / name, mode="r")[...], dtype=np.float32)
        for name in ("whole-at-once", "whole-in-slabs")
    )
    rms = float(np.sqrt(np.mean((one - other) ** 2)))
    return {"rows": rows, "slab_rows": args.whole_rows, "rms": rms, "predicted": plan.peak}


def difference(args: argparse.Namespace) -> dict[str, Any]:
    """Compare the volumes of threads and workers, slab by slab."""
    import zarr

    one, other = (zarr.open_array(Path(args.folder) / name, mode="r") for name in ("threads", "workers"))
    step, largest = int(one.chunks[2]), 0.0
    for first in range(0, one.shape[2], step):
        a, b = (np.asarray(each[:, :, first : first + step], dtype=np.float32) for each in (one, other))
        largest = max(largest, float(np.abs(a - b).max()))
    return {"largest": largest}


def at_target(args: argparse.Namespace, cpu_per_slice: float) -> float:
    """Hours of processor time of the target: rays grow with side² × tilts, and all with phases."""
    side, slices, phases, count = TARGET
    growth = (side / args.size) ** 2 * (phases / PHASES) * (count / args.tilts)
    return cpu_per_slice * growth * slices / 3600


def judge(args: argparse.Namespace, name: str, answer: dict[str, Any], watch: Any, verdict: Verdict) -> None:
    """Print one case beside its targets."""
    if name == "difference":
        verdict.at_most("workers beside threads, largest difference", answer["largest"], SAME, ".1e")
        return
    if name == "whole":
        text = f"{answer['rows']} rows at once and in slabs of {answer['slab_rows']}, rms difference"
        verdict.at_most(text, answer["rms"], WHOLE, ".1e")
        return
    marks = [m for pid, m in watch.marks.items() if name == "threads" or "spawn_main" in watch.names[pid]]
    peak = max(marks or watch.marks.values())
    print(f"{name}: {answer['plan']}; {load_average()}")
    if answer["slabs_done"] == 0:
        print("  all slabs were finished by an earlier run: no figures of memory and time")
        return
    rows = answer["slabs_done"] * answer["slab_rows"]
    each = answer["cpu"] / min(rows, args.rows)
    print(
        f"  {answer['slabs_done']} slabs of {answer['slab_rows']} rows, {min(answer['passes'])} to "
        f"{max(answer['passes'])} passes, {'all' if answer['converged'] else 'not all'} converged; "
        f"{answer['seconds']:.0f} s, processor time {answer['cpu']:.0f} s, {each:.2f} s per slice"
    )
    side, slices, phases, count = TARGET
    print(
        f"  {side}² × {slices} slices, {phases} phases, {count} tilts: {at_target(args, each):.1f} h of "
        "processor time with as many passes"
    )
    verdict.at_most(f"{name}, peak GiB", peak / GIB, args.limit, ".2f")
    ratio = max(peak / answer["predicted"], answer["predicted"] / peak)
    verdict.at_most(
        f"{name}, peak {peak / GIB:.2f} against predicted {answer['predicted'] / GIB:.2f} GiB, ratio",
        ratio, MOST_RATIO, ".2f",
    )  # fmt: skip


TASKS = {
    "make": make,
    "threads": lambda args: slabs(args, "threads"),
    "workers": lambda args: slabs(args, "workers"),
    "difference": difference,
    "whole": whole,
}


def run_all(args: argparse.Namespace) -> int:
    """Run the cases one after the other, each in a process of its own; the exit code."""
    verdict = Verdict(limits=not args.tiny)
    print(
        f"{args.size} × {args.rows} × {args.size} voxels, {PHASES} phases, {args.tilts} tilts; "
        f"{load_average()}",
        flush=True,
    )
    words = ("size", "rows", "tilts", "limit", "workers", "passes", "whole_rows")
    base = [sys.executable, __file__, "--folder", args.folder]
    for word in words:
        base += [f"--{word.replace('_', '-')}", str(getattr(args, word))]
    if args.slab_rows:
        base += ["--slab-rows", str(args.slab_rows)]
    for name in ("make", *args.cases):
        watch, text, seconds, code = run_watched([*base, "--task", name])
        if code:
            verdict.holds(f"{name} ends well (exit code {code})", False)
            continue
        answer = json.loads(text.splitlines()[-1])
        if name == "make":
            print(f"{answer['photons']} photons in {seconds:.0f} s, peak {watch.all_bytes / GIB:.2f} GiB")
        else:
            judge(args, name, answer, watch, verdict)
    return verdict.exit_code()


def main() -> int:
    """Parse; run a task, or all cases in children."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", help="where photons and volumes are kept; a temporary one if left out")
    parser.add_argument("--size", type=int, default=512, help="voxels along z and x")
    parser.add_argument("--rows", type=int, default=256)
    parser.add_argument("--tilts", type=int, default=57)
    parser.add_argument("--limit", type=float, default=4.0, help="GiB of all slabs at once")
    parser.add_argument("--workers", type=int, default=2, help="threads, and worker processes")
    parser.add_argument("--passes", type=int, default=60, help="most passes of a slab")
    parser.add_argument("--slab-rows", type=int)
    parser.add_argument("--whole-rows", type=int, default=16, help="rows of slabs beside three at once")
    parser.add_argument("--cases", nargs="+", choices=list(TASKS)[1:], default=list(TASKS)[1:])
    parser.add_argument("--tiny", action="store_true", help="a small volume, no targets")
    parser.add_argument("--task", choices=list(TASKS), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.task:
        print(json.dumps(TASKS[args.task](args)))
        return 0
    if args.tiny:
        args.size, args.rows, args.tilts, args.passes = 40, 24, 15, 12
        args.slab_rows, args.whole_rows = 8, 8
    if args.folder:
        Path(args.folder).mkdir(parents=True, exist_ok=True)
        return run_all(args)
    with tempfile.TemporaryDirectory(prefix="edxdask-volume-") as folder:
        args.folder = folder
        return run_all(args)


if __name__ == "__main__":
    sys.exit(main())
