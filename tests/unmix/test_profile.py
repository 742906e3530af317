"""Profiles of composition: against the distance from a precipitate, and along a line."""

from __future__ import annotations

import numpy as np
import pytest
from known_maps import collected, simulated, true_result

import edxdask
from edxdask.errors import ParameterError


@pytest.fixture(scope="module")
def cube():
    return simulated(4, counts=300, channels=800)


@pytest.fixture(scope="module")
def from_precipitate(cube):
    return edxdask.profile(cube, result=true_result(cube), feature="Fp", elements=["Mg", "Fe"], farthest=6)


def mean_at(cube, where, element):
    """True fraction of an element in some pixels, if all phases have as many atoms for a photon."""
    atoms = cube.truth_composition.sel(element=element).values
    fractions = cube.truth_abundance.values[(slice(None), *where)].mean(axis=(1, 2))
    return float(fractions @ atoms / fractions.sum())


def test_iron_falls_from_the_precipitate_to_the_matrix(cube, from_precipitate):
    iron = from_precipitate.profile_composition.sel(element="Fe")
    far = float(cube.truth_composition.sel(phase="Brg", element="Fe"))
    error = from_precipitate.profile_composition_std.sel(element="Fe")
    outside = iron.where(iron.distance > 3, drop=True)
    assert (np.abs(outside - far) < 4 * error.sel(distance=outside.distance)).all()
    assert float(iron[0]) > 3 * far
    assert float(iron[0] - iron[-1]) > 5 * float(error[0])
    assert from_precipitate.attrs["along"] == "distance from Fp"


def test_a_part_holds_the_pixels_at_its_distance(cube, from_precipitate):
    from scipy.ndimage import distance_transform_edt

    masks = true_result(cube).mask.values
    outside = distance_transform_edt(~masks[1])
    ring = (outside > 1) & (outside <= 2) & ~masks[2]
    assert float(from_precipitate.profile_pixels.sel(distance=1.5)) == ring.sum()


def test_a_line_gives_as_many_parts_as_it_is_long(cube):
    found = edxdask.profile(
        cube, result=true_result(cube), line=((5, 2), (5, 42)), step=8, width=5, elements=["Si"]
    )
    assert found.distance.values.tolist() == [4, 12, 20, 28, 36]
    assert found.profile_pixels.values[:4].tolist() == [40] * 4
    rows = slice(3, 8)
    silicon = [mean_at(cube, (rows, slice(2 + 8 * i, 10 + 8 * i)), "Si") for i in range(4)]
    away = found.profile_composition.values[:4, 0] - silicon
    assert np.abs(away / found.profile_composition_std.values[:4, 0]).max() < 5


def test_profiles_are_drawn_and_tabulated(from_precipitate, tmp_path):
    frame = from_precipitate.edx.table()
    assert frame.loc[(0.5, "Fe"), "at.%"] == pytest.approx(
        100 * float(from_precipitate.profile_composition.sel(distance=0.5, element="Fe"))
    )
    figure = from_precipitate.edx.plot(title="Fp")
    assert figure.axes[-1].get_xlabel() == "distance from Fp, px"
    assert edxdask.export(from_precipitate, tmp_path / "p.csv").read_text().count("Fe") == len(
        from_precipitate.distance
    )


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "a phase, or a line"),
        ({"feature": "Fp", "line": ((0, 0), (1, 1))}, "one of the two"),
        ({"feature": "Brg"}, "the matrix has no mask"),
        ({"feature": "x"}, "one of the phases"),
        ({"line": ((0, 0), (0, 0))}, "two different ends"),
        ({"line": ((0, 0), (0, 100))}, "ends within the map"),
        ({"line": "all"}, "two different ends"),
        ({"feature": "Fp", "step": 0}, "a length in pixels above 0"),
        ({"feature": "Fp", "elements": ["Zr"]}, "elements of the result"),
    ],
)
def test_what_cannot_be_drawn_is_refused(cube, given, says):
    with pytest.raises(ParameterError, match=says):
        edxdask.profile(cube, result=true_result(cube), **given)


def test_a_line_needs_one_map(cube):
    data, result = collected({"a": cube, "b": cube})
    with pytest.raises(ParameterError, match="one map; this is a collection"):
        edxdask.profile(data, result=result, line=((0, 0), (5, 5)))


def test_a_film_of_unknown_thickness_is_said_where_traces_are_asked_for(cube):
    bare = cube.copy()
    for name in ("thickness_nm", "density_g_cm3"):
        del bare.attrs[name]
    how = {"result": true_result(cube), "feature": "Fp", "farthest": 4}
    found = edxdask.profile(bare, elements=["Mg", "U"], **how)
    (text,) = found.attrs["warnings"]
    assert "thickness is not known" in text
    assert "warnings" not in edxdask.profile(bare, elements=["Mg"], **how).attrs
    assert "warnings" not in edxdask.profile(cube, elements=["Mg", "U"], **how).attrs
