"""Image files from anywhere, good and bad, made here: every format and mode, damage, bombs."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image, ImageCms

WIDTH, HEIGHT = 96, 64
ORIENTATION = 0x0112


def file_of(image: Image.Image | np.ndarray, file_format: str, **options: Any) -> bytes:
    """The bytes of an image that Pillow writes."""
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image)
    stream = io.BytesIO()
    image.save(stream, file_format, **options)
    return stream.getvalue()


def texture(width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """A picture that no format makes small: smooth colours under noise, uint8 `[H, W, 3]`."""
    generator = np.random.default_rng(11)
    y, x = np.mgrid[:height, :width]
    waves = np.stack([np.sin(x / 9), np.cos(y / 7), np.sin((x + y) / 11)], axis=-1)
    noise = generator.normal(0, 18, (height, width, 3))
    return np.clip(128 + 80 * waves + noise, 0, 255).astype(np.uint8)


def png_chunk(kind: bytes, body: bytes) -> bytes:
    """One chunk of a PNG."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(
    width: int, height: int, depth: int, color: int, rows: bytes, *extra: tuple[bytes, bytes]
) -> bytes:
    """A PNG as the specification writes it; `rows` with their filter bytes."""
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)), *extra]
    chunks += [(b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*chunk) for chunk in chunks)


def exif_of(orientation: int) -> Image.Exif:
    """EXIF data that hold an orientation alone."""
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return exif


def good_files() -> dict[str, bytes]:
    """A file of every format and mode that is read, each 96×64 px when it is upright."""
    return {**_png_files(), **_jpeg_files(), **_webp_files(), **_tiff_files(), **_other_files()}


def _png_files() -> dict[str, bytes]:
    colour = Image.fromarray(texture())
    grey = colour.convert("L")
    wide = np.asarray(grey).astype(np.uint16) * 257
    rows = b"".join(
        b"\0" + row.tobytes() for row in np.asarray(colour).astype(">u2") * np.uint16(257)
    )
    frames = {"save_all": True, "append_images": [colour.rotate(180)]}
    return {
        "bilevel.png": file_of(colour.convert("1"), "PNG"),
        "grey.png": file_of(grey, "PNG"),
        "grey_alpha.png": file_of(colour.convert("LA"), "PNG"),
        "palette.png": file_of(colour.quantize(64), "PNG"),
        "transparent_palette.png": file_of(colour.quantize(64), "PNG", transparency=3),
        "colour.png": file_of(colour, "PNG"),
        "alpha.png": file_of(_with_alpha(colour), "PNG"),
        "grey16.png": file_of(Image.fromarray(wide), "PNG"),
        "colour16.png": png(WIDTH, HEIGHT, 16, 2, rows),
        "animated.png": file_of(colour, "PNG", **frames),
        "profile.png": file_of(colour, "PNG", icc_profile=_srgb()),
        "broken_profile.png": file_of(colour, "PNG", icc_profile=_srgb()[:99]),
        "broken_exif.png": file_of(colour, "PNG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff"),
    }


def _jpeg_files() -> dict[str, bytes]:
    colour = Image.fromarray(texture())
    turned = {
        f"orientation{number}.jpg": file_of(
            colour if number < 5 else colour.transpose(Image.Transpose.ROTATE_90),
            "JPEG",
            exif=exif_of(number),
        )
        for number in range(1, 9)
    }
    return {
        **turned,
        "grey.jpg": file_of(colour.convert("L"), "JPEG"),
        "colour.jpg": file_of(colour, "JPEG", quality=95),
        "progressive.jpg": file_of(colour, "JPEG", quality=95, progressive=True),
        "cmyk.jpg": file_of(colour.convert("CMYK"), "JPEG"),
        "profile.jpg": file_of(colour, "JPEG", icc_profile=_srgb()),
        "broken_profile.jpg": file_of(colour, "JPEG", icc_profile=b"profile"),
        "broken_exif.jpg": file_of(colour, "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff"),
        "frames.mpo.jpg": file_of(colour, "MPO", save_all=True, append_images=[colour]),
    }


def _webp_files() -> dict[str, bytes]:
    colour = Image.fromarray(texture())
    return {
        "lossy.webp": file_of(colour, "WEBP", quality=95),
        "lossless.webp": file_of(colour, "WEBP", lossless=True),
        "alpha.webp": file_of(_with_alpha(colour), "WEBP"),
        "animated.webp": file_of(colour, "WEBP", save_all=True, append_images=[colour.rotate(9)]),
        "exif.webp": file_of(colour, "WEBP", exif=exif_of(3)),
    }


