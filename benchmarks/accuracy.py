"""How close to the truth: psnmf, which finds everything from the data, beside peers and published figures.

On simulated mantle maps (180 × 180, three seeds, 147 and 15 counts per pixel) and two cubes of an independent
simulator (spheres147.npz, spheres15.npz in ../shared/data or EDXDASK_TEST_DATA; left out with a message where
absent): spectral angles and mean squared errors of the abundance maps of bridgmanite, ferropericlase and
Ca-perovskite, mean map angle, processor seconds, for

- psnmf(bin=None, smooth=None) and nmf of this project, psnmf also guided by physics: with the elements named
- scikit-learn's NMF, multiplicative KL updates from NNDSVDa, 200 iterations
- HyperSpy's NMF, with --hyperspy-python PATH of an environment that has it
- espm's physics-guided NMF, with --espm-python PATH: it is given the same elements, and film, beam and
  detector besides; as many iterations as its guide has, or --espm-iterations
- PCA with Poisson weights: mean map angle alone, it has no phases

    python benchmarks/accuracy.py [--seeds 0 1 2] [--only 147 15]
        [--hyperspy-python PATH] [--espm-python PATH [--espm-iterations 200 1000]] [--tiny]

Below each table are the errors of the guided compositions, and what the photons allow (``bounds.py``) where
abundances are known exactly: the Cramér-Rao bound on the root mean square error of unbiased estimates (one
draw may have less), and the most likely spectra for the very photons drawn.

The exit code is 1 where psnmf misses a target; --tiny checks only that everything runs, on one small map.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import peers
import xarray as xr
from bounds import bound, of_these_photons
from verdict import Verdict, load_average

import edxdask
from edxdask import schema
from edxdask.engine.problem import Demand, photons_of
from edxdask.factorize.guidance.request import physics_request
from edxdask.factorize.nmf import nmf
from edxdask.factorize.pca import pca
from edxdask.factorize.psnmf import psnmf
from edxdask.physics.conditions import Conditions
from edxdask.results.score import Score, angles_between, score

PHASES = 3
GUIDED_NAME = "edxdask psnmf, elements"
NAMES = ("Brg", "Fp", "CaPv")
# Chen, Alexander & Hébert, Nano Lett. 24 (2024) 10177, synthetic mantle map, 180 × 180 pixels, 0.3 to 10 keV.
PUBLISHED = {
    147: (
        ("NMF", (5.80, 4.30, 64.15), None, None),
        ("PSNMF, bins of 12", (0.25, 1.52, 1.73), (0.0024, 0.0013, 0.0011), 1.14),
        ("PCA", None, None, 2.49),
    ),
    15: (
        ("NMF", (29.7, 64.0, 75.0), None, None),
        ("PSNMF, bins of 15", (0.64, 2.72, 5.04), (0.054, 0.025, 0.021), 6.00),
        ("PCA", None, None, 8.33),
    ),
}
ANGLES_147, ERRORS_147 = (0.9, 1.7, 2.6), (0.0008, 0.0004, 0.0003)
LEAST_FACTOR_OF_PCA = 3.0
ELEMENTS = ["Mg", "Si", "Al", "Ca", "Fe", "Nd", "Sm", "U", "Cu", "O"]
# of psnmf with elements, by counts per pixel and by who simulated: angles, errors of maps, map angle
GUIDED = {
    (147, True): ((0.30, 0.70, 1.20), (0.0007, 0.00035, 0.00025), 0.55),
    (15, True): ((0.5, 0.8, 1.3), (0.0028, 0.0011, 0.0009), 0.9),
    (147, False): ((0.5, 1.0, 1.5), None, None),
    (15, False): ((0.8, 1.2, 1.8), None, None),
}
# of the independent simulator, which is espm's own: its detector is espm's default
SPHERES_FILM = {
    "beam_energy_kev": 200.0,
    "elevation_deg": 22.0,
    "thickness_nm": 100.0,
    "density_g_cm3": 4.5,
    **peers.ESPM_DETECTOR,
}
# relative errors at 147 counts per pixel, twice that at 15: majors, minors (1 at.%), traces (0.1 at.%)
MAJOR, MINOR = 0.05, 0.005
OF_MAJORS, OF_MINORS, OF_TRACES, OF_RATIOS = 0.01, 0.04, 0.08, 0.03


@dataclass(frozen=True)
class Case:
    """A cube with its truth.

    Attributes
    ----------
    composition : (phase, element), atomic fractions in the order of ``ELEMENTS``
    simulated : by this project: the map the targets at 147 counts are for
    espm : what espm is given of film, beam and detector
    """

    name: str
    counts: int
    cube: xr.Dataset
    spectrum: xr.DataArray | np.ndarray
    abundance: xr.DataArray | np.ndarray
    composition: np.ndarray
    simulated: bool
    espm: Mapping[str, Any]

    def judge(self, result: xr.Dataset) -> Score:
        """Score of a result."""
        return score(result, truth_spectrum=self.spectrum, truth_abundance=self.abundance)


def mantle(counts: int, seed: int, side: int) -> Case:
    """Draw a map of this project's simulator."""
    cube = edxdask.simulate("mantle", shape=(side, side), counts=counts, seed=seed).load()
    name = f"mantle, seed {seed}"
    atoms = cube[schema.TRUTH_COMPOSITION].sel({schema.ELEMENT: ELEMENTS}).values
    stated = peers.espm_knows(cube)
    return Case(
        name, counts, cube, cube[schema.TRUTH_SPECTRUM], cube[schema.TRUTH_ABUNDANCE], atoms, True, stated
    )


