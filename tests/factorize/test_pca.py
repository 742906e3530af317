"""PCA against the singular value decomposition of the dense, scaled matrix."""

from __future__ import annotations

import logging

import dask.array as da
import numpy as np
import pytest
import xarray as xr

from edxdask import schema
from edxdask.errors import ParameterError, SchemaError
from edxdask.factorize.components.eigenvectors import leading_eigenvectors
from edxdask.factorize.pca import choose_moments, pca
from edxdask.results.reconstruct import reconstruct

SHAPE, CHANNELS = (9, 11), 40


def make_cube(counts, chunks=None):
    data = counts if chunks is None else da.from_array(counts, chunks=chunks)
    pixels = {2: ("y", "x"), 1: ("x",), 3: ("tilt", "y", "x")}[counts.ndim - 1]
    return xr.Dataset(
        {schema.COUNTS: ((*pixels, schema.ENERGY), data)},
        coords={schema.ENERGY: schema.energy_coordinate(0.1, 0.01, counts.shape[-1])},
        attrs={schema.TITLE: "phantom"},
    )


def phantom(seed=0, shape=SHAPE, channels=CHANNELS, mean=60.0):
    """Three phases, uneven totals, one pixel and one channel without photons."""
    rng = np.random.default_rng(seed)
    spectra = rng.gamma(0.6, size=(3, channels)) ** 2
    spectra /= spectra.sum(axis=1, keepdims=True)
    shares = rng.dirichlet([0.4] * 3, size=shape)
    total = mean * rng.uniform(0.4, 1.6, size=shape)
    counts = rng.poisson(np.einsum("...k,ke->...e", shares * total[..., None], spectra)).astype(np.uint16)
    counts.reshape(-1, channels)[5] = 0
    counts[..., 7] = 0
    return counts


def scaled(counts, weighting="poisson", center=False):
    flat = counts.reshape(-1, counts.shape[-1]).astype(float)
    if weighting == "poisson":
        pixel, channel = flat.mean(axis=1), flat.mean(axis=0)
        weight = np.sqrt(np.outer(np.where(pixel > 0, pixel, 1), np.where(channel > 0, channel, 1)))
        flat = flat / weight * np.sqrt(flat.mean())  # noise of variance 1
    return flat - flat.mean(axis=0) if center else flat


@pytest.mark.parametrize("moments", ["gram", "passes"])
@pytest.mark.parametrize("center", [False, True])
@pytest.mark.parametrize("weighting", ["poisson", None])
def test_eigenvalues_and_reconstruction_are_those_of_the_dense_decomposition(moments, center, weighting):
    counts = phantom()
    result = pca(
        make_cube(counts), components=3, weighting=weighting, center=center, moments=moments, scree=9
    )
    matrix = scaled(counts, weighting, center)
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    np.testing.assert_allclose(result.explained_variance, values[:9] ** 2 / len(matrix), rtol=1e-7)
    np.testing.assert_allclose(
        result.explained_variance_ratio, values[:9] ** 2 / np.sum(matrix**2), rtol=1e-7
    )
    flat = counts.reshape(-1, CHANNELS).astype(float)
    fit = (left[:, :3] * values[:3]) @ right[:3]
    if center:
        fit = fit + scaled(counts, weighting).mean(axis=0)
    if weighting == "poisson":  # undo the weights; what was zero comes back as zero
        fit = fit * np.sqrt(np.outer(flat.mean(axis=1), flat.mean(axis=0)) / flat.mean())
    found = reconstruct(result).expected.values.reshape(-1, CHANNELS)
    np.testing.assert_allclose(found, fit, atol=2e-5 * flat.max())


def test_loadings_are_the_right_singular_vectors_with_their_weights_undone():
    counts = phantom()
    result = pca(make_cube(counts), components=2)
    right = np.linalg.svd(scaled(counts), full_matrices=False)[2][:2]
    channel = counts.reshape(-1, CHANNELS).mean(axis=0)
    wanted = right * np.sqrt(channel / channel.sum())
    wanted *= np.sign(np.sum(wanted * result.loading.values, axis=1))[:, None]
    np.testing.assert_allclose(result.loading, wanted, atol=1e-8)


def test_noise_alone_has_eigenvalues_about_one():
    counts = np.random.default_rng(1).poisson(3.0, size=(40, 50, 30)).astype(np.uint16)
    values = pca(make_cube(counts), components=1, scree=30).explained_variance.values
    edge = np.array([1 - np.sqrt(30 / 2000), 1 + np.sqrt(30 / 2000)]) ** 2  # Marchenko & Pastur
    assert values[1] < edge[1] * 1.02
    assert values[-2] > edge[0] * 0.98  # one direction is lost to the pixels' totals


@pytest.mark.parametrize("moments", ["gram", "passes"])
def test_any_chunks_and_workers_give_the_same_answer(moments):
    counts = phantom()
    whole = pca(make_cube(counts), components=3, moments=moments, workers=1)
    for chunks in [(4, 5, CHANNELS), (1, 11, 13), (9, 3, 40)]:
        other = pca(make_cube(counts, chunks), components=3, moments=moments, workers=2)
        np.testing.assert_allclose(other.explained_variance, whole.explained_variance, rtol=1e-9)
        np.testing.assert_allclose(other.loading, whole.loading, atol=1e-9)
        np.testing.assert_allclose(other.score, whole.score, atol=1e-4)


