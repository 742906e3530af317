"""Killed, interrupted, out of disk: the same call goes on from the last checkpoint."""

import errno
import logging
import os
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import edxdask
from edxdask.cluster import client_for
from edxdask.engine import checkpoint as checkpoints
from edxdask.errors import EdxdaskError
from edxdask.factorize.nmf import nmf
from edxdask.io import save

PROGRAM = Path(__file__).with_name("long_run.py")
EVERY = 50  # rounds between checkpoints
OPTIONS = {"phases": 3, "max_iter": 130, "tol": 0}


def cube(shape=(30, 20), channels=60, seed=0):
    rng = np.random.default_rng(seed)
    shapes = rng.gamma(0.3, size=(3, channels))
    counts = rng.poisson(rng.gamma(1.0, size=(*shape, 3)) @ shapes * 0.3).astype(np.uint16)
    return edxdask.from_array(counts, energy_offset=0.0, energy_scale=0.01)


def same(one, two, tolerance=1e-6):
    for name in ("spectrum", "objective", "total"):
        expected = np.asarray(two[name])
        np.testing.assert_allclose(one[name], expected, rtol=0, atol=tolerance * expected.max(), err_msg=name)


class Stop(Exception):
    """Ends a run from its progress hook, as a crash would."""


class Watch:
    """Progress hook that notes where a run began and acts at given iterations."""

    def __init__(self, **actions):
        self.first, self.last, self.resumed = None, 0, None
        self.actions = {int(name[1:]): action for name, action in actions.items()}

    def __call__(self, progress):
        self.first = progress.done if self.first is None else self.first
        self.last, self.resumed = progress.done, progress.resumed
        action = self.actions.get(int(progress.done))
        if action:
            action()


def stop():
    raise Stop


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_run_that_ended_goes_on_and_ends_where_an_undisturbed_one_does(tmp_path):
    folder = tmp_path / "checkpoint"
    with pytest.raises(Stop):
        nmf(cube(), **OPTIONS, checkpoint=folder, progress=Watch(_120=stop))
    assert names(folder) == ["step-00000100"]
    watch = Watch()
    resumed = nmf(cube(), **OPTIONS, checkpoint=folder, progress=watch)
    assert (watch.first, watch.resumed) == (101, 100)
    same(resumed, nmf(cube(), **OPTIONS), tolerance=0)
    assert not folder.exists()  # the run is done


def test_other_partitions_and_a_longer_run_may_go_on(tmp_path):
    folder = tmp_path / "checkpoint"
    with pytest.raises(Stop):
        nmf(cube(), **OPTIONS, checkpoint=folder, workers=3, progress=Watch(_60=stop))
    watch = Watch()
    longer = {**OPTIONS, "max_iter": 160, "tol": 1e-15}
    resumed = nmf(cube().chunk({"y": 4}), **longer, checkpoint=folder, workers=2, progress=watch)
    assert watch.resumed == 50
    same(resumed, nmf(cube(), **longer))


@pytest.mark.parametrize("change", [{"max_iter": 70}, {"tol": 1e-2}], ids=str)
def test_a_shorter_run_does_not_get_the_answer_of_the_longer_one(tmp_path, change):
    folder = tmp_path / "checkpoint"
    with pytest.raises(Stop):
        nmf(cube(), **OPTIONS, checkpoint=folder, progress=Watch(_120=stop))
    with pytest.raises(EdxdaskError, match="is of iteration 100, and this run would have ended after"):
        nmf(cube(), **{**OPTIONS, **change}, checkpoint=folder)
    nmf(cube(), **OPTIONS, checkpoint=folder)


@pytest.mark.parametrize(
    "change",
    [
        {"phases": 2}, {"loss": "frobenius"}, {"seed": 1}, {"precision": "double"}, {"accelerate": False},
        {"init": "random"}, {"forbidden": np.eye(3, 60, dtype=bool)}, {"fixed": np.ones(3, bool)},
        {"init": (np.ones((600, 3)), np.ones((3, 60)))},
    ],
    ids=lambda change: next(iter(change)),
)  # fmt: skip
def test_a_checkpoint_of_another_run_is_refused(tmp_path, change):
    folder = tmp_path / "checkpoint"
    with pytest.raises(Stop):
        nmf(cube(), **OPTIONS, checkpoint=folder, progress=Watch(_51=stop))
    with pytest.raises(EdxdaskError, match=f"another run .*{next(iter(change))}"):
        nmf(cube(), **{**OPTIONS, **change}, checkpoint=folder)
    assert names(folder) == ["step-00000050"]


