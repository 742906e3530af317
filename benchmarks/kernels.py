"""Nanoseconds per non-zero count of every kernel, beside the limits of the machine and scikit-learn.

One line per figure, on one thread, in processor time, as others may use the machine. Data: the simulated
mantle map at 120 counts per pixel and 2048 channels. Two bounds are measured in the same run: *memory*
streams exactly the bytes per sweep reads and writes, with almost no work; *arithmetic* does the work of a
sweep (dot products, one division per fit, multiply-adds, rows read and written; no logarithms) on data that
stays in the first-level cache, in an order that never misses: for photons, and for entries of channels
held dense. The tighter bound is the slower of the two; the fraction of it that a sweep reaches is printed
for k = 3.

    python benchmarks/kernels.py [--tiny] [--phases 1 2 3 4 8 16 32] [--side 192]

The exit code is 1 where less than 40 % of the bound is reached at k = 3, or dense → photons stays below
2 GB/s; --tiny checks only that everything runs.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable

import numpy as np
from numba import njit
from scipy.sparse import csr_array
from sklearn.decomposition import NMF
from threadpoolctl import threadpool_limits

from edxdask import photons
from edxdask.photons.kernels.arrangement import LANES
from edxdask.photons.kernels.vector.dense_channels import ratio_gains, spread_ratios
from edxdask.photons.kernels.vector.scratch import Model, Strips, Sums, aligned_zeros
from edxdask.photons.kernels.vector.strips import (
    find_places,
    strip_ratio_gains,
    strip_ratios,
    strip_spread,
)
from edxdask.simulate import simulate

LEAST_FRACTION, LEAST_RATE = 0.40, 2.0
CACHED_ROWS, CACHED_STEPS = 64, 64  # 64 rows of four numbers, 64 steps of 16 photons: 32 KiB


def best(call: Callable[[], object], repeats: int) -> float:
    """Processor seconds of the fastest of some runs; the first, which compiles, does not count."""
    call()
    seconds = []
    for _ in range(repeats):
        start = time.process_time()
        call()
        seconds.append(time.process_time() - start)
    return min(seconds)


def random_factors(block: photons.Block, phases: int, dtype: type) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    total = photons.pixel_totals(block)[:, None] / phases
    spectra = photons.sum_spectrum(block) * rng.uniform(0.5, 1.5, (phases, block.channels)) + 1e-3
    spectra /= spectra.sum(axis=1, keepdims=True)
    return (rng.uniform(0.5, 1.5, (block.pixels, phases)) * total).astype(dtype), spectra.astype(dtype)


@njit(nogil=True, error_model="numpy", fastmath=True)
def stream(steps, channel, count, dense, abundance):
    """Read and write what a sweep does: every count once, every abundance once."""
    seen = np.int64(0)
    for i in range(steps.size):
        seen += steps[i]
    codes = np.uint16(0)
    for j in range(channel.size):
        codes ^= channel[j]
    numbers = np.uint8(0)
    for j in range(count.size):
        numbers ^= count[j]
    for j in range(dense.size):
        numbers ^= dense[j]
    flat = abundance.reshape(-1)
    for j in range(flat.size):
        flat[j] *= flat.dtype.type(1.0000001)
    return seen + codes + numbers


@njit(nogil=True, error_model="numpy")
def cached_photons(width, turns, strips, model, sums, wide, numerator):
    """Do the work of a sweep on photons, sixteen at a time, on rows that never leave the cache."""
    apart = len(width)
    for _ in range(turns):
        for n in range(strips.group_starts[1]):
            find_places(strips.channel, n, model.table.shape[1], strips.place, n)
        strip_ratio_gains(width, (), 0, strips, model, sums, 0, apart)
        strip_ratios(width, 0, strips, model, 0, apart)
        strip_spread(width, 0, strips, wide, numerator)


@njit(nogil=True, error_model="numpy")
def cached_channels(width, turns, dense, model, sums, numerator):
    """Do the work of a sweep on channels held dense, sixteen pixels at a time, within the cache."""
    for _ in range(turns):
        for g in range(dense.shape[0]):
            ratio_gains(width, (), g, dense, model, sums)
        for e in range(dense.shape[1]):
            spread_ratios(width, e, dense, model, numerator)


def arithmetic_bounds(turns: int, repeats: int) -> tuple[float, float]:
    """Nanoseconds per photon, and per entry of a channel held dense, at k = 3 in single precision."""
    width, single, floor = (0,) * 3, np.float32, np.float32(1e-7)
    shape, pixels = (CACHED_STEPS, LANES), (LANES, 4)
    channel = (np.arange(CACHED_STEPS * LANES) % CACHED_ROWS).astype(np.uint16).reshape(shape)
    place, table, amounts, gains, kept, wide, weight, numerator = aligned_zeros(
        (shape, np.uint32), ((CACHED_ROWS, 4), single), (pixels, single), (pixels, single),
        ((CACHED_STEPS * 3, LANES), single), (pixels, np.float64), (shape, np.float64),
        ((CACHED_ROWS, 4), np.float64),
    )  # fmt: skip
    for values in (table, amounts, wide):
        values[:] = 0.25
    strips = Strips(
        np.array([0, CACHED_STEPS]), np.arange(LANES, dtype=np.uint8)[None], channel,
        np.ones(shape, dtype=np.uint8), place, place, weight, kept,
    )  # fmt: skip
    work = strips, Model(table, table, amounts, floor), Sums(gains, gains, gains), wide, numerator
    photon = best(lambda: cached_photons(width, turns, *work), repeats) / (turns * channel.size)
    dense = np.ones((16, 32, 16), dtype=np.uint8)  # 8 KiB
    table, across, gain = aligned_zeros(((32, 3), single), *[((16 * 3, 16), single)] * 2)
    table[:], across[:] = 0.25, 1
    model, sums = Model(table, table, across, floor), Sums(gain, gain, gain)
    numerator = np.zeros((32, 3))
    seconds = best(lambda: cached_channels(width, turns, dense, model, sums, numerator), repeats)
    return photon * 1e9, seconds / (turns * dense.size) * 1e9


def sklearn_iteration(counts: np.ndarray | csr_array, abundance: np.ndarray, spectra: np.ndarray) -> float:
    """Processor seconds of one iteration of scikit-learn's multiplicative update, without its set-up."""

    def run(iterations: int) -> float:
        model = NMF(
            len(spectra), init="custom", solver="mu", beta_loss="kullback-leibler", max_iter=iterations, tol=0
        )
        start = time.process_time()
        model.fit_transform(counts, W=abundance.copy(), H=spectra.copy())
        return time.process_time() - start

    run(1)
    return (min(run(22) for _ in range(3)) - min(run(2) for _ in range(3))) / 20


