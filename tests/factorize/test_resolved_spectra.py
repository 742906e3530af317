"""Spectra a detector can resolve: the dictionary, the continuum under peaks, and what they gain."""

import numpy as np
import pytest

from edxdask.factorize.spectra.resolved import ResolvedSpectra, clipped_continuum, resolution_kernel
from edxdask.physics.detector import fwhm_kev

ENERGY = 0.3 + 0.01 * np.arange(600)


def peak(centre: float, fwhm: float) -> np.ndarray:
    shape = np.exp(-0.5 * ((ENERGY - centre) / (fwhm / 2.3548)) ** 2)
    return shape / shape.sum()


def test_every_kernel_sums_to_one_and_is_narrower_than_the_detector():
    kernel = resolution_kernel(ENERGY, 130.0).toarray()
    np.testing.assert_allclose(kernel.sum(axis=1), 1.0, rtol=1e-12)
    row = kernel[200]
    centre = (row * ENERGY).sum()
    width = 2.3548 * np.sqrt((row * (ENERGY - centre) ** 2).sum())
    assert centre == pytest.approx(ENERGY[200], abs=1e-6)
    # cut at four standard deviations, sampled in channels: 1 % of slack
    assert width == pytest.approx(0.8 * float(fwhm_kev(ENERGY[200], fwhm_mn_ka_ev=130.0)), rel=0.01)


def test_the_continuum_is_found_under_the_peaks():
    continuum = 400.0 * np.exp(-ENERGY / 2.0) + 20.0
    counts = continuum.copy()
    for centre, area in ((1.25, 4e4), (1.74, 9e4), (3.69, 3e4), (5.2, 8e3)):
        counts += area * peak(centre, float(fwhm_kev(centre, fwhm_mn_ka_ev=130.0)))
    found = clipped_continuum(counts, ENERGY, 130.0)
    inner = slice(30, -30)
    # statistics-sensitive clipping follows a smooth continuum to a few per cent
    np.testing.assert_allclose(found[inner], continuum[inner], rtol=0.12)
    assert found.sum() == pytest.approx(continuum.sum(), rel=0.05)


def test_updates_raise_the_likelihood_and_find_the_peaks_they_were_drawn_from():
    rng = np.random.default_rng(5)
    truth = np.array([0.2 / ENERGY.size + 0.8 * peak(1.74, 0.08), 0.2 / ENERGY.size + 0.8 * peak(3.69, 0.11)])
    amounts = rng.uniform(0.2, 1.0, (60, 2)) * 2000
    counts = rng.poisson(amounts @ truth).astype(float)
    model = ResolvedSpectra.of(counts.sum(axis=0), ENERGY, 130.0)
    weights = model.start(np.ones((2, ENERGY.size)))
    likelihoods = []
    for _ in range(200):
        spectra = model.spectra(weights)
        fit = amounts @ spectra
        likelihoods.append(float((counts * np.log(fit) - fit).sum()))
        weights = model.update(weights, {"numerator": amounts.T @ (counts / fit)})
    assert np.all(np.diff(likelihoods) > -1e-9 * abs(likelihoods[0]))
    np.testing.assert_allclose(spectra.sum(axis=1), 1.0, rtol=1e-9)
    cosine = (spectra * truth).sum(axis=1) / np.linalg.norm(spectra, axis=1) / np.linalg.norm(truth, axis=1)
    assert np.degrees(np.arccos(cosine)).max() < 1.0
    # 60 000 photons per phase leave free spectra rougher than that
    free = np.linalg.lstsq(amounts, counts, rcond=None)[0]
    rough = (free * truth).sum(axis=1) / np.linalg.norm(free, axis=1) / np.linalg.norm(truth, axis=1)
    assert np.degrees(np.arccos(rough)).min() > 1.0


def test_a_spectrum_without_a_width_takes_the_usual_one():
    counts = 100 + 1e4 * peak(1.74, 0.08)
    unnamed, usual = (ResolvedSpectra.of(counts, ENERGY, width) for width in (None, 130.0))
    np.testing.assert_array_equal(unnamed.kernel.toarray(), usual.kernel.toarray())
