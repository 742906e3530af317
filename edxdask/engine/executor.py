"""Where partitions are kept and tasks run: the one interface, and the threads of this process behind it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

from edxdask.engine.derive import Derivation, head
from edxdask.engine.layout import PartitionPlan, halo_sources
from edxdask.engine.partition import Partition, PartitionJob
from edxdask.engine.step import (
    BlockStep,
    Halo,
    State,
    StateChange,
    StateMaker,
    Stats,
    add_stats,
    edges_of,
    join_halo,
)


class Executor(Protocol):
    """Holds partitions and their states, and runs steps over all of them.

    ``advance`` changes the states and returns the summed statistics; ``collect`` asks every partition
    something and yields the answers in order, one at a time, so that the caller's memory stays low.

    Attributes
    ----------
    workers : tasks that run at once
    version : number of the present states; goes up with every ``load``, ``start``, ``change`` and ``advance``
    """

    workers: int
    version: int

    def load(self, jobs: Sequence[PartitionJob]) -> list[tuple[int, int]]:
        """Make the partitions; return (nonzeros, photons) of each."""
        ...

    def start(self, make: StateMaker) -> None:
        """Give every partition the state that ``make`` returns for it."""
        ...

    def change(self, alter: StateChange) -> None:
        """Replace every state by ``alter(partition, state)``."""
        ...

    def anchor(self, make: StateMaker) -> None:
        """Learn that ``make`` returns the present states: where tasks may be repeated, from here on."""
        ...

    def advance(self, step: BlockStep, shared: Any) -> Stats:
        """Run one round of a step."""
        ...

    def collect(self, ask: Callable[..., Any], *args: Any) -> Iterator[Any]:
        """Yield ``ask(partition, state, *args)`` for every partition, in order."""
        ...

    def derive(self, made: Sequence[tuple[int, Derivation]]) -> tuple[Executor, list[tuple[int, int]]]:
        """Make new partitions from these; returns their executor and (nonzeros, photons) of each."""
        ...

    def close(self) -> None:
        """Release everything, files included."""
        ...


class ThreadExecutor:
    """Partitions in this process, one task per thread; numba kernels release the interpreter lock."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self.version = 0
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="edxdask")
        self._partitions: list[Partition] = []
        self._states: list[State] = []
        self._caches: set[Path] = set()

    def load(self, jobs: Sequence[PartitionJob]) -> list[tuple[int, int]]:
        """Make the partitions; return (nonzeros, photons) of each."""
        self.version += 1
        self._caches |= {job.cache for job in jobs if job.cache is not None}
        self._partitions = list(self._pool.map(PartitionJob.load, jobs))
        self._states = [{} for _ in jobs]
        return [(part.nonzeros, part.photons) for part in self._partitions]

    def start(self, make: StateMaker) -> None:
        """Give every partition the state that ``make`` returns for it."""
        self.version += 1
        self._states = list(self._pool.map(make, self._partitions))

    def change(self, alter: StateChange) -> None:
        """Replace every state by ``alter(partition, state)``."""
        self.version += 1
        self._states = list(self._pool.map(alter, self._partitions, self._states))

    def anchor(self, make: StateMaker) -> None:
        """Do nothing: what this process loses cannot be made again by it."""

    def advance(self, step: BlockStep, shared: Any) -> Stats:
        """Run one round of a step."""
        self.version += 1
        halos = self._halos(step)

        def one(partition: Partition, state: State, halo: Halo) -> Stats:
            return step.run(partition, state, shared, halo)

        return add_stats(list(self._pool.map(one, self._partitions, self._states, halos)))

    def _halos(self, step: BlockStep) -> list[Halo]:
        if not step.halo_rows:
            return [Halo()] * len(self._partitions)
        edges = [
            edges_of(part, state, step.halo_rows, step.halo_names)
            for part, state in zip(self._partitions, self._states, strict=True)
        ]
        plans: list[PartitionPlan] = [part.plan for part in self._partitions]
        return [
            join_halo(
                [edges[i] for i in above],
                [edges[i] for i in below],
                step.halo_rows * part.tiles[0].plan.width,
                part.tiles[-1].plan.width * step.halo_rows,
                step.halo_names,
            )
            for part, (above, below) in zip(
                self._partitions, halo_sources(plans, step.halo_rows), strict=True
            )
        ]

    def collect(self, ask: Callable[..., Any], *args: Any) -> Iterator[Any]:
        """Yield ``ask(partition, state, *args)`` for every partition, in order."""
        for partition, state in zip(self._partitions, self._states, strict=True):
            yield self._pool.submit(ask, partition, state, *args).result()

    def derive(self, made: Sequence[tuple[int, Derivation]]) -> tuple[Executor, list[tuple[int, int]]]:
        """Make new partitions from these; returns their executor and (nonzeros, photons) of each."""
        rows, thinning = made[0][1].factor - 1, made[0][1].thinning
        below = [down for _, down in halo_sources([p.plan for p in self._partitions], rows)]

        def one(item: tuple[int, Derivation]) -> Partition:
            source, derivation = item
            heads = [head(self._partitions[i], rows, thinning) for i in below[source]]
            return derivation(self._partitions[source], heads)

        fresh = ThreadExecutor(self.workers)
        fresh._caches = {derivation.cache for _, derivation in made if derivation.cache is not None}
        fresh._partitions = list(self._pool.map(one, made))
        fresh._states = [{} for _ in made]
        return fresh, [(part.nonzeros, part.photons) for part in fresh._partitions]

    def close(self) -> None:
        """Release everything, files included."""
        self._pool.shutdown(cancel_futures=True)
        self._partitions, self._states = [], []
        for folder in self._caches:
            shutil.rmtree(folder, ignore_errors=True)