def _tiff_files() -> dict[str, bytes]:
    colour = Image.fromarray(texture())
    grey = np.asarray(colour.convert("L"))
    wide = grey.astype(np.uint16) * 257
    modes = {
        "bilevel": colour.convert("1"),
        "grey": colour.convert("L"),
        "grey_alpha": colour.convert("LA"),
        "palette": colour.quantize(64),
        "colour": colour,
        "alpha": _with_alpha(colour),
        "cmyk": colour.convert("CMYK"),
        "lab": Image.new("LAB", colour.size, (128, 140, 110)),
        "grey16": Image.fromarray(wide),
        "grey16big": Image.fromarray(wide.astype(">u2")),
        "integer": Image.fromarray(wide.astype(np.int32)),
        "float": Image.fromarray(grey / np.float32(255)),
    }
    files = {f"{name}.tiff": file_of(image, "TIFF") for name, image in modes.items()}
    for name in ("colour", "grey16", "float", "palette"):
        for compression in ("tiff_lzw", "tiff_adobe_deflate", "packbits"):
            data = file_of(modes[name], "TIFF", compression=compression)
            files[f"{name}.{compression}.tiff"] = data
    return {
        **files,
        "group4.tiff": file_of(modes["bilevel"], "TIFF", compression="group4"),
        "jpeg.tiff": file_of(colour, "TIFF", compression="jpeg"),
        "ycbcr.tiff": file_of(colour.convert("YCbCr"), "TIFF", compression="jpeg"),
        "pages.tiff": file_of(colour, "TIFF", save_all=True, append_images=[colour]),
        "big.tiff": file_of(colour, "TIFF", big_tiff=True),
        "orientation3.tiff": file_of(colour, "TIFF", exif=exif_of(3)),
    }


def _other_files() -> dict[str, bytes]:
    colour = Image.fromarray(texture())
    palette = colour.quantize(64)
    return {
        "bilevel.bmp": file_of(colour.convert("1"), "BMP"),
        "grey.bmp": file_of(colour.convert("L"), "BMP"),
        "palette.bmp": file_of(palette, "BMP"),
        "colour.bmp": file_of(colour, "BMP"),
        "grey.gif": file_of(colour.convert("L"), "GIF"),
        "palette.gif": file_of(palette, "GIF"),
        "transparent.gif": file_of(palette, "GIF", transparency=3),
        "animated.gif": file_of(palette, "GIF", save_all=True, append_images=[palette.rotate(90)]),
        # What a file is called decides nothing.
        "png_by_name.bmp": file_of(colour, "PNG"),
        "jpeg_by_name.png": file_of(colour, "JPEG"),
    }


def bad_files() -> dict[str, tuple[bytes, str]]:
    """Files that are refused by what they are, each with the status of its pair."""
    colour = texture()
    return {
        "empty.png": (b"", "input_unreadable"),
        "zeros.jpg": (bytes(5000), "input_unreadable"),
        "page.jpg": (b"<html><body>403 Forbidden</body></html>", "input_unreadable"),
        "script.png": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "input_unreadable"),
        "document.jpg": (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", "input_unreadable"),
        "cut.jpg": (file_of(colour, "JPEG")[:1500], "input_unreadable"),
        "cut.png": (file_of(colour, "PNG")[:-2000], "input_unreadable"),
        "cut.webp": (file_of(colour, "WEBP")[:1500], "input_unreadable"),
        "cut.tiff": (file_of(colour, "TIFF")[:9000], "input_unreadable"),
        "cut.gif": (file_of(colour, "GIF")[:3000], "input_unreadable"),
        "cut.bmp": (file_of(colour, "BMP")[:9000], "input_unreadable"),
        "no_pixels.png": (png(0, 64, 8, 2, b""), "input_unreadable"),
        "huge.png": (png(60000, 60000, 8, 2, b""), "input_too_large"),
        "huge.jpg": (_claiming(file_of(colour, "JPEG"), b"\xff\xc0\0\x11\x08"), "input_too_large"),
        "huge.gif": (gif(2, 2, frame=(65535, 65535)), "input_too_large"),
        "huge.bmp": (_huge_bmp(), "input_too_large"),
        "huge.tiff": (tiff(2**31, 2**31, [8], [64]), "input_too_large"),
        "huge.webp": (huge_webp(), "input_too_large"),
        "line.png": (png(1, 5000, 8, 2, bytes(4 * 5000)), "input_too_small"),
    }


