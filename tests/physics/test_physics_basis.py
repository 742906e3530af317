"""The matrix G, and weights of its rows by maximum likelihood."""

import numpy as np
import pytest
from scipy.optimize import minimize

from edxdask.errors import ParameterError
from edxdask.physics.basis import basis
from edxdask.physics.detector import efficiency
from edxdask.physics.emission import line_cross_section
from edxdask.physics.poisson import deviance, fit_weights
from edxdask.physics.spectrum import phase_intensity

AXIS = 0.3 + 0.01 * np.arange(970)


def test_columns_of_elements_add_up_to_the_spectrum_of_a_thin_film():
    atoms = {"Mg": 0.4, "Fe": 0.1, "O": 0.5}
    made = basis(AXIS, list(atoms), beam_energy=200.0, continuum=0)
    summed = np.array(list(atoms.values())) @ made.matrix
    film = phase_intensity(atoms, AXIS, thickness_nm=1e-3, density_g_cm3=1.0, continuum_scale=0.0)
    # so thin a film absorbs nothing
    np.testing.assert_allclose(summed / summed.sum(), film / film.sum(), rtol=1e-5)


def test_families_are_the_parts_of_an_element():
    whole = basis(AXIS, ["Nd", "Fe"], beam_energy=200.0)
    parts = basis(AXIS, ["Nd", "Fe"], beam_energy=200.0, families=True)
    assert [c.name for c in parts.columns] == ["Nd_L", "Nd_M", "Fe_K", "Fe_L", "continuum_0", "continuum_1"]
    for element, row in zip(whole.elements, whole.matrix, strict=False):
        np.testing.assert_allclose(parts.matrix[parts.members(element)].sum(axis=0), row, rtol=1e-12)


def test_a_column_holds_what_its_line_emits_and_the_detector_counts():
    made = basis(AXIS, ["Ca"], beam_energy=200.0, continuum=0)
    near = (AXIS > 3.4) & (AXIS < 4.3)
    barn = 1e24 * sum(line_cross_section(f"Ca_{n}", beam_energy=200.0) for n in ("Ka", "Kb"))
    counted = float(efficiency(np.array([3.7]))[0])
    assert made.matrix[0, near].sum() == pytest.approx(barn * counted, rel=2e-3)


@pytest.mark.parametrize(
    ("elements", "said"),
    [(["Xx"], "element='Xx'"), (["Mg", "Mg"], "twice"), (["H"], "elements='H'"), (["He"], "no|none|line")],
)
def test_elements_that_cannot_be_in_a_basis_are_named(elements, said):
    with pytest.raises(ParameterError, match=said):
        basis(AXIS, elements, beam_energy=200.0)


def test_escape_peaks_ride_on_the_columns_of_their_parents():
    plain, made = (basis(AXIS, ["Ca"], beam_energy=200.0, continuum=0, escape=flag) for flag in (False, True))
    added = (made.matrix - plain.matrix)[0]
    assert (added >= 0).all()
    # a little below 3.69 - 1.74 keV, where Ca Kα escapes; 0.9 % of what is stopped (Reed and Ware's formula)
    assert AXIS[added.argmax()] == pytest.approx(1.95, abs=0.02)
    assert added[AXIS < 2.5].sum() / plain.matrix[0, AXIS > 3].sum() == pytest.approx(0.009, rel=0.1)


def test_the_table_of_cross_sections_is_the_callers_choice():
    published, fixed = (
        basis(AXIS, ["Fe"], beam_energy=200.0, continuum=0, table=t).matrix[0]
        for t in ("emtables", "bote_salvat")
    )
    assert fixed[AXIS > 6].sum() / published[AXIS > 6].sum() == pytest.approx(1.0498, abs=0.001)


def test_an_element_whose_lines_are_off_the_axis_is_named_with_its_lines():
    with pytest.raises(ParameterError, match=r"'O'.*between 0.8.*0\.52"):
        basis(0.818 + 0.01 * np.arange(500), ["Mg", "O"], beam_energy=200.0)


def test_a_beam_energy_in_ev_is_refused():
    with pytest.raises(ParameterError, match="200000"):
        basis(AXIS, ["Mg"], beam_energy=200_000.0)


def test_weights_are_those_of_a_general_optimiser():
    draw = np.random.default_rng(3)
    matrix = basis(AXIS, ["Mg", "Si", "Ca", "Fe", "Nd", "O"], beam_energy=200.0, families=True).matrix
    unit = matrix / matrix.sum(axis=1, keepdims=True)
    counts = draw.poisson(draw.uniform(100, 5000, len(unit)) @ unit).astype(float)
    fit = fit_weights(counts, unit)

    def objective(w):
        expected = np.maximum(w @ unit, 1e-9)
        return deviance(counts, expected), 2 * unit @ (1 - counts / expected)

    peer = minimize(
        objective, np.full(len(unit), 500.0), jac=True, bounds=[(0, None)] * len(unit), method="L-BFGS-B",
        options={"maxiter": 20000, "maxfun": 40000, "ftol": 1e-15, "gtol": 1e-9},
    )  # fmt: skip
    assert fit.deviance <= peer.fun * (1 + 1e-9)


def test_standard_errors_are_the_scatter_of_repeats():
    draw = np.random.default_rng(4)
    matrix = basis(AXIS, ["Mg", "Al", "Si"], beam_energy=200.0).matrix
    unit = matrix / matrix.sum(axis=1, keepdims=True)
    truth = np.array([2000.0, 300.0, 1500.0, 1500.0, 1500.0])
    fits = [fit_weights(draw.poisson(truth @ unit), unit) for _ in range(200)]
    scatter = np.std([f.weights[:3] for f in fits], axis=0)
    said = np.sqrt(np.mean([np.diag(f.covariance)[:3] for f in fits], axis=0))
    np.testing.assert_allclose(said, scatter, rtol=0.2)  # 200 repeats: 5 %, four times over


def test_weights_of_an_empty_spectrum_are_zero():
    assert fit_weights(np.zeros(3), np.eye(3)).weights == pytest.approx(0, abs=1e-6)
