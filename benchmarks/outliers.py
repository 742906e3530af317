"""Maps that do not belong to their collection: whether ``judge`` names them, and nothing else.

Each seed is a collection of small maps of the mantle sample, each on an energy axis of its own (±15 eV,
±0.2 %) that its file does not know, and one of them with ten times fewer counts, which is normal. First,
collections in which all maps belong: how many are named (none should be). Then, at more counts, one map at a
time is replaced: moved by 200 eV, of another sample, with 5 % more iron in bridgmanite, 150 nm thick and not
100 as its file says, cut on disk; or it lacks the HAADF image that the others have, which ``judge`` does not
use. At last the traces of the others, with the wrong map left out, beside those of a collection without it.
The phases and masks are those of the simulation.

    python benchmarks/outliers.py [--seeds 100] [--counts 150] [--kinds-seeds 10] [--tiny]

The exit code is 1 where a normal map is named, a wrong one is not, or the others are changed.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import numpy as np  # noqa: E402
import xarray as xr  # noqa: E402
from traces import ABSENT, CONTENT, ELEMENTS, MOVED_KEV, PHASES, STRETCHED  # noqa: E402
from verdict import Verdict, load_average  # noqa: E402

import edxdask  # noqa: E402
from edxdask import schema  # noqa: E402

OFFSET_KEV, STEP_KEV = 0.3, 0.01
FEW = 0.1  # of the counts of the others
IN_MASK = 0.02  # true abundance of a pixel of a mask
OTHER_SAMPLE = {**CONTENT, "Brg": {**CONTENT["Brg"], "Fe": 3.0, "Al": 3.0}}
MORE_IRON = {**CONTENT, "Brg": {**CONTENT["Brg"], "Fe": 1.05}}
WRONG = ("axis", "sample", "iron", "thickness", "cut")
KINDS = (*WRONG, "no HAADF")
REPLACED = "map 1"


def simulated(
    seed: int, args: argparse.Namespace, counts: float, *, moved_kev: float = 0.0, **more: object
) -> xr.Dataset:
    """One map; its energy axis is not quite what its file says."""
    draw = np.random.default_rng(seed)
    moved = draw.uniform(-MOVED_KEV, MOVED_KEV) + moved_kev
    gain = 1 + draw.uniform(-STRETCHED, STRETCHED)
    cube = edxdask.simulate(
        shape=(args.size, args.size), counts=counts, seed=seed, channels=args.channels,
        energy_offset=OFFSET_KEV * gain + moved, energy_scale=STEP_KEV * gain,
        **{"compositions": CONTENT, **more},
    )  # fmt: skip
    image = cube.truth_total.astype("float32")
    axis = schema.energy_coordinate(OFFSET_KEV, STEP_KEV, args.channels)
    return cube.assign_coords(energy=axis).assign(haadf=image).load()


def replacement(kind: str, seed: int, args: argparse.Namespace) -> xr.Dataset:
    """Make the map that is not like the others."""
    more: dict[str, dict[str, object]] = {
        "axis": {"moved_kev": 0.2},
        "sample": {"compositions": OTHER_SAMPLE},
        "iron": {"compositions": MORE_IRON},
        "thickness": {"thickness": 150.0},
    }
    cube = simulated(seed, args, args.kinds_counts, **more.get(kind, {}))
    return cube.drop_vars("haadf") if kind == "no HAADF" else cube.assign_attrs(thickness_nm=100.0)


def true_result(cubes: dict[str, xr.Dataset]) -> xr.DataTree:
    """Phases, abundances and masks of the simulation."""
    first = next(iter(cubes.values()))
    shared = xr.Dataset(
        {
            "spectrum": (("phase", "energy"), first.truth_spectrum.values),
            "composition": (("phase", "element"), first.truth_composition.sel(element=ELEMENTS).values),
        },
        coords={"phase": PHASES, "element": ELEMENTS, "energy": first.energy},
        attrs={schema.CORE_WIDTH: 1},
    )
    nodes = {"/": shared}
    for name, cube in cubes.items():
        abundance = cube.truth_abundance.values
        masks = abundance > IN_MASK
        masks[0] = ~masks[1:].any(axis=0)
        pixels = ("phase", "y", "x")
        nodes[name] = xr.Dataset(
            {
                "abundance": (pixels, abundance),
                "mask": (pixels, masks),
                "total": (("y", "x"), cube.truth_total.values),
            },
            coords={"phase": PHASES},
        )
    return xr.DataTree.from_dict(nodes)


def judged(data: xr.DataTree, result: xr.DataTree) -> xr.Dataset:
    """Verdicts of the maps."""
    return edxdask.judge(data, result=result, absent=ABSENT, workers=1, progress=False)


def named(found: xr.Dataset) -> list[str]:
    """List the maps that do not belong."""
    return [str(name) for name in found["map"].values[~found.map_belongs.values]]


def normal(seed: int, args: argparse.Namespace, counts: float) -> dict[str, xr.Dataset]:
    """Maps that belong together; one has few counts."""
    return {
        f"map {i}": simulated(1000 * seed + i, args, counts * (FEW if i == args.maps - 1 else 1.0))
        for i in range(args.maps)
    }


def false_names(args: argparse.Namespace, verdict: Verdict) -> None:
    """Count the maps that are named where all belong."""
    wrong, largest = [], []
    for seed in range(args.first, args.first + args.seeds):
        cubes = normal(seed, args, args.counts)
        found = judged(edxdask.collect(cubes), true_result(cubes))
        wrong += [f"seed {seed}, {n}: {found.map_reason.sel(map=n).item()}" for n in named(found)]
        largest.append([float(found[v].max()) for v in ("map_t1", "map_sigma", "map_t2")])
        if seed % 10 == 0:
            print(f"  seed {seed}: named so far {len(wrong)}, largest {np.max(largest, axis=0)}", flush=True)
    t1, sigma, t2 = np.max(largest, axis=0)
    print(f"largest T1 {t1:.2f}, sigma {sigma:.2f}, T2 {t2:.2f}")
    for line in wrong:
        print(f"  named: {line}")
    maps = args.seeds * args.maps
    verdict.at_most(f"normal maps named, of {maps} in {args.seeds} collections", float(len(wrong)), 0.0)


def stored(cubes: dict[str, xr.Dataset], folder: Path) -> xr.DataTree:
    """Write the collection and cut a chunk of one of its maps."""
    path = folder / "maps.zarr"
    edxdask.save(edxdask.collect(cubes), path, overwrite=True, progress=False)
    chunk = next(p for p in sorted((path / REPLACED / "counts").iterdir()) if p.name.startswith("c"))
    chunk.write_bytes(chunk.read_bytes()[: chunk.stat().st_size // 2])
    opened = edxdask.open(path)
    assert isinstance(opened, xr.DataTree)
    return opened


def kinds(args: argparse.Namespace, verdict: Verdict, folder: Path) -> None:
    """Replace one map at a time, and see what is named."""
    right = dict.fromkeys(KINDS, 0)
    false = 0
    for seed in range(args.first, args.first + args.kinds_seeds):
        cubes = normal(seed + 5000, args, args.kinds_counts)
        for kind in ("cut",) if args.tiny else KINDS:
            mixed = {**cubes, REPLACED: replacement(kind, 77_000 + seed, args)}
            data = stored(mixed, folder) if kind == "cut" else edxdask.collect(mixed)
            found = judged(data, true_result(mixed))
            names = named(found)
            false += len([name for name in names if name != REPLACED])
            right[kind] += (REPLACED in names) == (kind in WRONG)
            one = found.sel(map=REPLACED)
            print(
                f"  seed {seed}, {kind}: named {names}; T1 {float(one.map_t1):.3g}, sigma "
                f"{float(one.map_sigma):.3g} ({one.map_fraction.item()}), T2 {float(one.map_t2):.3g}",
                flush=True,
            )
            if REPLACED in names and seed == args.first:
                unharmed(kind, data, mixed, verdict)
    for kind, number in right.items() if not args.tiny else ():
        verdict.at_least(f"judged rightly, {kind}, of {args.kinds_seeds}", number, args.kinds_seeds)
    verdict.at_most("normal maps named beside them", float(false), 0.0)


def unharmed(kind: str, data: xr.DataTree, cubes: dict[str, xr.Dataset], verdict: Verdict) -> None:
    """Compare traces of the others with those of a collection without the wrong map."""
    how = {"phase": "Brg", "absent": ABSENT, "workers": 1, "progress": False}
    found = edxdask.traces(data, result=true_result(cubes), leave_out=True, **how)
    others = {name: cube for name, cube in cubes.items() if name != REPLACED}
    alone = edxdask.traces(edxdask.collect(others), result=true_result(others), **how)
    gap = np.abs(found.atomic_ppm.values[-1] - alone.atomic_ppm.values[-1])
    away = float((gap / np.maximum(alone.atomic_ppm_std.values[-1], 1e-9)).max())
    verdict.at_most(f"the others beside a collection without it, {kind}, in errors", away, 1e-6)


def main() -> int:
    """Parse; count false names, then right ones."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--maps", type=int, default=8)
    parser.add_argument("--size", type=int, default=48)
    parser.add_argument("--channels", type=int, default=750)
    parser.add_argument("--first", type=int, default=0, help="first seed")
    parser.add_argument("--seeds", type=int, default=100, help="collections in which all maps belong")
    parser.add_argument("--counts", type=float, default=150.0)
    parser.add_argument("--kinds-seeds", type=int, default=10, help="collections with one wrong map")
    parser.add_argument("--kinds-counts", type=float, default=1500.0)
    parser.add_argument("--tiny", action="store_true", help="few small maps, one seed, no targets")
    args = parser.parse_args()
    if args.tiny:
        args.maps, args.size, args.seeds, args.kinds_seeds = 3, 16, 1, 1
    logging.getLogger("edxdask").setLevel(logging.ERROR)  # a wrong map has many warnings of its own
    verdict = Verdict(limits=not args.tiny)
    print(f"collections of {args.maps} maps of {args.size}² × {args.channels}; {load_average()}", flush=True)
    if args.seeds:
        print(f"all belong, {args.counts:g} counts per pixel:")
        false_names(args, verdict)
    if args.kinds_seeds:
        print(f"{REPLACED} replaced, {args.kinds_counts:g} counts per pixel:")
        with tempfile.TemporaryDirectory() as folder:
            kinds(args, verdict, Path(folder))
    return verdict.exit_code()


if __name__ == "__main__":
    sys.exit(main())
