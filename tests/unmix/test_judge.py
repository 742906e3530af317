"""Maps that do not belong to their collection are named, others never."""

from __future__ import annotations

import numpy as np
import pytest
from known_maps import ABSENT, TRACES, collected, simulated

import edxdask
from edxdask.errors import ParameterError
from edxdask.unmix.verdicts import OwnFit, judge_maps

TRUE = np.array([[0.5, 0.3, 0.15, 0.05], [0.6, 0.25, 0.1, 0.05]])


def own_fit(rng, *, photons=1e6, true=TRUE, misfit=1.0):
    """Composition as a fit of so many photons would give it."""
    spread = np.sqrt(true * np.array([[1.0], [2.0]]) / photons)
    atoms = true + spread * rng.normal(size=true.shape)  # amounts, whose scale says nothing
    information = np.zeros((8, 8))
    for row in range(2):
        mine = slice(4 * row, 4 * row + 4)
        own = np.diag(1 / spread[row] ** 2)
        scale = own @ true[row]  # what the scale could explain
        information[mine, mine] = own - np.outer(scale, scale) / (true[row] @ scale)
    return OwnFit(atoms / atoms.sum(axis=1, keepdims=True), information, misfit, 1000, photons)


def test_of_maps_that_belong_none_is_named_in_a_hundred_collections():
    mean = []
    for seed in range(100):
        rng = np.random.default_rng(seed)
        fits = {f"m{i}": own_fit(rng, photons=1e6 if i else 1e5) for i in range(8)}
        verdicts = judge_maps(fits)
        assert all(one.belongs for one in verdicts), verdicts
        mean.append(np.mean([one.t1 for one in verdicts]))
    assert np.mean(mean) == pytest.approx(1.0, abs=0.15)


def test_what_a_map_leaves_open_counts_for_nothing():
    rng = np.random.default_rng(5)
    fits = {f"m{i}": own_fit(rng) for i in range(4)}
    blind = own_fit(rng, true=np.array([[0.3, 0.5, 0.15, 0.05], [0.6, 0.25, 0.1, 0.05]]))
    blind.information[:4, :4] *= 1e-12
    fits["blind"] = blind
    assert all(one.belongs for one in judge_maps(fits))


def test_wrong_maps_are_named_and_the_others_are_not():
    rng = np.random.default_rng(1)
    fits = {f"m{i}": own_fit(rng) for i in range(5)}
    other = np.array([[0.45, 0.33, 0.17, 0.05], [0.6, 0.25, 0.1, 0.05]])
    fits["other"] = own_fit(rng, true=other)
    fits["axis"] = own_fit(rng, misfit=4.0)
    verdicts = {one.name: one for one in judge_maps(fits, {"cut": "no peaks"})}
    assert [name for name, one in verdicts.items() if not one.belongs] == ["other", "axis", "cut"]
    assert "composition" in verdicts["other"].reason
    assert "T2 4" in verdicts["axis"].reason
    assert verdicts["cut"].reason == "it cannot be calibrated: no peaks"


def test_a_misfit_that_many_photons_show_and_no_composition_feels_is_let_pass():
    rng = np.random.default_rng(2)
    fits = {f"m{i}": own_fit(rng, photons=1e8, misfit=3.0) for i in range(3)}
    assert all(one.belongs for one in judge_maps(fits))


def test_the_order_of_maps_changes_nothing():
    rng = np.random.default_rng(3)
    fits = {f"m{i}": own_fit(rng, true=TRUE if i else TRUE[::-1]) for i in range(6)}
    one = {v.name: v for v in judge_maps(fits)}
    other = {v.name: v for v in judge_maps(dict(reversed(list(fits.items()))))}
    for name in fits:
        assert abs(one[name].t1 - other[name].t1) <= 1e-9 * one[name].t1
        assert one[name].belongs == other[name].belongs


def test_one_map_has_nothing_to_be_compared_with():
    cube = simulated(1, size=16)
    data, result = collected({"a": cube})
    with pytest.raises(ParameterError, match="a collection of two maps or more"):
        edxdask.judge(data, result=result, absent=ABSENT)


@pytest.mark.slow
def test_simulated_outliers_are_named():
    """Axis off by 200 eV, another sample, 150 nm said to be 100; ten times fewer counts is normal."""
    how = {"counts": 3000, "channels": 750}
    iron, more_iron = (({**TRACES, "Brg": {**TRACES["Brg"], "Fe": amount}}) for amount in (3.0, 1.05))
    cubes = {f"m{i}": simulated(i, moved_kev=0.006 * i - 0.01, **how) for i in range(3)}
    cubes["few"] = simulated(10, counts=300, channels=750)
    cubes["axis"] = simulated(11, moved_kev=0.2, **how)
    cubes["other"] = simulated(12, compositions=iron, **how)
    cubes["thick"] = simulated(13, thickness=150.0, **how).assign_attrs(thickness_nm=100.0)
    cubes["iron"] = simulated(14, compositions=more_iron, **how)
    data, result = collected(cubes)
    found = edxdask.judge(data, result=result, absent=ABSENT, progress=False)
    wrong = found["map"].values[~found.map_belongs.values].tolist()
    assert wrong == ["axis", "other", "thick", "iron"]
    assert (found.map_reason.values != "").tolist() == (~found.map_belongs.values).tolist()
    normal = found.sel(map=["m0", "m1", "m2", "few"])
    assert float(normal.map_t1.max()) < 3.5
