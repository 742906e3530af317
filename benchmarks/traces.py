"""Traces of Nd, Sm and U at 100 to 310 ppm over many maps: the pinned-core fit, its bound, and other methods.

Each seed simulates neighbouring maps of the mantle sample, each on an energy axis of its own (±15 eV, ±0.2 %)
that its file does not know. The workflow is that of a user: ``psnmf`` of one map, ``aided`` of all (masks,
cores), ``traces``. Beside it are the Cramér-Rao bound if all abundances were known, the fit of the core alone
(an eroded mask's sum), ``quantify`` of that sum, and ``psnmf``'s own composition of one map.

    python benchmarks/traces.py [--maps 8] [--size 256] [--seeds 8] [--repeats 100] [--tiny]

The last lines are the targets; the exit code is 1 where one is missed. --tiny checks only that all runs.
"""

from __future__ import annotations

import argparse
import sys
import time

from verdict import Verdict, load_average, one_core

one_core()

import numpy as np  # noqa: E402
import xarray as xr  # noqa: E402
from bounds import bound  # noqa: E402

import edxdask  # noqa: E402
from edxdask import schema  # noqa: E402
from edxdask.physics.conditions import Conditions  # noqa: E402

ELEMENTS = ["O", "Mg", "Al", "Si", "Ca", "Fe", "Cu", "Nd", "Sm", "U"]
SEEN = ["Nd", "Sm", "U"]
PHASES = ["Brg", "Fp", "CaPv"]
ABSENT = {"Fp": "Si", "CaPv": "Mg"}
CONTENT = {"Brg": {"Nd": 0.025, "Sm": 0.031, "U": 0.01}, "CaPv": {"Nd": 3.0, "Sm": 1.69, "U": 0.63}}
COUNTS = 160.0
OFFSET_KEV, STEP_KEV = -0.2, 0.01
MOVED_KEV, STRETCHED = 0.015, 0.002
REPEAT_SIZE = 64  # px of the small maps whose intervals are counted


def simulated(seed: int, size: int, channels: int, counts: float = COUNTS) -> xr.Dataset:
    """One map; its energy axis is not quite what its file says."""
    draw = np.random.default_rng(seed)
    moved, gain = draw.uniform(-MOVED_KEV, MOVED_KEV), 1 + draw.uniform(-STRETCHED, STRETCHED)
    cube = edxdask.simulate(
        shape=(size, size), counts=counts, seed=seed, channels=channels, compositions=CONTENT,
        energy_offset=OFFSET_KEV * gain + moved, energy_scale=STEP_KEV * gain,
    )  # fmt: skip
    return cube.assign_coords(energy=schema.energy_coordinate(OFFSET_KEV, STEP_KEV, channels))


def true_ppm(cube: xr.Dataset) -> np.ndarray:
    """Atoms per million of the traces in bridgmanite."""
    return 1e6 * cube.truth_composition.sel(phase="Brg", element=SEEN).values


def bound_of(cube: xr.Dataset) -> np.ndarray:
    """Least standard error of the traces, in ppm, if the abundances of all pixels were known."""
    pixels = cube.truth_total.size
    found = bound(
        cube.truth_spectrum.values, cube.truth_abundance.values.reshape(len(PHASES), pixels),
        cube.truth_total.values.ravel(), cube.energy.values, ELEMENTS,
        cube.truth_composition.sel(element=ELEMENTS).values, Conditions.of(cube.attrs),
    )  # fmt: skip
    return found.composition[0, [ELEMENTS.index(e) for e in SEEN]] * true_ppm(cube)


def one_seed(seed: int, size: int, maps: int, channels: int) -> dict[str, np.ndarray]:
    """Run the workflow, and the other methods, on the maps of one seed."""
    cubes = {f"map {i}": simulated(1000 * seed + i, size, channels) for i in range(maps)}
    first = cubes["map 0"]
    begin = time.process_time()
    phases = edxdask.psnmf(first, phases=PHASES, elements=ELEMENTS, absent=ABSENT, progress=False)
    middle = time.process_time()
    data = edxdask.collect(cubes)
    un = edxdask.aided(data, matrix="Brg", absent=ABSENT, result=phases, progress=False)
    end = time.process_time()
    found = edxdask.traces(data, result=un, phase="Brg", elements=SEEN, absent=ABSENT, progress=False)
    print(
        f"  seed {seed}: processor seconds psnmf {middle - begin:.0f}, aided {end - middle:.0f}, "
        f"traces {time.process_time() - end:.0f}; core at {un.attrs[schema.CORE_WIDTH]} px", flush=True,
    )  # fmt: skip
    core = un["map 0"][schema.CORE].sel(phase="Brg").values
    summed = edxdask.quantify(first, elements=ELEMENTS, per={"core": core})
    bounds = np.array([bound_of(cube) for cube in cubes.values()])
    pick = {"phase": "Brg", "element": SEEN}
    single = int(np.flatnonzero(found.growth_maps.values == 1)[-1])
    snr = found.growth_snr.sel(element=["Nd", "U"]).values
    pixels = found.growth_pixels.values
    return {
        "true": true_ppm(first),
        "bound": np.array([bounds[0], 1 / np.sqrt((1 / bounds**2).sum(axis=0))]),
        "pinned": found.atomic_ppm.values[[0, -1]],
        "pinned_std": found.atomic_ppm_std.values[[0, -1]],
        "core": found.growth_ppm.values[[single, -1]],
        "core_std": found.growth_ppm_std.values[[single, -1]],
        "aided": 1e6 * un[schema.COMPOSITION].sel(pick).values,
        "aided_std": 1e6 * un[schema.COMPOSITION + "_std"].sel(pick).values,
        "quantify": 1e6 * summed[schema.COMPOSITION].sel(element=SEEN).values[0],
        "quantify_std": 1e6 * summed[schema.COMPOSITION + "_std"].sel(element=SEEN).values[0],
        "psnmf": 1e6 * phases[schema.COMPOSITION].sel(pick).values,
        "psnmf_std": 1e6 * phases[schema.COMPOSITION + "_std"].sel(pick).values,
        "growth": snr[-1] / snr[single] / np.sqrt(pixels[-1] / pixels[single]),
        "belongs": found.map_belongs.values,
        "t1": found.map_t1.values[:-1],
    }


