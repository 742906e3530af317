"""A collection from vendor files to a table: memory, seconds per map, and how both grow with the maps.

The maps are neighbours of the mantle sample, each on an energy axis of its own (±15 eV, ±0.2 %), simulated
and exported to vendor files (.hspy) one after the other. Then, each in a separate process whose memory is
watched with all the processes it starts: ``ingest`` of all files; ``psnmf`` of all maps together; ``aided``;
the table of traces. On threads for a quarter, half and all of the maps, which gives the slope; and for all
maps on two worker processes. ``psnmf`` keeps photons in memory as long as they fit, so it runs once more with
as little memory per map as 64 maps have in 8 GiB. At last ``fcls`` of a map beside ``scipy.optimize.nnls`` of
some of its pixels.

    python benchmarks/collection.py --folder /scratch/maps [--maps 8] [--size 1024] [--channels 4096] [--tiny]

What is finished is kept in the folder, files and figures alike: the same command goes on where it was
stopped. A map of 1024² × 4096 at 40 counts per pixel takes some 0.3 GB there, its file included. The exit
code is 1 where a stage takes more than its memory, or ``aided`` and ``traces`` grow by more than 64 MiB for
each map of 1024²; --tiny checks only that all runs, on threads.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from measure import measure
from verdict import Verdict, load_average

# This process stays small: everything heavy runs in children.

GIB, MIB = 2**30, 2**20
LIMIT_GIB, MOST_PER_MAP = 8.0, 64 * MIB  # a map of 1024²
ELEMENTS = ["O", "Mg", "Al", "Si", "Ca", "Fe", "Cu", "Nd", "Sm", "U"]
PHASES = ["Brg", "Fp", "CaPv"]
ABSENT = {"Fp": "Si", "CaPv": "Mg"}
CONTENT = {"Brg": {"Nd": 0.025, "Sm": 0.031, "U": 0.01}, "CaPv": {"Nd": 3.0, "Sm": 1.69, "U": 0.63}}
OFFSET_KEV, RANGE_KEV, MOVED_KEV, STRETCHED = -0.2, 20.48, 0.015, 0.002
FULL_CHANNELS = 4096  # on which the range is divided
STAGES = ("psnmf", "aided", "traces")
THREADS, WORKERS, TIGHT = "threads", "workers", "tight"
FIXED_GIB, MOST_MAPS = 0.5, 64  # memory that does not grow with the maps; maps that the limit is for
FIGURES, MAPS = "figures.json", "maps.zarr"


def make_file(args: argparse.Namespace, number: int) -> dict[str, Any]:
    """Simulate a map into a store and export it as a vendor file."""
    import numpy as np

    import edxdask
    from edxdask import schema

    target = Path(args.folder) / f"m{number:02d}.hspy"
    store = target.with_suffix(".simulated.zarr")
    draw = np.random.default_rng(number)
    moved, gain = draw.uniform(-MOVED_KEV, MOVED_KEV), 1 + draw.uniform(-STRETCHED, STRETCHED)
    step = RANGE_KEV / FULL_CHANNELS * (FULL_CHANNELS / args.channels)
    made = edxdask.simulate(
        shape=(args.size, args.size), counts=args.counts, seed=number, channels=args.channels,
        compositions=CONTENT, energy_offset=OFFSET_KEV * gain + moved, energy_scale=step * gain,
        out=store, overwrite=True, progress=False,
    )  # fmt: skip
    cube = made[[schema.COUNTS]].assign_coords(
        energy=schema.energy_coordinate(OFFSET_KEV, step, args.channels)
    )
    edxdask.export(cube, target, overwrite=True, progress=False)
    shutil.rmtree(store)
    return {"bytes": target.stat().st_size}


def ingest_files(args: argparse.Namespace) -> dict[str, Any]:
    """Make one collection of all files."""
    import edxdask

    folder = Path(args.folder)
    files = [folder / f"m{i:02d}.hspy" for i in range(args.maps)]
    data = edxdask.ingest(files if len(files) > 1 else files[0], folder / MAPS, resume=True, progress=Shown())
    size = sum(p.stat().st_size for p in (folder / MAPS).rglob("*") if p.is_file())
    return {"maps": len(getattr(data, "children", {})), "bytes": size}


class Shown:
    """Progress of the whole on stderr, a line for every tenth; remembers what was shown."""

    def __init__(self) -> None:
        self.lines: dict[str, int] = {}

    def __call__(self, report: Any) -> None:
        """Print a report that is a tenth further than the last one of its label."""
        done = report.done / report.total if report.total else 0.0
        label = report.label.split(" m")[0] if report.label.startswith("ingest") else report.label
        if int(10 * done) != self.lines.get(label):
            self.lines[label] = int(10 * done)
            print(f"    {report.label}: {report.done:.0f} of {report.total} {report.unit}", file=sys.stderr)


def run_stage(args: argparse.Namespace) -> dict[str, Any]:
    """Run one stage of some maps; runs in a separate process."""
    from edxdask.cluster import client_for

    half = f"{LIMIT_GIB / 2 - 0.5}GiB"
    how = {"workers": 2, "memory": half} if args.case == WORKERS else {}
    shown = Shown()
    with client_for("local" if how else "threads", **how):
        found = work(args, shown, None if how else f"{limit_gib(args)}GiB")
    return {**found, "labels": sorted(shown.lines)}


def limit_gib(args: argparse.Namespace) -> float:
    """Memory that a stage may take."""
    per_map = (LIMIT_GIB - FIXED_GIB) / MOST_MAPS
    return FIXED_GIB + per_map * args.maps if args.case == TIGHT else LIMIT_GIB


def work(args: argparse.Namespace, shown: Shown, limit: str | None) -> dict[str, Any]:
    """Do what a stage does, and keep its result beside the maps."""
    import edxdask

    folder = Path(args.folder)
    names = [f"m{i:02d}" for i in range(args.number)]
    whole = edxdask.open(folder / MAPS)
    maps = edxdask.collect({name: whole[name].to_dataset() for name in names})
    kept = {stage: folder / f"{stage}-{args.case}-{args.number}.zarr" for stage in STAGES}
    how: dict[str, Any] = {"memory_limit": limit, "progress": shown, "cache": folder}
    if args.stage == "psnmf":
        checkpoint = folder / f"checkpoint-{args.case}-{args.number}"
        found = edxdask.psnmf(
            maps, phases=PHASES, elements=ELEMENTS, absent=ABSENT, bin=args.bin, smooth=args.smooth,
            checkpoint=checkpoint, **how,
        )  # fmt: skip
        edxdask.save(found, kept["psnmf"], overwrite=True, progress=False)
        shutil.rmtree(checkpoint, ignore_errors=True)
        return {}
    before = edxdask.open(kept["psnmf" if args.stage == "aided" else "aided"])
    if args.stage == "aided":
        un = edxdask.aided(maps, matrix="Brg", absent=ABSENT, result=before, **how)
        edxdask.save(un, kept["aided"], overwrite=True, progress=False)
        return {"core_px": un.attrs["core_width_px"]}
    found = edxdask.traces(maps, result=before, phase="Brg", elements=["Nd", "Sm", "U"], absent=ABSENT, **how)
    frame = found.edx.table()
    frame.to_csv(kept["traces"].with_suffix(".csv"))
    last = frame.loc["all maps"]
    ppm = {
        name: [round(float(row[head]), 1) for head in ("ppm", "ppm error")] for name, row in last.iterrows()
    }
    return {"ppm": ppm, "belong": bool(found.map_belongs.all())}


def beside_nnls(args: argparse.Namespace) -> dict[str, Any]:
    """Abundances of a map by ``fcls``, read from its store, and of some of its pixels by SciPy's ``nnls``."""
    import numpy as np
    from scipy.optimize import nnls

    import edxdask

    whole = edxdask.open(Path(args.folder) / MAPS / "m00")
    spectra = edxdask.open(Path(args.folder) / f"psnmf-{THREADS}-{args.maps}.zarr" / "m00")["spectrum"]
    spectra = spectra.assign_coords(energy=whole.energy)
    edxdask.fcls(whole.isel(y=slice(2)).load(), spectra, progress=False)  # kernels are compiled
    begin = time.process_time()
    found = edxdask.fcls(whole, spectra, workers=1, progress=False)
    ours = time.process_time() - begin
    part = {"y": slice(min(args.size, 64)), "x": slice(min(args.size, 64))}
    counts = whole.counts.isel(part).values.reshape(-1, whole.sizes["energy"])
    table = found["spectrum"].transpose("phase", "energy").values
    first = int(np.argmax(table.sum(axis=0) > 0))
    begin = time.process_time()
    heavy = 1e3 * np.abs(table).max()  # of the equation that fractions sum to 1
    system = np.vstack([table[:, first:].T, np.full((1, len(table)), heavy)])
    rows = [nnls(system, np.append(one[first:] / max(one[first:].sum(), 1), heavy))[0] for one in counts]
    theirs = time.process_time() - begin
    fractions = found["abundance"].isel(part).transpose("y", "x", "phase").values.reshape(-1, len(table))
    lit = counts[:, first:].sum(axis=1) > 0
    return {
        "fcls_us": 1e6 * ours / args.size**2,
        "nnls_us": 1e6 * theirs / len(counts),
        "largest_difference": float(np.abs(fractions - np.array(rows))[lit].max()),
    }