def spheres(counts: int) -> Case | None:
    """Read a cube of the independent simulator; None where it is absent."""
    root = Path(__file__).resolve().parent.parent
    folder = Path(os.environ.get("EDXDASK_TEST_DATA") or root.parent / "shared" / "data")
    path = folder / f"spheres{counts}.npz"
    if not path.is_file():
        print(f"spheres, {counts} counts/px: left out, {path} does not exist")
        return None
    with np.load(path) as file:
        found = {name: file[name] for name in ("counts", "abundance", "spectrum", "energy_kev", "phase")}
        written = json.loads(str(file["composition_at"]))
    order = [list(found["phase"]).index(name) for name in NAMES]
    energy = found["energy_kev"]
    cube = edxdask.from_array(
        found["counts"],
        energy_offset=float(energy[0]),
        energy_scale=float(energy[-1] - energy[0]) / (energy.size - 1),
        beam_energy=200.0,
    )
    abundance = np.moveaxis(found["abundance"], -1, 0)[order]
    atoms = np.array([[written[row].get(element, 0.0) for element in ELEMENTS] for row in order])
    atoms /= atoms.sum(axis=1, keepdims=True)
    return Case("spheres", counts, cube, found["spectrum"][order], abundance, atoms, False, SPHERES_FILM)


@dataclass(frozen=True)
class Pythons:
    """Interpreters of environments that have HyperSpy and espm, None where there is none; rows of espm."""

    hyperspy: str | None
    espm: str | None
    espm_iterations: tuple[int, ...]


def timed(method: Callable[[], xr.Dataset]) -> tuple[xr.Dataset, float]:
    """Result and processor seconds, of all threads."""
    begin = time.process_time()
    result = method()
    return result, time.process_time() - begin


def methods(case: Case, pythons: Pythons) -> Iterator[tuple[str, xr.Dataset, float, str]]:
    """Name, result, seconds and remarks of each method on one cube."""
    cube = case.cube
    ours: dict[str, Callable[[], xr.Dataset]] = {
        GUIDED_NAME: lambda: psnmf(cube, phases=PHASES, elements=ELEMENTS),
        "edxdask psnmf": lambda: psnmf(cube, phases=PHASES),
        "edxdask nmf": lambda: nmf(cube, phases=PHASES),
        "PCA": lambda: pca(cube, components=PHASES),
    }
    for name, method in ours.items():
        result, seconds = timed(method)
        found = {key: result.attrs[key] for key in (schema.BIN, schema.SMOOTH) if key in result.attrs}
        remarks = ", ".join(f"{k}={v:.3g}" if isinstance(v, float) else f"{k}={v}" for k, v in found.items())
        yield name, result, seconds, remarks
    yield "scikit-learn NMF", *peers.scikit_learn(cube, PHASES), ""
    if pythons.hyperspy:
        yield "HyperSpy NMF", *peers.hyperspy(cube, PHASES, pythons.hyperspy), ""
    for most in pythons.espm_iterations if pythons.espm else ():
        theirs = peers.espm(cube, PHASES, pythons.espm, ELEMENTS, case.espm, iterations=most)
        yield f"espm, elements, {most}", *theirs


def row(name: str, angles: Any, errors: Any, map_angle: float | None, more: str) -> None:
    """Print one line of the table."""

    def three(values: Any, form: str) -> str:
        known = values is not None and np.isfinite(np.asarray(values, dtype=float)).all()
        return " ".join(f"{v:>{form}}" for v in values) if known else ""

    last = "" if map_angle is None else f"{map_angle:.2f}"
    print(
        f"  {name:<27} {three(angles, '6.2f'):<20}  {three(errors, '7.5f'):<23}  {last:>5}  {more}",
        flush=True,
    )


