"""Results to HyperSpy's decompositions and back, judged by the real HyperSpy and exspy."""

from __future__ import annotations

import json
import types

import numpy as np
import pytest
import xarray as xr

import edxdask
from edxdask.errors import ParameterError, SchemaError
from edxdask.io.export.decomposition import decompositions_of, result_of

LABELS = ["Brg", "Fp (a/b)", "CaPv"]


@pytest.fixture
def hs():
    pytest.importorskip("exspy", reason="exspy is not installed: it is an extra, edxdask[hyperspy]")
    return pytest.importorskip("hyperspy.api", reason="HyperSpy is not installed: it is an extra")


@pytest.fixture(scope="module")
def cube():
    return edxdask.simulate(shape=(9, 14), counts=80, seed=2).load()


@pytest.fixture(scope="module")
def result(cube):
    return edxdask.nmf(cube, phases=LABELS, max_iter=10)


def assert_same_result(found, result):
    for name in ("spectrum", "abundance", "total"):
        np.testing.assert_allclose(found[name], result[name], rtol=1e-5, atol=1e-7)
        assert found[name].dims == result[name].dims
    assert found.phase.values.tolist() == LABELS
    for dim in ("y", "x", "energy"):
        np.testing.assert_allclose(found[dim], result[dim], rtol=0, atol=1e-9)
    assert {name: found.attrs[name] for name in result.attrs} == result.attrs


def test_factors_times_loadings_are_the_expected_counts(cube, result):
    ((name, (expected, one)),) = decompositions_of(result).items()
    assert (name, one.labels) == ("", tuple(LABELS))
    np.testing.assert_allclose(
        (one.loadings @ one.factors.T).reshape(cube.counts.shape), expected.counts, rtol=1e-4, atol=1e-6
    )


def test_what_hyperspy_holds_becomes_the_result_again(cube, result):
    ((_, (_, one)),) = decompositions_of(result).items()
    learned = types.SimpleNamespace(**one.learning_results(), centre=None)
    coords = {"y": cube.y.variable, "x": cube.x.variable, "energy": cube.energy.variable}
    found = result_of(learned, coords, {"edxdask": one.record()})
    assert_same_result(found.assign_attrs(result.attrs), result)
    assert result_of(learned, coords, {}).phase.values.tolist() == ["phase_0", "phase_1", "phase_2"]
    assert found.edx.table().shape == (3, 2)


def test_counts_of_another_map_are_refused(cube, result):
    with pytest.raises(SchemaError, match="binned and cropped alike"):
        decompositions_of(result, cube.isel(x=slice(0, 5)))


def test_a_cube_takes_no_counts(cube):
    with pytest.raises(ParameterError, match="counts"):
        edxdask.to_hyperspy(cube, counts=cube)


@pytest.mark.parametrize("lazy", [True, False])
@pytest.mark.parametrize("given", [True, False])
def test_a_result_is_a_decomposition_in_hyperspy_and_comes_back(hs, cube, result, lazy, given):
    signal = edxdask.to_hyperspy(result, lazy=lazy, counts=cube if given else None)
    assert type(signal).__name__ == ("LazyEDSTEMSpectrum" if lazy else "EDSTEMSpectrum")
    model = signal.get_decomposition_model()
    expected = edxdask.reconstruct(result).expected
    np.testing.assert_allclose(np.asarray(model.data), expected, rtol=1e-4, atol=1e-5)
    loadings = signal.get_decomposition_loadings()
    assert loadings.axes_manager.navigation_size == 3
    np.testing.assert_allclose(loadings.data[1], result.abundance[1] * result.total, rtol=1e-6)
    factors = signal.get_decomposition_factors()
    np.testing.assert_allclose(factors.data, result.spectrum, rtol=1e-6)
    assert factors.axes_manager.signal_axes[0].units == "keV"
    assert_same_result(edxdask.from_hyperspy(signal, decomposition=True), result)
    if given:
        np.testing.assert_array_equal(edxdask.from_hyperspy(signal).counts, cube.counts)


