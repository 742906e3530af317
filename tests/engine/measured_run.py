"""One run of a method as a program of its own: python measured_run.py store memory_limit workers method.

Prints as JSON the peak predicted with all threads at theirs and with one of them, the peak measured, and
whether the photons, or copies of them, went to disk.
"""

import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import edxdask
from edxdask.budget import MemoryPlan


def main(store: str, limit: str, workers: int, method: str) -> None:
    plans: list[MemoryPlan] = []
    check = MemoryPlan.check

    def remember(plan: MemoryPlan, step: str) -> MemoryPlan:
        plans.append(plan)
        return check(plan, step)

    MemoryPlan.check = remember
    how = {"phases": 3, "max_iter": 5, "tol": 0, "workers": workers, "memory_limit": limit}
    if method == "nmf":
        edxdask.nmf(edxdask.open(store), **how)
    else:  # the bin factor is chosen: copies of a window, thinned ones, bins of these and of all photons
        edxdask.psnmf(edxdask.open(store), smooth=1.0, **how)
    status = Path("/proc/self/status").read_text()
    peak = int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024
    plan = plans[0]
    reading, scratch = plan.reading // plan.threads, plan.scratch // plan.threads
    found = {
        "base": plan.base,
        "predicted": plan.peak,
        "one_thread": replace(plan, reading=reading, scratch=scratch).peak,
        "peak": peak,
        "cached": plan.cached,
        "copies": plan.copies,
        "copies_cached": plan.in_memory > plan.limit,
    }
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])
