"""Images with something to them: raw files, gamma, floats, a missing end."""

from __future__ import annotations

import itertools
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from nst_core.canvas import Fit
from nst_core.errors import InputUnreadable
from nst_core.imaging import images
from nst_core.imaging.fitting import Wanted
from tests.corpus import file_of, png, texture

GREYS = np.tile(np.arange(0, 256, 5, dtype=np.uint8), (4, 1))


def decode(data: bytes) -> images.Picture:
    return images.decode(data, name="x", max_pixels=10**6, max_bytes=10**7)


# Raw files of cameras -----------------------------------------------------------------------------


def shrunk(data: bytes, side: int) -> np.ndarray:
    """Its pixels where no more are wanted than so many on the longer side."""
    wanted = Wanted(Fit(long_side=side))
    return images.decode(data, name="x", max_pixels=10**6, max_bytes=10**6, wanted=wanted).rgb


def tagged(tag: int, value: Any, kind: int) -> bytes:
    """A TIFF with one more tag."""
    info = TiffImagePlugin.ImageFileDirectory_v2()
    info[tag] = value
    info.tagtype[tag] = kind
    return file_of(texture(40, 26), "TIFF", tiffinfo=info)


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (tagged(50706, b"\1\4\0\0", 1), "raw file"),
        (tagged(254, 1, 4), "reduced"),
        (tagged(255, 2, 3), "reduced"),
    ],
)
def test_a_raw_file_is_not_taken_for_its_thumbnail(data: bytes, named: str) -> None:
    with pytest.raises(InputUnreadable, match=rf"^x .*{named}.* develop it.*\.$"):
        decode(data)
    with pytest.raises(InputUnreadable, match=named):
        images.header_size(data, name="x", max_pixels=10**6, complete=True)


def test_a_page_of_several_is_no_raw_file() -> None:
    assert decode(tagged(254, 2, 4)).original.width == 40


# PNG's gamma ------------------------------------------------------------------------------------


def with_chunks(pixels: np.ndarray, *chunks: tuple[bytes, bytes]) -> bytes:
    """An RGB or grey PNG of 8 bits with these chunks."""
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    height, width = pixels.shape[:2]
    return png(width, height, 8, 2 if pixels.ndim == 3 else 0, rows, *chunks)


def gama(gamma: float) -> tuple[bytes, bytes]:
    return b"gAMA", struct.pack(">I", round(gamma * 100000))


def chrm(*places: float) -> tuple[bytes, bytes]:
    return b"cHRM", struct.pack(">8I", *(round(place * 100000) for place in places))


SRGB = chrm(0.3127, 0.329, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06)
ADOBE = chrm(0.3127, 0.329, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06)


