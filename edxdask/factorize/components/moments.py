"""Moments of the scaled photons, in memory or as passes over the photons, and their leading eigenvectors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import scipy.linalg

from edxdask.engine.executor import Executor
from edxdask.engine.partition import Partition
from edxdask.engine.problem import Problem
from edxdask.engine.step import Halo, State, Stats
from edxdask.factorize.components.eigenvectors import WIDTH, leading_eigenvectors
from edxdask.factorize.iteration.pieces import dense_pieces, photon_pieces
from edxdask.factorize.iteration.sweep_step import ABUNDANCE as SCORES
from edxdask.factorize.kernels.weighted_moments import add_weighted_pairs, add_weighted_squares
from edxdask.photons import Block, back_project, pixel_totals, project, sum_spectrum
from edxdask.progress import Progress, ProgressHook

Moments = Literal["gram", "passes"]

DENSE_FILL = 0.15  # above this fill a dense product beats a walk over pairs
# Channels beyond which YᵀY leaves the processor's cache: a pair of nonzeros takes 1.4 ns at 2048 channels,
# 6.6 ns at 4096 (one core).
MOST_EXACT = 2048


@dataclass(frozen=True)
class Scaling:
    """Whether counts are weighted for Poisson noise, and whether their mean is subtracted."""

    weighted: bool
    center: bool


class Passes:
    """Counts the passes over the photons for progress; their total is known only at the end."""

    def __init__(self, progress: ProgressHook | None) -> None:
        self.progress = progress
        self.done = 0

    def report(self, *, last: bool = False) -> None:
        """Report one more pass."""
        self.done += 1
        if self.progress:
            self.progress(Progress("pca", self.done, self.done if last else None, "pass"))


@dataclass(frozen=True)
class Components:
    """Leading components, and what turns counts into scores and back.

    Attributes
    ----------
    basis : (E, k), counts · basis are scores
    loading : (k, E), scores · loading are counts
    offset : (k,) scores of the centre, per √total of a pixel (Poisson) or per pixel
    center : (E,) the centre in counts, likewise; None where nothing was subtracted
    values, total : explained variances, and the variance of everything
    """

    basis: np.ndarray
    loading: np.ndarray
    offset: np.ndarray
    center: np.ndarray | None
    values: np.ndarray
    total: float


def find_components(
    problem: Problem, method: Moments, scaling: Scaling, *, rank: int, count: int, passes: Passes
) -> Components:
    """Eigenvectors of the scaled moments."""
    executor, n, weighted, center = problem.executor, problem.pixels, scaling.weighted, scaling.center
    executor.start(no_state)
    stats = executor.advance(MomentsStep(weighted, gram=method == "gram"), None)
    passes.report()
    scale = _channel_scale(stats["spectrum"], weighted)
    scale[: problem.floor.first] = 0  # the zero peak would be a component
    mean = scale * stats["rooted"] / n
    product: Callable[[np.ndarray], np.ndarray]
    if method == "gram":
        product = InMemory(_symmetric(stats["gram"]) * scale * scale[:, None])
    else:
        product = OverPhotons(executor, weighted, scale, passes)
    taken = mean if center else np.zeros_like(mean)

    def apply(vectors: np.ndarray) -> np.ndarray:
        return product(vectors) - n * np.outer(taken, taken @ vectors)

    if isinstance(product, InMemory) and scale.size <= MOST_EXACT:
        values, vectors = product.eigenvectors(n * np.outer(taken, taken), rank, count)
    else:
        values, vectors = leading_eigenvectors(apply, scale.size, rank, count)
    vectors = vectors * np.where(vectors[np.abs(vectors).argmax(axis=0), np.arange(rank)] < 0, -1.0, 1.0)
    undo = np.divide(1.0, scale, out=np.zeros_like(scale), where=scale > 0)
    total = float(scale**2 @ stats["squares"] - n * taken @ taken)
    return Components(
        scale[:, None] * vectors,
        (undo[:, None] * vectors).T,
        taken @ vectors,
        undo * mean if center else None,
        values / n,
        total / n,
    )


def no_state(partition: Partition) -> State:
    """No state beside the photons."""
    return {}


def _channel_scale(spectrum: np.ndarray, weighted: bool) -> np.ndarray:
    """√(T / T_e): with 1/√N_i of each pixel, the weights 1/√(N_i T_e / T); 0 for channels without photons."""
    if not weighted:
        return np.ones(spectrum.size)
    wide = spectrum.astype(np.float64)
    return np.sqrt(np.divide(wide.sum(), wide, out=np.zeros_like(wide), where=wide > 0))


def _symmetric(upper: np.ndarray) -> np.ndarray:
    diagonal = np.diag(upper).copy()
    both = upper + upper.T
    np.fill_diagonal(both, diagonal)
    return both


@dataclass(frozen=True)
class InMemory:
    """Products with moments in memory."""

    matrix: np.ndarray

    def __call__(self, vectors: np.ndarray) -> np.ndarray:
        """``matrix @ vectors``."""
        return self.matrix @ vectors

    def eigenvectors(self, less: np.ndarray, wanted: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Leading eigenvalues and eigenvectors of ``matrix - less``, all at once."""
        size = len(self.matrix)
        values, vectors = scipy.linalg.eigh(self.matrix - less, subset_by_index=[size - count, size - 1])
        return np.maximum(values[::-1], 0), vectors[:, ::-1][:, :wanted]


