"""A real Slurm: the results of threads, and a new job for a cancelled one."""

import getpass
import subprocess
import time

import numpy as np
import pytest

import edxdask
from edxdask.cluster import client_for
from edxdask.factorize.nmf import nmf

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.timeout(600),
    # dask-jobqueue leaves the files of its TLS keys open
    pytest.mark.filterwarnings("ignore:.*unclosed file.*:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:.*FileIO.*:pytest.PytestUnraisableExceptionWarning"),
]

# One machine: everything on loopback. On a real cluster none of this is needed.
LOOPBACK = {
    "scheduler_options": {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"},
    "worker_extra_args": ["--host", "127.0.0.1", "--dashboard-address", "127.0.0.1:0"],
}
OPTIONS = {"phases": 3, "max_iter": 30, "tol": 0}


def jobs():
    """Numbers of the running jobs."""
    command = ["squeue", "-h", "-t", "running", "-o", "%i", "-u", getpass.getuser()]
    return sorted(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())


def wait_for(condition, seconds=120):
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, f"after {seconds} s: jobs {jobs()}"
        time.sleep(0.5)


@pytest.fixture
def store(tmp_path):
    path = tmp_path / "map.zarr"
    edxdask.simulate("mantle", shape=(96, 96), counts=60.0, channels=256, out=path)
    return path


@pytest.fixture
def client(slurm, tmp_path):
    with client_for(
        "slurm",
        workers=2,
        memory="1GiB",
        queue="main",
        walltime="00:20:00",
        shared_temp_directory=str(tmp_path / "keys"),
        log_directory=str(tmp_path / "logs"),
        **LOOPBACK,
    ) as client:
        client.wait_for_workers(2, timeout=240)
        yield client


def test_two_jobs_give_the_result_of_threads_and_a_cancelled_one_is_replaced(client, store, tmp_path):
    ds = edxdask.open(store)
    found = nmf(ds, **OPTIONS)
    first = jobs()
    assert len(first) == 2
    assert client.scheduler.address.startswith("tls://")
    assert {path.stat().st_mode & 0o077 for path in (tmp_path / "keys").iterdir()} == {0}

    cancelled = []

    def cancel(progress):
        if progress.done == 12:
            cancelled.append(first[0])
            subprocess.run(["scancel", first[0]], check=True)
            wait_for(lambda: first[0] not in jobs())

    disturbed = nmf(ds, **{**OPTIONS, "max_iter": 40}, progress=cancel)
    assert cancelled
    wait_for(lambda: len(jobs()) == 2)
    assert set(jobs()) != set(first)
    client.wait_for_workers(2, timeout=240)
    again = nmf(ds, **OPTIONS)

    client.close()  # what follows runs on threads
    for result, options in ((found, OPTIONS), (disturbed, {**OPTIONS, "max_iter": 40}), (again, OPTIONS)):
        expected = nmf(ds, **options)
        for name in ("spectrum", "abundance", "total", "objective"):
            size = float(np.abs(expected[name]).max())
            np.testing.assert_allclose(result[name], expected[name], rtol=0, atol=1e-6 * size)
