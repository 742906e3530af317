from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from synthetic_reader import SPEC, true_counts, write_source

from edxdask.errors import ParameterError, VendorFileError
from edxdask.io import remote
from edxdask.io.remote import Limits, RemoteReader
from edxdask.io.vendor.base import ReadOptions
from edxdask.photons import to_dense

FIELDS = {"shape": [130, 5], "channels": 40, "seed": 3}
LIMITS = Limits(cpu_seconds=20, memory_bytes=4 << 30)


def read(path: Path, limits: Limits = LIMITS, options: ReadOptions | None = None) -> np.ndarray:
    """Counts of map 0, read through the child process."""
    with RemoteReader(path, options or ReadOptions(), limits=limits, reader=SPEC) as reader:
        header = reader.headers[0]
        out = np.zeros((*header.shape, header.channels), dtype=np.uint32)
        for first, block in reader.bands(0, 64):
            out[first : first + 64] = to_dense(block).reshape(-1, header.shape[1], header.channels)
    return out


@pytest.fixture
def failing(tmp_path):
    def run(limits: Limits = LIMITS, **fields) -> VendorFileError:
        path = write_source(tmp_path / "map.json", **{**FIELDS, **fields})
        with pytest.raises(VendorFileError) as caught:
            read(path, limits)
        assert caught.value.path == str(path)
        assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
        return caught.value

    return run


@pytest.mark.parametrize("order", [1, -1])
def test_photons_arrive_as_they_were_whatever_the_order_of_bands(tmp_path, order):
    fields = {**FIELDS, "order": order}
    assert np.array_equal(read(write_source(tmp_path / "map.json", **fields)), true_counts(fields))


def test_a_header_arrives_whole_and_typed_and_what_is_not_a_number_is_left_out(tmp_path):
    path = write_source(tmp_path / "map.json", **FIELDS)
    with RemoteReader(path, ReadOptions(), limits=LIMITS, reader=SPEC) as reader:
        (header,) = reader.headers
    assert (header.shape, header.channels, header.pixel_size) == ((130, 5), 40, (2.0, 2.0))
    assert header.attrs == {"beam_energy_kev": 200.0}  # the live time was NaN
    assert header.vendor_metadata == {"maker": "synthetic", "array": [0, 1, 2], "raw": "abc"}
    assert np.array_equal(header.images["haadf"].ravel(), np.arange(650, dtype=np.float32))


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("raise", "KeyError: 'no such block'"),
        ("stop iteration", "StopIteration"),
        ("system exit", "SystemExit: 3"),
        ("interrupt", "KeyboardInterrupt"),
        ("recursion", "RecursionError"),
        ("memory", "EDXDASK_READER_MEMORY_GIB"),
        ("segfault", "SIGSEGV"),
        ("abort", "SIGABRT"),
        ("quiet exit", "exit status 0"),
    ],
)
def test_whatever_happens_while_opening_is_one_error(failing, how, reason):
    error = failing(when="open", how=how)
    assert error.stage == "opening"
    assert error.reader == "synthetic"
    assert reason in error.reason


@pytest.mark.parametrize("how", ["raise", "segfault", "quiet exit", "system exit"])
def test_a_failure_in_a_band_names_its_rows(failing, how):
    assert failing(when="band 64", how=how).stage == "decoding rows 64-127"


def test_a_reader_that_spins_is_ended_by_its_processor_time(failing, monkeypatch):
    monkeypatch.setattr(remote, "_CLOCK_FACTOR", 200)  # on a busy machine the clock would end it first
    error = failing(Limits(cpu_seconds=1, memory_bytes=4 << 30), when="band 64", how="spin")
    assert "no result after 1 s of processor time; EDXDASK_READER_SECONDS" in error.reason


