"""Elements of maps: the table, the residual of a result, collections, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import edxdask
from edxdask.errors import ParameterError, SchemaError


@pytest.fixture(scope="module")
def cube():
    return edxdask.simulate(shape=(16, 16), counts=400, seed=1)


@pytest.fixture(scope="module")
def found(cube):
    return edxdask.find_elements(cube, known=["Mg", "Si"])


def test_the_table_ranks_what_the_phantom_holds(cube, found):
    truth = set(cube.element.values.tolist())
    named = found.element.values[found.significant.values].tolist()
    assert {"Mg", "Si", "Fe", "Ca", "Al", "O"} <= set(named)
    assert set(named) - truth <= {"Cu"}  # the phantom's grid is no element of its phases
    assert (np.diff(found.significance.values) <= 0).all()
    assert found.known.values.tolist() == [e in ("Mg", "Si") for e in found.element.values]
    assert found.sum_spectrum.sum() == cube.counts.sum()
    assert float(found.fitted_spectrum.sum()) == pytest.approx(float(found.sum_spectrum.sum()), rel=1e-3)
    assert found.line_energy.attrs["units"] == "keV"


def test_the_table_is_a_frame(found):
    frame = found.drop_dims("energy").to_dataframe()
    assert frame.loc["Fe", "candidate_line"] == "Fe_Ka"
    assert frame.index.name == "candidate"


def test_a_result_that_misses_an_element_has_it_in_its_residual(cube):
    total = cube.counts.sum("energy").astype("f8")
    spectrum = cube.counts.sum(("y", "x")).values / float(total.sum())
    iron = (abs(cube.energy.values - 6.4) < 0.25) | (abs(cube.energy.values - 7.06) < 0.2)
    flat = np.interp(cube.energy.values[iron], cube.energy.values[~iron], spectrum[~iron])
    spectrum[iron] = flat
    result = xr.Dataset(
        {
            "spectrum": (("phase", "energy"), spectrum[None]),
            "abundance": (("phase", "y", "x"), np.ones((1, *total.shape))),
            "total": total,
        },
        {"energy": cube.energy},
    )
    rest = edxdask.find_elements(cube, known=["Mg", "Si", "O"], result=result)
    assert rest.element.values.tolist()[0] == "Fe"
    assert "energy" not in rest.dims


def test_a_collection_is_summed_and_the_accessor_does_the_same(cube, found):
    tree = xr.DataTree.from_dict({"/a": cube.isel(x=slice(0, 8)), "/b": cube.isel(x=slice(8, 16))})
    xr.testing.assert_equal(edxdask.find_elements(tree, known=["Mg", "Si"]), found)
    xr.testing.assert_equal(cube.edx.find_elements(known=["Mg", "Si"]), found)


def test_bad_input_is_refused_with_what_mends_it(cube):
    bare = cube.copy()
    bare.attrs = {k: v for k, v in cube.attrs.items() if k != "beam_energy_kev"}
    with pytest.raises(ParameterError, match=r"beam_energy=200\.0"):
        edxdask.find_elements(bare)
    with pytest.raises(ParameterError, match="In keV that is 200"):
        edxdask.find_elements(cube, beam_energy=200_000.0)
    with pytest.raises(ParameterError, match="Did you mean"):
        edxdask.find_elements(cube, known=["Mgg"])
    with pytest.raises(ParameterError, match="this one is empty"):
        edxdask.find_elements(cube.assign(counts=xr.zeros_like(cube.counts)))
    with pytest.raises(SchemaError, match="result lacks spectrum"):
        edxdask.find_elements(cube, result=xr.Dataset())
    with pytest.raises(ParameterError, match="a collection of cubes"):
        edxdask.find_elements(np.zeros(3))
    tree = xr.DataTree.from_dict({"/a": cube, "/b": cube.assign_coords(energy=cube.energy.values + 0.1)})
    with pytest.raises(SchemaError, match="different energy axes"):
        edxdask.find_elements(tree)
