"""Free spectra of a series are improved in three dimensions, and the volume says so; others stay."""

import logging

import numpy as np
import pytest
from small_series import made_series, result_of

import edxdask
from edxdask.tomo import volume_spectra
from edxdask.tomographies import refined
from edxdask.tomographies.phases import found_spectra

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


def test_phases_that_were_only_tried_are_not_spoken_of(series, caplog, monkeypatch):
    monkeypatch.setattr(volume_spectra, "LEAST_PURE", 1.1)  # as if one was missing
    tried = []

    def more(*args, **how):
        tried.append(how["phases"])
        logging.getLogger("edxdask.factorize").warning("phase_3: its spectrum is open")
        return found_spectra(*args, **how)

    monkeypatch.setattr(refined, "found_spectra", more)
    edxdask.tomography(series[0], phases=2, **QUICK)
    assert tried == [2 + volume_spectra.EXTRA]
    assert "phase_3" not in caplog.text


def test_spectra_of_a_result_stay_as_they_are(series):
    cube, _, spectra = series
    wrong = np.stack([spectra[0], 0.5 * spectra.sum(axis=0)])
    made = edxdask.tomography(cube, result=result_of(wrong, cube), **QUICK)
    np.testing.assert_allclose(made.spectrum.values, wrong)
    assert said(made) == []
