"""What `images` promises about files from anywhere: real files of every format, good and bad."""

from __future__ import annotations

import io
import struct
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms, PngImagePlugin

from nst_core import colors, encoding, images
from nst_core.errors import InputTooLarge, InputUnreadable
from tests.corpus import exif_of, file_of, huge_webp, png

HEAD = 64 * 1024
# Red, green / blue, yellow in quarters: its eight orientations all differ.
QUARTERS = (
    np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 0]]], np.uint8)
    .repeat(16, axis=0)
    .repeat(24, axis=1)
)
GRADIENT = np.dstack(
    [
        np.broadcast_to(np.linspace(0, 255, 40), (24, 40)),
        np.broadcast_to(np.linspace(0, 255, 24)[:, None], (24, 40)),
        np.full((24, 40), 90),
    ]
).astype(np.uint8)


def decode(data: bytes, **limits: int) -> images.Picture:
    return images.decode(
        data, name="gs://b/x", **({"max_pixels": 10**6, "max_bytes": 10**7} | limits)
    )


def header(data: bytes, **options: Any) -> tuple[int, int] | None:
    return images.header_size(data, name="gs://b/x", **({"max_pixels": 10**6} | options))


def noise(height: int, width: int, channels: int = 3) -> np.ndarray:
    shape = (height, width, channels) if channels > 1 else (height, width)
    return np.random.default_rng(7).integers(0, 256, shape, dtype=np.uint8)


def oriented(rgb: np.ndarray, orientation: int) -> np.ndarray:
    """How the camera stores an upright picture under an orientation (the table in EXIF 2.3)."""
    return {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.swapaxes(0, 1),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
        8: lambda a: np.rot90(a, -1),
    }[orientation](rgb)


# Profiles ---------------------------------------------------------------------------------------


def s15(*values: float) -> bytes:
    return struct.pack(f">{len(values)}i", *(round(value * 65536) for value in values))


def icc(space: bytes, connection: bytes, tags: dict[bytes, bytes]) -> bytes:
    """An ICC 2.1 profile of these tags."""
    offset = 128 + 4 + 12 * len(tags)
    table, body = struct.pack(">I", len(tags)), b""
    for signature, data in tags.items():
        table += signature + struct.pack(">II", offset + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    kind = b"prtr" if space == b"CMYK" else b"mntr"
    start = struct.pack(
        ">I4sI4s4s4s", offset + len(body), b"lcms", 0x02100000, kind, space, connection
    )
    start += bytes(12) + b"acsp" + bytes(28) + s15(0.9642, 1.0, 0.8249)
    return start.ljust(128, b"\0") + table + body


def common_tags() -> dict[bytes, bytes]:
    description = b"desc" + bytes(4) + struct.pack(">I", 5) + b"test\0" + bytes(78)
    return {
        b"desc": description,
        b"cprt": b"text" + bytes(4) + b"none\0",
        b"wtpt": b"XYZ " + bytes(4) + s15(0.9642, 1.0, 0.8249),
    }


def gamma(value: float) -> bytes:
    return b"curv" + bytes(4) + struct.pack(">IH", 1, round(value * 256))


def swapped_profile() -> bytes:
    """sRGB with the primaries of red and green exchanged."""
    data = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return (
        data.replace(b"rXYZ", b"\1\2\3\4").replace(b"gXYZ", b"rXYZ").replace(b"\1\2\3\4", b"gXYZ")
    )


def linear_rgb_profile() -> bytes:
    """sRGB's primaries with a gamma of 1."""
    primaries = {
        b"rXYZ": (0.4361, 0.2225, 0.0139),
        b"gXYZ": (0.3851, 0.7169, 0.0971),
        b"bXYZ": (0.1431, 0.0606, 0.7141),
    }
    tags = {name: b"XYZ " + bytes(4) + s15(*xyz) for name, xyz in primaries.items()}
    curves = {name: gamma(1) for name in (b"rTRC", b"gTRC", b"bTRC")}
    return icc(b"RGB ", b"XYZ ", common_tags() | tags | curves)


def linear_grey_profile() -> bytes:
    return icc(b"GRAY", b"XYZ ", common_tags() | {b"kTRC": gamma(1)})


def ink_profile() -> bytes:
    """CMYK whose every ink is the same mid grey (L* = 50): no naive conversion gives that."""
    ramp = bytes(range(256))
    table = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + s15(1, 0, 0, 0, 1, 0, 0, 0, 1)
    table += ramp * 4 + bytes([128, 128, 128]) * 2**4 + ramp * 3
    return icc(b"CMYK", b"Lab ", common_tags() | {b"A2B0": table})


def srgb_from_linear(linear: float) -> float:
    return 255 * (12.92 * linear if linear <= 0.0031308 else 1.055 * linear ** (1 / 2.4) - 0.055)


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
    assert (picture.height, picture.width) == GRADIENT.shape[:2]
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
    assert (picture.width, picture.height) == (32, 16) == header(data, complete=True)
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
    assert header(data) == (picture.width, picture.height)
    np.testing.assert_array_equal(picture.rgb, QUARTERS)


# Colour management ------------------------------------------------------------------------------


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


# Refusals ---------------------------------------------------------------------------------------


def whole_files() -> dict[str, bytes]:
    picture = noise(60, 80)
    return {
        "jpeg": file_of(picture, "JPEG"),
        "progressive": file_of(picture, "JPEG", progressive=True),
        "png": file_of(picture, "PNG"),
        "webp": file_of(picture, "WEBP"),
        "tiff": file_of(picture, "TIFF"),
        "tiff-deflate": file_of(picture, "TIFF", compression="tiff_adobe_deflate"),
        "bmp": file_of(picture, "BMP"),
        "gif": file_of(picture, "GIF"),
    }


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
        file_of(QUARTERS, "PPM"),
        file_of(QUARTERS, "TGA"),
        file_of(QUARTERS, "ICO"),
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


def test_threads_may_decode_at_once_and_leave_the_warning_filters_alone() -> None:
    filters = list(warnings.filters)
    files = list(whole_files().values())
    alone = [decode(data).rgb for data in files]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda data: decode(data).rgb, files * 4))
    for expected, got in zip(alone * 4, together, strict=True):
        np.testing.assert_array_equal(got, expected)
    assert warnings.filters == filters


# The size alone ---------------------------------------------------------------------------------


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
    assert (picture.width, picture.height) == upright


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


# Arrays -----------------------------------------------------------------------------------------


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


# And back to bytes ------------------------------------------------------------------------------

METADATA = {"nst:id": "Ümläut/図-1", "nst:sources": '["gs://a b/ç.jpg"]', "nst:fingerprint": "0a"}
FORMATS = ["png", "jpeg", "webp", "tiff"]


def encode(rgb: np.ndarray, alpha: np.ndarray | None = None, **options: Any) -> bytes:
    return encoding.encode(
        rgb, alpha, **({"output_format": "png", "quality": 95, "metadata": METADATA} | options)
    )


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


@pytest.mark.parametrize("output_format", ["png", "tiff", "webp"])
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
    for output_format in ("jpeg", "webp"):
        sizes = [len(encode(rgb, output_format=output_format, quality=q)) for q in (20, 95)]
        assert sizes[0] < sizes[1]


def test_every_output_format_has_an_extension_and_a_content_type() -> None:
    assert encoding.EXTENSIONS == {"png": "png", "jpeg": "jpg", "webp": "webp", "tiff": "tiff"}
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
