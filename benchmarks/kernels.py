"""Nanoseconds a non-zero count of every kernel, beside what the machine could do and what scikit-learn does.

One line a figure, on one thread, in processor time, as the machine may be shared. Data: the simulated
mantle map at 120 counts a pixel and 2048 channels. Two bounds are measured in the same run: *memory*
streams exactly the bytes a sweep reads and writes, with next to no work; *arithmetic* does the work of a
sweep (dot products, one division a fit, multiply-adds, rows read and written) on data that stays in the
first-level cache, in an order that never misses. The tighter bound is the slower of the two; the fraction
of it that a sweep reaches is printed for k = 3.

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
from edxdask.photons.kernels.vector import add, dot4, fma, load, peek, store, zero
from edxdask.simulate import simulate

LEAST_FRACTION, LEAST_RATE = 0.40, 2.0
CACHED_ROWS, CACHED_PHOTONS = 64, 1024  # 64 rows of four floats and 1024 photons: 20 KiB


def best(call: Callable[[], object], repeats: int) -> float:
    """Processor seconds of the fastest of some runs; the first, which compiles, does not count."""
    call()
    seconds = []
    for _ in range(repeats):
        start = time.process_time()
        call()
        seconds.append(time.process_time() - start)
    return min(seconds)


def random_factors(block: photons.PhotonBlock, phases: int, dtype: type) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    total = photons.pixel_totals(block)[:, None] / phases
    spectra = photons.sum_spectrum(block) * rng.uniform(0.5, 1.5, (phases, block.channels)) + 1e-3
    spectra /= spectra.sum(axis=1, keepdims=True)
    return (rng.uniform(0.5, 1.5, (block.pixels, phases)) * total).astype(dtype), spectra.astype(dtype)


@njit(nogil=True, error_model="numpy", fastmath=True)
def stream(indptr, channel, count, abundance):
    """Read and write what a sweep does: every photon once, every abundance once."""
    seen = np.int64(0)
    for i in range(indptr.size):
        seen += indptr[i]
    codes = np.uint16(0)
    for j in range(channel.size):
        codes ^= channel[j]
    numbers = np.uint8(0)
    for j in range(count.size):
        numbers ^= count[j]
    flat = abundance.reshape(-1)
    for j in range(flat.size):
        flat[j] *= flat.dtype.type(1.0000001)
    return seen + codes + numbers


@njit(nogil=True, error_model="numpy", fastmath=True)
def cached_divisions(number, fit, ratio):
    for j in range(fit.size):
        ratio[j] = fit.dtype.type(number[j]) / fit[j]


@njit(nogil=True, error_model="numpy")
def cached_split(like, turns, second, index, number, spectra, numerator, tile, fit, ratio):
    """Do the work of a sweep in three loops, on rows and photons that never leave the cache."""
    for _ in range(turns):
        a = load(like, tile, 0)
        for _again in range(2 if second else 1):
            for j in range(0, index.size, 4):
                dot4(spectra, index, j, a, fit)
            cached_divisions(number, fit, ratio)
        s0 = s1 = s2 = s3 = zero(like, spectra[0, 0])
        for j in range(0, index.size, 4):
            s0 = fma(peek(ratio, j), load(like, spectra, peek(index, j)), s0)
            s1 = fma(peek(ratio, j + 1), load(like, spectra, peek(index, j + 1)), s1)
            s2 = fma(peek(ratio, j + 2), load(like, spectra, peek(index, j + 2)), s2)
            s3 = fma(peek(ratio, j + 3), load(like, spectra, peek(index, j + 3)), s3)
        for j in range(index.size):
            row = peek(index, j)
            store(numerator, row, fma(peek(ratio, j), a, load(like, numerator, row)))
        store(tile, 1, add(add(s0, s1), add(s2, s3)))


@njit(nogil=True, error_model="numpy")
def cached_fused(like, turns, second, index, number, spectra, numerator, tile, fit, ratio):
    """Do the same in one loop, four photons at a time."""
    for _ in range(turns):
        a = load(like, tile, 0)
        s0 = s1 = s2 = s3 = zero(like, spectra[0, 0])
        for j in range(0, index.size, 4):
            for _again in range(2 if second else 1):
                dot4(spectra, index, j, a, fit)
                for t in range(4):
                    ratio[j + t] = ratio.dtype.type(number[j + t]) / fit[j + t]
            s0 = fma(peek(ratio, j), load(like, spectra, peek(index, j)), s0)
            s1 = fma(peek(ratio, j + 1), load(like, spectra, peek(index, j + 1)), s1)
            s2 = fma(peek(ratio, j + 2), load(like, spectra, peek(index, j + 2)), s2)
            s3 = fma(peek(ratio, j + 3), load(like, spectra, peek(index, j + 3)), s3)
            for t in range(4):
                row = peek(index, j + t)
                store(numerator, row, fma(peek(ratio, j + t), a, load(like, numerator, row)))
        store(tile, 1, add(add(s0, s1), add(s2, s3)))


def arithmetic_bound(sequential: bool, turns: int, repeats: int) -> float:
    """Nanoseconds a non-zero at k = 3 (four lanes), single precision, the better of two ways to write it."""
    like = (0,) * 4
    index = (np.arange(CACHED_PHOTONS) % CACHED_ROWS).astype(np.uint16)
    number = np.ones(CACHED_PHOTONS, dtype=np.uint8)
    spectra = np.full((CACHED_ROWS, 4), 0.25, dtype=np.float32)
    numerator, tile = np.zeros_like(spectra), np.ones((2, 4), dtype=np.float32)
    fit, ratio = np.ones(CACHED_PHOTONS, dtype=np.float32), np.ones(CACHED_PHOTONS, dtype=np.float32)
    arrays = (index, number, spectra, numerator, tile, fit, ratio)
    ways = (cached_split, cached_fused)
    seconds = min(best(lambda way=way: way(like, turns, sequential, *arrays), repeats) for way in ways)
    return seconds / (turns * CACHED_PHOTONS) * 1e9


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


def sweeps(block: photons.PhotonBlock, phases: int, dtype: type, repeats: int) -> dict[str, float]:
    """Seconds of each kind of sweep, and of the products with narrow matrices."""
    abundance, spectra = random_factors(block, phases, dtype)
    basis = np.ascontiguousarray(spectra.T)
    calls: dict[str, Callable[[], object]] = {
        "kl": lambda: photons.kl_sweep(block, abundance, spectra),
        "kl joint": lambda: photons.kl_sweep(block, abundance, spectra, joint=True),
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
        "merge": best(lambda: photons.merge_blocks(block, block), repeats),
        "thin": best(lambda: photons.thin(block, 0.5, seed=0), repeats),
        "sum_spectrum": best(lambda: photons.sum_spectrum(block), repeats),
        "gram": best(lambda: photons.gram(block), 1),
    }


def compare_bounds(block: photons.PhotonBlock, seconds: dict[str, float], turns: int, repeats: int) -> bool:
    """Print the two bounds at k = 3 and what the sweeps reach of the tighter; true where it is enough."""
    nonzeros, enough = block.count.size, True
    abundance, _ = random_factors(block, 3, np.float32)
    arrays = (block.indptr, block.channel, block.count, abundance)
    memory = best(lambda: stream(*arrays), repeats) / nonzeros * 1e9
    moved = sum(array.nbytes for array in arrays) + abundance.nbytes
    print(f"bound memory              {memory:8.3f} ns/nonzero  ({moved / nonzeros / memory:.1f} GB/s)")
    for name, sequential in (("kl", True), ("kl joint", False)):
        work = arithmetic_bound(sequential, turns, repeats)
        fraction = max(memory, work) / (seconds[name] / nonzeros * 1e9)
        enough &= fraction >= LEAST_FRACTION
        print(f"bound arithmetic {name:<9}{work:8.3f} ns/nonzero  reached at k = 3: {fraction:.0%}")
    return enough


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
        f"{nonzeros} non-zeros, {nonzeros / block.pixels:.0f} a pixel, "
        f"{np.mean(block.count == 1):.0%} of them are 1"
    )
    turns = 20 if chosen.tiny else 2000
    with threadpool_limits(1):
        rate = dense.nbytes / best(lambda: photons.from_dense(dense), chosen.repeats) / 1e9
        print(f"from_dense                {rate:8.2f} GB/s of {dense.dtype}")
        for name, seconds in other_kernels(dense, block, chosen.repeats).items():
            print(f"{name:<26}{seconds / nonzeros * 1e9:8.2f} ns/nonzero")
        at_three: dict[str, float] = {}
        for dtype in (np.float32, np.float64):
            for phases in chosen.phases:
                found = sweeps(block, phases, dtype, chosen.repeats)
                at_three = found if (dtype, phases) == (np.float32, 3) else at_three
                line = "  ".join(f"{name} {s / nonzeros * 1e9:.2f}" for name, s in found.items())
                print(f"{dtype.__name__} k = {phases:<3} {line} ns/nonzero", flush=True)
        at_three = at_three or sweeps(block, 3, np.float32, chosen.repeats)
        enough = compare_bounds(block, at_three, turns, chosen.repeats)
        compare_sklearn(block, 64 if chosen.tiny else 4096, at_three["kl"] / nonzeros * 1e9)
    return 0 if chosen.tiny or (enough and rate >= LEAST_RATE) else 1


if __name__ == "__main__":
    sys.exit(main())
