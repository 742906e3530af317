"""The first rounds of ``nmf``, on binned photons: the same for any partitions, and worth their while."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import edxdask
from edxdask.engine.problem import Demand, photons_of
from edxdask.engine.states import PixelStates
from edxdask.factorize.iteration.first_rounds import binned_abundance
from edxdask.factorize.iteration.starts import GivenState
from edxdask.factorize.nmf import nmf


def drawn(shape=(45, 37), *, seed=0):
    rng = np.random.default_rng(seed)
    spectra = rng.dirichlet(np.full(50, 0.3), size=3)
    fraction = rng.dirichlet(np.full(3, 0.4), size=shape)
    counts = rng.poisson(60 * fraction @ spectra).astype(np.uint16)
    return edxdask.from_array(counts, energy_offset=0.0, energy_scale=0.01)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("factor", [2, 4, 7])
@pytest.mark.parametrize("chunk", [5, 16, 45])
def test_abundances_of_bins_are_sums_over_their_pixels(chunk, factor, workers):
    ds = drawn().chunk({"y": chunk})
    given = np.random.default_rng(1).random((45 * 37, 3))
    padded = np.pad(given.reshape(45, 37, 3), ((0, -45 % factor), (0, -37 % factor), (0, 0)))
    tall, wide = padded.shape[0] // factor, padded.shape[1] // factor
    expected = padded.reshape(tall, factor, wide, factor, 3).sum(axis=(1, 3)).reshape(-1, 3)
    with photons_of(ds, step="test", demand=Demand(100, 1000), workers=workers) as problem:
        states = PixelStates.made(problem, GivenState(given))
        with problem.derived(factor=factor) as binned:
            stacks = [view.stack for view in binned.maps]
        total = np.zeros_like(expected)
        for pieces in states.collect(binned_abundance, stacks, factor):
            for first, sums in pieces:
                total[first : first + len(sums)] += sums
    np.testing.assert_allclose(total, expected, rtol=1e-12)


@pytest.mark.parametrize("init", ["nndsvda", "random"])
def test_partitions_do_not_matter(init):
    ds = drawn((3 * 16, 40))
    options = {"phases": 3, "init": init, "max_iter": 15, "tol": 0, "precision": "double"}
    one = nmf(ds, workers=1, **options)
    other = nmf(ds.chunk({"y": 7, "x": 11}), workers=3, **options)
    for name in ("spectrum", "abundance", "objective"):
        np.testing.assert_allclose(other[name], one[name], rtol=1e-6, atol=1e-9)


def test_maps_of_a_collection_are_binned_each_for_itself():
    maps = xr.DataTree.from_dict({"/a": drawn((32, 32)), "/b": drawn((20, 24), seed=1)})
    labels = []
    result = nmf(maps, phases=3, max_iter=5, tol=0, progress=lambda p: labels.append(p.label))
    assert labels[:5] == ["spectra from bins of 2"] * 5
    assert result["a"].sizes == {**result["a"].sizes, "y": 32, "x": 32}


def test_few_rounds_then_do_for_many():
    ds = edxdask.simulate("mantle", shape=(96, 96), counts=120, channels=500, seed=0)
    options = {"phases": 3, "init": "random", "tol": 0}
    plain = nmf(ds, max_iter=100, accelerate=False, **options).objective.values
    quick = nmf(ds, max_iter=25, **options).objective.values
    assert quick[-1] < plain[-1]
    assert np.all(np.diff(quick) <= 1e-8 * quick[0])


def test_a_given_start_is_not_replaced():
    ds = drawn((40, 40))
    good = nmf(ds, phases=3, max_iter=200)
    again = nmf(ds, phases=3, init=good, max_iter=2, tol=0)
    assert again.objective.values[0] == pytest.approx(good.objective.values[-1], rel=1e-5)


def test_small_maps_have_no_bins():
    labels = []
    nmf(drawn((15, 15)), phases=2, max_iter=3, tol=0, progress=lambda p: labels.append(p.label))
    assert set(labels) == {"nmf"}
