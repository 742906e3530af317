"""A child that has read a file without a fault reads the next one too; any other ends at once."""

from __future__ import annotations

import os

import made_files as made
import numpy as np
import pytest
from synthetic_reader import SPEC, write_source

from edxdask.errors import VendorFileError
from edxdask.io import child
from edxdask.io.remote import RemoteReader
from edxdask.io.vendor.base import ReadOptions
from edxdask.photons import to_dense

COUNTS = made.counts_of((3, 8, 16, 300), rate=0.1)


@pytest.fixture(autouse=True)
def no_child_waits():
    child.clear()
    yield
    child.clear()


@pytest.fixture
def path(tmp_path):
    return made.write_pts(tmp_path / "a.pts", COUNTS)


def read(path, reader=None):
    """Process that read the file, and its counts."""
    with RemoteReader(path, ReadOptions(), reader=reader) as remote:
        ((_, block),) = remote.bands(0, 64)
        return remote._child.process, to_dense(block)


def test_the_second_file_is_read_by_the_same_child_and_rightly(path, tmp_path):
    first, counts = read(path)
    other = made.write_pts(tmp_path / "b.pts", made.counts_of((1, 4, 4, 200), rate=0.5))
    second, others = read(other)
    third, again = read(path)
    assert first.pid == second.pid == third.pid
    assert first.poll() is None
    np.testing.assert_array_equal(counts, again)
    assert others.shape[0] == 16


def test_relative_paths_are_those_of_the_present_folder(path, tmp_path, monkeypatch):
    first, _ = read(path)
    monkeypatch.chdir(tmp_path)
    second, _ = read(path.relative_to(tmp_path))
    assert first.pid == second.pid


def test_a_child_in_which_anything_failed_is_not_used_again(path, tmp_path):
    first, _ = read(path)
    bad = tmp_path / "bad.pts"
    bad.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(VendorFileError, match="cut off"):
        read(bad)
    second, _ = read(path)
    assert first.pid != second.pid
    assert first.returncode is not None


def test_a_child_that_was_left_in_the_middle_is_not_used_again(path):
    with RemoteReader(path, ReadOptions()) as remote:
        next(remote.bands(0, 2))
        first = remote._child.process
    assert first.returncode is not None
    assert read(path)[0].pid != first.pid


def test_a_child_that_died_while_it_waited_costs_nothing(path):
    first, counts = read(path)
    os.kill(first.pid, 9)
    first.wait()
    second, again = read(path)
    assert first.pid != second.pid
    np.testing.assert_array_equal(counts, again)


def test_a_good_file_that_a_used_child_cannot_open_is_given_to_a_new_one(path, monkeypatch):
    first, counts = read(path)
    kept = child.get_child()
    kept.process.kill()  # it dies after it was taken from the shelf
    monkeypatch.setattr("edxdask.io.remote.get_child", lambda: kept)
    second, again = read(path)
    assert first.pid != second.pid
    np.testing.assert_array_equal(counts, again)


def test_a_reader_of_the_callers_own_never_shares_a_child(path, tmp_path):
    first, _ = read(path)
    source = write_source(tmp_path / "map.json", shape=[10, 5], channels=40, seed=3)
    own, _ = read(source, reader=SPEC)
    assert own.pid != first.pid
    assert own.returncode is not None
    assert read(path)[0].pid == first.pid


def test_a_child_that_waits_ends_when_its_time_is_over(path, monkeypatch, eventually):
    monkeypatch.setattr(child, "KEPT_SECONDS", 0.2)
    first, _ = read(path)
    eventually(lambda: first.returncode is not None)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_fork_of_this_process_leaves_the_child_alone(path):
    first, _ = read(path)
    pid = os.fork()
    if pid == 0:
        os._exit(0 if child._shelf.take() is None else 1)
    assert os.waitpid(pid, 0)[1] == 0
    assert read(path)[0].pid == first.pid
