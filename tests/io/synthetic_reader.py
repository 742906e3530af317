"""A vendor format for tests: a JSON file says what the map is, and how the reader misbehaves."""

from __future__ import annotations

import ctypes
import json
import os
import sys
import time
import warnings
from pathlib import Path

import numpy as np

from edxdask.io.vendor.base import MapHeader, ReadOptions
from edxdask.photons import from_dense

SPEC = "synthetic_reader:READER"


def write_source(path: Path, **fields) -> Path:
    """Write a file of this format; see ``SyntheticReader`` for the fields."""
    path.write_text(json.dumps(fields))
    return path


def true_counts(fields: dict, number: int = 0) -> np.ndarray:
    """The counts that the file stands for."""
    rows, columns = fields["shape"]
    rng = np.random.default_rng(fields.get("seed", 0) + number)
    counts = rng.poisson(fields.get("mean", 0.05), (rows, columns, fields["channels"])).astype(np.uint32)
    for row, column, channel, value in fields.get("hot", ()):
        counts[row, column, channel] = value
    return counts


class SyntheticMap:
    def __init__(self, fields: dict, number: int) -> None:
        self.fields, self.counts = fields, true_counts(fields, number)
        images = {"haadf": np.arange(self.counts[..., 0].size, dtype=np.float32).reshape(fields["shape"])}
        self.header = MapHeader(
            name=f"detector {number}",
            shape=tuple(fields.get("said_shape", fields["shape"])),
            channels=fields["channels"],
            energy_offset=-0.05,
            energy_scale=fields.get("scale", 0.01),
            pixel_size=(2.0, 2.0),
            attrs={"beam_energy_kev": fields.get("beam", 200.0), "live_time_s": float("nan")},
            images=images,
            vendor_metadata={"maker": "synthetic", "array": np.arange(3), "raw": b"abc"},
            expected_total=fields.get("total"),
            total_is_exact=fields.get("exact", True),
            unverified=fields.get("unverified", ""),
        )

    def bands(self, rows, skip=()):
        starts = [r for r in range(0, self.header.shape[0], rows) if r not in skip]
        for first in starts[:: self.fields.get("order", 1)]:
            with open(self.fields.get("log", os.devnull), "a") as log:
                log.write(f"{first}\n")
            misbehave(self.fields, f"band {first}")
            time.sleep(self.fields.get("pause", 0.0))
            while first > 0 and os.path.exists(self.fields.get("hold", "")):
                time.sleep(0.01)  # until the test takes the file away
            block = from_dense(self.counts[first : first + rows])
            yield first, tamper(block, self.fields.get("tamper"))


def tamper(block, how):
    if how == "channel":
        block.channel[-1] = block.channels
    if how == "falling":
        block.channel[: block.indptr[1]] = block.channel[: block.indptr[1]][::-1].copy()
    if how == "indptr":
        block.indptr[1] = block.indptr[-1] + 5
    return block


class SyntheticReader:
    """The file's "when" ("open", "band 64", …) says where it misbehaves, "how" says how."""

    name = "synthetic"
    suffixes = (".json",)

    def accepts(self, path: Path) -> bool:
        return path.suffix == ".json"

    def open(self, path: Path, options: ReadOptions):
        fields = json.loads(path.read_text())
        misbehave(fields, "open")
        separate = options.detectors == "separate"
        return [SyntheticMap(fields, n) for n in range(fields.get("maps", 1) if separate else 1)]


def misbehave(fields: dict, when: str) -> None:
    if fields.get("when") == when:
        _WAYS[fields["how"]]()


def _recurse():
    return _recurse()


def _raise(error):
    raise error


def _flood():
    warnings.warn("a warning of the reader", stacklevel=1)
    for stream in (sys.stdout, sys.stderr):
        for _ in range(4000):
            stream.write("garbage " * 128)
        stream.flush()
    os.write(1, b"\x00\xff" * 50000)


def _spin():
    while True:
        pass


_WAYS = {
    "raise": lambda: _raise(KeyError("no such block")),
    "stop iteration": lambda: _raise(StopIteration()),
    "system exit": lambda: sys.exit(3),
    "interrupt": lambda: _raise(KeyboardInterrupt()),
    "recursion": _recurse,
    "memory": lambda: np.ones(1 << 40, dtype=np.uint8),
    "segfault": lambda: ctypes.string_at(0),
    "abort": os.abort,
    "quiet exit": lambda: os._exit(0),
    "spin": _spin,
    "sleep": lambda: time.sleep(3600),
    "flood": _flood,
}
READER = SyntheticReader()
