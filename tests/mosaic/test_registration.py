"""The shift of a pair: how near it comes to the truth, whether its error holds, what is none."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from edxdask.mosaic.registration import overlap_of, register

FINE = 4


def pair(rng, *, overlap, noise, off=3, grain=2.5, side=64):
    """Two images of one field on pixels of their own, and the true shift."""
    field = ndimage.gaussian_filter(
        rng.normal(size=(FINE * (side + 30), FINE * (2 * side + 30))), FINE * grain
    )
    field /= field.std()
    moved = rng.integers(-FINE * off, FINE * off + 1, 2) + np.array([0, FINE * (side - overlap)])

    def seen(corner):
        y, x = corner
        cut = (
            field[y : y + FINE * side, x : x + FINE * side].reshape(side, FINE, side, FINE).mean(axis=(1, 3))
        )
        return (cut + noise * rng.normal(size=cut.shape))[None]

    first = np.array([FINE * 12, FINE * 12])
    return seen(first), 1.7 * seen(first + moved) + 4.0, moved / FINE


@pytest.mark.parametrize(("noise", "most"), [(0.02, 0.03), (0.3, 0.1), (1.0, 0.3)])
def test_shifts_are_found_to_a_fraction_of_a_pixel_and_their_errors_hold(noise, most):
    rng = np.random.default_rng(5)
    errors, sigmas = [], []
    for _ in range(25):
        first, second, truth = pair(rng, overlap=20, noise=noise)
        found = register(first, second, np.array([0.0, 44.0]), 6)
        errors.append(found.shift - truth)
        sigmas.append(found.std)
    errors, sigmas = np.array(errors), np.array(sigmas)
    assert np.sqrt(np.mean(errors**2)) < most
    # 50 errors over their sigma: the root mean square scatters by a tenth; the floor of 0.02 px makes it
    # smaller
    assert np.sqrt(np.mean((errors / sigmas) ** 2)) < 1.35


def test_the_order_of_the_two_images_changes_the_sign_only():
    rng = np.random.default_rng(1)
    first, second, _ = pair(rng, overlap=20, noise=0.2)
    there = register(first, second, np.array([0.0, 44.0]), 6)
    back = register(second, first, np.array([0.0, -44.0]), 6)
    np.testing.assert_allclose(there.shift, -back.shift, atol=0.01)


def test_noise_is_no_shift():
    rng = np.random.default_rng(2)
    for _ in range(60):
        images = rng.poisson(40, size=(2, 1, 48, 48)).astype(float)
        assert register(*images, np.array([0.0, 36.0]), 6) is None


def test_a_slope_across_the_image_is_no_shift():
    """Thickness that changes evenly correlates at every shift: brightness explains it."""
    rng = np.random.default_rng(3)
    slope = np.linspace(0, 10, 48)[None, :] + np.zeros((48, 1))
    images = [(slope + 36 * 10 / 47 * i + rng.normal(size=slope.shape))[None] for i in (0, 1)]
    assert register(*images, np.array([0.0, 36.0]), 6) is None


def test_images_of_one_value_and_images_apart_have_no_shift():
    even = np.ones((1, 40, 40))
    assert register(even, even, np.zeros(2), 3) is None
    rng = np.random.default_rng(4)
    image = rng.normal(size=(1, 40, 40))
    assert register(image, image, np.array([0.0, 60.0]), 3) is None


def test_pixels_that_were_not_measured_take_no_part():
    rng = np.random.default_rng(6)
    first, second, truth = pair(rng, overlap=24, noise=0.1)
    first[:, 10:14, 50:56] = np.nan
    found = register(first, second, np.array([0.0, 40.0]), 6)
    np.testing.assert_allclose(found.shift, truth, atol=0.1)


def test_the_overlap_of_two_sizes():
    assert overlap_of((10, 20), (30, 5), np.array([-5.0, 18.0])) == (10, 2)
    assert overlap_of((10, 20), (30, 5), np.array([0.0, 25.0])) == (10, 0)
