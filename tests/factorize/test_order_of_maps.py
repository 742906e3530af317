"""Collections: maps of different size, pixel size and dwell; their order changes nothing."""

from __future__ import annotations

import numpy as np
import pytest

import edxdask

ELEMENTS = ["Mg", "Si", "Al", "Ca", "Fe", "O", "Nd", "Sm", "U", "Cu"]
METHODS = {
    "nmf": lambda tree: edxdask.nmf(tree, phases=3, max_iter=20, tol=0.0),
    "guided nmf": lambda tree: edxdask.nmf(tree, phases=3, elements=ELEMENTS, max_iter=20, tol=0.0),
    "pca": lambda tree: edxdask.pca(tree, components=3),
    "psnmf": lambda tree: edxdask.psnmf(tree, phases=3, bin=6, smooth=1.0, max_iter=30),
}


@pytest.fixture(scope="module")
def maps():
    """Equally large maps too, of which the first may not be special; and a width that only one states."""
    made = {
        "long": edxdask.simulate(shape=(48, 20), counts=150, seed=1),
        "dim": edxdask.simulate(shape=(24, 40), counts=40, seed=2, pixel_size=7.0),
        "bright": edxdask.simulate(shape=(24, 24), counts=400, seed=5, fwhm_mn_ka_ev=136.0),
    }
    return {name: one.load() for name, one in made.items()}


@pytest.mark.parametrize("method", METHODS)
def test_the_order_of_the_maps_changes_nothing_but_the_order_of_the_answers(maps, method):
    """The issue asks for 1e-9; sums are made in the order of the names, so that it is exact."""
    orders = (("long", "dim", "bright"), ("bright", "long", "dim"))
    found = [METHODS[method](edxdask.collect({n: maps[n] for n in order})) for order in orders]
    for result, order in zip(found, orders, strict=True):
        assert tuple(result.children) == order
    one, other = found
    for name in one.data_vars:
        np.testing.assert_array_equal(one[name].values, other[name].values, err_msg=str(name))
    for name in orders[0]:
        assert one[name].attrs.keys() == other[name].attrs.keys()
        for variable in one[name].data_vars:
            np.testing.assert_array_equal(one[name][variable].values, other[name][variable].values)
    assert one.attrs == other.attrs


def test_maps_of_a_collection_keep_their_shapes_and_photons(maps):
    result = METHODS["nmf"](edxdask.collect(maps))
    for name, one in maps.items():
        assert result[name].total.shape == one.counts.shape[:2]
        assert float(result[name].total.sum()) == pytest.approx(float(one.counts.sum()), rel=1e-3)
        assert (result[name].x.values == one.x.values).all()
