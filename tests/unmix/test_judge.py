"""Maps that do not belong to their collection are named, others never."""

from __future__ import annotations

import numpy as np
import pytest
from known_maps import ABSENT, TRACES, collected, simulated, true_result

import edxdask
from edxdask.errors import CorruptStoreError, ParameterError
from edxdask.unmix.judge import labelled_verdicts
from edxdask.unmix.verdicts import OwnFit, judge_maps

FRACTIONS = [f"{element} in {phase}" for phase in ("Brg", "Fp") for element in ("O", "Si", "Mg", "Fe")]
TRUE = np.array([[0.5, 0.3, 0.15, 0.05], [0.6, 0.25, 0.1, 0.05]])


def own_fit(rng, *, photons=1e6, true=TRUE, misfit=1.0):
    """Composition as a fit of so many photons would give it."""
    phases, elements = true.shape
    spread = np.sqrt(true * np.array([[1.0], [2.0]]) / photons)
    atoms = true + spread * rng.normal(size=true.shape)  # amounts, whose scale says nothing
    information = np.zeros((true.size, true.size))
    for row in range(phases):
        mine = slice(elements * row, elements * (row + 1))
        own = np.diag(1 / spread[row] ** 2)
        scale = own @ true[row]  # what the scale could explain
        information[mine, mine] = own - np.outer(scale, scale) / (true[row] @ scale)
    return OwnFit(
        atoms / atoms.sum(axis=1, keepdims=True), information, misfit, 1000, photons, np.full(phases, photons)
    )


def test_of_maps_that_belong_none_is_named_in_a_hundred_collections():
    mean = []
    for seed in range(100):
        rng = np.random.default_rng(seed)
        fits = {f"m{i}": own_fit(rng, photons=1e6 if i else 1e5) for i in range(8)}
        verdicts = judge_maps(fits, FRACTIONS)
        assert all(one.belongs for one in verdicts), verdicts
        mean.append(np.mean([one.t1 for one in verdicts]))
    assert np.mean(mean) == pytest.approx(1.0, abs=0.15)


def test_what_a_map_leaves_open_counts_for_nothing():
    rng = np.random.default_rng(5)
    fits = {f"m{i}": own_fit(rng) for i in range(4)}
    blind = own_fit(rng, true=np.array([[0.3, 0.5, 0.15, 0.05], [0.6, 0.25, 0.1, 0.05]]))
    blind.information[:4, :4] *= 1e-12
    fits["blind"] = blind
    assert all(one.belongs for one in judge_maps(fits, FRACTIONS))


def test_wrong_maps_are_named_and_the_others_are_not():
    rng = np.random.default_rng(1)
    fits = {f"m{i}": own_fit(rng) for i in range(5)}
    other = np.array([[0.45, 0.33, 0.17, 0.05], [0.6, 0.25, 0.1, 0.05]])
    fits["other"] = own_fit(rng, true=other)
    fits["axis"] = own_fit(rng, misfit=4.0)
    verdicts = {
        one.name: one for one in judge_maps(fits, FRACTIONS, {"cut": "it cannot be calibrated: no peaks"})
    }
    assert [name for name, one in verdicts.items() if not one.belongs] == ["other", "axis", "cut"]
    assert "composition" in verdicts["other"].reason
    assert "T2 4" in verdicts["axis"].reason
    assert verdicts["cut"].reason == "it cannot be calibrated: no peaks"


def test_one_element_of_one_phase_is_found_where_all_together_hide_it():
    rng = np.random.default_rng(7)
    true = np.array([[0.5, *[0.05] * 10], [0.6, *[0.04] * 10]])
    names = [f"{element} in {phase}" for phase in ("Brg", "Fp") for element in ("O", "Fe", *"abcdefghi")]
    fits = {f"m{i}": own_fit(rng, true=true) for i in range(7)}
    more = true.copy()
    more[0, 1] *= 1.04  # some 8 errors
    fits["iron"] = own_fit(rng, true=more / more.sum(axis=1, keepdims=True))
    verdicts = {one.name: one for one in judge_maps(fits, names)}
    assert [name for name, one in verdicts.items() if not one.belongs] == ["iron"]
    assert verdicts["iron"].t1 < 5 < verdicts["iron"].sigma
    assert verdicts["iron"].fraction == "Fe in Brg"
    assert "more Fe in Brg than the other maps" in verdicts["iron"].reason


def test_a_difference_too_small_to_matter_is_let_pass_however_sure_it_is():
    rng = np.random.default_rng(8)
    fits = {f"m{i}": own_fit(rng, photons=1e8) for i in range(7)}
    more = TRUE.copy()
    more[0, 3] *= 1.01
    fits["more"] = own_fit(rng, photons=1e8, true=more / more.sum(axis=1, keepdims=True))
    verdicts = {one.name: one for one in judge_maps(fits, FRACTIONS)}
    assert all(one.belongs for one in verdicts.values())
    assert verdicts["more"].sigma > 5


def test_a_phase_that_one_map_lacks_is_still_compared_in_the_others():
    rng = np.random.default_rng(9)
    fits = {f"m{i}": own_fit(rng) for i in range(5)}
    fits["without"] = own_fit(rng)
    fits["without"].information[4:] = 0.0
    fits["without"].information[:, 4:] = 0.0
    other = TRUE.copy()
    other[1] = [0.5, 0.35, 0.1, 0.05]
    fits["other"] = own_fit(rng, true=other)
    assert [one.name for one in judge_maps(fits, FRACTIONS) if not one.belongs] == ["other"]


