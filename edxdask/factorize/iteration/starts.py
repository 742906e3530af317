"""First factors: NNDSVD from the leading singular vectors, random numbers, or what the user gives.

The singular vectors come from block power iterations: a pass over the photons returns Yᵀ(Y V), a
(channels × p) array, so Y and YᵀY are never held.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edxdask.engine.executor import Executor
from edxdask.engine.partition import Partition
from edxdask.engine.problem import Problem
from edxdask.engine.states import PixelStates
from edxdask.engine.step import Halo, State, Stats
from edxdask.factorize.iteration.sweep_step import ABUNDANCE
from edxdask.photons import back_project, project
from edxdask.photons.random_starts import SPECTRA_KEYS, uniform_start

SINGLE = np.float32
OVERSAMPLING = 8
MOST_PASSES = 12
SUBSPACE_TOLERANCE = 1e-4  # a start need not be exact: the updates correct it


@dataclass(frozen=True, eq=False)
class FirstFactors:
    """The factors that a factorization begins with.

    Attributes
    ----------
    spectra : (k, E)
    abundance : where the abundances are
    """

    spectra: np.ndarray
    abundance: PixelStates

    def with_unit_spectra(self) -> FirstFactors:
        """Move the scale of the spectra to the abundances; the spectra here are for a model."""
        return FirstFactors(self.spectra, self.abundance.changed(UnitSpectra(self.spectra.sum(axis=1))))


@dataclass(frozen=True)
class PowerStep:
    """One pass of block power iteration: returns Yᵀ(Y V) as ``moments``."""

    halo_rows: int = 0
    halo_names: tuple[str, ...] = ()

    def run(self, partition: Partition, state: State, shared: np.ndarray, halo: Halo) -> Stats:
        """Read the photons once; the state is not touched."""
        moments = np.zeros(shared.shape)
        for _, block in partition.blocks():
            moments += back_project(block, project(block, shared))
        return {"moments": moments}


def right_singular_vectors(
    executor: Executor, channels: int, rank: int, *, first: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Leading singular values and right singular vectors ``(rank,), (rank, channels)`` of the counts.

    Counts before channel ``first`` are taken as zeros.
    """
    width = min(channels, rank + OVERSAMPLING)
    random = uniform_start(0, np.arange(channels), width) - 0.5
    random[:first] = 0
    vectors = np.linalg.qr(random)[0]
    values = np.zeros(rank)
    for _ in range(MOST_PASSES):
        moments = executor.advance(PowerStep(), vectors)["moments"]
        moments[:first] = 0
        squares, rotation = np.linalg.eigh(vectors.T @ moments)
        found = squares[::-1][:rank]
        vectors = np.linalg.qr(moments @ rotation[:, ::-1])[0]
        done = np.all(np.abs(found - values) <= SUBSPACE_TOLERANCE * np.abs(found))
        values = found
        if done:
            break
    return np.sqrt(np.maximum(values, 0)), vectors[:, :rank].T


@dataclass(frozen=True)
class ProjectStep:
    """Left singular vectors into the state; returns the squares of their positive and negative parts."""

    halo_rows: int = 0
    halo_names: tuple[str, ...] = ()

    def run(self, partition: Partition, state: State, shared: np.ndarray, halo: Halo) -> Stats:
        """``shared`` is V/σ, (channels, k)."""
        left = state[ABUNDANCE]
        for where, block in partition.blocks():
            left[where] = project(block, shared)
        wide = left.astype(np.float64)
        return {
            "plus": np.sum(np.maximum(wide, 0) ** 2, axis=0),
            "minus": np.sum(np.minimum(wide, 0) ** 2, axis=0),
        }


@dataclass(frozen=True)
class SignStep:
    """Keep one sign of each left vector, scale it, fill its zeros."""

    halo_rows: int = 0
    halo_names: tuple[str, ...] = ()

    def run(self, partition: Partition, state: State, shared: tuple[np.ndarray, float], halo: Halo) -> Stats:
        """``shared`` is the signed scale (k,) and the value that replaces zero."""
        scale, fill = shared
        left = state[ABUNDANCE]
        np.maximum(left * scale.astype(left.dtype), left.dtype.type(fill), out=left)
        return {}


