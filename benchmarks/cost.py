"""Seconds of one NMF iteration against the number of photons, and of channels at fixed photons.

One core, k = 3, single precision, processor time: the sweeps over all photon blocks and the update of the
spectra. Photons come from a simulated mantle map at 120 counts per pixel; beyond 10^7 the map is laid side by
side with copies of itself, each in separate memory. Channels are varied by two methods: a longer axis of the
same 10 eV channels, where a voxel-wise method pays for each of them; and finer channels on the same 20 keV,
where photons that shared a channel become separate non-zeros, so that time per non-zero is also shown.
A machine with other users changes its speed within seconds: each lap is taken as a ratio to sweeps over one
small block just before and after it, and times are given for the speed that the machine began with.

    python benchmarks/cost.py [--largest 1e9] [--out FOLDER] [--repeats 5] [--tiny]

Writes cost.csv and cost.png. 10^9 photons take about 3 GB. The exit code is 1 where time is not a straight
line in photons or, on the longer axis, not flat in channels (within 20 % of
the line, and of the mean); --tiny checks only that everything runs.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import sys
import time
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from verdict import Verdict, load_average, one_core

PHASES, COUNTS, SEED = 3, 120.0, 0
MAP_PHOTONS = 1e7  # drawn; more are copies
WIDTH_KEV, RANGE_KEV = 0.01, 20.0
LEAST_EXPONENT, MOST_EXPONENT, MOST_DEVIATION, MOST_SPREAD = 0.95, 1.05, 0.20, 0.20
LEAST_SECONDS = 0.2  # of one measurement; short iterations are repeated
REFERENCE_PHOTONS, REFERENCE_CHANNELS = 1e6, 1000  # of the lap that every other is compared with


@dataclass(frozen=True)
class Point:
    """One measurement."""

    series: str
    photons: int
    nonzeros: int
    pixels: int
    channels: int
    seconds: float


def draw(photons: float, channels: int, width: float) -> Any:
    """Blocks of a simulated map with about this many photons."""
    import numpy as np

    from edxdask import photons as ph
    from edxdask.simulate import simulate

    side = max(8, round((photons / COUNTS) ** 0.5))
    ds = simulate(
        "mantle", shape=(side, side), counts=COUNTS, channels=channels, energy_scale=width,
        energy_offset=0.0, seed=SEED,
    )  # fmt: skip
    rows = ds.counts.data.chunks[0]
    edges = np.cumsum([0, *rows])
    return [ph.from_dense(ds.counts[a:b].values) for a, b in pairwise(edges)]


def copied(blocks: list[Any], photons: float) -> list[Any]:
    """As many copies of the blocks, in separate memory, as make up ``photons``."""
    from edxdask.photons import PhotonBlock, take_rows

    found, made = 0.0, []
    while found < 0.999 * photons:
        for block in blocks:
            share = min(1.0, (photons - found) / block.total)
            if share <= 0:
                break
            part = take_rows(block, slice(0, max(1, round(share * block.pixels))))
            arrays = (part.indptr.copy(), part.channel.copy(), part.count.copy())
            made.append(PhotonBlock(*arrays, part.channels))
            found += part.total
    return made


class Pace:
    """How fast the machine runs now, by sweeps over a small block that never changes.

    Attributes
    ----------
    lap : one sweep
    began : its processor seconds when this was made
    """

    def __init__(self) -> None:
        _, self.lap = iteration(draw(REFERENCE_PHOTONS, REFERENCE_CHANNELS, WIDTH_KEV))
        self.lap()  # compiles
        self.began = 1.0
        self.began = min(self.measure() for _ in range(8))

    def measure(self) -> float:
        """Processor seconds of a sweep, over those when the machine began."""
        return seconds_of(self.lap, LEAST_SECONDS / 8) / self.began


def iteration(blocks: list[Any]) -> tuple[list[Any], Any]:
    """Blocks arranged for sweeps, and a function that runs one iteration over them."""
    import numpy as np

    from edxdask.photons import for_sweeps, kl_sweep

    blocks = [for_sweeps(block) for block in blocks]
    photons, pixels = sum(b.total for b in blocks), sum(b.pixels for b in blocks)
    rng = np.random.default_rng(SEED)
    spectra = (rng.random((PHASES, blocks[0].channels)) + 0.1).astype(np.float32)
    spectra /= spectra.sum(axis=1, keepdims=True)
    states = [
        (photons / pixels / PHASES * (0.5 + rng.random((b.pixels, PHASES)))).astype(np.float32)
        for b in blocks
    ]

    def iterate() -> None:
        nonlocal spectra
        sweeps = [kl_sweep(b, a, spectra) for b, a in zip(blocks, states, strict=True)]
        total = sweeps[0]
        for sweep in sweeps[1:]:
            total = total + sweep
        spectra = (spectra * (total.numerator / total.column_sums[:, None])).astype(np.float32)

    return blocks, iterate


def seconds_of(call: Any, least: float) -> float:
    """Processor seconds of one call, from as many as take ``least`` together."""
    turns, begin = 0, time.process_time()
    while turns == 0 or time.process_time() - begin < least:
        call()
        turns += 1
    return (time.process_time() - begin) / turns


def measure_point(series: str, blocks: list[Any], repeats: int, pace: Pace) -> Point:
    """Processor seconds of one iteration over the blocks."""
    blocks, lap = iteration(blocks)
    lap()  # compiles, and touches all memory
    laps, paces = [], [pace.measure()]
    for _ in range(repeats):
        laps.append(seconds_of(lap, LEAST_SECONDS))
        paces.append(pace.measure())
    seconds = statistics.median(t / statistics.fmean(p) for t, p in zip(laps, pairwise(paces), strict=True))
    photons, pixels = sum(b.total for b in blocks), sum(b.pixels for b in blocks)
    return Point(series, photons, sum(b.nonzeros for b in blocks), pixels, blocks[0].channels, seconds)


def show(point: Point) -> Point:
    print(
        f"{point.series:>8}: {point.photons:>13,} photons, {point.channels:>5} channels, "
        f"{point.nonzeros / point.pixels:5.1f} non-zeros per pixel: "
        f"{point.seconds * 1e3:10.2f} ms per iteration, "
        f"{point.seconds / point.photons * 1e9:.2f} ns/photon, {point.seconds / point.nonzeros * 1e9:.2f} "
        f"ns/non-zero; {load_average()}",
        flush=True,
    )
    return point


def against_photons(sizes: list[float], channels: int, repeats: int, pace: Pace) -> list[Point]:
    base = draw(min(MAP_PHOTONS, max(sizes)), channels, WIDTH_KEV)
    return [show(measure_point("photons", copied(base, size), repeats, pace)) for size in sizes]


def against_channels(photons: float, channels: list[int], repeats: int, pace: Pace) -> list[Point]:
    points = []
    for n in channels:
        points.append(show(measure_point("longer", draw(photons, n, WIDTH_KEV), repeats, pace)))
    for n in channels:
        points.append(show(measure_point("finer", draw(photons, n, RANGE_KEV / n), repeats, pace)))
    return points


def line_through(points: list[Point]) -> tuple[float, float, float, float]:
    """Exponent of the power law; offset (s) and slope (s/photon) of the line, its largest deviation."""
    import numpy as np

    x = np.array([p.photons for p in points], dtype=float)
    y = np.array([p.seconds for p in points])
    exponent = float(np.polyfit(np.log(x), np.log(y), 1)[0])
    # relative least squares: each point counts alike, from milliseconds to seconds
    table = np.stack([np.ones_like(x) / y, x / y], axis=1)
    (offset, slope), *_ = np.linalg.lstsq(table, np.ones_like(x), rcond=None)
    return exponent, float(offset), float(slope), float(np.max(np.abs((offset + slope * x) / y - 1)))


def judge(points: list[Point], verdict: Verdict) -> None:
    """Print the fits beside their targets."""
    line = [p for p in points if p.series == "photons"]
    exponent, _, slope, deviation = line_through(line)
    print(f"straight line in photons: {slope * 1e9:.2f} ns per photon")
    verdict.at_least("exponent of time in photons", exponent, LEAST_EXPONENT, ".3f")
    verdict.at_most("exponent of time in photons", exponent, MOST_EXPONENT, ".3f")
    verdict.at_most("largest deviation from the line", deviation, MOST_DEVIATION, ".2f")
    for series in ("longer", "finer"):
        mine = [p for p in points if p.series == series]
        text = f"{series} axis, {mine[0].channels} to {mine[-1].channels} channels, time off its mean by"
        spread = from_mean([p.seconds / p.photons for p in mine])
        if series == "longer":
            verdict.at_most(text, spread, MOST_SPREAD, ".2f")
        else:
            per_nonzero = from_mean([p.seconds / p.nonzeros for p in mine])
            print(f"  {text} {spread:.2f} at most; time per non-zero by {per_nonzero:.2f}")


def from_mean(values: list[float]) -> float:
    """Largest relative deviation from the mean."""
    mean = statistics.fmean(values)
    return max(abs(value / mean - 1) for value in values)


def write(points: list[Point], folder: Path) -> None:
    """Write cost.csv and cost.png."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "cost.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, fieldnames=list(asdict(points[0])))
        table.writeheader()
        table.writerows(asdict(p) for p in points)
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    line = [p for p in points if p.series == "photons"]
    _, offset, slope, _ = line_through(line)
    x = [p.photons for p in line]
    left.loglog(x, [offset + slope * n for n in x], color="0.7", label=f"{slope * 1e9:.2f} ns per photon")
    left.loglog(x, [p.seconds for p in line], "o", color="C0", label=f"{line[0].channels} channels")
    left.set(xlabel="photons", ylabel="seconds per iteration, one core")
    left.legend(frameon=False)
    for series, colour, label in (
        ("longer", "C0", "longer axis, 10 eV channels"),
        ("finer", "C1", "finer channels, 20 keV"),
    ):
        mine = [p for p in points if p.series == series]
        right.semilogx(
            [p.channels for p in mine],
            [p.seconds / p.photons * 1e9 for p in mine],
            "o-",
            color=colour,
            label=f"{label}, per photon",
        )
        right.semilogx(
            [p.channels for p in mine],
            [p.seconds / p.nonzeros * 1e9 for p in mine],
            "o--",
            color=colour,
            fillstyle="none",
            label=f"{label}, per non-zero",
        )
    right.set(xlabel="channels", ylabel="ns per iteration")
    ticks = sorted({p.channels for p in points if p.series == "longer"})
    right.set_xticks(ticks, [str(n) for n in ticks])
    right.minorticks_off()
    right.set_ylim(bottom=0)
    right.legend(frameon=False, fontsize="small")
    figure.savefig(folder / "cost.png", dpi=150)
    print(f"wrote {folder / 'cost.csv'} and {folder / 'cost.png'}")


def main() -> int:
    """Parse, measure, judge, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--largest", type=float, default=1e9, help="photons of the largest size")
    parser.add_argument("--out", type=Path, default=Path("build/benchmarks"), help="folder for CSV and PNG")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--tiny", action="store_true", help="small sizes, once, no targets")
    args = parser.parse_args()
    one_core()
    sizes = [n for n in (1e6, 3e6, 1e7, 3e7, 1e8, 3e8, 1e9) if n <= args.largest]
    channels, photons, width = [500, 1000, 2000, 4000, 8000], MAP_PHOTONS, 2048
    if args.tiny:
        sizes, channels, photons, width, args.repeats = [2e4, 5e4, 2e5], [500, 1000], 2e4, 500, 1
    pace = Pace()
    points = against_photons(sizes, width, args.repeats, pace)
    points += against_channels(photons, channels, args.repeats, pace)
    verdict = Verdict(limits=not args.tiny)
    judge(points, verdict)
    write(points, args.out)
    return verdict.exit_code()


if __name__ == "__main__":
    sys.exit(main())
