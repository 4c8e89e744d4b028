"""What `images` promises about files from anywhere: real files of every format, good and bad."""

from __future__ import annotations

import struct
import warnings
from typing import Any

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from nst_core.errors import InputTooLarge, InputUnreadable
from tests.corpus import exif_of, file_of, huge_webp, png
from tests.nst_core.imaging.pictures import (
    GRADIENT,
    QUARTERS,
    decode,
    header,
    noise,
    oriented,
    whole_files,
)

# Profiles ---------------------------------------------------------------------------------------


# Formats and modes ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file_format", "options", "tolerance"),
    [
        ("PNG", {}, 0),
        ("TIFF", {}, 0),
        ("TIFF", {"compression": "tiff_lzw"}, 0),
        ("TIFF", {"compression": "tiff_adobe_deflate"}, 0),
        ("TIFF", {"compression": "jpeg", "quality": 95}, 12),
        ("BMP", {}, 0),
        ("WEBP", {"lossless": True}, 0),
        ("WEBP", {"quality": 95}, 12),
        ("JPEG", {"quality": 95, "subsampling": 0}, 12),
        ("JPEG", {"quality": 95, "subsampling": 0, "progressive": True}, 12),
    ],
)
def test_every_format_gives_its_pixels(
    file_format: str, options: dict[str, Any], tolerance: int
) -> None:
    picture = decode(file_of(GRADIENT, file_format, **options))
    assert picture.rgb.dtype == np.uint8
    assert (picture.original.height, picture.original.width) == GRADIENT.shape[:2]
    assert picture.alpha is None
    assert np.abs(picture.rgb.astype(int) - GRADIENT).max() <= tolerance


