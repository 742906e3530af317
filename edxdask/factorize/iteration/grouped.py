"""Rounds on sums of pixels, which are few enough for the memory of one process."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from edxdask.factorize.iteration.sweep_step import SOFT_COUNTS
from edxdask.factorize.spectra.model import SpectraModel
from edxdask.photons import for_sweeps, from_dense, kl_sweep

ITERATIONS = 200
LEAST_FRACTION, LEAST_EXPECTED = 1e-9, 1e-12  # of a group that a phase starts with; counts
TINY = np.finfo(np.float64).tiny
LEAST_PHOTONS = 1e-3  # of a phase


@dataclass(frozen=True, eq=False)
class Groups:
    """Sums of pixels of similar fractions.

    Attributes
    ----------
    counts : (groups, E)
    abundance : (groups, k) in counts, as the maps have them
    pixels : (groups,) in each sum
    """

    counts: np.ndarray
    abundance: np.ndarray
    pixels: np.ndarray


def most_likely_abundance(groups: Groups, spectra: np.ndarray, rounds: int) -> np.ndarray:
    """Fit the abundances of groups, (groups, k), to spectra (k, E) that stay as they are."""
    counts = groups.counts.astype(np.float64)
    total = counts.sum(axis=1, keepdims=True)
    abundance = groups.abundance * (total / np.maximum(groups.abundance.sum(axis=1, keepdims=True), TINY))
    abundance = np.maximum(abundance, LEAST_FRACTION * total)
    for _ in range(rounds):
        abundance = abundance * ((counts / np.maximum(abundance @ spectra, LEAST_EXPECTED)) @ spectra.T)
    return abundance


def fit_groups(
    model: SpectraModel, weights: np.ndarray, groups: Groups, *, sparsity: float, rounds: int = ITERATIONS
) -> tuple[np.ndarray, np.ndarray]:
    """Continue the rounds of ``rounds.factorize`` on groups; weights and abundances (groups, k).

    Parameters
    ----------
    model, weights : of the spectra to start from
    sparsity : as there, in counts
    rounds : how many
    """
    total = groups.counts.sum(axis=1, keepdims=True)
    abundance = groups.abundance * (total / np.maximum(groups.abundance.sum(axis=1, keepdims=True), TINY))
    sums = from_dense(groups.counts)
    # of one type for any size: the kernel compiles once
    block = for_sweeps(replace(sums, count=sums.count.astype(np.uint32)))
    for _ in range(rounds):
        abundance /= 1 + sparsity / (abundance + SOFT_COUNTS)
        spectra = np.ascontiguousarray(model.spectra(weights))
        sweep = kl_sweep(block, abundance, spectra, log_term=False)
        statistics = {"numerator": sweep.numerator, "column_sums": sweep.column_sums}
        # a phase that has lost its photons keeps its spectrum, and is named as none at the end
        there = abundance.sum(axis=0) > LEAST_PHOTONS
        weights = np.where(there[:, None], model.update(weights, statistics), weights)
    return weights, abundance
