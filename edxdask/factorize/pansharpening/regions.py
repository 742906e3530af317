"""Sum spectra of regions of similar bins: what a small phase holds may not show in the sum of all pixels.

Silicon beside much tungsten is one example: their peaks are one in the sum, and two where either is alone.
"""

from __future__ import annotations

import numpy as np

from edxdask.engine.driver import Loop, StopRule
from edxdask.engine.partition import Partition
from edxdask.engine.problem import Problem
from edxdask.engine.step import State
from edxdask.factorize.iteration.rounds import factorize
from edxdask.factorize.iteration.starts import nndsvd
from edxdask.factorize.iteration.sweep_step import ABUNDANCE
from edxdask.factorize.pansharpening.binned_fit import FILL, SINGLE, bin_bytes, spectra_model
from edxdask.photons import grouped_spectra

REGIONS = 5  # at most; each is where one of so many rough phases has most of the photons
USUAL_BIN, LEAST_BINS = 4, 6  # pixels; bins along the shorter side
ROUGH = StopRule(max_iter=60, tol=1e-4)
MOST_OF_BIN = 0.5
FEWEST_PHOTONS = 2e3  # in a region that says something


def spectra_of_regions(problem: Problem, bin: int | None) -> np.ndarray:
    """Sum the counts of bins that are alike, (regions, E); ``bin`` is the user's factor, if any."""
    stack = problem.maps[0].stack
    short = min(stack.width, stack.rows if stack.rows > 1 else stack.width)
    factor = max(bin or 1, min(USUAL_BIN, short // LEAST_BINS), 1)
    with problem.derived(factor=factor, per_pixel=bin_bytes(REGIONS)) as binned:
        number = min(REGIONS, binned.pixels, binned.channels)
        model = spectra_model(problem)
        mean = binned.photons / (binned.pixels * binned.channels)
        first = nndsvd(binned, number, FILL * mean, SINGLE).with_unit_spectra()
        loop = Loop(binned.executor, "regions", ROUGH, None, None)
        fit = factorize(first.abundance, model, model.start(first.spectra), loop, dtype=SINGLE)
        sums = np.sum(list(fit.abundance.collect(_summed_by_largest)), axis=0)
    return np.asarray(sums[sums.sum(axis=1) > FEWEST_PHOTONS])


def _summed_by_largest(partition: Partition, state: State) -> np.ndarray:
    """Sum the counts of pixels where a phase has most of the photons, (k, E)."""
    abundance = state[ABUNDANCE]
    phases = abundance.shape[1]
    clear = abundance.max(axis=1) > MOST_OF_BIN * abundance.sum(axis=1)
    owner = np.where(clear, abundance.argmax(axis=1), phases)
    counts = np.zeros((phases + 1, next(partition.blocks())[1].channels), np.int64)
    for where, block in partition.blocks():
        grouped_spectra(block, owner[where], counts)
    return counts[:phases]
