"""What errors hold besides counting: lines that contradict each other, and what the result leaves open."""

from __future__ import annotations

import numpy as np
import pytest
from known_maps import ABSENT, TRACES, collected, simulated, true_ppm, true_result

import edxdask
from edxdask import schema

SEEN = ["Nd", "Sm", "U"]
HOW = {"phase": "Brg", "elements": SEEN, "absent": ABSENT, "progress": False}
MUCH_U = {"Brg": {**TRACES["Brg"], "U": 0.3}, "CaPv": TRACES["CaPv"]}
OPEN = "Brg: Nd between 0 and 0.1 at.% would explain the counts equally well"


@pytest.fixture(scope="module")
def torn():
    """A map whose L lines show uranium, and whose M lines show none."""
    cube = simulated(5, channels=1600, compositions=MUCH_U)
    without = simulated(5, channels=1600, compositions={p: {**a, "U": 0.0} for p, a in TRACES.items()})
    soft = (cube.energy < 8).values
    return cube.assign(counts=cube.counts.where(~soft, without.counts).astype(cube.counts.dtype))


@pytest.fixture(scope="module")
def cube():
    return simulated(3)


def test_lines_that_contradict_each_other_are_named_and_the_error_holds_both(torn):
    found = edxdask.traces(torn, result=true_result(torn), **HOW)
    (text,) = [one for one in found.attrs["warnings"] if "contradict" in one]
    assert text.startswith("U of Brg: ")
    assert "by its L lines" in text
    assert "by its M lines" in text
    spread = found.atomic_ppm_spread
    assert float(spread.sel(element="U")) > 500  # of 3000 ppm by the one, 0 by the other
    assert (found.atomic_ppm_std.sel(element="U") >= spread.sel(element="U")).all()
    assert float(spread.sel(element="Nd")) == 0
    assert np.isnan(found.measure_longer.sel(element="U")).all()  # no photons decide it


def test_aided_says_it_too(torn):
    pytest.importorskip("maxflow")
    un = edxdask.aided(torn, matrix="Brg", absent=ABSENT, result=true_result(torn), progress=False)
    assert any(text.startswith("U of Brg: ") for text in un.attrs["warnings"])
    assert float(un.composition_std.sel(phase="Brg", element="U")) > 5e-4


def test_lines_that_agree_are_fitted_together(cube):
    found = edxdask.traces(cube, result=true_result(cube), **HOW)
    assert (found.atomic_ppm_spread == 0).all()
    assert not any("contradict" in text for text in found.attrs.get("warnings", []))


def with_open(result):
    """A result that says: 0.03 at.% of the neodymium of bridgmanite is open."""
    spread = result.composition * 0.0
    spread.loc[{"phase": "Brg", "element": "Nd"}] = 3e-4
    return result.assign(composition_spread=spread).assign_attrs(warnings=[OPEN, "Zn: not listed"])


def test_traces_hold_what_their_result_leaves_open(cube):
    plain = edxdask.traces(cube, result=true_result(cube), **HOW)
    found = edxdask.traces(cube, result=with_open(true_result(cube)), **HOW)
    assert OPEN in found.attrs["warnings"]
    assert "Zn: not listed" not in found.attrs["warnings"]
    np.testing.assert_allclose(found.atomic_ppm, plain.atomic_ppm)
    np.testing.assert_allclose(
        found.atomic_ppm_std.sel(element="Nd"), np.hypot(plain.atomic_ppm_std.sel(element="Nd"), 300)
    )
    np.testing.assert_allclose(found.atomic_ppm_std.sel(element="U"), plain.atomic_ppm_std.sel(element="U"))


def test_aided_takes_it_along_and_traces_of_its_result_have_it(cube):
    pytest.importorskip("maxflow")
    how = {"matrix": "Brg", "absent": ABSENT, "progress": False}
    un = edxdask.aided(cube, result=with_open(true_result(cube)), **how)
    assert OPEN in un.attrs["warnings"]
    for name in (schema.COMPOSITION, schema.COMPOSITION_SUBTRACTED):
        assert float(un[name + "_std"].sel(phase="Brg", element="Nd")) > 3e-4
    found = edxdask.traces(cube, result=un, **HOW)
    assert OPEN in found.attrs["warnings"]
    assert (found.atomic_ppm_std.sel(element="Nd") > 300).all()


def test_maps_of_different_films_share_compositions_and_nothing_else():
    """Each has a basis of its own: one that is three times as thick does not spoil the other."""
    cubes = {"thin": simulated(0, thickness=60.0), "thick": simulated(1, thickness=300.0)}
    data, result = collected(cubes)
    found = edxdask.traces(data, result=result, **HOW)
    score = (found.atomic_ppm - true_ppm(cubes["thin"], "Brg", SEEN)) / found.atomic_ppm_std
    assert float(np.abs(score).max()) < 3.5
    assert found.map_belongs.all()


def test_a_part_of_a_map_that_has_no_core_helps_with_the_rest():
    cube = simulated(7, size=64)
    cubes = {"none": cube.isel(x=slice(0, 20)), "some": cube.isel(x=slice(20, None))}
    data, result = collected(cubes)
    node = result["none"].to_dataset(inherit=False)
    masks = np.ones((3, 64, 20), bool)  # its precipitates may be anywhere
    masks[0] = False
    result["none"].dataset = node.assign(mask=(("phase", "y", "x"), masks))
    found = edxdask.traces(data, result=result, **HOW)
    assert found.trace_pixels.sel(map="none") == 0
    assert found.trace_pixels.sel(map="some") > 0
    score = (found.atomic_ppm[-1] - true_ppm(cube, "Brg", SEEN)) / found.atomic_ppm_std[-1]
    assert float(np.abs(score).max()) < 3.5


def test_a_matrix_with_too_little_of_an_element_gets_the_same_masks(cube):
    """All of it then seems to hold ferropericlase; what more than the purest pixels hold is a precipitate."""
    pytest.importorskip("maxflow")
    right = true_result(cube, masks=False)
    wrong, part = right.copy(deep=True), 0.1
    brg, fp = (right.spectrum.sel(phase=p) for p in ("Brg", "Fp"))
    poor = (brg - part * fp).clip(min=0) / (1 - part)
    wrong["spectrum"].loc[{"phase": "Brg"}] = poor / poor.sum()
    wrong["abundance"].loc[{"phase": "Fp"}] += part * right.abundance.sel(phase="Brg")
    wrong["abundance"].loc[{"phase": "Brg"}] *= 1 - part
    how = {"matrix": "Brg", "absent": ABSENT, "progress": False}
    one, two = (edxdask.aided(cube, result=result, **how) for result in (right, wrong))
    for phase in ("Fp", "CaPv"):
        differ = (one["mask"] != two["mask"]).sel(phase=phase).sum()
        assert differ < 0.05 * one["mask"].sel(phase=phase).sum()
    assert one["core"].sel(phase="Brg").sum() > 100
    assert two["core"].sel(phase="Brg").sum() > 0.8 * one["core"].sel(phase="Brg").sum()
