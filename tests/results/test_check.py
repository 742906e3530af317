"""Results are held against the schema; what is lazy is not computed."""

from __future__ import annotations

import dask
import numpy as np
import pytest

import edxdask
from edxdask import schema
from edxdask.errors import SchemaError
from edxdask.results.check import check_labels, check_result, labels_of

WRONG = {
    "dims": (
        lambda r: r.assign(total=(("row", "energy"), np.ones((2, 40)))),
        r"total has dims \('row', 'energy'\)",
    ),
    "own dims": (lambda r: r.assign(objective=("energy", np.ones(40))), "expected .*iteration"),
    "kind": (lambda r: r.assign(abundance=r.abundance.astype(int)), "abundance has dtype int64"),
    "error": (lambda r: r.assign(total_std=r.total.astype(int)), "total_std has dtype int64"),
    "labels": (lambda r: r.assign_coords(phase=["a", "b", "a"]), "expected each once"),
    "empty": (lambda r: r.assign_coords(phase=["a", "b", ""]), "none empty"),
    "fractions": (lambda r: r.assign(abundance=2 * r.abundance), "sums to 2 over the phases in 30 of 30"),
    "nan": (lambda r: r.assign(abundance=r.abundance.where(r.y > 0)), "sums to nan over the phases in 5 of"),
    "spectra": (lambda r: r.assign(spectrum=3 * r.spectrum), "spectrum of phase 0 sums to 3"),
    "composition": (
        lambda r: r.assign(composition=(("phase", "energy"), r.spectrum.values)),
        "composition has dims",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_breaks_the_schema_is_named(result, name):
    damage, says = WRONG[name]
    with pytest.raises(SchemaError, match=says):
        check_result(damage(result))


def test_what_keeps_the_schema_passes(result, results_of_two_maps):
    check_result(result, whole=True)
    check_result(results_of_two_maps, whole=True)
    check_result(result.assign(haadf=("y", np.ones(6))))
    elements = {"element": ["Mg", "O"]}
    for dims, shape in (
        (("phase", "element"), (3, 2)),
        (("element",), (2,)),
        (("element", "y", "x"), (2, 6, 5)),
    ):
        check_result(result.assign(composition=(dims, np.full(shape, 0.5))).assign_coords(elements))
    nothing = result.assign(total=result.total.where(result.y > 0, 0))
    check_result(nothing.assign(abundance=result.abundance.where(result.y > 0, 0)), whole=True)


def test_selected_phases_pass_on_entry_and_not_on_exit(result):
    check_result(result.isel(phase=[0]))
    with pytest.raises(SchemaError, match="expected 1"):
        check_result(result.isel(phase=[0]), whole=True)


def test_the_map_of_a_collection_that_is_wrong_is_named(results_of_two_maps):
    results_of_two_maps["map_1"]["abundance"] = 2 * results_of_two_maps["map_1"].abundance
    with pytest.raises(SchemaError, match=r"result\['map_1'\]\.abundance sums to 2"):
        check_result(results_of_two_maps)


def test_lazy_variables_are_not_computed(result):
    def refuse(*args, **kwargs):
        raise AssertionError("something was computed")

    with dask.config.set(scheduler=refuse):
        check_result(result.chunk(), whole=True)
        edxdask.reconstruct(result.assign(abundance=result.abundance.chunk(), total=result.total.chunk()))


@pytest.mark.parametrize(
    "call",
    [
        edxdask.reconstruct,
        lambda r: edxdask.score(r, truth_spectrum=r.spectrum),
        lambda r: r.edx.table(),
        lambda r: r.edx.plot(),
    ],
)
def test_public_functions_check_what_they_are_given(result, call):
    with pytest.raises(SchemaError, match="fractions of the photons"):
        call(result.assign(abundance=2 * result.abundance))


def test_labels_are_those_of_phases_or_components(result):
    assert labels_of(result) == ["Brg", "Fp", "CaPv"]
    assert labels_of(result.drop_vars("phase")) == ["phase_0", "phase_1", "phase_2"]
    loading = result.rename({"phase": "component", "spectrum": "loading"})
    assert labels_of(loading.assign_coords(component=["a", "b", "c"])) == ["a", "b", "c"]
    with pytest.raises(SchemaError, match="phases has the labels"):
        check_labels(["a", "a"], name="phases")


def test_results_from_a_store_pass(result, tmp_path):
    saved = edxdask.save(result, tmp_path / "r.zarr")
    check_result(saved, whole=True)
    assert saved[schema.PHASE].values.tolist() == labels_of(saved)
