"""HyperSpy's ``decomposition`` with our estimator, run by the real HyperSpy in an environment that has it."""

from __future__ import annotations

import numpy as np
import pytest

import edxdask
from edxdask import PhotonNMF


@pytest.fixture(scope="module")
def ds():
    return edxdask.simulate(shape=(20, 24), counts=300, seed=1)


@pytest.fixture
def signal(ds):
    pytest.importorskip("exspy", reason="exspy is not installed: it is an extra, edxdask[hyperspy]")
    pytest.importorskip("hyperspy.api", reason="HyperSpy is not installed: it is an extra")
    signal = edxdask.to_hyperspy(ds, lazy=False)
    signal.change_dtype("float64")  # HyperSpy decomposes floats only
    return signal


def decompose(signal, model, **options):
    return signal.decomposition(algorithm=model, print_info=False, return_info=True, **options)


def test_hyperspy_takes_the_estimator(ds, signal):
    model = PhotonNMF(3)
    assert decompose(signal, model) is model
    expected = PhotonNMF(3)
    w = expected.fit_transform(ds.edx.to_sparse())
    factors, loadings = signal.get_decomposition_factors(), signal.get_decomposition_loadings()
    np.testing.assert_allclose(factors.data, expected.components_, rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(loadings.data.reshape(3, -1).T, w, rtol=1e-6, atol=1e-6)
    model_counts = signal.get_decomposition_model(3).data
    np.testing.assert_allclose(model_counts.sum(axis=-1), ds.counts.sum("energy").values, rtol=1e-6)


def test_masks_of_hyperspy_leave_pixels_and_channels_out(ds, signal):
    left_out = np.zeros((20, 24), dtype=bool)
    left_out[:5] = True
    cut = ds.energy.values < 0.2
    decompose(signal, PhotonNMF(3), navigation_mask=left_out, signal_mask=cut)
    factors, loadings = signal.get_decomposition_factors().data, signal.get_decomposition_loadings().data
    assert np.isnan(factors[:, cut]).all()
    assert np.isnan(loadings[:, :5]).all()
    kept = ds.isel(y=slice(5, None)).counts.values[..., ~cut].reshape(-1, (~cut).sum())
    np.testing.assert_allclose(factors[:, ~cut], PhotonNMF(3).fit(kept).components_, rtol=1e-6, atol=1e-12)


def test_scaled_counts_of_hyperspy_are_factorized_by_least_squares(signal):
    """With ``normalize_poissonian_noise`` they are no counts any more; their noise is that of least squares."""
    model = PhotonNMF(3, loss="frobenius", max_iter=2000)
    decompose(signal, model, normalize_poissonian_noise=True)
    assert model.components_.shape == (3, signal.axes_manager.signal_size)
    assert np.isfinite(signal.get_decomposition_model(3).data).all()
