"""Memory of slabs: predicted before they begin, within a fifth of what they take."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from edxdask.errors import MemoryBudgetError
from edxdask.tomo.memory import SLAB_ROWS, SlabSizes, rows_that_fit

SIZES = SlabSizes((512, 300, 512), 57, 512, 16, 3, subsets=8)
GIB = 2**30


@pytest.mark.slow
@pytest.mark.parametrize("case", [(128, 40, 29, 3, 1, 32, 0.3), (128, 64, 57, 3, 2, 16, 0.0)])
def test_slabs_take_what_was_predicted(case):
    program = Path(__file__).with_name("measured_slabs.py")
    done = subprocess.run(
        [sys.executable, str(program), json.dumps(case)], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert 0.8 < found["peak"] / found["predicted"] < 1.2


def test_slabs_have_as_many_rows_as_fit_then_fewer_run_at_once():
    def plan(limit, workers=2):
        return rows_that_fit(SIZES, wanted=None, workers=workers, memory_limit=limit * GIB, base=GIB // 4)

    plans = [plan(limit) for limit in (8, 3, 1.5, 1.1)]
    assert [one.slab_rows for one in plans] == sorted((one.slab_rows for one in plans), reverse=True)
    assert plans[0].slab_rows == SLAB_ROWS[0]
    assert [one.peak <= one.limit for one in plans] == [True] * 4
    alone = plan(0.7)
    assert (alone.at_once, alone.threads) == (1, 2)
    with pytest.raises(MemoryBudgetError, match="a slab of 4 rows does not fit"):
        plan(0.3)


def test_rows_that_are_asked_for_are_kept_or_refused_with_those_that_fit():
    kept = rows_that_fit(SIZES, wanted=64, workers=1, memory_limit=64 * GIB, base=0)
    assert kept.slab_rows == 64
    assert "a slab of 64 rows at once, at most" in str(kept)
    with pytest.raises(MemoryBudgetError, match=r"or slab_rows=4 for 4\d\d\.\d+ MiB"):
        rows_that_fit(SIZES, wanted=64, workers=1, memory_limit=GIB, base=0)


def test_a_volume_of_few_rows_is_one_slab_without_halo():
    few = SlabSizes((64, 24, 64), 29, 64, 16, 3)
    plan = rows_that_fit(few, wanted=None, workers=2, memory_limit=8 * GIB, base=0)
    assert (plan.slab_rows, plan.at_once, plan.threads) == (24, 1, 2)
    assert few.of(24) == pytest.approx(few.of(12) * 24 / 16, rel=1e-3)  # two slabs have four rows more each