def mode_cases() -> list[Any]:
    grey = np.broadcast_to(np.arange(0, 256, 8, dtype=np.uint8), (9, 32))
    wide = grey.astype(np.uint16) * 257
    bilevel = np.where(grey > 127, 255, 0).astype(np.uint8)
    unit = grey / np.float32(255)
    spoiled = unit.copy()
    spoiled[:, 0] = np.nan
    beyond = grey.astype(np.float32)
    beyond[:, 0], beyond[:, -1] = -50, np.inf
    expected = grey.copy()
    expected[:, -1] = 255
    images_of = Image.fromarray
    return [
        pytest.param(file_of(images_of(bilevel).convert("1"), "PNG"), bilevel, id="png-1"),
        pytest.param(file_of(images_of(bilevel).convert("1"), "TIFF"), bilevel, id="tiff-1"),
        pytest.param(file_of(images_of(bilevel).convert("1"), "BMP"), bilevel, id="bmp-1"),
        pytest.param(file_of(images_of(grey), "PNG"), grey, id="png-L"),
        pytest.param(file_of(images_of(grey), "TIFF"), grey, id="tiff-L"),
        pytest.param(file_of(images_of(grey), "BMP"), grey, id="bmp-L"),
        pytest.param(file_of(images_of(grey), "GIF"), grey, id="gif-L"),
        pytest.param(file_of(images_of(grey).convert("P"), "PNG"), grey, id="png-P"),
        pytest.param(file_of(images_of(grey).convert("P"), "TIFF"), grey, id="tiff-P"),
        pytest.param(file_of(images_of(wide), "PNG"), grey, id="png-I;16"),
        pytest.param(file_of(images_of(wide), "TIFF"), grey, id="tiff-I;16"),
        pytest.param(file_of(images_of(wide.astype(">u2")), "TIFF"), grey, id="tiff-I;16B"),
        pytest.param(file_of(images_of(wide.astype(np.int32)), "TIFF"), grey, id="tiff-I"),
        pytest.param(
            file_of(
                images_of((grey.astype(np.int64) * (2**31 - 1) // 255).astype(np.int32)), "TIFF"
            ),
            grey,
            id="tiff-I-32-bit",
        ),
        pytest.param(file_of(images_of(unit), "TIFF"), grey, id="tiff-F-unit"),
        pytest.param(file_of(images_of(spoiled), "TIFF"), grey, id="tiff-F-nan"),
        pytest.param(file_of(images_of(beyond), "TIFF"), expected, id="tiff-F-255"),
    ]


@pytest.mark.parametrize(("data", "grey"), mode_cases())
def test_every_grey_mode_comes_out_on_the_same_scale(data: bytes, grey: np.ndarray) -> None:
    picture = decode(data)
    np.testing.assert_array_equal(picture.rgb, np.dstack([grey] * 3))
    assert picture.alpha is None


@pytest.mark.parametrize("file_format", ["PNG", "GIF", "TIFF", "BMP"])
def test_a_palette_gives_its_colours(file_format: str) -> None:
    picture = decode(file_of(Image.fromarray(QUARTERS).quantize(4), file_format))
    np.testing.assert_array_equal(picture.rgb, QUARTERS)


def test_sixteen_bit_colour_keeps_its_high_bytes() -> None:
    samples = np.array([[[0x1234, 0xFFFF, 0x8000], [0, 0x7FFF, 0xABCD]]], ">u2")
    picture = decode(png(2, 1, 16, 2, b"\0" + samples.tobytes()))
    assert picture.rgb.tolist() == [[[0x12, 0xFF, 0x80], [0, 0x7F, 0xAB]]]


@pytest.mark.parametrize("file_format", ["JPEG", "TIFF"])
def test_cmyk_red_is_red_whether_adobe_inverts_it_or_not(file_format: str) -> None:
    picture = decode(file_of(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), file_format))
    np.testing.assert_allclose(picture.rgb.astype(float).mean((0, 1)), [255, 0, 0], atol=3)


def test_a_lab_tiff_is_converted_by_its_colours() -> None:
    picture = decode(file_of(Image.new("LAB", (4, 4), (128, 128, 128)), "TIFF"))
    assert np.abs(picture.rgb.astype(int) - 119).max() <= 2


def test_ycbcr_is_converted() -> None:
    image = Image.new("YCbCr", (16, 16), (76, 85, 255))
    picture = decode(file_of(image, "TIFF", compression="jpeg"))
    np.testing.assert_allclose(picture.rgb.astype(float).mean((0, 1)), [255, 0, 0], atol=4)


@pytest.mark.parametrize("file_format", ["PNG", "WEBP", "TIFF", "GIF", "MPO"])
def test_of_several_frames_the_first_counts(file_format: str) -> None:
    first, second = Image.new("RGB", (32, 16), "red"), Image.new("RGB", (32, 16), "blue")
    options = {"lossless": True} if file_format == "WEBP" else {}
    data = file_of(first, file_format, save_all=True, append_images=[second], **options)
    picture = decode(data)
    assert (
        (picture.original.width, picture.original.height) == (32, 16) == header(data, complete=True)
    )
    np.testing.assert_allclose(picture.rgb.astype(float).mean((0, 1)), [255, 0, 0], atol=3)


# Alpha ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file_format", "options"), [("PNG", {}), ("TIFF", {}), ("WEBP", {"lossless": True})]
)
def test_hidden_colours_do_not_show_and_alpha_is_kept(
    file_format: str, options: dict[str, Any]
) -> None:
    rgba = np.dstack([noise(4, 6), np.repeat([[0], [51], [128], [255]], 6, axis=1)])
    rgba = rgba.astype(np.uint8)
    picture = decode(file_of(rgba, file_format, **options))
    shown = rgba[..., 3] > 0
    np.testing.assert_array_equal(picture.rgb[shown], rgba[shown][:, :3])
    assert picture.alpha is not None
    np.testing.assert_array_equal(picture.alpha, rgba[..., 3])


def test_an_alpha_channel_that_hides_nothing_is_no_alpha() -> None:
    picture = decode(file_of(Image.fromarray(QUARTERS).convert("RGBA"), "PNG"))
    assert picture.alpha is None
    np.testing.assert_array_equal(picture.rgb, QUARTERS)


