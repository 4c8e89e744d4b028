"""Pictures decoded no larger than they are wanted, beside the same decoded whole and resized."""

from __future__ import annotations

import functools
import io
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFile, JpegImagePlugin

from nst_core.canvas import Fit, Size
from nst_core.imaging import images
from nst_core.imaging.fitting import GAP, Wanted
from nst_core.imaging.transparency import onto_surroundings
from tests import corpus

GOOD = corpus.good_files()


def decode(data: bytes, wanted: Wanted | None = None) -> images.Picture:
    return images.decode(data, name="x", max_pixels=10**7, max_bytes=10**8, wanted=wanted)


@functools.cache
def photograph(width: int, height: int) -> Image.Image:
    """A picture with detail of every size, and no symmetry."""
    generator = np.random.default_rng(width)
    rgb = np.zeros((height, width, 3), np.float32)
    for side in (2, 5, 16, 60, 200):
        coarse = generator.normal(0, 1, (side, side, 3)).astype(np.float32)
        layers = [
            Image.fromarray(coarse[..., c]).resize((width, height), Image.Resampling.BICUBIC)
            for c in range(3)
        ]
        rgb += 60 / side**0.3 * np.dstack([np.asarray(layer) for layer in layers])
    rgb[:, : width // 5, 0] += 60
    return Image.fromarray(images.to_8_bit(rgb + 127))


def jpeg(image: Image.Image, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=95, **options)
    return stream.getvalue()


def as_before(data: bytes, size: Size) -> np.ndarray:
    """Decoded whole, then resized."""
    return images.resize(decode(data).rgb, size.width, size.height, "lanczos")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("size", [(803, 601), (403, 577)])
def test_a_jpeg_at_a_fraction_looks_as_when_it_is_resized_whole(
    orientation: int, size: tuple[int, int]
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = jpeg(photograph(*size), exif=exif)
    for side in (48, 90, 201):
        found = decode(data, Wanted(Fit(long_side=side)))
        whole = decode(data)
        assert found.original == whole.original
        fitted = Fit(long_side=side).of_source(whole.original)
        assert found.rgb.shape == (fitted.height, fitted.width, 3)
        difference = np.abs(found.rgb - as_before(data, fitted))
        assert difference.mean() < 1
        assert difference.max() <= 15
        # Nothing is moved: a quarter of a pixel would show.
        for shift in (1, -1):
            assert np.abs(np.roll(found.rgb, shift, 1) - as_before(data, fitted)).mean() > 3


def test_means_of_blocks_move_nothing_where_the_last_block_is_not_whole() -> None:
    stream = io.BytesIO()
    photograph(803, 601).save(stream, "PNG")
    data = stream.getvalue()
    for side in (48, 90, 131):
        found = decode(data, Wanted(Fit(long_side=side))).rgb
        expected = as_before(data, Size(found.shape[1], found.shape[0]))
        assert np.abs(found - expected).mean() < 1


def test_a_jpeg_is_decoded_at_no_less_than_twice_what_is_wanted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    decoded: list[tuple[int, int]] = []
    real = ImageFile.ImageFile.load

    def load(self: Any) -> Any:
        if isinstance(self, JpegImagePlugin.JpegImageFile):
            decoded.append(self.size)
        return real(self)

    data = jpeg(photograph(1600, 1200))
    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    for side, fraction in ((100, 8), (101, 4), (200, 4), (201, 2), (400, 2), (401, 1)):
        decoded.clear()
        decode(data, Wanted(Fit(long_side=side)))
        assert decoded[0] == (1600 // fraction, 1200 // fraction)
        assert decoded[0][0] >= GAP * side


@pytest.mark.parametrize("name", GOOD)
def test_every_format_and_mode_at_another_size(name: str) -> None:
    data = GOOD[name]
    whole = decode(data)
    size = Size(corpus.WIDTH // 5, corpus.HEIGHT // 5)
    found = decode(data, Wanted(Fit(size=size)))
    assert found.original == whole.original
    assert found.credits == whole.credits
    assert found.rgb.shape == (size.height, size.width, 3)
    expected = images.resize(whole.rgb, size.width, size.height, "lanczos")
    # Of two colours without any between, the means over blocks are others.
    two_colors = name.startswith(("bilevel", "group4"))
    assert np.abs(found.rgb - expected).mean() < (4 if two_colors else 1.5)
    assert (found.alpha is None) == (whole.alpha is None)
    if whole.alpha is not None and found.alpha is not None:
        alpha = images.resize(whole.alpha, size.width, size.height, "lanczos")
        np.testing.assert_allclose(found.alpha, alpha, atol=1)


@pytest.mark.parametrize("name", ["colour.jpg", "colour.png"])
@pytest.mark.parametrize("orientation", [1, 3, 6])
# Of 340 px every fourth is as near as the one beside it.
@pytest.mark.parametrize(("size", "side"), [((333, 217), 70), ((340, 220), 85)])
def test_the_nearest_pixels_are_those_of_the_whole_picture(
    name: str, orientation: int, size: tuple[int, int], side: int
) -> None:
    stream = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = orientation
    with Image.open(io.BytesIO(GOOD[name])) as image:
        image.resize(size).save(stream, name.rpartition(".")[2].replace("jpg", "jpeg"), exif=exif)
    data = stream.getvalue()
    found = decode(data, Wanted(Fit(long_side=side), "nearest")).rgb
    expected = images.resize(decode(data).rgb, found.shape[1], found.shape[0], "nearest")
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("side", [100, 101, 300])
def test_what_is_wanted_as_large_or_larger_stays_as_it_is(side: int) -> None:
    data = jpeg(photograph(100, 80))
    np.testing.assert_array_equal(decode(data, Wanted(Fit(long_side=side))).rgb, decode(data).rgb)


def test_transparency_stays_whole_where_it_is_wanted_and_colours_give_way() -> None:
    generator = np.random.default_rng(0)
    image = photograph(200, 150).copy()
    image.putalpha(Image.fromarray(generator.integers(0, 256, (150, 200), np.uint8)))
    stream = io.BytesIO()
    image.save(stream, "PNG")
    data = stream.getvalue()
    whole = decode(data)
    assert whole.alpha is not None
    wanted = Wanted(Fit(long_side=50), whole_alpha=True, over_surroundings=True)
    found = decode(data, wanted)
    np.testing.assert_array_equal(found.alpha, whole.alpha)
    expected = images.resize(onto_surroundings(whole.rgb, whole.alpha), 50, 37, "lanczos")
    np.testing.assert_array_equal(found.rgb, expected)
    # Also where it is the engine that enlarges it.
    larger = decode(data, Wanted(Fit(long_side=400), over_surroundings=True))
    np.testing.assert_array_equal(larger.rgb, onto_surroundings(whole.rgb, whole.alpha))


def test_the_nearest_pixels_keep_their_colours_whatever_shows_of_them() -> None:
    image = photograph(120, 90).copy()
    image.putalpha(Image.fromarray(np.tile(np.arange(1, 121, dtype=np.uint8), (90, 1))))
    stream = io.BytesIO()
    image.save(stream, "PNG")
    data = stream.getvalue()
    found = decode(data, Wanted(Fit(long_side=40), "nearest", over_surroundings=True))
    expected = images.resize(decode(data).rgb, 40, 30, "nearest")
    np.testing.assert_array_equal(found.rgb, expected)


@pytest.mark.parametrize("name", GOOD)
def test_memory_is_claimed_for_all_pixels_before_they_are_decoded(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    claimed: list[int] = []

    class EnoughError(Exception):
        """No memory."""

    def claim(pixels: int) -> None:
        claimed.append(pixels)
        raise EnoughError

    def load(*_: Any) -> None:
        raise AssertionError("decoded before")

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    with pytest.raises(Exception, match="EnoughError"):
        images.decode(GOOD[name], name="x", max_pixels=10**6, max_bytes=10**8, claim=claim)
    assert claimed == [corpus.WIDTH * corpus.HEIGHT]