def srgb(linear: np.ndarray) -> np.ndarray:
    low = linear <= 0.0031308
    return 255 * np.where(low, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


@pytest.mark.parametrize("gamma", [1.0, 1 / 1.8, 0.3])
@pytest.mark.parametrize("chunks", [(), (SRGB,)])
def test_the_gamma_of_a_png_is_honoured(gamma: float, chunks: tuple[Any, ...]) -> None:
    picture = decode(with_chunks(GREYS, gama(gamma), *chunks))
    expected = srgb((GREYS / 255) ** (1 / gamma))
    assert np.abs(picture.rgb - expected[..., None]).max() <= 0.51


def test_means_are_those_of_what_is_shown_also_where_a_file_counts_light() -> None:
    board = np.where(np.indices((80, 120)).sum(axis=0) % 2, 255, 0).astype(np.uint8)
    data = with_chunks(np.dstack([board] * 3), gama(1.0))
    found = shrunk(data, 12)
    # Half of the light would be shown as 188.
    assert np.abs(found.astype(int) - 127).max() <= 3


@pytest.mark.parametrize(
    "chunks",
    [
        (gama(0.45455),),
        (gama(0.45455), SRGB),
        (gama(1.0), (b"sRGB", b"\0")),
        (SRGB,),
        (ADOBE,),
        (gama(0),),
        (gama(400),),
    ],
)
def test_what_is_srgb_or_says_nothing_stays_to_the_bit(chunks: tuple[Any, ...]) -> None:
    rgb = texture(40, 20)
    np.testing.assert_array_equal(decode(with_chunks(rgb, *chunks)).rgb, rgb)


def test_primaries_beside_a_gamma_are_honoured() -> None:
    colours = np.array([[[120, 120, 120], [100, 150, 100], [255, 255, 255]]], np.uint8)
    grey, green, white = decode(with_chunks(colours, gama(1 / 2.2), ADOBE)).rgb[0].astype(int)
    # Adobe RGB's green is stronger; greys are greys in both.
    assert green[1] - green[0] > 55
    assert np.ptp(grey) <= 1
    assert np.abs(grey - 120).max() <= 2
    assert (white >= 254).all()


def test_primaries_that_mean_nothing_are_ignored() -> None:
    rgb = texture(20, 10)
    for places in ((0.3, 0.0, 0.6, 0.3, 0.3, 0.6, 0.1, 0.1), (0.3, 0.3) * 4):
        assert decode(with_chunks(rgb, gama(1 / 2.2), chrm(*places))).rgb.shape == rgb.shape


# PNG's texts ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "head"),
    [(b"zTXt", b"Comment\0\0"), (b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0"), (b"iCCP", b"x\0\0")],
)
def test_a_png_with_a_long_text_or_profile_is_read(kind: bytes, head: bytes) -> None:
    rgb = texture(40, 20)
    chunk = kind, head + zlib.compress(b"x" * 1_500_000)
    np.testing.assert_array_equal(decode(with_chunks(rgb, chunk)).rgb, rgb)


# TIFF of floats ---------------------------------------------------------------------------------

HEADER = b"II*\0" + bytes(4)  # of a little-endian TIFF, without the place of its directory
BIG_HEADER = b"II+\0\x08\0\0\0" + bytes(8)  # of a BigTIFF


def float_tiff(
    values: np.ndarray,
    *,
    order: str = "<",
    deflated: bool = False,
    predictor: int = 1,
    separate: bool = False,
    rows: int = 7,
    orientation: int = 1,
    extra: int | None = None,
    big: bool = False,
) -> bytes:
    """A TIFF of floats by the specification: strips of so many rows; `big`: a BigTIFF."""
    height, width, samples = values.shape
    planes = [values[..., [i]] for i in range(samples)] if separate else [values]
    strips = []
    for plane, top in itertools.product(planes, range(0, height, rows)):
        body = predicted(plane[top : top + rows], order, predictor)
        strips.append(zlib.compress(body) if deflated else body)
    body = HEADER if order == "<" else b"MM\0*" + bytes(4)
    if big:
        body = BIG_HEADER
    offsets = []
    for strip in strips:
        offsets.append(len(body))
        body += strip
    lists = {
        258: (3, [32] * samples),
        273: (4, offsets),
        279: (4, [len(strip) for strip in strips]),
        339: (3, [3] * samples),
    }
    single = {256: width, 257: height, 259: 8 if deflated else 1, 262: 2, 277: samples}
    single |= {278: rows, 284: 2 if separate else 1, 317: predictor, 274: orientation}
    entries = {tag: (4, [value]) for tag, value in single.items()} | lists
    if extra is not None:
        entries[338] = (3, [extra])
    return packed_tiff(order, body, entries)


def packed_tiff(order: str, body: bytes, entries: dict[int, tuple[int, list[int]]]) -> bytes:
    """A TIFF of a body, its header included, with a directory of these at its end."""
    big = body.startswith(b"II+")
    count, place = ("Q", "Q") if big else ("H", "I")
    header, width = (16, 8) if big else (8, 4)
    packed = b""
    for tag, (kind, numbers) in sorted(entries.items()):
        content = struct.pack(f"{order}{len(numbers)}{'H' if kind == 3 else 'I'}", *numbers)
        if len(content) > width:
            start, body = len(body), body + content
            content = struct.pack(order + place, start)
        described = struct.pack(f"{order}HH{place}", tag, kind, len(numbers))
        packed += described + content.ljust(width, b"\0")
    start = struct.pack(order + place, len(body))
    head = body[: header - width] + start + body[header:]
    return head + struct.pack(order + count, len(entries)) + packed + bytes(width)


def predicted(plane: np.ndarray, order: str, predictor: int) -> bytes:
    height, _, samples = plane.shape
    if predictor == 1:
        return plane.astype(order + "f4").tobytes()
    if predictor == 2:
        bits = plane.astype(np.float32).view(np.uint32).astype(np.int64)
        steps = np.diff(bits, axis=1, prepend=0) % 2**32
        return steps.astype(order + "u4").tobytes()
    ranks = plane.astype(">f4").view(np.uint8).reshape(height, -1, 4).transpose(0, 2, 1)
    row = ranks.reshape(height, -1, samples)
    return np.diff(row, axis=1, prepend=np.uint8(0)).astype(np.uint8).tobytes()


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("samples", [3, 4])
@pytest.mark.parametrize("separate", [False, True])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"deflated": True},
        {"deflated": True, "predictor": 2},
        {"deflated": True, "predictor": 3},
    ],
)
def test_colour_in_floats_is_read_as_grey_in_floats_is(
    order: str, samples: int, separate: bool, options: dict[str, Any]
) -> None:
    wanted = np.dstack([texture(30, 20), np.full((20, 30), 200, np.uint8)])[..., :samples]
    data = float_tiff(wanted / np.float32(255), order=order, separate=separate, **options)
    picture = decode(data)
    np.testing.assert_array_equal(picture.rgb, wanted[..., :3])
    assert (picture.alpha is None) == (samples == 3)
    assert images.header_size(data, name="x", max_pixels=10**6, complete=True) == (30, 20)


