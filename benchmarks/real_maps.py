"""The NMF-aided workflow on a real map: traces, the map cut in four as if it were neighbours, kinds of masks.

71GPa_left.hspy (../shared/data or EDXDASK_TEST_DATA) is unmixed whole (``psnmf``, ``aided``, ``traces``), and
again as a collection of its four quarters, which must say the same within the errors: nothing of the first
is given to the second. Ratios of the major elements of bridgmanite and ferropericlase are compared with the
published ones; Ca-perovskite, of which no pixel is pure, is to be the same within its errors whatever the
masks are made by. At last ``aided`` and ``traces`` of crops and thinned copies, which have to go through.

    python benchmarks/real_maps.py [--tiny]

The exit code is 1 where a target is missed; 0, with a message, where the file is absent. --tiny checks only
that all runs, on a part of the map.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time

import numpy as np
import xarray as xr
from real import published, quantity
from real_crops import crops
from verdict import Verdict, load_average

import edxdask
from edxdask import schema

ELEMENTS = ["Mg", "Si", "Al", "Ca", "Fe", "Nd", "Sm", "U"]
PHASES, MATRIX = ["Brg", "Fp", "CaPv"], "Brg"
ABSENT = {"Fp": ["Si"], "CaPv": ["Mg"]}
TRACES = ["Nd", "Sm", "U"]
RATIOS = (("Brg", "Mg/Si"), ("Fp", "Mg/Fe"))
MOST_OFF = 0.10  # of the published ratios
MASKS = ("potts", "threshold", "otsu", "kmeans", "grabcut")
MOST_SIGMA = 2.0  # between estimates from the same photons
WHOLE = "71 GPa whole"
Data = xr.Dataset | xr.DataTree


def unmixed(data: Data) -> tuple[Data, xr.Dataset, Data]:
    """Results of ``psnmf``, of ``traces`` for the matrix, and of ``aided``, of a map or a collection."""
    known = {"elements": ELEMENTS, "absent": ABSENT, "progress": False}
    result = edxdask.psnmf(data, phases=PHASES, **known)
    un = edxdask.aided(data, matrix=MATRIX, absent=ABSENT, result=result, progress=False)
    return result, traces_of(data, un), un


def traces_of(data: Data, un: Data) -> xr.Dataset:
    """Find the traces of the matrix."""
    return edxdask.traces(data, result=un, phase=MATRIX, elements=TRACES, absent=ABSENT, progress=False)


def quarters(cube: xr.Dataset) -> xr.DataTree:
    """Cut a map in four."""
    rows, columns = (np.array_split(np.arange(cube.sizes[d]), 2) for d in (schema.Y, schema.X))
    parts = {
        f"{v}{h}": (y, x) for v, y in zip("ab", rows, strict=True) for h, x in zip("12", columns, strict=True)
    }
    return xr.DataTree.from_dict({name: cube.isel(y=y, x=x) for name, (y, x) in parts.items()})


def table_of(found: xr.Dataset) -> None:
    """Print traces beside the published ones."""
    for name in found[schema.MAP].values:
        row = found.sel({schema.MAP: name})
        texts = [
            f"{e} {float(row[schema.ATOMIC_PPM].sel(element=e)):.0f} ± "
            f"{float(row[schema.ATOMIC_PPM + schema.STD_SUFFIX].sel(element=e)):.0f}"
            for e in TRACES
        ]
        print(f"    {name:10s} {int(row[schema.TRACE_PIXELS]):6d} px: {', '.join(texts)}", flush=True)


def compared(ours: xr.Dataset, other: xr.Dataset) -> float:
    """Give the largest difference of the traces of all maps, in errors of both."""
    value, error = schema.ATOMIC_PPM, schema.ATOMIC_PPM + schema.STD_SUFFIX
    last = [one.isel({schema.MAP: -1}) for one in (ours, other)]
    apart = np.abs(last[0][value].values - last[1][value].values)
    return float((apart / np.hypot(last[0][error].values, last[1][error].values)).max())


def ratios(un: xr.Dataset, name: str, verdict: Verdict) -> None:
    """Compare ratios of major elements, of both estimates, with the published ones."""
    for phase, what in RATIOS:
        one, two = what.split("/")
        for variable in (schema.COMPOSITION, schema.COMPOSITION_SUBTRACTED):
            at = un[variable].sel(phase=phase)
            value, theirs = float(at.sel(element=one) / at.sel(element=two)), published(phase, what)
            verdict.at_most(
                f"{name}, {phase} {what} by {variable} {value:.2f}, published {theirs:.2f}, off by",
                abs(value / theirs - 1),
                MOST_OFF,
                ".2f",
            )


def kinds_of_masks(cube: xr.Dataset, result: xr.Dataset, verdict: Verdict) -> None:
    """Compare Ca-perovskite by all kinds of masks."""
    found = []
    for method in MASKS:
        how = {"matrix": MATRIX, "absent": ABSENT, "result": result, "masks": method, "progress": False}
        un = edxdask.aided(cube, **how)
        part = un.sel(phase="CaPv")
        texts = [f"{e} {quantity(part, e)}" for e in ("Si", "Ca", "Al", "Nd", "Sm", "U")]
        print(f"    {method:10s} {int(part[schema.MASK].sum()):5d} px: {', '.join(texts)}", flush=True)
        found.append(part)
    values, errors = (
        np.array([one[name].values for one in found])
        for name in (schema.COMPOSITION, schema.COMPOSITION + schema.STD_SUFFIX)
    )
    apart = np.abs(values[:, None] - values[None])
    both = np.maximum(np.hypot(errors[:, None], errors[None]), 1e-12)
    verdict.at_most(
        "CaPv, two kinds of masks, largest difference in their errors",
        float((apart / both).max()),
        MOST_SIGMA,
    )


def go_through(verdict: Verdict) -> None:
    """Unmix all crops."""
    for name, make in crops():
        if not name.startswith("71") or name == WHOLE:
            continue
        found = unmixed(make().cube)[1]
        print(f"  {name}:")
        table_of(found.isel({schema.MAP: slice(-1, None)}))
    verdict.holds("all crops and thinned copies go through", True)


def main() -> int:
    """Run everything."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tiny", action="store_true", help="part of the map, no crops, no targets")
    tiny = parser.parse_args().tiny
    logging.getLogger("edxdask").setLevel(logging.ERROR)
    made = dict(crops())
    if not made:
        print("71GPa_left.hspy is not there: nothing to do (set EDXDASK_TEST_DATA)")
        return 0
    verdict, cube = Verdict(limits=not tiny), made[WHOLE]().cube
    if tiny:
        cube = cube.isel(y=slice(0, 100))
    print(f"71GPa_left.hspy, {cube.sizes['y']} × {cube.sizes['x']} pixels; {load_average()}")
    texts = ", ".join(f"{e} {1e4 * published(MATRIX, e):.0f}" for e in TRACES)
    print(f"traces of {MATRIX}, ppm of cations; published, of other maps of the sample: {texts}")
    begun = time.perf_counter()
    result, whole, un = unmixed(cube)
    print(f"  whole, {time.perf_counter() - begun:.0f} s:")
    table_of(whole.isel({schema.MAP: slice(-1, None)}))
    for text in whole.attrs.get(schema.WARNINGS, ()):
        if "not listed" not in text:
            print(f"    said: {text}")
    ratios(un, "whole", verdict)
    data = quarters(cube)
    begun = time.perf_counter()
    _, parts, together = unmixed(data)
    print(f"  four quarters, {time.perf_counter() - begun:.0f} s:")
    table_of(parts)
    verdict.at_most(
        "quarters together against the whole, largest difference in errors", compared(whole, parts), 1.0
    )
    ratios(together.to_dataset(), "quarters", verdict)
    print("  CaPv by kinds of masks, at.% of cations:")
    kinds_of_masks(cube, result, verdict)
    if not tiny:
        go_through(verdict)
    return verdict.exit_code()


if __name__ == "__main__":
    sys.exit(main())
