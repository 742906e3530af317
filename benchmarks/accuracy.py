"""How near to the truth: psnmf with everything found by itself, beside peers and the published figures.

On simulated mantle maps (180 × 180, three seeds, 147 and 15 counts a pixel) and two cubes of an independent
simulator (spheres147.npz, spheres15.npz in ../shared/data or EDXDASK_TEST_DATA; left out with a word where
absent): spectral angles and mean squared errors of the abundance maps of bridgmanite, ferropericlase and
Ca-perovskite, mean map angle, processor seconds, for

- psnmf(bin=None, smooth=None) and nmf of this project
- scikit-learn's NMF, multiplicative KL updates from NNDSVDa, 200 iterations
- HyperSpy's NMF, with --hyperspy-python PATH of an environment that has it
- PCA with Poisson weights: mean map angle alone, it has no phases

    python benchmarks/accuracy.py [--seeds 0 1 2] [--hyperspy-python PATH] [--only 147 15] [--tiny]

The exit code is 1 where psnmf misses a target; --tiny checks only that everything runs, on one small map.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from sklearn.decomposition import NMF
from sklearn.exceptions import ConvergenceWarning
from verdict import Verdict, load_average

import edxdask
from edxdask import schema
from edxdask.factorize.nmf import nmf
from edxdask.factorize.pca import pca
from edxdask.factorize.psnmf import psnmf
from edxdask.factorize.score import Score, score

PHASES = 3
THEIR_ITERATIONS = 200
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


@dataclass(frozen=True)
class Case:
    """A cube with its truth.

    Attributes
    ----------
    simulated : by this project: the map the targets at 147 counts are for
    """

    name: str
    counts: int
    cube: xr.Dataset
    spectrum: xr.DataArray | np.ndarray
    abundance: xr.DataArray | np.ndarray
    simulated: bool

    def judge(self, result: xr.Dataset) -> Score:
        """Score of a result."""
        return score(result, truth_spectrum=self.spectrum, truth_abundance=self.abundance)


def mantle(counts: int, seed: int, side: int) -> Case:
    """Draw a map of this project's simulator."""
    cube = edxdask.simulate("mantle", shape=(side, side), counts=counts, seed=seed).load()
    name = f"mantle, seed {seed}"
    return Case(name, counts, cube, cube[schema.TRUTH_SPECTRUM], cube[schema.TRUTH_ABUNDANCE], True)


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
    order = [list(found["phase"]).index(name) for name in NAMES]
    energy = found["energy_kev"]
    cube = edxdask.from_array(
        found["counts"],
        energy_offset=float(energy[0]),
        energy_scale=float(energy[-1] - energy[0]) / (energy.size - 1),
        beam_energy=200.0,
    )
    abundance = np.moveaxis(found["abundance"], -1, 0)[order]
    return Case("spheres", counts, cube, found["spectrum"][order], abundance, False)


def as_result(cube: xr.Dataset, spectra: np.ndarray, maps: np.ndarray) -> xr.Dataset:
    """Give a peer's factors, ``(phase, energy)`` and ``(phase, y, x)``, the form of our results."""
    sums = np.where(spectra.sum(axis=1) > 0, spectra.sum(axis=1), 1.0)
    amounts = np.maximum(maps, 0) * sums[:, None, None]
    total = amounts.sum(axis=0)
    fractions = np.divide(amounts, total, out=np.zeros_like(amounts), where=total > 0)
    pixels = schema.pixel_dims(cube)
    return xr.Dataset(
        {
            schema.SPECTRUM: ((schema.PHASE, schema.ENERGY), spectra / sums[:, None]),
            schema.ABUNDANCE: ((schema.PHASE, *pixels), fractions),
            schema.TOTAL: (pixels, total),
        },
        coords={
            schema.ENERGY: cube[schema.ENERGY],
            schema.PHASE: [f"phase_{i}" for i in range(len(spectra))],
        },
    )