def sweeps(block: photons.SweepBlock, phases: int, dtype: type, repeats: int) -> dict[str, float]:
    """Seconds of each kind of sweep, and of the products with narrow matrices."""
    abundance, spectra = random_factors(block, phases, dtype)
    basis = np.ascontiguousarray(spectra.T)
    calls: dict[str, Callable[[], object]] = {
        "kl": lambda: photons.kl_sweep(block, abundance, spectra),
        "kl abundance only": lambda: photons.kl_sweep(block, abundance, spectra, spectra_statistics=False),
        "frobenius": lambda: photons.frobenius_sweep(block, abundance, spectra),
        "project": lambda: photons.project(block, basis),
        "back_project": lambda: photons.back_project(block, abundance),
    }
    return {name: best(call, repeats) for name, call in calls.items()}


def other_kernels(dense: np.ndarray, block: photons.PhotonBlock, repeats: int) -> dict[str, float]:
    """Seconds of what is done to a block once."""
    shape = dense.shape[:2]
    return {
        "from_dense": best(lambda: photons.from_dense(dense), repeats),
        "to_dense": best(lambda: photons.to_dense(block), repeats),
        "bin 4 × 4": best(lambda: photons.bin_block(block, shape, 4), repeats),
        "thin": best(lambda: photons.thin(block, 0.5, seed=0), repeats),
        "sum_spectrum": best(lambda: photons.sum_spectrum(block), repeats),
        "for_sweeps": best(lambda: photons.for_sweeps(block), repeats),
    }