def test_a_checkpoint_of_other_data_is_refused_even_if_they_are_a_mirror_image(tmp_path):
    folder = tmp_path / "checkpoint"
    with pytest.raises(Stop):
        nmf(cube(), **OPTIONS, checkpoint=folder, progress=Watch(_51=stop))
    for other in (cube(seed=1), cube().isel(y=slice(None, None, -1)), cube().isel(x=slice(None, None, -1))):
        with pytest.raises(EdxdaskError, match=r"another run .*fingerprint"):
            nmf(other, **OPTIONS, checkpoint=folder)
    nmf(cube().chunk({"y": 3, "x": 4}), **OPTIONS, checkpoint=folder)  # chunks are no part of the data


def test_files_of_others_in_the_folder_are_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    nmf(cube(), **OPTIONS, checkpoint=tmp_path)
    assert names(tmp_path) == ["thesis.txt"]


def test_a_checkpoint_that_lost_a_piece_is_refused(tmp_path):
    folder = tmp_path / "checkpoint"
    with pytest.raises(Stop):
        nmf(cube().chunk({"y": 4}), **OPTIONS, checkpoint=folder, progress=Watch(_51=stop), workers=2)
    next((folder / "step-00000050").glob("pixels-0-*")).unlink()
    with pytest.raises(EdxdaskError, match="without pixels"):
        nmf(cube(), **OPTIONS, checkpoint=folder)


@pytest.mark.parametrize("part", ["pixels", "shared", "meta"])
def test_a_failed_checkpoint_is_a_warning_and_the_previous_one_stands(tmp_path, monkeypatch, caplog, part):
    folder = tmp_path / "checkpoint"
    real, fsync = checkpoints._write_arrays, os.fsync

    def failing(path, arrays):
        if path.parent.name.startswith("step-00000100") and path.name.startswith(part):
            raise OSError(errno.ENOSPC, "No space left on device")
        real(path, arrays)

    def failing_sync(handle):
        if part == "meta" and "step-00000100" in os.readlink(f"/proc/self/fd/{handle}"):
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(handle)

    monkeypatch.setattr(checkpoints, "_write_arrays", failing)
    monkeypatch.setattr(os, "fsync", failing_sync)
    seen = []
    look = Watch(_101=lambda: seen.extend(names(folder)), _110=stop)
    with caplog.at_level(logging.WARNING), pytest.raises(Stop):
        nmf(cube(), **OPTIONS, checkpoint=folder, progress=look)
    assert seen == ["step-00000050"]
    text = [r.message for r in caplog.records if "no checkpoint after iteration 100" in r.message]
    assert len(text) == 1  # it does not try again in each round
    assert "No space left" in text[0]
    monkeypatch.undo()
    watch = Watch()
    same(nmf(cube(), **OPTIONS, checkpoint=folder, progress=watch), nmf(cube(), **OPTIONS), tolerance=0)
    assert watch.resumed == 50


