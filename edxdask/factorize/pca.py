"""Principal components of the photons, scaled so that Poisson noise has variance 1 in every direction.

Keenan & Kotula, Surf. Interface Anal. 36 (2004) 203: divide pixel i and channel e by √(pixel mean ×
spectrum mean). Here the product is divided by the grand mean too, which scales all eigenvalues by the same
factor: noise alone then has variance 1, so the scree curve levels off near 1 and components above are signal.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import xarray as xr

from edxdask import schema
from edxdask._version import __version__
from edxdask.engine.problem import (
    Demand,
    MapView,
    Problem,
    active_client,
    maps_of,
    photons_of,
    require_phases,
)
from edxdask.engine.states import PixelStates
from edxdask.errors import ParameterError
from edxdask.factorize.components.eigenvectors import WIDTH
from edxdask.factorize.components.moments import (
    MOST_EXACT,
    Components,
    Moments,
    Passes,
    Scaling,
    ScoreStep,
    find_components,
)
from edxdask.factorize.iteration.gather import gather_abundance
from edxdask.factorize.iteration.pieces import pixel_counts
from edxdask.factorize.iteration.starts import ZeroState
from edxdask.progress import ProgressOption, shown
from edxdask.results.collections import OneOrMany

logger = logging.getLogger(__name__)

Weighting = Literal["poisson"]

MOST_MESSAGE = 8 * 2**20  # bytes of one partition's moments that travel sooner than a dozen passes take
# Measured on one core: a pair of nonzeros 1.4 ns at 2048 channels and 6.6 ns at 4096, where YᵀY leaves the
# cache; a pass 3.8 ns per nonzero. A dozen passes and the pairs break even at 65 nonzeros per pixel; to 150
# the exact eigenvalues of the tail are worth the difference.
MOST_NONZEROS = 150


def pca(
    data: OneOrMany,
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
) -> OneOrMany:
    """Find the principal components of a cube, or of a collection with shared loadings.

    Runs on the active dask Client if there is one, else on threads.

    Parameters
    ----------
    data : Dataset or DataTree
        Cube, or collection of cubes on one energy axis.
    components : int
        Loadings and scores returned, at most 32.
    weighting : {"poisson", None}
        "poisson" for Keenan's optimal scaling, None for the counts as they are.
    center : bool
        Subtract the mean of the scaled pixels first. HyperSpy's default decomposition, with
        ``normalize_poissonian_noise=True``, does not, so False is the default here: the first component
        is then about the mean spectrum.
    scree : int
        Eigenvalues returned.
    moments : {"gram", "passes"}, optional
        "gram" adds up YᵀY (channels × channels) in one pass; "passes" multiplies the photons with narrow
        blocks, pass by pass, and holds no such matrix. None takes the first where it fits the memory and is
        as fast; the log says which and why.
    workers : int, optional
        Threads; None takes one per processor that this program may use. A cluster has its own number.
    memory_limit : str or float, optional
        Such as "6GiB"; photons that do not fit go to a cache on local disk.
    cache : path, optional
        Folder of that cache.
    progress : callable, bool or None
        None shows a bar in a terminal and in a notebook; False shows nothing; a callable gets every report.

    Returns
    -------
    Dataset or DataTree
        ``loading(component, energy)`` and ``score(component, …)`` in counts, so that ``score · loading`` are
        the counts of a pixel, weights undone; ``explained_variance(rank)`` (σ²/pixels in scaled space) and
        its ratio to all variance; ``total(…)``, and ``center_spectrum`` where centred. For a collection a
        DataTree with the loadings at its root.

    Examples
    --------
    >>> import edxdask
    >>> cube = edxdask.simulate("mantle", shape=(16, 16), counts=100)
    >>> edxdask.pca(cube, components=2)["loading"].sizes["component"]
    2
    """
    _check_options(weighting, center, scree, moments)
    views = maps_of(data)
    channels = views[0].cube.sizes[schema.ENERGY]
    pixels = sum(v.stack.pixels for v in views)
    rank = require_phases(components, pixels, channels, name="components")
    count = max(rank, min(scree, channels, pixels))
    demand = Demand(2 * rank * 4 + 8, 4 * WIDTH * channels * 8)
    with (
        shown(progress, "pca") as hook,
        photons_of(
            data, step="pca", demand=demand, workers=workers, memory_limit=memory_limit, cache=cache
        ) as problem,
    ):
        method = moments or choose_moments(problem)
        scaling = Scaling(weighting == "poisson", center)
        passes = Passes(hook)
        found = find_components(problem, method, scaling, rank=rank, count=count, passes=passes)
        problem.executor.start(ZeroState(rank, np.dtype(np.float32)))
        problem.executor.advance(ScoreStep(scaling.weighted), (found.basis, found.offset))
        scores = PixelStates.now(problem)
        passes.report(last=True)
        entry = f"pca(components={rank}, weighting={weighting!r}, center={center}, moments={method!r})"
        attrs: dict[str, Any] = {schema.WEIGHTING: weighting or "none", **problem.lowest_energy}
        if problem.warnings:
            attrs[schema.WARNINGS] = list(problem.warnings)
        totals = np.concatenate(list(scores.collect(pixel_counts)))
        return cast(OneOrMany, _label(problem, found, gather_abundance(scores), totals, attrs, entry))


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
    """Choose YᵀY in one pass where it fits and is fast, else products with narrow blocks; log the reason."""
    size = 8 * problem.channels**2
    per_pixel = problem.nonzeros / problem.pixels
    need, room = size * (len(problem.plans) + 3), problem.memory.limit - problem.memory.peak
    method: Moments = "passes"
    if problem.channels > MOST_EXACT:
        reason = f"YᵀY of {problem.channels} channels ({size >> 20} MiB) is beyond the processor's cache"
    elif need > room:
        reason = f"YᵀY of all partitions takes {need >> 20} MiB, and {max(room, 0) >> 20} MiB are left"
    elif active_client() is not None and size > MOST_MESSAGE:
        reason = f"{size >> 20} MiB of moments from every partition would travel"
    elif per_pixel > MOST_NONZEROS:
        reason = f"{per_pixel:.0f} nonzeros per pixel make more pairs than passes cost"
    else:
        method = "gram"
        reason = f"YᵀY of all partitions takes {need >> 20} MiB"
    logger.info("pca: moments=%r, since %s", method, reason)
    return method


def _label(
    problem: Problem,
    found: Components,
    scores: np.ndarray,
    totals: np.ndarray,
    attrs: dict[str, Any],
    entry: str,
) -> xr.Dataset | xr.DataTree:
    labels = [f"component_{i}" for i in range(len(found.loading))]
    ratio = found.values / found.total if found.total > 0 else np.zeros_like(found.values)
    variables: dict[str, Any] = {
        schema.LOADING: found.loading,
        schema.EXPLAINED_VARIANCE: found.values,
        schema.EXPLAINED_VARIANCE_RATIO: ratio,
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
    placed = sorted(zip(problem.maps, maps, strict=True), key=lambda made: made[0].place)
    return xr.DataTree.from_dict({"/": shared, **{view.name: m for view, m in placed}})


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
