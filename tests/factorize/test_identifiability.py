"""What the counts leave open: ranges hold what fits as well, and are narrow where pure pixels decide."""

from __future__ import annotations

import numpy as np
import pytest

import edxdask
from edxdask.errors import EdxdaskError
from edxdask.factorize.identifiability.exchange import GroupFit
from edxdask.factorize.identifiability.nothing import phases_that_are_none
from edxdask.factorize.identifiability.ranges import Open, _compositions, _Region, open_ranges
from edxdask.factorize.identifiability.solutions import number_of_solutions, with_other_solutions
from edxdask.factorize.iteration.grouped import Groups
from edxdask.physics.spectrum import phase_spectrum

ENERGY = 2.0 + 0.01 * np.arange(80)  # keV, of made-up spectra
ELEMENTS = "Mg,Si,Al,Ca,Fe,Nd,Sm,U,Cu,O"


def groups_of(fractions, spectra, photons, seed=0):
    """Sums of pixels of these fractions, drawn at random."""
    fractions = np.asarray(fractions, float)
    expected = photons * fractions @ spectra
    counts = np.random.default_rng(seed).poisson(expected)
    return Groups(counts, photons * fractions, np.full(len(fractions), photons / 100.0))


@pytest.fixture(scope="module")
def spectra():
    draw = np.random.default_rng(3)
    rows = draw.dirichlet(np.full(80, 0.5), 3)
    rows[0, :20], rows[1, 20:40] = 0, 0  # what each lacks
    return rows / rows.sum(axis=1, keepdims=True)


def test_what_may_be_added_ends_where_the_other_phase_would_be_below_zero(spectra):
    fractions = [[f, 1 - f] for f in np.r_[np.linspace(0.4, 1.0, 13), [1.0] * 4]]
    fit = GroupFit.of(groups_of(fractions, spectra[:2], 1e6), spectra[:2])
    # where phase 1 is purest it comes with 0.4 of phase 0 for 0.6 of its own
    assert fit.most_of(0, 1) == pytest.approx(0.4 / 0.6, rel=0.02)
    assert fit.most_of(1, 0) == pytest.approx(0.0, abs=0.01)
    assert fit.pure().tolist() == [True, False]


def test_phases_that_are_pure_somewhere_leave_nothing_open(spectra):
    fractions = np.vstack([np.eye(3), np.full((4, 3), 1 / 3)])
    found = open_ranges(None, spectra, groups_of(fractions, spectra, 1e6), ENERGY)
    assert found.distance.max() < 0.01
    assert (np.abs(found.least) < 0.01).all()
    assert (found.most < 0.02).all()


def test_the_region_holds_the_spectrum_that_was_turned_away(spectra):
    """A phase without pure pixels, from which too much was subtracted: the true one is in its region."""
    true = spectra[:2]
    taken = 0.3
    turned = np.stack([true[0], (true[1] - taken * true[0]) / (1 - taken)])
    assert turned.min() >= -0.2
    turned = np.maximum(turned, 0)
    turned /= turned.sum(axis=1, keepdims=True)
    fractions = np.array([[1 - f, f] for f in (0.0, 0.2, 0.4, 0.6, 0.7)])
    groups = groups_of(fractions, true, 1e6)
    found = open_ranges(None, turned, groups, ENERGY)
    assert found.most[1, 0] > taken / (1 - taken)
    assert found.distance[1] > 0.05


@pytest.mark.parametrize(
    ("film", "other", "may_hold"),
    [
        ({"Cu": 2, "O": 1}, {"Au": 1}, True),
        ({"Ni": 55, "Cr": 20, "Co": 20, "Al": 5}, {"Ni": 70, "Al": 15, "Ti": 9, "Co": 6}, False),
    ],
)
def test_a_phase_with_all_peaks_of_another_may_hold_it_also_where_no_elements_are_named(
    film, other, may_hold
):
    """A core below a shell is nowhere without it, and looks like a pure phase."""
    energy = 0.3 + 0.01 * np.arange(1200)
    rows = np.stack([phase_spectrum(one, energy) for one in (film, other)])
    if may_hold:
        rows[1] = 0.6 * rows[1] + 0.4 * rows[0]
    found = open_ranges(None, rows, groups_of(np.repeat(np.eye(2), 8, axis=0), rows, 1e5), energy)
    assert (found.least[1, 0] < -0.35) == may_hold
    assert found.least[1, 0] < -0.35 or found.least[1, 0] > -0.05