def test_a_rare_element_of_which_nothing_was_counted_by_chance_is_no_difference():
    """Three photons were expected and none came: the own error says 0, that of the others does not."""
    rng = np.random.default_rng(10)
    fits = {f"m{i}": own_fit(rng) for i in range(7)}
    for i, one in enumerate(fits.values()):
        seen = 0 if i == 0 else 3
        one.composition[0, 3] = 1e-6 * seen
        one.information[3], one.information[:, 3] = 0.0, 0.0
        one.information[3, 3] = 1e12 / max(seen, 1e-3)
    assert all(one.belongs for one in judge_maps(fits, FRACTIONS))


def test_a_misfit_that_many_photons_show_and_no_composition_feels_is_let_pass():
    rng = np.random.default_rng(2)
    fits = {f"m{i}": own_fit(rng, photons=1e8, misfit=3.0) for i in range(3)}
    assert all(one.belongs for one in judge_maps(fits, FRACTIONS))


def test_the_figure_has_the_limits_and_a_cross_for_what_does_not_belong():
    rng = np.random.default_rng(6)
    other = TRUE.copy()
    other[0] = [0.45, 0.33, 0.17, 0.05]
    verdicts = judge_maps(
        {f"m{i}": own_fit(rng, true=other if i == 2 else TRUE) for i in range(4)}, FRACTIONS
    )
    found = labelled_verdicts(verdicts)
    figure = found.edx.plot(title="four")
    assert figure.get_suptitle() == "four: 3 of 4 maps belong together"
    limits = [axes.lines[-1].get_ydata()[0] for axes in figure.axes]
    assert limits == [found[name].attrs["at_most"] for name in ("map_t1", "map_sigma", "map_t2")]
    assert [len(axes.lines[1].get_xdata()) for axes in figure.axes] == [1, 1, 1]


def test_two_hundred_maps_are_judged_and_the_wrong_ones_of_them_named():
    rng = np.random.default_rng(4)
    other = TRUE.copy()
    other[0] = [0.45, 0.33, 0.17, 0.05]
    fits = {f"m{i:03d}": own_fit(rng, true=other if i in (17, 120) else TRUE) for i in range(200)}
    assert [one.name for one in judge_maps(fits, FRACTIONS) if not one.belongs] == ["m017", "m120"]


def test_the_order_of_maps_changes_nothing():
    rng = np.random.default_rng(3)
    fits = {f"m{i}": own_fit(rng, true=TRUE if i else TRUE[::-1]) for i in range(6)}
    one = {v.name: v for v in judge_maps(fits, FRACTIONS)}
    other = {v.name: v for v in judge_maps(dict(reversed(list(fits.items()))), FRACTIONS)}
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


@pytest.fixture
def one_cut(tmp_path):
    """Three maps in a store, one of them with half of a chunk; and their result."""
    cubes = {name: simulated(i, size=24, counts=600, channels=750) for i, name in enumerate("abc")}
    data, result = collected(cubes)
    edxdask.save(data, tmp_path / "maps.zarr")
    chunk = next((tmp_path / "maps.zarr" / "b" / "counts").glob("c*"))
    chunk.write_bytes(chunk.read_bytes()[: chunk.stat().st_size // 2])
    return cubes, edxdask.open(tmp_path / "maps.zarr"), result


def test_a_map_that_is_cut_on_disk_is_named_and_the_others_are_judged(one_cut):
    _, data, result = one_cut
    found = edxdask.judge(data, result=result, absent=ABSENT, progress=False)
    assert found.map_belongs.sel(map=["a", "b", "c"]).values.tolist() == [True, False, True]
    assert "it cannot be read: " in found.map_reason.sel(map="b").item()
    assert "is damaged" in found.map_reason.sel(map="b").item()
    assert np.isfinite(found.map_t1.sel(map=["a", "c"])).all()


@pytest.mark.slow
def test_a_map_that_is_cut_on_disk_is_left_out_where_that_is_allowed(one_cut):
    cubes, data, result = one_cut
    known = {"matrix": "Brg", "absent": ABSENT, "masks": "threshold", "core": 1, "progress": False}
    with pytest.raises(CorruptStoreError, match=r"b: chunk .* is damaged.*leave_out=True does without"):
        edxdask.aided(data, result=result, **known)
    un = edxdask.aided(data, result=result, leave_out=True, **known)
    assert sorted(un.children) == ["a", "c"]
    assert un.map_belongs.sel(map="b").item() is False
    others = {name: cubes[name] for name in "ac"}
    alone = edxdask.aided(*collected(others)[:1], result=collected(others)[1], **known)
    np.testing.assert_allclose(un.composition, alone.composition, rtol=1e-9, atol=1e-12)
    assert any("it cannot be read" in text for text in un.attrs["warnings"])


def test_a_lone_map_that_is_cut_is_an_error(one_cut):
    cubes, data, _ = one_cut
    with pytest.raises(CorruptStoreError, match="is damaged"):
        edxdask.traces(data["b"].to_dataset(), result=true_result(cubes["b"]), phase="Brg", absent=ABSENT)
