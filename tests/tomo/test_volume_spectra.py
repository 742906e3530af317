"""Spectra that are too extreme, mixtures or of a phase too few are found again in three dimensions."""

import numpy as np
import pytest
from small_phantom import Phantom, phantom, spectra

from edxdask.tomo.class_cube import NO_CLASS
from edxdask.tomo.estimate import VolumeSettings
from edxdask.tomo.volume_spectra import spectra_in_volume

TRUE = spectra()


def photons_by_channel(photons, seed=0):
    """Counts (tilt, row, column, channel) of the phantom, and its projector."""
    made: Phantom = phantom(photons, seed=seed, tilts=11)
    volume = np.ascontiguousarray(made.truth.transpose(1, 3, 0, 2))
    rates = TRUE * (photons / 25.0) * np.array([[0.9], [1.0], [1.1]])
    expected = np.einsum("tuky,kc->tyuc", made.projector.forward(volume), rates)
    return np.random.default_rng(seed).poisson(expected).astype(np.uint16), made.projector


@pytest.fixture(scope="module")
def seen():
    return photons_by_channel(80.0)


def classes(counts):
    def summed(class_of):
        used = range(int(class_of[class_of != NO_CLASS].max()) + 1)
        return np.stack([counts[..., class_of == one].sum(-1, dtype=np.uint16) for one in used], axis=-1)

    return summed


def found(seen, given, more=None, **rest):
    counts, projector = seen

    def none_needed(phases):
        raise AssertionError(f"{phases} phases were asked for")

    return spectra_in_volume(classes(counts), projector, given, more or none_needed, VolumeSettings(), **rest)


def off(values):
    """Angles to the nearest true spectra, degrees."""
    unit = values / np.linalg.norm(values, axis=1, keepdims=True)
    true = TRUE / np.linalg.norm(TRUE, axis=1, keepdims=True)
    return np.degrees(np.arccos(np.clip(unit @ true.T, -1, 1))).min(axis=0)


def test_true_spectra_stay_as_they_are(seen):
    result = found(seen, TRUE)
    assert not result.changed
    np.testing.assert_array_equal(result.spectra, TRUE)


@pytest.mark.slow
def test_a_spectrum_with_a_part_of_another_in_it_is_parted_from_it(seen):
    given = TRUE.copy()
    given[1] = 0.6 * TRUE[1] + 0.4 * TRUE[0]
    result = found(seen, given)
    assert result.changed
    assert result.gain > 3 * result.std
    assert off(result.spectra)[1] < 0.6 * off(given)[1]
    np.testing.assert_allclose(result.spectra.sum(axis=1), 1)
