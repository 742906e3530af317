"""The strength that count splitting finds, against the best one when the truth is known."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import xarray as xr

from edxdask import schema
from edxdask.engine.problem import Demand, photons_of
from edxdask.engine.states import PixelStates
from edxdask.errors import ParameterError
from edxdask.factorize.iteration.gather import gather_abundance
from edxdask.factorize.pansharpening.choose_strength import EqualFractions, choose_strength
from edxdask.factorize.priors.smooth_maps import smooth_abundances
from edxdask.simulate import simulate


def opened(cube, workers=1):
    return photons_of(cube, step="test", demand=Demand(100, 0), workers=workers)


def error_of(problem, cube, strength, **options):
    start = PixelStates.made(problem, EqualFractions(3))
    maps = smooth_abundances(start, cube.truth_spectrum.values, strength=strength, **options)
    amounts = gather_abundance(maps.abundance)
    truth = cube.truth_abundance.values.reshape(3, -1).T
    shares = np.divide(
        amounts, amounts.sum(1, keepdims=True), out=truth.copy(), where=amounts.sum(1, keepdims=True) > 0
    )
    return float(((shares - truth) ** 2).mean())


@pytest.mark.parametrize(
    ("counts", "seed", "kind"),
    [
        (147, 0, "tv"),
        pytest.param(15, 1, "tv", marks=pytest.mark.slow),
        (40, 2, "laplacian"),
    ],
)
def test_the_strength_found_is_nearly_the_best_one(counts, seed, kind):
    cube = simulate("mantle", shape=(80, 84), counts=counts, seed=seed).compute()
    with opened(cube) as problem:
        curve = choose_strength(problem, cube.truth_spectrum.values, kind=kind)
        found = error_of(problem, cube, curve.chosen, kind=kind)
        best = min(error_of(problem, cube, s, kind=kind) for s in (0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 2.8))
    assert found < 1.15 * best
    assert 2 < curve.candidates.size < 9  # far too strong ones are not tried
    assert curve.error[np.argmax(curve.score)] == 0
    assert (curve.error[curve.score < curve.score.max()] > 0).all()
    assert curve.score[0] < curve.score.max() - 4 * curve.error[0]


def test_the_choice_does_not_depend_on_partitions():
    cube = simulate("mantle", shape=(48, 40), counts=60, seed=3).compute()
    spectra = cube.truth_spectrum.values
    with opened(cube) as one, opened(cube.chunk(y=9, x=11), workers=4) as many:
        a = choose_strength(one, spectra, strengths=(0.5, 1.0, 2.0))
        b = choose_strength(many, spectra, strengths=(0.5, 1.0, 2.0))
        other = choose_strength(one, spectra, strengths=(0.5, 1.0, 2.0), seed=1)
    assert a.candidates.tolist() == [0.5, 1.0, 2.0]
    np.testing.assert_allclose(a.score, b.score, rtol=1e-7)
    assert a.chosen == pytest.approx(b.chosen, rel=1e-3)
    assert not np.array_equal(a.score, other.score)


def test_a_map_without_structure_gets_the_strongest_prior_and_a_warning(caplog):
    rng = np.random.default_rng(5)
    spectra = rng.dirichlet(np.full(30, 0.5), size=2)
    counts = rng.poisson(20 * np.array([0.6, 0.4]) @ spectra, size=(24, 25, 30)).astype(np.uint16)
    cube = xr.Dataset(
        {schema.COUNTS: (("y", "x", "energy"), counts)},
        coords={schema.ENERGY: schema.energy_coordinate(0.1, 0.01, 30)},
    )
    with opened(cube) as problem, caplog.at_level(logging.WARNING, "edxdask"):
        curve = choose_strength(problem, spectra, strengths=(0.05, 0.1, 0.2))
    assert curve.chosen == 0.2
    assert "strongest of those tried" in caplog.text


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"fraction": 1.0}, "fraction=1.0"),
        ({"fraction": 0.0}, "fraction=0.0"),
        ({"strengths": ()}, "strengths="),
        ({"strengths": (1.0, 0.5)}, "rising"),
        ({"strengths": (0.0, 0.5)}, "above 0"),
        ({"kind": "edges"}, "kind='edges'"),
    ],
)
def test_bad_input_is_refused(options, words):
    cube = simulate("mantle", shape=(8, 8), counts=20).compute()
    with opened(cube) as problem, pytest.raises(ParameterError) as caught:
        choose_strength(problem, cube.truth_spectrum.values, **options)
    assert words in str(caught.value)
