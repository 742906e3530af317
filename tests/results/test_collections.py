"""One map or many: the same questions, asked in one place."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from edxdask import schema
from edxdask.errors import ParameterError, SchemaError
from edxdask.results.collections import (
    cubes_in,
    joined,
    nodes_of,
    on_each_map,
    shared_part,
    value_for_each_map,
    with_shared,
    with_shared_part,
)


def a_cube(rows=2):
    counts = (("y", "x", "energy"), np.ones((rows, 3, 4), "u2"))
    return xr.Dataset({"counts": counts}, {"energy": schema.energy_coordinate(0.0, 0.1, 4)})


@pytest.fixture
def tree():
    root = xr.Dataset(attrs={"title": "two"})
    return xr.DataTree.from_dict({"/": root, "/a": a_cube(), "/group/b": a_cube(5)}, name="both")


def test_maps_are_named_by_their_path_from_the_collection_at_hand(tree):
    assert list(cubes_in(tree)) == ["a", "group/b"]
    assert list(cubes_in(tree["group"])) == ["b"]
    assert list(cubes_in(xr.DataTree(a_cube()))) == ["map"]


def test_a_function_on_each_map_keeps_names_and_attributes(tree):
    out = on_each_map(lambda cube: cube.counts.sum(("y", "x")).rename("sums"), tree)
    assert (out.name, out.attrs) == ("both", {"title": "two"})
    assert out["group/b/sums"].values.tolist() == [15] * 4
    alone = on_each_map(lambda cube: cube, xr.DataTree(a_cube()))
    assert alone.counts.shape == (2, 3, 4)


def test_values_that_differ_from_map_to_map_reach_their_own(tree):
    out = on_each_map(
        lambda cube, rows: cube.isel(y=slice(rows)), tree, each={"rows": {"a": 1, "group/b": 3}}
    )
    assert (out["a"].sizes["y"], out["group/b"].sizes["y"]) == (1, 3)


def test_one_value_for_all_by_name_or_as_a_collection(tree):
    assert value_for_each_map(3, tree, name="mask") == {"a": 3, "group/b": 3}
    assert value_for_each_map({"group/b": 1, "a": 2}, tree, name="mask") == {"a": 2, "group/b": 1}
    masks = on_each_map(lambda cube: (cube.counts.sum("energy") > 0).rename("mask"), tree)
    assert value_for_each_map(masks, tree, name="mask")["a"].shape == (2, 3)
    for wrong in ({"a": 1}, {"a": 1, "group/b": 2, "c": 3}):
        with pytest.raises(ParameterError, match="one mask for each map"):
            value_for_each_map(wrong, tree, name="mask")


def test_a_collection_without_maps_names_what_makes_one():
    with pytest.raises(SchemaError, match=r"edxdask\.collect"):
        cubes_in(xr.DataTree.from_dict({"/a": xr.Dataset()}))
    with pytest.raises(ParameterError, match="a collection of cubes"):
        cubes_in(3)
    with pytest.raises(ParameterError, match="a result"):
        nodes_of(3)


def test_the_shared_part_is_replaced_and_the_maps_stay(results_of_two_maps, result):
    fresh = with_shared_part(results_of_two_maps, shared_part(results_of_two_maps).assign_attrs(seed=3))
    assert (fresh.attrs["seed"], fresh.name) == (3, "both")
    xr.testing.assert_identical(fresh["map_1"].abundance, results_of_two_maps["map_1"].abundance)
    assert "seed" not in results_of_two_maps.attrs
    more = with_shared(results_of_two_maps, {"score": ("k", [1.0])}, {"seed": 4})
    assert more["score"].values == [1.0]
    assert more.attrs["seed"] == 4
    assert with_shared(result, {}, {"seed": 4}).attrs["seed"] == 4


def test_maps_join_as_they_came(results_of_two_maps, result):
    maps = {name: one[["total"]] for name, one in nodes_of(results_of_two_maps)[1]}
    assert list(joined(maps, results_of_two_maps).children) == ["map_0", "map_1"]
    assert isinstance(joined({"": result}, result), xr.Dataset)
