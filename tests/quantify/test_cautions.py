"""Quantities that know their limits: few counts, films of unknown thickness, lone spectra."""

from __future__ import annotations

import numpy as np
import pytest

import edxdask
from edxdask import schema
from edxdask.physics.absorption import TYPICAL_G_CM3, TYPICAL_NM, absorption_text
from edxdask.physics.spectrum import phase_spectrum

AXIS = 0.1 + 0.01 * np.arange(1200)
FILMS = {
    "TiO2": ({"Ti": 1, "O": 2}, 4.2),
    "SnO2": ({"Sn": 1, "O": 2}, 6.9),
    "SrTiO3": ({"Sr": 1, "Ti": 1, "O": 3}, 5.1),
    "GaN": ({"Ga": 1, "N": 1}, 6.1),
    "Al2O3": ({"Al": 2, "O": 3}, 3.9),
    "GaAs": ({"Ga": 1, "As": 1}, 5.3),
}


def film(name, thickness, photons=1e6, pixels=1):
    """Cube of one film without its thickness, and the truth by element."""
    atoms, density = FILMS[name]
    spectrum = phase_spectrum(atoms, AXIS, thickness_nm=thickness, density_g_cm3=density)
    counts = np.random.default_rng(5).poisson(photons / pixels * np.broadcast_to(spectrum, (pixels, 1, 1200)))
    cube = edxdask.from_array(
        counts.astype(np.uint16), energy_offset=0.1, energy_scale=0.01, beam_energy=200.0
    )
    cube.attrs[schema.ELEVATION] = [22.0]
    return cube, {e: a / sum(atoms.values()) for e, a in atoms.items()}


def warned(found):
    return [text for text in found.attrs.get(schema.WARNINGS, []) if "thickness is not known" in text]


def beyond_three_errors(found, truth):
    x, std = found[schema.COMPOSITION], found[schema.COMPOSITION + schema.STD_SUFFIX]
    return [e for e, a in truth.items() if abs(float(x.sel(element=e)) - a) > 3 * float(std.sel(element=e))]


@pytest.mark.parametrize("thickness", [20.0, pytest.param(60.0, marks=pytest.mark.slow), 200.0])
@pytest.mark.parametrize("name", ["TiO2", "SnO2", "SrTiO3", "GaN", "Al2O3"])
def test_an_error_holds_the_truth_or_a_warning_names_what_changes_most(name, thickness):
    cube, truth = film(name, thickness)
    found = edxdask.quantify(cube, elements=list(truth))
    (text,) = warned(found)
    assert "Pass thickness (nm) and density (g/cm³)" in text
    usual = edxdask.quantify(cube, elements=list(truth), thickness=TYPICAL_NM, density=TYPICAL_G_CM3)
    most = abs(usual[schema.COMPOSITION] - found[schema.COMPOSITION]).idxmax().item()
    percent, before = (100 * float(one[schema.COMPOSITION].sel(element=most)) for one in (usual, found))
    assert text.count("instead of") == 1
    assert f"most in {most} of sum ({percent:.3g} at.% instead of {before:.3g} ±" in text
    known = edxdask.quantify(cube, elements=list(truth), thickness=thickness, density=FILMS[name][1])
    assert not warned(known)
    for element, atoms in truth.items():
        assert float(known[schema.COMPOSITION].sel(element=element)) == pytest.approx(atoms, rel=0.05)


def test_where_absorption_changes_little_nothing_is_said():
    cube, truth = film("GaAs", 60.0)
    found = edxdask.quantify(cube, elements=list(truth))
    assert not warned(found)
    assert not beyond_three_errors(found, truth)
    few, truth = film("Al2O3", 60.0, photons=1500)  # errors of 2 at.% hold what the film absorbs
    found = edxdask.quantify(few, elements=list(truth))
    assert not warned(found)
    assert not beyond_three_errors(found, truth)


def test_guided_phases_are_warned_of_by_name_until_the_film_is_known():
    cube, truth = film("TiO2", 60.0, pixels=64)
    given = {"phases": ["rutile"], "elements": list(truth), "bin": 2, "smooth": 0.0}
    found = edxdask.psnmf(cube, **given)
    (text,) = warned(found)
    assert " of rutile (" in text
    assert "Set ds.attrs['thickness_nm'] and ds.attrs['density_g_cm3']" in text
    again = edxdask.quantify(found, elements=list(truth), thickness=60.0, density=4.2)
    assert not warned(again)  # what it said of the first composition is gone
    cube.attrs |= {schema.THICKNESS: 60.0, schema.DENSITY: 4.2}
    assert not warned(edxdask.psnmf(cube, **given))


