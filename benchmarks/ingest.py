"""Ingest a Velox and a Bruker file of some gigabytes, and read the same files with rosettasciio.

One line per figure: seconds of the work itself (the median of three processes; each reads a small file first,
so that imports and compiled kernels are there, and then the file once), peak memory of the whole process
tree, and ratios. The limits on speed compare equal work: decoding with rosettasciio's read (file to counts),
ingest, which also compresses the cube into a store, with its read and save as .hspy (file to file). Ingest
beside its read alone is printed too. Filling an array of 2 GB is most of its read where the machine gives
memory for the first time (5.5 s on a virtual machine just started), and little where that memory was used
before (1.0 to 1.4 s). Every route must give equal counts: each makes a digest.

    python benchmarks/ingest.py [--big | --tiny] [--only velox|bruker] [--folder DIR]

Dense size is rows × columns × channels × 2 bytes: 2 GB, with --big 4 GB. The exit code is 1 where a limit is
missed or counts differ; --tiny checks counts only.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from measure import GB, Measurement, interpreter, measure

# This process stays small (see measure.py): everything heavy is imported in the children.

SIZES = {"tiny": ((64, 64), 1024), "default": ((512, 512), 4096), "big": ((1024, 512), 4096)}
PHOTONS_PER_PIXEL = 100.0
DETECTORS = 4
BAND = 64
SUFFIX = {"velox": ".emd", "bruker": ".bcf"}
PEAK_LIMIT = {"velox": 0.35 * GB, "bruker": 0.6 * GB}
SPEED_LIMIT = {"velox": 5.0, "bruker": None}
REPEATS = 3


# Tasks: each runs in a separate process and prints one JSON object


def write(kind: str, path: str, size: str) -> dict[str, Any]:
    """Write the file to read."""
    shape, channels = SIZES[size]
    if kind == "velox":
        from vendor_files.velox import write_velox

        write_velox(
            path, shape=shape, channels=channels, photons_per_pixel=PHOTONS_PER_PIXEL, detectors=DETECTORS
        )
    else:
        from vendor_files.bruker import write_bcf

        write_bcf(Path(path), shape=shape, channels=channels, photons_per_pixel=PHOTONS_PER_PIXEL)
    return {"bytes": Path(path).stat().st_size}


def decode(kind: str, path: str, warm: str) -> dict[str, Any]:
    """Decode all bands with our reader alone."""
    from edxdask.io.vendor.base import ReadOptions

    reader = importlib.import_module(f"edxdask.io.vendor.{kind}").READER

    def read(file: str) -> Any:
        (found,) = reader.open(Path(file), ReadOptions())
        for _ in found.bands(BAND):
            pass
        return found

    read(warm)
    begin = time.perf_counter()
    found = read(path)
    seconds = time.perf_counter() - begin
    return {"seconds": seconds, "digest": _digest(b for _, b in found.bands(BAND))}


def peer(kind: str, path: str, warm: str) -> dict[str, Any]:
    """Read the file as rosettasciio reads it: one dense array."""
    from rsciio import bruker, emd

    from edxdask.photons import from_dense

    def read(file: str) -> Any:
        signals = (emd if kind == "velox" else bruker).file_reader(file, select_type="spectrum_image")
        (cube,) = (s["data"] for s in signals if s["data"].ndim == 3)
        return cube

    read(warm)
    begin = time.perf_counter()
    cube = read(path)
    seconds = time.perf_counter() - begin
    bands = (from_dense(cube[row : row + BAND]) for row in range(0, cube.shape[0], BAND))
    return {"seconds": seconds, "digest": _digest(bands)}


def peer_store(kind: str, path: str, warm: str) -> dict[str, Any]:
    """Do with rosettasciio what ingest does: read the file, write one that opens lazily (.hspy)."""
    from rsciio import bruker, emd, hspy

    for file in (warm, path):
        begin = time.perf_counter()
        signals = (emd if kind == "velox" else bruker).file_reader(file, select_type="spectrum_image")
        (signal,) = (s for s in signals if s["data"].ndim == 3)
        signal |= {
            "package_info": {"package": "", "package_version": ""},
            "tmp_parameters": {},
            "learning_results": {},
            "attributes": {"_lazy": False},
            "models": {},
        }
        hspy.file_writer(f"{file}.hspy", signal)
        seconds = time.perf_counter() - begin
        Path(f"{file}.hspy").unlink()
    return {"seconds": seconds}


def store(kind: str, path: str, warm: str) -> dict[str, Any]:
    """Ingest the file into a store."""
    from edxdask.ingestion import ingest

    ingest(warm, f"{warm}.zarr", overwrite=True)
    shutil.rmtree(f"{path}.zarr", ignore_errors=True)
    begin = time.perf_counter()
    ingest(path, f"{path}.zarr")
    return {"seconds": time.perf_counter() - begin}


def check(kind: str, path: str) -> dict[str, Any]:
    """Read the store back with plain zarr."""
    import zarr

    from edxdask.photons import from_dense

    counts = zarr.open_group(f"{path}.zarr", mode="r")["counts"]
    bands = (from_dense(counts[row : row + BAND]) for row in range(0, counts.shape[0], BAND))
    return {"digest": _digest(bands)}


def _digest(blocks: Iterator[Any]) -> str:
    """Digest of photon blocks, the same for all integer types."""
    sha = hashlib.sha256()
    for block in blocks:
        for array, dtype in ((block.indptr, "<i8"), (block.channel, "<u2"), (block.count, "<u4")):
            sha.update(array.astype(dtype).tobytes())
    return sha.hexdigest()


TASKS = {
    "write": write,
    "decode": decode,
    "peer": peer,
    "peer_store": peer_store,
    "store": store,
    "check": check,
}


# The benchmark


def run(task: str, kind: str, path: Path, *more: str) -> tuple[dict[str, Any], Measurement]:
    """Run one task in a separate process."""
    taken = measure([sys.executable, __file__, "--task", task, kind, str(path), *more])
    return json.loads(taken.output.splitlines()[-1]), taken


def repeated(task: str, kind: str, path: Path, warm: Path, times: int) -> tuple[dict[str, Any], int]:
    """Run one task in several processes; the answer of median time, and the largest peak."""
    runs = [run(task, kind, path, str(warm)) for _ in range(times)]
    runs.sort(key=lambda pair: pair[0]["seconds"])
    return runs[len(runs) // 2][0], max(taken.peak_bytes for _, taken in runs)


def compare(kind: str, folder: Path, size: str) -> list[str]:
    """Measure every route for one format; return what fell short."""
    warm = folder / f"warm{SUFFIX[kind]}"
    run("write", kind, warm, "tiny")
    run("decode", kind, warm, str(warm))  # compiles our kernels, and the next its: on disk from then on
    run("peer", kind, warm, str(warm))
    path = folder / f"{kind}{SUFFIX[kind]}"
    shape, channels = SIZES[size]
    written, _ = run("write", kind, path, size)
    dense = shape[0] * shape[1] * channels * 2
    print(f"{kind}: {shape[0]} x {shape[1]} x {channels}, {dense / GB:.2f} GB dense, ", end="")
    print(f"{written['bytes'] / GB:.3f} GB file")
    missed: list[str] = []
    times = 1 if size == "tiny" else REPEATS
    theirs, their_peak = repeated("peer", kind, path, warm, times)
    _line(kind, "rosettasciio", theirs["seconds"], their_peak, None)
    ours, our_peak = repeated("decode", kind, path, warm, times)
    base = interpreter(f"edxdask.io.vendor.{kind}").peak_bytes
    _line(kind, "decode", ours["seconds"], our_peak, base, theirs["seconds"])
    missed += _short(kind, "decode", our_peak - base, theirs["seconds"] / ours["seconds"])
    if ours["digest"] != theirs["digest"]:
        missed.append(f"{kind}: the decoder's counts are not rosettasciio's")
    saved, save_peak = repeated("peer_store", kind, path, warm, times)
    _line(kind, "rosettasciio, saved as .hspy", saved["seconds"], save_peak, None)
    stored, store_peak = repeated("store", kind, path, warm, times)
    base = interpreter("edxdask.io.ingest").peak_bytes
    _line(kind, "ingest", stored["seconds"], store_peak, base, saved["seconds"])
    alone = theirs["seconds"] / stored["seconds"]
    print(f"{kind} ingest: rosettasciio takes {alone:.2f} times as long to read and keep nothing")
    missed += _short(kind, "ingest", store_peak - base, saved["seconds"] / stored["seconds"])
    if run("check", kind, path)[0]["digest"] != theirs["digest"]:
        missed.append(f"{kind}: the store's counts are not rosettasciio's")
    return missed


def _line(
    kind: str, route: str, seconds: float, peak: int, base: int | None, theirs: float | None = None
) -> None:
    above = "" if base is None else f" ({(peak - base) / GB:+.3f} GB above the interpreter)"
    ratio = "" if theirs is None else f", rosettasciio takes {theirs / seconds:.2f} times as long"
    print(f"{kind} {route}: {seconds:.2f} s, peak {peak / GB:.3f} GB{above}{ratio}", flush=True)


def _short(kind: str, route: str, above: float, speed: float | None) -> list[str]:
    missed = []
    if above > PEAK_LIMIT[kind]:
        limit = PEAK_LIMIT[kind] / GB
        missed.append(f"{kind} {route}: {above / GB:.3f} GB above the interpreter, limit {limit} GB")
    least = SPEED_LIMIT[kind]
    if speed is not None and least is not None and speed < least:
        missed.append(f"{kind} {route}: {speed:.1f} times as fast as rosettasciio, limit {least}")
    return missed


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark, or in a child one task of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--big", dest="size", action="store_const", const="big", help="4 GB dense each")
    size.add_argument("--tiny", dest="size", action="store_const", const="tiny", help="for CI: counts only")
    parser.add_argument("--only", choices=sorted(SUFFIX), help="one format")
    parser.add_argument("--folder", type=Path, help="where to write the files (default: a temporary folder)")
    parser.add_argument("--task", nargs="+", help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.task:
        name, *values = chosen.task
        print(json.dumps(TASKS[name](*values)))
        return 0
    missed = []
    with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
        for kind in [chosen.only] if chosen.only else SUFFIX:
            missed += compare(kind, Path(folder), chosen.size or "default")
    if chosen.size == "tiny":
        missed = [line for line in missed if "counts" in line]
    for line in missed:
        print(f"MISSED {line}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