def scikit_learn(cube: xr.Dataset) -> tuple[xr.Dataset, float]:
    """scikit-learn's multiplicative KL-NMF."""
    counts = cube[schema.COUNTS].values
    flat = counts.reshape(-1, counts.shape[-1]).astype(np.float32)
    model = NMF(
        PHASES, init="nndsvda", solver="mu", beta_loss="kullback-leibler", max_iter=THEIR_ITERATIONS, tol=1e-4
    )
    begin = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        abundance = model.fit_transform(flat)
    seconds = time.process_time() - begin
    maps = abundance.T.reshape(PHASES, *counts.shape[:-1])
    return as_result(cube, model.components_.astype(float), maps.astype(float)), seconds


def hyperspy(cube: xr.Dataset, python: str) -> tuple[xr.Dataset, float]:
    """HyperSpy's NMF, in its own environment."""
    program = str(Path(__file__).with_name("hyperspy_nmf.py"))
    with tempfile.TemporaryDirectory() as folder:
        counts, answer = Path(folder) / "counts.npy", Path(folder) / "result.npz"
        np.save(counts, cube[schema.COUNTS].values)
        subprocess.run([python, program, str(counts), str(PHASES), str(answer)], check=True)
        with np.load(answer) as file:
            result = as_result(cube, file["spectra"].astype(float), file["maps"].astype(float))
            return result, float(file["seconds"])


def timed(method: Callable[[], xr.Dataset]) -> tuple[xr.Dataset, float]:
    """Result and processor seconds, of all threads."""
    begin = time.process_time()
    result = method()
    return result, time.process_time() - begin


def methods(case: Case, python: str | None) -> Iterator[tuple[str, Score, float, str]]:
    """Name, score, seconds and remarks of each method on one cube."""
    cube = case.cube
    ours: dict[str, Callable[[], xr.Dataset]] = {
        "edxdask psnmf": lambda: psnmf(cube, phases=PHASES),
        "edxdask nmf": lambda: nmf(cube, phases=PHASES),
        "PCA": lambda: pca(cube, components=PHASES),
    }
    for name, method in ours.items():
        result, seconds = timed(method)
        found = {key: result.attrs[key] for key in (schema.BIN, schema.SMOOTH) if key in result.attrs}
        remarks = ", ".join(f"{k}={v:.3g}" if isinstance(v, float) else f"{k}={v}" for k, v in found.items())
        yield name, case.judge(result), seconds, remarks
    result, seconds = scikit_learn(cube)
    yield "scikit-learn NMF", case.judge(result), seconds, ""
    if python:
        result, seconds = hyperspy(cube, python)
        yield "HyperSpy NMF", case.judge(result), seconds, ""


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


def run_case(case: Case, python: str | None, verdict: Verdict) -> None:
    """Print the table of one cube, and psnmf's targets."""
    heading(case)
    scores = {}
    for name, found, seconds, remarks in methods(case, python):
        scores[name] = found
        row(name, found.angles, found.mse, found.map_angle, f"{seconds:.1f} s  {remarks}")
    for name, angles, errors, map_angle in PUBLISHED[case.counts]:
        row(f"published {name}", angles, errors, map_angle, "Nano Lett. 24 (2024) 10177")
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
    parser.add_argument("--hyperspy-python", help="python of an environment with HyperSpy")
    parser.add_argument("--tiny", action="store_true", help="one small map, no targets")
    args = parser.parse_args()
    verdict = Verdict(limits=not args.tiny)
    if not args.hyperspy_python:
        print("HyperSpy's NMF is left out: give --hyperspy-python PATH")
    if args.tiny:
        run_case(mantle(147, 0, 48), args.hyperspy_python, verdict)
        return 0
    for counts in args.only:
        found = spheres(counts)
        for case in [*([found] if found else []), *(mantle(counts, seed, 180) for seed in args.seeds)]:
            run_case(case, args.hyperspy_python, verdict)
    return verdict.exit_code()


if __name__ == "__main__":
    sys.exit(main())
