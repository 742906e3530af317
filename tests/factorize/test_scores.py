"""Independent components and clusters on data whose sources and groups are known."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from sklearn.metrics import adjusted_rand_score

from edxdask import schema
from edxdask.errors import EdxdaskError, ParameterError, SchemaError
from edxdask.factorize import scores as module
from edxdask.factorize.pca import pca
from edxdask.factorize.scores import cluster_pixels, ica
from edxdask.results.reconstruct import reconstruct

CHANNELS = 32


def make_cube(counts):
    return xr.Dataset(
        {schema.COUNTS: (("y", "x", schema.ENERGY), counts)},
        coords={schema.ENERGY: schema.energy_coordinate(0.1, 0.01, CHANNELS)},
    )


def spectra_of(phases, seed=0):
    return np.random.default_rng(seed).dirichlet(np.full(CHANNELS, 0.4), size=phases)


def patches(mean=400.0, seed=0, wedge=(0.3, 1.7)):
    """Three phases in unequal patches on a wedge; one pixel without photons."""
    rng = np.random.default_rng(seed)
    truth = np.zeros((30, 40), int)
    truth[:12, :15], truth[20:, 25:] = 1, 2
    total = mean * np.linspace(*wedge, 40)[None, :]
    counts = rng.poisson(total[..., None] * spectra_of(3)[truth]).astype(np.uint16)
    counts[0, 39] = 0
    return make_cube(counts), truth


@pytest.mark.parametrize("method", ["kmeans", "gaussian"])
@pytest.mark.parametrize("center", [False, True])
def test_phases_in_patches_become_clusters_whatever_the_thickness(method, center):
    cube, truth = patches()
    found = cluster_pixels(pca(cube, components=3, center=center), clusters=3, method=method)
    seen = found.label.values >= 0
    assert adjusted_rand_score(truth[seen], found.label.values[seen]) > 0.99
    assert found.label.values[0, 39] == -1
    assert (~seen).sum() == 1
    sizes = [(found.label == i).sum() for i in range(3)]
    assert sizes == sorted(sizes, reverse=True)
    phase = truth[np.argwhere(found.label.values == 1)[0][0], np.argwhere(found.label.values == 1)[0][1]]
    wanted = spectra_of(3)[phase]
    cosine = found.spectrum.values[1] @ wanted / np.linalg.norm(found.spectrum[1]) / np.linalg.norm(wanted)
    assert np.degrees(np.arccos(cosine)) < 1.0
    np.testing.assert_allclose(found.spectrum.sum(schema.ENERGY), 1)


def test_without_division_by_photons_a_wedge_is_grouped_by_thickness():
    cube, truth = patches(wedge=(0.1, 4.0))
    result = pca(cube)
    found = [cluster_pixels(result, per_photon=choice).label.values.ravel() for choice in (False, True)]
    agreement = [adjusted_rand_score(truth.ravel(), labels) for labels in found]
    assert agreement[0] < 0.7
    assert agreement[1] > 0.98


def test_many_pixels_are_clustered_in_batches_with_the_same_groups(monkeypatch):
    cube, truth = patches()
    result = pca(cube)
    monkeypatch.setattr(module, "MOST_SAMPLES", 500)
    for method in ("kmeans", "gaussian"):
        found = cluster_pixels(result, method=method).label.values
        assert adjusted_rand_score(truth[found >= 0], found[found >= 0]) > 0.98


def sources(on, seed=1):
    """Counts whose maps (or spectra) are independent and not normal: uniform or sparse."""
    rng = np.random.default_rng(seed)
    maps = rng.uniform(50, 400, size=(60, 50, 2))
    spectra = spectra_of(2, seed=4)
    if on == "loadings":
        spectra = np.full((2, CHANNELS), 1e-3)
        spectra[0, [3, 20]], spectra[1, [9, 28]] = 1, 1
        spectra /= spectra.sum(axis=1, keepdims=True)
        maps[..., 1] = 0.6 * maps[..., 0] + 0.4 * maps[..., 1]
    return maps, spectra, make_cube(rng.poisson(maps @ spectra).astype(np.uint16))


@pytest.mark.parametrize("on", ["scores", "loadings"])
def test_independent_sources_are_found_where_principal_components_mix_them(on):
    maps, spectra, cube = sources(on)
    before = pca(cube, components=2, weighting=None, center=on == "scores")

    def match(result):
        found = result.score.values.reshape(2, -1) if on == "scores" else result.loading.values
        true = maps.reshape(-1, 2).T if on == "scores" else spectra
        return np.abs(np.corrcoef(found, true)[:2, 2:]).max(axis=0)

    assert (match(ica(before, on=on)) > 0.97).all()
    assert match(before).min() < 0.95


@pytest.mark.parametrize("on", ["scores", "loadings"])
@pytest.mark.parametrize("center", [False, True])
def test_independent_components_reconstruct_the_same_cube(on, center):
    _, _, cube = sources("scores")
    before = pca(cube, components=2, center=center)
    after = ica(before, on=on)
    np.testing.assert_allclose(reconstruct(after).expected, reconstruct(before).expected, atol=1e-2)
    np.testing.assert_allclose(np.linalg.norm(after.loading, axis=1), 1)
    assert schema.EXPLAINED_VARIANCE not in after
    assert schema.EXPLAINED_VARIANCE in before
    assert after.attrs[schema.HISTORY][-1].startswith("ica(")


def test_collections_give_what_the_map_gives():
    cube, _ = patches()
    parts = {"a": cube.isel(y=slice(0, 10)), "b": cube.isel(y=slice(10, 30))}
    tree, whole = pca(xr.DataTree.from_dict(parts)), pca(cube)
    for function, name in ((cluster_pixels, schema.LABEL), (ica, schema.SCORE)):
        one, many = function(whole), function(tree)
        joined = xr.concat([many["a"][name], many["b"][name]], "y")
        np.testing.assert_allclose(joined, one[name], atol=0.05)
    assert ica(tree).attrs[schema.HISTORY][-1].startswith("ica(")


def test_a_component_alone_stays_what_it_is():
    cube, _ = patches()
    before = pca(cube, components=1)
    np.testing.assert_allclose(reconstruct(ica(before)).expected, reconstruct(before).expected, rtol=1e-5)


def test_bad_options_and_other_results_are_refused():
    cube, _ = patches()
    result = pca(cube)
    for options, words in [
        ({"clusters": 0}, "clusters=0"),
        ({"clusters": 5000}, "1199 pixels with photons"),
        ({"method": "dbscan"}, "method='dbscan'"),
        ({"per_photon": 1}, "per_photon=1"),
    ]:
        with pytest.raises(ParameterError, match=words):
            cluster_pixels(result, **options)
    for options, words in [
        ({"on": "both"}, "on='both'"),
        ({"tol": 0}, "tol=0"),
        ({"max_iter": 0}, "max_iter=0"),
    ]:
        with pytest.raises(ParameterError, match=words):
            ica(result, **options)
    with pytest.raises(SchemaError, match="lacks loading, score, total; expected what pca"):
        cluster_pixels(cube)


def test_what_does_not_converge_says_what_to_change():
    result = pca(patches()[0], components=6)
    with pytest.raises(EdxdaskError, match="max_iter=1 iterations"):
        ica(result, max_iter=1, tol=1e-12)
    same = make_cube(np.ones((4, 4, CHANNELS), np.uint16))
    with pytest.raises(EdxdaskError, match="give a smaller number"):
        cluster_pixels(pca(same, components=1), clusters=3)
