"""Arrays to files: metadata, alpha, quality."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageCms

from nst_core.errors import InputUnreadable
from nst_core.imaging import encoding
from tests.corpus import file_of
from tests.nst_core.imaging.pictures import GRADIENT, METADATA, QUARTERS, decode, encode, noise

FORMATS = ["png", "jpeg", "webp", "tiff", "avif"]


@pytest.mark.parametrize("output_format", FORMATS)
def test_metadata_and_profile_survive_in_every_format(output_format: str) -> None:
    data = encode(GRADIENT.astype(np.float32), output_format=output_format)
    assert encoding.read_metadata(data) == METADATA
    with Image.open(io.BytesIO(data)) as image:
        assert encoding.CONTENT_TYPES[output_format] == image.get_format_mimetype()
        profile = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
    assert "sRGB" in ImageCms.getProfileDescription(profile)
    tolerance = 0 if output_format in ("png", "tiff") else 12
    assert np.abs(decode(data).rgb.astype(int) - GRADIENT).max() <= tolerance


@pytest.mark.parametrize("output_format", FORMATS)
def test_the_same_pixels_give_the_same_bytes(
    output_format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rgb = noise(20, 30).astype(np.float32)
    first = encode(rgb, output_format=output_format)
    create = ImageCms.ImageCmsProfile.tobytes
    # Another second of another day, as far as the profile can tell.
    monkeypatch.setattr(
        ImageCms.ImageCmsProfile,
        "tobytes",
        lambda self: create(self)[:24] + bytes(range(12)) + create(self)[36:],
    )
    encoding.srgb_profile.cache_clear()
    assert encode(rgb, output_format=output_format) == first


@pytest.mark.parametrize("output_format", ["png", "tiff", "webp", "avif"])
@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_alpha_is_put_back(output_format: str, kind: type) -> None:
    alpha = np.tile(np.linspace(0, 255, 40).astype(np.uint8), (24, 1))
    data = encode(GRADIENT.astype(np.float32), alpha.astype(kind), output_format=output_format)
    picture = decode(data)
    assert picture.alpha is not None
    np.testing.assert_array_equal(picture.alpha, alpha)
    assert encoding.read_metadata(data) == METADATA


def test_a_jpeg_shows_white_where_it_would_be_transparent() -> None:
    alpha = np.zeros((16, 16), np.uint8)
    data = encode(np.zeros((16, 16, 3), np.float32), alpha, output_format="jpeg")
    assert decode(data).rgb.min() >= 254


def test_a_jpeg_keeps_the_full_resolution_of_its_colours() -> None:
    data = encode(QUARTERS.astype(np.float32), output_format="jpeg")
    with Image.open(io.BytesIO(data)) as image:
        assert [part[1:3] for part in image.layer] == [(1, 1)] * 3


def test_values_are_rounded_and_clipped() -> None:
    values = np.float32([[[-40, 0.4, 0.6], [254.6, 255.4, 4000]]])
    assert decode(encode(values)).rgb.tolist() == [[[0, 0, 1], [255, 255, 255]]]


def test_quality_makes_a_difference() -> None:
    rgb = noise(40, 40).astype(np.float32)
    for output_format in ("jpeg", "webp", "avif"):
        sizes = [len(encode(rgb, output_format=output_format, quality=q)) for q in (20, 95)]
        assert sizes[0] < sizes[1]


def test_every_output_format_has_an_extension_and_a_content_type() -> None:
    assert encoding.EXTENSIONS == {
        "png": "png",
        "jpeg": "jpg",
        "webp": "webp",
        "tiff": "tiff",
        "avif": "avif",
    }
    assert set(encoding.CONTENT_TYPES) == set(encoding.EXTENSIONS) == set(FORMATS)


@pytest.mark.parametrize("description", [None, "Holiday in Rome", "[1, 2]"])
def test_a_foreign_image_has_no_metadata(description: str | None) -> None:
    exif = Image.Exif()
    if description is not None:
        exif[0x010E] = description
    for file_format in ("JPEG", "TIFF", "WEBP"):
        assert encoding.read_metadata(file_of(QUARTERS, file_format, exif=exif)) == {}


def test_metadata_of_what_is_no_image_is_an_error() -> None:
    with pytest.raises(InputUnreadable):
        encoding.read_metadata(b"no image")
