"""Conditions of maps that share spectra: means where these serve, errors where they cannot."""

from __future__ import annotations

import pytest

import edxdask
from edxdask.errors import ParameterError
from edxdask.physics.conditions import Conditions, shared_conditions

FILM = {"beam_energy_kev": 200.0, "thickness_nm": 100.0, "density_g_cm3": 4.5, "elevation_deg": [22.0]}


def test_equal_maps_have_the_conditions_of_each():
    assert shared_conditions({"a": FILM, "b": dict(FILM)}) == (Conditions.of(FILM), "")


def test_films_that_differ_are_averaged_whatever_their_order_and_said():
    maps = {"a": FILM, "b": FILM | {"thickness_nm": 150.0}, "c": FILM | {"thickness_nm": 110.3}}
    found, warning = shared_conditions(maps)
    again, _ = shared_conditions({name: maps[name] for name in ("c", "a", "b")})
    assert found.thickness_nm == again.thickness_nm == pytest.approx(120.1)
    assert "450 to 675 nm g/cm3" in warning


def test_small_differences_of_width_and_film_are_no_warning():
    found, warning = shared_conditions(
        {"a": FILM | {"fwhm_mn_ka_ev": 128.0}, "b": FILM | {"fwhm_mn_ka_ev": 132.0, "thickness_nm": 101.0}}
    )
    assert warning == ""
    assert found.fwhm_mn_ka_ev == 130.0


@pytest.mark.parametrize(
    ("other", "says"),
    [
        ({"beam_energy_kev": 300.0}, "beam_energy_kev={'a': 200.0, 'b': 300.0}: expected one beam energy"),
        ({"elevation_deg": [18.0]}, "maps 'a' and 'b'"),
        ({"detector_window": "polymer"}, "expected one detector"),
        ({"thickness_nm": None, "density_g_cm3": None}, "a thickness of all maps or of none"),
    ],
)
def test_what_a_shared_basis_cannot_be_right_for_is_refused(other, says):
    with pytest.raises(ParameterError) as caught:
        shared_conditions({"a": FILM, "b": FILM | other})
    assert says in str(caught.value)


def test_guided_factorization_does_not_take_the_first_maps_attributes_for_all():
    maps = {n: edxdask.simulate(shape=(12, 12), counts=200, seed=s).load() for n, s in (("a", 1), ("b", 2))}
    thick = maps | {"b": maps["b"].assign_attrs(thickness_nm=200.0)}
    how = {"phases": 2, "elements": ["Mg", "Si", "Ca", "Fe", "O"], "max_iter": 5}
    found = edxdask.nmf(edxdask.collect(thick), **how)
    assert any("films differ" in text for text in found.attrs["warnings"])
    wrong = maps | {"b": maps["b"].assign_attrs(beam_energy_kev=300.0)}
    with pytest.raises(ParameterError, match="one beam energy"):
        edxdask.nmf(edxdask.collect(wrong), **how)
