"""Colours of one image become another's, by the statistics that each way promises."""

from __future__ import annotations

import numpy as np
import pytest

from nst_core.imaging import colors


def picture(seed: int, shift: float = 0, dtype: type = np.uint8) -> np.ndarray:
    generator = np.random.default_rng(seed)
    plain = generator.normal(size=(40, 50, 3)) @ generator.normal(scale=10, size=(3, 3))
    return np.clip(plain + 120 + shift, 0, 255).astype(dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_histograms_become_the_references(dtype: type) -> None:
    reference = picture(2, -30, dtype)
    matched = colors.with_histograms(picture(1, 20, dtype), reference)
    assert matched.dtype == np.float32
    for channel in range(3):
        found, wanted = (np.sort(one[:, :, channel].ravel()) for one in (matched, reference))
        # Equal values of an image of 8 bits stay equal, so ranks are matched within a level's.
        assert np.abs(found - wanted).max() < 12
        assert np.abs(found - wanted).mean() < 0.5


def test_matching_an_image_with_its_own_histograms_changes_nothing() -> None:
    image = picture(1)
    np.testing.assert_allclose(colors.with_histograms(image, image), image, atol=1e-3)


def test_histogram_matching_keeps_the_order_of_values() -> None:
    image = picture(1)
    matched = colors.with_histograms(image, picture(2))
    order = np.argsort(image[:, :, 0].ravel(), kind="stable")
    assert (np.diff(matched[:, :, 0].ravel()[order]) >= 0).all()


def test_a_flat_reference_makes_a_flat_image() -> None:
    flat = np.full((8, 8, 3), 77, np.uint8)
    np.testing.assert_array_equal(colors.with_histograms(picture(1), flat), 77)
    assert np.isfinite(colors.with_histograms(flat, picture(1))).all()


def test_coloured_noise_has_the_mean_and_covariance_and_depends_on_the_seed() -> None:
    mean, covariance = (
        np.array([110.0, 130, 120]),
        np.array([[400.0, 200, 0], [200, 300, 50], [0, 50, 200]]),
    )
    noise = colors.colored_noise(200, 300, 5, mean, covariance)
    found_mean, found = colors.color_statistics(noise)
    np.testing.assert_allclose(found_mean, mean, atol=0.5)
    np.testing.assert_allclose(found, covariance, atol=10)
    np.testing.assert_array_equal(noise, colors.colored_noise(200, 300, 5, mean, covariance))
    assert np.abs(noise - colors.colored_noise(200, 300, 6, mean, covariance)).mean() > 5
