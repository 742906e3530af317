"""Scores against figures computed the long way, from dense cubes and all permutations."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
import xarray as xr

from edxdask import schema
from edxdask.errors import ParameterError, SchemaError
from edxdask.factorize.pca import pca
from edxdask.results import score as module
from edxdask.results.reconstruct import reconstruct
from edxdask.results.score import Score, score

SHAPE, CHANNELS, PHASES = (13, 11), 25, 3
NAMES = ["Brg", "Fp", "CaPv"]


def angle(u, v):
    return np.degrees(np.arccos(np.clip(u @ v / np.linalg.norm(u) / np.linalg.norm(v), -1, 1)))


def make_truth(shape=SHAPE, seed=0):
    rng = np.random.default_rng(seed)
    spectra = np.random.default_rng(7).dirichlet(np.full(CHANNELS, 0.5), size=PHASES)
    maps = np.moveaxis(rng.dirichlet(np.ones(PHASES), size=shape), -1, 0)
    total = rng.uniform(50, 100, size=shape)
    clean = np.einsum("kyx,yx,ke->yxe", maps, total, spectra)
    return xr.Dataset(
        {
            schema.COUNTS: (("y", "x", schema.ENERGY), rng.poisson(clean).astype(np.uint16)),
            schema.TRUTH_SPECTRUM: ((schema.PHASE, schema.ENERGY), spectra),
            schema.TRUTH_ABUNDANCE: ((schema.PHASE, "y", "x"), maps),
            schema.TRUTH_TOTAL: (("y", "x"), total),
        },
        coords={schema.ENERGY: schema.energy_coordinate(0.1, 0.01, CHANNELS), schema.PHASE: NAMES},
    )


def make_result(truth, order=(2, 0, 1), seed=3):
    """The truth, shuffled and disturbed."""
    rng = np.random.default_rng(seed)
    spectra = truth.truth_spectrum.values[list(order)] * rng.uniform(0.7, 1.3, size=(PHASES, CHANNELS))
    maps = truth.truth_abundance.values[list(order)] + rng.uniform(
        0, 0.1, size=(PHASES, *truth.truth_total.shape)
    )
    return xr.Dataset(
        {
            schema.SPECTRUM: ((schema.PHASE, schema.ENERGY), spectra / spectra.sum(axis=1, keepdims=True)),
            schema.ABUNDANCE: ((schema.PHASE, "y", "x"), maps / maps.sum(axis=0)),
            schema.TOTAL: (("y", "x"), rng.uniform(50, 100, size=truth.truth_total.shape)),
        },
        coords={schema.ENERGY: truth.energy, schema.PHASE: [f"phase_{i}" for i in range(PHASES)]},
    )


@pytest.mark.parametrize("order", list(itertools.permutations(range(PHASES))))
def test_angles_and_errors_of_maps_are_those_of_the_best_of_all_permutations(order):
    truth = make_truth()
    result = make_result(truth, order)
    best = min(
        itertools.permutations(range(PHASES)),
        key=lambda p: sum(
            angle(truth.truth_spectrum.values[i], result.spectrum.values[p[i]]) for i in range(3)
        ),
    )
    found = score(result, truth=truth)
    assert found.phases == tuple(NAMES)
    assert found.matched == tuple(f"phase_{p}" for p in best)
    for i, p in enumerate(best):
        assert order[p] == i
        assert found.angles[i] == pytest.approx(
            angle(truth.truth_spectrum.values[i], result.spectrum.values[p]), abs=1e-9
        )
        difference = result.abundance.values[p] - truth.truth_abundance.values[i]
        assert found.mse[i] == pytest.approx(np.mean(difference**2), rel=1e-12)


@pytest.mark.parametrize("at_once", [1 << 18, 7])
def test_the_mean_map_angle_is_that_of_the_dense_cubes(monkeypatch, at_once):
    monkeypatch.setattr(module, "PIXELS_AT_ONCE", at_once)
    truth = make_truth()
    result = make_result(truth)
    expected = np.einsum("kyx,yx,ke->yxe", result.abundance, result.total, result.spectrum)
    clean = np.einsum("kyx,ke->yxe", truth.truth_abundance, truth.truth_spectrum)
    wanted = np.mean([[angle(expected[y, x], clean[y, x]) for x in range(11)] for y in range(13)])
    assert score(result, truth=truth).map_angle == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize("center", [False, True])
def test_a_pca_gets_the_map_angle_alone(center):
    truth = make_truth()
    result = pca(truth, components=3, center=center)
    found = score(result, truth=truth)
    assert found.matched == ("", "", "")
    assert np.isnan(found.angles).all()
    assert found.mse is None
    expected = reconstruct(result).expected.values.astype(float)
    clean = np.einsum("kyx,ke->yxe", truth.truth_abundance, truth.truth_spectrum)
    wanted = np.mean([[angle(expected[y, x], clean[y, x]) for x in range(11)] for y in range(13)])
    assert found.map_angle == pytest.approx(wanted, rel=1e-5)


def test_pixels_without_photons_have_no_angle_and_count_in_no_mean():
    truth = make_truth()
    result = make_result(truth)
    whole = score(result, truth=truth)
    result[schema.TOTAL][:] = np.where(np.arange(11) < 5, 0, result.total)
    half = score(result, truth=truth)
    assert np.isfinite(half.map_angle)
    assert half.map_angle != whole.map_angle


def test_arrays_serve_as_truth_and_without_maps_only_angles_come():
    truth = make_truth()
    result = make_result(truth)
    whole = score(result, truth=truth)
    arrays = score(
        result, truth_spectrum=truth.truth_spectrum.values, truth_abundance=truth.truth_abundance.values
    )
    np.testing.assert_allclose(arrays.mse, whole.mse)
    assert arrays.phases == ("phase_0", "phase_1", "phase_2")
    alone = score(result, truth_spectrum=truth.truth_spectrum)
    np.testing.assert_allclose(alone.angles, whole.angles)
    assert alone.mse is None
    assert alone.map_angle is None


def test_a_result_with_fewer_phases_leaves_a_true_one_unmatched():
    truth = make_truth()
    found = score(make_result(truth).isel({schema.PHASE: [0, 2]}), truth=truth)
    assert found.matched[0] == ""  # order (2, 0, 1): phase_1 was Brg
    assert np.isnan(found.angles[0])
    assert np.isnan(found.mse[0])
    assert np.isfinite(found.angles[1:]).all()


def test_a_collection_is_scored_over_all_its_pixels():
    truths = {"a": make_truth(seed=0), "b": make_truth((5, 11), seed=1)}
    results = {name: make_result(truth) for name, truth in truths.items()}
    own = [schema.ABUNDANCE, schema.TOTAL]
    shared = results["a"][[schema.SPECTRUM]]
    tree = xr.DataTree.from_dict({"/": shared, **{n: r[own] for n, r in results.items()}})
    found = score(tree, truth=xr.DataTree.from_dict(truths))
    joined = xr.concat([results["a"][own], results["b"][own]], "y").merge(shared)
    wanted = score(
        joined,
        truth_spectrum=truths["a"].truth_spectrum,
        truth_abundance=xr.concat([t.truth_abundance for t in truths.values()], "y"),
    )
    np.testing.assert_allclose(found.mse, wanted.mse)
    assert found.map_angle == pytest.approx(wanted.map_angle)


def test_compositions_are_compared_by_name():
    truth = make_truth()
    true = np.random.default_rng(0).dirichlet(np.ones(4), size=PHASES)
    truth[schema.TRUTH_COMPOSITION] = (
        (schema.PHASE, schema.ELEMENT),
        true,
    )
    truth = truth.assign_coords({schema.ELEMENT: ["Mg", "Si", "Fe", "O"]})
    result = make_result(truth)  # order (2, 0, 1): phase_1 is Brg
    result[schema.COMPOSITION] = ((schema.PHASE, schema.ELEMENT), true[[2, 0, 1]][:, [3, 0]] + 0.02)
    result = result.assign_coords({schema.ELEMENT: ["O", "Mg"]})
    errors = score(result, truth=truth).composition_error
    assert errors.dims == (schema.PHASE, schema.ELEMENT)
    assert errors.element.values.tolist() == ["Mg", "O"]
    np.testing.assert_allclose(errors, 0.02)


def test_the_text_is_a_table_and_the_dict_is_json():
    truth = make_truth()
    found = score(make_result(truth), truth=truth)
    text = repr(found)
    assert text.splitlines()[0].split() == ["phase", "matched", "angle/deg", "map", "MSE"]
    assert text.splitlines()[1].split()[:2] == ["Brg", "phase_1"]
    assert f"mean map angle {found.map_angle:.3f} deg" in text
    back = json.loads(json.dumps(found.to_dict()))
    assert back["angles_deg"] == pytest.approx(found.angles.tolist())
    empty = Score(("a",), ("",), np.array([np.nan]), None, None)
    assert json.loads(json.dumps(empty.to_dict()))["angles_deg"] == [None]


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({}, ParameterError, "truth_spectrum=None"),
        ({"truth_spectrum": np.ones((3, 4))}, ParameterError, "25 channels"),
        ({"truth_spectrum": np.zeros((3, 25))}, ParameterError, "rows of zeros"),
        (
            {"truth_spectrum": np.eye(3, 25), "truth_abundance": np.ones((13, 11, 3))},
            ParameterError,
            "moveaxis",
        ),
        (
            {"truth_spectrum": np.eye(3, 25), "truth_abundance": np.full((3, 13, 11), np.nan)},
            ParameterError,
            "finite fractions",
        ),
        (
            {"truth": xr.Dataset({"counts": (("x", "energy"), np.ones((2, 2)))})},
            SchemaError,
            "no truth_spectrum",
        ),
    ],
)
def test_bad_truths_are_refused(options, error, words):
    with pytest.raises(error) as caught:
        score(make_result(make_truth()), **options)
    assert words in str(caught.value)


def test_a_truth_on_another_axis_or_without_maps_for_a_pca_is_refused():
    truth = make_truth()
    moved = truth.assign_coords({schema.ENERGY: schema.energy_coordinate(0.5, 0.01, CHANNELS)})
    with pytest.raises(SchemaError, match="energy axis of truth_spectrum"):
        score(make_result(truth), truth=moved)
    with pytest.raises(ParameterError, match="A PCA has no phases"):
        score(pca(truth), truth_spectrum=truth.truth_spectrum)