def test_a_guided_result_says_its_ranges_and_its_error_holds_them():
    cube = edxdask.simulate("mantle", shape=(64, 64), counts=147, seed=2)
    found = edxdask.psnmf(cube, phases=3, elements=ELEMENTS, bin=8, smooth=1.0)
    low, high = found.composition_low, found.composition_high
    assert bool(((low <= found.composition + 1e-3) & (found.composition <= high + 1e-3)).all())
    # the matrix is pure in many pixels, the precipitates never are
    assert found.stability.values[0] > 0.98
    assert found.stability.values[1:].max() < 0.97
    open_ones = [text for text in found.attrs["warnings"] if "would explain the counts equally well" in text]
    assert {text.split(":")[0] for text in open_ones} == {"phase_1", "phase_2"}
    assert bool((found.composition_std >= found.composition_spread).all())
    frame = found.edx.identifiability()
    wide = frame["highest"] - frame["lowest"]
    assert wide.loc["phase_0"].max() < 2 < wide.loc["phase_1"].max()
    assert len(found.edx.plot(figure="ranges").axes) == 3


def test_what_the_user_knows_closes_the_ranges():
    cube = edxdask.simulate("mantle", shape=(64, 64), counts=147, seed=2)
    known = edxdask.psnmf(
        cube, phases=["Brg", "Fp", "CaPv"], elements=ELEMENTS, bin=8, smooth=1.0,
        absent={"Fp": "Si", "CaPv": "Mg"},
    )  # fmt: skip
    width = (known.composition_high - known.composition_low).sel(phase="Fp")
    assert float(width.max()) < 0.02
    assert not [t for t in known.attrs.get("warnings", []) if t.startswith("Fp: ") and "equally well" in t]


def test_without_elements_the_table_says_what_of_other_phases_may_be_less_or_more():
    cube = edxdask.simulate("mantle", shape=(64, 64), counts=147, seed=2)
    found = edxdask.psnmf(cube, phases=3, bin=8, smooth=1.0)
    frame = edxdask.identifiability(found)
    assert frame.loc[("phase_1", "phase_0"), "more"] > 0.1
    assert (frame[["less", "more"]] >= -1e-9).all().all()


def test_results_of_other_methods_have_no_ranges():
    cube = edxdask.simulate("mantle", shape=(24, 24), counts=50, seed=2)
    with pytest.raises(EdxdaskError, match="psnmf"):
        edxdask.identifiability(edxdask.nmf(cube, phases=2, max_iter=5))


def test_equal_and_empty_phases_and_one_pixel_are_named():
    rows = np.eye(5)
    rows[2] = [0, 1, 0.001, 0, 0]
    photons, brightest = np.array([1e5, 1e4, 1e4, 2e3, 1e3]), np.array([50.0, 50.0, 50.0, 1.9e3, 3.0])
    largest = np.array([1.0, 1.0, 1.0, 1.0, 0.03])
    texts = phases_that_are_none(["a", "b", "c", "d", "e"], rows, photons, brightest, largest)
    assert [text[:2] for text in texts] == ["c:", "d:", "e:"]
    assert all(text.endswith("phases=2") for text in texts)
    assert "3.0% of the photons" in texts[2]
    assert phases_that_are_none(["a", "b"], rows[:2], photons[:2], brightest[:2], largest[:2]) == []


def test_a_phase_of_which_no_element_is_certain_is_named():
    rows, photons, brightest, largest = np.eye(2), np.full(2, 1e4), np.full(2, 50.0), np.ones(2)
    surely = np.array([[0.2, 0.0], [0.0, 0.012]])
    texts = phases_that_are_none(["a", "b"], rows, photons, brightest, largest, surely)
    assert texts == [
        "b: no element is certain to be in it, so it may not be a phase. Ask for fewer phases: phases=1"
    ]


