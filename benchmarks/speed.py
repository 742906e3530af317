"""Seconds of an NMF iteration and of a whole unmixing, beside scikit-learn on the same photons.

One core each, the same start, single precision, k = 3, on a simulated mantle map of 512 × 512 × 2048 at 120
counts per pixel. Times of iterations are processor time, so that other work on the machine has no effect;
each is a median. An iteration guided by 12 elements is compared with a model-free one, and so is the
whole call: where nothing stops it before, the guided one iterates twice as often (columns common to all
phases, then separate ones), and its calibration costs the same on any map. The time to scikit-learn's own
final objective (its default run: up to 200 iterations, tol=1e-4) is taken on a part of the map, for both
sides, and is printed with the size of that part. Last, the whole of ``psnmf`` from a store on two cores,
reading included, in seconds of the clock.

    python benchmarks/speed.py [--side 512] [--objective-side 256] [--repeats 3] [--tiny]

Needs about 9 GB of memory at full size: scikit-learn holds the cube dense. The exit code is 1 where a target
is missed; --tiny checks only that everything runs.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

from verdict import Verdict, child, load_average, one_core

# This process stays small: what needs the cube runs in children, one at a time.

PHASES, CHANNELS, COUNTS, SEED = 3, 2048, 120.0, 0
OURS_ITERATIONS, THEIR_ITERATIONS = 24, 5
DEFAULT_RUN = 200  # scikit-learn's max_iter
DENSE_TARGET, CSR_TARGET, OBJECTIVE_TARGET, PSNMF_SECONDS = 150.0, 200.0, 200.0, 30.0
BOUND_TARGET = 0.40  # of the tighter bound
ELEMENTS = ("Mg", "Si", "Al", "Ca", "Fe", "Nd", "Sm", "U", "Cu", "O", "Na", "Ti")  # 10 are in the map
GUIDED_TARGET = 1.5  # times a model-free iteration


def make_store(path: str, side: int, channels: int) -> dict[str, Any]:
    """Simulate the map into a store."""
    import edxdask

    edxdask.simulate("mantle", shape=(side, side), counts=COUNTS, channels=channels, seed=SEED, out=path)
    return {}


def corner(store: str, side: int) -> Any:
    """Counts of the map's first ``side`` rows and columns, as a cube."""
    import edxdask

    ds = edxdask.open(store)
    return ds.isel(y=slice(0, side), x=slice(0, side))


def start_of(pixels: int, channels: int, mean: float) -> Any:
    """Random factors of the right size, those of ``nmf(init="random")``, for both sides."""
    import numpy as np

    from edxdask.factorize.iteration.starts import random_spectra
    from edxdask.photons.random_starts import uniform_start

    scale = float(np.sqrt(4 * mean / PHASES))
    abundance = scale * uniform_start(SEED, np.arange(pixels), PHASES)
    return abundance.astype(np.float32), random_spectra(PHASES, channels, np.dtype(np.float32), SEED, scale)


def ours(store: str, side: int, repeats: int) -> dict[str, Any]:
    """Processor seconds of one plain iteration through ``nmf``, and of its kernels alone."""
    from edxdask import photons
    from edxdask.factorize.nmf import nmf

    ds = corner(store, side)
    block = photons.from_dense(ds.counts.values)
    abundance, spectra = start_of(block.pixels, block.channels, block.total / block.pixels / block.channels)
    laps: list[float] = []
    for _ in range(repeats):
        times: list[float] = []
        nmf(
            ds, phases=PHASES, init=(abundance, spectra), max_iter=OURS_ITERATIONS, tol=0, accelerate=False,
            workers=1, progress=lambda _, times=times: times.append(time.process_time()),
        )  # fmt: skip
        laps.append((times[-1] - times[0]) / (len(times) - 1))  # evaluations of the objective are among them
    arranged, lap = photons.for_sweeps(block), []
    for _ in range(4 * repeats):
        work = abundance.copy()
        begin = time.process_time()
        photons.kl_sweep(arranged, work, spectra)
        lap.append(time.process_time() - begin)
    return {
        "laps": laps,
        "kernel": statistics.median(lap[1:]),
        "nonzeros": int(block.count.size),
        "photons": block.total,
    }


