"""Independent tasks on the threads of this process, or on the workers of the active Client.

A task writes what it makes and returns little. It may run twice, here or elsewhere: then it writes the same.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Protocol, TypeVar
from uuid import uuid4

from edxdask.engine.problem import active_client
from edxdask.errors import EdxdaskError

if TYPE_CHECKING:
    from distributed import Client

T_co = TypeVar("T_co", covariant=True)
T = TypeVar("T")
WAIT_S = 0.5  # between two questions whether the user has pressed Ctrl-C


class Stop(threading.Event):
    """Set where work shall end soon; tasks in this process ask it between steps."""

    def check(self) -> None:
        """Raise if it is set."""
        if self.is_set():
            raise StoppedError


class StoppedError(EdxdaskError):
    """A task ended before its work was done, as it was asked to."""


class Task(Protocol[T_co]):
    """What runs anywhere: ``number`` says which of all tasks it is."""

    @property
    def number(self) -> int:
        """Which of all tasks it is."""
        ...

    def __call__(self, stop: Stop | None = None) -> T_co:
        """Do the work; ``stop`` is None on a worker of a cluster, which can be ended itself."""
        ...


def tasks_at_once(workers: int | None, cores: int) -> int:
    """Count the tasks that run at once: one per thread of the cluster, else of this process."""
    client = active_client()
    if client is not None:
        return max(1, sum(client.nthreads().values()))
    return workers or cores


def run_tasks(tasks: Sequence[Task[T]], on_done: Callable[[int, T], None], *, workers: int) -> None:
    """Run tasks; ``on_done(number, made)`` is called in this thread for each that ends.

    Ctrl-C and errors end all others soon. A worker that is killed costs its tasks only.
    """
    if not tasks:
        return
    client = active_client()
    if client is not None:
        _on_cluster(client, tasks, on_done)
        return
    stop = Stop()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="edxdask-tomo")
    numbers = {pool.submit(task, stop): task.number for task in tasks}
    try:
        waiting = set(numbers)
        while waiting:
            done, waiting = wait(waiting, timeout=WAIT_S, return_when=FIRST_COMPLETED)
            for future in sorted(done, key=numbers.__getitem__):
                on_done(numbers[future], future.result())
    except BaseException:
        stop.set()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _on_cluster(client: Client, tasks: Sequence[Task[T]], on_done: Callable[[int, T], None]) -> None:
    from distributed import as_completed

    from edxdask.engine.cluster_executor import large_graphs
    from edxdask.engine.worker_loss import FreeWaitingTasks

    client.register_plugin(FreeWaitingTasks())
    run = uuid4().hex[:8]
    with large_graphs():  # a cube in memory travels inside its tasks
        futures = [
            client.submit(task, key=f"{type(task).__name__}-{run}-{task.number}", pure=False)
            for task in tasks
        ]
    numbers = {future.key: task.number for future, task in zip(futures, tasks, strict=True)}
    try:
        for future in as_completed(futures):
            on_done(numbers[future.key], future.result())
            future.release()
    except BaseException:
        client.cancel(futures)
        raise
