"""Compositions from spectra: the truth comes back, errors are honest, what cannot work is named."""

from __future__ import annotations

import numpy as np
import pytest

import edxdask
from edxdask import schema
from edxdask.errors import ChunkError, ParameterError
from edxdask.physics.spectrum import phase_intensity
from edxdask.quantify.recipe import make_recipe
from edxdask.quantify.spectra import quantify_spectra
from edxdask.report.quantified import quantified_figure

ELEMENTS = ["O", "Mg", "Si", "Ca", "Fe"]
TRUTH = {"O": 0.6, "Mg": 0.18, "Si": 0.18, "Ca": 0.02, "Fe": 0.02}
OVERLAP = {"Cr": 0.3, "Mn": 0.3, "Fe": 0.4}  # Kβ of each on Kα of the next


@pytest.fixture(scope="module")
def cube():
    return edxdask.simulate(shape=(12, 12), counts=300, seed=2).load()


def coverage(truth, photons, repeats, seed=0):
    """Share of repeats whose 1σ interval holds the truth, over all elements."""
    energy = 0.3 + 0.01 * np.arange(970)
    mean = phase_intensity(truth, energy)
    mean *= photons / mean.sum()
    attrs = {"beam_energy_kev": 200.0, "elevation_deg": [22.0]}
    options = {"elements": list(truth), "method": "cliff-lorimer", "thickness": 100.0, "density": 4.5}
    rest = dict.fromkeys(("lines", "factors", "oxygen", "beam_energy", "dose", "solid_angle", "detector"))
    recipe = make_recipe(attrs, energy, **options, **rest, foreign=(), refine_axis=True)
    counts = np.random.default_rng(seed).poisson(mean, (repeats, energy.size))
    hits = []
    for one in counts:
        found = quantify_spectra(
            one[None], energy, recipe, dim="region", labels=["a"], dose_shares=np.ones(1)
        )
        x, std = found.composition[0], found.composition_std[0]
        right = np.array([truth[str(e)] for e in found.element.values])
        hits.append(np.abs(x.values - right) <= std.values)
    return float(np.mean(hits))


@pytest.mark.slow
@pytest.mark.parametrize("truth", [TRUTH, OVERLAP])
def test_errors_hold_the_truth_as_often_as_they_say(truth):
    assert 0.60 <= coverage(truth, 2e5, 200) <= 0.75


def test_user_factors_belong_to_lines_whatever_their_order(cube):
    k = {"Fe_Ka": 1.3, "O_Ka": 2.0, "Si_Ka": 1.0, "Mg_Ka": 1.1, "Ca_Ka": 1.05}
    one = edxdask.quantify(cube, elements=ELEMENTS, k_factors=k)
    other = edxdask.quantify(cube, elements=ELEMENTS[::-1], k_factors=dict(reversed(k.items())))
    np.testing.assert_allclose(one.composition, other.composition.sel(element=one.element), rtol=1e-3)
    with pytest.raises(ParameterError, match="Si_Ka has none"):
        edxdask.quantify(cube, elements=ELEMENTS, k_factors={n: v for n, v in k.items() if n != "Si_Ka"})


def test_oxygen_by_stoichiometry_balances_the_charges(cube):
    found = edxdask.quantify(cube, elements=ELEMENTS, oxygen={"Fe": 3})
    x = found.composition.to_series()
    assert x["O"] == pytest.approx(x["Mg"] + 2 * x["Si"] + x["Ca"] + 1.5 * x["Fe"])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"elements": ["Mg", "Xx"]}, "Xx"),
        ({"elements": ["Mg", "H"]}, "H"),
        ({"beam_energy": 200_000.0}, "In keV that is 200"),
        ({"thickness": 100.0}, "density"),
        ({"elements": ["Mg", "Si"], "method": "zeta", "solid_angle": 0.7}, "dose"),
        ({"method": "guess"}, "cliff-lorimer"),
        ({"lines": ["Fe_Ka", "Fe_La"]}, "one line per element"),
    ],
)
def test_what_cannot_work_is_named(cube, options, said):
    bare = cube.drop_attrs().assign_attrs({schema.BEAM_ENERGY: 200.0})
    with pytest.raises(ParameterError, match=said):
        edxdask.quantify(bare, **{"elements": ELEMENTS, **options})
    with pytest.raises(ParameterError, match="beam_energy"):
        edxdask.quantify(cube.drop_attrs(), elements=ELEMENTS)


