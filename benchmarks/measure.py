"""Run a command and report how long it took and how much memory it held, with all the processes it started.

The peak is the larger of two figures. One is sampled from ``/proc``: the sum over processes of their
proportional set size (Pss: memory that two processes share counts once). The other is the kernel's high-water
mark of the largest single process, which misses nothing between two samples, but is never below the size of
the process that calls ``measure``: call it from a small one. Files under ``/dev/shm`` that nobody has mapped
are not seen.

    python benchmarks/measure.py python -c "print(1)"
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

MB, GB = 1e6, 1e9


@dataclass(frozen=True)
class Measurement:
    """What one run took.

    Attributes
    ----------
    seconds : from start to exit
    peak_bytes : most memory held at once by the whole process tree
    output : what it wrote to standard output
    """

    seconds: float
    peak_bytes: int
    output: str


def measure(command: Sequence[str], *, interval: float = 0.02) -> Measurement:
    """Run ``command`` and wait; raise ``CalledProcessError`` with its standard error where it fails.

    Examples
    --------
    >>> run = measure([sys.executable, "-c", "x = bytearray(200_000_000); print(len(x))"])
    >>> run.output, 200e6 < run.peak_bytes < 300e6
    ('200000000\\n', True)
    """
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as error:
        begin = time.perf_counter()
        process = subprocess.Popen(command, stdout=output, stderr=error, start_new_session=True)
        peak, ended = 0, 0
        while not ended:
            sampled = time.perf_counter()
            peak = max(peak, _session_bytes(process.pid))
            # reading Pss stops a process for a moment: never spend more than a tenth of the time on it
            time.sleep(max(interval, min(9 * (time.perf_counter() - sampled), 0.5)))
            ended, status, usage = os.wait4(process.pid, os.WNOHANG)
        seconds = time.perf_counter() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
        texts = [_text(file) for file in (output, error)]
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command, *texts)
    return Measurement(seconds, max(peak, usage.ru_maxrss * 1024), texts[0])


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode()


def interpreter(imports: str = "edxdask") -> Measurement:
    """Measure an interpreter that has imported ``imports`` (comma-separated) and does nothing."""
    return measure([sys.executable, "-c", f"import time, {imports}; time.sleep(0.2)"])


def _session_bytes(session: int) -> int:
    """Sum the Pss of the processes of a session: the command and all it started, orphans too."""
    total = 0
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(fields[3]) == session:
                total += _kilobytes(folder / "smaps_rollup", "Pss:") * 1024
        except (OSError, IndexError):
            continue  # ended meanwhile
    return total


def _kilobytes(path: Path, key: str) -> int:
    for line in path.read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1])
    return 0


def main(command: list[str]) -> None:
    """Measure the command of the command line."""
    run = measure(command)
    print(run.output, end="")
    print(f"{run.seconds:.2f} s, peak {run.peak_bytes / MB:.0f} MB", file=sys.stderr)


if __name__ == "__main__":
    main(sys.argv[1:])
