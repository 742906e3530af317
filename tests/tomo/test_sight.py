"""Exposures: counts of an isolated object give back the model of shadows, and the drift of the beam."""

from __future__ import annotations

import numpy as np
import pytest

import edxdask
from edxdask.errors import ParameterError
from edxdask.tomo.sight import exposure_of, sight_of_tilts

TILTS = np.arange(-70.0, 71, 10)
TWO_OF_FOUR = [(0, 40), (0, 40), None, None]


@pytest.fixture(scope="module")
def shaded():
    """A series with two of four detectors in shadow and a beam that falls by 40 %."""
    series = edxdask.simulate(
        "tomography",
        shape=(24, 12, 24),
        counts=60,
        tilts=TILTS,
        shadows=TWO_OF_FOUR,
        dose_drift=-0.4,
        channels=100,
    )
    return series.counts.sum(("y", "x", "energy")).values


def test_counts_give_back_shadows_and_drift_within_their_errors(shaded):
    found = exposure_of(shaded, TILTS)
    expected = sight_of_tilts(TILTS, TWO_OF_FOUR) * np.linspace(1, 0.6, TILTS.size)
    expected /= expected.mean()
    assert found.source == "counts"
    assert np.mean(((found.values - expected) / found.std) ** 2) < 2.5
    np.testing.assert_allclose(found.values, expected, rtol=0.05)
    assert found.values.mean() == pytest.approx(1)
    assert found.warnings == ()


def test_the_shadows_given_agree_with_the_counts_up_to_the_drift(shaded):
    assert exposure_of(shaded, TILTS, shadows=TWO_OF_FOUR).warnings == ()
    (warning,) = exposure_of(shaded, TILTS, shadows=[(0, -40), None]).warnings
    assert "photons differ from the shadows given" in warning


def test_of_a_cut_field_the_model_is_used_or_the_lack_of_one_is_said(shaded):
    found = exposure_of(shaded, TILTS, shadows=TWO_OF_FOUR, dose=np.linspace(1, 0.6, TILTS.size), cut=True)
    expected = sight_of_tilts(TILTS, TWO_OF_FOUR) * np.linspace(1, 0.6, TILTS.size)
    np.testing.assert_allclose(found.values, expected / expected.mean())
    assert found.source == "model"
    unknown = exposure_of(shaded, TILTS, cut=True)
    assert (unknown.values == 1).all()
    assert "the field cuts the object" in unknown.warnings[0]


def test_one_detector_alone_sees_what_its_two_angles_say():
    photons = 1e6 * sight_of_tilts(TILTS, [(10, 50)])
    found = exposure_of(photons, TILTS)
    np.testing.assert_allclose(found.values, photons / photons.mean())
    assert "50°, 60°, 70°" in found.warnings[0]


@pytest.mark.parametrize(
    ("photons", "options", "says"),
    [
        (np.ones(3), {}, "for each of 15 tilts"),
        (np.zeros(15), {}, "for each of 15 tilts"),
        (np.ones(15), {"dose": [1, 2]}, "a dose of 0 or more"),
        (np.ones(15), {"shadows": [(-90, -80)]}, "sees the object at one tilt"),
        (np.ones(15), {"shadows": [3]}, "two tilts in degrees"),
    ],
)
def test_what_says_no_exposure_is_refused(photons, options, says):
    with pytest.raises(ParameterError, match=says):
        exposure_of(photons, TILTS, **options)