class Kept:
    """Figures of finished tasks, in the folder; a task that has one is not run again."""

    def __init__(self, folder: Path, base: list[str]) -> None:
        self.path, self.base = folder / FIGURES, base
        self.figures: dict[str, Any] = json.loads(self.path.read_text()) if self.path.exists() else {}

    def run(self, *words: str) -> dict[str, Any]:
        """Run a task in a child, watch its memory, keep its figures."""
        key = " ".join(words)
        if key not in self.figures:
            print(f"  {key} …", file=sys.stderr, flush=True)
            done = measure([*self.base, *words])
            answer = json.loads(done.output.splitlines()[-1])
            self.figures[key] = {"seconds": done.seconds, "peak": done.peak_bytes, **answer}
            self.path.write_text(json.dumps(self.figures, indent=1))
        found: dict[str, Any] = self.figures[key]
        return found


def run_all(args: argparse.Namespace, verdict: Verdict) -> None:
    """Make the maps, run all stages, print figures and slopes."""
    folder = Path(args.folder)
    folder.mkdir(parents=True, exist_ok=True)
    base = [sys.executable, __file__, "--folder", str(folder)]
    for name in ("maps", "size", "channels", "counts", "bin", "smooth"):
        base += [f"--{name}", str(getattr(args, name))]
    kept = Kept(folder, base)
    for i in range(args.maps):
        kept.run("--task", "file", "--number", str(i))
    found = kept.run("--task", "ingest")
    print(
        f"ingest of {args.maps} files: {found['seconds'] / args.maps:.1f} s per map, peak "
        f"{found['peak'] / GIB:.2f} GiB, store {found['bytes'] / args.maps / MIB:.0f} MiB per map; "
        f"{load_average()}"
    )
    verdict.at_most("ingest, peak in GiB", found["peak"] / GIB, LIMIT_GIB)
    numbers = sorted({max(args.maps // 4, 2), max(args.maps // 2, 2), args.maps})
    cases = [(THREADS, numbers), *([] if args.tiny else [(WORKERS, [args.maps])])]
    for case, of in cases:
        for stage in STAGES:
            runs = [
                kept.run("--task", "stage", "--stage", stage, "--case", case, "--number", str(n)) for n in of
            ]
            print_stage(args, case, stage, of, runs, verdict)
    if not args.tiny:
        print_tight(args, kept, verdict)
    found = kept.run("--task", "nnls")
    print(
        f"fcls with reading {found['fcls_us']:.1f} µs per pixel, scipy.optimize.nnls without "
        f"{found['nnls_us']:.0f} µs ({found['nnls_us'] / found['fcls_us']:.1f} times); "
        f"largest difference of a fraction {found['largest_difference']:.1e}"
    )


def print_tight(args: argparse.Namespace, kept: Kept, verdict: Verdict) -> None:
    """Run ``psnmf`` of all maps with little memory, photons on disk, and print what it took."""
    found = kept.run("--task", "stage", "--stage", "psnmf", "--case", TIGHT, "--number", str(args.maps))
    args.case = TIGHT
    print(f"psnmf of {args.maps} maps with photons on disk: {found['seconds']:.0f} s; {load_average()}")
    verdict.at_most("psnmf with little memory, peak in GiB", found["peak"] / GIB, limit_gib(args))


def print_stage(
    args: argparse.Namespace,
    case: str,
    stage: str,
    of: list[int],
    runs: list[dict[str, Any]],
    verdict: Verdict,
) -> None:
    """Print seconds and memory of a stage, and how they grow with the maps."""
    cells = ", ".join(
        f"{n} maps {run['seconds']:.0f} s and {run['peak'] / GIB:.2f} GiB"
        for n, run in zip(of, runs, strict=True)
    )
    print(f"{stage} on {case}: {cells}; shown: {', '.join(runs[-1]['labels'])}; {load_average()}")
    for key in ("core_px", "ppm", "belong"):
        if key in runs[-1]:
            print(f"  {key}: {runs[-1][key]}")
    verdict.at_most(f"{stage} on {case}, peak in GiB", runs[-1]["peak"] / GIB, LIMIT_GIB)
    if len(of) > 1:
        more = of[-1] - of[0]
        slope = (runs[-1]["peak"] - runs[0]["peak"]) / more
        seconds = (runs[-1]["seconds"] - runs[0]["seconds"]) / more
        print(f"  for each further map {seconds:.1f} s")
        allowed = MOST_PER_MAP * (args.size / 1024) ** 2 / MIB
        if stage == "psnmf":
            print(f"  with photons in memory, for each further map {slope / MIB:.0f} MiB")
        else:
            verdict.at_most(f"{stage}, MiB for each further map", slope / MIB, allowed)


def main() -> int:
    """Parse; run a task, or all of them in children."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", help="where maps, results and figures are kept")
    parser.add_argument("--maps", type=int, default=8)
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--channels", type=int, default=FULL_CHANNELS)
    parser.add_argument("--counts", type=float, default=40.0)
    parser.add_argument("--bin", type=int, default=8)
    parser.add_argument("--smooth", type=float, default=1.0)
    parser.add_argument("--tiny", action="store_true", help="two small maps, no targets")
    for name in ("--task", "--stage", "--case"):
        parser.add_argument(name, help=argparse.SUPPRESS)
    parser.add_argument("--number", type=int, default=0, help=argparse.SUPPRESS)
    args = parser.parse_args()
    tasks = {
        "file": lambda: make_file(args, args.number), "ingest": lambda: ingest_files(args),
        "stage": lambda: run_stage(args), "nnls": lambda: beside_nnls(args),
    }  # fmt: skip
    if args.task:
        begin = sum(os.times()[:4])
        answer = tasks[args.task]()
        print(json.dumps({**answer, "processor_seconds": sum(os.times()[:4]) - begin}))
        return 0
    if not (args.folder or args.tiny):
        parser.error("--folder is needed: maps and results are kept there")
    if args.tiny:
        args.maps, args.size, args.channels, args.counts, args.bin = 2, 32, 600, 200.0, 4
    verdict = Verdict(limits=not args.tiny)
    size = f"{args.size}² × {args.channels}, {args.counts:g} counts per pixel"
    print(f"{args.maps} maps of {size}; {load_average()}")
    with tempfile.TemporaryDirectory() as temporary:
        args.folder = os.path.abspath(args.folder or temporary)
        run_all(args, verdict)
    return verdict.exit_code()


if __name__ == "__main__":
    sys.exit(main())