def guided(store: str, side: int, repeats: int) -> dict[str, Any]:
    """Processor seconds of iterations and of whole calls of ``nmf``, model-free and guided, in turn."""
    from edxdask.factorize.nmf import nmf

    ds = corner(store, side).load()
    options = {"phases": PHASES, "max_iter": OURS_ITERATIONS, "tol": 0, "accelerate": False, "workers": 1}
    laps: dict[str, list[float]] = {}
    calls: dict[str, list[float]] = {"free": [], "guided": []}
    for turn in range(repeats + 1):  # the first compiles
        for name, elements in (("free", None), ("guided", ELEMENTS)):
            times: dict[str, list[float]] = {}
            begin = time.process_time()
            nmf(
                ds, elements=elements, **options,
                progress=lambda p, times=times: times.setdefault(p.label, []).append(time.process_time()),
            )  # fmt: skip
            if turn:
                calls[name].append(time.process_time() - begin)
                for label, moments in times.items():
                    laps.setdefault(f"{name} {label}", []).extend(b - a for a, b in pairwise(moments))
    return {
        "calls": {name: statistics.median(seconds) for name, seconds in calls.items()},
        "laps": {name: statistics.median(seconds) for name, seconds in laps.items()},
    }


def bounds(store: str, side: int, repeats: int) -> dict[str, Any]:
    """Print the kernel beside the machine's memory and arithmetic bounds; the tighter one in seconds."""
    import contextlib

    import numpy as np
    from kernels import compare_bounds, sweeps

    from edxdask import photons

    block = photons.for_sweeps(photons.from_dense(corner(store, side).counts.values))
    with contextlib.redirect_stdout(sys.stderr):  # the answer alone goes to standard output
        seconds = sweeps(block, PHASES, np.float32, 3 * repeats)["kl"]
        bound, fraction = compare_bounds(block, seconds, 2000 if side > 64 else 20, 3 * repeats)
    return {"bound": bound, "fraction": fraction}


def their_iteration(store: str, side: int, repeats: int, form: str) -> dict[str, Any]:
    """Processor seconds of one iteration of scikit-learn: a longer run minus a shorter one."""
    counts, abundance, spectra = their_input(store, side, form)

    def run(iterations: int) -> float:
        model = their_model(max_iter=iterations, tol=0.0)
        begin = time.process_time()
        model.fit_transform(counts, W=abundance.copy(), H=spectra.copy())
        return time.process_time() - begin

    laps = []
    for _ in range(repeats):
        short = run(1)
        laps.append((run(1 + THEIR_ITERATIONS) - short) / THEIR_ITERATIONS)
    return {"iteration": statistics.median(laps)}


def their_input(store: str, side: int, form: str) -> tuple[Any, Any, Any]:
    """Return the counts in scikit-learn's form, and the common start."""
    import numpy as np
    from scipy.sparse import csr_array

    from edxdask import photons

    block = photons.from_dense(corner(store, side).counts.values)
    abundance, spectra = start_of(block.pixels, block.channels, block.total / block.pixels / block.channels)
    if form == "dense":
        return photons.to_dense(block, np.float32), abundance, spectra
    parts = (block.count.astype(np.float32), block.channel.astype(np.int32), block.indptr.astype(np.int32))
    return csr_array(parts, shape=(block.pixels, block.channels)), abundance, spectra


def their_model(**options: Any) -> Any:
    """scikit-learn's multiplicative KL-NMF from a given start."""
    from sklearn.decomposition import NMF

    return NMF(PHASES, init="custom", solver="mu", beta_loss="kullback-leibler", **options)


def their_objective(store: str, side: int, max_iter: int) -> dict[str, Any]:
    """Objective, iterations and processor seconds of scikit-learn's default run (CSR: the faster)."""
    import warnings

    from sklearn.exceptions import ConvergenceWarning

    counts, abundance, spectra = their_input(store, side, "csr")
    model = their_model(max_iter=max_iter, tol=1e-4)
    begin = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # its default may end unconverged
        model.fit_transform(counts, W=abundance, H=spectra)
    return {
        "seconds": time.process_time() - begin,
        "iterations": int(model.n_iter_),
        "objective": float(model.reconstruction_err_) ** 2 / 2,
    }


