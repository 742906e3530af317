"""The pinned-core likelihood fit on groups of known truth."""

import numpy as np
import pytest
import xarray as xr

import edxdask
from edxdask.errors import SchemaError
from edxdask.unmix.normal_equations import GroupedCounts
from edxdask.unmix.pinned import fit_pinned

CHANNELS = 300
ATOMS = np.array([[0.5, 0.45, 0.038, 0.0, 0.003, 0.009], [0.6, 0.0, 0.0, 0.3, 0.03, 0.07]])
PRESENT = ATOMS > 0
FRACTIONS = np.array([[1.0, 0.0], *([1 - t, t] for t in np.linspace(0.05, 0.7, 12))])
PHOTONS = np.array([2e6, *(6e4,) * 12])


def columns(shift=0.0):
    x = np.arange(CHANNELS)
    places = np.array([30, 60, 110, 160, 220, 118]) + shift
    peaks = np.exp(-0.5 * ((x - places[:, None]) / 4) ** 2)
    lines = peaks / peaks.sum(axis=1, keepdims=True) * np.array([100, 120, 80, 300, 200, 250])[:, None]
    own = np.exp(-x / np.array([[120.0], [50.0]]))
    return np.stack([lines] * 2), np.stack([own / own.sum(axis=1, keepdims=True)] * 2)


def drawn(seed, *, shift=0.0, dose=1.0, atoms=ATOMS, pinned=True):
    lines, own = columns(shift)
    weights = np.array([[20.0, 10.0], [30.0, 15.0]])
    spectra = np.einsum("pe,pec->pc", atoms, lines) + np.einsum("pj,pjc->pc", weights, own)
    photons = FRACTIONS * PHOTONS[:, None] * dose
    expected = photons @ (spectra / spectra.sum(axis=1, keepdims=True))
    counts = np.random.default_rng(seed).poisson(expected).astype(float)
    allowed = np.ones(FRACTIONS.shape, bool)
    allowed[0, 1] = not pinned
    return GroupedCounts(counts, allowed, photons * 0.8 + 0.1, lines, own, PHOTONS / 100)


def test_errors_are_those_of_a_hundred_repeats_and_nothing_is_biased():
    start = np.where(PRESENT, 1.0, 0.0)
    fits = [fit_pinned([drawn(s), drawn(1000 + s, shift=0.4)], start, present=PRESENT) for s in range(100)]
    scores = np.array([(f.composition - ATOMS)[PRESENT] / f.errors[PRESENT] for f in fits])
    assert np.abs(scores.mean(axis=0)).max() < 0.35  # 3.5 standard errors of the mean
    assert scores.std(axis=0).min() > 0.8
    assert scores.std(axis=0).max() < 1.2
    inside = (np.abs(scores) < 1).mean()
    assert 0.62 < inside < 0.74


def test_every_map_keeps_its_own_axis_and_the_order_of_maps_does_not_matter():
    maps = [drawn(s, shift=shift) for s, shift in enumerate((0.0, 1.5, -2.0))]
    one = fit_pinned(maps, ATOMS, present=PRESENT)
    other = fit_pinned(maps[::-1], ATOMS, present=PRESENT)
    assert np.abs(one.composition - other.composition).max() < 1e-9
    assert (np.abs(one.composition - ATOMS) < 4.5 * one.errors + 1e-12).all()
    assert np.abs(one.misfit - 1).max() < 0.4


def test_more_photons_make_errors_smaller_by_the_root():
    once, four = (fit_pinned([drawn(1, dose=d)], ATOMS, present=PRESENT) for d in (1.0, 4.0))
    np.testing.assert_allclose(once.errors[PRESENT] / four.errors[PRESENT], 2.0, rtol=0.05)


def test_what_the_counts_leave_open_has_a_large_error():
    fit = fit_pinned([drawn(0, pinned=False)], ATOMS)  # nothing says what the second phase cannot hold
    known = fit_pinned([drawn(0)], ATOMS, present=PRESENT)
    assert fit.errors[1, 0] > 20 * known.errors[1, 0]


def test_a_fixed_composition_stays():
    fit = fit_pinned([drawn(0)], ATOMS, present=PRESENT, fixed=True)
    np.testing.assert_allclose(fit.composition, ATOMS, rtol=1e-12)
    free = fit_pinned([drawn(0)], ATOMS, present=PRESENT)
    assert free.deviance[0] < fit.deviance[0]


def test_selected_groups_are_fitted_alone():
    core = drawn(2).selected(np.arange(1))
    fit = fit_pinned([core], ATOMS, present=PRESENT)
    assert core.counts.shape == (1, CHANNELS)
    assert np.abs((fit.composition - ATOMS)[0] / np.maximum(fit.errors[0], 1e-9)).max() < 4


@pytest.mark.parametrize("phase", [0, 1])
def test_expected_counts_add_up(phase):
    one = drawn(3)
    fit = fit_pinned([one], ATOMS, present=PRESENT).maps[0]
    np.testing.assert_allclose(fit.expected.sum(), one.counts.sum(), rtol=1e-6)
    assert (fit.spectra[phase] > 0).all()


def test_partition_coefficients_follow_from_compositions_with_errors():
    fits = [fit_pinned([drawn(s)], ATOMS, present=PRESENT) for s in range(40)]
    found = []
    for fit in fits:
        result = xr.Dataset(
            {
                "composition": (("phase", "element"), fit.composition),
                "composition_std": (("phase", "element"), fit.errors),
            },
            {"phase": ["Brg", "Fp"], "element": list("ABCDEF")},
        )
        found.append(edxdask.partition_coefficient(result, phases=("Brg", "Fp"), elements=("F", "A")))
    true = ATOMS[0, 5] * ATOMS[1, 0] / (ATOMS[1, 5] * ATOMS[0, 0])
    values = np.array([float(one.partition_coefficient) for one in found])
    errors = np.array([float(one.partition_coefficient_std) for one in found])
    scores = (values - true) / errors
    assert abs(scores.mean()) < 0.6
    assert 0.7 < scores.std() < 1.3


def test_a_composition_without_errors_has_no_partition_coefficient():
    bare = xr.Dataset(
        {"composition": (("phase", "element"), ATOMS)}, {"phase": ["a", "b"], "element": list("ABCDEF")}
    )
    with pytest.raises(SchemaError, match="no composition with errors"):
        edxdask.partition_coefficient(bare, phases=("a", "b"))
