"""How much memory a method will take, from a sample of the chunks, before any work starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from edxdask.budget import MemoryPlan, available_memory, parse_bytes, resident_memory
from edxdask.engine.executor import Executor
from edxdask.engine.fill import channels_to_hold_dense
from edxdask.engine.layout import TilePlan
from edxdask.engine.maps import MapView, tile_array
from edxdask.engine.partition import LEAST_NONZEROS, read_band
from edxdask.photons import from_dense, hold_dense

if TYPE_CHECKING:
    from distributed import Client

FEWEST_SAMPLES, MOST_SAMPLES = 12, 64  # chunks read to predict the photons; 64 of 32 MiB take 3 s
ENOUGH = 0.02  # relative standard error of the photons per pixel that is good enough
# Dense copies of a chunk that exist at once while it is read: decoded, placed, and the one before it, which
# the reader's thread still holds. Measured 2.9 to 3.3 per thread.
DENSE_COPIES = 3
DRAWN = 128  # pixels drawn to predict the size of a copy: to a few per cent
KERNELS = 16 * 2**20  # code and tables that load when they are first used, measured
WORKER_BASE = 260 * 2**20  # a worker process with numba, dask and xarray loaded, measured


@dataclass(frozen=True)
class Demand:
    """Memory a method needs beside the photons.

    Attributes
    ----------
    per_pixel : bytes of state per pixel
    fixed : bytes of factors and statistics per thread
    per_partition : bytes of rows that a partition cuts out for its neighbours and gets from them
    copies : sets of binned or thinned copies; those of one set exist at the same time, those of two never do
    code : bytes of kernels that the method loads beyond those of every method
    """

    per_pixel: int
    fixed: int
    per_partition: int = 0
    copies: tuple[CopySet, ...] = ()
    code: int = 0


@dataclass(frozen=True)
class PhotonCopy:
    """Binned or thinned photons that a method makes from those it loaded.

    Attributes
    ----------
    factor : pixels per bin, along rows and columns
    kept : fraction of the photons
    pixels : that it is made from, at most; None makes it from all
    """

    factor: int = 1
    kept: float = 1.0
    pixels: int | None = None


@dataclass(frozen=True)
class CopySet:
    """Copies that exist at the same time.

    Attributes
    ----------
    held : the copies
    per_pixel : bytes of state per pixel, or bin, of the last one
    """

    held: tuple[PhotonCopy, ...]
    per_pixel: int


@dataclass(frozen=True)
class Prediction:
    """What reading will need.

    Attributes
    ----------
    bytes_per_pixel : of the block, arranged for sweeps, that is kept
    sparse_per_pixel : of the photons that it is made from
    block_pixels : of the largest block
    piece : bytes of the dense chunk of the tallest band
    """

    bytes_per_pixel: float
    sparse_per_pixel: float
    block_pixels: int
    piece: int


def plan_memory(
    maps: Sequence[MapView],
    partitions: int,
    mean: np.ndarray,
    demand: Demand,
    executor: Executor,
    client: Client | None,
    memory_limit: str | float | None,
) -> MemoryPlan:
    """Predict the peak of this process, or of one worker of a cluster.

    ``mean`` are the photons per pixel in each channel.
    """
    pixels = sum(m.stack.pixels for m in maps)
    seen = predict_memory(maps, channels_to_hold_dense(mean))
    processes = len(client.nthreads()) if client else 1
    tasks = min(executor.workers, partitions)  # at once
    threads = max(1, tasks // processes)
    held = -(-partitions // processes)  # by the process that holds most
    share = held / partitions
    largest = min(seen.block_pixels, -(-pixels // tasks))
    kept, made = int(largest * seen.bytes_per_pixel), int(largest * seen.sparse_per_pixel)
    base = KERNELS + demand.code + (WORKER_BASE if client else resident_memory())
    limit = parse_bytes(memory_limit) if memory_limit is not None else _limit(client, base)
    copies, copies_state = _largest_copies(demand, mean, pixels)
    return MemoryPlan(
        base=base,
        photons=int(pixels * seen.bytes_per_pixel * share),
        # tasks of a cluster leave the state before theirs as it was: two of each
        state=int(demand.per_pixel * pixels * share) * (2 if client else 1) + demand.per_partition * held,
        reading=threads * (DENSE_COPIES * seen.piece + made + max(made, kept)),
        scratch=threads * (demand.fixed + kept),
        limit=limit,
        threads=threads,
        processes=processes,
        copies=int(copies * share),
        copies_state=int(copies_state * share) * (2 if client else 1),
    )


def _largest_copies(demand: Demand, mean: np.ndarray, pixels: int) -> tuple[int, int]:
    """Bytes of copies, and of the states beside them, where their sum is largest."""
    sizes = [(0, 0)]
    for together in demand.copies:
        held = sum(copy_bytes(mean, copy, pixels) for copy in together.held)
        last = together.held[-1]
        state = together.per_pixel * min(last.pixels or pixels, pixels) // last.factor**2
        sizes.append((held, state))
    return max(sizes, key=sum)


def copy_bytes(mean: np.ndarray, copy: PhotonCopy, pixels: int) -> int:
    """Bytes that a copy of the photons takes in memory.

    Pixels are drawn at random about the ``mean`` photons per pixel in each channel and made into a block: a
    real map does not fill more channels with the same photons, so predictions are rather too high.

    Examples
    --------
    >>> mean = np.full(500, 0.02)
    >>> whole, half, bins = (copy_bytes(mean, PhotonCopy(*how), 10**6) for how in ((), (1, 0.5), (4,)))
    >>> 25e6 < whole < 50e6, 1.5 < whole / half < 2.1, whole > bins
    (True, True, True)
    """
    size = _drawn_bytes((mean * (copy.factor**2 * copy.kept)).tobytes())
    return int(size * min(copy.pixels or pixels, pixels) / copy.factor**2)


@lru_cache(maxsize=64)  # the same bins are made for every number of phases that is tried
def _drawn_bytes(mean: bytes) -> float:
    """Bytes per pixel of a block of photons drawn about a mean, which comes as the bytes of its array."""
    expected = np.frombuffer(mean)
    drawn = np.random.default_rng(0).poisson(expected, (DRAWN, expected.size))
    block = from_dense(drawn.astype(np.uint16 if drawn.max() < 1 << 16 else np.uint32))
    return hold_dense(block, channels_to_hold_dense(expected)).nbytes / DRAWN


def _limit(client: Client | None, base: int) -> int:
    if client is None:
        return base + int(0.8 * available_memory())
    workers: dict[str, Any] = client.scheduler_info(n_workers=-1)["workers"]
    limits = [int(w["memory_limit"]) for w in workers.values() if w["memory_limit"]]
    # beyond 80 % of its limit a worker pauses, beyond 95 % its nanny ends it
    return int(0.8 * min(limits)) if limits else base + int(0.8 * available_memory())


def predict_memory(maps: Sequence[MapView], dense_channels: np.ndarray) -> Prediction:
    """Read chunks spread over the maps until the mean of their photons is known well enough."""
    corners = [corner for view in maps for corner in _corners(view)]
    seen: list[tuple[int, int, int, int]] = []  # pixels, bytes kept, bytes of photons, non-zeros
    for i in _spread(len(corners)):
        view, image, (top, bottom), (left, right) = corners[i]
        tile = TilePlan(0, image, (top, bottom), view.stack.rows, view.stack.width, 0)
        block = read_band(tile_array(view, tile)[:, left:right])
        seen.append((block.pixels, hold_dense(block, dense_channels).nbytes, block.nbytes, block.count.size))
        pixels, kept, *_ = np.array(seen, dtype=np.float64).T
        error = np.std(kept / pixels) / np.sqrt(len(seen)) / np.mean(kept / pixels)
        if len(seen) >= MOST_SAMPLES or (len(seen) >= FEWEST_SAMPLES and error < ENOUGH):
            break
    total, kept_bytes, sparse_bytes, nonzeros = np.sum(seen, axis=0)
    enough = LEAST_NONZEROS * total / max(nonzeros, 1)  # pixels
    block_pixels = piece = 0
    for view in maps:
        height = int(max(np.diff(view.stack.row_edges)))
        band = height * view.stack.width
        joined = min(-(-int(enough) // band) * band, view.stack.rows * view.stack.width)
        block_pixels = max(block_pixels, joined)
        voxel_bytes = view.counts.shape[-1] * view.counts.dtype.itemsize
        piece = max(piece, height * max(view.counts.chunks[-2]) * voxel_bytes)
    return Prediction(float(kept_bytes / total), float(sparse_bytes / total), block_pixels, piece)


def _corners(view: MapView) -> list[tuple[MapView, int, tuple[int, int], tuple[int, int]]]:
    """All chunks of a map: (map, image, rows, columns)."""
    edges = np.cumsum([0, *view.counts.chunks[-2]]).tolist()
    rows, columns = (list(pairwise(e)) for e in (view.stack.row_edges, edges))
    return [(view, image, r, c) for image in range(view.stack.images) for r in rows for c in columns]


def _spread(n: int) -> list[int]:
    """All of ``range(n)``, each next one far from those before it.

    Examples
    --------
    >>> _spread(8)
    [0, 5, 2, 7, 4, 1, 6, 3]
    """
    step = max(1, round(n * (np.sqrt(5) - 1) / 2))
    while np.gcd(step, n) != 1:
        step += 1
    return [i * step % n for i in range(n)]
