"""PhotonNMF: scikit-learn's rules, its answers, and counts in every form people have them in."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csc_matrix, csr_array, csr_matrix
from sklearn.base import clone
from sklearn.decomposition import NMF
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.utils.estimator_checks import check_estimator

import edxdask
from edxdask import PhotonNMF
from edxdask.errors import MemoryBudgetError, ParameterError
from edxdask.factorize.matrix import least_squares

LOSSES = {"kl": "kullback-leibler", "frobenius": "frobenius"}  # our names, scikit-learn's


def truth(rows=600, channels=60, k=3, counts=80.0, seed=0):
    """Counts of known spectra and amounts."""
    rng = np.random.default_rng(seed)
    centres = np.linspace(8, channels - 8, k)
    spectra = np.exp(-0.5 * ((np.arange(channels) - centres[:, None]) / 4) ** 2) + 0.02
    spectra /= spectra.sum(axis=1, keepdims=True)
    amounts = counts * rng.dirichlet(np.full(k, 0.4), rows)
    return rng.poisson(amounts @ spectra), amounts, spectra


@pytest.fixture(scope="module")
def counts():
    return truth()[0]


def start(counts, k=3, seed=1):
    rng = np.random.default_rng(seed)
    scale = np.sqrt(counts.mean() / k)
    return scale * rng.uniform(0.1, 1.9, (len(counts), k)), scale * rng.uniform(
        0.1, 1.9, (k, counts.shape[1])
    )


def normalised(w, h):
    sums = h.sum(axis=1)
    return w * sums, h / sums[:, None]


# scikit-learn's rules


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")  # of checks with few iterations
def test_it_keeps_the_rules_of_scikit_learn():
    """No check is expected to fail; those of other kinds of estimators do not apply and are not run."""
    results = check_estimator(PhotonNMF(), on_skip=None, on_fail=None)
    failed = {each["check_name"]: repr(each["exception"]) for each in results if each["status"] == "failed"}
    assert failed == {}
    assert len(results) > 40


def test_parameters_can_be_read_set_and_cloned():
    model = PhotonNMF(4, loss="frobenius", tol=0.1)
    assert clone(model).get_params() == model.get_params()
    assert model.set_params(n_components=5).n_components == 5
    assert repr(model) == "PhotonNMF(loss='frobenius', n_components=5, tol=0.1)"


def test_it_works_in_a_pipeline(counts):
    unchanged = FunctionTransformer(accept_sparse=True, feature_names_out="one-to-one")
    pipeline = make_pipeline(unchanged, PhotonNMF(3), StandardScaler())
    scores = pipeline.fit_transform(csr_array(counts))
    np.testing.assert_allclose(scores, pipeline.transform(csr_array(counts)), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(scores.std(axis=0), 1)
    assert list(pipeline[:2].get_feature_names_out()) == ["photonnmf0", "photonnmf1", "photonnmf2"]


def test_it_works_in_a_grid_search(counts):
    def closeness(model, held_out, _=None):
        expected = np.maximum(model.inverse_transform(model.transform(held_out)), 1e-9)
        return float((held_out * np.log(expected) - expected).sum())

    search = GridSearchCV(PhotonNMF(), {"n_components": [1, 3]}, scoring=closeness, cv=2).fit(counts)
    assert search.best_params_ == {"n_components": 3}


def test_names_of_columns_are_kept():
    frame = pd.DataFrame(truth(channels=20)[0], columns=[f"e{i}" for i in range(20)])
    model = PhotonNMF(2).fit(frame)
    assert model.feature_names_in_.tolist() == frame.columns.tolist()
    assert model.set_output(transform="pandas").transform(frame).columns.tolist() == [
        "photonnmf0",
        "photonnmf1",
    ]


def test_what_is_not_fitted_says_so(counts):
    with pytest.raises(NotFittedError):
        PhotonNMF().transform(counts)


# answers


@pytest.mark.parametrize("loss", ["kl", "frobenius"])
def test_spectra_after_some_plain_updates_are_those_of_scikit_learn(counts, loss):
    w, h = start(counts)
    model = PhotonNMF(3, loss=loss, init=(w, h), max_iter=20, tol=0, accelerate=False, precision="double")
    model.fit(counts)
    peer = NMF(3, init="custom", max_iter=20, tol=0, solver="mu", beta_loss=LOSSES[loss])
    w_peer = peer.fit_transform(counts.astype(float), W=w.copy(), H=h.copy())
    np.testing.assert_allclose(
        model.components_, normalised(w_peer, peer.components_)[1], rtol=1e-6, atol=1e-12
    )
    assert model.n_iter_ == peer.n_iter_ == 20
    assert model.reconstruction_err_ <= peer.reconstruction_err_  # its W is one update behind its spectra


def test_converged_answers_are_those_of_scikit_learn(counts):
    model = PhotonNMF(3, max_iter=3000, tol=1e-11, precision="double")
    w = model.fit_transform(counts)
    peer = NMF(3, init="nndsvda", max_iter=3000, tol=1e-9, solver="mu", beta_loss=LOSSES["kl"])
    w_peer, h_peer = normalised(peer.fit_transform(counts.astype(float)), peer.components_)
    order = np.argsort(-w_peer.sum(axis=0))
    np.testing.assert_allclose(model.components_, h_peer[order], rtol=0, atol=2e-3)
    np.testing.assert_allclose(w, w_peer[:, order], rtol=0, atol=0.01 * w.max())
    assert model.reconstruction_err_ == pytest.approx(peer.reconstruction_err_, rel=1e-4)


@pytest.mark.parametrize("loss", ["kl", "frobenius"])
def test_transform_is_the_best_there_is(counts, loss):
    model = PhotonNMF(3, loss=loss, precision="double", max_iter=2000).fit(counts)
    fresh = truth(rows=40, seed=9)[0]
    w = model.transform(fresh)
    peer = NMF(3, init="random", max_iter=1, solver="mu", beta_loss=LOSSES[loss])
    with pytest.warns(ConvergenceWarning):
        peer.fit(counts.astype(float))
    peer.components_, peer.max_iter, peer.tol = model.components_, 20_000, 0
    peer._n_components = peer.n_components_ = 3
    w_peer = peer.transform(fresh.astype(float))
    np.testing.assert_allclose(w, w_peer, rtol=0, atol=1e-3 * w.max())


def test_what_fit_transform_gives_is_what_transform_gives(counts):
    model = PhotonNMF(3)
    w = model.fit_transform(counts)
    np.testing.assert_allclose(w, model.transform(counts), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(w.sum(axis=1), counts.sum(axis=1), rtol=1e-9)  # every row keeps its photons
    assert (np.diff(w.sum(axis=0)) <= 0).all()  # biggest first
    expected = model.inverse_transform(w)
    seen = counts > 0
    divergence = (counts[seen] * np.log(counts[seen] / expected[seen])).sum() - counts.sum() + expected.sum()
    assert model.reconstruction_err_ == pytest.approx(np.sqrt(2 * divergence), rel=1e-6)


def test_true_spectra_are_found():
    counts, _, spectra = truth(rows=3000, counts=300)
    found = PhotonNMF(3).fit(counts).components_
    cosines = (found / np.linalg.norm(found, axis=1)[:, None]) @ (
        spectra / np.linalg.norm(spectra, axis=1)[:, None]
    ).T
    angles = np.degrees(np.arccos(cosines.max(axis=0)))
    assert angles.max() < 4


def test_the_order_of_rows_does_not_matter(counts):
    order = np.random.default_rng(0).permutation(len(counts))
    one, other = PhotonNMF(3, precision="double"), PhotonNMF(3, precision="double")
    np.testing.assert_allclose(
        one.fit_transform(counts)[order], other.fit_transform(counts[order]), atol=1e-4
    )


def test_random_starts_follow_the_random_state(counts):
    fits = [
        PhotonNMF(3, init="random", max_iter=5, tol=0, random_state=seed).fit(counts).components_
        for seed in (0, 0, 1, np.random.RandomState(5))
    ]
    np.testing.assert_array_equal(fits[0], fits[1])
    assert not np.allclose(fits[0], fits[2])
    assert not np.allclose(fits[2], fits[3])


def test_least_squares_meets_its_conditions():
    rng = np.random.default_rng(3)
    basis = rng.random((4, 30))
    products, gram = rng.normal(size=(200, 30)) @ basis.T, basis @ basis.T
    amounts = least_squares(products, gram)
    slopes = amounts @ gram - products
    assert (amounts >= 0).all()
    assert slopes.min() > -1e-7
    assert np.abs(slopes * amounts).max() < 1e-7


# counts in every form


@pytest.mark.parametrize(
    "form",
    [
        lambda x: x.astype(np.uint8),
        lambda x: x.astype(np.float64),
        lambda x: x.astype(np.float32),
        np.asfortranarray,
        csr_array,
        csr_matrix,
        lambda x: csr_array(x.astype(np.float64)),
        csc_matrix,
        lambda x: x.tolist(),
    ],
    ids=[
        "uint8",
        "float64",
        "float32",
        "Fortran",
        "csr_array",
        "csr_matrix",
        "csr of floats",
        "csc",
        "lists",
    ],
)
def test_the_form_of_the_counts_does_not_matter(counts, form):
    expected = PhotonNMF(3).fit(counts)
    found = PhotonNMF(3).fit(form(counts))
    np.testing.assert_allclose(found.components_, expected.components_, rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(
        found.transform(form(counts)), expected.transform(counts), rtol=1e-4, atol=1e-4
    )


def test_results_are_single_where_the_counts_are(counts):
    model = PhotonNMF(3).fit(counts.astype(np.float32))
    assert model.components_.dtype == model.transform(counts.astype(np.float32)).dtype == np.float32
    assert PhotonNMF(3).fit_transform(counts).dtype == np.float64


def test_duplicates_and_stored_zeros_of_a_sparse_matrix_are_understood_and_left_alone(counts):
    matrix = csr_array(counts[:50])
    data, indices = np.repeat(matrix.data, 2), np.repeat(matrix.indices, 2)
    data[1::2] = 0  # every count followed by a zero at its place
    twice = csr_array((data, indices, 2 * matrix.indptr), shape=matrix.shape)
    before = twice.data.copy()
    np.testing.assert_allclose(
        PhotonNMF(2).fit_transform(twice), PhotonNMF(2).fit_transform(matrix), rtol=1e-6, atol=1e-6
    )
    np.testing.assert_array_equal(twice.data, before)


@pytest.mark.parametrize("form", [np.asarray, csr_array])
@pytest.mark.parametrize("loss", ["kl", "frobenius"])
def test_numbers_that_are_no_counts_keep_their_scale(counts, form, loss):
    """A rate is a count divided by a time: the same spectra, and W in units of the rate."""
    rates = counts / 7.3
    how = {"loss": loss, "precision": "double"}
    from_counts, from_rates = PhotonNMF(3, **how), PhotonNMF(3, **how)
    w = from_counts.fit_transform(counts)
    np.testing.assert_allclose(from_rates.fit_transform(form(rates)), w / 7.3, rtol=0, atol=1e-4 * w.max())
    np.testing.assert_allclose(from_rates.components_, from_counts.components_, rtol=0, atol=1e-5)
    factor = np.sqrt(7.3) if loss == "kl" else 7.3
    assert from_rates.reconstruction_err_ == pytest.approx(from_counts.reconstruction_err_ / factor, rel=1e-5)


@pytest.mark.parametrize("loss", ["kl", "frobenius"])
def test_a_start_with_the_mean_for_zeros_does_not_drown_factors_of_large_counts(counts, loss):
    """Factors grow with the root of the counts; filled with their mean they are three equal components."""
    one, many = PhotonNMF(3, loss=loss).fit(counts), PhotonNMF(3, loss=loss).fit(256 * counts)
    np.testing.assert_allclose(many.components_, one.components_, rtol=0, atol=1e-3)
    drowned = PhotonNMF(3, loss=loss, init="nndsvda").fit(256 * counts)
    assert drowned.reconstruction_err_ > 1.2 * many.reconstruction_err_  # or this start needs no care


def test_nndsvda_is_the_start_of_scikit_learn(counts):
    fits = [
        PhotonNMF(3, init="nndsvda", max_iter=20, tol=0, accelerate=False, precision="double"),
        NMF(3, init="nndsvda", max_iter=20, tol=0, solver="mu", beta_loss=LOSSES["kl"]),
    ]
    ours, peer = (model.fit(counts.astype(float)).components_ for model in fits)
    peer /= peer.sum(axis=1, keepdims=True)
    nearest = np.abs(ours[:, None] - peer).max(axis=-1).argmin(axis=1)
    np.testing.assert_allclose(ours, peer[nearest], rtol=0, atol=2e-3)  # singular vectors are approximate


def test_numbers_of_any_size_are_taken(counts):
    for scale in (1e-30, 1e12):
        w = PhotonNMF(3, max_iter=50, tol=0).fit_transform(counts.astype(np.float64) * scale)
        np.testing.assert_allclose(w.sum(axis=1), counts.sum(axis=1) * scale, rtol=1e-6)


def test_photons_of_a_cube_as_a_sparse_matrix_give_what_nmf_gives():
    ds = edxdask.simulate(shape=(24, 20), counts=200, seed=2)
    result = edxdask.nmf(ds, phases=3, accelerate=False, max_iter=300, tol=0, precision="double")
    model = PhotonNMF(3, accelerate=False, max_iter=300, tol=0, precision="double")
    w = model.fit_transform(ds.edx.to_sparse())
    np.testing.assert_allclose(model.components_, result.spectrum.values, rtol=1e-6, atol=1e-12)
    fractions = (w / w.sum(axis=1, keepdims=True)).reshape(24, 20, 3)
    np.testing.assert_allclose(fractions, result.abundance.transpose("y", "x", "phase").values, atol=0.02)


# refusals


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_components": 0}, "n_components=0: expected a whole number of at least 1"),
        ({"n_components": 61}, "n_samples=600 or n_features=60"),
        ({"n_components": 2.0}, "n_components=2.0: expected a whole number"),
        ({"loss": "kullback-leibler"}, "'kl' is scikit-learn's beta_loss='kullback-leibler'"),
        ({"precision": "half"}, "precision='half': expected 'single' or 'double'"),
        ({"max_iter": 0}, "max_iter=0: expected a whole number of at least 1"),
        ({"tol": -1}, "tol=-1: expected a number of at least 0"),
        ({"init": "svd"}, "init='svd': expected 'nndsvda', 'random'"),
        ({"progress": "yes"}, "progress='yes': expected"),
    ],
)
def test_parameters_that_cannot_work_are_refused(counts, parameters, message):
    with pytest.raises(ParameterError, match=message):
        PhotonNMF(**parameters).fit(counts)


def test_numbers_that_cannot_be_counts_are_refused(counts):
    with pytest.raises(ValueError, match="Negative values in data"):
        PhotonNMF().fit(counts - 1)
    with pytest.raises(ValueError, match="NaN"):
        PhotonNMF().fit(np.where(counts > 3, np.nan, counts))
    with pytest.raises(ParameterError, match="zeros only"):
        PhotonNMF().fit(np.zeros((10, 10)))


def test_what_does_not_fit_the_memory_is_refused(counts):
    with pytest.raises(MemoryBudgetError, match="PhotonNMF does not fit memory_limit"):
        PhotonNMF(memory_limit="1MiB").fit(counts)


def test_a_fit_that_took_all_iterations_warns(counts):
    with pytest.warns(ConvergenceWarning, match="max_iter=3"):
        PhotonNMF(3, max_iter=3).fit(counts)


def test_progress_is_reported(counts):
    events = []
    PhotonNMF(3, max_iter=4, tol=0, progress=events.append).fit(counts)
    assert [(event.label, event.done, event.total) for event in events] == [
        ("PhotonNMF", i, 4) for i in (1, 2, 3, 4)
    ]
