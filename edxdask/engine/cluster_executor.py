"""The executor for ``distributed``: partitions are recomputable futures, states chains of pure tasks.

A worker that dies takes its partitions' photons and states with it; the scheduler makes both again from
the lazy source and from the last checkpoint (``anchor``). Tasks prefer the worker that holds their
partition and may go elsewhere: strict pinning hangs when that worker is gone (``worker_loss`` makes sure that
this is also true where all workers are gone for a while).

The scheduler keeps every task of a chain, and the factors each was given, as long as its end is needed.
So chains are cut every ``CHAIN_ROUNDS`` rounds: at a checkpoint if there is one, else by sending the states
through the client into new tasks (``_cut``), which needs no folder that all nodes see. The scheduler then
holds the factors of so many rounds and the states once, and a lost worker costs so many rounds at most.

A round waits for messages. On a few workers the statistics are requested in one call to all of them,
and each answers with the sum of what it holds: tasks that return them would pass through the
scheduler once more (19 instead of 11 ms per round on two workers, 220 instead of 150 on 32). Those tasks,
in a tree, are for many workers, and for the round in which one is lost.
"""

from __future__ import annotations

import shutil
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from uuid import uuid4

import dask
from dask import delayed

from edxdask.engine.derive import Derivation, head
from edxdask.engine.executor import Executor
from edxdask.engine.layout import PartitionPlan, halo_sources
from edxdask.engine.partition import Partition, PartitionJob
from edxdask.engine.step import (
    Advanced,
    BlockStep,
    State,
    StateChange,
    StateMaker,
    Stats,
    add_stats,
    advance_copy,
    ask_copy,
    change_copy,
    edges_copy,
    start_copy,
    stats_of,
)
from edxdask.errors import EdxdaskError
from edxdask.photons import PhotonBlock

if TYPE_CHECKING:
    from dask.delayed import Delayed
    from distributed import Client, Future, Worker

TREE_WIDTH = 8  # statistics added per task
# So many workers answer the client each. What more of them say (up to 1 MB each: 32 phases, 4096 channels)
# would keep one connection longer than tasks keep the scheduler, and is added by tasks.
FEW_WORKERS = 64
IN_FLIGHT = 2  # answers of ``collect`` under way at once, to bound the client's memory
CHAIN_ROUNDS = 64  # more than the rounds between two checkpoints
CHAIN_SECONDS = 600.0
ROSTER_SECONDS = 5.0  # how often to check which workers there are
INLINE_PARTITIONS = 16  # more partitions get the factors from one another, not each from the client


def sizes_of(partition: Partition) -> tuple[int, int]:
    """Count nonzeros and photons."""
    return partition.nonzeros, partition.photons


@dataclass(frozen=True)
class Held:
    """What one worker holds: of which states, and the sum of their statistics if any."""

    keys: list[str]
    total: Stats


def stats_held(keys: Sequence[str], dask_worker: Worker) -> Held:
    """Find states on a worker, which ``distributed`` fills in."""
    here = [key for key in keys if key in dask_worker.data]
    stats = [cast(Advanced, dask_worker.data[key]).stats for key in here]
    return Held(here, add_stats(stats) if stats else {})


def remove_folders(folders: Sequence[Path], dask_worker: Worker) -> None:
    """Remove photon caches of a worker; ``distributed`` fills in which."""
    for folder in folders:
        shutil.rmtree(Path(dask_worker.local_directory) / folder, ignore_errors=True)