def test_a_reader_that_sleeps_is_ended_by_the_clock(tmp_path):
    path = write_source(tmp_path / "map.json", **FIELDS, when="band 128", how="sleep")
    with RemoteReader(path, ReadOptions(), limits=LIMITS, reader=SPEC) as reader:
        bands = reader.bands(0, 64)
        assert [next(bands)[0] for _ in range(2)] == [0, 64]
        # only now, since a busy machine takes long to start a child
        reader.limits = Limits(cpu_seconds=0.25, memory_bytes=4 << 30)
        with pytest.raises(VendorFileError) as caught:
            next(bands)
    assert "no result after 1 s; EDXDASK_READER_SECONDS" in caught.value.reason
    assert caught.value.stage == "decoding rows 128-129"


def test_noise_on_stdout_and_stderr_and_warnings_do_no_harm(tmp_path):
    fields = {**FIELDS, "when": "band 0", "how": "flood"}
    assert np.array_equal(read(write_source(tmp_path / "map.json", **fields)), true_counts(fields))


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"said_shape": [0, 5]}, "0 × 5 pixels"),
        ({"said_shape": [1 << 20, 1 << 20]}, "pixels"),
        ({"scale": 10.0}, "10.0 keV"),
        ({"scale": 0.0}, "0.0 keV"),
        ({"beam": 200000.0}, "200000.0 keV"),
        ({"total": -1}, "-1 photons"),
    ],
)
def test_a_header_that_cannot_be_true_is_refused(failing, fields, reason):
    error = failing(**fields)
    assert error.stage == "reading the header"
    assert reason in error.reason


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"tamper": "channel"}, "channel 40 of 40"),
        ({"tamper": "falling"}, "do not rise"),
        ({"tamper": "indptr"}, "do not add up"),
        ({"said_shape": [130, 6]}, "where 384 belong"),
        ({"order": 2}, "ended without"),
    ],
)
def test_photons_that_cannot_be_are_refused(failing, fields, reason):
    error = failing(mean=0.5, **fields)
    assert error.stage.startswith("decoding rows")
    assert reason in error.reason


def test_the_child_ends_with_its_parent_even_by_sigkill(tmp_path, eventually):
    path = write_source(tmp_path / "map.json", **FIELDS, when="open", how="sleep")
    code = (
        "import sys; from pathlib import Path; from edxdask.io.remote import Child, RemoteReader\n"
        "from edxdask.io.vendor.base import ReadOptions\n"
        f"reader = RemoteReader(Path({str(path)!r}), ReadOptions(), reader={SPEC!r})\n"
        "reader._start(Child()); print(reader._child.process.pid, flush=True)\n"
        "reader._next('reader', 'opened')\n"
        "print('up', flush=True); reader._next('opened')\n"
    )
    places = os.pathsep.join(filter(None, sys.path))
    parent = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": places}
    )
    child = int(parent.stdout.readline())
    assert parent.stdout.readline() == b"up\n"
    parent.send_signal(signal.SIGKILL)
    parent.communicate()
    eventually(lambda: not _is_alive(child))


def _is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_the_child_loads_no_more_than_it_needs():
    code = "import sys, json, edxdask.io.sandbox; print(json.dumps(sorted(sys.modules)))"
    loaded = json.loads(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)
    assert not {"xarray", "dask", "zarr", "pandas", "rsciio", "matplotlib"} & set(loaded)


def test_limits_come_from_the_file_and_the_environment(tmp_path, monkeypatch):
    path = write_source(tmp_path / "map.json", **FIELDS)
    assert Limits.for_file(path).memory_bytes <= 4 << 30
    monkeypatch.setenv("EDXDASK_READER_SECONDS", "7")
    monkeypatch.setenv("EDXDASK_READER_MEMORY_GIB", "2")
    assert Limits.for_file(path) == Limits(7.0, 2 << 30)
    monkeypatch.setenv("EDXDASK_READER_SECONDS", "soon")
    with pytest.raises(ParameterError, match="EDXDASK_READER_SECONDS='soon'"):
        Limits.for_file(path)
