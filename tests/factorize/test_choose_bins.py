"""Choices by count splitting, the windows they are made on, and steps that a resumed run goes past."""

import numpy as np
import pytest
import xarray as xr

import edxdask
from edxdask.engine.problem import Demand, photons_of
from edxdask.engine.states import PixelStates
from edxdask.errors import EdxdaskError
from edxdask.factorize.guidance.request import PhysicsRequest
from edxdask.factorize.iteration.starts import GivenState
from edxdask.factorize.pansharpening import choose_bins
from edxdask.factorize.pansharpening.choose_bins import (
    CLEARLY,
    WINDOW_PIXELS,
    choose_bin,
    choose_phases,
    window_of,
)
from edxdask.factorize.pansharpening.curve import Curve
from edxdask.factorize.pansharpening.kept_steps import CHOICES, STRENGTH, KeptSteps

ELEMENTS = "Mg,Si,Al,Ca,Fe,Nd,Sm,U,Cu,O"


@pytest.fixture(scope="module")
def mantle() -> xr.Dataset:
    return edxdask.simulate("mantle", shape=(72, 80), counts=120, seed=4).compute()


@pytest.fixture
def few_phases(monkeypatch):
    """Kernels are compiled for every number of phases, up to eight of which would be tried."""
    monkeypatch.setattr(choose_bins, "MOST_PHASES", 4)


@pytest.mark.slow
def test_three_phases_are_found_among_up_to_eight_where_three_were_drawn(mantle):
    assert choose_bins.MOST_PHASES == 8
    test_three_phases_are_found_where_three_were_drawn(mantle, None)


def test_three_phases_are_found_where_three_were_drawn(mantle, few_phases):
    with photons_of(mantle, step="test", demand=Demand(0, 0)) as problem:
        curve = choose_phases(problem, 4, seed=0)
    assert curve.chosen == 3
    assert curve.score.argmax() in (2, 3)


@pytest.mark.slow
def test_the_bin_factor_found_makes_maps_as_good_as_the_best(mantle):
    with photons_of(mantle, step="test", demand=Demand(0, 0)) as problem:
        curve = choose_bin(problem, 3, seed=0)
    assert 1 < curve.chosen <= 12
    errors = {}
    for factor in {int(curve.chosen), 2, 4, 8, 12}:
        result = edxdask.psnmf(mantle, phases=3, bin=factor, smooth=1.0)
        errors[factor] = edxdask.score(result, truth=mantle).mse.mean()
    # a small map: 72 x 80 pixels, so the choice itself is noisy
    assert errors[int(curve.chosen)] <= 1.5 * min(errors.values())


@pytest.mark.parametrize(("side", "counts", "tried"), [(128, 60, False), (48, 2000, True)])
def test_single_pixels_are_tried_where_pairs_are_not_clearly_worse(side, counts, tried):
    cube = edxdask.simulate("mantle", shape=(side, side), channels=512, counts=counts, seed=4).compute()
    with photons_of(cube, step="test", demand=Demand(0, 0)) as problem:
        curve = choose_bin(problem, 3, seed=0)
    pairs = np.flatnonzero(curve.candidates == 2)[0]
    clearly = curve.score.max() - curve.score[pairs] > CLEARLY * curve.error[pairs]
    assert (1 in curve.candidates) == tried
    assert clearly != tried
    assert (np.diff(curve.candidates) > 0).all()


def test_choices_do_not_depend_on_partitions(mantle, few_phases):
    scores = []
    for workers in (1, 3):
        with photons_of(mantle.chunk(y=10), step="test", demand=Demand(0, 0), workers=workers) as problem:
            scores.append(choose_phases(problem, 8, seed=0).score)
    # single precision, 150 accelerated rounds
    np.testing.assert_allclose(scores[0], scores[1], rtol=2e-5)


def test_the_window_is_the_whole_of_a_small_map_and_the_middle_of_a_large_one(mantle):
    assert window_of(mantle) is None
    large = edxdask.simulate("mantle", shape=(600, 1000), channels=64, counts=1)
    window = window_of(large)
    assert window.sizes["y"] * window.sizes["x"] <= WINDOW_PIXELS
    assert float(window.y[0]) > 0
    assert float(window.y[-1]) < float(large.y[-1])
    narrow = window_of(edxdask.simulate("mantle", shape=(2000, 50), channels=64, counts=1))
    assert narrow.sizes["x"] == 50
    assert narrow.sizes["y"] == WINDOW_PIXELS // 50


def test_a_finished_step_is_not_done_again_and_not_taken_for_another_runs(tmp_path):
    calls = []

    def make():
        calls.append(1)
        return Curve(np.arange(3), np.ones(3), np.zeros(3), 2).arrays("bin")

    kept = KeptSteps(tmp_path / "run", {"seed": 1})
    for _ in range(2):
        found = kept.kept_or_made(CHOICES, make, bin=None)
    assert len(calls) == 1
    assert Curve.of(found, "bin").chosen == 2
    with pytest.raises(EdxdaskError, match=r"another run \(seed: 1 there, 2 here\)"):
        KeptSteps(tmp_path / "run", {"seed": 2}).kept_or_made(CHOICES, make, bin=None)
    with pytest.raises(EdxdaskError, match=r"another run \(bin: None there, 4 here\)"):
        kept.kept_or_made(CHOICES, make, bin=4)


def test_a_step_that_was_stopped_otherwise_is_made_anew_and_so_is_what_followed(tmp_path):
    kept = KeptSteps(tmp_path / "run", {"seed": 1})
    made = []

    def make():
        made.append(len(made))
        return {"n": np.array(made[-1])}

    kept.kept_or_made(CHOICES, make, stop={"max_iter": 10})
    kept.kept_or_made(STRENGTH, make)
    assert int(kept.kept_or_made(STRENGTH, make)["n"]) == 1
    assert int(kept.kept_or_made(CHOICES, make, stop={"max_iter": 20})["n"]) == 2
    assert not (tmp_path / "run" / "strength.npz").exists()
    assert int(kept.kept_or_made(STRENGTH, make)["n"]) == 3
    kept.forget()
    assert not (tmp_path / "run").exists()


def test_a_phase_without_photons_keeps_its_spectrum_when_spectra_are_found_again(mantle):
    with photons_of(mantle, step="test", demand=Demand(0, 0)) as problem:
        fractions = np.tile(np.array([0.6, 0.4, 0.0], np.float32), (problem.pixels, 1))
        spectra = mantle.truth_spectrum.values.astype(np.float32)
        start = PixelStates.made(problem, GivenState(fractions))
        model = PhysicsRequest.of(ELEMENTS, None, None, 3, True).guide(problem).mean_model()
        found = choose_bins._found_again(start, spectra, model)
    assert np.isfinite(found).all()
    assert found.sum(axis=1) == pytest.approx(np.ones(3), rel=1e-4)
