"""Work on binned photons: the first half of pan-sharpening, and the first rounds of `nmf`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.optimize import nnls

from edxdask import schema
from edxdask.engine.checkpoint import Checkpoint
from edxdask.engine.driver import Loop, StopRule
from edxdask.engine.layout import ImageStack, TilePlan
from edxdask.engine.partition import Partition
from edxdask.engine.problem import Problem
from edxdask.engine.step import State
from edxdask.errors import EdxdaskError
from edxdask.factorize.iteration.gather import gather_abundance
from edxdask.factorize.iteration.rounds import FAR_MOMENTUM, FreeSpectra, SpectraModel, factorize
from edxdask.factorize.iteration.starts import GivenState, nndsvd
from edxdask.factorize.iteration.sweep_step import ABUNDANCE
from edxdask.factorize.spectra.resolved import ResolvedSpectra
from edxdask.photons import pixel_totals, sum_spectrum
from edxdask.progress import ProgressHook

SINGLE = np.dtype(np.float32)
# Zeros of NNDSVD are filled with this share of the mean. Filled with all of it, the fit of a matrix with
# precipitates that never occur pure ends far from the truth (Fp off by 12 to 20 deg on bins of 12).
FILL = 1e-4
# Bins of the first rounds of `nmf`: as large as leaves so many of them. From three random starts on a mantle
# map (256 × 256 pixels, 120 counts) 3 or 4 rounds after these reached what took 61 to 87 without.
FIRST_BINS, FEWEST_BINS = (16, 8, 4, 2), 256
FIRST_ROUNDS, FIRST_TOLERANCE = 80, 1e-6


class BinnedModel(SpectraModel, Protocol):
    """What spectra of bins are made of, where the fit begins with spectra of any shape."""

    def start(self, spectra: np.ndarray) -> np.ndarray:
        """Weights that make roughly these spectra."""
        ...


@dataclass(frozen=True)
class BinnedFit:
    """Spectra (k, E) that sum to 1, and abundances in counts of every bin, ``(bins of all maps, k)``."""

    factor: int
    spectra: np.ndarray
    abundance: np.ndarray
    stacks: tuple[ImageStack, ...]
    objectives: np.ndarray

    def yields(self, full: Sequence[ImageStack]) -> np.ndarray:
        """Find the counts g of a pixel that is all one phase where all are as thick: Σ_k A_k / g_k = 1.

        Least squares over the bins, each by its own counting error.
        """
        pixels = np.concatenate([bin_sizes(whole, self.factor) for whole in full])
        mean = self.abundance.astype(np.float64) / pixels[:, None]
        total = mean.sum(axis=1)
        weight = np.sqrt(np.maximum(total * pixels, 1.0)) / np.maximum(total.mean(), 1e-30)
        inverse, _ = nnls(mean * weight[:, None], weight * np.ones(len(mean)))
        if not (inverse > 0).all():
            raise EdxdaskError(
                "closure='thickness': the data give a phase no yield, so its thickness cannot be uniform; "
                "take closure='counts'"
            )
        return 1.0 / inverse

    @property
    def fractions(self) -> np.ndarray:
        """Fractions of every bin."""
        return fractions_of(self.abundance)


def bin_sizes(whole: ImageStack, factor: int) -> np.ndarray:
    """Pixels of every bin of a map, in order; bins at the far edges hold fewer.

    Examples
    --------
    >>> bin_sizes(ImageStack(1, 3, 5, 0, ()), 2).tolist()
    [4, 4, 2, 2, 2, 1]
    """
    rows, columns = (
        np.diff(np.append(np.arange(0, length, factor), length)) for length in (whole.rows, whole.width)
    )
    return np.tile(np.outer(rows, columns).ravel(), whole.images)


def fractions_of(abundance: np.ndarray) -> np.ndarray:
    """Rows of abundances that sum to 1; equal shares where a row is empty.

    Examples
    --------
    >>> fractions_of(np.array([[1.0, 3.0], [0.0, 0.0]])).tolist()
    [[0.25, 0.75], [0.5, 0.5]]
    """
    total = abundance.sum(axis=1, keepdims=True, dtype=np.float64)
    equal = np.full(abundance.shape, 1.0 / abundance.shape[1])
    return np.divide(abundance, total, out=equal, where=total > 0).astype(SINGLE)


def summed_spectrum(partition: Partition, state: State) -> np.ndarray:
    """Sum the counts of a partition over its pixels."""
    total = np.zeros(next(partition.blocks())[1].channels)
    for _, block in partition.blocks():
        total += sum_spectrum(block)
    return total


def spectra_model(problem: Problem) -> ResolvedSpectra:
    """Model of the spectra from the sum of all photons and the detector's width."""
    counts = np.sum(list(problem.executor.collect(summed_spectrum)), axis=0)
    return ResolvedSpectra.of(
        counts, problem.energy.values.astype(np.float64), problem.maps[0].cube.attrs.get(schema.FWHM)
    )