def covered(repeats: int, size: int, channels: int) -> tuple[float, int]:
    """Fraction of the 1 sigma intervals of one small map that hold the truth; masks are the true ones."""
    inside = []
    for seed in range(repeats):
        cube = simulated(90_000 + seed, size, channels, 2 * COUNTS)
        abundance = cube.truth_abundance.values
        masks = abundance > 0.02
        masks[0] = ~masks[1:].any(axis=0)
        result = xr.Dataset(
            {
                "spectrum": (("phase", "energy"), cube.truth_spectrum.values),
                "composition": (("phase", "element"), cube.truth_composition.sel(element=ELEMENTS).values),
                "abundance": (("phase", "y", "x"), abundance),
                "total": (("y", "x"), cube.truth_total.values),
                "mask": (("phase", "y", "x"), masks),
            },
            coords={"phase": PHASES, "element": ELEMENTS, "energy": cube.energy},
            attrs={schema.CORE_WIDTH: 1},
        )
        found = edxdask.traces(cube, result=result, phase="Brg", elements=SEEN, absent=ABSENT, progress=False)
        inside.append(np.abs(found.atomic_ppm[-1] - true_ppm(cube)) < found.atomic_ppm_std[-1])
    return float(np.mean(inside)), repeats * len(SEEN)


def shown(name: str, values: np.ndarray, errors: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Print what a method found over all seeds; returns its bias over its stated error."""
    bias = ((values - true) / errors).mean(axis=0)
    cells = [
        f"{e} {m:.0f} ± {s:.1f} (scatter {d:.1f}, bias {b:+.2f} σ)"
        for e, m, s, d, b in zip(
            SEEN, values.mean(axis=0), errors.mean(axis=0), values.std(axis=0), bias, strict=True
        )
    ]
    print(f"  {name:34s} {', '.join(cells)}")
    return bias


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--maps", type=int, default=8)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=100)
    parser.add_argument("--tiny", action="store_true", help="two small maps, one seed, no targets")
    parser.add_argument("--channels", type=int, default=2048)
    args = parser.parse_args()
    if args.tiny:
        args.maps, args.size, args.seeds, args.repeats, args.channels = 2, 40, 1, 1, 800
    verdict = Verdict(limits=not args.tiny)
    print(
        f"{args.maps} maps of {args.size}² × {args.channels}, {COUNTS:g} counts per pixel; {load_average()}"
    )
    runs = [one_seed(seed, args.size, args.maps, args.channels) for seed in range(args.seeds)]
    got = {key: np.array([run[key] for run in runs]) for key in runs[0]}
    true = got["true"][0]
    print(
        f"Brg holds {', '.join(f'{e} {t:.0f}' for e, t in zip(SEEN, true, strict=True))} ppm; found, in ppm:"
    )
    bias = {}
    for row, text in ((0, "one map"), (1, f"{args.maps} maps")):
        cells = zip(SEEN, got["bound"][:, row].mean(axis=0), strict=True)
        print(f"  {'bound, abundances known, ' + text:34s} {', '.join(f'{e} ± {b:.1f}' for e, b in cells)}")
        for name in ("pinned", "core"):
            bias[name, row] = shown(f"{name}, {text}", got[name][:, row], got[name + "_std"][:, row], true)
    shown(f"aided, {args.maps} maps", got["aided"], got["aided_std"], true)
    shown("quantify of the core, one map", got["quantify"], got["quantify_std"], true)
    of_psnmf = shown("psnmf, one map", got["psnmf"], got["psnmf_std"], true)
    print("targets:")
    for row, text in ((0, "one map"), (1, f"{args.maps} maps")):
        ratio = (got["pinned_std"][:, row] / got["bound"][:, row]).mean(axis=0).max()
        verdict.at_most(f"pinned fit over the bound, {text}", float(ratio), 1.1)
        eroded = (got["core_std"][:, row] / got["bound"][:, row]).mean(axis=0).max()
        verdict.at_most(f"core alone over the bound, {text}", float(eroded), 1.15)
    verdict.at_most("bias of the pinned fit, σ, all maps", float(np.abs(bias["pinned", 1]).max()), 0.5)
    verdict.at_most("bias of psnmf, σ, one map", float(np.abs(of_psnmf).max()), 1.0)
    for i, line in enumerate(("Nd Lα", "U Mα")):
        growth = float(got["growth"][:, i].mean())
        verdict.at_most(f"SNR of {line} beyond √n, from one map to all", abs(growth - 1), 0.05)
    verdict.holds("all maps belong", bool(got["belongs"].all()))
    share, number = covered(args.repeats, args.size if args.tiny else REPEAT_SIZE, args.channels)
    verdict.at_least(f"1 σ intervals that hold the truth, of {number}", share, 0.60, ".2f")
    verdict.at_most(f"1 σ intervals that hold the truth, of {number}", share, 0.76, ".2f")
    return verdict.exit_code()


if __name__ == "__main__":
    sys.exit(main())