@pytest.mark.parametrize("options", [{}, {"deflated": True, "predictor": 3}])
def test_and_so_it_is_in_a_bigtiff(options: dict[str, Any]) -> None:
    wanted = texture(30, 20)
    data = float_tiff(wanted / np.float32(255), big=True, **options)
    np.testing.assert_array_equal(decode(data).rgb, wanted)
    assert images.header_size(data, name="x", max_pixels=10**6, complete=True) == (30, 20)


def test_floats_up_to_255_are_read_too_and_turned_upright() -> None:
    wanted = texture(30, 20).astype(np.float32)
    data = float_tiff(wanted, orientation=6)
    assert images.header_size(data, name="x", max_pixels=10**6, complete=True) == (20, 30)
    np.testing.assert_array_equal(decode(data).rgb, np.rot90(wanted, -1).astype(np.uint8))
    expected = images.resize(decode(data).rgb, 10, 15, "lanczos")
    np.testing.assert_allclose(shrunk(data, 15), expected, atol=1)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        # What resampling and lights go beyond the range is cut off, and nothing else changes.
        ([0, 0.25, 0.5, 1.01], [0, 64, 128, 255]),
        ([-0.001, 0.25, 0.5, 1], [0, 64, 128, 255]),
        ([0, 0.25, 0.5, 12.5], [0, 64, 128, 255]),
        ([0, 0.25, np.nan, np.inf], [0, 64, 0, 255]),
        ([-0.5, 0.25, 17.5, 200], [0, 0, 18, 200]),
        # Small whole numbers are bytes of a dark picture, and 0 and 1 are black and white.
        ([0, 1, 2, 3], [0, 1, 2, 3]),
        ([0, 1, 0, 1], [0, 255, 0, 255]),
    ],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_floats_are_in_the_range_that_they_look_like(
    values: list[float], expected: list[int], channels: int
) -> None:
    row = np.float32([values])
    data = float_tiff(np.dstack([row] * 3)) if channels == 3 else file_of(row, "TIFF")
    np.testing.assert_array_equal(decode(data).rgb[0, :, 0], expected)


@pytest.mark.parametrize("highest", [1, 255])
def test_a_fourth_float_is_what_the_file_says_that_it_is(highest: int) -> None:
    alpha = np.float32([[0.25, 0.5, 1, 0]])[..., None]
    colors = np.full((1, 4, 3), 0.8, np.float32)

    def read(colors: np.ndarray, extra: int | None) -> images.Picture:
        return decode(float_tiff(highest * np.dstack([colors, alpha]), extra=extra))

    for picture in (read(colors, None), read(colors, 2), read(colors * alpha, 1)):
        assert picture.alpha is not None
        assert picture.alpha.tolist() == [[64, 128, 255, 0]]
        np.testing.assert_array_equal(picture.rgb, 204)
    beside = read(colors, 0)
    assert beside.alpha is None
    np.testing.assert_array_equal(beside.rgb, 204)


