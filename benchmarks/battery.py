"""Right, or loud: samples that nothing was tuned on, each unmixed in every manner.

For each sample, manner and seed it says whether the result is

- right: every spectrum is less than 1.5 degrees from the truth, or than twice what known maps give;
- wrong but said: a warning names each wrong phase, and the range that it states holds the truth;
- wrong and silent: the worst that can happen;
- a crash: an error where none is due.

Crops and thinnings of two real maps (71GPa_left.hspy and 88GPa_crop.hspy, in ../shared/data or
EDXDASK_TEST_DATA) are compared with published figures and with one another. The exit code is 1 where anything
is wrong and silent, less than 85 % is right, more than a quarter of what is right carries a warning about
other solutions, or the crops differ by more than their errors allow.

    python benchmarks/battery.py [--seeds 0 1 2] [--only steel layers] [--manners free elements]
                                 [--espm-python PATH] [--findings FILE] [--tiny]

--tiny checks only that everything runs: three samples, one seed, two manners, no espm, no real maps.
"""

from __future__ import annotations

import argparse
import functools
import logging
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import peers
import xarray as xr
from judge import CRASH, RIGHT, SAID, SILENT, VERDICTS, Judgement, judge
from real_crops import (
    MOST_CHI2,
    Crop,
    chi2_of_parts,
    crops,
    data_folder,
    halves_without_unmixing,
    judge_crop,
)
from sample_truth import make
from samples import BY_NAME, Sample

from edxdask import psnmf

MANNERS = ("free", "elements", "find", "number", "hints")
REAL = "real"  # as the name of a sample in --only
TINY_SAMPLES, TINY_MANNERS, TINY_SIDE = ("halves", "one_phase", "olivine"), ("free", "elements"), 32
LEAST_RIGHT, MOST_WARNED = 85.0, 25.0  # per cent


@dataclass(frozen=True)
class Case:
    """One line of the table."""

    sample: str
    manner: str
    seed: int
    judgement: Judgement

    def line(self, seconds: float) -> str:
        """Sample, manner, seed, verdict, figures, warnings, processor seconds."""
        found = self.judgement
        return (
            f"{self.sample:<24} {self.manner:<8} {self.seed} {found.verdict:<16} {found.figures}"
            f"  {found.warned} open  {seconds:.1f} s"
        )


def options(sample: Sample, manner: str) -> dict[str, Any]:
    """What psnmf is given."""
    phases = len(sample.phases)
    return {
        "free": {"phases": phases},
        "elements": {"phases": phases, "elements": sample.elements},
        "find": {"phases": phases, "elements": "find"},
        "number": {"phases": None, "elements": sample.elements},
        "hints": {"phases": phases, "elements": sample.elements, "absent": dict(sample.absent)},
    }[manner]


def judged(unmix: Callable[[], xr.Dataset], decide: Callable[[xr.Dataset], Judgement]) -> Judgement:
    """Unmix and judge; an error is a crash, whatever it says, since every case can be solved."""
    try:
        result = unmix()
    except Exception as error:  # a crash of one case must not hide the others
        return Judgement(CRASH, f"{type(error).__name__}: {str(error)[:200]}")
    return decide(result)


class Report:
    """Prints cases, keeps them, and writes what went wrong to a file."""

    def __init__(self, findings: Path | None) -> None:
        self.cases: list[Case] = []
        self.findings = findings

    def add(self, case: Case, seconds: float) -> None:
        """Print a case as soon as it is known."""
        self.cases.append(case)
        print(case.line(seconds), flush=True)
        if self.findings is not None and case.judgement.verdict in (SILENT, CRASH):
            with self.findings.open("a") as file:
                file.write(f"- {case.line(seconds)}\n")
                file.writelines(f"  - {text}\n" for text in case.judgement.wrong)

    def table(self) -> None:
        """Print a line per sample: how many cases of each verdict."""
        print(f"\n{'sample':<24}" + "".join(f"{verdict:>18}" for verdict in VERDICTS))
        for sample in dict.fromkeys(case.sample for case in self.cases):
            seen = Counter(case.judgement.verdict for case in self.cases if case.sample == sample)
            print(f"{sample:<24}" + "".join(f"{seen[verdict]:>18}" for verdict in VERDICTS))

    def last_line(self) -> bool:
        """Print the counts of all; say whether they are as they must be."""
        seen = Counter(case.judgement.verdict for case in self.cases)
        warned = sum(case.judgement.verdict == RIGHT and case.judgement.warned > 0 for case in self.cases)
        right = 100 * seen[RIGHT] / max(len(self.cases), 1)
        needless = 100 * warned / max(seen[RIGHT], 1)
        print(
            f"\n{len(self.cases)} cases: {seen[RIGHT]} right ({right:.0f} %), of these {warned} with a "
            f"warning ({needless:.0f} %); {seen[SAID]} wrong but said, {seen[SILENT]} wrong and silent, "
            f"{seen[CRASH]} crashed"
        )
        return seen[SILENT] == 0 and right >= LEAST_RIGHT and needless <= MOST_WARNED


