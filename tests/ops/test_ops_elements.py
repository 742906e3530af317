"""Elements of maps: the table, the residual of a result, collections, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import edxdask
from edxdask.errors import ParameterError, SchemaError
from edxdask.physics.spectrum import phase_spectrum


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


def halves(cube):
    return xr.DataTree.from_dict({"/a": cube.isel(x=slice(0, 8)), "/b": cube.isel(x=slice(8, 16))})


def test_a_collection_is_summed_and_the_accessor_does_the_same(cube, found):
    tree = halves(cube)
    xr.testing.assert_equal(edxdask.find_elements(tree, known=["Mg", "Si"]), found)
    xr.testing.assert_equal(tree.edx.find_elements(known=["Mg", "Si"]), found)
    xr.testing.assert_equal(cube.edx.find_elements(known=["Mg", "Si"]), found)


def test_each_map_of_a_collection_can_have_a_table_of_its_own(cube):
    tree = halves(cube)
    each = edxdask.find_elements(tree, per="map")
    assert set(each.children) == {"a", "b"}
    xr.testing.assert_equal(each["a"].to_dataset(), edxdask.find_elements(tree["a"].to_dataset()))
    with pytest.raises(ParameterError, match="per="):
        edxdask.find_elements(tree, per="pixel")


def test_each_map_is_held_against_its_own_part_of_a_result(cube):
    """Titanium that came into one of two maps after they were factorized."""
    tree = halves(cube)
    result = edxdask.nmf(tree, phases=2)
    titanium = phase_spectrum({"Ti": 1}, cube.energy.values, continuum_scale=0.0)
    drawn = np.random.default_rng(0).poisson(20 * titanium, (16, 8, titanium.size)).astype("u2")
    more = (
        tree["b"]
        .to_dataset()
        .assign(counts=tree["b"].counts + xr.DataArray(drawn, dims=("y", "x", "energy")))
    )
    tree["b"] = xr.DataTree(more)
    each = tree.edx.find_elements(result=result, per="map")
    assert each["b"].element.values.tolist() == ["Ti"]
    assert each["a"].sizes["candidate"] == 0
    part = result["b"].to_dataset().assign(spectrum=result["spectrum"])
    alone = edxdask.find_elements(tree["b"].to_dataset(), result=part)
    xr.testing.assert_equal(each["b"].to_dataset(), alone)
    whole = edxdask.find_elements(tree, result=result)
    assert float(whole.explained_counts[0]) == pytest.approx(float(each["b"].explained_counts[0]), rel=0.2)
    with pytest.raises(SchemaError, match="none is called 'c'"):
        edxdask.find_elements(xr.DataTree.from_dict({"/c": cube}), result=result)


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
    with pytest.raises(ParameterError, match=r"a cube .* or a collection"):
        edxdask.find_elements(np.zeros(3))
    tree = xr.DataTree.from_dict({"/a": cube, "/b": cube.assign_coords(energy=cube.energy.values + 0.1)})
    with pytest.raises(SchemaError, match=r"the energy axis of map 'b'.*per='map'"):
        edxdask.find_elements(tree)