def heading(case: Case) -> None:
    title = f"{case.name}, {case.counts} counts/px, {case.cube.counts.shape}; {load_average()}"
    print(
        f"{title}\n  {'':<27} {'angles/deg ' + ' '.join(NAMES):<20}  {'MSE of maps':<23}  map angle, seconds"
    )


def check(verdict: Verdict, case: Case, mine: Score, pca_angle: float) -> None:
    """Print psnmf's figures beside their targets."""
    where = f"{case.name}, {case.counts} counts/px"
    (_, published_angles, published_errors, published_map) = PUBLISHED[case.counts][1]
    angles, errors = (ANGLES_147, ERRORS_147) if case.counts == 147 else (published_angles, published_errors)
    if mine.map_angle is None or mine.mse is None:
        raise RuntimeError("a score with known abundances has map errors")
    verdict.at_least(
        f"{where}: PCA's map angle over ours", pca_angle / mine.map_angle, LEAST_FACTOR_OF_PCA, ".2f"
    )
    if case.counts == 147 and not case.simulated:
        return  # the targets at this dose are for the mantle map
    for i, name in enumerate(NAMES):
        verdict.at_most(f"{where}: angle of {name}", mine.angles[i], angles[i], ".2f")
        verdict.at_most(f"{where}: MSE of {name}", mine.mse[i], errors[i], ".5f")
    if case.counts == 15:
        verdict.at_most(f"{where}: mean map angle", mine.map_angle, published_map, ".2f")


def print_bound(case: Case) -> None:
    """Print the least errors that the photons of a case allow, as lines of the table and of each phase."""
    spectra = np.asarray(case.spectrum, dtype=float)
    totals = case.cube[schema.COUNTS].sum(schema.ENERGY).values.ravel().astype(float)
    least = bound(
        spectra / spectra.sum(axis=1, keepdims=True),
        np.asarray(case.abundance).reshape(PHASES, -1),
        totals,
        case.cube[schema.ENERGY].values,
        ELEMENTS,
        case.composition,
        Conditions.of(case.cube.attrs),
    )
    drawn, composition = with_true_maps(case, spectra)
    angles = np.diag(angles_between(drawn, spectra))
    row("these photons, maps known", angles, None, None, "most likely spectra for this draw")
    row("bound, maps known", least.angles, None, None, "least rms of unbiased estimates")
    for name, errors, found, atoms in zip(
        NAMES, least.composition, composition, case.composition, strict=True
    ):
        text = ", ".join(
            f"{e} {100 * (c / a - 1):+.1f} ({100 * v:.1f})"
            for e, v, c, a in zip(ELEMENTS, errors, found, atoms, strict=True)
            if a > 0
        )
        print(f"  {name}, maps known, % off the truth (bound): {text}")


