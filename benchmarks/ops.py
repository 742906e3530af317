"""Lazy operations on a store, beside the plain read of all its chunks.

One line per figure: dense gigabytes per second through plain zarr (every chunk read and dropped, as many
threads, same codec), through each operation, their ratio, and the peak memory of the whole process. Reads and
operations alternate, and the ratio is the median over the pairs, so that other work on the machine falls on
both; the ratio of processor seconds, which other work hardly touches, is printed beside it.

    python benchmarks/ops.py [--store PATH | --shape 1024x1024] [--threads 1 2] [--repeats 3] [--tiny]

Without --store a sparse random store is written with plain zarr first. The exit code is 1 where an operation
falls below 0.8 of the plain read or above 2 GB; --tiny checks only that everything runs.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from measure import GB, measure

# This process stays small (see measure.py): everything heavy is imported in the children.

CHUNK = 64
LEAST_RATIO, MOST_BYTES = 0.8, 2 * GB
OPERATIONS = (
    "sum_spectrum",
    "sum_spectrum(mask)",
    "line_map",
    "5 line maps",
    "total_map",
    "bin(4)",
    "bin(12)",
)


class Nowhere:
    """A target that takes what is stored and forgets it."""

    def __setitem__(self, key, value):
        pass


def write_store(path: str, shape: tuple[int, int], channels: int, photons: float) -> None:
    """Write a store with plain zarr: Poisson photons on a falling spectrum with a few lines."""
    import numpy as np
    import zarr
    from zarr.codecs import BloscCodec, Crc32cCodec

    rng = np.random.default_rng(0)
    energy = -0.1 + 0.01 * np.arange(channels)
    density = np.exp(-np.maximum(energy, 0) / 6) * (energy > 0.1)
    for line in (0.525, 1.254, 1.740, 3.691, 6.400):
        density += 6 * np.exp(-0.5 * ((energy - line) / 0.05) ** 2)
    edges = np.cumsum(density) / density.sum()
    group = zarr.open_group(path, mode="w")
    codecs = [BloscCodec(cname="zstd", clevel=3, shuffle="bitshuffle"), Crc32cCodec()]
    counts = group.create_array(
        "counts",
        shape=(*shape, channels),
        chunks=(CHUNK, CHUNK, channels),
        dtype="u2",
        compressors=codecs,
        dimension_names=("y", "x", "energy"),
    )
    for y, x in itertools.product(*(range(0, n, CHUNK) for n in shape)):
        rows, columns = min(CHUNK, shape[0] - y), min(CHUNK, shape[1] - x)
        n = rng.poisson(photons * rows * columns)
        channel = np.minimum(np.searchsorted(edges, rng.random(n)), channels - 1)
        flat = np.bincount(
            rng.integers(0, rows * columns, n) * channels + channel, minlength=rows * columns * channels
        )
        counts[y : y + rows, x : x + columns] = flat.astype("u2").reshape(rows, columns, channels)
    for name, values in {"y": np.arange(shape[0]), "x": np.arange(shape[1]), "energy": energy}.items():
        group.create_array(name, data=values.astype(float), dimension_names=(name,))


def opened(store: str) -> tuple[Any, Any]:
    """The cube as our users get it, and the bare zarr array of its counts."""
    import xarray as xr
    import zarr

    from edxdask.errors import ForeignStoreError
    from edxdask.io.store import open_store

    try:
        ds = open_store(store)
    except ForeignStoreError:  # written above, by plain zarr
        ds = xr.open_zarr(store, chunks={}, consolidated=False)
    return ds, zarr.open_array(Path(store) / "counts", mode="r")


def read_all(array: Any, threads: int) -> None:
    """Read every chunk through zarr and drop it."""
    steps = [range(0, n, c) for n, c in zip(array.shape, array.chunks, strict=True)]
    with ThreadPoolExecutor(threads) as pool:
        places = [
            tuple(slice(a, a + c) for a, c in zip(p, array.chunks, strict=True))
            for p in itertools.product(*steps)
        ]
        list(pool.map(lambda place: array[place].nbytes, places))


def operation(name: str, ds: Any) -> Callable[[], Any]:
    """What to time: builds the operation and takes all of its result."""
    import dask.array as da
    import numpy as np

    from edxdask import ops

    if name.startswith("bin"):
        factor = int(name[4:-1])  # the binned cube may not fit in memory: it is streamed
        return lambda: da.store(ops.bin_cube(ds, factor).counts.data, Nowhere(), lock=False)
    mask = np.random.default_rng(1).random(ds.counts.shape[:-1]) > 0.5
    lines = ["O_Ka", "Mg_Ka", "Si_Ka", "Ca_Ka", "Fe_Ka"]
    made: dict[str, Callable[[], Any]] = {
        "sum_spectrum": lambda: ops.sum_spectrum(ds),
        "sum_spectrum(mask)": lambda: ops.sum_spectrum(ds, mask=mask),
        "line_map": lambda: ops.line_map(ds, "Mg_Ka"),
        "5 line maps": lambda: ops.line_map(ds, lines),
        "total_map": lambda: ops.total_map(ds),
    }
    return lambda: made[name]().compute()


def time_operation(name: str, store: str, threads: int, repeats: int) -> dict[str, Any]:
    """Time the operation and the plain read in turn; runs in a separate process."""
    import dask
    import zarr

    zarr.config.set({"threading.max_workers": threads})
    ds, array = opened(store)
    run = operation(name, ds)
    reads, runs, shares = [], [], []
    with dask.config.set(scheduler="threads", num_workers=threads):
        small = ds.isel({d: slice(0, 2 * CHUNK) for d in ds.counts.dims[:-1]})
        operation(name, small)()  # kernels compiled, libraries loaded
        for _ in range(repeats):
            busy = []
            for times, work in ((reads, lambda: read_all(array, threads)), (runs, run)):
                begin, begin_busy = time.perf_counter(), time.process_time()
                work()
                times.append(time.perf_counter() - begin)
                busy.append(time.process_time() - begin_busy)
            shares.append(busy[0] / busy[1])
    ratios = [read / ran for read, ran in zip(reads, runs, strict=True)]
    size = ds.counts.nbytes / 1e9
    return {
        "read": size / statistics.median(reads),
        "rate": size / statistics.median(runs),
        "ratio": statistics.median(ratios),
        "busy_ratio": statistics.median(shares),
    }


def run_all(store: str, threads: list[int], repeats: int, names: list[str], *, limits: bool) -> bool:
    """Print one line per figure; true where all limits are kept."""
    kept = True
    for n, name in itertools.product(threads, names):
        task = ["--task", name, "--store", store, "--threads", str(n), "--repeats", str(repeats)]
        done = measure([sys.executable, __file__, *task])
        figures = json.loads(done.output.splitlines()[-1])
        good = not limits or (figures["ratio"] >= LEAST_RATIO and done.peak_bytes <= MOST_BYTES)
        kept &= good
        print(
            f"{name:>18}, {n} thread{'s' * (n > 1):1}: {figures['rate']:5.2f} GB/s of dense; plain read "
            f"{figures['read']:5.2f} GB/s; ratio {figures['ratio']:.2f}, of processor time "
            f"{figures['busy_ratio']:.2f}; peak {done.peak_bytes / 1e6:4.0f} MB"
            + ("" if good else "  <- limit missed"),
            flush=True,
        )
    return kept


def main() -> int:
    """Parse, write a store if there is none, run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--store", help="one map; made where not given")
    parser.add_argument("--shape", default="1024x1024", help="pixels of the store that is made")
    parser.add_argument("--channels", type=int, default=4096)
    parser.add_argument("--photons", type=float, default=100.0, help="per pixel")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=OPERATIONS, default=list(OPERATIONS))
    parser.add_argument("--tiny", action="store_true", help="a small store, once, no limits")
    parser.add_argument("--task", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.task:
        print(json.dumps(time_operation(args.task, args.store, args.threads[0], args.repeats)))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        store = args.store or str(Path(folder) / "random.zarr")
        shape = "130x130" if args.tiny else args.shape
        if not args.store:
            rows, columns = map(int, shape.split("x"))
            write_store(store, (rows, columns), 1024 if args.tiny else args.channels, args.photons)
        threads, repeats = ([2], 1) if args.tiny else (args.threads, args.repeats)
        kept = run_all(store, threads, repeats, args.only, limits=not args.tiny)
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