def test_components_come_back_as_components(hs, cube):
    components = edxdask.pca(cube, components=2)
    signal = edxdask.to_hyperspy(components, lazy=False)
    expected = edxdask.reconstruct(components).expected
    np.testing.assert_allclose(signal.get_decomposition_model().data, expected, rtol=1e-3, atol=1e-4)
    found = edxdask.from_hyperspy(signal, decomposition=True)
    np.testing.assert_allclose(found.loading[:2], components.loading, rtol=1e-5, atol=1e-8)
    np.testing.assert_allclose(edxdask.reconstruct(found).expected, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("lazy", [True, False])
def test_hyperspy_opens_the_file_of_a_result_with_its_decomposition(hs, result, tmp_path, lazy):
    path = result.edx.export(tmp_path / "r.hspy")
    signal = hs.load(path, lazy=lazy)
    np.testing.assert_allclose(np.asarray(signal.data), edxdask.reconstruct(result).expected, rtol=1e-5)
    assert signal.learning_results.decomposition_algorithm == "edxdask"
    assert_same_result(edxdask.from_hyperspy(signal, decomposition=True), result)


def test_phases_that_hyperspy_found_are_a_result(hs, cube):
    signal = edxdask.to_hyperspy(cube, lazy=False)
    signal.change_dtype("float64")
    signal.decomposition(algorithm="NMF", output_dimension=2, print_info=False, max_iter=1000, tol=1e-2)
    found = edxdask.from_hyperspy(signal, decomposition=True)
    np.testing.assert_allclose(found.spectrum.sum("energy"), 1, rtol=1e-6)
    model = signal.get_decomposition_model().data
    np.testing.assert_allclose(edxdask.reconstruct(found).expected, model, rtol=1e-3, atol=1e-4)
    assert found.attrs["beam_energy_kev"] == 200.0


def test_a_signal_without_decomposition_says_how_to_make_one(hs, cube):
    with pytest.raises(ParameterError, match=r"signal\.decomposition\(algorithm='NMF'"):
        edxdask.from_hyperspy(edxdask.to_hyperspy(cube, lazy=False), decomposition=True)


def test_a_collection_becomes_a_file_for_each_map(cube, tmp_path):
    import h5py

    tree = edxdask.collect({"left": cube.isel(x=slice(0, 6)), "right": cube})
    paths = edxdask.nmf(tree, phases=2, max_iter=5).edx.export(tmp_path / "r.hspy")
    assert [path.name for path in paths] == ["r_left.hspy", "r_right.hspy"]
    with h5py.File(paths[0]) as file:
        (group,) = file["Experiments"].values()
        assert group["learning_results/loadings"].shape == (9 * 6, 2)
        assert group["data"].shape == (9, 6, cube.sizes["energy"])
        record = group["original_metadata/edxdask"]
        kept = record["_list_decomposition"] if "_list_decomposition" in record else record["decomposition"]
        text = kept[()] if isinstance(kept, h5py.Dataset) else next(iter(kept.attrs.values()))
        assert "phase_0" in str(np.asarray(text).reshape(-1)[0])


def test_labels_that_do_not_fit_are_left_alone():
    learned = types.SimpleNamespace(factors=np.ones((4, 2)), loadings=np.ones((3, 2)), centre=None)
    coords = {"x": xr.Variable("x", [0.0, 1.0, 2.0]), "energy": xr.Variable("energy", 0.1 * np.arange(4))}
    kept = {"edxdask": {"decomposition": [json.dumps({"labels": ["one"]})]}}
    assert result_of(learned, coords, kept).phase.values.tolist() == ["phase_0", "phase_1"]
    centred = types.SimpleNamespace(factors=np.ones((4, 2)), loadings=np.ones((3, 2)), centre="navigation")
    with pytest.raises(ParameterError, match="centre=None"):
        result_of(centred, coords, {})