def test_several_phases_get_one_warning_that_names_one_element_of_each():
    found = np.array([[0.2, 0.2, 0.6], [0.5, 0.5, 0.0], [0.1, 0.3, 0.6], [0.0, 0.0, 0.0]])
    errors = np.full(found.shape, 0.005)
    corrected = found + np.array([[-0.02, -0.03, 0.05], [0.0, 0.0, 0.0], [0.06, -0.04, -0.02], [0.0] * 3])
    text = absorption_text(["Brg", "Fp", "CaPv", "dust"], ["Mg", "Si", "O"], found, errors, corrected)
    changes = "O of Brg (65 at.% instead of 60 ± 0.5), Mg of CaPv (16 at.% instead of 10 ± 0.5)."
    assert text.endswith(f"most in {changes}")
    assert absorption_text(["Fp"], ["Mg"], found[1:2], errors[1:2], corrected[1:2]) is None


@pytest.mark.parametrize("photons", [1, 4, 12])
def test_a_nearly_empty_spectrum_has_large_errors_and_a_warning_with_its_counts(photons):
    spectrum = phase_spectrum({"Mg": 1, "Si": 1, "O": 3}, AXIS)
    channels = np.random.default_rng(photons).choice(AXIS.size, photons, p=spectrum)
    counts = np.bincount(channels, minlength=AXIS.size).astype(np.uint16)[None, None]
    cube = edxdask.from_array(counts, energy_offset=0.1, energy_scale=0.01, beam_energy=200.0)
    found = edxdask.quantify(cube, elements=["O", "Mg", "Si", "Fe"])
    std = found[schema.COMPOSITION + schema.STD_SUFFIX]
    assert float(std.max()) > 0.12  # of 12 counts in two elements: 0.14
    assert float(std.min()) > 0.05
    (text,) = [t for t in found.attrs[schema.WARNINGS] if "counts in all its lines" in t]
    assert text.startswith("quantify: sum has only ")


def test_an_empty_phase_is_named_with_its_counts():
    cube, truth = film("GaAs", 60.0, photons=1e5, pixels=16)
    found = edxdask.nmf(cube, phases=1)
    spectrum = found[schema.SPECTRUM].isel(phase=[0, 0]).assign_coords(phase=["film", "dust"])
    amounts = found[schema.ABUNDANCE].isel(phase=[0, 0]).assign_coords(phase=["film", "dust"]).copy()
    amounts[0], amounts[1] = 0.9998, 0.0002
    both = found.drop_dims("phase").assign({schema.SPECTRUM: spectrum, schema.ABUNDANCE: amounts})
    texts = edxdask.quantify(both, elements=list(truth)).attrs[schema.WARNINGS]
    assert any(t.startswith("quantify: dust has only ") for t in texts)
    assert not any(t.startswith("quantify: film has only ") for t in texts)


@pytest.mark.parametrize("name", ["bruker_nano.spx", "extracted_from_bcf.spx"])
def test_lone_spectra_of_a_scanning_microscope_give_elements_and_no_quantities(data, tmp_path, name):
    edxdask.ingest(data / "vendor" / name, tmp_path / "one.zarr")
    cube = edxdask.open(tmp_path / "one.zarr")
    with pytest.raises(edxdask.errors.ParameterError, match="physics of thin films only"):
        edxdask.quantify(cube, elements=["Fe", "S"])
    assert "Fe" in edxdask.find_elements(cube)[schema.ELEMENT].values


def test_lone_spectra_are_quantified(data, tmp_path):
    """An EMSA file that we wrote, and a Bruker spectrum as if it were of a film at 200 keV."""
    cube, truth = film("Al2O3", 60.0)
    edxdask.export(edxdask.sum_spectrum(cube), tmp_path / "sum.msa")
    edxdask.ingest(tmp_path / "sum.msa", tmp_path / "msa.zarr")
    found = edxdask.quantify(
        edxdask.open(tmp_path / "msa.zarr"), elements=["O", "Al"], thickness=60, density=3.9
    )
    assert float(found[schema.COMPOSITION].sel(element="Al")) == pytest.approx(truth["Al"], abs=0.01)
    edxdask.ingest(data / "vendor" / "bruker_nano.spx", tmp_path / "spx.zarr")
    found = edxdask.quantify(
        edxdask.open(tmp_path / "spx.zarr"), elements=["C", "S", "Fe", "Cu"], beam_energy=200
    )
    assert float(found[schema.COMPOSITION].sum()) == pytest.approx(1.0)
    assert (found[schema.LINE_INTENSITY] > 1000).sel(line=["S_Ka", "Fe_Ka"]).all()