def our_objective(store: str, side: int, target: float) -> dict[str, Any]:
    """Processor seconds until accelerated ``nmf`` falls to ``target``, from the same start.

    Without those of the first reading of the cube, which scikit-learn finds as a matrix, and with all that
    comes after: bins, and rounds on them.
    """
    from edxdask.factorize.nmf import nmf

    ds = corner(store, side).load()
    options = {"phases": PHASES, "init": "random", "seed": SEED, "tol": 0, "workers": 1}

    def run(**more: Any) -> tuple[float, list[tuple[float, float]]]:
        seen: list[tuple[float, float]] = []
        begin = time.process_time()
        nmf(
            ds, **options, **more,
            progress=lambda p: seen.append((time.process_time(), p.values["objective"]))
            if p.label == "nmf" else None,
        )  # fmt: skip
        return begin, seen

    run(max_iter=3)  # compiles
    begin, plain = run(max_iter=2, accelerate=False)
    reading = plain[0][0] - begin - (plain[1][0] - plain[0][0])  # a first round is as long as the second
    begin, seen = run(max_iter=2 * DEFAULT_RUN)
    reached = [(moment - begin - reading, i + 1) for i, (moment, value) in enumerate(seen) if value <= target]
    seconds, iterations = reached[0] if reached else (float("inf"), len(seen))
    return {"seconds": seconds, "iterations": iterations, "reading": reading}


def whole(store: str) -> dict[str, Any]:
    """Seconds of ``psnmf`` from a store on two threads, everything found from the data."""
    import edxdask
    from edxdask.factorize.psnmf import psnmf

    ds = edxdask.open(store)
    psnmf(ds.isel(y=slice(0, 64), x=slice(0, 64)), phases=PHASES, workers=2)  # compiles
    begin, begin_busy = time.perf_counter(), time.process_time()
    psnmf(edxdask.open(store), phases=PHASES, workers=2)
    return {"seconds": time.perf_counter() - begin, "busy": time.process_time() - begin_busy}


def iterations(verdict: Verdict, store: str, side: int, repeats: int) -> dict[str, float]:
    """Print seconds of one iteration of each and their ratios; returns scikit-learn's seconds by form.

    Ours are taken before, between and after theirs: a machine's speed changes within minutes.
    """
    base = ["--store", store, "--side", str(side), "--repeats", str(repeats)]
    runs = [child(__file__, "--task", "ours", *base)]
    theirs = {}
    for form in ("dense", "csr"):
        theirs[form] = child(__file__, "--task", f"sklearn-{form}", *base)["iteration"]
        runs.append(child(__file__, "--task", "ours", *base))
    iteration = statistics.median(lap for run in runs for lap in run["laps"])
    kernel = statistics.median(run["kernel"] for run in runs)
    each = 1e9 / runs[0]["nonzeros"]
    print(
        f"edxdask nmf, one core, {runs[0]['photons']} photons, {runs[0]['nonzeros']} non-zeros: "
        f"{iteration * 1e3:.1f} ms per iteration, {iteration * each:.2f} ns/non-zero\n"
        f"  one sweep with its objective: {kernel * 1e3:.1f} ms, {kernel * each:.2f} ns/non-zero"
    )
    reach = child(__file__, "--task", "bounds", *base)
    for form, target in (("dense", DENSE_TARGET), ("csr", CSR_TARGET)):
        print(
            f"scikit-learn mu, {form} float32, one core: {theirs[form]:.3f} s per iteration, "
            f"{theirs[form] * each:.1f} ns/non-zero,\n"
            f"  {theirs[form] / reach['bound']:.0f} times that of a sweep at the machine's tighter bound"
        )
        verdict.at_least(f"times ours, {form}", theirs[form] / iteration, target, ".0f")
    verdict.at_least("kernel, fraction of the tighter bound", reach["fraction"], BOUND_TARGET, ".2f")
    return theirs


def guided_cost(verdict: Verdict, store: str, side: int, repeats: int) -> None:
    """Print the cost of guided fits, per iteration and per call."""
    base = ["--store", store, "--side", str(side), "--repeats", str(repeats)]
    found = child(__file__, "--task", "guided", *base)
    laps, calls = found["laps"], found["calls"]
    free, shared, own = (laps[name] for name in ("free nmf", "guided nmf", "guided spectra of the phases"))
    print(
        f"guided nmf, {len(ELEMENTS)} elements, one core: {shared * 1e3:.1f} ms per iteration with columns "
        f"common to all phases,\n  {own * 1e3:.1f} with separate columns; model-free {free * 1e3:.1f}"
    )
    print(
        f"  whole calls: guided {calls['guided']:.2f} s (2 × {OURS_ITERATIONS} iterations, calibration, "
        f"errors),\n  model-free {calls['free']:.2f} s ({OURS_ITERATIONS} iterations): "
        f"{calls['guided'] / calls['free']:.2f} ×"
    )
    verdict.at_most("guided iteration, times a model-free one", max(shared, own) / free, GUIDED_TARGET, ".2f")


