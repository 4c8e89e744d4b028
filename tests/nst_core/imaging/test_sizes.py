"""Sizes from the first bytes, resizing, padding."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

from nst_core.errors import InputUnreadable
from nst_core.imaging import colors, images
from tests.corpus import exif_of, file_of
from tests.nst_core.imaging.pictures import (
    GRADIENT,
    HEAD,
    QUARTERS,
    decode,
    header,
    noise,
    whole_files,
)


@pytest.mark.parametrize(
    ("file_format", "options", "suffices"),
    [
        ("JPEG", {"quality": 95}, True),
        ("JPEG", {"quality": 95, "exif": exif_of(6)}, True),
        ("PNG", {}, True),
        ("PNG", {"exif": exif_of(6)}, True),
        ("WEBP", {"lossless": True}, True),
        ("WEBP", {"quality": 100}, True),
        # A WebP file ends with its EXIF data; libtiff ends a file with its directory.
        ("WEBP", {"lossless": True, "exif": exif_of(6)}, False),
        ("TIFF", {}, True),
        ("TIFF", {"exif": exif_of(6)}, True),
        ("TIFF", {"exif": exif_of(6), "compression": "tiff_lzw"}, False),
        ("BMP", {}, True),
        ("GIF", {}, True),
    ],
)
def test_the_size_is_known_from_the_first_bytes_or_from_all_of_them(
    file_format: str, options: dict[str, Any], suffices: bool
) -> None:
    data = file_of(noise(300, 340), file_format, **options)
    assert len(data) > HEAD
    upright = (300, 340) if "exif" in options else (340, 300)
    assert header(data[:HEAD]) == (upright if suffices else None)
    assert header(data, complete=True) == upright
    picture = decode(data)
    assert (picture.original.width, picture.original.height) == upright


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF"])
@pytest.mark.parametrize("extended", [False, True])
def test_a_head_cut_anywhere_never_gives_a_wrong_size(file_format: str, extended: bool) -> None:
    options: dict[str, Any] = {}
    if extended and file_format not in ("BMP", "GIF"):
        options["exif"] = exif_of(6)
    if extended and file_format == "TIFF":
        options["compression"] = "tiff_lzw"
    data = file_of(QUARTERS[:20, :30], file_format, **options)
    sizes = {header(data[:length]) for length in range(len(data))}
    assert sizes <= {None, header(data, complete=True)}


def test_complete_bytes_without_a_header_are_refused() -> None:
    assert header(b"") is None
    assert header(b"<html>") is None
    for data in (b"", b"<html>", whole_files()["jpeg"][:50]):
        with pytest.raises(InputUnreadable, match=r"^gs://b/x "):
            header(data, complete=True)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(7, 5), (31, 40), (90, 33)])
def test_nearest_is_what_load_img_does(channels: int, size: tuple[int, int]) -> None:
    pixels = noise(30, 44, channels)
    expected = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.NEAREST))
    for given in (pixels, pixels.astype(np.float32)):
        resized = images.resize(given, *size, "nearest")
        assert resized.dtype == np.float32
        np.testing.assert_array_equal(resized, expected)


@pytest.mark.parametrize("kind", [np.uint8, np.float32])
@pytest.mark.parametrize("channels", [1, 3])
def test_lanczos_never_leaves_the_range(kind: type, channels: int) -> None:
    edges = np.where(noise(20, 24, channels) > 127, 255, 0).astype(kind)
    resized = images.resize(edges, 61, 47, "lanczos")
    assert resized.shape == (47, 61, channels)[: edges.ndim]
    assert resized.dtype == np.float32
    assert resized.min() >= 0
    assert resized.max() <= 255


def test_lanczos_of_floats_and_of_bytes_agree() -> None:
    of_bytes = images.resize(GRADIENT, 23, 31, "lanczos")
    of_floats = images.resize(GRADIENT.astype(np.float32), 23, 31, "lanczos")
    assert np.abs(of_bytes - of_floats).max() < 1


@pytest.mark.parametrize("resample", ["lanczos", "nearest"])
def test_the_same_size_changes_no_value(resample: str) -> None:
    pixels = noise(5, 6)
    assert images.resize(pixels, 6, 5, resample).dtype == np.float32
    np.testing.assert_array_equal(images.resize(pixels, 6, 5, resample), pixels)
    exact = np.float32([[[0.25, 17.75, 254.5]]])
    np.testing.assert_array_equal(images.resize(exact, 1, 1, resample), exact)


def test_padding_reflects_without_repeating_the_edge() -> None:
    row = np.arange(4, dtype=np.float32)[None, :, None].repeat(3, axis=2).repeat(2, axis=0)
    padded = images.pad_reflect(row, 2, 12)
    assert padded.dtype == np.float32
    assert padded[0, :, 0].tolist() == [0, 1, 2, 3, 2, 1, 0, 1, 2, 3, 2, 1]
    np.testing.assert_array_equal(images.pad_reflect(row, 2, 4), row)


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 5, 3), (5, 1, 3)])
def test_a_side_of_one_pixel_can_be_padded(shape: tuple[int, int, int]) -> None:
    image = noise(*shape).astype(np.float32)
    padded = images.pad_reflect(image, 32, 32)
    assert padded.shape == (32, 32, 3)
    np.testing.assert_array_equal(padded[: shape[0], : shape[1]], image)
    assert set(np.unique(padded)) == set(np.unique(image))


def test_kept_colours_have_the_new_luminance_and_the_old_chroma() -> None:
    random = np.random.default_rng(3)
    stylized = random.uniform(100, 150, (8, 9, 3)).astype(np.float32)
    content = random.uniform(100, 150, (8, 9, 3)).astype(np.float32)
    kept = colors.keep_colors(stylized, content)
    luma = kept @ np.array([0.299, 0.587, 0.114])
    np.testing.assert_allclose(luma, stylized @ np.array([0.299, 0.587, 0.114]), atol=1e-3)
    np.testing.assert_allclose(colors.luminance_of(kept), luma, atol=1e-3)
    for row in ([-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]):
        np.testing.assert_allclose(kept @ np.array(row), content @ np.array(row), atol=1e-3)
    assert kept.dtype == np.float32


def test_kept_colours_are_clipped() -> None:
    kept = colors.keep_colors(np.full((1, 1, 3), 255, np.float32), np.float32([[[255, 0, 0]]]))
    np.testing.assert_allclose(kept, [[[255, 178.755, 178.755]]], atol=1e-3)