@pytest.mark.parametrize("shape", [(99,), (3, 3, 11)])
def test_any_pixel_dimensions_give_the_scores_of_the_map(shape):
    counts = phantom()
    flat = pca(make_cube(counts), components=2)
    other = pca(make_cube(counts.reshape(*shape, CHANNELS)), components=2)
    assert other.score.dims[1:] == tuple(other.total.dims)
    np.testing.assert_allclose(other.score.values.ravel(), flat.score.values.ravel(), atol=1e-4)


def test_a_collection_shares_loadings_and_equals_the_maps_side_by_side():
    counts = phantom()
    tree = xr.DataTree.from_dict({"a": make_cube(counts[:4]), "b": make_cube(counts[4:])})
    result = pca(tree, components=3)
    whole = pca(make_cube(counts), components=3)
    np.testing.assert_allclose(result.loading, whole.loading, atol=1e-9)
    joined = np.concatenate([result["a"].score, result["b"].score], axis=1)
    np.testing.assert_allclose(joined, whole.score, atol=1e-4)
    both = np.concatenate([part.expected.values for part in reconstruct(result).children.values()])
    np.testing.assert_allclose(both, reconstruct(whole).expected, atol=1e-4)


def test_full_pixels_take_the_dense_product_and_agree():
    counts = np.random.default_rng(3).poisson(2.0, size=(30, 8)).astype(np.uint16)
    result = pca(make_cube(counts), components=2, moments="gram", scree=8)
    values = np.linalg.svd(scaled(counts), compute_uv=False)
    np.testing.assert_allclose(result.explained_variance, values**2 / 30, rtol=1e-9)


def test_scores_and_history_carry_labels_of_the_cube():
    result = pca(make_cube(phantom()), components=2)
    assert result.component.values.tolist() == ["component_0", "component_1"]
    assert result.attrs[schema.TITLE] == "phantom"
    assert result.attrs[schema.WEIGHTING] == "poisson"
    assert "pca(components=2" in result.attrs[schema.HISTORY][-1]
    for name in (schema.LOADING, schema.SCORE, schema.EXPLAINED_VARIANCE):
        assert result[name].dims == schema.dims_of(name, ("y", "x"))


class Crowded:
    """Just what the choice looks at."""

    def __init__(self, channels, room, nonzeros):
        self.channels, self.pixels, self.nonzeros, self.plans = channels, 100, nonzeros * 100, [None] * 4
        self.memory = type("Memory", (), {"limit": 1000 << 20, "peak": (1000 - room) << 20})


@pytest.mark.parametrize(
    ("channels", "room", "nonzeros", "way", "reason"),
    [
        (2048, 900, 100, "gram", "takes 224 MiB"),
        (2048, 200, 100, "passes", "takes 224 MiB, and 200 MiB are left"),
        (4096, 900, 100, "passes", "4096 channels (128 MiB) is beyond the processor's cache"),
        (2048, 900, 400, "passes", "400 nonzeros per pixel"),
    ],
)
def test_the_way_is_chosen_by_memory_and_the_log_says_why(caplog, channels, room, nonzeros, way, reason):
    with caplog.at_level(logging.INFO):
        assert choose_moments(Crowded(channels, room, nonzeros)) == way
    assert reason in caplog.text


def test_block_krylov_finds_close_eigenvalues_in_a_large_space():
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.normal(size=(300, 300)))[0]
    values = np.concatenate([[1000, 50, 20, 4], np.linspace(1.5, 0.5, 296)])
    matrix = (basis * values) @ basis.T
    found, vectors = leading_eigenvectors(lambda v: matrix @ v, 300, 4, 30, tail=0.02)
    np.testing.assert_allclose(found[:4], values[:4], rtol=1e-9)
    np.testing.assert_allclose(found, values[:30], rtol=0.02)
    np.testing.assert_allclose(np.abs(np.sum(vectors * basis[:, :4], axis=0)), 1, atol=1e-8)


def test_moments_too_large_to_decompose_at_once_give_the_same_components(monkeypatch):
    cube = make_cube(phantom())
    exact = pca(cube, moments="gram")
    monkeypatch.setattr("edxdask.factorize.pca.MOST_EXACT", 10)
    other = pca(cube, moments="gram")
    np.testing.assert_allclose(other.explained_variance, exact.explained_variance, rtol=1e-7)
    np.testing.assert_allclose(other.loading, exact.loading, atol=1e-6)


def test_a_matrix_of_low_rank_ends_the_search_with_exact_zeros():
    vector = np.arange(1.0, 101.0)
    found, _ = leading_eigenvectors(lambda v: np.outer(vector, vector @ v), 100, 2, 5)
    np.testing.assert_allclose(found[0], vector @ vector)
    np.testing.assert_allclose(found[1:], 0, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"components": 0}, "components=0"),
        ({"components": 2.5}, "components=2.5"),
        ({"components": 41}, "channels"),
        ({"weighting": "keenan"}, "weighting='keenan': expected 'poisson' or None"),
        ({"scree": 0}, "scree=0"),
        ({"moments": "svd"}, "moments='svd'"),
        ({"center": "navigation"}, "center='navigation'"),
    ],
)
def test_bad_options_are_refused_by_name(options, words):
    with pytest.raises(ParameterError, match="expected") as caught:
        pca(make_cube(phantom()), **options)
    assert words in str(caught.value)


def test_an_empty_cube_and_a_result_are_refused():
    with pytest.raises(SchemaError, match="no photons"):
        pca(make_cube(np.zeros((3, 4, 5), np.uint16)), components=1)
    with pytest.raises(SchemaError, match="is it a result"):
        pca(pca(make_cube(phantom())))