@pytest.fixture
def small_disk(tmp_path):
    """A file system of one megabyte."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount command")
    if done.returncode:
        pytest.skip(f"cannot mount a small disk here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_costs_a_checkpoint_and_no_more(small_disk, caplog):
    folder, filler = small_disk / "checkpoint", small_disk / "filler"

    def fill():
        file = os.open(filler, os.O_WRONLY | os.O_CREAT)
        while True:
            try:
                os.write(file, bytes(4096))
            except OSError:
                break
        os.close(file)
        assert os.statvfs(folder).f_bavail == 0

    seen = []
    look = Watch(_60=fill, _101=lambda: seen.extend(names(folder)), _120=stop)
    with caplog.at_level(logging.WARNING), pytest.raises(Stop):
        nmf(cube(), **OPTIONS, checkpoint=folder, progress=look)
    assert seen == ["step-00000050"]
    assert "no checkpoint after iteration 100" in caplog.text
    filler.unlink()
    watch = Watch()
    same(nmf(cube(), **OPTIONS, checkpoint=folder, progress=watch), nmf(cube(), **OPTIONS), tolerance=0)
    assert watch.resumed == 50


# --- whole programs --------------------------------------------------------------------------------


def begin(folder, scheduler, max_iter):
    return subprocess.Popen(
        [sys.executable, str(PROGRAM), str(folder), scheduler, str(max_iter)],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_for_iteration(folder, process, iteration, seconds=100.0):
    log, end = folder / "log", time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        lines = log.read_text().splitlines() if log.exists() else []
        if lines and int(lines[-1].split()[0]) >= iteration:
            return
        time.sleep(0.01)
    process.kill()
    raise AssertionError(f"the run did not come to iteration {iteration}: {process.communicate()[1]}")


def iterations(folder):
    """Runs of a log as (first iteration, last, resumed)."""
    runs: list[list[int]] = []
    for line in (folder / "log").read_text().splitlines():
        done, resumed = map(int, line.split())
        if not runs or done <= runs[-1][1] or resumed != runs[-1][2]:
            runs.append([done, done, resumed])
        runs[-1][1] = done
    return runs


@pytest.mark.parametrize(
    ("scheduler", "kills", "max_iter"),
    [
        pytest.param("threads", 2, 400, marks=pytest.mark.slow),
        pytest.param("local", 1, 160, marks=pytest.mark.cluster),
        pytest.param("elsewhere", 1, 160, marks=pytest.mark.cluster),
    ],
)
def test_a_killed_program_loses_at_most_one_interval(tmp_path, scheduler, kills, max_iter):
    save(cube(), tmp_path / "cube.zarr")
    if scheduler == "elsewhere":  # a cluster that outlives its clients
        with client_for("local", workers=2) as client:
            kill_and_go_on(tmp_path, client.scheduler.address, kills, max_iter)
    else:
        kill_and_go_on(tmp_path, scheduler, kills, max_iter)


def kill_and_go_on(tmp_path, scheduler, kills, max_iter):
    for kill in range(kills):
        process = begin(tmp_path, scheduler, max_iter)
        wait_for_iteration(tmp_path, process, 120 + 150 * kill)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    final = begin(tmp_path, scheduler, max_iter)
    _, text = final.communicate(timeout=240)
    assert final.returncode == 0, text
    runs = iterations(tmp_path)
    assert len(runs) == kills + 1
    for killed, following in pairwise(runs):
        assert following[0] == following[2] + 1
        assert following[2] % EVERY == 0
        assert 0 <= killed[1] - following[2] < EVERY + 1
    assert runs[-1][1] == max_iter
    expected = nmf(cube(), phases=3, max_iter=max_iter, tol=0)
    with np.load(tmp_path / "result.npz") as found:
        same(found, expected)


@pytest.mark.parametrize(
    "scheduler",
    [pytest.param("threads", marks=pytest.mark.slow), pytest.param("local", marks=pytest.mark.cluster)],
)
def test_ctrl_c_leaves_a_checkpoint_and_says_how_to_go_on(tmp_path, scheduler):
    save(cube(), tmp_path / "cube.zarr")
    process = begin(tmp_path, scheduler, 5000)
    wait_for_iteration(tmp_path, process, 60)
    os.killpg(process.pid, signal.SIGINT)  # a terminal sends it to the workers as well
    _, text = process.communicate(timeout=240)
    assert process.returncode == -signal.SIGINT
    assert "the same command resumes from there" in text
    (step,) = names(tmp_path / "checkpoint")
    (run,) = iterations(tmp_path)
    assert int(step.removeprefix("step-")) == run[1]  # not one round is lost
    final = begin(tmp_path, scheduler, run[1] + 40)
    _, text = final.communicate(timeout=240)
    assert final.returncode == 0, text
    assert iterations(tmp_path)[1] == [run[1] + 1, run[1] + 40, run[1]]
    with np.load(tmp_path / "result.npz") as found:
        same(found, nmf(cube(), phases=3, max_iter=run[1] + 40, tol=0))


class Ended(Exception):
    """Raised by a program's own handler."""


def end_program(number, frame):
    raise Ended


@pytest.fixture(params=[signal.default_int_handler, end_program], ids=["default", "own"])
def handler(request):
    """What Ctrl-C does in this program, and the exception that comes of it."""
    before = signal.signal(signal.SIGINT, request.param)
    yield request.param, KeyboardInterrupt if request.param is signal.default_int_handler else Ended
    signal.signal(signal.SIGINT, before)


def press(times):
    for _ in range(times):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.02)


@pytest.mark.parametrize(("times", "step"), [(1, "step-00000077"), (2, "step-00000050")])
def test_ctrl_c_waits_for_the_round_and_a_second_one_does_not(tmp_path, handler, times, step):
    folder = tmp_path / "checkpoint"
    function, error = handler
    with pytest.raises(error):
        nmf(cube(), **OPTIONS, checkpoint=folder, progress=Watch(_77=lambda: press(times)))
    assert names(folder) == [step]
    assert signal.getsignal(signal.SIGINT) is function


def test_a_program_that_only_takes_note_of_ctrl_c_goes_on(tmp_path):
    noted = []
    before = signal.signal(signal.SIGINT, lambda *_: noted.append(1))
    try:
        nmf(cube(), **OPTIONS, checkpoint=tmp_path / "checkpoint", progress=Watch(_7=lambda: press(1)))
    finally:
        signal.signal(signal.SIGINT, before)
    assert noted == [1]


def test_ctrl_c_without_a_folder_says_what_would_have_kept_the_work(caplog):
    with caplog.at_level(logging.WARNING), pytest.raises(KeyboardInterrupt):
        nmf(cube(), **OPTIONS, progress=Watch(_7=lambda: os.kill(os.getpid(), signal.SIGINT)))
    assert "interrupted after iteration 7" in caplog.text
    assert "checkpoint='folder'" in caplog.text
