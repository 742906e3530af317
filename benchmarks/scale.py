"""psnmf on a cube larger than memory, with memory limits: seconds, peak memory, prediction.

The cube is 4096 × 2048 × 4096 uint16, 68 GB, 60 counts per pixel, simulated into a store where --store
does not exist yet (about 0.5 GB on disk). Each case runs in a separate process; its memory is watched from
outside, with all the processes it starts:

- threads, 6 GiB in all: the photons stay in memory
- two worker processes of 2.5 GiB each
- threads, 1.5 GiB: the photons go to a cache on local disk
- threads, a limit that is too small: refused within seconds, with one that is enough

"Predicted" is the largest memory plan that was made in the case (of one worker, where there are workers) and
"peak" the high-water mark of the largest process that did the work; "all processes" adds up the client,
scheduler and nannies too, memory that two share counted once.

    python benchmarks/scale.py --store /scratch/big.zarr [--cases threads workers cache refused] [--tiny]

The exit code is 1 where a run takes over 12 minutes, exceeds its limit, or differs by more than 20 % from its
prediction; --tiny checks only that everything runs, on a small cube with small limits.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from measure import _session_bytes
from verdict import Verdict, load_average

# This process stays small: everything heavy runs in children.

GIB = 2**30
PHASES = 3
MOST_SECONDS, MOST_RATIO, REFUSAL_SECONDS = 720.0, 1.20, 20.0


@dataclass(frozen=True)
class Case:
    """One case to run.

    Attributes
    ----------
    limit : GiB, of the one process or of each worker
    workers : worker processes; 0 for threads
    cached : whether the photons must go to disk
    refused : whether the run must be refused
    """

    name: str
    limit: float
    workers: int = 0
    cached: bool = False
    refused: bool = False


FULL = (
    Case("threads", 6.0),
    Case("workers", 2.5, workers=2),
    Case("cache", 1.5, cached=True),
    Case("refused", 0.3, refused=True),
)
TINY = (
    Case("threads", 3.0),
    Case("workers", 2.0, workers=1),
    Case("refused", 0.1, refused=True),
)


@dataclass
class Watch:
    """High-water marks of a session of processes, read while it runs.

    Attributes
    ----------
    marks : bytes by process, the kernel's own high-water mark
    names : command lines, to separate workers from the rest
    all_bytes : largest sum over processes at one moment
    """

    marks: dict[int, int]
    names: dict[int, str]
    all_bytes: int = 0

    def look(self, session: int) -> None:
        """Read /proc once."""
        self.all_bytes = max(self.all_bytes, _session_bytes(session))
        for folder in Path("/proc").iterdir():
            if not folder.name.isdigit():
                continue
            try:
                if int((folder / "stat").read_text().rpartition(")")[2].split()[3]) != session:
                    continue
                status = (folder / "status").read_text()
                mark = next(line for line in status.splitlines() if line.startswith("VmHWM"))
                self.names[int(folder.name)] = (folder / "cmdline").read_bytes().decode().replace("\0", " ")
                self.marks[int(folder.name)] = int(mark.split()[1]) * 1024
            except (OSError, StopIteration, IndexError):
                continue  # ended meanwhile


def run_watched(command: list[str]) -> tuple[Watch, str, float, int]:
    """Run ``command``; its memory, output, seconds and exit code."""
    watch = Watch({}, {})
    with tempfile.TemporaryFile("w+") as output:
        begin = time.perf_counter()
        process = subprocess.Popen(command, stdout=output, start_new_session=True)
        ended = threading.Event()

        def watching() -> None:
            while not ended.wait(0.3):
                watch.look(process.pid)

        thread = threading.Thread(target=watching)
        thread.start()
        try:
            code = process.wait()
        finally:
            ended.set()
            thread.join()
        seconds = time.perf_counter() - begin
        output.seek(0)
        return watch, output.read(), seconds, code


def make_store(path: str, shape: tuple[int, int], channels: int, counts: float) -> dict[str, Any]:
    """Simulate the cube into a store."""
    import edxdask

    edxdask.simulate("mantle", shape=shape, counts=counts, channels=channels, out=path, resume=True)
    return {}


def run_case(case: Case, store: str, cache: str) -> dict[str, Any]:
    """Run psnmf as a case says; runs in a separate process."""
    import edxdask
    from edxdask.budget import MemoryPlan
    from edxdask.cluster import client_for
    from edxdask.errors import MemoryBudgetError
    from edxdask.factorize.psnmf import psnmf

    plans: list[MemoryPlan] = []
    check = MemoryPlan.check

    def remember(plan: MemoryPlan, step: str) -> MemoryPlan:
        plans.append(plan)
        return check(plan, step)

    MemoryPlan.check = remember  # type: ignore[method-assign]
    limit = f"{case.limit}GiB"
    begin, stages = time.perf_counter(), {}
    how = {"workers": case.workers, "memory": limit} if case.workers else {}
    with client_for("local" if case.workers else "threads", **how):
        ds = edxdask.open(store)
        try:
            result = psnmf(
                ds, phases=PHASES, cache=cache, memory_limit=None if case.workers else limit,
                progress=lambda p: stages.setdefault(p.label, round(time.perf_counter() - begin, 1)),
            )  # fmt: skip
        except MemoryBudgetError as error:
            return {"refused": str(error), "seconds": time.perf_counter() - begin}
        seconds = time.perf_counter() - begin
        sums = result.abundance.sum("phase").values
    largest = max(plans, key=lambda plan: plan.peak)
    return {
        "seconds": seconds,
        "busy": sum(os.times()[:4]),
        "predicted": largest.peak,
        "cached": largest.cached,
        "stages": stages,
        "fractions_sum_to": [float(sums.min()), float(sums.max())],
    }


def judge(case: Case, answer: dict[str, Any], watch: Watch, verdict: Verdict) -> None:
    """Print one case beside its targets."""
    limit = case.limit * GIB
    if case.refused:
        print(f"{case.name}, {case.limit} GiB: {answer.get('refused', 'not refused')}; {load_average()}")
        verdict.holds("refused", "refused" in answer)
        verdict.at_most("seconds to the refusal", answer["seconds"], REFUSAL_SECONDS, ".1f")
        return
    if "refused" in answer:
        print(f"{case.name}, {case.limit} GiB: refused: {answer['refused']}")
        verdict.holds(f"{case.name} fits {case.limit} GiB", False)
        return
    workers = [m for pid, m in watch.marks.items() if "spawn_main" in watch.names[pid]]
    peak = max(workers if case.workers and workers else watch.marks.values())
    print(
        f"{case.name}, {case.limit} GiB{' each of ' + str(case.workers) if case.workers else ''}: peak "
        f"{peak / GIB:.2f} GiB, predicted {answer['predicted'] / GIB:.2f} GiB, all processes "
        f"{watch.all_bytes / GIB:.2f} GiB, {'photons on disk' if answer['cached'] else 'photons in memory'}, "
        f"stages began at {answer['stages']} s, processor time of the client {answer['busy']:.0f} s; "
        f"{load_average()}"
    )
    verdict.at_most(f"{case.name}, seconds", answer["seconds"], MOST_SECONDS, ".0f")
    verdict.at_most(f"{case.name}, peak over limit", peak / limit, 1.0, ".2f")
    ratio = max(peak / answer["predicted"], answer["predicted"] / peak)
    verdict.at_most(f"{case.name}, peak against prediction", ratio, MOST_RATIO, ".2f")
    if case.cached:
        verdict.holds("photons on disk", answer["cached"])


def run_all(args: argparse.Namespace, store: str, cache: str) -> int:
    """Run the chosen cases one after the other; the exit code."""
    verdict = Verdict(limits=not args.tiny)
    print(f"{args.shape} pixels, {args.channels} channels, {args.counts:.0f} counts/px; {load_average()}")
    base = [sys.executable, __file__, "--store", store, "--shape", args.shape, "--cache", cache]
    base += ["--channels", str(args.channels), "--counts", str(args.counts), *["--tiny"] * args.tiny]
    if not Path(store).exists():
        watch, _, seconds, code = run_watched([*base, "--task", "store"])
        if code:
            return code
        print(f"simulated into {store}: {seconds:.0f} s, peak {watch.all_bytes / GIB:.2f} GiB")
    for case in TINY if args.tiny else FULL:
        if args.cases and case.name not in args.cases:
            continue
        watch, text, _, code = run_watched([*base, "--task", case.name])
        if code:
            verdict.holds(f"{case.name} ends well (exit code {code})", False)
            continue
        judge(case, json.loads(text.splitlines()[-1]), watch, verdict)
    return verdict.exit_code()


def main() -> int:
    """Parse; run a task, or all cases in children."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--store", help="the cube; simulated where it does not exist, and then kept")
    parser.add_argument("--shape", default="4096x2048")
    parser.add_argument("--channels", type=int, default=4096)
    parser.add_argument("--counts", type=float, default=60.0)
    parser.add_argument("--cache", help="folder on local disk for photons; a temporary one where not given")
    parser.add_argument("--cases", nargs="+", choices=[case.name for case in FULL])
    parser.add_argument("--tiny", action="store_true", help="a small cube, small limits, no targets")
    parser.add_argument("--task", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.tiny and not args.task:
        args.shape, args.channels = "96x96", 512
    if args.task == "store":
        rows, columns = map(int, args.shape.split("x"))
        make_store(args.store, (rows, columns), args.channels, args.counts)
        return 0
    if args.task:
        case = next(c for c in (TINY if args.tiny else FULL) if c.name == args.task)
        print(json.dumps(run_case(case, args.store, args.cache)))
        return 0
    if not (args.store or args.tiny):
        parser.error("--store is needed: the cube takes about 0.5 GB and is kept")
    with tempfile.TemporaryDirectory() as folder:
        store = os.path.abspath(args.store or str(Path(folder) / "cube.zarr"))
        return run_all(args, store, args.cache or folder)


if __name__ == "__main__":
    sys.exit(main())
