"""What the driver costs beside the kernels, on threads and on worker processes, and for how many workers.

Four parts, one line per figure:

- milliseconds per round on threads and on two worker processes where the kernels have almost nothing to do,
  with factors and statistics of real size: that is the driver's overhead
- two worker processes on a large cube against two processes that run the bare kernel on the same halves, in
  turns in the same run, as the machine may be shared; large enough for rounds of over half a second, since
  what the driver costs does not grow with it
- milliseconds per round against the number of partitions: the scheduler's cost of one more
- a discrete-event model of a round on 16 to 1024 workers from these measured costs and message sizes

The model: the client sends tasks one by one; the scheduler, one thread, treats each of them twice (when
it is sent and when it is done); a worker fetches the factors and works. Then up to 64 workers are asked
for their statistics, and answer through the scheduler, one after the other; those of more are added by tasks,
in a tree of width 8 that ends at the client. Work differs by 5 % from worker to worker; nodes are ten-gigabit
Ethernet apart. A worker has one partition. The costs of a task are lower quartiles, as others may use the
machine; that of an answer is measured with all workers on this machine, which is more than the scheduler's
part of it.

    python benchmarks/overhead.py [--seconds 20] [--work 0.1 1 10] [--tiny]

The exit code is 1 where a round costs more than 3 ms on threads or 35 ms on two workers, or where two workers
do less than 0.92 of what two bare kernels do; --tiny checks only that everything runs.
"""

from __future__ import annotations

import argparse
import heapq
import multiprocessing
import pickle
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import count
from multiprocessing.connection import Connection

import numpy as np
import xarray as xr
from distributed import Client
from verdict import Verdict, load_average

import edxdask
from edxdask.cluster import client_for
from edxdask.engine.cluster_executor import FEW_WORKERS, INLINE_PARTITIONS, TREE_WIDTH, stats_held
from edxdask.engine.partition import Partition
from edxdask.engine.problem import Demand, Problem, photons_of
from edxdask.engine.step import State
from edxdask.factorize.iteration.starts import RandomState
from edxdask.factorize.iteration.sweep_step import ABUNDANCE, Call, SweepStep
from edxdask.photons import kl_sweep

PHASES, CHANNELS = 3, 2048
THREADS_MS, CLUSTER_MS, LEAST_SHARE = 3.0, 35.0, 0.92
NETWORK = 1.0e9  # bytes per second: ten-gigabit Ethernet in practice
LATENCY = 2e-4  # seconds a message takes between nodes
SPREAD = 0.05  # standard deviation of the work of workers: photons of equal parts of a map
WORKERS = (16, 64, 256, 1024)


def factors() -> np.ndarray:
    spectra = np.random.default_rng(0).uniform(0.5, 1.5, (PHASES, CHANNELS)).astype(np.float32)
    return spectra / spectra.sum(axis=1, keepdims=True)


def little_cube(rows: int) -> xr.Dataset:
    """A cube with almost no photons."""
    counts = np.zeros((rows, 4, CHANNELS), np.uint16)
    counts[:, :, 100] = 1
    return edxdask.from_array(counts, energy_offset=0.0, energy_scale=0.005).chunk({"y": 1})


def large_cube(store: str, copies: int) -> xr.Dataset:
    """One stored map, over and over."""
    one = edxdask.open(store)[["counts"]].drop_vars(["y", "x"])
    return xr.concat([one] * copies, "y") if copies > 1 else one


def start(problem: Problem) -> None:
    problem.executor.start(RandomState(PHASES, np.dtype(np.float32), 0, 1.0))


def rounds_per(problem: Problem, seconds: float, fewest: int = 10) -> np.ndarray:
    """Seconds of each round of about ``seconds`` of rounds."""
    step, call, taken = SweepStep(), Call(factors()), []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(taken) < fewest:
        begin = time.perf_counter()
        problem.executor.advance(step, call)
        taken.append(time.perf_counter() - begin)
    return np.array(taken)


def round_cost(rows: int, seconds: float) -> np.ndarray:
    with photons_of(little_cube(rows), step="overhead", demand=Demand(0, 0), workers=2) as problem:
        start(problem)
        rounds_per(problem, 0, 3)  # the first compile
        return rounds_per(problem, seconds)