class Atoms:
    """Two elements; a photon of each means one atom."""

    atoms = np.eye(2)[None]

    @staticmethod
    def composition(weights):
        """Atomic fractions."""
        return weights / weights.sum(axis=1, keepdims=True)


def test_where_all_atoms_may_be_those_of_another_phase_the_range_is_wide_and_not_a_point():
    """A grain of five pixels: its errors are as large as what it has, and ratios of the rest have no bounds.

    With u of the other phase taken away, 1 - 10 u and 0.2 - u are left: their sum is a tenth at u = 0.0982.
    """
    free = np.array([[0.0, -1.0], [0.0, 1.0], [-5.0, -1.0]])  # u between 0 and -5, never above
    regions = [_Region(free[1:], np.zeros((0, 2))), _Region(free[:1], np.zeros((0, 2)))]
    low, high = _compositions(Atoms(), np.array([[1.0, 0.2], [10.0, 1.0]]), regions)
    assert low[0, 0] == pytest.approx(0.018 / 0.12, abs=0.002)
    assert high[0, 1] == pytest.approx(0.1018 / 0.12, abs=0.002)


def test_other_solutions_widen_the_ranges_and_are_counted(spectra):
    mixed = spectra.copy()
    mixed[1] = 0.8 * spectra[1] + 0.2 * spectra[0]
    nothing = np.zeros((3, 3))
    opened = Open(nothing.copy(), nothing.copy(), np.zeros(3), np.zeros(3))
    # in another order, as another start would have it
    found = with_other_solutions(opened, None, spectra, mixed[[2, 0, 1]][None])
    assert found.most[1, 0] == pytest.approx(0.25)
    assert found.most[0].tolist() == pytest.approx([0, 0, 0], abs=1e-9)
    assert found.angle[1] > 5 > found.angle[2]
    assert number_of_solutions(np.stack([mixed, spectra, mixed]), spectra) == 2
    assert number_of_solutions(None, spectra) == 1


def test_a_gradient_has_no_plateau_and_its_end_stays_open(spectra):
    even = np.linspace(0, 1, 60)
    fractions = np.column_stack([even, 1 - even])
    assert not GroupFit.of(groups_of(fractions, spectra[:2], 1e6), spectra[:2]).has_plateau().any()
    grains = np.vstack([fractions, np.tile(np.eye(2), (40, 1))])
    assert GroupFit.of(groups_of(grains, spectra[:2], 1e6), spectra[:2]).has_plateau().all()


@pytest.fixture(scope="module")
def small_mantle():
    return edxdask.simulate("mantle", shape=(64, 64), counts=147, seed=2)


def test_a_label_that_two_phases_could_carry_is_named(small_mantle):
    found = edxdask.psnmf(
        small_mantle, phases=3, elements=ELEMENTS, absent={"Fp": "U"}, bin=8, smooth=1.0, progress=False
    )
    assert [t for t in found.attrs["warnings"] if t.startswith("Fp: two phases could carry this name")]
    assert found.attrs["solutions"] > 1


def test_what_was_said_against_the_counts_is_named(small_mantle):
    wrong = {"A": ["Mg", "Ca"], "B": "Si"}
    found = edxdask.psnmf(
        small_mantle, phases=3, elements=ELEMENTS, absent=wrong, bin=8, smooth=1.0, progress=False
    )
    assert [t for t in found.attrs["warnings"] if t.startswith("A: the counts contradict")]
    right = {"Fp": "Si", "CaPv": "Mg"}
    found = edxdask.psnmf(
        small_mantle, phases=3, elements=ELEMENTS, absent=right, bin=8, smooth=1.0, progress=False
    )
    said = " ".join(found.attrs.get("warnings", []))
    assert "contradict" not in said
    assert "two phases could" not in said
    assert found.attrs["solutions"] == 1