def compare_bounds(
    block: photons.SweepBlock, seconds: float, turns: int, repeats: int
) -> tuple[float, float]:
    """Print the two bounds at k = 3; the tighter, in seconds per sweep, and what of it is reached."""
    nonzeros = block.nonzeros
    abundance, _ = random_factors(block, 3, np.float32)
    of = block.arrays
    arrays = (of.group_starts, of.channel.ravel(), of.counts.ravel(), of.dense.ravel(), abundance)
    memory = best(lambda: stream(*arrays), repeats) / nonzeros * 1e9
    moved = sum(array.nbytes for array in arrays) + abundance.nbytes
    print(f"bound memory              {memory:8.3f} ns/nonzero  ({moved / nonzeros / memory:.1f} GB/s)")
    photon, entry = arithmetic_bounds(turns, repeats)
    held = np.count_nonzero(of.dense)
    work = (photon * (nonzeros - held) + entry * of.dense.size) / nonzeros
    fraction = max(memory, work) / (seconds / nonzeros * 1e9)
    print(
        f"{block.dense_channels.size} channels held dense: {held / nonzeros:.0%} of the non-zeros, "
        f"{held / of.dense.size:.0%} of their entries"
    )
    print(f"bound arithmetic          {photon:8.3f} ns/photon, {entry:.3f} ns/entry of a dense channel")
    print(f"bound arithmetic          {work:8.3f} ns/nonzero  reached at k = 3: {fraction:.0%}")
    return fraction * seconds, fraction


def compare_sklearn(block: photons.PhotonBlock, pixels: int, ours: float) -> None:
    """Print one iteration of scikit-learn on some of the pixels, single precision, one thread."""
    some = photons.take_rows(block, slice(0, pixels))
    abundance, spectra = random_factors(some, 3, np.float32)
    dense = photons.to_dense(some, np.float32)
    for name, counts in (("dense", dense), ("csr", csr_array(dense))):
        nanoseconds = sklearn_iteration(counts, abundance, spectra) / some.count.size * 1e9
        print(f"scikit-learn mu {name:<10}{nanoseconds:8.1f} ns/nonzero  {nanoseconds / ours:.0f} times ours")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--phases", type=int, nargs="+", default=[1, 2, 3, 4, 8, 16, 32])
    parser.add_argument("--side", type=int, default=192, help="rows and columns of the map")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--tiny", action="store_true")
    chosen = parser.parse_args(arguments)
    if chosen.tiny:
        chosen.phases, chosen.side, chosen.repeats = [3], 32, 1
    shape = (chosen.side, chosen.side)
    dense = simulate("mantle", shape=shape, counts=120, channels=2048).counts.values
    block = photons.from_dense(dense)
    nonzeros = block.count.size
    print(
        f"{nonzeros} non-zeros, {nonzeros / block.pixels:.0f} per pixel, "
        f"{np.mean(block.count == 1):.0%} of them are 1"
    )
    turns = 20 if chosen.tiny else 2000
    with threadpool_limits(1):
        rate = dense.nbytes / best(lambda: photons.from_dense(dense), chosen.repeats) / 1e9
        print(f"from_dense                {rate:8.2f} GB/s of {dense.dtype}")
        for name, seconds in other_kernels(dense, block, chosen.repeats).items():
            print(f"{name:<26}{seconds / nonzeros * 1e9:8.2f} ns/nonzero")
        arranged = photons.for_sweeps(block)
        at_three: dict[str, float] = {}
        for dtype in (np.float32, np.float64):
            for phases in chosen.phases:
                found = sweeps(arranged, phases, dtype, chosen.repeats)
                at_three = found if (dtype, phases) == (np.float32, 3) else at_three
                line = "  ".join(f"{name} {s / nonzeros * 1e9:.2f}" for name, s in found.items())
                print(f"{dtype.__name__} k = {phases:<3} {line} ns/nonzero", flush=True)
        at_three = at_three or sweeps(arranged, 3, np.float32, chosen.repeats)
        _, fraction = compare_bounds(arranged, at_three["kl"], turns, chosen.repeats)
        compare_sklearn(block, 64 if chosen.tiny else 4096, at_three["kl"] / nonzeros * 1e9)
    return 0 if chosen.tiny or (fraction >= LEAST_FRACTION and rate >= LEAST_RATE) else 1


if __name__ == "__main__":
    sys.exit(main())
