"""Free spectra of a series are improved in three dimensions, and the volume says so; others stay."""

import numpy as np
import pytest
from small_series import made_series, result_of

import edxdask

QUICK = {"alignment": False, "strength": 0.1, "max_iter": 3}


@pytest.fixture(scope="module")
def series():
    return made_series(rows=10, photons=(1.0, 1.5), tilts=np.arange(-75, 76, 15.0))


def off(spectra, true):
    """Angles to the nearest true spectra, degrees."""
    one, other = (values / np.linalg.norm(values, axis=1, keepdims=True) for values in (spectra, true))
    return np.degrees(np.arccos(np.clip(one @ other.T, -1, 1))).min(axis=0)


def said(made):
    return [text for text in made.attrs.get("warnings", []) if "found again in three dimensions" in text]


def test_free_spectra_are_found_again_and_said_to_be(series):
    cube, _, spectra = series
    made = edxdask.tomography(cube, phases=2, **QUICK)
    assert off(made.spectrum.values, spectra).max() < 15  # 36 on the projections
    assert len(said(made)) == 1
    np.testing.assert_allclose(made.spectrum.sum("energy"), 1)


def test_spectra_of_a_result_stay_as_they_are(series):
    cube, _, spectra = series
    wrong = np.stack([spectra[0], 0.5 * spectra.sum(axis=0)])
    made = edxdask.tomography(cube, result=result_of(wrong, cube), **QUICK)
    np.testing.assert_allclose(made.spectrum.values, wrong)
    assert said(made) == []