def with_true_maps(case: Case, spectra: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Most likely spectra and compositions of the photons drawn, on the basis that ``psnmf`` calibrates."""
    wish = physics_request(ELEMENTS, None, None, PHASES, True)
    if wish is None:
        raise RuntimeError("named elements make a request")
    with photons_of(case.cube, step="calibration", demand=Demand(0, 0)) as problem:
        model = wish.guide(problem).model(case.composition, {})
    counts = case.cube[schema.COUNTS].values.reshape(-1, spectra.shape[1])
    return of_these_photons(counts, spectra, np.asarray(case.abundance).reshape(PHASES, -1), model)


def check_guided(verdict: Verdict, case: Case, mine: Score, result: xr.Dataset) -> None:
    """Print the guided compositions' errors, and figures beside their targets."""
    where = f"{case.name}, {case.counts} counts/px, with elements"
    angles, errors, map_angle = GUIDED[case.counts, case.simulated]
    for i, name in enumerate(NAMES):
        verdict.at_most(f"{where}: angle of {name}", mine.angles[i], angles[i], ".2f")
        if errors is not None and mine.mse is not None:
            verdict.at_most(f"{where}: MSE of {name}", mine.mse[i], errors[i], ".5f")
    if map_angle is not None and mine.map_angle is not None:
        verdict.at_most(f"{where}: mean map angle", mine.map_angle, map_angle, ".2f")
    true, found, std = case.composition, *in_order(mine, result)
    for name, atoms, values, sigmas in zip(NAMES, true, found, std, strict=True):
        held = [i for i in range(len(ELEMENTS)) if atoms[i] > 0]
        text = ", ".join(
            f"{ELEMENTS[i]} {100 * (values[i] / atoms[i] - 1):+.1f} ± {100 * sigmas[i] / atoms[i]:.1f}"
            for i in held
        )
        print(f"  {name}, % off the truth: {text}")
    if not case.simulated:
        return check_ratios(verdict, where, true, found)
    off = np.abs(found / np.where(true > 0, true, np.nan) - 1)
    more = 1.0 if case.counts == 147 else 2.0
    kinds = (
        ("majors", true > MAJOR, OF_MAJORS),
        ("minors", (true > MINOR) & (true <= MAJOR), OF_MINORS),
        ("traces", (true > 0) & (true <= MINOR), OF_TRACES),
    )
    for kind, which, limit in kinds:
        verdict.at_most(
            f"{where}: largest error of {kind}", float(np.nanmax(off[which])), more * limit, ".3f"
        )
    return None


def check_ratios(verdict: Verdict, where: str, true: np.ndarray, found: np.ndarray) -> None:
    """Print how far ratios of the major cations are from the truth."""
    for row_index, first, second in ((0, "Mg", "Si"), (1, "Mg", "Fe"), (2, "Si", "Ca")):
        i, j = ELEMENTS.index(first), ELEMENTS.index(second)
        ratio = found[row_index, i] / found[row_index, j] / (true[row_index, i] / true[row_index, j])
        verdict.at_most(
            f"{where}: {first}/{second} of {NAMES[row_index]}, off by", abs(ratio - 1), OF_RATIOS, ".3f"
        )


def in_order(mine: Score, result: xr.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Compositions and their errors in the order of the truth's phases, as the score has matched them."""
    name = schema.COMPOSITION
    rows = result.sel({schema.PHASE: list(mine.matched)})
    return rows[name].values, rows[name + schema.STD_SUFFIX].values


def run_case(case: Case, pythons: Pythons, verdict: Verdict) -> None:
    """Print the table of one cube, and psnmf's targets."""
    heading(case)
    scores, results = {}, {}
    for name, result, seconds, remarks in methods(case, pythons):
        found = scores[name] = case.judge(result)
        results[name] = result
        row(name, found.angles, found.mse, found.map_angle, f"{seconds:.1f} s  {remarks}")
    if not pythons.espm:
        print("  espm: no environment (how to make one: --help)")
    for name, angles, errors, map_angle in PUBLISHED[case.counts]:
        row(f"published {name}", angles, errors, map_angle, "Nano Lett. 24 (2024) 10177")
    print_bound(case)
    check_guided(verdict, case, scores[GUIDED_NAME], results[GUIDED_NAME])
    if verdict.limits:
        pca_angle = scores["PCA"].map_angle
        check(verdict, case, scores["edxdask psnmf"], float("nan") if pca_angle is None else pca_angle)


def main() -> int:
    """Parse, run all cubes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of the mantle maps")
    parser.add_argument("--only", type=int, nargs="+", choices=[147, 15], default=[147, 15], help="counts/px")
    parser.add_argument("--hyperspy-python", metavar="PATH", help="python of an environment with HyperSpy")
    parser.add_argument(
        "--espm-python",
        metavar="PATH",
        help=f"python of an environment with espm, separate because of its pins: {peers.ESPM_ENVIRONMENT}; "
        "PATH is then ENV/bin/python",
    )
    parser.add_argument(
        "--espm-iterations",
        type=int,
        nargs="+",
        default=[peers.ESPM_ITERATIONS],
        help="most iterations of espm, one row each",
    )
    parser.add_argument("--tiny", action="store_true", help="one small map, no targets")
    args = parser.parse_args()
    verdict = Verdict(limits=not args.tiny)
    pythons = Pythons(args.hyperspy_python, args.espm_python, tuple(args.espm_iterations))
    if not pythons.hyperspy:
        print("HyperSpy's NMF is left out: give --hyperspy-python PATH")
    psnmf(mantle(147, 0, 24).cube, phases=PHASES, elements=ELEMENTS)  # compiles
    if args.tiny:
        run_case(mantle(147, 0, 48), pythons, verdict)
        return 0
    for counts in args.only:
        found = spheres(counts)
        for case in [*([found] if found else []), *(mantle(counts, seed, 180) for seed in args.seeds)]:
            run_case(case, pythons, verdict)
    return verdict.exit_code()


if __name__ == "__main__":
    sys.exit(main())