def nndsvd(problem: Problem, rank: int, fill: float, dtype: np.dtype) -> FirstFactors:
    """NNDSVD (Boutsidis & Gallopoulos 2008) with zeros filled by ``fill``.

    Filled with the data's mean it is NNDSVDa; filled with much less, updates leave zero where needed
    and stay at sparse factors elsewhere. Channels below the first usable one have no part in it.
    """
    executor, channels = problem.executor, problem.channels
    executor.start(ZeroState(rank, dtype))
    values, right = right_singular_vectors(executor, channels, rank, first=problem.floor.first)
    stats = executor.advance(ProjectStep(), (right / values[:, None]).T)
    spectra = np.empty((rank, channels))
    scale = np.empty(rank)
    for j in range(rank):
        up, down = np.maximum(right[j], 0), np.maximum(-right[j], 0)
        weight_up = np.linalg.norm(up) * np.sqrt(stats["plus"][j])
        weight_down = np.linalg.norm(down) * np.sqrt(stats["minus"][j])
        part, sign, weight = (up, 1.0, weight_up) if weight_up >= weight_down else (down, -1.0, weight_down)
        size = np.sqrt(values[j] * weight)
        spectra[j] = size * part / np.linalg.norm(part)
        scale[j] = sign * size / np.sqrt(stats["plus" if sign > 0 else "minus"][j])
    executor.advance(SignStep(), (scale, fill))
    return FirstFactors(np.maximum(spectra, fill).astype(dtype), PixelStates.now(problem))


def usual_fill(problem: Problem) -> float:
    """Value that replaces zeros of NNDSVD where the user chose no start: the mean, or its root above 1.

    Factors grow with the root of the counts: a mean of many counts would drown them. On dense maps of five
    thousand counts per pixel, layers and a mantle, angles of 1.2, 13.6 and 10.3 deg became 0.9, 4.8 and 4.3.
    """
    mean = problem.photons / (problem.pixels * problem.channels)
    return min(mean, mean**0.5)


@dataclass(frozen=True)
class ZeroState:
    """State of zeros."""

    rank: int
    dtype: np.dtype

    def __call__(self, partition: Partition) -> State:
        """Make the state of one partition."""
        return {ABUNDANCE: np.zeros((partition.plan.pixels, self.rank), self.dtype)}


@dataclass(frozen=True)
class RandomState:
    """Uniform abundances keyed by the pixel's number, so that partitions do not matter."""

    rank: int
    dtype: np.dtype
    seed: int
    scale: float

    def __call__(self, partition: Partition) -> State:
        """Make the state of one partition."""
        pieces = [
            uniform_start(self.seed, tile.plan.first_pixel + np.arange(tile.plan.pixels), self.rank)
            for tile in partition.tiles
        ]
        return {ABUNDANCE: (self.scale * np.concatenate(pieces)).astype(self.dtype)}


@dataclass(frozen=True)
class GivenState:
    """Abundances the user gives, ``(pixels of all maps, k)``, each partition its slice."""

    abundance: np.ndarray

    def __call__(self, partition: Partition) -> State:
        """Cut the state of one partition."""
        first = partition.plan.first_pixel
        return {ABUNDANCE: np.ascontiguousarray(self.abundance[first : first + partition.plan.pixels])}


@dataclass(frozen=True)
class UnitSpectra:
    """Move the scale of the spectra to the abundances."""

    sums: np.ndarray

    def __call__(self, partition: Partition, state: State) -> State:
        """Scale one partition's abundances."""
        return {**state, ABUNDANCE: state[ABUNDANCE] * self.sums.astype(SINGLE)}


def random_spectra(rank: int, channels: int, dtype: np.dtype, seed: int, scale: float) -> np.ndarray:
    """Uniform spectra keyed by phase and channel."""
    return np.ascontiguousarray(
        scale * uniform_start(seed, SPECTRA_KEYS + np.arange(channels), rank).T, dtype=dtype
    )
