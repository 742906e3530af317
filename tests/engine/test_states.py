"""Handles of states beside the photons: valid until the partitions hold something else."""

import os
import subprocess
import sys

import numpy as np
import pytest

import edxdask
from edxdask.engine.problem import Demand, photons_of
from edxdask.engine.states import PixelStates
from edxdask.factorize.iteration.gather import gather_abundance, phase_sizes
from edxdask.factorize.iteration.starts import GivenState, UnitSpectra


@pytest.fixture
def cube():
    counts = np.random.default_rng(0).poisson(0.5, (12, 10, 20)).astype(np.uint16)
    return edxdask.from_array(counts, energy_offset=0.0, energy_scale=0.01).chunk({"y": 4})


def test_a_handle_answers_until_its_states_are_replaced(cube):
    given = np.random.default_rng(1).random((120, 2)).astype(np.float32)
    with photons_of(cube, step="test", demand=Demand(100, 0), workers=2) as problem:
        first = PixelStates.made(problem, GivenState(given))
        np.testing.assert_array_equal(gather_abundance(first), given)
        np.testing.assert_array_equal(gather_abundance(first, np.array([1, 0])), given[:, ::-1])
        np.testing.assert_allclose(phase_sizes(first), given.sum(axis=0), rtol=1e-5)
        second = first.changed(UnitSpectra(np.array([2.0, 3.0])))
        np.testing.assert_allclose(gather_abundance(second), given * [2.0, 3.0], rtol=1e-6)
        with pytest.raises(RuntimeError, match="use the handle that the last step returned"):
            gather_abundance(first)
        with pytest.raises(RuntimeError, match="are gone"):
            first.changed(UnitSpectra(np.ones(2)))
        PixelStates.made(problem, GivenState(given))
        with pytest.raises(RuntimeError, match="are gone"):
            gather_abundance(second)


THREADS = """
import os, sys
os.sched_setaffinity(0, {int(sys.argv[1])})
import numpy as np, edxdask
from edxdask.engine.problem import Demand, photons_of
cube = edxdask.from_array(np.ones((4, 4, 8), "u2"), energy_offset=0.0, energy_scale=0.01)
with photons_of(cube, step="test", demand=Demand(0, 0)) as problem:
    print(problem.executor.workers)
"""


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system knows no affinity")
def test_a_program_that_may_use_one_processor_gets_one_thread():
    if os.cpu_count() < 2:
        pytest.skip("this machine has one processor")
    one = str(min(os.sched_getaffinity(0)))
    command = [sys.executable, "-c", THREADS, one]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == "1"
