"""Principal components of the photons, scaled so that Poisson noise has variance 1 in every direction.

Keenan & Kotula, Surf. Interface Anal. 36 (2004) 203: divide pixel i and channel e by √(pixel mean ×
spectrum mean). Here the product is divided by the grand mean too, which scales all eigenvalues alike:
noise alone then has variance 1, so the scree curve levels off near 1 and components above are signal.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import scipy.linalg
import xarray as xr

from edxdask import schema
from edxdask._version import __version__
from edxdask.engine.executor import Executor
from edxdask.engine.partition import Partition
from edxdask.engine.problem import (
    Demand,
    MapView,
    Problem,
    active_client,
    maps_of,
    photons_of,
    require_phases,
)
from edxdask.engine.step import Halo, State, Stats
from edxdask.errors import ParameterError
from edxdask.factorize.iteration.eigenvectors import WIDTH, leading_eigenvectors
from edxdask.factorize.iteration.gather import gather_abundance
from edxdask.factorize.iteration.pieces import dense_pieces, photon_pieces, pixel_counts
from edxdask.factorize.iteration.starts import ZeroState
from edxdask.factorize.iteration.sweep_step import ABUNDANCE as SCORES
from edxdask.factorize.kernels.moments import add_weighted_pairs, add_weighted_squares
from edxdask.photons import Block, back_project, pixel_totals, project, sum_spectrum
from edxdask.progress import ProgressOption, shown

logger = logging.getLogger(__name__)

Weighting = Literal["poisson"]
Moments = Literal["gram", "passes"]

DENSE_FILL = 0.15  # above this fill a dense product beats a walk over pairs
MOST_MESSAGE = 8 * 2**20  # bytes of one partition's moments that travel sooner than a dozen passes take
# Measured on one core: a pair of nonzeros 1.4 ns at 2048 channels and 6.6 ns at 4096, where YᵀY leaves the
# cache; a pass 3.8 ns per nonzero. A dozen passes and the pairs break even at 65 nonzeros per pixel; to 150
# the exact eigenvalues of the tail are worth the difference.
MOST_EXACT = 2048
MOST_NONZEROS = 150


def pca(
    data: xr.Dataset | xr.DataTree,
    *,
    components: int = 3,
    weighting: Weighting | None = "poisson",
    center: bool = False,
    scree: int = 30,
    moments: Moments | None = None,
    workers: int | None = None,
    memory_limit: str | float | None = None,
    cache: str | Path | None = None,
    progress: ProgressOption = None,
) -> xr.Dataset | xr.DataTree:
    """Find the principal components of a cube, or of a collection with shared loadings.

    Runs on the active dask Client if there is one, else on threads.

    Parameters
    ----------
    components : loadings and scores returned, at most 32
    weighting : "poisson" for Keenan's optimal scaling, None for the counts as they are
    center : subtract the mean of the scaled pixels first. HyperSpy's default decomposition, with
        ``normalize_poissonian_noise=True``, does not, and so this does not: the first component is then
        about the mean spectrum
    scree : eigenvalues returned
    moments : "gram" adds up YᵀY (channels × channels) in one pass; "passes" multiplies the photons with
        narrow blocks, pass by pass, and holds no such matrix. None takes the first where it fits the memory
        and is as quick; the log says which and why
    progress : a sign of life in a terminal and in a notebook, unless False

    Returns
    -------
    Dataset
        ``loading(component, energy)`` and ``score(component, …)`` in counts, so that ``score · loading`` are
        the counts of a pixel, weights undone; ``explained_variance(rank)`` (σ²/pixels in scaled space) and
        its ratio to all variance; ``total(…)``, and ``center_spectrum`` where centred. For a collection a
        DataTree with the loadings at its root.
    """
    _check_options(weighting, center, scree, moments)
    views = maps_of(data)
    channels = views[0].cube.sizes[schema.ENERGY]
    pixels = sum(v.stack.pixels for v in views)
    rank = require_phases(components, pixels, channels, name="components")
    count = max(rank, min(scree, channels, pixels))
    demand = Demand(2 * rank * 4 + 8, 4 * WIDTH * channels * 8)
    with (
        shown(progress, "pca"),
        photons_of(
            data, step="pca", demand=demand, workers=workers, memory_limit=memory_limit, cache=cache
        ) as problem,
    ):
        way = moments or choose_moments(problem)
        weighted = weighting == "poisson"
        found = find_components(problem, way, weighted=weighted, center=center, rank=rank, count=count)
        problem.executor.start(ZeroState(rank, np.dtype(np.float32)))
        problem.executor.advance(ScoreStep(weighted), (found.basis, found.offset))
        entry = f"pca(components={rank}, weighting={weighting!r}, center={center}, moments={way!r})"
        attrs = {schema.WEIGHTING: weighting or "none"}
        totals = np.concatenate(list(problem.executor.collect(pixel_counts)))
        return _label(problem, found, gather_abundance(problem), totals, attrs, entry)


def _check_options(weighting: Any, center: Any, scree: Any, moments: Any) -> None:
    if weighting not in ("poisson", None):
        raise ParameterError("weighting", weighting, "'poisson' or None")
    if not isinstance(center, bool):
        raise ParameterError("center", center, "True or False")
    if isinstance(scree, bool) or not isinstance(scree, int | np.integer) or scree < 1:
        raise ParameterError("scree", scree, "a whole number of eigenvalues, at least 1")
    if moments not in ("gram", "passes", None):
        raise ParameterError("moments", moments, "'gram', 'passes' or None")


def choose_moments(problem: Problem) -> Moments:
    """Take YᵀY in one pass where it fits and pays, else products with narrow blocks; log the reason."""
    size = 8 * problem.channels**2
    per_pixel = problem.nonzeros / problem.pixels
    need, room = size * (len(problem.plans) + 3), problem.memory.limit - problem.memory.peak
    way: Moments = "passes"
    if problem.channels > MOST_EXACT:
        reason = f"YᵀY of {problem.channels} channels ({size >> 20} MiB) is beyond the processor's cache"
    elif need > room:
        reason = f"YᵀY of all partitions takes {need >> 20} MiB, and {max(room, 0) >> 20} MiB are left"
    elif active_client() is not None and size > MOST_MESSAGE:
        reason = f"{size >> 20} MiB of moments from every partition would travel"
    elif per_pixel > MOST_NONZEROS:
        reason = f"{per_pixel:.0f} nonzeros per pixel make more pairs than passes cost"
    else:
        way = "gram"
        reason = f"YᵀY of all partitions takes {need >> 20} MiB"
    logger.info("pca: moments=%r, since %s", way, reason)
    return way


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
    problem: Problem, way: Moments, *, weighted: bool, center: bool, rank: int, count: int
) -> Components:
    """Eigenvectors of the scaled moments."""
    executor, n = problem.executor, problem.pixels
    executor.start(no_state)
    stats = executor.advance(MomentsStep(weighted, gram=way == "gram"), None)
    scale = _channel_scale(stats["spectrum"], weighted)
    mean = scale * stats["rooted"] / n
    product: Callable[[np.ndarray], np.ndarray]
    if way == "gram":
        product = InMemory(_symmetric(stats["gram"]) * scale * scale[:, None])
    else:
        product = OverPhotons(executor, weighted, scale)
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
    """Nothing beside the photons."""
    return {}


def _channel_scale(spectrum: np.ndarray, weighted: bool) -> np.ndarray:
    """√(T / T_e): with 1/√N_i of each pixel, the weights 1/√(N_i T_e / T); 0 for channels without photons."""
    if not weighted:
        return np.ones(spectrum.size)
    wide = spectrum.astype(np.float64)
    return np.sqrt(np.divide(wide.sum(), wide, out=np.zeros_like(wide), where=wide > 0))


def _symmetric(upper: np.ndarray) -> np.ndarray:
    diagonal = np.diag(upper).copy()
    full = upper + upper.T
    np.fill_diagonal(full, diagonal)
    return full


@dataclass(frozen=True)
class InMemory:
    """Products with moments that are there."""

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

    def __call__(self, vectors: np.ndarray) -> np.ndarray:
        """Scaled YᵀY times ``vectors``, in groups of columns that the kernels take."""
        pieces = [
            self.executor.advance(ProductStep(self.weighted), self.scale[:, None] * vectors[:, i : i + WIDTH])
            for i in range(0, vectors.shape[1], WIDTH)
        ]
        return self.scale[:, None] * np.hstack([piece["product"] for piece in pieces])


def squared_weights(block: Block, weighted: bool) -> np.ndarray:
    """1/N of every pixel; 1 where it has no photons, or where nothing is weighted."""
    if not weighted:
        return np.ones(block.pixels)
    return 1.0 / np.maximum(pixel_totals(block), 1)


@dataclass(frozen=True)
class MomentsStep:
    """Sum spectrum, weighted sum, weighted squares and, if asked for, YᵀY weighted by 1/N."""

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
    """Add Σ weight · y yᵀ to the upper triangle; full blocks through a dense product."""
    full = block.nonzeros > DENSE_FILL * block.pixels * block.channels
    for rows, piece in () if full else photon_pieces(block):
        add_weighted_pairs(piece.indptr, piece.channel, piece.count, weight[rows], upper)
    for rows, dense in dense_pieces(block) if full else ():
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


def _label(
    problem: Problem,
    found: Components,
    scores: np.ndarray,
    totals: np.ndarray,
    attrs: dict[str, Any],
    entry: str,
) -> xr.Dataset | xr.DataTree:
    labels = [f"component_{i}" for i in range(len(found.loading))]
    share = found.values / found.total if found.total > 0 else np.zeros_like(found.values)
    variables: dict[str, Any] = {
        schema.LOADING: found.loading,
        schema.EXPLAINED_VARIANCE: found.values,
        schema.EXPLAINED_VARIANCE_RATIO: share,
    }
    if found.center is not None:
        variables[schema.CENTER_SPECTRUM] = found.center
    shared = xr.Dataset(
        {name: (schema.dims_of(name, ()), v, schema.variable_attrs(name)) for name, v in variables.items()},
        coords={
            schema.ENERGY: problem.energy.variable,
            schema.COMPONENT: labels,
            schema.RANK: np.arange(1, found.values.size + 1),
        },
        attrs=_attrs(problem.maps[0], attrs, entry),
    )
    maps = [_map_scores(view, scores, totals, labels, _attrs(view, attrs, entry)) for view in problem.maps]
    if problem.maps[0].name == "":
        return xr.merge([shared, maps[0]], combine_attrs="override", compat="no_conflicts")
    return xr.DataTree.from_dict(
        {"/": shared, **{view.name: m for view, m in zip(problem.maps, maps, strict=True)}}
    )


def _map_scores(
    view: MapView, scores: np.ndarray, totals: np.ndarray, labels: Sequence[str], attrs: dict[Any, Any]
) -> xr.Dataset:
    pixels = schema.pixel_dims(view.cube)
    shape = tuple(view.cube.sizes[d] for d in pixels)
    mine = slice(view.stack.first_pixel, view.stack.first_pixel + view.stack.pixels)
    values = {
        schema.SCORE: np.ascontiguousarray(scores[mine].T).reshape(len(labels), *shape),
        schema.TOTAL: totals[mine].reshape(shape),
    }
    coords = {name: view.cube.coords[name] for name in pixels if name in view.cube.coords}
    return xr.Dataset(
        {n: (schema.dims_of(n, pixels), v, schema.variable_attrs(n)) for n, v in values.items()},
        coords={**coords, schema.COMPONENT: list(labels)},
        attrs=attrs,
    )


def _attrs(view: MapView, attrs: dict[str, Any], entry: str) -> dict[Any, Any]:
    kept = {k: v for k, v in view.cube.attrs.items() if k in schema.ATTRIBUTES and k != schema.COMPLETE}
    return {**schema.with_history(kept, entry), **attrs, schema.EDXDASK_VERSION: __version__}
