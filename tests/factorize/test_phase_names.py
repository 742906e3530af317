"""Phases by name: who gets which, in which order, and what is refused."""

import numpy as np
import pytest
import xarray as xr

import edxdask
from edxdask.errors import ParameterError

NAMES = ["Brg", "Fp", "CaPv"]
ELEMENTS = ["Mg", "Si", "Al", "Ca", "Fe", "Nd", "Sm", "U", "Cu", "O"]
RUNS = {
    "nmf": lambda cube, **how: edxdask.nmf(cube, max_iter=40, **how),
    "psnmf": lambda cube, **how: edxdask.psnmf(cube, bin=5, smooth=1.0, **how),
}


@pytest.fixture(scope="module")
def mantle():
    return edxdask.simulate("mantle", shape=(64, 60), counts=147, seed=3).compute()


def sizes(result):
    return (result.abundance * result.total).sum(("y", "x")).values


@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)
def test_the_biggest_phase_gets_the_first_name_and_numbers_stay_as_they_are(mantle, run):
    numbered, named = run(mantle, phases=3), run(mantle, phases=NAMES)
    assert list(numbered.phase.values) == ["phase_0", "phase_1", "phase_2"]
    assert list(named.phase.values) == NAMES
    np.testing.assert_allclose(named.spectrum, numbered.spectrum, rtol=1e-12)
    np.testing.assert_allclose(named.abundance, numbered.abundance, atol=1e-6)
    assert np.all(np.diff(sizes(named)) <= 0)


@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)
@pytest.mark.parametrize("names", [NAMES, ["CaPv", "Fp", "Brg"]], ids=["by size", "smallest first"])
def test_labels_of_absent_tell_phases_apart_and_the_rest_go_by_size(mantle, run, names):
    absent = {"Fp": "Si", "CaPv": ["Mg"]}
    result = run(mantle, phases=names, elements=ELEMENTS, absent=absent)
    assert list(result.phase.values) == names
    for label, gone in absent.items():
        assert float(result.composition.sel(phase=label, element=gone).sum()) == 0
    assert names[int(np.argmax(sizes(result)))] == "Brg"
    truth = edxdask.score(result, truth=mantle)
    assert list(truth.matched) == NAMES


def test_without_names_only_labelled_phases_have_one(mantle):
    result = RUNS["psnmf"](mantle, phases=3, elements=ELEMENTS, absent={"Fp": "Si"})
    assert sorted(label.startswith("phase_") for label in result.phase.values) == [False, True, True]
    assert "Fp" in result.phase.values


def test_names_without_any_label_go_by_size_with_elements_too(mantle):
    result = RUNS["psnmf"](mantle, phases=NAMES, elements=ELEMENTS)
    assert list(result.phase.values) == NAMES
    assert np.argmax(sizes(result)) == 0


def test_a_start_with_names_says_which_is_which(mantle):
    first = RUNS["nmf"](mantle, phases=NAMES)
    turned = ["CaPv", "Brg", "Fp"]
    for elements in (None, ELEMENTS):
        again = edxdask.nmf(mantle, phases=turned, init=first, max_iter=5, elements=elements)
        assert list(again.phase.values) == turned
        assert turned[int(np.argmax(sizes(again)))] == "Brg"
    numbered = edxdask.nmf(mantle, phases=turned, init=RUNS["nmf"](mantle, phases=3), max_iter=5)
    assert np.argmax(sizes(numbered)) == 0
    with pytest.raises(ParameterError, match="names of init among them, CaPv"):
        edxdask.nmf(mantle, phases=["Brg", "Fp", "Dvm"], init=first)


def test_a_collection_has_the_names_at_its_root(mantle):
    tree = xr.DataTree.from_dict({"/a": mantle.isel(x=slice(0, 30)), "/b": mantle.isel(x=slice(30, 60))})
    result = RUNS["psnmf"](tree, phases=NAMES)
    assert list(result["phase"].values) == NAMES
    assert list(result["b"]["phase"].values) == NAMES


@pytest.mark.parametrize("method", ["nmf", "psnmf"])
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"phases": []}, "different and not empty"),
        ({"phases": ["Brg", "Brg"]}, "different and not empty"),
        ({"phases": ["Brg", " "]}, "different and not empty"),
        ({"phases": ["Brg", 2]}, "different and not empty"),
        ({"phases": "Brg"}, r"\['Brg'\]"),
        ({"phases": NAMES, "elements": ["Mg", "Si", "O"], "absent": {"Fpp": "Si"}}, "absent='Fpp'.*'Fp'"),
        (
            {"phases": NAMES, "elements": ["Mg", "Si", "O"], "compositions": {"x": {"Mg": 1}}},
            "compositions='x'",
        ),
    ],
)
def test_names_that_cannot_be_are_refused(mantle, method, options, said):
    with pytest.raises(ParameterError, match=said):
        getattr(edxdask, method)(mantle, **options)


def test_nmf_does_not_find_the_number(mantle):
    with pytest.raises(ParameterError, match="phases=None"):
        edxdask.nmf(mantle, phases=None)