def run_sample(
    sample: Sample, seeds: list[int], manners: list[str], python: str | None, report: Report
) -> None:
    """Unmix each measurement of a sample in each manner."""
    for seed in seeds:
        made = make(sample, seed, python)
        for manner in manners:
            if manner == "hints" and not sample.absent:
                continue
            begin = time.process_time()
            found = judged(
                functools.partial(psnmf, made.cube, progress=False, **options(sample, manner)),
                functools.partial(judge, sample=sample, made=made, hinted=manner == "hints"),
            )
            report.add(Case(sample.name, manner, seed, found), time.process_time() - begin)


def run_real(report: Report) -> bool:
    """Unmix the parts of the real maps; say whether they agree."""
    results: list[tuple[Crop, xr.Dataset]] = []
    for name, prepare in crops():
        begin = time.process_time()
        crop = prepare()

        def decide(result: xr.Dataset, crop: Crop = crop, name: str = name) -> Judgement:
            if name.startswith("71 GPa"):
                results.append((crop, result))
            return judge_crop(result, crop)

        found = judged(crop.unmix, decide)
        report.add(Case(name, "hints", 0, found), time.process_time() - begin)
    if not results:
        print(f"no real maps in {data_folder()} (or all crashed): their part is left out")
        return True
    chi2 = chi2_of_parts(results)
    texts = ", ".join(f"{phase} {value:.2f}" for phase, value in chi2.items())
    print(
        f"71 GPa, χ² of {len(results)} parts against their mean, per degree of freedom (at most 2): {texts}"
    )
    whole = next((pair for pair in results if pair[0].name == "whole"), None)
    if whole is not None:
        (left, error), (right, other) = halves_without_unmixing(*whole)
        print(
            f"Mg K over Fe K of Fp by windows, no unmixing: left half {left:.2f} ± {error:.2f}, right half "
            f"{right:.2f} ± {other:.2f}. The sample itself differs by as much, which no error of Fp holds"
        )
    return max(chi2.values()) <= MOST_CHI2


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", nargs="+", choices=[*BY_NAME, REAL], default=[*BY_NAME, REAL])
    parser.add_argument("--manners", nargs="+", choices=MANNERS, default=list(MANNERS))
    parser.add_argument(
        "--espm-python",
        metavar="PATH",
        help="python of an environment with espm, which computes the spectra of half of the samples: "
        f"{peers.ESPM_ENVIRONMENT}; PATH is then ENV/bin/python",
    )
    parser.add_argument(
        "--findings", type=Path, metavar="FILE", help="to which what is silent or crashes is added"
    )
    parser.add_argument("--tiny", action="store_true", help="a few small samples, no limits")
    return parser.parse_args()


def wanted(given: argparse.Namespace) -> Iterator[tuple[Sample, list[int], list[str]]]:
    """Samples, seeds and manners that were asked for."""
    if given.tiny:
        for name in TINY_SAMPLES:
            yield replace(BY_NAME[name], side=TINY_SIDE), [0], list(TINY_MANNERS)
        return
    for name in given.only:
        if name != REAL:
            yield BY_NAME[name], given.seeds, given.manners


def main() -> int:
    """Run what was asked for."""
    given = arguments()
    logging.disable(logging.WARNING)  # of results; they are counted instead
    warnings.simplefilter("ignore")
    report = Report(given.findings)
    if given.espm_python is None or given.tiny:
        print(
            "without espm: all spectra are our simulator's" + ("" if given.tiny else " (see --espm-python)")
        )
    for sample, seeds, manners in wanted(given):
        run_sample(sample, seeds, manners, None if given.tiny else given.espm_python, report)
    agree = True
    if given.tiny:
        print("--tiny: real maps are left out")
    elif REAL in given.only:
        agree = run_real(report)
    report.table()
    good = report.last_line()
    return 0 if given.tiny or (good and agree) else 1


if __name__ == "__main__":
    sys.exit(main())