def fit_bins(
    binned: Problem,
    factor: int,
    phases: int,
    model: BinnedModel,
    *,
    rule: StopRule,
    progress: ProgressHook | None = None,
    checkpoint: Checkpoint | None = None,
) -> BinnedFit:
    """Factorize binned photons from the sparse start."""
    mean = binned.photons / (binned.pixels * binned.channels)
    start = nndsvd(binned.executor, binned.channels, phases, FILL * mean, SINGLE)
    binned.executor.change(UnitSpectra(start.sum(axis=1)))
    loop = Loop(binned.executor, f"spectra from bins of {factor}", rule, progress, checkpoint)
    spectra, objectives = factorize(binned, model, model.start(start), loop, dtype=SINGLE)
    stacks = tuple(view.stack for view in binned.maps)
    return BinnedFit(factor, spectra, gather_abundance(binned), stacks, objectives)


@dataclass(frozen=True)
class UnitSpectra:
    """Move the scale of the spectra to the abundances."""

    sums: np.ndarray

    def __call__(self, partition: Partition, state: State) -> State:
        """Scale one partition's abundances."""
        return {**state, ABUNDANCE: state[ABUNDANCE] * self.sums.astype(SINGLE)}


@dataclass(frozen=True)
class Upsampled:
    """State of full-size partitions: each pixel has its own counts, shared out as its bin's were.

    Attributes
    ----------
    fractions : (bins of all maps, k)
    stacks : geometry of the binned maps
    """

    fractions: np.ndarray
    stacks: Sequence[ImageStack]
    factor: int

    def __call__(self, partition: Partition) -> State:
        """Make one partition's state."""
        abundance = np.concatenate([self._tile(tile.plan) for tile in partition.tiles])
        for where, block in partition.blocks():
            abundance[where] *= pixel_totals(block)[:, None].astype(SINGLE)
        return {ABUNDANCE: abundance}

    def _tile(self, plan: TilePlan) -> np.ndarray:
        stack = self.stacks[plan.map_index]
        rows = (plan.first_row + np.arange(plan.rows)) // self.factor
        columns = np.arange(plan.width) // self.factor
        first = stack.first_pixel + plan.image * stack.rows * stack.width
        bins = first + rows[:, None] * stack.width + columns[None, :]
        return self.fractions[bins.ravel()]


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
    problem: Problem,
    spectra: np.ndarray,
    model: FreeSpectra,
    factor: int,
    rounds: int,
    progress: ProgressHook | None = None,
) -> np.ndarray:
    """Spectra after some rounds on bins, from the abundances that stand summed over these, which are left.

    A round on bins costs a twentieth of one on all pixels, and the spectra of both go the same way. Given
    good spectra, few rounds make good abundances of any.
    """
    binned = problem.derive(factor=factor)
    try:
        stacks = tuple(view.stack for view in binned.maps)
        total = np.zeros((binned.pixels, len(spectra)))
        for pieces in problem.executor.collect(binned_abundance, stacks, factor):
            for first, sums in pieces:
                total[first : first + len(sums)] += sums
        binned.executor.start(GivenState(total.astype(spectra.dtype)))
        rule = StopRule(min(rounds, FIRST_ROUNDS), FIRST_TOLERANCE)
        loop = Loop(binned.executor, f"spectra from bins of {factor}", rule, progress)
        return factorize(binned, model, spectra, loop, most_momentum=FAR_MOMENTUM)[0]
    finally:
        binned.executor.close()


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
