"""Spectra and abundances from binned photons, and what maps of all pixels take from them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import nnls

from edxdask.engine.checkpoint import Checkpoint
from edxdask.engine.derive import bin_sizes
from edxdask.engine.driver import Loop, StopRule
from edxdask.engine.layout import ImageStack, TilePlan
from edxdask.engine.maps import sharpest_width
from edxdask.engine.partition import Partition, summed_spectrum
from edxdask.engine.problem import Problem
from edxdask.engine.states import PixelStates
from edxdask.engine.step import State
from edxdask.errors import EdxdaskError
from edxdask.factorize.iteration.gather import gather_abundance
from edxdask.factorize.iteration.phases import Phases
from edxdask.factorize.iteration.rounds import factorize
from edxdask.factorize.iteration.simplest import as_good, is_simpler, purity_of
from edxdask.factorize.iteration.starts import GivenState, nndsvd
from edxdask.factorize.iteration.sweep_step import ABUNDANCE
from edxdask.factorize.pansharpening.matrix_start import from_matrix
from edxdask.factorize.priors.smooth_maps import FRACTION
from edxdask.factorize.spectra.model import StartingModel
from edxdask.factorize.spectra.resolved import ResolvedSpectra
from edxdask.photons import pixel_totals
from edxdask.progress import ProgressHook

logger = logging.getLogger(__name__)

SINGLE = np.dtype(np.float32)
# Zeros of NNDSVD are filled with this fraction of the mean. Filled with all of it, the fit of a matrix with
# precipitates that never occur pure ends far from the truth (Fp off by 12 to 20 deg on bins of 12).
FILL = 1e-4


def bin_bytes(phases: int) -> int:
    """Bytes of state per bin of a fit: abundances, those before, and gathered ones of two starts."""
    return 6 * phases * SINGLE.itemsize


@dataclass(frozen=True, eq=False)
class BinnedFit:
    """What a fit of bins found; the maps of all pixels start from it.

    Attributes
    ----------
    factor : pixels per bin, along rows and columns
    stacks : geometry of the binned maps
    found : spectra that sum to 1, and abundances in counts of every bin, ``(bins of all maps, k)``
    """

    factor: int
    stacks: tuple[ImageStack, ...]
    found: Phases

    def yields(self, maps: Sequence[ImageStack]) -> np.ndarray:
        """Find the counts g of a pixel of one phase, if all pixels are equally thick: Σ_k A_k / g_k = 1.

        Least squares over the bins, each by its own counting error. ``maps`` is the geometry of all pixels.
        """
        pixels = np.concatenate([bin_sizes(whole, self.factor) for whole in maps])
        mean = self.found.abundance.astype(np.float64) / pixels[:, None]
        total = mean.sum(axis=1)
        weight = np.sqrt(np.maximum(total * pixels, 1.0)) / np.maximum(total.mean(), 1e-30)
        inverse, _ = nnls(mean * weight[:, None], weight * np.ones(len(mean)))
        if not (inverse > 0).all():
            raise EdxdaskError(
                "closure='thickness': the data give a phase no yield, so its thickness cannot be uniform; "
                "use closure='counts'"
            )
        return 1.0 / inverse

    def upsampled(self) -> Upsampled:
        """Make the states that maps of all pixels start from."""
        return Upsampled(fractions_of(self.found.abundance), self.stacks, self.factor)


def fractions_of(abundance: np.ndarray) -> np.ndarray:
    """Rows of abundances that sum to 1; equal fractions where a row is empty.

    Examples
    --------
    >>> fractions_of(np.array([[1.0, 3.0], [0.0, 0.0]])).tolist()
    [[0.25, 0.75], [0.5, 0.5]]
    """
    total = abundance.sum(axis=1, keepdims=True, dtype=np.float64)
    equal = np.full(abundance.shape, 1.0 / abundance.shape[1])
    return np.divide(abundance, total, out=equal, where=total > 0).astype(SINGLE)


def spectra_model(problem: Problem) -> ResolvedSpectra:
    """Model of the spectra from the sum of all photons and the detector's width."""
    counts = np.sum(list(problem.executor.collect(summed_spectrum)), axis=0)
    return ResolvedSpectra.of(
        counts,
        problem.energy.values.astype(np.float64),
        sharpest_width(problem.maps),
        first=problem.floor.first,
    )


def fit_bins(
    binned: Problem,
    factor: int,
    phases: int,
    model: StartingModel,
    *,
    rule: StopRule,
    progress: ProgressHook | None = None,
    checkpoint: Checkpoint | None = None,
) -> BinnedFit:
    """Factorize binned photons from the sparse start."""
    mean = binned.photons / (binned.pixels * binned.channels)
    first = nndsvd(binned, phases, FILL * mean, SINGLE).with_unit_spectra()
    loop = Loop(binned.executor, f"spectra from bins of {factor}", rule, progress, checkpoint)
    found = _fitted(first.abundance, model, first.spectra, loop)
    return BinnedFit(factor, tuple(view.stack for view in binned.maps), found)


def fit_bins_from_matrix(
    binned: Problem,
    first: Phases,
    model: StartingModel,
    *,
    rule: StopRule,
    progress: ProgressHook | None = None,
    checkpoint: Checkpoint | None = None,
) -> Phases | None:
    """Factorize once more, from the commonest composition outwards; None where there is no such start."""
    start = from_matrix(first, model)
    if start is None:
        return None
    loop = Loop(binned.executor, "spectra once more, from another start", rule, progress, checkpoint)
    state = PixelStates.made(binned, GivenState(np.ascontiguousarray(start.abundance)))
    return _fitted(state, model, start.spectra, loop)


def simpler_of(first: Phases, second: Phases | None, photons: int) -> Phases:
    """Take the second fit where it is better, or as good and much purer."""
    if second is None:
        return first
    scores = -first.objectives[-1] / photons, -second.objectives[-1] / photons
    purities = purity_of(first.abundance), purity_of(second.abundance)
    logger.info("from the matrix: %.6f against %.6f per photon, purity %.3f, %.3f", *scores, *purities)
    fits, chosen = (first, second), int(is_simpler(scores, purities))
    others = [fits[at].spectra for at in np.flatnonzero(as_good(np.array(scores), chosen))]
    return replace(fits[chosen], others=np.stack(others) if others else None)


def _fitted(start: PixelStates, model: StartingModel, spectra: np.ndarray, loop: Loop) -> Phases:
    fit = factorize(start, model, model.start(spectra), loop, dtype=SINGLE)
    return Phases(fit.spectra, gather_abundance(fit.abundance), fit.objectives)


@dataclass(frozen=True)
class Upsampled:
    """State of maps of all pixels: each has its own counts, divided among the phases as its bin's were.

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
        fraction = np.concatenate([self._tile(tile.plan) for tile in partition.tiles])
        abundance = fraction.copy()
        for where, block in partition.blocks():
            abundance[where] *= pixel_totals(block)[:, None].astype(SINGLE)
        return {ABUNDANCE: abundance, FRACTION: fraction}

    def _tile(self, plan: TilePlan) -> np.ndarray:
        stack = self.stacks[plan.map_index]
        rows = (plan.first_row + np.arange(plan.rows)) // self.factor
        columns = np.arange(plan.width) // self.factor
        first = stack.first_pixel + plan.image * stack.rows * stack.width
        bins = first + rows[:, None] * stack.width + columns[None, :]
        return self.fractions[bins.ravel()]
