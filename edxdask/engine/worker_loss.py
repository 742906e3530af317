"""What ``distributed`` forgets: tasks that wait for a worker which is gone, once no other was left either.

A task that prefers a worker and may go elsewhere goes elsewhere when that worker dies. But where it was the
last one the task is put aside, and of workers that come later only the dead one, which never comes back
under its address, is taken to suit it: the run would wait forever.
"""

from __future__ import annotations

from distributed import Scheduler
from distributed.diagnostics.plugin import SchedulerPlugin


class FreeWaitingTasks(SchedulerPlugin):
    """Let tasks put aside that may run anywhere go to whichever worker comes."""

    name = "edxdask-free-waiting-tasks"
    idempotent = True

    def add_worker(self, scheduler: Scheduler, worker: str) -> None:
        """Lift what binds them, just before the scheduler asks which of them the new worker can take."""
        for task in scheduler.unrunnable:
            if task.loose_restrictions:
                task.worker_restrictions = None
