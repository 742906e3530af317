"""The projector of tilt series beside its transpose, a sparse matrix (CSR) and astra, per slice.

One line per figure: how well forward and back are each other's transpose; the error on an ellipse whose
projections are known, which should fall with the square of the pixel; processor time of a slice of 1024²
voxels at 70 tilts, forward and back, of ours, of a CSR matrix with the same weights, and of astra's CPU
projectors; SIRT and FBP beside astra's; and what a second thread gains, by the clock where the machine is
idle, else by the processor time of the parts that threads take. Rows and phases are projected many at a time,
so the time of one is that of all divided by their number.

    python benchmarks/tomography_projector.py [--size 1024] [--tilts 70] [--rows 32] [--phases 3]
                                              [--astra-python PATH] [--tiny]

astra is never a dependency: python3.11 -m venv ENV; ENV/bin/python -m pip install astra-toolbox==2.5.0; then
--astra-python ENV/bin/python. The exit code is 1 where the transpose is off by 1e-7, astra's fastest is not
5 times slower, or two threads gain less than 1.7; --tiny checks only that everything runs.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_array
from verdict import Verdict, load_average

from edxdask.tomo import projector as projector_module
from edxdask.tomo.classical import fbp, sirt
from edxdask.tomo.geometry import TiltGeometry
from edxdask.tomo.kernels import rays
from edxdask.tomo.projector import Projector

WORST_TRANSPOSE, LEAST_OF_ASTRA, LEAST_THREADS = 1e-7, 5.0, 1.7
MOST_APART = 0.1  # of the body's root mean square: projectors weigh edges differently
BUSY = 0.3  # load average above which times by the clock say nothing
REPEATS = 3


def best(call: Callable[[], Any], clock: Callable[[], float] = time.process_time) -> tuple[Any, float]:
    """What the call returns, and seconds of the fastest run."""
    found, seconds = call(), []
    for _ in range(REPEATS):
        begin = clock()
        found = call()
        seconds.append(clock() - begin)
    return found, min(seconds)


def some_geometry(tilts: int) -> TiltGeometry:
    rng = np.random.default_rng(0)
    return TiltGeometry.of(np.linspace(-70, 70, tilts), shift_x=rng.uniform(-3, 3, tilts))


def transpose(verdict: Verdict) -> None:
    """Forward and back on random numbers, with all moves and turns."""
    rng = np.random.default_rng(1)
    geometry = some_geometry(15)
    moved = TiltGeometry.of(
        geometry.tilt_deg, shift_x=geometry.shift_x, shift_y=geometry.shift_x[::-1], rotation_deg=1.0
    )
    for name, each in (("", geometry), (", moved and turned", moved)):
        projector = Projector(each, shape=(50, 66), columns=60, volume_rows=20)
        volume = rng.random((50, 66, 2, 20), dtype=np.float32)
        images = projector.forward(volume)
        other = rng.random(images.shape, dtype=np.float32)
        there = np.vdot(images.astype(float), other.astype(float))
        again = np.vdot(volume.astype(float), projector.back(other).astype(float))
        verdict.at_most(f"transpose{name}: relative error", abs(there - again) / there, WORST_TRANSPOSE)


def ellipse(size: int) -> float:
    """Error on ``(1 - r²)²`` of an ellipse, relative, at ``size`` pixels and tilts of 10°."""
    middle, half, turned = (0.08 * size, -0.05 * size), (0.31 * size, 0.17 * size), np.deg2rad(25)
    places = np.arange(size) - (size - 1) / 2
    z, x = np.meshgrid(places - middle[1], places - middle[0], indexing="ij")
    along, across = x * np.cos(turned) + z * np.sin(turned), z * np.cos(turned) - x * np.sin(turned)
    body = np.clip(1 - (along / half[0]) ** 2 - (across / half[1]) ** 2, 0, None) ** 2
    geometry = TiltGeometry.of(np.arange(-70, 71, 10))
    projector = Projector(geometry, shape=body.shape, columns=size, volume_rows=1)
    found = projector.forward(body[:, :, None, None])[:, :, 0, 0]
    angle = np.deg2rad(geometry.tilt_deg)[:, None]
    reach = np.hypot(half[0] * np.cos(angle - turned), half[1] * np.sin(angle - turned))
    off = (places - middle[0] * np.cos(angle) - middle[1] * np.sin(angle)) / reach
    true = 16 / 15 * half[0] * half[1] / reach * np.clip(1 - off**2, 0, None) ** 2.5
    return float(np.sqrt(np.mean((found - true) ** 2) / np.mean(true**2)))


def overlaps(geometry: TiltGeometry, size: int) -> csr_array:
    """Lengths that footprints and columns have in common, as a matrix: (tilt · column) × voxel."""
    z, x = np.divmod(np.arange(size * size), size) - np.array((size - 1) / 2)
    parts, empty = [], 0
    for tilt, shift in zip(np.deg2rad(geometry.tilt_deg), geometry.shift_x, strict=True):
        width = max(abs(np.cos(tilt)), abs(np.sin(tilt)))
        start = x * np.cos(tilt) + z * np.sin(tilt) + shift + size / 2 - width / 2
        column = np.floor(start).astype(np.int32)
        first = np.minimum((1 - (start - column)) / width, 1)
        places = np.concatenate([column, column + 1])
        weights = np.concatenate([first, 1 - first]).astype(np.float32)
        voxels = np.concatenate([np.arange(size * size, dtype=np.int32)] * 2)
        kept = (places >= 0) & (places < size) & (weights > empty)
        parts.append(csr_array((weights[kept], (places[kept], voxels[kept])), (size, size * size)))
    return _stacked(parts)


def _stacked(parts: list[csr_array]) -> csr_array:
    starts, total = [np.zeros(1, np.int32)], 0
    for part in parts:
        starts.append(part.indptr[1:] + np.int32(total))
        total += part.nnz
    values = np.concatenate([part.data for part in parts])
    indices = np.concatenate([part.indices for part in parts])
    rows = sum(part.shape[0] for part in parts)
    return csr_array((values, indices, np.concatenate(starts)), (rows, parts[0].shape[1]))


def ours(geometry: TiltGeometry, size: int, phases: int, rows: int):
    """A volume of random numbers, its images, and seconds forward and back, of all lanes."""
    projector = Projector(geometry, shape=(size, size), columns=size, volume_rows=rows)
    volume = np.random.default_rng(2).random((size, size, phases, rows), dtype=np.float32)
    images, forward = best(lambda: projector.forward(volume))
    _, back = best(lambda: projector.back(images))
    return volume, images, forward, back


def elsewhere(python: str, program: str, images: np.ndarray, geometry: TiltGeometry, *more: str):
    """What a program beside this one finds in astra's environment."""
    path = str(Path(__file__).with_name(program))
    with tempfile.TemporaryDirectory() as folder:
        paths = [str(Path(folder) / name) for name in ("images.npy", "angles.npy", "result.npz")]
        np.save(paths[0], images)
        np.save(paths[1], np.deg2rad(geometry.tilt_deg))
        done = subprocess.run([python, path, *paths, *more], capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{path} ended with exit code {done.returncode}:\n{done.stderr}")
        with np.load(paths[2]) as file:
            return dict(file)


def classical(args: argparse.Namespace, verdict: Verdict) -> None:
    """SIRT and FBP of three discs, a row for each: the volumes and times of ours and of astra's."""
    size, rows, iterations = (32, 4, 5) if args.tiny else (192, 16, 30)
    geometry = TiltGeometry.of(np.arange(-90, 90, 3.0))
    places = np.arange(size) - (size - 1) / 2
    z, x = np.meshgrid(places, places, indexing="ij")
    discs = [(0, 0, 0.4, 1.0), (0.15, 0.1, 0.12, 2.0), (-0.2, -0.12, 0.06, 1.5)]
    body = sum(c * (np.hypot(x - size * a, z - size * b) < size * r) for a, b, r, c in discs)
    volume = np.repeat(body.astype(np.float32)[:, :, None, None], rows, axis=3)
    projector = Projector(geometry, shape=(size, size), columns=size, volume_rows=rows)
    images = np.ascontiguousarray(projector.forward(volume)[:, :, 0].transpose(0, 2, 1))
    peer = elsewhere(args.astra_python, "astra_classical.py", images, geometry, str(iterations))
    ours = {
        "sirt": lambda: sirt(images, geometry, iterations=iterations),
        "fbp": lambda: fbp(images, geometry),
    }
    for name, call in ours.items():
        found, seconds = best(call)
        apart = np.sqrt(np.mean((found - peer[name]) ** 2) / np.mean(body**2))
        errors = [np.sqrt(np.mean((v[:, 0] - body) ** 2) / np.mean(body**2)) for v in (found, peer[name])]
        faster = float(peer[f"{name}_seconds"]) / seconds
        print(
            f"  {name}, {size}² × {rows} rows: {faster:.3g} times as fast as astra; "
            f"error {errors[0]:.3f}, astra's {errors[1]:.3f}"
        )
        verdict.at_most(f"{name}: difference to astra's volume", apart, MOST_APART)


def speed(args: argparse.Namespace, verdict: Verdict) -> None:
    geometry = TiltGeometry.of(np.linspace(-70, 70, args.tilts))
    lanes = args.phases * args.rows
    milliseconds = 1e3 / lanes
    volume, images, forward, back = ours(geometry, args.size, args.phases, args.rows)
    size = f"{args.size}² × {args.tilts} tilts"
    print(
        f"  ours, {size}, {lanes} lanes: {forward * milliseconds:.1f} ms forward, "
        f"{back * milliseconds:.1f} back"
    )
    one = np.ascontiguousarray(volume[:, :, 0, 0])
    if args.astra_python:
        answer = elsewhere(args.astra_python, "astra_project.py", one[::-1], geometry)  # its y points up
        fastest = {}
        for kind in ("linear", "line", "strip"):
            seconds = answer[f"{kind}_seconds"]
            fastest[kind] = seconds
            off = np.abs(answer[f"{kind}_sinogram"] - images[:, :, 0, 0])[:, args.size // 4 : -args.size // 4]
            print(
                f"  astra {kind}: {1e3 * seconds[0]:.0f} ms forward, {1e3 * seconds[1]:.0f} back; "
                f"differs by {off.mean() / images.mean():.1e} of the mean"
            )
        for side, (name, mine) in enumerate((("forward", forward), ("back", back))):
            ratio = min(seconds[side] for seconds in fastest.values()) / (mine / lanes)
            verdict.at_least(f"astra's fastest per slice, {name}, over ours", ratio, LEAST_OF_ASTRA)
    else:
        print("  without astra: see --astra-python")
    few = TiltGeometry.of(geometry.tilt_deg[:: max(1, args.tilts // 10)])  # the whole takes 1 GiB
    matrix = overlaps(few, args.size)
    flat = volume.reshape(args.size**2, lanes)
    product, there = best(lambda: matrix @ flat)
    turned = matrix.T
    _, again = best(lambda: turned @ product)
    scale = milliseconds * args.tilts / len(few)
    print(f"  CSR of the same weights: {there * scale:.1f} ms forward, {again * scale:.1f} back")
    same = images[:: max(1, args.tilts // 10)].reshape(product.shape)
    verdict.at_most("CSR and ours differ, relative", np.abs(product - same).max() / same.max(), 1e-5)


class Watched:
    """Kernels that note the processor time of each call."""

    TILE = rays.TILE

    def __init__(self):
        self.seconds: list[float] = []

    def _run(self, kernel, *arguments):
        begin = time.thread_time()
        kernel(*arguments)
        self.seconds.append(time.thread_time() - begin)

    def project(self, *arguments):
        self._run(rays.project, *arguments)

    def back_project(self, *arguments):
        self._run(rays.back_project, *arguments)


def of_parts(call: Callable[[], Any]) -> list[float]:
    """Processor seconds of each part of the rays, in the run that took least."""
    runs = []
    for _ in range(REPEATS):
        watched = projector_module.rays = Watched()
        call()
        runs.append(watched.seconds)
    projector_module.rays = rays
    return min(runs, key=sum)


def threads(args: argparse.Namespace, verdict: Verdict) -> None:
    """What a second thread gains: by the clock where the machine is idle, else by the parts' time."""
    idle = os.getloadavg()[0] < BUSY and (os.cpu_count() or 1) >= 2
    geometry = TiltGeometry.of(np.linspace(-70, 70, args.tilts))
    given = {"shape": (args.size, args.size), "columns": args.size, "volume_rows": args.rows}
    alone, both = (Projector(geometry, **given, threads=number) for number in (1, 2))
    volume = np.random.default_rng(2).random((args.size, args.size, args.phases, args.rows), dtype=np.float32)
    images = alone.forward(volume)
    few = range(min(9, args.tilts))  # an odd number, as in a subset of tilts
    cases = {
        "forward": (lambda: alone.forward(volume), lambda: both.forward(volume)),
        "back": (lambda: alone.back(images), lambda: both.back(images)),
        f"forward, {len(few)} tilts": (lambda: alone.forward(volume, few), lambda: both.forward(volume, few)),
    }
    for name, (one, two) in cases.items():
        if idle:
            gain = best(one, time.perf_counter)[1] / best(two, time.perf_counter)[1]
            verdict.at_least(f"two threads, {name}, gain by the clock", gain, LEAST_THREADS)
        else:
            parts = of_parts(two)
            gain = sum(of_parts(one)) / max(sum(parts) / 2, *parts)
            text = f"two threads, {name}, gain by the time of their {len(parts)} parts"
            verdict.at_least(f"{text} ({load_average()})", gain, LEAST_THREADS)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=1024, metavar="N", help="voxels along x and z")
    parser.add_argument("--tilts", type=int, default=70, metavar="N")
    parser.add_argument("--rows", type=int, default=32, metavar="N", help="rows projected at a time")
    parser.add_argument("--phases", type=int, default=3, metavar="N")
    parser.add_argument("--astra-python", metavar="PATH", help="python of an environment with astra-toolbox")
    parser.add_argument("--tiny", action="store_true", help="a small slice, no targets")
    args = parser.parse_args()
    if args.tiny:
        args.size, args.tilts, args.rows, args.phases = 48, 7, 4, 2
    verdict = Verdict(limits=not args.tiny)
    print(load_average())
    threads(args, verdict)
    transpose(verdict)
    coarse, fine = ellipse(64), ellipse(128)
    verdict.at_least(f"error on an ellipse of 64 px ({coarse:.1e}) over that of 128 px", coarse / fine, 3.6)
    speed(args, verdict)
    if args.astra_python:
        classical(args, verdict)
    return verdict.exit_code()


if __name__ == "__main__":
    sys.exit(main())