@pytest.mark.parametrize("file_format", ["PNG", "TIFF"])
def test_grey_with_alpha_is_straight(file_format: str) -> None:
    grey_alpha = np.array([[[0, 255], [0, 0], [100, 51]]], np.uint8)
    picture = decode(file_of(Image.fromarray(grey_alpha), file_format))
    assert picture.rgb[0, ::2, 0].tolist() == [0, 100]
    assert picture.alpha is not None
    assert picture.alpha.tolist() == [[255, 0, 51]]


@pytest.mark.parametrize("transparency", [1, bytes([255, 0]), bytes([128, 0])])
def test_transparent_palette_entries_become_alpha(transparency: int | bytes) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 0])
    image.putdata([0, 1])
    picture = decode(file_of(image, "PNG", transparency=transparency))
    first = transparency[0] if isinstance(transparency, bytes) else 255
    assert picture.alpha is not None
    assert picture.alpha.tolist() == [[first, 0]]
    # The other entry is only hidden by its transparency, and its neighbour goes on over it.
    assert picture.rgb[0].tolist() == [[10, 20, 30]] * 2


def test_a_transparent_gif_has_alpha() -> None:
    image = Image.fromarray(QUARTERS).quantize(4)
    hidden = image.getpixel((0, 0))
    picture = decode(file_of(image, "GIF", transparency=hidden))
    assert picture.alpha is not None
    assert picture.alpha[0, 0] == 0
    assert picture.alpha[-1, -1] == 255
    assert picture.rgb[-1, -1].tolist() == QUARTERS[-1, -1].tolist()


@pytest.mark.parametrize(
    ("depth", "color", "row", "key"),
    [
        (1, 0, bytes([0b01000000]), struct.pack(">H", 1)),
        (2, 0, bytes([0b00100000]), struct.pack(">H", 2)),
        (4, 0, bytes([0x07]), struct.pack(">H", 7)),
        (8, 0, bytes([0, 77]), struct.pack(">H", 77)),
        (16, 0, struct.pack(">HH", 0, 777), struct.pack(">H", 777)),
        (8, 2, bytes([9, 9, 9, 1, 2, 3]), struct.pack(">HHH", 1, 2, 3)),
        (16, 2, struct.pack(">6H", 9, 9, 9, 256, 512, 768), struct.pack(">HHH", 256, 512, 768)),
    ],
)
def test_the_transparent_colour_of_a_png_becomes_alpha(
    depth: int, color: int, row: bytes, key: bytes
) -> None:
    picture = decode(png(2, 1, depth, color, b"\0" + row, (b"tRNS", key)))
    assert picture.alpha is not None
    assert picture.alpha.tolist() == [[255, 0]]
    assert picture.rgb[0, 1].tolist() == picture.rgb[0, 0].tolist()


# Orientation ------------------------------------------------------------------------------------


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_an_exif_rotated_photograph_comes_out_upright(file_format: str, orientation: int) -> None:
    stored = np.ascontiguousarray(oriented(QUARTERS, orientation))
    options: dict[str, Any] = {"exif": exif_of(orientation)}
    if file_format == "WEBP":
        options["lossless"] = True
    if file_format == "JPEG":
        options |= {"quality": 95, "subsampling": 0}
    data = file_of(stored, file_format, **options)
    picture = decode(data)
    assert picture.rgb.shape == QUARTERS.shape
    assert np.abs(picture.rgb.astype(int) - QUARTERS).max() <= 8
    assert header(data, complete=True) == (QUARTERS.shape[1], QUARTERS.shape[0])