def objectives(
    verdict: Verdict, store: str, side: int, part: int, dense_iteration: float, limit: int
) -> None:
    """Print the times to scikit-learn's own final objective on ``part`` × ``part`` pixels."""
    base = ["--store", store, "--side", str(part)]
    theirs = child(__file__, "--task", "sklearn-objective", *base, "--max-iter", str(limit))
    mine = child(__file__, "--task", "ours-objective", *base, "--target", repr(theirs["objective"]))
    dense = theirs["iterations"] * dense_iteration * (part / side) ** 2
    print(
        f"to scikit-learn's final objective on {part} × {part} pixels: scikit-learn CSR "
        f"{theirs['seconds']:.1f} s measured, dense {dense:.1f} s = {theirs['iterations']} iterations × "
        f"its time at full size;\n  edxdask {mine['seconds']:.2f} s, {mine['iterations']} iterations "
        f"after those on bins ({mine['reading']:.2f} s to read the cube come before)"
    )
    verdict.at_least("times ours to the objective, dense", dense / mine["seconds"], OBJECTIVE_TARGET, ".0f")
    verdict.at_least(
        "times ours to the objective, CSR", theirs["seconds"] / mine["seconds"], OBJECTIVE_TARGET, ".0f"
    )


def run_all(args: argparse.Namespace, store: str) -> int:
    """Print everything; the exit code."""
    verdict = Verdict(limits=not args.tiny)
    print(f"mantle {args.side} × {args.side} × {args.channels}, {COUNTS:.0f} counts/px; {load_average()}")
    if not Path(store).exists():
        child(__file__, "--task", "store", "--store", store, "--side", str(args.side), "--channels",
              str(args.channels))  # fmt: skip
    theirs = iterations(verdict, store, args.side, args.repeats)
    guided_cost(verdict, store, args.side, args.repeats)
    limit = 20 if args.tiny else DEFAULT_RUN
    objectives(verdict, store, args.side, args.objective_side, theirs["dense"], limit)
    run = child(__file__, "--task", "whole", "--store", store)
    print(f"psnmf from the store, two threads: {run['busy']:.1f} s of processor time; {load_average()}")
    verdict.at_most("psnmf, seconds of the clock", run["seconds"], PSNMF_SECONDS, ".1f")
    return verdict.exit_code()


def run_task(args: argparse.Namespace) -> dict[str, Any]:
    """One child's work."""
    if args.task not in ("store", "whole"):
        one_core()
    store, side = args.store, args.side
    if args.task == "store":
        return make_store(store, side, args.channels)
    if args.task == "whole":
        return whole(store)
    if args.task == "ours":
        return ours(store, side, args.repeats)
    if args.task == "guided":
        return guided(store, side, args.repeats)
    if args.task == "bounds":
        return bounds(store, side, args.repeats)
    if args.task == "sklearn-objective":
        return their_objective(store, side, args.max_iter)
    if args.task == "ours-objective":
        return our_objective(store, side, args.target)
    return their_iteration(store, side, args.repeats, args.task.removeprefix("sklearn-"))


def main() -> int:
    """Parse; run a task, or all of them in children."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--store", help="the map; made where it does not exist, kept where it is named")
    parser.add_argument("--side", type=int, default=512, help="rows and columns of the map")
    parser.add_argument("--channels", type=int, default=CHANNELS)
    parser.add_argument("--objective-side", type=int, default=256, help="part for the time to an objective")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--tiny", action="store_true", help="a small map, once, no targets")
    parser.add_argument("--task", help=argparse.SUPPRESS)
    parser.add_argument("--max-iter", type=int, default=DEFAULT_RUN, help=argparse.SUPPRESS)
    parser.add_argument("--target", type=float, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.task:
        print(json.dumps(run_task(args)))
        return 0
    if args.tiny:
        args.side, args.channels, args.objective_side, args.repeats = 64, 970, 48, 1
    args.objective_side = min(args.objective_side, args.side)
    with tempfile.TemporaryDirectory() as folder:
        return run_all(args, os.path.abspath(args.store or str(Path(folder) / "mantle.zarr")))


if __name__ == "__main__":
    sys.exit(main())
