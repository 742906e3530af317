"""The first rounds of `nmf`, on binned photons: they cost little, and bring the spectra close."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edxdask.engine.derive import bin_sizes
from edxdask.engine.driver import Loop, StopRule
from edxdask.engine.layout import ImageStack
from edxdask.engine.partition import Partition
from edxdask.engine.states import PixelStates
from edxdask.engine.step import State
from edxdask.factorize.iteration.rounds import FAR_MOMENTUM, factorize
from edxdask.factorize.iteration.starts import FirstFactors, GivenState
from edxdask.factorize.iteration.sweep_step import ABUNDANCE
from edxdask.factorize.spectra.free import FreeSpectra
from edxdask.progress import ProgressHook

# The largest bin that leaves this many of them. From three random starts on a mantle map (256 × 256 pixels,
# 120 counts) 3 or 4 rounds after these reached what took 61 to 87 without.
FIRST_BINS, FEWEST_BINS = (16, 8, 4, 2), 256
FIRST_ROUNDS, FIRST_TOLERANCE = 80, 1e-6


def first_bin(stacks: Sequence[ImageStack]) -> int | None:
    """Bin of the first rounds of `nmf`; None where maps are too small for any.

    Examples
    --------
    >>> first_bin([ImageStack(1, 512, 512, 0, ())]), first_bin([ImageStack(1, 20, 20, 0, ())])
    (16, None)
    """
    for factor in FIRST_BINS:
        if sum(len(bin_sizes(stack, factor)) for stack in stacks) >= FEWEST_BINS:
            return factor
    return None


def first_spectra(
    first: FirstFactors,
    model: FreeSpectra,
    factor: int,
    rounds: int,
    progress: ProgressHook | None = None,
) -> np.ndarray:
    """Spectra after some rounds on bins, from the first abundances summed over these, which stay as they are.

    A round on bins costs a twentieth of one on all pixels, and the spectra of both develop in the same
    direction. With good spectra, few rounds turn any abundances into good ones.
    """
    spectra, problem = first.spectra, first.abundance.problem
    with problem.derived(factor=factor, per_pixel=4 * spectra.itemsize * len(spectra)) as binned:
        stacks = tuple(view.stack for view in binned.maps)
        total = np.zeros((binned.pixels, len(spectra)))
        for pieces in first.abundance.collect(binned_abundance, stacks, factor):
            for at, sums in pieces:
                total[at : at + len(sums)] += sums
        start = PixelStates.made(binned, GivenState(total.astype(spectra.dtype)))
        rule = StopRule(min(rounds, FIRST_ROUNDS), FIRST_TOLERANCE)
        loop = Loop(binned.executor, f"spectra from bins of {factor}", rule, progress)
        return factorize(start, model, spectra, loop, most_momentum=FAR_MOMENTUM).spectra


def binned_abundance(
    partition: Partition, state: State, stacks: Sequence[ImageStack], factor: int
) -> list[tuple[int, np.ndarray]]:
    """Abundances summed over bins, tile by tile: (number of the first bin, sums of it and those after it)."""
    found = []
    for tile in partition.tiles:
        plan, stack = tile.plan, stacks[tile.plan.map_index]
        image = state[ABUNDANCE][tile.pixels].reshape(plan.rows, plan.width, -1)
        rows = np.flatnonzero((plan.first_row + np.arange(plan.rows)) % factor == 0)
        rows = np.union1d(rows, [0])
        sums = np.add.reduceat(image, rows, axis=0, dtype=np.float64)
        sums = np.add.reduceat(sums, np.arange(0, plan.width, factor), axis=1)
        top = plan.image * stack.rows + plan.first_row // factor
        found.append((stack.first_pixel + top * stack.width, sums.reshape(-1, sums.shape[-1])))
    return found
