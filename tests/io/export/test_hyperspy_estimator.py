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
    """Decompose as HyperSpy does; its EDS signals scale counts and leave out vacuum unless told otherwise."""
    plain = {"normalize_poissonian_noise": False, "navigation_mask": None, "print_info": False}
    signal.decomposition(algorithm=model, **{**plain, **options})
    return signal.get_decomposition_factors().data, signal.get_decomposition_loadings().data


def test_hyperspy_takes_the_estimator(ds, signal):
    factors, loadings = decompose(signal, PhotonNMF(3))
    expected = PhotonNMF(3)
    w = expected.fit_transform(ds.edx.to_sparse())
    np.testing.assert_allclose(factors, expected.components_, rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(loadings.reshape(3, -1).T, w, rtol=1e-6, atol=1e-6)
    model_counts = signal.get_decomposition_model(3).data
    np.testing.assert_allclose(model_counts.sum(axis=-1), ds.counts.sum("energy").values, rtol=1e-6)


def test_masks_of_hyperspy_leave_pixels_and_channels_out(ds, signal):
    left_out = np.zeros((20, 24), dtype=bool)
    left_out[:5] = True
    cut = ds.energy.values < 0.2
    # HyperSpy's order is x, y
    factors, loadings = decompose(signal, PhotonNMF(3), navigation_mask=left_out.T, signal_mask=cut)
    assert not np.nan_to_num(factors[:, cut]).any()
    assert not np.nan_to_num(loadings[:, :5]).any()
    kept = ds.isel(y=slice(5, None)).counts.values[..., ~cut].reshape(-1, (~cut).sum())
    np.testing.assert_allclose(factors[:, ~cut], PhotonNMF(3).fit(kept).components_, rtol=1e-6, atol=1e-12)


def test_scaled_counts_of_hyperspy_are_factorized_by_least_squares(signal):
    """With ``normalize_poissonian_noise`` they are no counts any more, and their noise is even."""
    factors, loadings = decompose(
        signal, PhotonNMF(3, loss="frobenius", max_iter=2000), normalize_poissonian_noise=True
    )
    assert factors.shape == (3, signal.axes_manager.signal_size)
    assert (factors >= 0).all()
    modelled = np.einsum("kyx,ke->e", loadings, factors)
    seen = signal.data.sum(axis=(0, 1))
    assert np.abs(modelled - seen).sum() < 0.2 * seen.sum()
