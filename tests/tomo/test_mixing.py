"""Volumes found with spectra that are mixtures are named, and others are not."""

from dataclasses import replace

import numpy as np
from small_phantom import phantom

from edxdask.tomo.estimate import VolumeSettings, reconstruct_slab
from edxdask.tomo.mixing import Mixing, mixing_of, mixing_warnings

LABELS = ["body", "inclusions", "core"]


def warnings_of(made):
    found = reconstruct_slab(made.counts, made.projector, made.responses, VolumeSettings(max_iter=25))
    return mixing_warnings(mixing_of(found.volume), LABELS)


def test_true_spectra_give_no_warning():
    assert warnings_of(phantom(20.0)) == []


def test_spectra_that_are_mixtures_are_named():
    made = phantom(20.0)
    first, second, third = made.responses
    # the body is halfway between the first and the third that were found
    mixed = np.stack([1.3 * first - 0.3 * third, second, 0.7 * first + 0.3 * third])
    found = warnings_of(replace(made, responses=np.maximum(mixed, 1e-5).astype(np.float32)))
    assert any(text.startswith(("body: only", "core: only")) for text in found)
    assert not any(text.startswith("inclusions") for text in found)


def test_slabs_add_up():
    volume = np.random.default_rng(0).random((3, 4, 6, 5)).astype(np.float32)
    whole, parts = mixing_of(volume), mixing_of(volume[:, :, :2]) + mixing_of(volume[:, :, 2:])
    np.testing.assert_allclose(whole.pure, parts.pure)
    np.testing.assert_allclose(whole.whole, parts.whole)


def test_a_phase_that_fills_nothing_is_named_and_one_phase_alone_is_not():
    nothing = Mixing(np.array([5.0, 0.0]), np.array([6.0, 0.0]))
    assert mixing_warnings(nothing, ["a", "b"]) == ["b: fills no voxel; look for one phase less"]
    assert mixing_warnings(Mixing(np.zeros(1), np.ones(1)), ["a"]) == []