def bare_copy(pipe: Connection, store: str, copies: int) -> None:
    """Run the bare kernel on some copies of the map on each request; answers with photons and seconds."""
    with photons_of(large_cube(store, copies), step="overhead", demand=Demand(0, 0), workers=1) as problem:
        start(problem)
        held = list(problem.executor.collect(partition_and_abundance))
        while (seconds := pipe.recv()) is not None:
            pipe.send(run_bare(held, seconds))


def partition_and_abundance(partition: Partition, state: State) -> tuple[Partition, np.ndarray]:
    return partition, state[ABUNDANCE]


def run_bare(held: list[tuple[Partition, np.ndarray]], seconds: float) -> tuple[int, list[float]]:
    """Photons of a sweep, and the seconds of each."""
    spectra, taken = factors(), []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or not taken:
        begin = time.perf_counter()
        for partition, abundance in held:
            for where, block in partition.blocks():
                kl_sweep(block, abundance[where], spectra)
        taken.append(time.perf_counter() - begin)
    return sum(partition.photons for partition, _ in held), taken


@dataclass
class Race:
    """Seconds of the rounds of two workers, and of the sweeps of two bare kernels on half of it each.

    Means over the same stretches of time. A round waits for its slower worker: where others use the machine
    the workers lose more than independent kernels do, and kernels that wait for each other show how much of
    this is due to the driver.
    """

    photons: int
    rounds: list[float]
    sweeps: list[tuple[int, list[float]]]

    def workers(self) -> float:
        """Photons per second of the two workers."""
        return self.photons / float(np.mean(self.rounds))

    def independent(self) -> float:
        """Photons per second of the two kernels."""
        return sum(photons / float(np.mean(taken)) for photons, taken in self.sweeps)

    def waiting(self) -> float:
        """Photons per second of the two kernels if each sweep began when both had done the one before."""
        slower = [max(pair) for pair in zip(*(taken for _, taken in self.sweeps), strict=False)]
        return self.photons / float(np.mean(slower))


