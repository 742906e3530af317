"""Beam energies of scanning microscopes: lines, elements, phases and maps, but no quantities."""

from __future__ import annotations

import numpy as np
import pytest

import edxdask
from edxdask import schema
from edxdask.errors import ParameterError
from edxdask.physics.absorption import film_attenuation
from edxdask.physics.columns import group_rows, line_groups
from edxdask.physics.continuum import continuum_shapes
from edxdask.physics.detector import efficiency
from edxdask.physics.emission import emission
from edxdask.physics.find import find_in_spectrum
from edxdask.physics.ionisation import ionisation_cross_section, stopped_cross_section

AXIS = -0.2 + 0.01 * np.arange(2048)
DEPTH_G_CM2 = 1e-4  # mean depth of emission, 0.4 µm in rock; photons leave at 35°
SAMPLES = {
    "olivine": {"Mg": 1.8, "Fe": 0.2, "Si": 1.0, "O": 4.0},
    "brass": {"Cu": 0.65, "Zn": 0.35},
    "pyrite": {"Fe": 1.0, "S": 2.0},
    "zirconia": {"Zr": 1.0, "O": 2.0},
    "gold on carbon": {"Au": 0.2, "C": 0.8},
}
CONFUSED = {"zirconia": {"B"}}  # Zr Mζ at the very end of the axis, 0.15 keV


def bulk_spectrum(atoms: dict[str, float], beam: float, photons: float = 1e6) -> np.ndarray:
    """Expected counts of a thick sample, from depths that fall off exponentially."""

    def out(kev: np.ndarray) -> np.ndarray:
        path = film_attenuation(atoms, np.maximum(kev, 0.1)) * DEPTH_G_CM2 / np.sin(np.deg2rad(35))
        return efficiency(kev) / (1.0 + path)

    lines = np.zeros(AXIS.size)
    for element, amount in atoms.items():
        groups = line_groups(element, AXIS, beam_energy=beam, fwhm_mn_ka_ev=130.0, seen=out)
        lines += amount * group_rows(groups, AXIS, 130.0, escape=1.0).sum(axis=0)
    smooth = continuum_shapes(AXIS, beam_energy=beam)[0] * out(AXIS)
    return photons * (0.5 * lines / lines.sum() + 0.5 * smooth / smooth.sum())


def test_lines_whose_edge_is_above_the_beam_do_not_exist():
    shells = {t.subshell for t in emission("Fe", 5.0).transitions}
    assert "K" not in shells
    assert "L3" in shells
    assert "K" in {t.subshell for t in emission("Fe", 10.0).transitions}
    assert ionisation_cross_section("Fe", "K", beam_energy=7.0) == 0.0
    assert stopped_cross_section("Fe", "K", beam_energy=7.0) == 0.0


def test_electrons_that_stop_excite_lines_near_the_beams_energy_least():
    ratio = {
        shell: stopped_cross_section("Fe", shell, beam_energy=10.0)
        / ionisation_cross_section("Fe", shell, beam_energy=10.0)
        for shell in ("K", "L3")
    }
    assert ratio["K"] < 0.4
    assert ratio["L3"] > 1.0  # slow electrons excite L more


@pytest.mark.parametrize("beam", [15.0, 20.0, 30.0])
@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_elements_of_a_thick_sample_are_found(name, beam):
    atoms = SAMPLES[name]
    counts = np.random.default_rng(3).poisson(bulk_spectrum(atoms, beam)).astype(float)
    found = find_in_spectrum(counts, AXIS, beam_energy=beam)
    assert set(atoms) <= set(found.elements)
    assert set(found.elements) - set(atoms) <= CONFUSED.get(name, set())
    # lines of most of these are near 1, 2 and 6 to 9 keV
    assert np.abs(found.axis.energy(np.array([1.0, 6.0])) - [1.0, 6.0]).max() < 0.004


def test_below_ten_kev_too():
    atoms = {"Al": 2.0, "O": 3.0}
    counts = np.random.default_rng(3).poisson(bulk_spectrum(atoms, 5.0)).astype(float)
    assert set(find_in_spectrum(counts, AXIS, beam_energy=5.0).elements) == set(atoms)


@pytest.mark.parametrize(
    ("name", "listed"),
    [
        ("bcf_v2_50x50px.bcf", {"Ag", "Al", "C", "Cu", "O"}),
        # of the elements that its operator lists, those with more than a trace
        (
            "30x30_instructively_packed_16bit_compressed.bcf",
            {"Al", "Ca", "Fe", "K", "Mg", "O", "P", "Si", "Ti"},
        ),
        ("bruker_nano.spx", {"Fe", "S", "Cu"}),
    ],
)
def test_real_files_hold_the_elements_that_their_headers_list(data, tmp_path, name, listed):
    edxdask.ingest(data / "vendor" / name, tmp_path / "map.zarr")
    cube = edxdask.open(tmp_path / "map.zarr")
    assert cube.attrs[schema.BEAM_ENERGY] < 30
    found = edxdask.find_elements(cube, known=[])
    seen = set(found[schema.ELEMENT].values[found[schema.SIGNIFICANT].values].tolist())
    assert listed <= seen


@pytest.fixture(scope="module")
def rock():
    """Olivine with pyrite at 15 keV."""
    spectra = np.array([bulk_spectrum(SAMPLES[n], 15.0, 1.0) for n in ("olivine", "pyrite")])
    fraction = np.zeros((24, 24, 2))
    fraction[..., 1] = np.clip((np.arange(24) - 14) / 4, 0, 1)
    fraction[..., 0] = 1 - fraction[..., 1]
    counts = np.random.default_rng(1).poisson(300 * fraction @ spectra).astype(np.uint16)
    cube = edxdask.from_array(counts, energy_offset=-0.2, energy_scale=0.01, beam_energy=15.0)
    return cube, spectra


@pytest.mark.parametrize("elements", [["O", "Mg", "Si", "S", "Fe"], "find"])
def test_phases_of_a_thick_sample_have_photons_of_elements_and_no_composition(rock, elements):
    cube, spectra = rock
    found = edxdask.psnmf(cube, phases=2, elements=elements, bin=2, smooth=0.5)
    assert schema.COMPOSITION not in found
    cosine = (found[schema.SPECTRUM].values * spectra).sum(axis=1) / (
        np.linalg.norm(found[schema.SPECTRUM].values, axis=1) * np.linalg.norm(spectra, axis=1)
    )
    assert np.degrees(np.arccos(cosine)).max() < 3
    photons = found[schema.ELEMENT_PHOTONS]
    assert photons.sel(element="S").values[1] > 0.2
    assert photons.sel(element="S").values[0] < 0.01
    assert photons.sel(element="Mg").values[0] > 0.1
    assert (photons.sum("element") < 0.7).all()  # half of the photons are lines
    with pytest.raises(ParameterError, match="physics of thin films only"):
        edxdask.quantify(found)


def test_quantities_are_refused_with_the_reason_and_the_rest_works(rock):
    cube, _ = rock
    with pytest.raises(ParameterError, match="electrons stop in a bulk sample"):
        edxdask.quantify(cube, elements=["O", "Mg", "Si"])
    with pytest.raises(ParameterError, match="Leave out compositions"):
        edxdask.psnmf(cube, phases=["a", "b"], elements=["O", "Mg", "Si"], compositions={"a": {"O": 1}})
    assert float(cube.edx.line_map("Mg_Ka").sum()) > 1000
    assert edxdask.nmf(cube, phases=2)[schema.SPECTRUM].shape[0] == 2
