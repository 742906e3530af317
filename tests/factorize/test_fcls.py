"""Abundances of known spectra against SciPy's optimizers."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from scipy.optimize import minimize, nnls

from edxdask import schema
from edxdask.errors import ParameterError, SchemaError
from edxdask.factorize.fcls import fcls
from edxdask.factorize.kernels.simplex import simplex_rows

CHANNELS = 30


def make_cube(counts):
    """Channels are wider than a peak, since spectra here are as rough as random numbers."""
    pixels = {2: ("x",), 3: ("y", "x")}[counts.ndim]
    return xr.Dataset(
        {schema.COUNTS: ((*pixels, schema.ENERGY), counts)},
        coords={schema.ENERGY: schema.energy_coordinate(0.3, 0.2, counts.shape[-1])},
    )


def known(phases, seed=0):
    return np.random.default_rng(seed).dirichlet(np.full(CHANNELS, 0.4), size=phases)


def draw(spectra, pixels, mean=80.0, seed=1):
    rng = np.random.default_rng(seed)
    shares = rng.dirichlet(np.full(len(spectra), 0.3), size=pixels)
    counts = rng.poisson(mean * shares @ spectra).astype(np.uint16)
    counts[3] = 0
    return counts, shares


def divergence(a, spectra, y):
    fit = np.maximum(a @ spectra, 1e-12)
    return float(np.sum(fit) - np.sum(y[y > 0] * np.log(fit[y > 0])))


@pytest.mark.parametrize("phases", [1, 3, *(pytest.param(k, marks=pytest.mark.slow) for k in (2, 5, 12))])
def test_least_squares_is_that_of_nnls_with_a_heavy_row_for_the_sum(phases):
    spectra = known(phases)
    counts, _ = draw(spectra, 40)
    result = fcls(make_cube(counts), spectra)
    heavy = 1e5
    matrix = np.vstack([spectra.T, np.full(phases, heavy)])
    for i in range(40):
        total = counts[i].sum()
        if total:
            wanted, _ = nnls(matrix, np.append(counts[i] / total, heavy), maxiter=500)
            np.testing.assert_allclose(result.abundance[:, i], wanted, atol=1e-7)


def test_least_squares_is_that_of_slsqp():
    spectra = known(4)
    counts, _ = draw(spectra, 12)
    found = fcls(make_cube(counts), spectra).abundance.values.T
    for i in (0, 5, 11):
        share = counts[i] / counts[i].sum()
        loss = lambda a, y=share: 0.5 * np.sum((a @ spectra - y) ** 2)  # noqa: E731
        best = minimize(
            loss,
            np.full(4, 0.25),
            method="SLSQP",
            bounds=[(0, 1)] * 4,
            constraints={"type": "eq", "fun": lambda a: a.sum() - 1},
            options={"ftol": 1e-15, "maxiter": 500},
        )
        np.testing.assert_allclose(found[i], best.x, atol=2e-5)
        assert loss(found[i]) <= best.fun + 1e-12


def test_the_constraints_hold_exactly_and_pixels_without_photons_are_zero():
    spectra = known(6)
    counts, _ = draw(spectra, 200, mean=10.0)
    result = fcls(make_cube(counts), spectra)
    sums = result.abundance.sum(schema.PHASE).values
    np.testing.assert_allclose(sums[counts.sum(axis=1) > 0], 1, rtol=1e-13)
    assert (result.abundance >= 0).all()
    assert (result.abundance.values == 0).mean() > 0.2  # noise drives many to the border, where they are 0
    np.testing.assert_allclose(result.total, counts.sum(axis=1))
    assert result.total[3] == 0
    assert (result.abundance[:, 3] == 0).all()


def test_the_objective_is_half_the_squared_difference():
    spectra = known(3)
    counts, _ = draw(spectra, 50)
    result = fcls(make_cube(counts), spectra)
    fit = (result.abundance.values * result.total.values).T @ spectra
    np.testing.assert_allclose(result.objective, 0.5 * np.sum((counts - fit) ** 2), rtol=1e-10)


@pytest.mark.parametrize("phases", [1, 3, 5])
def test_the_likelihood_is_that_of_a_bounded_optimizer(phases):
    spectra = known(phases)
    counts, _ = draw(spectra, 25)
    result = fcls(make_cube(counts), spectra, loss="kl")
    amounts = (result.abundance * result.total).values.T
    np.testing.assert_allclose(result.total, counts.sum(axis=1), rtol=1e-12)
    for i in (0, 4, 8, 20):
        y = counts[i].astype(float)
        slope = lambda a, y=y: spectra.sum(axis=1) - spectra @ (y / np.maximum(a @ spectra, 1e-12))  # noqa: E731
        best = minimize(
            lambda a, y=y: divergence(a, spectra, y),
            np.full(phases, y.sum() / phases),
            jac=slope,
            method="L-BFGS-B",
            bounds=[(0, None)] * phases,
            options={"ftol": 1e-15, "gtol": 1e-9},
        )
        assert divergence(amounts[i], spectra, y) <= best.fun + 1e-9
        np.testing.assert_allclose(amounts[i], best.x, atol=1e-4 * y.sum())
    y = counts[counts > 0].astype(float)
    wanted = np.sum(y * np.log(y) - y) + sum(
        divergence(a, spectra, c) for a, c in zip(amounts, counts, strict=True)
    )
    np.testing.assert_allclose(result.objective, wanted, rtol=1e-9)


@pytest.mark.parametrize("mean", [0.7, 8.0, 5000.0])
def test_the_likelihood_is_at_its_top_in_every_pixel(mean):
    spectra = known(6)
    counts, _ = draw(spectra, 500, mean=mean)
    result = fcls(make_cube(counts), spectra, loss="kl")
    amounts = (result.abundance * result.total).values.T
    assert (amounts >= 0).all()
    for a, y in zip(amounts, counts.astype(float), strict=True):
        if y.sum():  # Karush, Kuhn & Tucker: no phase wants to grow, and none that is there to shrink
            fit = a @ spectra
            slope = 1 - spectra @ np.divide(y, fit, out=np.zeros_like(y), where=fit > 0)
            assert slope.min() > -1e-6
            assert np.abs(a * slope).max() < 1e-6 * y.sum()


def test_photons_that_no_spectrum_explains_are_left_out():
    spectra = known(3)
    spectra[:, 4] = 0
    counts, _ = draw(spectra, 30)
    stray = counts.copy()
    stray[:, 4] = 9
    without, found = (fcls(make_cube(c), spectra, loss="kl") for c in (counts, stray))
    np.testing.assert_allclose(found.abundance, without.abundance, atol=1e-9)
    np.testing.assert_allclose(found.total, without.total)
    assert np.isfinite(found.objective).all()


def test_likelihood_beats_least_squares_where_counts_are_few():
    spectra = known(3)
    counts, shares = draw(spectra, 3000, mean=40.0)
    errors = [
        np.mean((fcls(make_cube(counts), spectra, loss=loss).abundance.values.T - shares) ** 2)
        for loss in ("kl", "frobenius")
    ]
    assert errors[0] < 0.9 * errors[1]


def test_collections_and_any_scale_of_spectra_give_the_same_abundances():
    spectra = known(3)
    counts, _ = draw(spectra, 48)
    whole = fcls(make_cube(counts.reshape(6, 8, -1)), spectra)
    tree = xr.DataTree.from_dict(
        {"a": make_cube(counts[:16].reshape(2, 8, -1)), "b": make_cube(counts[16:].reshape(4, 8, -1))}
    )
    labelled = xr.DataArray(
        spectra * np.array([[5.0], [0.1], [30.0]]),
        dims=(schema.PHASE, schema.ENERGY),
        coords={schema.PHASE: ["Brg", "Fp", "CaPv"], schema.ENERGY: whole.energy},
    )
    parts = fcls(tree, labelled.T)
    assert parts.phase.values.tolist() == ["Brg", "Fp", "CaPv"]
    joined = np.concatenate([parts["a"].abundance, parts["b"].abundance], axis=1)
    np.testing.assert_allclose(joined, whole.abundance, atol=1e-12)


def test_a_result_serves_as_spectra_and_gives_itself_again():
    spectra = known(3)
    cube = make_cube(draw(spectra, 20)[0])
    first = fcls(cube, spectra)
    xr.testing.assert_allclose(fcls(cube, first)[schema.ABUNDANCE], first[schema.ABUNDANCE])


def test_ties_on_the_border_end_and_stay_feasible():
    gram = np.eye(4)
    products = np.array([[1.0, 1.0, -3.0, -3.0], [0.0, 0.0, 0.0, 0.0], [5.0, -5.0, -5.0, -5.0]])
    out = np.empty_like(products)
    assert simplex_rows(products, np.ones(3), gram, out) == 0
    np.testing.assert_allclose(out, [[0.5, 0.5, 0, 0], [0.25] * 4, [1, 0, 0, 0]], atol=1e-12)


def test_spectra_that_cannot_be_told_apart_are_refused_by_name():
    spectra = known(3)
    spectra[2] = 2 * spectra[0]
    cube = make_cube(draw(known(3), 5)[0])
    with pytest.raises(ParameterError, match="'phase_0' and 'phase_2': leave one out"):
        fcls(cube, spectra)


@pytest.mark.parametrize(
    ("change", "options", "words"),
    [
        (lambda s: s[:, :-1], {}, "channels long"),
        (lambda s: -s, {}, "negative"),
        (lambda s: s * np.nan, {}, "not finite"),
        (lambda s: s * np.array([[1], [0], [1]]), {}, "row 1 is all zeros"),
        (lambda s: s[0], {}, "one row per phase"),
        (lambda s: s, {"loss": "l1"}, "loss='l1'"),
        (lambda s: s, {"precision": "half"}, "precision='half'"),
        (lambda s: np.random.default_rng(0).random((33, CHANNELS)), {}, "33 rows"),
    ],
)
def test_bad_input_is_refused(change, options, words):
    with pytest.raises(ParameterError) as caught:
        fcls(make_cube(draw(known(3), 5)[0]), change(known(3)), **options)
    assert words in str(caught.value)


def test_spectra_of_another_axis_are_refused():
    cube = make_cube(draw(known(3), 5)[0])
    moved = xr.DataArray(
        known(3),
        dims=(schema.PHASE, schema.ENERGY),
        coords={schema.ENERGY: schema.energy_coordinate(0.3, 0.01, CHANNELS)},
    )
    with pytest.raises(SchemaError, match="energy axis of spectra"):
        fcls(cube, moved)
    with pytest.raises(SchemaError, match="rename them"):
        fcls(cube, moved.rename({schema.PHASE: "row"}))