def _with_alpha(image: Image.Image) -> Image.Image:
    whole = image.copy()
    whole.putalpha(Image.linear_gradient("L").resize(image.size))
    return whole


def _srgb() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def _claiming(data: bytes, before: bytes) -> bytes:
    """A file whose 16-bit sides, which follow `before`, are the largest there are."""
    start = data.index(before) + len(before)
    return data[:start] + b"\xff" * 4 + data[start + 4 :]


def _huge_bmp() -> bytes:
    header = struct.pack("<IiiHHIIiiII", 40, 2**30, -(2**30), 1, 24, 0, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54 + 64, 0, 0, 54) + header + bytes(64)


def huge_webp() -> bytes:
    """A WebP file that claims the largest sides there are."""
    body = b"WEBPVP8X" + struct.pack("<IB3x", 10, 0) + (16383).to_bytes(3, "little") * 2
    return b"RIFF" + struct.pack("<I", len(body)) + body


def gif(width: int, height: int, frame: tuple[int, int]) -> bytes:
    """A GIF of this screen whose one frame has another size, and few pixels."""
    start = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes(6)
    picture = b"," + struct.pack("<HHHHB", 0, 0, *frame, 0)
    return start + picture + b"\x02\x03\x44\x01\x05\0;"


def tiff(
    width: int,
    height: int,
    offsets: list[int],
    counts: list[int],
    *,
    compression: int = 1,
    fill_order: int = 1,
    data: bytes = b"",
) -> bytes:
    """A grey TIFF with one row in each strip; `data` lies at byte 8."""
    body = b"II*\0" + struct.pack("<I", 8 + len(data) + 8 * len(offsets)) + data
    places = len(body), len(body) + 4 * len(offsets)
    body += struct.pack(f"<{2 * len(offsets)}I", *offsets, *counts)
    strips = len(offsets)
    single = strips == 1
    entries = [
        (256, 4, 1, width),
        (257, 4, 1, height),
        (258, 3, 1, 8),
        (259, 3, 1, compression),
        (262, 3, 1, 1),
        (266, 3, 1, fill_order),
        (273, 4, strips, offsets[0] if single else places[0]),
        (277, 3, 1, 1),
        (278, 4, 1, height if single else 1),
        (279, 4, strips, counts[0] if single else places[1]),
    ]
    packed = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return body + struct.pack("<H", len(entries)) + packed + bytes(4)


# Bombs: little to send, much to decode ------------------------------------------------------------


def directory_bomb(entries: int = 20_000) -> bytes:
    """A TIFF whose directory names its own bytes as the value of every entry."""
    size = 8 + 2 + 12 * entries + 4
    packed = (struct.pack("<HHII", 10_000 + number, 7, size - 1, 1) for number in range(entries))
    return b"II*\0" + struct.pack("<IH", 8, entries) + b"".join(packed) + bytes(4)


def exif_bomb() -> bytes:
    """A JPEG whose EXIF data, in many segments, are such a directory."""
    data = file_of(texture(), "JPEG")
    bomb = directory_bomb()
    parts = [bomb[start : start + 65_000] for start in range(0, len(bomb), 65_000)]
    segments = (
        b"\xff\xe1" + struct.pack(">H", len(part) + 8) + b"Exif\0\0" + part for part in parts
    )
    # Without the JFIF header, where Pillow looks for the resolution before it asks EXIF.
    start = 4 + int.from_bytes(data[4:6], "big")
    return data[:2] + b"".join(segments) + data[start:]


def scans_bomb(side: int = 2048, scans: int = 100_000) -> bytes:
    """A progressive JPEG that refines its last scan over and over."""
    data = file_of(Image.new("L", (side, side), 90), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:-2] + data[last:-2] * scans + data[-2:]


def strips_bomb(rows: int = 65_535, shared: int = 1_000_000) -> bytes:
    """A compressed TIFF whose strips all are the same megabyte, its bits in reverse order."""
    return tiff(
        1, rows, [8] * rows, [shared] * rows, compression=32773, fill_order=2, data=bytes(shared)
    )


def text_bomb() -> bytes:
    """A PNG with a comment of 100 MB, compressed to 100 kB."""
    comment = b"Comment\0\0" + zlib.compress(bytes(100_000_000), 9)
    return png(4, 4, 8, 0, bytes(20), (b"zTXt", comment))