class ClusterExecutor:
    """Partitions on the workers of a ``distributed.Client``."""

    def __init__(self, client: Client) -> None:
        from edxdask.engine.worker_loss import FreeWaitingTasks

        self.client = client
        client.register_plugin(FreeWaitingTasks())
        threads = client.nthreads()
        if not threads:
            raise EdxdaskError("the cluster has no workers yet: client.wait_for_workers(1) before this call")
        self._addresses = sorted(threads)
        self.workers = sum(threads.values())
        self.version = 0
        self._run = uuid4().hex[:8]
        self._serial = 0
        self._jobs: list[PartitionJob] = []
        self._plans: list[PartitionPlan] = []
        self._homes: list[str] = []
        self._parts: list[Future] = []
        self._states: list[Future] = []
        self._answers: list[Future] = []  # statistics of the last round
        self._caches: set[Path] = set()
        self._rounds, self._cut_at, self._seen_at = 0, time.monotonic(), time.monotonic()

    def _key(self, i: int, function: Callable[..., Any]) -> str:
        self._serial += 1
        return f"{getattr(function, '__name__', 'task')}-{self._run}-{self._serial}-{i}"

    def _submit(self, i: int, function: Callable[..., Any], *args: Any) -> Future:
        return self.client.submit(
            function,
            *args,
            key=self._key(i, function),
            workers=[self._homes[i]],
            allow_other_workers=True,
            pure=False,
        )

    def _later(self, i: int, function: Callable[..., Any], *args: Any) -> Delayed:
        """Task of a graph: one message for all tasks of a round costs a third less than one each."""
        with dask.annotate(workers=[self._homes[i]], allow_other_workers=True):
            return delayed(function, pure=False)(*args, dask_key_name=self._key(i, function))

    def load(self, jobs: Sequence[PartitionJob]) -> list[tuple[int, int]]:
        """Make the partitions; return (nonzeros, photons) of each."""
        self._caches |= {job.cache for job in jobs if job.cache is not None}
        self._plans = [job.plan for job in jobs]
        # consecutive partitions on one worker: their halos need not travel
        self._homes = [self._addresses[i * len(self._addresses) // len(jobs)] for i in range(len(jobs))]
        self._jobs = [job.culled() for job in jobs]
        with large_graphs():  # a cube in memory travels once, inside its jobs
            self._parts = [self._submit(i, load_job, job) for i, job in enumerate(self._jobs)]
        self.start(no_state)
        return list(
            self.client.gather([self._submit(i, sizes_of, part) for i, part in enumerate(self._parts)])
        )

    def start(self, make: StateMaker) -> None:
        """Give every partition the state that ``make`` returns for it."""
        self.version += 1
        self.anchor(make)

    def change(self, alter: StateChange) -> None:
        """Replace every state by ``alter(partition, state)``."""
        self.version += 1
        self._states = [
            self._submit(i, change_copy, alter, part, state)
            for i, (part, state) in enumerate(zip(self._parts, self._states, strict=True))
        ]

    def anchor(self, make: StateMaker) -> None:
        """Cut the chain of tasks that made the states: a lost worker costs what came after this."""
        with large_graphs():  # states the user gives are part of ``make``
            self._states = [self._submit(i, start_copy, make, part) for i, part in enumerate(self._parts)]
        self._rounds, self._cut_at = 0, time.monotonic()

    def advance(self, step: BlockStep, shared: Any) -> Stats:
        """Run one round of a step."""
        self.version += 1
        self._look_after_chain()
        halos = self._halos(step)
        if len(self._parts) > INLINE_PARTITIONS:
            shared = self._later(0, pass_on, shared)
        states: list[Delayed] | list[Future] = [
            self._later(i, advance_copy, step, part, state, shared, *halo)
            for i, (part, state, halo) in enumerate(zip(self._parts, self._states, halos, strict=True))
        ]
        if len(self._addresses) <= FEW_WORKERS:
            # the round before goes only now: the client sends every 10 ms, and tasks must not wait for that
            states = self._states = self.client.compute(states, optimize_graph=False)
            self._answers = []  # of a round that used the other method: they would keep their chain
            if (total := self._ask_workers()) is not None:
                return total
        stats = [self._later(i, stats_of, state) for i, state in enumerate(states)]
        while len(stats) > TREE_WIDTH:
            stats = [
                self._later(i, add_stats, stats[i : i + TREE_WIDTH]) for i in range(0, len(stats), TREE_WIDTH)
            ]
        found = self.client.compute([*states, *stats], optimize_graph=False)
        self._states, self._answers = found[: len(states)], found[len(states) :]
        return add_stats(self.client.gather(self._answers))

    def _ask_workers(self) -> Stats | None:
        """Sum of statistics from the workers that hold them; None unless each is held exactly once."""
        from distributed import wait

        wait(self._states)
        keys = [state.key for state in self._states]
        answers = self.client.run(stats_held, keys, on_error="ignore").values()
        if sorted(key for answer in answers for key in answer.keys) != sorted(keys):
            return None
        return add_stats([answer.total for answer in answers if answer.keys])

    def _look_after_chain(self) -> None:
        """Give partitions of lost workers to others, and cut chains of tasks that grew long."""
        now = time.monotonic()
        if now - self._seen_at > ROSTER_SECONDS:
            self._seen_at = now
            self._find_homes(sorted(self.client.nthreads()))
        self._rounds += 1
        if self._rounds > CHAIN_ROUNDS or now - self._cut_at > CHAIN_SECONDS:
            self._cut()

    def _find_homes(self, addresses: list[str]) -> None:
        """Where a new worker replaced a lost one, send it the partitions of that one."""
        if not addresses or addresses == self._addresses:
            return
        self._addresses = addresses
        n, before = len(self._homes), self._homes
        self._homes = [addresses[i * len(addresses) // n] for i in range(n)]
        for i, job in enumerate(self._jobs):
            if job.cache is not None and self._homes[i] != before[i]:
                self._parts[i] = self._submit(i, load_job, job)  # its cache does not move with it

    def _cut(self) -> None:
        """Put the present states into new tasks that depend on nothing but the partition."""
        fresh = []
        with large_graphs():
            for i, state in enumerate(self.collect(state_alone)):
                fresh.append(self._submit(i, start_copy, Kept(state), self._parts[i]))
        self._states = fresh
        self._rounds, self._cut_at = 0, time.monotonic()

    def _halos(self, step: BlockStep) -> list[tuple[list[Delayed], list[Delayed]]]:
        if not step.halo_rows:
            return [([], []) for _ in self._parts]
        edges = [
            self._later(i, edges_copy, part, state, step.halo_rows, step.halo_names)
            for i, (part, state) in enumerate(zip(self._parts, self._states, strict=True))
        ]
        return [
            ([edges[j] for j in above], [edges[j] for j in below])
            for above, below in halo_sources(self._plans, step.halo_rows)
        ]

    def collect(self, ask: Callable[..., Any], *args: Any) -> Iterator[Any]:
        """Yield ``ask(partition, state, *args)`` for every partition, in order."""
        waiting: deque[Future] = deque()
        for i, (part, state) in enumerate(zip(self._parts, self._states, strict=True)):
            waiting.append(self._submit(i, ask_copy, ask, part, state, *args))
            if len(waiting) >= max(IN_FLIGHT, len(self._addresses)):
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

    def derive(self, made: Sequence[tuple[int, Derivation]]) -> tuple[Executor, list[tuple[int, int]]]:
        """Make new partitions from these; returns their executor and (nonzeros, photons) of each."""
        rows, thinning = made[0][1].factor - 1, made[0][1].thinning
        below = [down for _, down in halo_sources(self._plans, rows)]
        needed = sorted({i for source, _ in made for i in below[source]})
        heads = {i: self._submit(i, head, self._parts[i], rows, thinning) for i in needed}
        fresh = ClusterExecutor(self.client)
        fresh._caches = {derivation.cache for _, derivation in made if derivation.cache is not None}
        fresh._plans = [derivation.plan for _, derivation in made]
        fresh._homes = [self._homes[source] for source, _ in made]
        fresh._parts = [
            fresh._submit(i, derive_copy, derivation, self._parts[source], [heads[j] for j in below[source]])
            for i, (source, derivation) in enumerate(made)
        ]
        fresh.start(no_state)
        sizes = [fresh._submit(i, sizes_of, part) for i, part in enumerate(fresh._parts)]
        return fresh, list(self.client.gather(sizes))

    def close(self) -> None:
        """Release everything, files included."""
        self._states, self._answers, self._parts, self._jobs = [], [], [], []
        if self._caches and self.client.status == "running":
            # the nanny of a dying worker has removed its files already
            self.client.run(remove_folders, sorted(self._caches), on_error="ignore")


@dataclass(frozen=True)
class Kept:
    """A state as it was, inside a task."""

    state: State

    def __call__(self, partition: Partition) -> State:
        """Return the state."""
        return self.state


def state_alone(partition: Partition, state: State) -> State:
    """Return a partition's state."""
    return state


def pass_on(shared: Any) -> Any:
    """Factors of a round, as a task; workers fetch its result from one another."""
    return shared


def large_graphs() -> Any:
    """Context in which tasks may hold arrays: here they are meant to."""
    return dask.config.set({"distributed.admin.large-graph-warning-threshold": "1PiB"})


def derive_copy(derivation: Derivation, source: Partition, heads: Sequence[PhotonBlock]) -> Partition:
    """Make a partition from another, as a task; a cache without a place is with the worker's own files."""
    if derivation.cache is not None:
        derivation = replace(derivation, cache=_here(derivation.cache))
    return derivation(source, heads)


def no_state(partition: Partition) -> State:
    """Return the state of a partition that was not given one yet."""
    return {}


def load_job(job: PartitionJob) -> Partition:
    """Make a partition, as a task; a cache without a place is with the worker's own files."""
    if job.cache is not None:
        job = replace(job, cache=_here(job.cache))
    return job.load()


def _here(cache: Path) -> Path:
    """Folder of a cache on the worker that runs this task."""
    from distributed import get_worker

    return Path(get_worker().local_directory) / cache
