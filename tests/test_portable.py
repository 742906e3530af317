"""The package on systems that lack what Linux has: modules are hidden before Python starts."""

import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edxdask import portable

pytestmark = pytest.mark.skipif(portable.WINDOWS, reason="what is hidden here is not there on Windows")

HERE = Path(__file__).resolve().parent
# Python imports this by itself in every process, children included. The stand-in for msvcrt keeps to what
# Microsoft documents: one byte at the file's position, owned by the open file, one error for all reasons.
HIDE = f"""
import fcntl, os, signal, struct, sys, types
import locket, psutil, subprocess  # they choose their system by what is hidden below
msvcrt = types.ModuleType("msvcrt")
msvcrt.LK_NBLCK = 2
def locking(handle, mode, count, fcntl=fcntl):
    assert mode == msvcrt.LK_NBLCK
    fcntl.fcntl(handle, fcntl.F_OFD_SETLK, struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_CUR, 0, count, 0))
msvcrt.locking = locking
sys.modules["msvcrt"] = msvcrt
sys.modules["fcntl"] = sys.modules["resource"] = None
del os.pread, signal.SIGXCPU
sys.path.append({str(HERE / "io")!r})
"""
SMALL = """
import logging, sys
from pathlib import Path
logging.basicConfig(format="%(message)s")
import edxdask, edxdask.portable
assert edxdask.portable.resource_module() is None
edxdask.portable.WINDOWS = sys.argv[1] == "windows"
"""


def run(tmp_path, code, *words):
    (tmp_path / "sitecustomize.py").write_text(HIDE)
    places = [str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]
    done = subprocess.run(
        [sys.executable, "-c", SMALL + code, *words],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(places)},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    return done


@pytest.mark.parametrize("system", ["windows", "other"])
def test_without_the_modules_of_unix_maps_are_simulated_saved_opened_and_factorized(tmp_path, system):
    done = run(
        tmp_path,
        """
for seed in (0, 1):
    cube = edxdask.simulate("mantle", shape=(16, 16), counts=20, seed=seed, out="a.zarr", overwrite=True)
edxdask.save(cube, "b.zarr")
result = edxdask.nmf(edxdask.open("b.zarr"), phases=2, max_iter=3, checkpoint="kept")
edxdask.save(result, "c.zarr")
edxdask.export(result.abundance, "maps.png")
print(int(edxdask.open("b.zarr").counts.sum()), sorted(p.name for p in Path().iterdir() if p.suffix != ".py"))
""",
        system,
    )
    total, names = done.stdout.strip().split(" ", 1)
    assert 4000 < int(total) < 6500
    assert names == "['a.zarr', 'b.zarr', 'c.zarr', 'maps.png']"


@pytest.mark.parametrize("system", ["windows", "other"])
def test_without_the_modules_of_unix_files_are_ingested_and_the_weaker_limits_are_said_once(tmp_path, system):
    done = run(
        tmp_path,
        """
import numpy as np
from made_files import counts_of, write_hspy
for name in ("one", "two"):
    counts = counts_of((6, 5, 40))
    write_hspy(Path(f"{name}.hspy"), counts)
    assert (edxdask.ingest(f"{name}.hspy", f"{name}.zarr").counts.values == counts).all()
""",
        system,
    )
    assert done.stderr.count("this system has no limits for processes") == 1


def test_without_limits_of_the_kernel_a_reader_that_hangs_is_ended_from_within(tmp_path):
    done = run(
        tmp_path,
        """
from edxdask.io.ingest import ingest_with
from edxdask.io import remote
from edxdask.io.remote import Limits
remote._CLOCK_FACTOR = 100  # of a machine that is busy with other things
from edxdask.io.vendor.base import ReadOptions
Path("a.bin").write_bytes(b"x")
limits = Limits(cpu_seconds=1, memory_bytes=1 << 30)
try:
    ingest_with("a.bin", "a.zarr", options=ReadOptions(), reader="bad_readers:HANGS", limits=limits)
except edxdask.EdxdaskError as error:
    print(error)
""",
        "other",
    )
    assert "no result after 1 s of processor time" in done.stdout


def test_without_flock_a_second_writer_is_refused_and_a_lock_ends_with_its_writer(tmp_path):
    done = run(
        tmp_path,
        """
import contextlib
from edxdask.cli.targets import claimed
from edxdask.io.target import Target
def target():
    return Target(Path("a.zarr"), identity={}, hint="", resume=False, overwrite=False)
for _ in range(2):  # what the first leaves behind does not stop the second
    with contextlib.suppress(ZeroDivisionError), target(), claimed("r.zarr"):
        for second in (target(), claimed("r.zarr")):
            try:
                second.__enter__()
            except edxdask.EdxdaskError as error:
                print(error)
        1 / 0
assert not Path("a.zarr.partial").exists() and not Path("r.zarr.lock").exists()
""",
        "windows",
    )
    assert done.stdout.count("a.zarr is being written by process") == 2
    assert done.stdout.count("another run is writing to it") == 2


def test_where_nothing_can_lock_the_log_says_so(tmp_path, monkeypatch, caplog):
    from edxdask.io.target import Target

    monkeypatch.setattr(portable, "fcntl", None)
    with Target(tmp_path / "a.zarr", identity={}, hint="", resume=False, overwrite=False):
        pass
    assert "cannot be locked (this Python has no file locks): start no second writer" in caplog.text


def test_bytes_are_read_at_their_place_without_pread(tmp_path, monkeypatch):
    path = tmp_path / "a.bin"
    path.write_bytes(np.arange(200, dtype=np.uint8).tobytes())
    with path.open("rb") as file:
        before = portable.read_at(file.fileno(), 3, 150)
        monkeypatch.delattr(os, "pread")
        assert portable.read_at(file.fileno(), 3, 150) == before == struct.pack("3B", 150, 151, 152)
