"""Nanoseconds per photon of several methods to write a sweep in C, beside our kernels: is one faster?

``ways.c`` has the inner loops of a multiplicative update at k = 3, single precision, as a C compiler makes
them: rows of the spectra gathered and transposed, or gathered by the processor; sums over pixels in double or
single precision, of channels that rise or in any order, or from a second copy of the counts that is sorted by
channel; one division per entry or one for two. Everything stays in the caches, and nothing else is done. The
last lines are the fastest of each, on the photons and dense channels of the mantle map.

    python benchmarks/ways.py [--side 192] [--tiny]

Needs a C compiler and AVX-512; without them it says so and measures nothing.
"""

from __future__ import annotations

import argparse
import ctypes
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from verdict import load_average, one_core

one_core()

import numpy as np  # noqa: E402
from kernels import arithmetic_bounds, best  # noqa: E402

from edxdask import photons  # noqa: E402
from edxdask.photons.kernels.vector.scratch import aligned_zeros  # noqa: E402
from edxdask.simulate import simulate  # noqa: E402

SOURCE = Path(__file__).with_name("ways.c")
STEPS, CHANNELS, GROUPS, HELD = 32, 2048, 16, 44
ROWS = ("by_rows", "by_masks", "by_gather", "by_pairs")
SINGLE, DOUBLE = np.float32, np.float64
ARRAYS = {  # in the order of ways.c
    "channel": ((STEPS, 16), np.uint16),
    "count": ((STEPS, 16), np.uint8),
    "table": ((CHANNELS, 4), SINGLE),
    "tile": ((3, 16), SINGLE),
    "rows": ((16, 4), SINGLE),
    "wide_rows": ((16, 4), DOUBLE),
    "gain": ((3, 16), SINGLE),
    "kept": ((STEPS, 3, 16), SINGLE),
    "weight": ((STEPS, 16), SINGLE),
    "wide_weight": ((STEPS, 16), DOUBLE),
    "sums": ((CHANNELS, 4), SINGLE),
    "wide_sums": ((CHANNELS, 4), DOUBLE),
    "dense": ((GROUPS, HELD, 16), np.uint8),
    "dense_table": ((HELD, 3), SINGLE),
    "dense_tile": ((GROUPS, 3, 16), SINGLE),
    "dense_gain": ((GROUPS, 3, 16), SINGLE),
    "dense_sums": ((HELD, 3), SINGLE),
}


class Work(ctypes.Structure):
    """What ``ways.c`` works on."""

    _fields_ = (
        ("steps", ctypes.c_long),
        *((name, ctypes.c_void_p) for name in list(ARRAYS)[:12]),
        ("groups", ctypes.c_long),
        ("channels", ctypes.c_long),
        *((name, ctypes.c_void_p) for name in list(ARRAYS)[12:]),
    )


class Ways:
    """The compiled loops, and arrays for them: strips of a mantle map's photons, most in few channels."""

    def __init__(self, library: ctypes.CDLL, turns: int, repeats: int) -> None:
        self.library, self.turns, self.repeats = library, turns, repeats
        self.arrays = dict(zip(ARRAYS, aligned_zeros(*ARRAYS.values()), strict=True))
        rng = np.random.default_rng(0)
        for name in ("table", "tile", "rows", "wide_rows", "dense_table", "dense_tile"):
            self.arrays[name][:] = rng.uniform(0.5, 1.5, self.arrays[name].shape)
        for name in ("count", "dense"):
            self.arrays[name][:] = 1
        self.any_order = (CHANNELS * rng.uniform(size=(STEPS, 16)) ** 3).astype(np.uint16)
        self.rising = np.sort(self.any_order, axis=0)

    def nanoseconds(self, name: str, *, kept: bool = False, rising: bool = True) -> float:
        """Of one photon, or one entry of a channel held dense."""
        self.arrays["channel"][:] = self.rising if rising else self.any_order
        places = {name: array.ctypes.data for name, array in self.arrays.items()}
        if not kept:
            places["kept"] = None
        work = Work(steps=STEPS, groups=GROUPS, channels=HELD, **places)
        way = ctypes.cast(getattr(self.library, name), ctypes.c_void_p)
        arguments = (way, ctypes.byref(work), ctypes.c_long(self.turns))
        size = self.arrays["dense" if name.startswith("dense") else "channel"].size
        return best(lambda: self.library.repeat(*arguments), self.repeats) / (self.turns * size) * 1e9


