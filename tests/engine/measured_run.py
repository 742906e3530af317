"""One run of nmf as a program of its own: python measured_run.py store memory_limit workers.

Prints the predicted peak, the measured one, and whether the photons went to disk, as JSON.
"""

import json
import re
import sys
from pathlib import Path

import edxdask
from edxdask.budget import MemoryPlan
from edxdask.factorize.nmf import nmf


def main(store: str, limit: str, workers: int) -> None:
    plans: list[MemoryPlan] = []
    check = MemoryPlan.check

    def remember(plan: MemoryPlan, step: str) -> MemoryPlan:
        plans.append(plan)
        return check(plan, step)

    MemoryPlan.check = remember
    nmf(edxdask.open(store), phases=3, max_iter=5, tol=0, workers=workers, memory_limit=limit)
    status = Path("/proc/self/status").read_text()
    peak = int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024
    plan = plans[0]
    json.dump({"base": plan.base, "predicted": plan.peak, "peak": peak, "cached": plan.cached}, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
