"""The executor for ``distributed``: partitions are recomputable futures, states chains of pure tasks.

A worker that dies takes its partitions' photons and states with it; the scheduler makes both again from
the lazy source and from the last checkpoint (``start`` with a loader cuts the chain there). Tasks prefer
the worker that holds their partition and may go elsewhere: strict pinning hangs when that worker is gone.
"""

from __future__ import annotations

import shutil
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from edxdask.engine.derive import Derivation, head
from edxdask.engine.executor import Executor
from edxdask.engine.layout import PartitionPlan, halo_sources
from edxdask.engine.partition import Partition, PartitionJob
from edxdask.engine.step import (
    BlockStep,
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
    from distributed import Client, Future

TREE_WIDTH = 8  # statistics added per task; up to this many go straight to the client
IN_FLIGHT = 2  # answers of ``collect`` on their way at once, to bound the client's memory


def sizes_of(partition: Partition) -> tuple[int, int]:
    """Count nonzeros and photons."""
    return partition.nonzeros, partition.photons


def remove_folders(folders: Sequence[Path]) -> None:
    """Remove photon caches of a worker's node."""
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


class ClusterExecutor:
    """Partitions on the workers of a ``distributed.Client``."""

    def __init__(self, client: Client) -> None:
        self.client = client
        threads = client.nthreads()
        if not threads:
            raise EdxdaskError("the cluster has no workers yet: client.wait_for_workers(1) before this call")
        self._addresses = sorted(threads)
        self.workers = sum(threads.values())
        self._run = uuid4().hex[:8]
        self._serial = 0
        self._plans: list[PartitionPlan] = []
        self._homes: list[str] = []
        self._parts: list[Future] = []
        self._states: list[Future] = []
        self._caches: set[Path] = set()

    def _submit(self, i: int, function: Callable[..., Any], *args: Any) -> Future:
        self._serial += 1
        return self.client.submit(
            function,
            *args,
            key=f"{getattr(function, '__name__', 'task')}-{self._run}-{self._serial}-{i}",
            workers=[self._homes[i]],
            allow_other_workers=True,
            pure=False,
        )

    def load(self, jobs: Sequence[PartitionJob]) -> list[tuple[int, int]]:
        """Make the partitions; return (nonzeros, photons) of each."""
        self._caches |= {job.cache for job in jobs if job.cache is not None}
        self._plans = [job.plan for job in jobs]
        # consecutive partitions on one worker: their halos need not travel
        self._homes = [self._addresses[i * len(self._addresses) // len(jobs)] for i in range(len(jobs))]
        self._parts = [self._submit(i, load_job, job) for i, job in enumerate(jobs)]
        return list(
            self.client.gather([self._submit(i, sizes_of, part) for i, part in enumerate(self._parts)])
        )

    def start(self, make: StateMaker) -> None:
        """Give every partition the state that ``make`` returns for it."""
        self._states = [self._submit(i, start_copy, make, part) for i, part in enumerate(self._parts)]

    def change(self, alter: StateChange) -> None:
        """Replace every state by ``alter(partition, state)``."""
        self._states = [
            self._submit(i, change_copy, alter, part, state)
            for i, (part, state) in enumerate(zip(self._parts, self._states, strict=True))
        ]

    def anchor(self, make: StateMaker) -> None:
        """Cut the chain of tasks that made the states: a lost worker costs what came after this."""
        self.start(make)

    def advance(self, step: BlockStep, shared: Any) -> Stats:
        """Run one round of a step."""
        halos = self._halos(step)
        self._states = [
            self._submit(i, advance_copy, step, part, state, shared, *halo)
            for i, (part, state, halo) in enumerate(zip(self._parts, self._states, halos, strict=True))
        ]
        stats = [self._submit(i, stats_of, state) for i, state in enumerate(self._states)]
        while len(stats) > TREE_WIDTH:
            stats = [
                self._submit(i, add_stats, stats[i : i + TREE_WIDTH])
                for i in range(0, len(stats), TREE_WIDTH)
            ]
        return add_stats(self.client.gather(stats))

    def _halos(self, step: BlockStep) -> list[tuple[list[Future], list[Future]]]:
        if not step.halo_rows:
            return [([], []) for _ in self._parts]
        edges = [
            self._submit(i, edges_copy, part, state, step.halo_rows, step.halo_names)
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
        fresh._plans = [derivation.plan for _, derivation in made]
        fresh._homes = [self._homes[source] for source, _ in made]
        fresh._parts = [
            fresh._submit(i, derive_copy, derivation, self._parts[source], [heads[j] for j in below[source]])
            for i, (source, derivation) in enumerate(made)
        ]
        sizes = [fresh._submit(i, sizes_of, part) for i, part in enumerate(fresh._parts)]
        return fresh, list(self.client.gather(sizes))

    def close(self) -> None:
        """Let go of everything, files included."""
        self._states, self._parts = [], []
        if self._caches and self.client.status == "running":
            self.client.run(remove_folders, sorted(self._caches))


def derive_copy(derivation: Derivation, source: Partition, heads: Sequence[PhotonBlock]) -> Partition:
    """Make a partition from another, as a task."""
    return derivation(source, heads)


def load_job(job: PartitionJob) -> Partition:
    """Make a partition, as a task."""
    return job.load()