@dataclass(frozen=True)
class OverPhotons:
    """Products with moments that never exist: a pass over the photons each."""

    executor: Executor
    weighted: bool
    scale: np.ndarray
    passes: Passes

    def __call__(self, vectors: np.ndarray) -> np.ndarray:
        """Scaled YᵀY times ``vectors``, in groups of columns that the kernels take."""
        pieces = [
            self.executor.advance(ProductStep(self.weighted), self.scale[:, None] * vectors[:, i : i + WIDTH])
            for i in range(0, vectors.shape[1], WIDTH)
        ]
        self.passes.report()
        return self.scale[:, None] * np.hstack([piece["product"] for piece in pieces])


def squared_weights(block: Block, weighted: bool) -> np.ndarray:
    """1/N of every pixel; 1 where it has no photons, or where nothing is weighted."""
    if not weighted:
        return np.ones(block.pixels)
    return 1.0 / np.maximum(pixel_totals(block), 1)


@dataclass(frozen=True)
class MomentsStep:
    """Sum spectrum, weighted sum, weighted squares and, on request, YᵀY weighted by 1/N."""

    weighted: bool
    gram: bool
    halo_rows: int = 0
    halo_names: tuple[str, ...] = ()

    def run(self, partition: Partition, state: State, shared: Any, halo: Halo) -> Stats:
        """Read the photons once."""
        channels = next(iter(partition.blocks()))[1].channels
        spectrum, rooted, squares = (np.zeros(channels) for _ in range(3))
        upper = np.zeros((channels, channels) if self.gram else (0, 0))
        for _, block in partition.blocks():
            weight = squared_weights(block, self.weighted)
            spectrum += sum_spectrum(block)
            rooted += back_project(block, np.sqrt(weight)[:, None])[:, 0]
            for rows, piece in photon_pieces(block):
                add_weighted_squares(piece.indptr, piece.channel, piece.count, weight[rows], squares)
            if self.gram:
                add_gram(block, weight, upper)
        return {"spectrum": spectrum, "rooted": rooted, "squares": squares, "gram": upper}


def add_gram(block: Block, weight: np.ndarray, upper: np.ndarray) -> None:
    """Add Σ weight · y yᵀ to the upper triangle; blocks with few zeros through a dense product."""
    crowded = block.nonzeros > DENSE_FILL * block.pixels * block.channels
    for rows, piece in () if crowded else photon_pieces(block):
        add_weighted_pairs(piece.indptr, piece.channel, piece.count, weight[rows], upper)
    for rows, dense in dense_pieces(block) if crowded else ():
        dense *= np.sqrt(weight[rows])[:, None]
        upper += np.triu(dense.T @ dense)


@dataclass(frozen=True)
class ProductStep:
    """One pass: Yᵀ D (Y V) with D = 1/N."""

    weighted: bool
    halo_rows: int = 0
    halo_names: tuple[str, ...] = ()

    def run(self, partition: Partition, state: State, shared: np.ndarray, halo: Halo) -> Stats:
        """``shared`` is V, (E, p)."""
        product = np.zeros(shared.shape)
        for _, block in partition.blocks():
            weight = squared_weights(block, self.weighted)
            product += back_project(block, project(block, shared) * weight[:, None])
        return {"product": product}


@dataclass(frozen=True)
class ScoreStep:
    """Scores into the state, in counts."""

    weighted: bool
    halo_rows: int = 0
    halo_names: tuple[str, ...] = ()

    def run(
        self, partition: Partition, state: State, shared: tuple[np.ndarray, np.ndarray], halo: Halo
    ) -> Stats:
        """``shared`` is the basis (E, k) and the offset (k,)."""
        basis, offset = shared
        for where, block in partition.blocks():
            own = np.sqrt(pixel_totals(block)) if self.weighted else np.ones(block.pixels)
            state[SCORES][where] = project(block, basis) - own[:, None] * offset
        return {}
