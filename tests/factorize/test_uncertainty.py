"""Predicted errors against the scatter of repeated simulations, and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from edxdask import schema
from edxdask.errors import ParameterError, SchemaError
from edxdask.factorize.fcls import fcls
from edxdask.factorize.pca import pca
from edxdask.factorize.uncertainty import with_uncertainty
from edxdask.photons import from_dense, kl_sweep

CHANNELS, REPEATS = 16, 120


def make_cube(counts):
    pixels = {2: ("x",), 3: ("y", "x")}[counts.ndim]
    return xr.Dataset(
        {schema.COUNTS: ((*pixels, schema.ENERGY), counts)},
        coords={schema.ENERGY: schema.energy_coordinate(0.1, 0.01, counts.shape[-1])},
    )


def make_result(spectra, amounts):
    """Result of ``amounts`` (pixels, k) in counts."""
    k = len(spectra)
    total = amounts.sum(axis=1)
    return xr.Dataset(
        {
            schema.SPECTRUM: ((schema.PHASE, schema.ENERGY), spectra),
            schema.ABUNDANCE: ((schema.PHASE, "x"), (amounts / np.maximum(total, 1e-9)[:, None]).T),
            schema.TOTAL: ("x", total),
        },
        coords={
            schema.ENERGY: schema.energy_coordinate(0.1, 0.01, spectra.shape[1]),
            schema.PHASE: [f"p{i}" for i in range(k)],
        },
    )


def model(pixels, mean, seed=0):
    rng = np.random.default_rng(seed)
    spectra = rng.dirichlet(np.full(CHANNELS, 2.0), size=3)
    amounts = mean * rng.uniform(0.5, 1.5, size=(pixels, 1)) * rng.dirichlet(np.ones(3), size=pixels)
    return spectra, amounts


def test_one_phase_has_the_errors_of_a_multinomial():
    counts = np.random.default_rng(0).poisson(3.0, size=(50, CHANNELS)).astype(np.uint16)
    total = counts.sum()
    share = counts.sum(axis=0) / total
    result = with_uncertainty(
        make_cube(counts), make_result(share[None], counts.sum(axis=1)[:, None].astype(float))
    )
    np.testing.assert_allclose(result.spectrum_std[0], np.sqrt(share * (1 - share) / total), rtol=1e-6)


def most_likely_spectra(counts, amounts, start):
    """Spectra at known amounts, by many updates of the spectra alone."""
    block, spectra = from_dense(counts), start.copy()
    for _ in range(150):
        sweep = kl_sweep(block, amounts.copy(), spectra, update_abundance=False)
        spectra = spectra * sweep.numerator / sweep.column_sums[:, None]
    return spectra / spectra.sum(axis=1, keepdims=True)


def test_errors_of_spectra_are_the_scatter_of_repeats():
    spectra, amounts = model(150, 300.0)
    rng = np.random.default_rng(1)
    draws = [rng.poisson(amounts @ spectra).astype(np.uint16) for _ in range(REPEATS)]
    scatter = np.std([most_likely_spectra(y, amounts, spectra) for y in draws], axis=0, ddof=1)
    predicted = with_uncertainty(make_cube(draws[0]), make_result(spectra, amounts)).spectrum_std.values
    busy = (amounts.sum(axis=0)[:, None] * spectra) > 200
    assert busy.mean() > 0.7
    ratio = (predicted / scatter)[busy]
    # the scatter of 120 repeats is itself known to 1 / √238 = 6.5 %
    assert ratio.mean() == pytest.approx(1, abs=0.03)
    assert ratio.std() < 0.09
    assert np.median(np.abs(ratio - 1)) < 0.15


def test_errors_of_abundances_are_the_scatter_of_repeats():
    spectra, amounts = model(12, 4000.0, seed=2)
    rng = np.random.default_rng(3)
    draws = np.stack([rng.poisson(amounts @ spectra) for _ in range(REPEATS)]).astype(np.uint16)
    fits = fcls(make_cube(draws.reshape(-1, CHANNELS)), spectra, loss="kl")
    found = fits.abundance.values.reshape(3, REPEATS, 12)
    scatter = found.std(axis=1, ddof=1)
    truth = make_result(spectra, amounts)
    predicted = with_uncertainty(make_cube(draws[0]), truth, abundance=True).abundance_std.values
    inside = truth.abundance.values > 3 * predicted  # at the border the estimate is pinned to zero
    assert inside.mean() > 0.5
    ratio = (predicted / scatter)[inside]
    assert ratio.mean() == pytest.approx(1, abs=0.05)
    assert ratio.std() < 0.11


def test_fractions_of_disjoint_spectra_have_binomial_errors():
    spectra = np.kron(np.eye(2), np.full((1, 8), 1 / 8))
    amounts = np.array([[30.0, 70.0], [50.0, 50.0], [0.0, 0.0]])
    counts = np.zeros((3, CHANNELS), np.uint16)
    counts[:2, 3] = 100
    found = with_uncertainty(make_cube(counts), make_result(spectra, amounts), abundance=True).abundance_std
    np.testing.assert_allclose(found[:, 0], np.sqrt(0.3 * 0.7 / 100), rtol=1e-6)
    np.testing.assert_allclose(found[:, 1], np.sqrt(0.25 / 100), rtol=1e-6)
    assert np.isnan(found[:, 2]).all()


def test_channels_with_too_few_photons_give_nan():
    spectra, amounts = model(20, 50.0)
    counts = np.random.default_rng(0).poisson(amounts @ spectra).astype(np.uint16)
    counts[:, 4] = 0
    counts[:, 5] = 0
    counts[2, 5] = 7  # one pixel cannot tell three phases apart
    errors = with_uncertainty(make_cube(counts), make_result(spectra, amounts)).spectrum_std
    assert np.isnan(errors[:, 4:6]).all()
    assert np.isfinite(errors[:, :4]).all()


@pytest.mark.parametrize("mean", [5.0, 500.0])
def test_partitions_change_nothing_and_full_cubes_agree(mean):
    spectra, amounts = model(60, mean)
    counts = np.random.default_rng(0).poisson(amounts @ spectra).astype(np.uint16)
    result = make_result(spectra, amounts)
    whole = with_uncertainty(make_cube(counts), result, abundance=True, workers=1)
    other = with_uncertainty(make_cube(counts).chunk({"x": 7}), result, abundance=True, workers=2)
    xr.testing.assert_allclose(other, whole, rtol=1e-9)


def test_a_collection_has_errors_at_the_root_and_beside_its_maps():
    spectra, amounts = model(40, 80.0)
    counts = np.random.default_rng(0).poisson(amounts @ spectra).astype(np.uint16)
    whole = with_uncertainty(make_cube(counts), make_result(spectra, amounts), abundance=True)
    own = [schema.ABUNDANCE, schema.TOTAL]
    parts = {n: make_result(spectra, amounts[s]) for n, s in (("a", slice(0, 15)), ("b", slice(15, 40)))}
    tree = xr.DataTree.from_dict(
        {"/": parts["a"][[schema.SPECTRUM]], **{name: part[own] for name, part in parts.items()}}
    )
    cubes = xr.DataTree.from_dict({"b": make_cube(counts[15:]), "a": make_cube(counts[:15])})
    found = with_uncertainty(cubes, tree, abundance=True)
    np.testing.assert_allclose(found.spectrum_std, whole.spectrum_std, rtol=1e-9)
    joined = np.concatenate([found["a"].abundance_std, found["b"].abundance_std], axis=1)
    np.testing.assert_allclose(joined, whole.abundance_std, rtol=1e-6)


def test_the_result_stays_and_says_what_was_added():
    spectra, amounts = model(20, 50.0)
    counts = np.random.default_rng(0).poisson(amounts @ spectra).astype(np.uint16)
    before = make_result(spectra, amounts)
    after = with_uncertainty(make_cube(counts), before)
    assert "spectrum_std" not in before
    assert "abundance_std" not in after
    assert after.attrs[schema.HISTORY] == ["with_uncertainty(abundance=False)"]
    assert after.spectrum_std.attrs["long_name"].startswith("standard error of")


def test_what_has_no_poisson_model_or_other_pixels_is_refused():
    spectra, amounts = model(20, 50.0)
    cube = make_cube(np.random.default_rng(0).poisson(amounts @ spectra).astype(np.uint16))
    with pytest.raises(SchemaError, match="a PCA has none"):
        with_uncertainty(cube, pca(cube))
    with pytest.raises(SchemaError, match="binned and cropped"):
        with_uncertainty(cube, make_result(spectra, amounts[:10]))
    with pytest.raises(SchemaError, match="negative"):
        with_uncertainty(cube, make_result(-spectra, amounts))
    with pytest.raises(ParameterError, match="the maps of data"):
        with_uncertainty(xr.DataTree.from_dict({"a": cube}), make_result(spectra, amounts))
