"""Sums of pixels of similar fractions, and the rounds on them."""

import numpy as np
import pytest

import edxdask
from edxdask.engine.problem import Demand, photons_of
from edxdask.engine.states import PixelStates
from edxdask.factorize.iteration.grouped import Groups, fit_groups
from edxdask.factorize.iteration.starts import GivenState
from edxdask.factorize.pansharpening.similar_pixels import gather_similar
from edxdask.factorize.spectra.free import FreeSpectra


@pytest.fixture
def draw() -> np.random.Generator:
    return np.random.default_rng(5)


@pytest.mark.parametrize("chunk", [5, 16])
def test_groups_hold_every_photon_once_beside_its_like(draw, chunk):
    counts = draw.poisson(0.3, (16, 11, 40)).astype(np.uint16)
    kinds = np.array([[1.0, 0.0, 0.0], [0.0, 0.5, 0.5], [0.25, 0.25, 0.5]])
    kind = draw.integers(0, 3, (16, 11)).ravel()
    noise = draw.uniform(0, 0.01, (kind.size, 3))
    totals = counts.sum(axis=2, dtype=np.float64).ravel()[:, None]
    abundance = (kinds[kind] + noise) / (kinds[kind] + noise).sum(axis=1, keepdims=True) * totals
    cube = edxdask.from_array(counts, energy_scale=0.01, energy_offset=0.2)
    cube = cube.chunk({"y": chunk, "x": chunk})
    with photons_of(cube, step="test", demand=Demand(100, 1000)) as problem:
        groups = gather_similar(PixelStates.made(problem, GivenState(abundance)), 3)
    flat = counts.reshape(-1, 40)
    expected = sorted(
        (flat[(kind == i) & (totals[:, 0] > 0)].sum(axis=0).tolist() for i in range(3)), key=str
    )
    assert sorted(groups.counts.astype(int).tolist(), key=str) == expected
    np.testing.assert_allclose(groups.abundance.sum(), totals.sum())


def test_rounds_on_groups_find_the_spectra_that_made_them(draw):
    spectra = draw.dirichlet(np.full(50, 0.2), 2)
    fractions = np.linspace(0, 1, 30)
    abundance = 1e5 * np.stack([fractions, 1 - fractions], axis=1)
    groups = Groups(abundance @ spectra, np.full_like(abundance, 5e4), np.ones(len(abundance)))
    begun = 0.7 * spectra + 0.3 * spectra[::-1]
    start = np.linspace(0.3, 0.7, 30)
    groups = Groups(np.rint(groups.counts), 1e5 * np.stack([start, 1 - start], axis=1), groups.pixels)
    found, shares = fit_groups(FreeSpectra(), begun, groups, sparsity=0.0)
    np.testing.assert_allclose(found, spectra, atol=0.01 * spectra.max())
    np.testing.assert_allclose((shares @ found).sum(axis=1), groups.counts.sum(axis=1), rtol=1e-4)
    np.testing.assert_allclose(shares, abundance, atol=2e3)


def test_sums_beyond_32_bits_are_cut_into_parts_that_hold_every_photon(draw):
    counts = draw.integers(3_000_000_000, 4_000_000_000, (4, 4, 6)).astype(np.uint32)
    abundance = np.ones((16, 2)) * counts.sum(axis=2).reshape(-1, 1) / 2
    cube = edxdask.from_array(counts, energy_scale=0.01, energy_offset=0.2)
    with photons_of(cube, step="test", demand=Demand(100, 1000)) as problem:
        groups = gather_similar(PixelStates.made(problem, GivenState(abundance)), 2)
    np.testing.assert_array_equal(groups.counts.sum(axis=0), counts.sum(axis=(0, 1), dtype=np.int64))
    assert groups.counts.max() <= np.iinfo(np.uint32).max
    assert (groups.counts == np.rint(groups.counts)).all()
    np.testing.assert_allclose(groups.abundance.sum(), abundance.sum(), rtol=1e-6)
    fit_groups(FreeSpectra(), np.full((2, 6), 1 / 6), groups, sparsity=0.0)


def test_psnmf_takes_ten_million_counts_per_voxel(draw):
    channel = np.arange(50)
    spectra = np.exp(-channel / 20) * (1 + 3 * np.exp(-(((channel - np.array([[12], [32]])) / 3) ** 2)))
    spectra /= spectra.sum(axis=1, keepdims=True)
    fractions = draw.dirichlet([0.5, 0.5], (12, 12))
    counts = draw.poisson(5e8 * fractions @ spectra).astype(np.uint32)
    cube = edxdask.from_array(counts, energy_scale=0.05, energy_offset=0.3)
    found = edxdask.psnmf(cube, phases=2, bin=1, smooth=0.0)
    total = found.abundance.sum("phase")
    np.testing.assert_allclose(total, 1.0, rtol=1e-5)
    np.testing.assert_allclose(found.total.sum(), counts.sum(dtype=np.float64), rtol=1e-4)
