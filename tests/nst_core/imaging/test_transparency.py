"""Transparent pictures: straight colours in, straight colours out, and no rim in between."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from nst_core.imaging import encoding, images, transparency
from tests.corpus import file_of

SHADE = (78, 96, 107)


def decode(data: bytes) -> images.Picture:
    return images.decode(data, name="x", max_pixels=10**6, max_bytes=10**7)


def encode(picture: images.Picture, output_format: str) -> bytes:
    return encoding.encode(
        picture.rgb.astype(np.float32),
        picture.alpha,
        output_format=output_format,
        quality=100,
        metadata={},
    )


def spectrum() -> np.ndarray:
    """Every alpha beside noise, uint8 `[16, 256, 4]`."""
    rgb = np.random.default_rng(5).integers(0, 256, (16, 256, 3), np.uint8)
    return np.dstack([rgb, np.tile(np.arange(256, dtype=np.uint8), (16, 1))])


@pytest.mark.parametrize("output_format", ["png", "tiff"])
def test_a_round_trip_without_styling_lies_on_any_ground_as_before(output_format: str) -> None:
    source = spectrum()
    again = decode(encode(decode(file_of(source, "PNG")), output_format))
    assert again.alpha is not None
    shown = source[..., 3] > 0
    np.testing.assert_array_equal(again.rgb[shown], source[shown][:, :3])
    np.testing.assert_array_equal(again.alpha, source[..., 3])


def test_a_jpeg_is_the_picture_on_white_once() -> None:
    flat = np.full((16, 16, 4), (*SHADE, 128), np.uint8)
    found = decode(encode(decode(file_of(flat, "PNG")), "jpeg")).rgb
    expected = np.array(SHADE) * 128 / 255 + 255 * 127 / 255
    assert np.abs(found - expected).max() <= 2


def test_hidden_colours_come_from_the_surroundings() -> None:
    rgba = np.zeros((32, 48, 4), np.uint8)
    rgba[..., :3] = (255, 0, 255)
    rgba[8:24, 8:24] = (*SHADE, 255)
    picture = decode(file_of(rgba, "PNG"))
    assert np.abs(picture.rgb.astype(int) - SHADE).max() <= 1


def test_between_two_colours_hidden_pixels_go_from_one_to_the_other() -> None:
    rgba = np.zeros((8, 64, 4), np.uint8)
    rgba[:, :4] = (200, 0, 0, 255)
    rgba[:, -4:] = (0, 0, 200, 255)
    red = transparency.filled(rgba[..., :3], rgba[..., 3])[4, :, 0].astype(int)
    assert red[6] > 150 > 50 > red[-6]


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (6, 1), (5, 3)])
def test_where_nothing_shows_everything_is_white(shape: tuple[int, int]) -> None:
    rgb = np.random.default_rng(1).integers(0, 256, (*shape, 3), np.uint8)
    assert (transparency.filled(rgb, np.zeros(shape, np.uint8)) == 255).all()


def test_what_is_visible_is_exact_and_what_is_opaque_lies_over_everything() -> None:
    source = spectrum()
    rgb, alpha = source[..., :3], source[..., 3]
    np.testing.assert_array_equal(transparency.filled(rgb, alpha)[alpha > 0], rgb[alpha > 0])
    over = transparency.onto_surroundings(rgb, alpha)
    np.testing.assert_array_equal(over[alpha == 255], rgb[alpha == 255])


def test_an_even_colour_stays_whatever_its_alpha() -> None:
    rgb = np.full((9, 13, 3), SHADE, np.uint8)
    for alpha in (1, 128, 254):
        over = transparency.onto_surroundings(rgb, np.full((9, 13), alpha, np.uint8))
        np.testing.assert_array_equal(over, rgb)


def test_colours_that_hardly_show_do_not_bleed_when_resized() -> None:
    """A dark disc whose rim holds white at alpha 1 to 3, as image editors leave it."""
    y, x = np.mgrid[:128, :128]
    inside = (y - 64) ** 2 + (x - 64) ** 2 < 40**2
    rim = ~inside & ((y - 64) ** 2 + (x - 64) ** 2 < 50**2)
    rgb = np.where(inside[..., None], SHADE, 255).astype(np.uint8)
    alpha = np.where(inside, 255, np.where(rim, 2, 0)).astype(np.uint8)
    picture = decode(file_of(np.dstack([rgb, alpha]), "PNG"))
    assert picture.alpha is not None
    seen = transparency.onto_surroundings(picture.rgb, picture.alpha)
    small = images.resize(seen, 32, 32, "lanczos")
    opacity = np.asarray(Image.fromarray(alpha).resize((32, 32), Image.Resampling.LANCZOS))
    assert np.abs(small - SHADE)[opacity > 10].max() < 12


def test_on_white_every_colour_is_rounded_to_the_nearest() -> None:
    values, alphas = np.meshgrid(np.arange(256), np.arange(256))
    rgb = np.dstack([values] * 3).astype(np.uint8)
    exact = (values * alphas + 255 * (255 - alphas)) / 255
    found = transparency.onto_white(rgb, alphas.astype(np.uint8))[..., 0]
    np.testing.assert_array_equal(found, np.rint(exact))
