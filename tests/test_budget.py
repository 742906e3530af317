"""Sizes, memory as the system tells it, and plans that are refused."""

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edxdask.budget import (
    MemoryPlan,
    available_memory,
    format_bytes,
    parse_bytes,
    resident_memory,
    return_large_arrays,
)
from edxdask.errors import MemoryBudgetError, ParameterError

MIB = 2**20


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("6GiB", 6 * 2**30), ("500 MB", 500 * 10**6), ("1.5gib", 3 * 2**29), ("2k", 2000), ("7KiB", 7168),
        (12, 12), (2.5e9, 2_500_000_000), ("64", 64), ("1TB", 10**12),
    ],
)  # fmt: skip
def test_sizes_are_read(text, size):
    assert parse_bytes(text) == size


@pytest.mark.parametrize(
    "text", ["much", "", "-1GiB", "6 GiBs", 0, -5, float("nan"), "1.2.3MB", ".", True, None]
)
def test_what_is_no_size_is_refused_by_name(text):
    with pytest.raises(ParameterError, match="memory_limit="):
        parse_bytes(text)


@pytest.mark.parametrize("size", [0, 1, 1023, 1024, 5 * MIB, 3 * 2**40])
def test_sizes_are_written_so_that_they_can_be_read(size):
    assert parse_bytes(format_bytes(size or 1)) == pytest.approx(size or 1, rel=0.01)


def test_memory_of_this_process_is_seen():
    before, free = resident_memory(), available_memory()
    held = np.ones(32 * MIB, np.uint8)
    assert resident_memory() - before == pytest.approx(held.nbytes, rel=0.2)
    total = int(re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())[1]) * 1024
    assert 0 < free < total


RETURNS = """
import threading, numpy as np
from edxdask.budget import resident_memory, return_large_arrays
assert return_large_arrays()
def work():
    for size in (2, 5, 9, 17, 31, 40, 33, 16, 8, 3):
        np.ones(size << 20, np.uint8)
work()
before = resident_memory()
threads = [threading.Thread(target=work) for _ in range(4)]
[t.start() for t in threads]
[t.join() for t in threads]
print(resident_memory() - before)
"""


def test_large_arrays_that_threads_free_go_back_to_the_system():
    if not return_large_arrays():
        pytest.skip("this C library has no mallopt")
    done = subprocess.run([sys.executable, "-c", RETURNS], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 3 * MIB


def plan(limit, *, threads=2, processes=1):
    return MemoryPlan(
        base=200 * MIB, photons=300 * MIB, state=50 * MIB, reading=100 * MIB, scratch=20 * MIB,
        limit=limit * MIB, threads=threads, processes=processes,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("limit", "cached", "peak"), [(1000, False, 600), (600, False, 600), (599, True, 300)]
)
def test_photons_go_to_disk_when_they_do_not_fit(limit, cached, peak):
    found = plan(limit).check("nmf")
    assert found.cached is cached
    assert found.peak == peak * MIB


@pytest.mark.parametrize(
    ("limit", "photons_cached", "copies_cached", "peak"),
    [(720, False, False, 720), (719, False, True, 600), (599, True, False, 420), (419, True, True, 300)],
)
def test_copies_go_to_disk_before_the_photons_do(limit, photons_cached, copies_cached, peak):
    found = replace(plan(limit), copies=120 * MIB, copies_state=40 * MIB).check("psnmf")
    assert found.cached is photons_cached
    assert found.peak == peak * MIB
    assert found.beside(120 * MIB, 40 * MIB)[1] is copies_cached


def test_a_plan_that_cannot_fit_names_limits_that_do():
    with pytest.raises(MemoryBudgetError, match="nmf does not fit memory_limit=299") as caught:
        plan(299).check("nmf")
    disk, memory, alone = re.findall(r"memory_limit='(\d+MiB)'|'(\d+MiB)' to keep", str(caught.value))
    assert plan(parse_bytes(disk[0]) // MIB).check("nmf").cached
    assert not plan(parse_bytes(memory[1]) // MIB).check("nmf").cached
    assert "workers=1" in str(caught.value)
    single = MemoryPlan(200 * MIB, 300 * MIB, 50 * MIB, 50 * MIB, 10 * MIB, parse_bytes(alone[0]))
    assert single.check("nmf").cached


def test_advice_fits_the_scheduler():
    with pytest.raises(MemoryBudgetError, match="take more workers"):
        plan(200, processes=2).check("nmf")
    with pytest.raises(MemoryBudgetError) as caught:
        plan(200, threads=1).check("nmf")
    assert "workers" not in str(caught.value)
