"""What ``distributed`` forgets: tasks that wait for a lost worker when no other worker was left.

A task that prefers a worker and may run elsewhere does so when that worker dies. But if it was the last
worker, the task is put aside, and the scheduler then accepts only the dead worker for it, which never comes
back under its address: the run would wait forever.
"""

from __future__ import annotations

from distributed import Scheduler
from distributed.diagnostics.plugin import SchedulerPlugin


class FreeWaitingTasks(SchedulerPlugin):
    """Let tasks that were put aside, and may run anywhere, run on any new worker."""

    name = "edxdask-free-waiting-tasks"
    idempotent = True

    def add_worker(self, scheduler: Scheduler, worker: str) -> None:
        """Remove the restriction, just before the scheduler asks which of them the new worker can take."""
        for task in scheduler.unrunnable:
            if task.loose_restrictions:
                task.worker_restrictions = None
