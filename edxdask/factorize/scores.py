"""Independent components and clusters of principal components, through scikit-learn."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
import xarray as xr

from edxdask import schema
from edxdask.errors import EdxdaskError, ParameterError, SchemaError
from edxdask.results.collections import OneOrMany, nodes_of

MOST_SAMPLES = 200_000  # pixels an estimator learns from; more would change its result less than noise does
NO_CLUSTER = -1
SAME = 1e-6  # scores are single precision


@dataclass(frozen=True)
class ComponentScores:
    """ComponentScores of all maps of a PCA, side by side.

    Attributes
    ----------
    values : (pixels of all maps, k) float64, in counts
    total : (pixels,) photons
    loading : (k, E)
    """

    values: np.ndarray
    total: np.ndarray
    loading: np.ndarray
    shared: xr.Dataset
    maps: list[tuple[str, xr.Dataset]]

    def split(self, values: np.ndarray) -> dict[str, np.ndarray]:
        """Cut ``(pixels, …)`` into the maps, in their shapes: ``(…, *pixel dimensions)``."""
        out, first = {}, 0
        for name, dataset in self.maps:
            shape = dataset[schema.TOTAL].shape
            pixels = int(np.prod(shape))
            mine = np.moveaxis(values[first : first + pixels], 0, -1)
            out[name] = np.ascontiguousarray(mine).reshape(*mine.shape[:-1], *shape)
            first += pixels
        return out


def scores_of(result: xr.Dataset | xr.DataTree, *, name: str = "result") -> ComponentScores:
    """ComponentScores and loadings of a PCA of a map or a collection.

    Raises
    ------
    SchemaError
        If it is no PCA, naming the variables it lacks.
    """
    shared, maps = nodes_of(result, name=name)
    missing = [v for v in (schema.LOADING,) if v not in shared]
    missing += [v for v in (schema.SCORE, schema.TOTAL) if any(v not in ds for _, ds in maps)]
    if missing:
        raise SchemaError(f"{name} lacks {', '.join(missing)}; expected what pca(...) returned")
    values = [
        ds[schema.SCORE]
        .transpose(schema.COMPONENT, *ds[schema.TOTAL].dims)
        .values.reshape(ds.sizes[schema.COMPONENT], -1)
        .T
        for _, ds in maps
    ]
    return ComponentScores(
        np.concatenate(values).astype(np.float64),
        np.concatenate([ds[schema.TOTAL].values.ravel() for _, ds in maps]).astype(np.float64),
        shared[schema.LOADING].transpose(schema.COMPONENT, schema.ENERGY).values.astype(np.float64),
        shared,
        maps,
    )


def ica(
    result: OneOrMany,
    *,
    on: Literal["scores", "loadings"] = "scores",
    max_iter: int = 500,
    tol: float = 1e-5,
    seed: int = 0,
) -> OneOrMany:
    """Rotate the components of a PCA so that they are statistically independent (FastICA).

    The product of scores and loadings stays what it was, so ``reconstruct`` gives the same cube. Loadings
    have unit length and a positive largest entry; components are ordered by the energy of their scores.

    Parameters
    ----------
    result : Dataset or DataTree
        Of ``pca``.
    on : {"scores", "loadings"}
        What is made independent: the maps (scores) or the spectra (loadings).
    max_iter : int
        Most iterations of FastICA.
    tol : float
        Tolerance of FastICA.
    seed : int
        Of its start.

    Returns
    -------
    Dataset or DataTree
        The result with ``score`` and ``loading`` rotated; a collection gives a DataTree.

    Raises
    ------
    EdxdaskError
        If it does not converge.

    Examples
    --------
    >>> import edxdask
    >>> cube = edxdask.simulate("mantle", shape=(24, 24), counts=200)
    >>> edxdask.ica(edxdask.pca(cube, components=2))["score"].dims
    ('component', 'y', 'x')
    """
    if on not in ("scores", "loadings"):
        raise ParameterError("on", on, "'scores' or 'loadings'")
    if max_iter < 1:
        raise ParameterError("max_iter", max_iter, "at least 1")
    if not tol > 0:
        raise ParameterError("tol", tol, "a number above zero")
    scores = scores_of(result)
    samples = scores.values[scores.total > 0] if on == "scores" else scores.loading.T
    unmixing = _unmixing(_thinned(samples, seed), max_iter, tol, seed)
    if on == "scores":
        mixed, loading = scores.values @ unmixing.T, np.linalg.inv(unmixing).T @ scores.loading
    else:
        mixed, loading = scores.values @ np.linalg.inv(unmixing), unmixing @ scores.loading
    length = np.linalg.norm(loading, axis=1)
    peak = loading[np.arange(len(loading)), np.abs(loading).argmax(axis=1)]
    length *= np.where(peak < 0, -1.0, 1.0)
    mixed, loading = mixed * length, loading / length[:, None]
    order = np.argsort(-np.sum(mixed**2, axis=0), kind="stable")
    entry = f"ica(on={on!r}, seed={seed})"
    return cast(OneOrMany, _rotated(result, scores, mixed[:, order], loading[order], entry, seed))


def _unmixing(samples: np.ndarray, max_iter: int, tol: float, seed: int) -> np.ndarray:
    """Matrix W that takes samples (n, k) to independent sources: samples · Wᵀ."""
    from sklearn.decomposition import FastICA
    from sklearn.exceptions import ConvergenceWarning

    if samples.shape[1] == 1:
        return np.ones((1, 1))
    model = FastICA(whiten="unit-variance", max_iter=max_iter, tol=tol, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        try:
            model.fit(samples)
        except ConvergenceWarning as warning:
            raise EdxdaskError(
                f"ica: FastICA did not converge in max_iter={max_iter} iterations to tol={tol}: raise either "
                "or take fewer components (those beyond the bend of explained_variance are noise, and noise "
                "has no independent directions)"
            ) from warning
    return np.asarray(model.components_, dtype=np.float64)


def _thinned(samples: np.ndarray, seed: int) -> np.ndarray:
    """At most ``MOST_SAMPLES`` rows, drawn without replacement, in their order."""
    if len(samples) <= MOST_SAMPLES:
        return samples
    chosen = np.random.default_rng(seed).choice(len(samples), MOST_SAMPLES, replace=False)
    return samples[np.sort(chosen)]


def _rotated(
    result: xr.Dataset | xr.DataTree,
    scores: ComponentScores,
    mixed: np.ndarray,
    loading: np.ndarray,
    entry: str,
    seed: int,
) -> xr.Dataset | xr.DataTree:
    dropped = [schema.EXPLAINED_VARIANCE, schema.EXPLAINED_VARIANCE_RATIO]  # of directions with no variance
    split = scores.split(mixed.astype(np.float32))

    def spectra(dataset: xr.Dataset) -> xr.Dataset:
        kept = dataset.drop_vars([*dropped, schema.RANK], errors="ignore")
        variable = ((schema.COMPONENT, schema.ENERGY), loading, schema.variable_attrs(schema.LOADING))
        attrs = {**schema.with_history(dataset.attrs, entry), schema.SEED: seed}
        return kept.assign({schema.LOADING: variable}).assign_attrs(attrs)

    def maps(dataset: xr.Dataset, name: str) -> xr.Dataset:
        dims = (schema.COMPONENT, *dataset[schema.TOTAL].dims)
        return dataset.assign({schema.SCORE: (dims, split[name], schema.variable_attrs(schema.SCORE))})

    if isinstance(result, xr.Dataset):
        return maps(spectra(result), "")
    nodes = {node.path: node.to_dataset(inherit=False) for node in result.subtree}
    nodes["/"] = spectra(nodes["/"])
    for name, _ in scores.maps:
        nodes["/" + name] = maps(nodes["/" + name], name)
    return xr.DataTree.from_dict(nodes, name=result.name)


def cluster_pixels(
    result: OneOrMany,
    *,
    clusters: int = 3,
    method: Literal["kmeans", "gaussian"] = "kmeans",
    per_photon: bool = True,
    seed: int = 0,
) -> OneOrMany:
    """Group the pixels of a PCA by their scores.

    Parameters
    ----------
    result : Dataset or DataTree
        Of ``pca`` or ``ica``.
    clusters : int
        Number of groups.
    method : {"kmeans", "gaussian"}
        "gaussian" for a mixture of normal distributions; its groups may overlap and be long and thin.
    per_photon : bool
        Divide the scores by the pixel's photons, so that pixels are grouped by composition and not by
        thickness.
    seed : int
        Of the start, and of the pixels that are used to learn: 200,000 of them where there are more (k-means
        then runs in mini-batches over all).

    Returns
    -------
    Dataset or DataTree
        ``label(…)``, biggest cluster 0, -1 in pixels without photons, and ``spectrum(phase, energy)``: the
        mean spectrum of each cluster, of unit sum, as ``fcls`` takes it (negative values of the PCA, which
        are noise, set to zero). For a collection a DataTree with the spectra at its root.

    Examples
    --------
    >>> import edxdask
    >>> cube = edxdask.simulate("mantle", shape=(24, 24), counts=200)
    >>> edxdask.cluster_pixels(edxdask.pca(cube), clusters=2)["label"].dims
    ('y', 'x')
    """
    scores = scores_of(result)
    usable = scores.total > 0
    _check_cluster(clusters, method, per_photon, int(usable.sum()))
    samples = scores.values[usable]
    if per_photon:
        samples = samples / scores.total[usable, None]
    found = _labels(samples, clusters, method, seed)
    sizes = np.bincount(found, minlength=clusters)
    order = np.argsort(-sizes, kind="stable")
    label = np.full(usable.size, NO_CLUSTER, dtype=np.int16)
    label[usable] = np.argsort(order, kind="stable")[found]
    entry = f"cluster_pixels(clusters={clusters}, method={method!r}, per_photon={per_photon}, seed={seed})"
    return cast(OneOrMany, _clustered(result, scores, label, clusters, entry, seed))


def _check_cluster(clusters: Any, method: Any, per_photon: Any, pixels: int) -> None:
    if isinstance(clusters, bool) or not isinstance(clusters, int | np.integer) or clusters < 1:
        raise ParameterError("clusters", clusters, "a whole number of at least 1")
    if clusters > pixels:
        raise ParameterError("clusters", clusters, f"no more than the {pixels} pixels with photons")
    if method not in ("kmeans", "gaussian"):
        raise ParameterError("method", method, "'kmeans' or 'gaussian'")
    if not isinstance(per_photon, bool):
        raise ParameterError("per_photon", per_photon, "True or False")


def _labels(samples: np.ndarray, clusters: int, method: str, seed: int) -> np.ndarray:
    from sklearn.cluster import KMeans, MiniBatchKMeans
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    scaled = samples - samples.mean(axis=0)
    spread = float(np.abs(scaled).max())
    if spread <= SAME * float(np.abs(samples).max()):
        scaled[:] = 0
    else:
        scaled /= scaled.std()  # tolerances are absolute
    model: Any
    if method == "gaussian":
        model = GaussianMixture(clusters, n_init=3, max_iter=500, random_state=seed)
    elif len(scaled) > MOST_SAMPLES:
        model = MiniBatchKMeans(clusters, n_init=10, batch_size=16384, random_state=seed)
    else:
        model = KMeans(clusters, n_init=10, random_state=seed)
    learnt = _thinned(scaled, seed) if method == "gaussian" else scaled
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        try:
            model.fit(learnt)
        except ConvergenceWarning as warning:
            raise EdxdaskError(
                f"cluster_pixels: no {clusters} clusters found ({warning}): give a smaller number"
            ) from warning
    return np.asarray(model.predict(scaled))


def _clustered(
    result: xr.Dataset | xr.DataTree,
    scores: ComponentScores,
    label: np.ndarray,
    clusters: int,
    entry: str,
    seed: int,
) -> xr.Dataset | xr.DataTree:
    spectra = _mean_spectra(scores, label, clusters)
    names = [f"cluster_{i}" for i in range(clusters)]
    shared = xr.Dataset(
        {schema.SPECTRUM: ((schema.PHASE, schema.ENERGY), spectra, schema.variable_attrs(schema.SPECTRUM))},
        coords={schema.PHASE: names, schema.ENERGY: scores.shared.coords[schema.ENERGY].variable},
        attrs={**schema.with_history(result.attrs, entry), schema.SEED: seed},
    )
    split = scores.split(label)
    maps = {}
    for name, dataset in scores.maps:
        pixels = dataset[schema.TOTAL].dims
        coords = {d: dataset.coords[d] for d in pixels if d in dataset.coords}
        variables = {schema.LABEL: (pixels, split[name], schema.variable_attrs(schema.LABEL))}
        maps[name] = xr.Dataset(variables, coords=coords, attrs=schema.with_history(dataset.attrs, entry))
    if isinstance(result, xr.Dataset):
        return shared.merge(maps[""], combine_attrs="override")
    return xr.DataTree.from_dict({"/": shared, **maps})


def _mean_spectra(scores: ComponentScores, label: np.ndarray, clusters: int) -> np.ndarray:
    """Sum of the reconstructed pixels of each cluster, of unit sum: scores add up, so no cube is made."""
    sums = np.stack([scores.values[label == i].sum(axis=0) for i in range(clusters)]) @ scores.loading
    if schema.CENTER_SPECTRUM in scores.shared:
        weighted = scores.shared.attrs.get(schema.WEIGHTING) == "poisson"
        own = np.sqrt(scores.total) if weighted else np.ones_like(scores.total)
        weights = np.array([own[label == i].sum() for i in range(clusters)])
        sums = sums + np.outer(weights, scores.shared[schema.CENTER_SPECTRUM].values)
    sums = np.maximum(sums, 0)
    total = sums.sum(axis=1, keepdims=True)
    return np.divide(sums, total, out=np.zeros_like(sums), where=total > 0)