def test_pixels_do_not_depend_on_chunks_and_need_whole_spectra(cube):
    whole = edxdask.quantify(cube, elements=ELEMENTS, per="pixel").composition.compute()
    cut = edxdask.quantify(cube.chunk(y=5, x=7), elements=ELEMENTS, per="pixel").composition
    np.testing.assert_allclose(cut.compute(), whole, atol=1e-5)
    with pytest.raises(ChunkError, match="energy=-1"):
        edxdask.quantify(cube.chunk(energy=100), elements=ELEMENTS, per="pixel")


def test_lines_that_nobody_listed_and_that_spoil_the_fit_are_named(cube, caplog):
    listed = [e for e in cube.attrs["elements"] if e != "Ca"]
    found = edxdask.quantify(cube, elements=listed)
    (text,) = found.attrs["warnings"]
    assert "sum holds what is not listed: Ca (Ca_Ka, 3.69 keV, " in text
    counts = float(text.partition("3.69 keV, ")[2].partition(" counts")[0])
    known = edxdask.quantify(cube)
    alpha = known.line_intensity.sel(line="Ca_Ka").item()
    assert 1.0 < counts / alpha < 1.3  # Kβ and L are the element's, too
    assert caplog.messages == [text]
    assert "warnings" not in known.attrs
    (of_pixels,) = edxdask.quantify(cube, elements=listed, per="pixel").attrs["warnings"]
    assert "the sum of all pixels holds what is not listed: Ca" in of_pixels


def test_phases_are_warned_of_by_name_and_a_second_try_takes_the_warning_back(cube):
    result = edxdask.nmf(cube, phases=3).assign_attrs(warnings=["of the factorization"])
    listed = [e for e in cube.attrs["elements"] if e != "Ca"]
    once = edxdask.quantify(result, elements=listed)
    kept, *new = once.attrs["warnings"]
    assert kept == "of the factorization"
    assert any(text.startswith("quantify: phase_0 holds what is not listed: Ca") for text in new)
    assert edxdask.quantify(once, elements=[*listed, "Ca"]).attrs["warnings"] == ["of the factorization"]


def test_guided_phases_have_the_errors_of_their_fit_and_no_chi_squared(cube):
    result = edxdask.nmf(cube, phases=2, elements=cube.attrs["elements"])
    relative = (result.composition_std / result.composition).where(result.composition > 0.01)
    found = edxdask.quantify(result, elements=cube.attrs["elements"])
    assert found.chi2_red.isnull().all()
    for name in ("composition", "mass_fraction"):
        least = (relative * found[name]).sel(element=found.element)
        assert (found[name + "_std"] >= least - 1e-12).where(least.notnull(), True).all()
    iron = found.line_intensity_std.sel(line="Fe_Ka") / found.line_intensity.sel(line="Fe_Ka")
    assert (iron >= relative.sel(element="Fe").fillna(0.0) - 1e-12).all()
    again = edxdask.quantify(found, elements=cube.attrs["elements"])
    np.testing.assert_allclose(again.composition_std, found.composition_std, rtol=1e-6)
    panels = [axes.get_title(loc="left") for axes in quantified_figure(found).axes[::2]]
    assert len(panels) == 2
    assert all("guided fit" in " ".join(text.split()) and "χ²" not in text for text in panels)


def test_what_a_guided_phase_next_to_lacks_has_no_absurd_error(cube):
    """A fit leaves 1e-12 of an element, with its error: a relative one of a thousand million."""
    result = edxdask.nmf(cube, phases=2, elements=cube.attrs["elements"])
    lacks = {"phase": result.phase[1], "element": "U"}
    result.composition.loc[lacks] = 1e-12
    found = edxdask.quantify(result, elements=cube.attrs["elements"])
    least = result.composition_std.sel(lacks)
    assert least <= found.composition_std.sel(lacks) < 0.05
    assert found.mass_fraction_std.sel(lacks) < 0.2
    assert (found.line_intensity_std.sel(phase=lacks["phase"]) < found.line_intensity.sum()).all()


@pytest.mark.slow
def test_good_fits_are_not_warned_of():
    for seed in range(6):
        for counts in (15, 150, 1500):
            one = edxdask.simulate(shape=(48, 48), counts=counts, seed=seed)
            assert "warnings" not in edxdask.quantify(one).attrs, (seed, counts)
