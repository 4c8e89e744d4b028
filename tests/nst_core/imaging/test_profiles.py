"""Colour profiles and the way to sRGB."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageCms

from tests.corpus import file_of
from tests.nst_core.imaging.pictures import (
    QUARTERS,
    decode,
    faded_profile,
    ink_profile,
    linear_grey_profile,
    linear_rgb_profile,
    noise,
    srgb_from_linear,
    swapped_profile,
)


@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "WEBP", "JPEG"])
def test_an_embedded_profile_decides_the_colours(file_format: str) -> None:
    options = {"lossless": True} if file_format == "WEBP" else {}
    red = Image.new("RGB", (16, 16), (255, 0, 0))
    picture = decode(file_of(red, file_format, icc_profile=swapped_profile(), **options))
    np.testing.assert_allclose(picture.rgb.astype(float).mean((0, 1)), [0, 255, 0], atol=3)


def test_a_linear_profile_is_brought_to_the_curve_of_srgb() -> None:
    values = np.repeat(np.arange(0, 256, 5, dtype=np.uint8)[None, :, None], 3, axis=2)
    picture = decode(file_of(values, "PNG", icc_profile=linear_rgb_profile()))
    expected = [[srgb_from_linear(value / 255)] * 3 for value in range(0, 256, 5)]
    np.testing.assert_allclose(picture.rgb[0], expected, atol=1.5)


def test_a_grey_profile_is_followed() -> None:
    # The table that lcms makes of so steep a curve is coarse in the very darkest values.
    values = np.arange(10, 256, 5, dtype=np.uint8)[None]
    picture = decode(file_of(values, "PNG", icc_profile=linear_grey_profile()))
    expected = [[srgb_from_linear(value / 255)] * 3 for value in range(10, 256, 5)]
    np.testing.assert_allclose(picture.rgb[0], expected, atol=1.5)


@pytest.mark.parametrize("file_format", ["JPEG", "TIFF"])
def test_the_profile_of_the_inks_is_followed(file_format: str) -> None:
    image = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    picture = decode(file_of(image, file_format, icc_profile=ink_profile()))
    np.testing.assert_allclose(picture.rgb.astype(float).mean((0, 1)), [119] * 3, atol=2)


def test_the_darkest_that_a_profile_has_is_black() -> None:
    image = Image.new("RGB", (2, 1), (255, 255, 255))
    image.putpixel((1, 0), (0, 0, 0))
    white, black = decode(file_of(image, "PNG", icc_profile=faded_profile())).rgb[0]
    assert white.min() >= 250
    # Without compensation of the black point it is 48.
    assert black.max() <= 5


def test_colour_management_keeps_alpha() -> None:
    image = Image.new("RGBA", (2, 1), (255, 0, 0, 255))
    image.putpixel((1, 0), (255, 0, 0, 0))
    picture = decode(file_of(image, "PNG", icc_profile=swapped_profile()))
    assert picture.alpha is not None
    assert picture.alpha.tolist() == [[255, 0]]
    np.testing.assert_allclose(picture.rgb[0], [[0, 255, 0]] * 2, atol=1)


def test_a_palette_follows_its_profile() -> None:
    image = Image.new("RGB", (8, 8), (255, 0, 0)).quantize(2)
    picture = decode(file_of(image, "PNG", icc_profile=swapped_profile()))
    np.testing.assert_allclose(picture.rgb[0, 0], [0, 255, 0], atol=1)


def test_an_srgb_profile_changes_nothing() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    rgb = noise(32, 32)
    assert np.abs(decode(file_of(rgb, "PNG", icc_profile=profile)).rgb.astype(int) - rgb).max() < 2


@pytest.mark.parametrize(
    "profile",
    [b"garbage", swapped_profile()[:200], linear_grey_profile(), ink_profile(), bytes(600)],
    ids=["garbage", "cut off", "of grey", "of inks", "zeros"],
)
def test_a_broken_or_mismatching_profile_is_ignored(profile: bytes) -> None:
    np.testing.assert_array_equal(
        decode(file_of(QUARTERS, "PNG", icc_profile=profile)).rgb, QUARTERS
    )
