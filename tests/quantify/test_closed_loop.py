"""Every way to quantify gives back the film that a spectrum was computed from, and within its errors."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import edxdask
from edxdask.errors import ParameterError
from edxdask.physics.artefacts import escape_response
from edxdask.physics.lines import parse_line
from edxdask.physics.spectrum import phase_intensity
from edxdask.quantify.methods import atomic_mass

DOSE, SOLID_ANGLE = 2e11, 0.7  # electrons, sr
OLIVINE = {"Mg": 1.8, "Fe": 0.2, "Si": 1.0, "O": 4.0}
GARNET = {"Mg": 2.4, "Fe": 0.6, "Al": 2.0, "Si": 3.0, "O": 12.0}
NANOMETRES_TO_CM, AVOGADRO = 1e-7, 6.02214076e23


def film(composition, *, thickness=100.0, density=3.5, pixels=4, seed=0, dose=DOSE):
    """A cube of a uniform film, with Poisson noise."""
    energy = 0.3 + 0.01 * np.arange(970)
    mean = phase_intensity(composition, energy, thickness_nm=thickness, density_g_cm3=density)
    mean *= dose * SOLID_ANGLE / (4 * np.pi) / pixels
    counts = np.random.default_rng(seed).poisson(mean, (1, pixels, energy.size))
    attrs = {"elevation_deg": [22.0], "thickness_nm": thickness, "density_g_cm3": density}
    return edxdask.from_array(
        counts.astype(np.uint32), energy_offset=0.3, energy_scale=0.01, beam_energy=200.0, attrs=attrs
    )


def fractions(composition):
    whole = sum(composition.values())
    return {element: atoms / whole for element, atoms in composition.items()}


def areal_density(composition, thickness, density):
    """Atoms of each element per nm²."""
    share = fractions(composition)
    mass = sum(x * atomic_mass(e) for e, x in share.items())
    atoms = density * thickness * NANOMETRES_TO_CM * AVOGADRO / mass / 1e14
    return {e: x * atoms for e, x in share.items()}


def assert_holds(found, name, truth, more=0.002):
    """Hold values against the truth: within 4 sigma, and a little more for what shapes leave."""
    for element, value in truth.items():
        x, std = (float(found[name + end].sel(element=element)) for end in ("", "_std"))
        assert 0 < std < 0.1 * value
        assert abs(x - value) < 4 * std + more * value, (element, x, std, value)


@pytest.mark.parametrize("method", ["zeta", "cross-section"])
@pytest.mark.parametrize(("thickness", "density"), [(50.0, 3.3), (300.0, 4.0)])
def test_absolute_methods_give_back_the_film_from_dose_and_solid_angle(method, thickness, density):
    cube = film(GARNET, thickness=thickness, density=density)
    found = edxdask.quantify(cube, elements=list(GARNET), method=method, dose=DOSE, solid_angle=SOLID_ANGLE)
    assert_holds(found, "composition", fractions(GARNET))
    assert_holds(found, "areal_density", areal_density(GARNET, thickness, density))
    whole, std = float(found.mass_thickness), float(found.mass_thickness_std)
    assert abs(whole - thickness * density) < 4 * std + 0.002 * whole


def test_zeta_and_cross_section_factors_measured_on_one_film_give_back_another():
    known = film(OLIVINE, thickness=1.0, dose=1e13)  # so thin that nothing is absorbed
    measured = edxdask.quantify(known, elements=list(OLIVINE))
    photons = {str(n): float(v) for n, v in measured.line_intensity.to_series().items()}
    density = areal_density(OLIVINE, 1.0, 3.5)
    sigma, zeta = {}, {}
    for line, counts in photons.items():
        element = parse_line(line).element
        barn = counts / (1e13 * density[element]) * 1e10
        sigma[line] = (barn, 0.001 * barn)
        kg_m2 = density[element] * atomic_mass(element) / AVOGADRO * 1e14 * 10.0  # g/cm² are 10 kg/m²
        zeta[line] = (kg_m2 * 1e13 / counts, 0.001 * kg_m2 * 1e13 / counts)
    truth = {"Mg": 1.0, "Fe": 1.0, "Si": 2.0, "O": 6.0}
    unknown = film(truth, thickness=200.0, density=3.8, seed=1)
    for method, given in (("cross-section", {"cross_sections": sigma}), ("zeta", {"zeta_factors": zeta})):
        found = edxdask.quantify(unknown, elements=list(truth), method=method, dose=DOSE, **given)
        assert_holds(found, "composition", fractions(truth))
        assert_holds(found, "areal_density", areal_density(truth, 200.0, 3.8))
        bare = {name: {n: v for n, (v, _) in own.items()} for name, own in given.items()}
        exact = edxdask.quantify(unknown, elements=list(truth), method=method, dose=DOSE, **bare)
        assert (found.composition_std > exact.composition_std).all()


@pytest.mark.parametrize("thickness", [20.0, 300.0])
def test_a_standard_gives_factors_whatever_its_thickness(thickness):
    standard = film(GARNET, thickness=thickness, density=4.0, seed=2)
    truth = {"Mg": 1.0, "Fe": 1.0, "Si": 2.0, "O": 6.0}
    unknown = film(truth, thickness=150.0, seed=3)
    found = edxdask.quantify(unknown, elements=list(truth), standard=(standard, GARNET))
    assert_holds(found, "composition", fractions(truth))
    poor = edxdask.quantify(
        unknown, elements=list(truth), standard=(film(GARNET, thickness=thickness, dose=1e9), GARNET)
    )
    assert (poor.composition_std > 3 * found.composition_std).all()  # its photons are in the errors


def test_a_standard_must_hold_what_is_measured_and_stand_alone():
    standard = film(OLIVINE)
    with pytest.raises(ParameterError, match="a standard that holds Al"):
        edxdask.quantify(film(GARNET), elements=list(GARNET), standard=(standard, OLIVINE))
    with pytest.raises(ParameterError, match="no other factors"):
        edxdask.quantify(
            film(OLIVINE), elements=list(OLIVINE), standard=(standard, OLIVINE), k_factors={"Mg_Ka": 1.0}
        )


def test_regions_share_the_dose_by_their_pixels():
    cube = film(OLIVINE, pixels=4)
    mask = xr.DataArray([[True, False, False, False]], dims=("y", "x"))
    found = edxdask.quantify(
        cube,
        elements=list(OLIVINE),
        method="zeta",
        dose=DOSE,
        solid_angle=SOLID_ANGLE,
        per={"one": mask, "all": "sum"},
    )
    whole = found.mass_thickness.sel(region="all").item()
    assert found.mass_thickness.sel(region="one").item() == pytest.approx(whole, rel=0.02)
    errors = found.mass_thickness_std
    assert errors.sel(region="one").item() == pytest.approx(2 * errors.sel(region="all").item(), rel=0.1)
    with pytest.raises(ParameterError, match="'top'"):
        edxdask.quantify(cube, elements=list(OLIVINE), per={"a": "top"})
    with pytest.raises(ParameterError, match="one mask or region"):
        edxdask.quantify(cube, elements=list(OLIVINE), per={})


def test_maps_of_a_collection_are_quantified_each_by_itself():
    maps = {"/first/a": film(OLIVINE), "/second": film(GARNET, thickness=200.0)}
    tree = edxdask.quantify(xr.DataTree.from_dict(maps), elements=list(GARNET))
    for path, cube in maps.items():
        alone = edxdask.quantify(cube, elements=list(GARNET))
        xr.testing.assert_allclose(tree[path].to_dataset().drop_attrs(), alone.drop_attrs())
    assert_holds(tree["/second"], "composition", fractions(GARNET))


def test_phases_of_several_maps_are_quantified_with_all_their_photons():
    pair = [film(OLIVINE, seed=s) for s in (4, 5)]
    one = edxdask.nmf(pair[0], phases=1)
    both = edxdask.nmf(xr.DataTree.from_dict({"/a": pair[0], "/b": pair[1]}), phases=1)
    options = {"elements": list(OLIVINE), "method": "zeta", "dose": DOSE, "solid_angle": SOLID_ANGLE}
    options |= {"beam_energy": 200.0}
    of_one = edxdask.quantify(one, **options)
    of_both = edxdask.quantify(both, **{**options, "dose": 2 * DOSE})
    assert_holds(of_one.isel(phase=0), "composition", fractions(OLIVINE))
    root = of_both.to_dataset()
    assert_holds(root.isel(phase=0), "composition", fractions(OLIVINE))
    assert root.line_intensity.sum().item() == pytest.approx(2 * of_one.line_intensity.sum().item(), rel=0.01)
    assert root.mass_thickness.item() == pytest.approx(350.0, rel=0.005)
    assert of_one.mass_thickness.item() == pytest.approx(350.0, rel=0.005)
    assert set(of_both.children) == {"a", "b"}


def test_elements_that_the_file_lists_and_the_axis_does_not_show_are_left_out_with_a_word(caplog):
    cube = film(OLIVINE).isel(energy=slice(60, None)).assign_attrs(elements=[*OLIVINE, "Zr"])
    found = edxdask.quantify(cube, foreign=["Zr"])
    assert set(found.element.values) == {"Mg", "Fe", "Si"}
    assert "O: listed by the data" in caplog.text
    with pytest.raises(ParameterError, match="'O'"):
        edxdask.quantify(cube, elements=list(OLIVINE))


def test_what_is_missing_is_named_and_does_not_drag_the_axis():
    cube = film({"Mg": 1.0, "O": 1.0, "Cu": 0.3})
    found = edxdask.quantify(cube, elements=["Mg", "O", "Hf"], foreign=["Hf"])
    # hafnium's L alpha would go to copper's K alpha, 2 % away
    assert found.attrs["energy_gain"] == pytest.approx(1.0, abs=1e-4)
    (text,) = found.attrs["warnings"]
    assert "not listed: Cu (Cu_" in text


def test_escape_peaks_are_as_strong_as_the_data_say():
    energy = 0.3 + 0.01 * np.arange(970)
    mean = phase_intensity({"Ca": 1, "O": 1}, energy)
    calcium = mean[np.abs(energy - 3.69) < 0.15].sum()
    escaped = calcium * escape_response(energy, np.array([3.69]))[0]
    for amount in (0.0, 1.0):
        drawn = np.random.default_rng(0).poisson((mean + amount * escaped) / mean.sum() * 3e6)
        cube = edxdask.from_array(
            drawn.astype(np.uint32)[None, None], energy_offset=0.3, energy_scale=0.01, beam_energy=200.0
        )
        found = edxdask.quantify(cube, elements=["Ca", "O"])
        assert found.attrs["escape_strength"] == pytest.approx(amount, abs=0.25)
