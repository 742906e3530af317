"""Figures beside their targets, and tasks in separate processes: used by the larger benchmarks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from typing import Any


def load_average() -> str:
    """Other work on the machine, to be read beside every time."""
    return "load average " + " ".join(f"{value:.2f}" for value in os.getloadavg())


def one_core() -> None:
    """Keep this process and its libraries on one core; call it before numpy is imported."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ[name] = "1"
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


@dataclass
class Verdict:
    """Prints one line per figure and remembers which missed their target.

    Attributes
    ----------
    limits : False at a tiny size, where figures mean nothing: they are printed without targets
    """

    limits: bool
    missed: list[str] = field(default_factory=list)

    def at_least(self, text: str, value: float, target: float, form: str = ".3g") -> None:
        """Print a figure that should not be smaller than ``target``."""
        self._line(text, value, f">= {target:{form}}", value >= target, form)

    def at_most(self, text: str, value: float, target: float, form: str = ".3g") -> None:
        """Print a figure that should not be larger than ``target``."""
        self._line(text, value, f"<= {target:{form}}", value <= target, form)

    def holds(self, text: str, good: bool) -> None:
        """Print a statement that should be true."""
        self._note(text, "true", good, f"  {text}: {'yes' if good else 'no'}")

    def _line(self, text: str, value: float, target: str, good: bool, form: str) -> None:
        self._note(f"{text} {value:{form}}", target, good, f"  {text}: {value:{form}}")

    def _note(self, text: str, target: str, good: bool, line: str) -> None:
        if self.limits and not good:
            self.missed.append(f"{text}, target {target}")
        print(line + (f"  (target {target}{'' if good else ', MISSED'})" if self.limits else ""), flush=True)

    def exit_code(self) -> int:
        """Print what was missed; 1 if anything was."""
        for line in self.missed:
            print(f"MISSED {line}")
        return 1 if self.missed else 0


def child(program: str, *arguments: str) -> dict[str, Any]:
    """Run ``program`` in a separate process; the last line of its output is its answer, as JSON."""
    command = [sys.executable, program, *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with exit code {done.returncode}")
    *_, last = done.stdout.splitlines()
    answer: dict[str, Any] = json.loads(last)
    return answer