def race(store: str, copies: int, seconds: float, turns: int) -> Race:
    """Let two workers and two bare kernels run in turns."""
    spawn = multiprocessing.get_context("spawn")
    pipes, children = [], []
    for _ in range(2):
        mine, theirs = spawn.Pipe()
        child = spawn.Process(target=bare_copy, args=(theirs, store, copies // 2))
        child.start()
        pipes.append(mine)
        children.append(child)
    with (
        client_for("local", workers=2),
        photons_of(large_cube(store, copies), step="overhead", demand=Demand(0, 0)) as problem,
    ):
        start(problem)
        rounds_per(problem, 0, 3)
        found = Race(problem.photons, [], [(photons, []) for photons, _ in ask(pipes, 0.0)])
        for _ in range(turns):
            for (_, all_sweeps), (_, taken) in zip(found.sweeps, ask(pipes, seconds / turns), strict=True):
                all_sweeps.extend(taken)
            found.rounds.extend(rounds_per(problem, seconds / turns, 1))
    for pipe, child in zip(pipes, children, strict=True):
        pipe.send(None)
        child.join()
    return found


def ask(pipes: list[Connection], seconds: float) -> list[tuple[int, list[float]]]:
    """Let all bare kernels run at the same time."""
    for pipe in pipes:
        pipe.send(seconds)
    return [pipe.recv() for pipe in pipes]


@dataclass(frozen=True)
class Costs:
    """Measured costs of a round.

    Attributes
    ----------
    task : seconds of the scheduler and client for one task, half of it when it is sent
    answer : seconds that one worker more takes to be asked and to answer
    fixed : seconds of a round with no tasks
    factors, statistics : bytes of a message
    spread : relative standard deviation of the work of workers
    """

    task: float
    answer: float
    fixed: float
    factors: int
    statistics: int
    spread: float


class Server:
    """Something that does one thing after the other."""

    def __init__(self) -> None:
        self.free = self.busy = 0.0

    def serve(self, ready: float, seconds: float) -> float:
        self.free = max(self.free, ready) + seconds
        self.busy += seconds
        return self.free


class Model:
    """One round on many workers, event by event."""

    def __init__(self, workers: int, work: float, costs: Costs, rng: np.random.Generator) -> None:
        self.costs, self.scheduler, self.link = costs, Server(), Server()
        self.events: list[tuple[float, int, Callable[[float], None]]] = []
        self.order, self.end = count(), 0.0
        self.message = LATENCY + costs.statistics / NETWORK
        self.working = workers
        self.missing: list[list[int]] = []  # answers that each node of the tree waits for
        below = workers if workers > FEW_WORKERS else 1
        while below > TREE_WIDTH:
            above = -(-below // TREE_WIDTH)
            self.missing.append([min(TREE_WIDTH, below - TREE_WIDTH * i) for i in range(above)])
            below = above
        seconds = work * np.maximum(0.5, rng.normal(1.0, costs.spread, workers))
        for i in range(workers):
            self.at(0.0, partial(self.hand_out, i, workers, float(seconds[i])))

    def at(self, time: float, action: Callable[[float], None]) -> None:
        heapq.heappush(self.events, (time, next(self.order), action))

    def hand_out(self, i: int, workers: int, seconds: float, now: float) -> None:
        handed = self.scheduler.serve(now, self.costs.task / 2)
        whole = LATENCY + self.costs.factors / NETWORK
        if workers <= INLINE_PARTITIONS:
            arrived = self.link.serve(handed, whole)
        else:  # workers fetch the factors from those who have them, twice as many with every hop
            arrived = handed + LATENCY + whole * (int(np.log2(i + 1)) + 1)
        few = workers <= FEW_WORKERS
        self.at(arrived + seconds, partial(self.worked, workers) if few else partial(self.worked_of_many, i))

    def worked(self, workers: int, now: float) -> None:
        known = self.scheduler.serve(now, self.costs.task / 2)
        self.working -= 1
        if not self.working:
            for _ in range(workers):
                self.at(self.scheduler.serve(known, self.costs.answer) + LATENCY, self.fetch)

    def worked_of_many(self, i: int, now: float) -> None:
        # a second task cuts the statistics out of the state
        known = self.scheduler.serve(now, self.costs.task)
        self.at(known + LATENCY, partial(self.added, 0, i))

    def added(self, level: int, i: int, now: float) -> None:
        known = self.scheduler.serve(now, self.costs.task / 2)
        if level == len(self.missing):
            self.at(known, self.fetch)
            return
        group = i // TREE_WIDTH
        self.missing[level][group] -= 1
        if not self.missing[level][group]:
            handed = self.scheduler.serve(known, self.costs.task / 2)
            self.at(handed + TREE_WIDTH * self.message, partial(self.added, level + 1, group))

    def fetch(self, now: float) -> None:
        self.end = max(self.end, self.link.serve(now, self.message))

    def run(self) -> tuple[float, float]:
        """Seconds of the round, and the fraction of it in which the scheduler is busy."""
        while self.events:
            now, _, action = heapq.heappop(self.events)
            action(now)
        total = self.end + self.costs.fixed
        return total, self.scheduler.busy / total


def show_scaling(costs: Costs, works: list[float]) -> None:
    rng = np.random.default_rng(0)
    print(
        f"model: {1e3 * costs.task:.2f} ms per task, {1e3 * costs.answer:.2f} ms per answer, "
        f"{1e3 * costs.fixed:.1f} ms per round, factors "
        f"{costs.factors / 1e3:.0f} kB, statistics {costs.statistics / 1e3:.0f} kB, work ± {costs.spread:.0%}"
    )
    for work in works:
        limit = None
        for workers in WORKERS:
            runs = [Model(workers, work, costs, rng).run() for _ in range(5)]
            taken, busy = np.mean(runs, axis=0)
            print(
                f"model: {workers:5d} workers, {1e3 * work:6.0f} ms of work each: round {1e3 * taken:8.1f} "
                f"ms, efficiency {work / taken:4.2f}, scheduler busy {busy:4.0%}"
            )
            limit = workers if limit is None and busy > 0.5 else limit
        where = f"from {limit} workers on" if limit else f"not up to {WORKERS[-1]} workers"
        print(f"model: with {1e3 * work:.0f} ms of work per task the scheduler is the limit {where}")
    few, many = costs.task + costs.answer, (2 + 1 / TREE_WIDTH) * costs.task
    print(
        f"model: each worker costs the scheduler {1e3 * few:.1f} ms per round (more than {FEW_WORKERS} "
        f"workers: {1e3 * many:.1f} ms), so N of them need N × {2e3 * few:.1f} ms ({2e3 * many:.1f} ms) of "
        "work each and round to leave it half idle. Beyond that: one worker per node, its cores as threads, "
        "which adds up their statistics, and several inner updates per task (SweepStep.inner)"
    )


def message_sizes() -> tuple[int, int]:
    call = Call(factors())
    statistics = {"numerator": np.zeros((PHASES, CHANNELS)), "column_sums": np.zeros(PHASES), "loss": 0.0}
    return len(pickle.dumps(call)), len(pickle.dumps(statistics))


def milliseconds(taken: np.ndarray) -> str:
    low, middle, high = 1e3 * np.quantile(taken, [0.05, 0.5, 0.95])
    return f"{middle:.2f} ms per round (5 % {low:.2f}, 95 % {high:.2f}, {taken.size} rounds)"


def measure_overhead(seconds: float, verdict: Verdict) -> Costs:
    threads = round_cost(4, seconds / 4)
    print(f"threads: 4 partitions, {milliseconds(threads)}")
    verdict.at_most("overhead on threads, ms", 1e3 * float(np.median(threads)), THREADS_MS)
    sizes, taken = (2, 16, 48), []
    with client_for("local", workers=8) as client:
        client.wait_for_workers(8)
        answers = ask_cost(client)
    with client_for("local", workers=2) as client:
        client.wait_for_workers(2)
        answer = max((answers - ask_cost(client)) / 6, 0.0)
        for rows in sizes:
            taken.append(partitioned(rows, seconds / 3))
            print(f"two workers: {rows} partitions, {milliseconds(taken[-1])}")
    verdict.at_most("overhead on two workers, ms", 1e3 * float(np.median(taken[0])), CLUSTER_MS)
    slope, fixed = np.polyfit(sizes, [np.quantile(t, 0.25) for t in taken], 1)
    return Costs(float(slope), answer, max(float(fixed), 0.0), *message_sizes(), SPREAD)


def ask_cost(client: Client, times: int = 100) -> float:
    """Seconds to ask all workers for statistics of which they hold none."""
    taken = []
    for _ in range(times):
        begin = time.perf_counter()
        client.run(stats_held, [])
        taken.append(time.perf_counter() - begin)
    return float(np.quantile(taken, 0.25))


def partitioned(partitions: int, seconds: float) -> np.ndarray:
    """Rounds with so many partitions on the Client in force."""
    from edxdask.engine import problem as module

    planned = module.PARTITIONS_PER_WORKER
    module.PARTITIONS_PER_WORKER = partitions // 2
    try:
        return round_cost(partitions, seconds)
    finally:
        module.PARTITIONS_PER_WORKER = planned


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20.0, help="of each part")
    parser.add_argument("--work", type=float, nargs="+", default=[0.1, 1.0, 10.0], help="seconds per task")
    parser.add_argument("--tiny", action="store_true", help="small sizes, once, no targets")
    args = parser.parse_args()
    if args.tiny:
        args.seconds = 1.0
    verdict = Verdict(limits=not args.tiny)
    print(load_average())
    costs = measure_overhead(args.seconds, verdict)
    side, copies, turns = (64, 2, 1) if args.tiny else (512, 64, 20)
    with tempfile.TemporaryDirectory() as folder:
        store = f"{folder}/map.zarr"
        edxdask.simulate("mantle", shape=(side, side), counts=120.0, channels=CHANNELS, out=store)
        found = race(store, copies, args.seconds, turns)
    workers, bare = found.workers(), found.independent()
    print(
        f"large cube, {1e-6 * found.photons:.0f} million photons: {1e-6 * workers:.0f} million per second on "
        f"two workers, {1e-6 * bare:.0f} by two bare kernels; {milliseconds(np.array(found.rounds))}"
    )
    print(f"  two workers / two bare kernels that wait for each other: {workers / found.waiting():.3g}")
    verdict.at_least("two workers / two bare kernels", workers / bare, LEAST_SHARE)
    print(load_average())
    show_scaling(costs, args.work)
    return verdict.exit_code()


if __name__ == "__main__":
    raise SystemExit(main())