@pytest.mark.parametrize("orientation", [0, 9, 4711])
def test_an_orientation_that_does_not_exist_is_ignored(orientation: int) -> None:
    data = file_of(QUARTERS, "PNG", exif=exif_of(orientation))
    np.testing.assert_array_equal(decode(data).rgb, QUARTERS)


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP"])
def test_broken_exif_is_ignored(file_format: str) -> None:
    whole = exif_of(6).tobytes()
    resolution = b"Exif\0\0II*\0\x08\0\0\0\x02\0\x1a\x01\x02\0\x02\0\0\0a\0\0\0"
    resolution += b"\x28\x01\x03\0\x01\0\0\0\x02\0\0\0\0\0\0\0"
    for broken in (whole[:9], b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff", resolution):
        data = file_of(QUARTERS, file_format, exif=broken)
        assert decode(data).rgb.shape == QUARTERS.shape
        assert header(data, complete=True) == (QUARTERS.shape[1], QUARTERS.shape[0])


def test_xmp_does_not_turn_what_the_header_called_upright() -> None:
    packet = b'<x:xmpmeta><rdf tiff:Orientation="6"/></x:xmpmeta>'
    data = file_of(QUARTERS, "TIFF", tiffinfo={700: packet})
    picture = decode(data)
    assert header(data) == (picture.original.width, picture.original.height)
    np.testing.assert_array_equal(picture.rgb, QUARTERS)


# Colour management ------------------------------------------------------------------------------


# Refusals ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "data"), whole_files().items())
@pytest.mark.parametrize("share", [0.002, 0.01, 0.1, 0.5, 0.9, 0.99])
def test_a_truncated_file_is_refused_and_never_half_grey(
    kind: str, data: bytes, share: float
) -> None:
    assert decode(data).rgb.shape == (60, 80, 3), kind
    with pytest.raises(InputUnreadable, match=r"^gs://b/x .*\.$"):
        decode(data[: int(len(data) * share)])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0",
        b"<html><body>403 Forbidden</body></html>",
        b"\xff\xd8\xff",
        b"\x89PNG\r\n\x1a\n",
        b"RIFF\x10\0\0\0WEBPVP8 ",
        b"II*\0\x08\0\0\0",
        b"GIF89a",
        b"BM" + bytes(60),
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n",
        b"%PDF-1.7\n",
        file_of(QUARTERS, "PPM")[:20],
        file_of(QUARTERS, "TGA")[:40],
        file_of(QUARTERS, "ICO")[:40],
        png(0, 5, 8, 2, b""),
        png(4, 4, 7, 2, b"\0" * 52),
        png(4, 4, 8, 3, b"\0" * 20, (b"tRNS", bytes(300))),
    ],
)
def test_what_is_no_image_of_the_known_formats_is_refused_in_one_sentence(data: bytes) -> None:
    with pytest.raises(InputUnreadable) as caught:
        decode(data)
    message = str(caught.value)
    assert message.startswith("gs://b/x ")
    assert message.endswith(".")
    assert message.count(". ") == 0
    assert "BytesIO" not in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("data", "pixels"),
    [
        (png(60000, 60000, 8, 2, b""), 3_600_000_000),
        (png(10000, 10000, 8, 2, b""), 100_000_000),
        (png(1001, 1000, 8, 2, b""), 1_001_000),
        (huge_webp(), 16384**2),
    ],
)
def test_too_many_pixels_are_refused_before_decoding(data: bytes, pixels: int) -> None:
    expected = rf"^gs://b/x has {pixels} pixels.*limit of 1000000; raise max_pixels or shrink"
    with pytest.raises(InputTooLarge, match=expected):
        decode(data)
    with pytest.raises(InputTooLarge, match=expected):
        header(data)


def test_too_many_bytes_are_refused_before_anything_else() -> None:
    with pytest.raises(InputTooLarge, match="has 100 bytes, over the limit of 99; raise max_bytes"):
        decode(bytes(100), max_bytes=99)


def test_memory_that_does_not_suffice_makes_an_input_too_large(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_arguments: object) -> None:
        raise MemoryError

    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", fail)
    with pytest.raises(InputTooLarge, match="memory"):
        decode(file_of(QUARTERS, "PNG"))


def test_a_picture_beyond_pillows_own_warning_is_no_warning_here() -> None:
    filters = list(warnings.filters)
    assert header(png(10000, 10000, 8, 2, b""), max_pixels=10**8) == (10000, 10000)
    assert warnings.filters == filters


def test_the_warning_filters_are_left_alone() -> None:
    filters = list(warnings.filters)
    for data in whole_files().values():
        decode(data)
    assert warnings.filters == filters


# The size alone ---------------------------------------------------------------------------------


# Arrays -----------------------------------------------------------------------------------------


# And back to bytes ------------------------------------------------------------------------------
