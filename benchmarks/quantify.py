"""Compositions compared with eXSpy's, and whether their errors are right.

- FePt nanoparticles, a spectrum from eXSpy's wheel: Cliff-Lorimer of this project and of eXSpy
  (windows as in its guide, and a fitted model) with the same k-factors; our errors; processor seconds. Needs
  an environment with eXSpy: ``.venv-hyperspy`` of this checkout, or --hyperspy-python PATH; left out with a
  message where there is none.
- Coverage: how often the 1 sigma intervals hold the truth, over 200 spectra of each of three phases of the
  mantle map at two doses, each fitted separately with energy axis, width and continuum unknown.

    python benchmarks/quantify.py [--repeats 200] [--hyperspy-python PATH] [--tiny]

The exit code is 1 where a limit is missed. At a --tiny size coverage means nothing and has no limit.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from verdict import Verdict, load_average, one_core

one_core()

import numpy as np  # noqa: E402
import xarray as xr  # noqa: E402

import edxdask  # noqa: E402
from edxdask import schema  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
HYPERSPY_PYTHON = ROOT / ".venv-hyperspy" / "bin" / "python"
K_FACTORS = {"Fe_Ka": 1.450226, "Pt_La": 5.075602}  # of eXSpy's guide, Bruker's for this microscope
FOREIGN = ["Cu", "C", "O", "Si", "Zr"]  # grid, support, collimator
OFF = 0.10  # relative, from eXSpy
PHOTONS = (3e4, 1e6)
LEAST, MOST = 0.60, 0.75  # of the intervals; 0.683 is what 1 sigma means


def fept(verdict: Verdict, python: str | None) -> None:
    """Print FePt of both, and how far they are apart."""
    print(f"FePt nanoparticles, k-factors {K_FACTORS}; {load_average()}")
    if python is None:
        print(
            f"  left out: no eXSpy. Give --hyperspy-python PATH, or make {HYPERSPY_PYTHON.relative_to(ROOT)}:"
        )
        print("  python -m venv .venv-hyperspy && .venv-hyperspy/bin/pip install -e '.[hyperspy]'")
        return
    program = str(Path(__file__).with_name("exspy_quantify.py"))
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "answer.npz"
        command = [python, "-W", "ignore", program, str(answer), *map(str, K_FACTORS.values())]
        subprocess.run(command, check=True)
        with np.load(answer) as file:
            theirs = {name: file[name] for name in file.files}
    cube = edxdask.from_array(
        theirs["counts"][None, None],
        energy_offset=float(theirs["offset"]),
        energy_scale=float(theirs["scale"]),
        beam_energy=float(theirs["beam_energy"]),
        attrs={schema.ELEVATION: [float(theirs["elevation"])], schema.FWHM: float(theirs["fwhm"])},
    )
    for _ in range(2):  # the first time compiles
        begin = time.process_time()
        found = edxdask.quantify(cube, elements=["Fe", "Pt", *FOREIGN], foreign=FOREIGN, k_factors=K_FACTORS)
        seconds = time.process_time() - begin
    ours = found[schema.COMPOSITION].values
    errors = found[schema.COMPOSITION + schema.STD_SUFFIX].values
    text = ", ".join(
        f"{e} {100 * x:.2f} ± {100 * s:.2f}" for e, x, s in zip(("Fe", "Pt"), ours, errors, strict=True)
    )
    print(f"  edxdask: {text} at.%, reduced chi-squared {float(found[schema.CHI2_RED]):.2f}, {seconds:.2f} s")
    for way in ("windows", "model"):
        iron, platinum = theirs[way]
        print(
            f"  eXSpy {theirs['version']}, {way}: Fe {iron:.2f}, Pt {platinum:.2f} at.%, no errors, "
            f"{float(theirs[f'{way}_seconds']):.2f} s"
        )
        off = np.abs(100 * ours / theirs[way] - 1).max()
        verdict.at_most(f"largest relative difference from eXSpy's {way}", off, OFF, ".3f")


def phases() -> list[tuple[str, np.ndarray, dict[str, float], xr.Dataset]]:
    """Spectrum, composition and conditions of each phase of the mantle map."""
    cube = edxdask.simulate(shape=(8, 8))
    found = []
    for label in cube[schema.PHASE].values:
        atoms = cube[schema.TRUTH_COMPOSITION].sel({schema.PHASE: label}).to_series()
        spectrum = cube[schema.TRUTH_SPECTRUM].sel({schema.PHASE: label}).values
        found.append((str(label), spectrum, atoms[atoms > 0].to_dict(), cube))
    return found


def coverage(verdict: Verdict, repeats: int) -> None:
    """Print the fraction of intervals that hold the truth, over all elements of a phase and by element."""
    print(f"1 sigma intervals over {repeats} spectra each; {load_average()}")
    for label, spectrum, truth, cube in phases():
        for photons in PHOTONS:
            rng = np.random.default_rng(0)
            begin, hits = time.process_time(), []
            for _ in range(repeats):
                one = cube.isel(y=slice(1), x=slice(1))[[schema.COUNTS]]
                drawn = rng.poisson(photons * spectrum).astype(np.uint32)[None, None]
                one = one.assign({schema.COUNTS: (one[schema.COUNTS].dims, drawn)})
                found = edxdask.quantify(one, elements=list(truth))
                x, std = (found[schema.COMPOSITION + end].values for end in ("", schema.STD_SUFFIX))
                hits.append(np.abs(x - list(truth.values())) <= std)
            by = dict(zip(truth, np.mean(hits, axis=0), strict=True))
            seconds = (time.process_time() - begin) / repeats
            print(
                f"  {label}: "
                + ", ".join(f"{e} {share:.2f}" for e, share in by.items())
                + f"; {seconds:.2f} s each"
            )
            share = float(np.mean(hits))
            verdict.at_least(
                f"{label}, {photons:.0e} photons: fraction that holds the truth", share, LEAST, ".3f"
            )
            verdict.at_most(f"{label}, {photons:.0e} photons: the same", share, MOST, ".3f")


def main() -> int:
    """Parse, compare, cover."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=200, help="spectra of each phase and dose")
    parser.add_argument("--hyperspy-python", help="python of an environment with eXSpy")
    parser.add_argument("--tiny", action="store_true", help="few spectra, no limits of coverage")
    args = parser.parse_args()
    python = args.hyperspy_python or (str(HYPERSPY_PYTHON) if HYPERSPY_PYTHON.exists() else None)
    verdict, of_coverage = Verdict(limits=True), Verdict(limits=not args.tiny)
    fept(verdict, python)
    coverage(of_coverage, 3 if args.tiny else args.repeats)
    return max(verdict.exit_code(), of_coverage.exit_code())


if __name__ == "__main__":
    sys.exit(main())
