"""SIGKILL at any moment of an ingest costs at most the band in hand, and resume gives the same bytes."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from synthetic_reader import SPEC, true_counts, write_source

from edxdask.errors import IncompleteStoreError, StoreError
from edxdask.io import checksum, open_store, verify
from edxdask.io.ingest import ingest_with
from edxdask.io.vendor.base import ReadOptions

_RUN = """
import sys
from edxdask.io.ingest import ingest_with
from edxdask.io.vendor.base import ReadOptions
options = ReadOptions(detectors="separate")
print("begin", flush=True)
ingest_with(sys.argv[1], sys.argv[2], options=options, reader=sys.argv[3], resume=True)
"""


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """Store of an ingest that nobody disturbed, and its source."""
    folder = tmp_path_factory.mktemp("kill")
    fields = {"shape": [1000, 70], "channels": 64, "seed": 5, "maps": 2, "pause": 0.1, "mean": 0.2}
    fields |= {"hot": [[700, 3, 7, 70_000]], "log": "log"}  # its own log each run; uint32 from row 700 on
    source = write_source(folder / "map.json", **fields)
    begun = time.monotonic()
    with contextlib.chdir(folder):
        ingest_with(source, folder / "whole.zarr", options=ReadOptions(detectors="separate"), reader=SPEC)
    return source, folder / "whole.zarr", fields, time.monotonic() - begun


def kill_and_resume(reference, tmp_path, moments):
    """Kill an ingest at each of ``moments`` (s after it began), then let it finish; return decoded bands."""
    source, whole, fields, _ = reference
    log, out = tmp_path / fields["log"], tmp_path / "out.zarr"
    places = os.pathsep.join(filter(None, sys.path))
    command = [sys.executable, "-c", _RUN, str(source), str(out), SPEC]
    kills = 0
    for moment in [*moments, None]:
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": places},
        )
        assert process.stdout.readline() == "begin\n"
        try:
            _, errors = process.communicate(timeout=moment)
            assert process.returncode == 0, errors
            break
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.communicate()
            kills += 1
            if out.exists() and not out.with_name("out.zarr.partial").exists():
                break  # it had finished; only the process had not ended
            if not out.exists():
                with pytest.raises((IncompleteStoreError, StoreError)):
                    open_store(out)
    assert checksum(out) == checksum(whole)
    assert verify(out) == sum(int(true_counts(fields, n).sum()) for n in range(2))
    assert not out.with_name("out.zarr.partial").exists()
    return kills, Counter(log.read_text().split())


def test_killed_four_times_on_the_way_the_result_is_the_same_and_no_finished_band_is_decoded_again(
    reference, tmp_path
):
    rng = random.Random(11)
    duration = reference[3]
    moments = [rng.uniform(0.2, 0.5) * max(2.0, duration) for _ in range(4)]
    kills, decoded = kill_and_resume(reference, tmp_path, moments)
    assert kills >= 2
    assert set(decoded) == {str(r) for r in range(0, 1000, 64)}
    assert sum(decoded.values()) <= 2 * 16 + kills  # two maps of 16 bands; one band lost by each kill


@pytest.mark.slow
def test_killed_once_at_twenty_random_moments_at_most_one_band_is_redone_each(reference, tmp_path):
    def decoded_and_kills(seed):
        moment = random.Random(seed).uniform(0.0, reference[3] + 0.5)
        folder = tmp_path / str(seed)
        folder.mkdir()
        kills, decoded = kill_and_resume(reference, folder, [moment])
        return sum(decoded.values()), kills

    with ThreadPoolExecutor(4) as pool:  # the reader pauses at every band, so four ingests fit side by side
        endings = list(pool.map(decoded_and_kills, range(20)))
    assert len(endings) == 20
    assert all(32 <= decoded <= 32 + kills for decoded, kills in endings), endings  # two maps of 16 bands
