"""Line names and energies against the tables of the field."""

from __future__ import annotations

import numpy as np
import pytest

from edxdask.errors import ParameterError
from edxdask.physics.lines import (
    atomic_number,
    family_of,
    line_centroid,
    line_energy,
    lines_of,
    parse_line,
    transitions_of,
)

# keV; X-ray Data Booklet (LBNL 2009), table 1-2
BOOKLET = {
    "O_Ka": 0.5249,
    "Mg_Ka": 1.2536,
    "Al_Ka": 1.4867,
    "Si_Ka": 1.7400,
    "Ca_Ka": 3.6917,
    "Fe_Ka": 6.4038,
    "Fe_Kb": 7.0580,
    "Cu_Ka": 8.0478,
    "Nd_La": 5.2304,
    "Sm_La": 5.6361,
    "Nd_Lb1": 5.7216,
    "Au_La": 9.7133,
    "Au_Ma": 2.1229,
    "U_Ma": 3.1708,
}
# keV; the elements' table of eXSpy 0.3.2 (GPL-3): each line that it shares with us of the
# elements of a mantle map
EXSPY = {
    "Mg": {"Ka": 1.2536},
    "Si": {"Ka": 1.7397, "Kb": 1.8389},
    "Ca": {"Ka": 3.6917, "Kb": 4.0127, "Ll": 0.3027, "Ln": 0.3063},
    "Fe": {"Ka": 6.4039, "Kb": 7.058, "La": 0.7045, "Lb3": 0.7921, "Ll": 0.6152, "Ln": 0.6282},
    "Nd": {
        "Ka": 37.361, "Kb": 42.2715, "La": 5.2302, "Lb1": 5.722, "Lb2": 6.0904, "Lb3": 5.8286, "Lb4": 5.7232,
        "Lg1": 6.604, "Lg3": 6.9014, "Ll": 4.6326, "Ln": 5.1462, "Mg": 1.1799, "Mz": 0.7531,
    },
}  # fmt: skip


@pytest.mark.parametrize("element", EXSPY)
def test_all_lines_of_mantle_elements_lie_within_5_ev_of_another_programs_table(element):
    for siegbahn, energy in EXSPY[element].items():
        assert line_energy(f"{element}_{siegbahn}") == pytest.approx(energy, abs=0.005), siegbahn


@pytest.mark.parametrize(
    ("iupac", "siegbahn"),
    [("Fe_KL3", "Fe_Ka1"), ("Nd_L3M5", "Nd_La1"), ("Nd_L2M4", "Nd_Lb1"), ("U_M5N7", "U_Ma1")],
)
def test_iupac_names_stand_for_the_same_lines(iupac, siegbahn):
    assert parse_line(iupac).transitions == parse_line(siegbahn).transitions
    assert parse_line(iupac).name == iupac
    assert parse_line(iupac).family == iupac.split("_")[1][0]


def test_a_line_knows_its_iupac_name_and_its_family():
    assert parse_line("Fe_Ka").iupac == "KL3+KL2"
    assert {line.name for line in family_of("Fe", "K")} == {"Fe_Ka", "Fe_Kb"}
    assert all(line.family == "L" for line in family_of("Nd", "L"))
    with pytest.raises(ParameterError, match="K, L, M"):
        family_of("Fe", "N")


# keV; X-ray Data Booklet, table 1-2
@pytest.mark.parametrize(
    ("name", "booklet"),
    [
        ("Ce_Ma", 0.883),
        ("Pr_Ma", 0.929),
        ("Nd_Ma", 0.978),
        ("Sm_Ma", 1.081),
        ("Eu_Ma", 1.131),
        ("Nd_Mb", 0.997),
        ("Sm_Mb", 1.100),
    ],
)
def test_rare_earths_have_the_m_lines_that_xraylib_lacks(name, booklet):
    assert line_energy(name) == pytest.approx(booklet, abs=0.007)  # Mβ 3 to 6 eV below its edge


def test_m_lines_from_4f_grow_with_4f_and_leave_the_sum_of_rates_alone():
    share = []
    for element in ("Ce", "Nd", "Sm", "Eu", "Gd"):
        with_4f = [t for t in transitions_of(element, True) if t.subshell == "M5"]
        without = [t for t in transitions_of(element) if t.subshell == "M5"]
        assert sum(t.rate for t in with_4f) == pytest.approx(1.0, abs=0.01)
        assert sum(t.rate for t in without) == pytest.approx(1.0, abs=0.01)
        share.append(sum(t.rate for t in with_4f if t.iupac in ("M5N6", "M5N7")))
    assert (np.diff(share[:4]) > 0).all()
    assert share[3] == pytest.approx(share[4], abs=0.01)  # Eu has as many 4f electrons as Gd


def test_beryllium_has_the_line_of_the_booklet():
    assert line_energy("Be_Ka") == pytest.approx(0.1085)


@pytest.mark.parametrize(("name", "table"), BOOKLET.items())
def test_line_energies_lie_within_5_ev_of_the_table(name, table):
    assert line_energy(name) == pytest.approx(table, abs=0.005)


@pytest.mark.parametrize("name", [name for name in BOOKLET if name.split("_")[1] in ("Ka", "La", "Ma")])
def test_the_centroid_of_a_line_lies_just_below_its_strongest_transition(name):
    assert 0 <= line_energy(name) - line_centroid(name) < 0.02


def test_the_centroid_is_the_rate_weighted_mean():
    # Kα2 : Kα1 = 0.511 for iron (J. H. Scofield, At. Data Nucl. Data Tables 14 (1974) 121)
    assert line_centroid("Fe_Ka") == pytest.approx((6.4038 + 0.511 * 6.3908) / 1.511, abs=0.001)


def test_lines_of_an_element_lie_in_the_range_and_rise():
    found = lines_of("Nd", 4.0, 7.0)
    energies = [line.energy_kev for line in found]
    assert energies == sorted(energies)
    assert energies[0] >= 4.0
    assert energies[-1] <= 7.0
    assert {"Nd_La", "Nd_Lb1", "Nd_Lb2"} <= {line.name for line in found}
    assert {line.family for line in lines_of("Au", 2, 12)} == {"L", "M"}


def test_every_name_leads_back_to_its_line():
    for element in ("O", "Fe", "Nd", "U"):
        for line in lines_of(element):
            assert parse_line(line.name) == line


def test_heavier_elements_have_harder_lines():
    energies = [line_energy(f"{e}_Ka") for e in ("C", "O", "Na", "Si", "Ca", "Fe", "Cu", "Mo", "Ag")]
    assert (np.diff(energies) > 0).all()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("FeKa", "as in 'Fe_Ka'"),
        ("Xx_Ka", "symbol of an element"),
        ("Fe_Kz", "Known: .*Ka"),
        ("O_La", "It has O_Ka"),
    ],
)
def test_a_bad_line_is_explained(name, message):
    with pytest.raises(ParameterError, match=message):
        parse_line(name)


def test_an_unknown_element_gets_a_suggestion():
    with pytest.raises(ParameterError, match=r"Did you mean .*Fe"):
        atomic_number("FE")