def deep_grey(
    body: bytes,
    width: int,
    bits: int,
    photometric: int,
    kind: int = 1,
    extra: int | None = None,
    header: bytes = HEADER,
) -> bytes:
    """A grey TIFF of one row, with an extra channel if one is named."""
    entries = {
        256: (4, [width]),
        257: (4, [1]),
        258: (3, [bits]),
        259: (3, [1]),
        262: (3, [photometric]),
        273: (4, [len(header)]),
        277: (3, [1]),
        278: (4, [1]),
        279: (4, [len(body)]),
        339: (3, [kind]),
    }
    if extra is not None:
        entries |= {258: (3, [bits] * 2), 277: (3, [2]), 338: (3, [extra])}
    return packed_tiff("<", header + body, entries)


@pytest.mark.parametrize(
    ("body", "bits", "photometric", "kind", "expected"),
    [
        # 0, 1024, 2048, 4095 as they are packed.
        (bytes.fromhex("000400800fff"), 12, 1, 1, [0, 64, 128, 255]),
        (np.uint16([0, 16384, 32768, 65535]), 16, 1, 1, [0, 64, 128, 255]),
        (np.uint16([0, 16384, 32768, 65535]), 16, 0, 1, [255, 191, 127, 0]),
        (np.int16([-5, 8192, 16384, 32767]), 16, 1, 2, [0, 64, 128, 255]),
        (np.float32([0, 0.25, 0.5, 1]), 32, 0, 3, [255, 191, 128, 0]),
        (np.uint32([0, 2**30, 2**31, 2**32 - 1]), 32, 1, 1, [0, 64, 128, 255]),
        (np.uint32([0, 16384, 32768, 65535]), 32, 1, 1, [0, 64, 128, 255]),
        (np.int32([-5, 2**29, 2**30, 2**31 - 1]), 32, 1, 2, [0, 64, 128, 255]),
    ],
)
def test_grey_of_every_depth_is_as_light_as_its_file_says(
    body: Any, bits: int, photometric: int, kind: int, expected: list[int]
) -> None:
    data = deep_grey(bytes(body), 4, bits, photometric, kind)
    np.testing.assert_array_equal(decode(data).rgb[0, :, 0], expected)


@pytest.mark.parametrize("header", [HEADER, BIG_HEADER])
@pytest.mark.parametrize(("bits", "extra"), [(8, 0), (8, 1), (16, 2)])
def test_a_tiff_of_a_kind_that_is_not_read_is_not_called_damaged(
    bits: int, extra: int, header: bytes
) -> None:
    data = deep_grey(bytes(8), 2, bits, 1, extra=extra, header=header)
    kind = f"PhotometricInterpretation 1, BitsPerSample {bits}, SamplesPerPixel 2"
    with pytest.raises(InputUnreadable, match=rf"^x .* not read \({kind}\); export it as PNG\.$"):
        decode(data)
    # Its pixels are not all there.
    entry = "<HHQQ" if header == BIG_HEADER else "<HHII"
    short = data.replace(struct.pack(entry, 279, 4, 1, 8), struct.pack(entry, 279, 4, 1, 9999))
    assert short != data
    with pytest.raises(InputUnreadable, match="damaged"):
        decode(short)


def test_floats_that_are_cut_off_are_refused() -> None:
    whole = float_tiff(texture(30, 20) / np.float32(255), deflated=True)
    for cut in range(8, len(whole), 97):
        with pytest.raises(InputUnreadable, match=r"^x "):
            decode(whole[:cut])


# JPEG without its end ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options", [{}, {"progressive": True}, {"subsampling": 0}, {"restart_marker_blocks": 2}]
)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_jpeg_that_lacks_only_its_end_marker_is_read(mode: str, options: dict[str, Any]) -> None:
    whole = file_of(Image.fromarray(texture()).convert(mode), "JPEG", quality=90, **options)
    assert whole.endswith(b"\xff\xd9")
    expected = decode(whole).rgb
    for cut in (whole[:-1], whole[:-2]):
        np.testing.assert_array_equal(decode(cut).rgb, expected)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_blocks": 2}])
def test_a_jpeg_that_lacks_pixels_is_refused(options: dict[str, Any]) -> None:
    whole = file_of(texture(), "JPEG", quality=90, **options)
    expected = decode(whole).rgb
    scans = [at for at in range(len(whole)) if whole[at : at + 2] == b"\xff\xda"]
    for cut in (*range(len(whole) - 40, len(whole) - 4), *range(900, len(whole), 431), *scans[1:]):
        try:
            found = decode(whole[:cut]).rgb
        except InputUnreadable:
            continue
        # No more than the padding of the last byte was missing.
        assert cut > len(whole) - 6
        np.testing.assert_array_equal(found, expected)
