"""Memory, planned before work starts: what is free, what a step will take, and whether that fits."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from edxdask.errors import MemoryBudgetError, ParameterError
from edxdask.portable import c_library

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_BINARY = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def parse_bytes(text: str | float | int, *, name: str = "memory_limit") -> int:
    """Bytes of "6GiB", "500 MB" or a number.

    Examples
    --------
    >>> parse_bytes("1.5GiB") == 3 * 2**29
    True
    """
    if isinstance(text, int | float) and not isinstance(text, bool):
        value = float(text)
    else:
        match = re.fullmatch(r"\s*(\d+\.?\d*|\.\d+)\s*([KMGT]?)(i?)B?\s*", str(text), re.IGNORECASE)
        if match is None:
            raise ParameterError(name, text, "a size such as '6GiB' or '500MB'")
        unit = match[2].upper()
        value = float(match[1]) * (_BINARY[unit] if match[3] and unit else _UNITS[unit])
    if not value > 0:
        raise ParameterError(name, text, "a size above zero, such as '6GiB'")
    return int(value)


def format_bytes(size: float) -> str:
    """Size in a unit that people use.

    Examples
    --------
    >>> format_bytes(6.5 * 2**30)
    '6.50 GiB'
    """
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(size) < 1024:
            return f"{size:.0f} B" if unit == "B" else f"{size:.2f} {unit}"
        size /= 1024
    return f"{size:.2f} TiB"


def available_memory() -> int:
    """Bytes this process may still take: free memory of the machine or of its control group."""
    sizes = [int(psutil.virtual_memory().available)]
    limit, used = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")
    if limit.is_file() and (text := limit.read_text().strip()) != "max":
        sizes.append(int(text) - int(used.read_text()))
    return max(min(sizes), 0)


# Blocks in flight per thread while a copy is made: a block, its photons, rows of them, joined rows, the copy.
MAKING = 5
MMAP_BYTES = 1 << 20
_M_MMAP_THRESHOLD = -3  # of glibc's malloc.h


def return_large_arrays() -> bool:
    """Make the C library return freed arrays of a megabyte and more to the system at once.

    Otherwise glibc raises that limit to 32 MiB when the first such array is freed, and keeps what threads
    free: reading a 512 × 512 × 2048 map on two threads left 85 MiB so, and predictions would be wrong. It is
    set for the whole process from then on. Returns whether the C library can.
    """
    mallopt = getattr(c_library(), "mallopt", None)
    return mallopt is not None and mallopt(_M_MMAP_THRESHOLD, MMAP_BYTES) == 1


def resident_memory() -> int:
    """Bytes of memory this process holds now."""
    return int(psutil.Process().memory_info().rss)


@dataclass(frozen=True)
class MemoryPlan:
    """Predicted peak of one process, in bytes.

    Attributes
    ----------
    base : the process before the work
    photons : photon blocks, if all stay in memory
    state : arrays beside the photons
    reading : dense chunks in flight while photons are made
    scratch : statistics, one band in flight and the factors, of all threads together
    limit : what the process may take
    threads : that work at once in the process
    processes : number of processes that hold the photons
    copies : binned and thinned copies of the photons that exist at the same time
    copies_state : arrays beside those; they never exist together with ``state``
    """

    base: int
    photons: int
    state: int
    reading: int
    scratch: int
    limit: int
    threads: int = 1
    processes: int = 1
    copies: int = 0
    copies_state: int = 0

    @property
    def in_memory(self) -> int:
        """Peak with the photons and all copies of them in memory."""
        return self.base + self.photons + max(self._work, self._copying)

    @property
    def copies_on_disk(self) -> int:
        """Peak with the photons in memory and their copies in a cache on local disk."""
        return self.base + self.photons + self._work

    @property
    def from_disk(self) -> int:
        """Peak with the photons and their copies in a cache on local disk."""
        return self.base + self._work

    @property
    def _work(self) -> int:
        return max(self.reading, max(self.state, self.copies_state) + self.scratch)

    @property
    def _copying(self) -> int:
        return self.copies + max(self.copies_state + self.scratch, MAKING * self.scratch)

    @property
    def cached(self) -> bool:
        """Whether the photons must go to disk."""
        return self.copies_on_disk > self.limit

    @property
    def peak(self) -> int:
        """Peak of the work as planned: what does not fit goes to disk, copies first."""
        held, least = (0, self.from_disk) if self.cached else (self.photons, self.copies_on_disk)
        most = self.base + held + max(self._work, self._copying)
        return most if most <= self.limit else least

    def beside(self, copy: int, state: int) -> tuple[MemoryPlan, bool]:
        """Plan for work on a copy of the photons, while these stay; and whether the copy must go to disk.

        Parameters
        ----------
        copy : int
            Bytes of the copy in memory.
        state : int
            Bytes of the arrays beside it.

        Examples
        --------
        >>> plan = MemoryPlan(base=10, photons=50, state=20, reading=0, scratch=5, limit=100)
        >>> [plan.beside(copy, 10)[1] for copy in (15, 16)]
        [False, True]
        """
        held = 0 if self.cached else self.photons
        work = max(state + self.scratch, MAKING * self.scratch)
        spill = self.base + held + copy + work > self.limit
        photons = held if spill else held + copy
        return replace(self, photons=photons, state=state, reading=0, copies=0, copies_state=0), spill

    def check(self, step: str) -> MemoryPlan:
        """Return the plan if it fits; else the error says what would fit.

        Raises
        ------
        MemoryBudgetError
            If even the photon cache on disk does not help.
        """
        if self.from_disk > self.limit:
            parts = (
                f"process {format_bytes(self.base)}, state {format_bytes(self.state)}, "
                f"reading {format_bytes(self.reading)}, scratch {format_bytes(self.scratch)}"
            )
            raise MemoryBudgetError(
                f"{step} does not fit memory_limit={format_bytes(self.limit)}, even with the photons on disk "
                f"({parts}). Set memory_limit='{_mebibytes(self.from_disk)}', or "
                f"'{_mebibytes(self.in_memory)}' to keep the photons in memory.{self._advice()}"
            )
        return self

    def _advice(self) -> str:
        if self.processes > 1:
            return " Or take more workers: each holds its part of the photons and the state."
        if self.threads == 1:
            return ""
        alone = self.base + max(self.reading // self.threads, self.state + self.scratch // self.threads)
        return f" With workers=1, memory_limit='{_mebibytes(alone)}' is enough."


def _mebibytes(size: int) -> str:
    """Size with some room (a process grows between two calls), as ``parse_bytes`` reads it."""
    return f"{-(-int(size * 1.02) // 2**20)}MiB"
