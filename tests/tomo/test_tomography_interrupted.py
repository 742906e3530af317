"""Volumes that are interrupted or killed continue, and are the same; workers give what threads give."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import xarray as xr
from small_series import made_series, result_of

import edxdask
from edxdask.errors import IncompleteStoreError, ParameterError, StoreExistsError
from edxdask.tomo.records import finished
from edxdask.tomographies import tomography

HOW = {"alignment": False, "strength": 0.1, "max_iter": 8, "slab_rows": 4}
RUN = """
import json, sys
import edxdask
from edxdask.tomographies import tomography
series, result = edxdask.open(sys.argv[1]), edxdask.open(sys.argv[2])
print("begin", flush=True)
tomography(series, result=result, out=sys.argv[3], resume=True, progress=False, **json.loads(sys.argv[4]))
"""


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """Series and result in stores, and the volume that nobody disturbed."""
    folder = tmp_path_factory.mktemp("series")
    cube, _, spectra = made_series(rows=30, width=24, photons=(2.0, 3.0))
    edxdask.save(cube, folder / "series.zarr")
    edxdask.save(result_of(spectra, cube), folder / "result.zarr")
    series, result = edxdask.open(folder / "series.zarr"), edxdask.open(folder / "result.zarr")
    return folder, tomography(series, result=result, out=folder / "whole.zarr", workers=2, **HOW).load()


def opened(folder):
    return edxdask.open(folder / "series.zarr"), edxdask.open(folder / "result.zarr")


def start(folder, out):
    places = os.pathsep.join(filter(None, sys.path))
    words = [str(folder / "series.zarr"), str(folder / "result.zarr"), str(out), json.dumps(HOW)]
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": places},
    )
    assert process.stdout.readline() == "begin\n"
    return process


@pytest.fixture
def ctrl_c():
    """Ctrl-C as Python has it, whatever a library that other tests imported has made of it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def interrupt_after(slabs):
    """Progress hook that presses Ctrl-C when so many rows are done."""

    def hook(event):
        if event.label.startswith("volume") and event.done >= 4 * slabs:
            signal.raise_signal(signal.SIGINT)

    return hook


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_keeps_finished_slabs_and_the_same_call_continues(stored, tmp_path):
    folder, whole = stored
    series, result = opened(folder)
    out, journal = tmp_path / "v.zarr", tmp_path / "v.zarr.partial" / "journal" / "map-slabs"
    with pytest.raises(KeyboardInterrupt) as caught:
        tomography(series, result=result, out=out, workers=1, progress=interrupt_after(3), **HOW)
    assert "slabs of the volume are safe" in caught.value.__notes__[0]
    done = finished(journal)
    assert 3 <= len(done) < 8
    with pytest.raises(IncompleteStoreError, match="resume=True"):
        edxdask.open(out)
    with pytest.raises(StoreExistsError, match="resume=True"):
        tomography(series, result=result, out=out, **HOW)
    with pytest.raises(ParameterError, match=r"strength was 0\.1, is 0\.2"):
        tomography(series, result=result, out=out, resume=True, **{**HOW, "strength": 0.2})
    rows = []
    seen = tomography(series, result=result, out=out, resume=True, workers=1, progress=rows.append, **HOW)
    assert next(e.resumed for e in rows if e.label.startswith("volume")) == 4 * len(done)
    xr.testing.assert_identical(seen.load(), whole)
    assert not out.with_name("v.zarr.partial").exists()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_a_run_that_is_killed_at_any_moment_continues_to_the_same_volume(stored, tmp_path, seed):
    folder, whole = stored
    undisturbed, begin = start(folder, tmp_path / "undisturbed.zarr"), time.monotonic()
    undisturbed.communicate()
    lasted = time.monotonic() - begin
    out, kills = tmp_path / "v.zarr", 0
    for moment in np.random.default_rng(seed).uniform(0.02, 0.5, 5) * lasted:
        process = start(folder, out)
        try:
            _, errors = process.communicate(timeout=float(moment))
            assert process.returncode == 0, errors
            break
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.communicate()
            kills += 1
            if out.exists() and not out.with_name("v.zarr.partial").exists():
                break  # it had finished; only the process had not ended
    series, result = opened(folder)
    if not out.exists():
        tomography(series, result=result, out=out, resume=True, **HOW)
    assert kills
    xr.testing.assert_identical(edxdask.open(out).load(), whole)


@pytest.mark.cluster
def test_two_workers_give_what_threads_give_and_a_killed_one_costs_its_slab(stored, tmp_path):
    from edxdask.cluster import client_for

    folder, whole = stored
    series, result = opened(folder)
    with client_for("local", workers=2, memory="2GiB") as client:
        client.wait_for_workers(2, timeout=240)
        on_workers = tomography(series, result=result, out=tmp_path / "two.zarr", **HOW)
        victims = []

        def kill_one(event):
            if event.label.startswith("volume") and event.done >= 4 and not victims:
                victims.append(next(iter(client.run(os.getpid).values())))
                os.kill(victims[0], signal.SIGKILL)

        killed = tomography(series, result=result, out=tmp_path / "k.zarr", progress=kill_one, **HOW)
    assert victims
    for made in (on_workers, killed):
        np.testing.assert_allclose(made.volume.values, whole.volume.values, rtol=0, atol=1e-6)
        np.testing.assert_allclose(made.tilt_chi2.values, whole.tilt_chi2.values, rtol=1e-6)