def compiled(folder: str) -> ctypes.CDLL | None:
    """``ways.c`` for this processor; None, with the reason printed, where it cannot be compiled."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        print("no C compiler: nothing measured")
        return None
    path = Path(folder) / "ways.so"
    command = [compiler, "-O3", "-march=native", "-shared", "-fPIC", "-o", str(path), str(SOURCE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        first = done.stderr.strip().splitlines()[0] if done.stderr.strip() else "no message"
        print(f"{compiler} could not compile {SOURCE.name}, probably because AVX-512 is missing: {first}")
        return None
    return ctypes.CDLL(str(path))


def fastest_photon(ways: Ways) -> float:
    """Print every method for a photon; the nanoseconds of the fastest whole."""
    update = {way: ways.nanoseconds(f"gains_{way}") for way in ROWS}
    keeping = {way: ways.nanoseconds(f"gains_{way}", kept=True) for way in ROWS}
    for way in ROWS:
        print(
            f"update of a pixel, {way:<10}{update[way]:6.3f} ns/photon, {keeping[way]:.3f} if rows are kept"
        )
    sums = {}
    for precision in ("double", "single"):
        weights = ways.nanoseconds(f"weights_{precision}", kept=True)
        orders = {
            text: ways.nanoseconds(f"sums_{precision}", rising=text == "rising")
            for text in ("rising", "in any order")
        }
        for text, seconds in orders.items():
            print(
                f"sums over pixels, {precision}, channels {text}: {weights:.3f} for ratios of kept rows + "
                f"{seconds:.3f} ns/photon"
            )
        sums[precision] = weights + min(orders.values())
    wholes = {
        "kept rows, sums in double precision": min(keeping.values()) + sums["double"],
        "kept rows, sums in single precision": min(keeping.values()) + sums["single"],
        "two copies, one sorted by channel": 2 * min(update.values()),
    }
    for text, seconds in wholes.items():
        print(f"whole photon, {text}: {seconds:.3f} ns")
    return min(wholes.values())


def fastest_entry(ways: Ways) -> float:
    """Print every method for an entry of a channel held dense; the nanoseconds of the fastest."""
    found = {way: ways.nanoseconds(f"dense_{way}") for way in ("one_by_one", "two_ratios")}
    for way, seconds in found.items():
        print(f"entry of a dense channel, {way:<10} {seconds:6.3f} ns")
    return min(found.values())


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=192, help="rows and columns of the map")
    parser.add_argument("--tiny", action="store_true")
    chosen = parser.parse_args(arguments)
    side, turns, repeats = (32, 20, 1) if chosen.tiny else (chosen.side, 2000, 9)
    with tempfile.TemporaryDirectory() as folder:
        library = compiled(folder)
        if library is None:
            return 0
        print(f"one core; {load_average()}")
        ways = Ways(library, turns, repeats)
        photon, entry = fastest_photon(ways), fastest_entry(ways)
    ours = arithmetic_bounds(turns, repeats)
    print(f"our kernels, also in the caches: {ours[0]:.3f} ns/photon, {ours[1]:.3f} ns/entry")
    counts = simulate("mantle", shape=(side, side), counts=120, channels=2048).counts.values
    arranged = photons.for_sweeps(photons.from_dense(counts))
    held = np.count_nonzero(arranged.arrays.dense)
    dense = arranged.dense_channels.size
    print(f"mantle map, {held / arranged.nonzeros:.0%} of its non-zeros in {dense} dense channels")
    for text, (each, one) in (("ours", ours), ("the fastest loops", (photon, entry))):
        mixed = (each * (arranged.nonzeros - held) + one * arranged.arrays.dense.size) / arranged.nonzeros
        print(f"  {text}, and nothing else: {mixed:.3f} ns per non-zero")
    return 0


if __name__ == "__main__":
    sys.exit(main())
