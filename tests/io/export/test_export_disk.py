"""A disk that fills up during an export: an error of ours, no crash, nothing left."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

CODE = """
import sys
import numpy as np
import edxdask
from edxdask.errors import StoreWriteError
counts = np.random.default_rng(0).integers(0, 60000, (64, 64, 1000), dtype="uint16")
ds = edxdask.from_array(counts, energy_offset=0.0, energy_scale=0.01)
try:
    edxdask.export(ds, sys.argv[1])
except StoreWriteError as error:
    print(error)
    sys.exit(7)
"""


@pytest.mark.parametrize("size", ["256k", "3m"])
def test_hspy_on_a_full_disk_is_an_error_and_leaves_nothing(tmp_path, size):
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        pytest.skip("only root can mount a file system small enough to fill")
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(tmp_path)]
    mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"a small file system cannot be mounted here: {mounted.stderr.strip()}")
    try:
        words = [sys.executable, "-c", CODE, str(tmp_path / "map.hspy")]
        done = subprocess.run(words, capture_output=True, text=True, timeout=240, check=False)
        left = list(tmp_path.iterdir())
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)
    assert done.returncode == 7, (done.returncode, done.stderr)
    assert "map.hspy could not be written: No space left on device" in done.stdout
    assert left == []
