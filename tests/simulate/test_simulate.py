"""``simulate``: the same photons whatever the chunks, the right statistics, and truth that adds up."""

from __future__ import annotations

import pickle

import dask
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from edxdask.errors import ParameterError
from edxdask.schema import validate_cube
from edxdask.simulate import simulate

RECIPES = ("mantle", "nanoparticles")
SEEDS = [0, 1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 10))]
TARGET_FRACTIONS = (0.905, 0.069, 0.026)  # H. Chen et al., Nano Lett. 24 (2024) 10177


class CountingScheduler:
    """Counts how often anything is computed."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, dsk, keys, **kwargs):
        self.calls += 1
        return dask.get(dsk, keys, **kwargs)


@pytest.fixture(scope="module")
def whole() -> dict[str, np.ndarray]:
    """Counts of a 37 × 29 map of each recipe, drawn in one chunk."""
    return {name: simulate(name, shape=(37, 29), counts=30, chunks=100).counts.values for name in RECIPES}


@pytest.mark.parametrize("recipe", RECIPES)
@given(chunks=st.tuples(st.integers(1, 40), st.integers(1, 40)))
def test_any_chunking_draws_the_same_photons(whole, recipe, chunks):
    ds = simulate(recipe, shape=(37, 29), counts=30, chunks=chunks)
    np.testing.assert_array_equal(ds.counts.values, whole[recipe])


@given(data=st.data())
def test_a_slice_is_the_slice_of_the_whole(whole, data):
    top, left = data.draw(st.integers(0, 36)), data.draw(st.integers(0, 28))
    bottom, right = data.draw(st.integers(top + 1, 37)), data.draw(st.integers(left + 1, 29))
    part = simulate(shape=(37, 29), counts=30, chunks=8).counts[top:bottom, left:right]
    np.testing.assert_array_equal(part.values, whole["mantle"][top:bottom, left:right])


@pytest.mark.parametrize("scheduler", ["sync", "threads", "processes"])
def test_any_scheduler_draws_the_same_photons(whole, scheduler):
    ds = simulate(shape=(37, 29), counts=30, chunks=20)
    with dask.config.set(scheduler=scheduler, num_workers=2):
        np.testing.assert_array_equal(ds.counts.values, whole["mantle"])


def test_a_pickled_cube_draws_the_same_photons(whole):
    ds = pickle.loads(pickle.dumps(simulate(shape=(37, 29), counts=30)))
    np.testing.assert_array_equal(ds.counts.values, whole["mantle"])


def test_another_seed_is_another_map_and_the_same_seed_is_the_same():
    first, same, other = (simulate(shape=(24, 24), seed=seed) for seed in (3, 3, 4))
    xr.testing.assert_identical(first.compute(), same.compute())
    assert (first.counts.values != other.counts.values).any()
    assert (first.truth_abundance.values != other.truth_abundance.values).any()


@pytest.mark.parametrize("recipe", RECIPES)
def test_building_a_cube_and_chaining_operations_computes_nothing(recipe):
    scheduler = CountingScheduler()
    with dask.config.set(scheduler=scheduler):
        ds = simulate(recipe, shape=(4096, 2048), channels=4096, counts=60)
        chain = ds.isel(y=slice(10, 500)).counts.sum("energy") * 2
        ds.truth_abundance.mean(("y", "x"))
        assert scheduler.calls == 0
        chain[:2, :2].compute()
        assert scheduler.calls == 1


def test_chunks_are_64_by_64_by_all_channels_of_uint16():
    counts = simulate(shape=(130, 70)).counts
    assert counts.chunks == ((64, 64, 2), (64, 6), (970,))
    assert counts.dtype == np.uint16


def test_counts_too_large_for_uint16_get_uint32():
    counts = simulate(shape=(2, 2), counts=5e6).counts
    assert counts.dtype == np.uint32
    values = counts.values
    assert values.max() > 0xFFFF
    assert values.sum() == pytest.approx(4 * 5e6, rel=5 / np.sqrt(4 * 5e6))


@pytest.mark.parametrize("counts", [0.3, 11.0, 13.0, 147.0])
def test_totals_are_poisson(counts):
    totals = simulate(shape=(128, 128), counts=counts, channels=64).counts.sum("energy").values.ravel()
    n = totals.size
    assert totals.mean() == pytest.approx(counts, abs=4.5 * np.sqrt(counts / n))
    # the variance of a Poisson sample's variance is (2 + 1/mean) mean² / n
    assert totals.var() == pytest.approx(counts, abs=4.5 * counts * np.sqrt((2 + 1 / counts) / n))
    edges = np.unique(stats.poisson.ppf(np.linspace(0.02, 0.98, 15), counts)).astype(int)
    observed = np.histogram(totals, np.r_[-1, edges, totals.max() + edges[-1] + 1] + 0.5)[0]
    expected = n * np.diff(np.r_[0, stats.poisson.cdf(edges, counts), 1])
    assert stats.chisquare(observed, expected * n / expected.sum()).pvalue > 1e-4


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_sum_spectrum_is_a_draw_from_the_truth(recipe):
    ds = simulate(recipe, shape=(96, 96), counts=200).compute()
    expected = np.einsum(
        "kyx,yx,ke->e", ds.truth_abundance.values, ds.truth_total.values, ds.truth_spectrum.values
    )
    observed = ds.counts.sum(("y", "x")).values.astype(float)
    used = expected > 20
    chi2 = ((observed - expected)[used] ** 2 / expected[used]).sum()
    assert stats.chi2.sf(chi2, used.sum()) > 1e-4
    assert stats.chi2.cdf(chi2, used.sum()) > 1e-4


def test_every_pixel_follows_its_own_abundance():
    ds = simulate(shape=(60, 60), counts=400, seed=2).compute()
    weights = ds.truth_spectrum.values @ np.diag(1.0 / ds.truth_spectrum.values.mean(axis=0))
    estimate = np.einsum("yxe,ke->kyx", ds.counts.values.astype(float), weights)
    mean = np.einsum("jyx,je,ke->kyx", ds.truth_abundance.values, ds.truth_spectrum.values, weights) * 400
    variance = (
        np.einsum("jyx,je,ke->kyx", ds.truth_abundance.values, ds.truth_spectrum.values, weights**2) * 400
    )
    z = (estimate - mean) / np.sqrt(variance)
    assert np.abs(z.mean(axis=(1, 2))).max() < 4.5 / 60
    assert z.var() == pytest.approx(1.0, abs=0.1)
    # neighbours share no randomness
    assert abs(np.mean(z[:, 1:] * z[:, :-1])) < 0.06


@pytest.mark.parametrize("recipe", RECIPES)
def test_truth_adds_up(recipe):
    ds = simulate(recipe, shape=(90, 70), counts=33, seed=5).compute()
    validate_cube(ds)
    np.testing.assert_allclose(ds.truth_abundance.sum("phase"), 1, atol=1e-12)
    np.testing.assert_allclose(ds.truth_spectrum.sum("energy"), 1, atol=1e-12)
    np.testing.assert_allclose(ds.truth_composition.sum("element"), 1, atol=1e-12)
    assert ds.truth_abundance.values.min() >= 0
    assert ds.truth_total.values.mean() == pytest.approx(33, rel=1e-9)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("shape", [(180, 180), (61, 300)])
def test_mantle_precipitates_keep_their_fractions_and_never_occur_pure(seed, shape):
    abundance = simulate(shape=shape, seed=seed).truth_abundance.values
    np.testing.assert_allclose(abundance.mean(axis=(1, 2)), TARGET_FRACTIONS, rtol=0.02)
    assert abundance[1:].max() <= 0.77
    assert abundance[1:].sum(axis=0).max() <= 0.77 + 1e-12
    assert abundance[1:].max(axis=(1, 2)).min() > 0.5
    overlap = (abundance[1] > 0.05) & (abundance[2] > 0.05)
    assert overlap.sum() >= 5


def test_a_larger_map_has_more_grains_of_the_same_size():
    from scipy.ndimage import label

    small = simulate(shape=(180, 180)).truth_abundance[1].values > 0.05
    large = simulate(shape=(540, 540)).truth_abundance[1].values > 0.05
    many, few = label(large)[1], label(small)[1]
    assert many > 4 * few
    assert large.sum() / many == pytest.approx(small.sum() / few, rel=0.6)


def test_nanoparticles_vary_in_thickness_and_show_every_phase():
    ds = simulate("nanoparticles", shape=(128, 128), counts=100).compute()
    assert ds.truth_total.values.max() > 10 * ds.truth_total.values.min()
    assert (ds.truth_abundance.max(("y", "x")).values > 0.3).all()
    assert (ds.truth_total.values <= 100 * 60).all()


def test_axis_and_attributes_say_what_was_simulated():
    ds = simulate(shape=(8, 9), channels=500, energy_offset=0.1, energy_scale=0.02, beam_energy=300, seed=7)
    np.testing.assert_array_equal(ds.energy.values, 0.1 + np.arange(500) * 0.02)
    assert ds.attrs["beam_energy_kev"] == 300.0
    assert ds.attrs["seed"] == 7
    assert ds.attrs["recipe"] == "mantle"
    assert ds.attrs["thickness_nm"] == 100.0
    assert ds.attrs["density_g_cm3"] == 4.5
    np.testing.assert_array_equal(simulate(shape=(2, 3), pixel_size=2.5).x.values, [0, 2.5, 5.0])


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (3, 2), (500, 1)])
def test_tiny_and_thin_maps_work(shape):
    ds = simulate(shape=shape).compute()
    assert ds.counts.shape[:2] == shape
    np.testing.assert_allclose(ds.truth_abundance.sum("phase"), 1, atol=1e-12)
    assert ds.truth_abundance.values[1:].max() <= 0.77


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("recipe", "mantel"),
        ("shape", (0, 10)),
        ("shape", (10,)),
        ("shape", (10.5, 10)),
        ("shape", "ab"),
        ("counts", 0),
        ("counts", -3),
        ("counts", float("nan")),
        ("counts", 1e12),
        ("channels", 65537),
        ("channels", 1),
        ("seed", -1),
        ("seed", 1.5),
        ("energy_scale", 0),
        ("energy_offset", float("inf")),
        ("beam_energy", 200_000),
        ("beam_energy", 15),
        ("fwhm_mn_ka_ev", 50),
        ("elevation_deg", 0.0),
        ("pixel_size", 0),
        ("grain", 0),
        ("chunks", 0),
        ("chunks", (64, 64, 64)),
    ],
)
def test_a_bad_value_is_named(parameter, value):
    with pytest.raises(ParameterError, match=parameter):
        simulate(**{"shape": (8, 8), parameter: value})


def test_an_unknown_recipe_lists_what_exists():
    with pytest.raises(ParameterError, match="'mantle', 'nanoparticles'"):
        simulate("marble")


def test_compositions_of_phases_and_the_thickness_can_be_changed():
    usual = simulate(shape=(8, 8), counts=20)
    ds = simulate(
        shape=(8, 8), counts=20, compositions={"Brg": {"Nd": 0.025, "U": 0.01, "Sm": 0}}, thickness=150
    )
    brg = ds.truth_composition.sel(phase="Brg")
    old = usual.truth_composition.sel(phase="Brg")
    ratio = float(brg.sel(element="Nd") / brg.sel(element="Mg"))
    assert ratio == pytest.approx(0.025 / 18.5)
    assert float(brg.sel(element="Sm")) == 0
    assert float(old.sel(element="U")) == 0 < float(brg.sel(element="U"))
    assert ds.attrs["thickness_nm"] == 150
    kept = ds.truth_composition.sel(phase="Fp", element=usual.element)
    np.testing.assert_array_equal(kept, usual.truth_composition.sel(phase="Fp"))


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"compositions": {"brg": {"Nd": 1}}}, "phases of the recipe: Brg, Fp, CaPv"),
        ({"compositions": {"Brg": {"Nd": -1}}}, "atoms, 0 or more"),
        ({"compositions": {"Brg": {"Xx": 1}}}, "Xx"),
        ({"compositions": {"Fp": {"Mg": 0, "Fe": 0, "Cu": 0, "O": 0}}}, "an amount above 0"),
        ({"thickness": 0}, "a number above 0"),
    ],
)
def test_compositions_and_thickness_that_cannot_be_are_refused(given, says):
    with pytest.raises(ParameterError, match=says):
        simulate(shape=(8, 8), **given)
