"""The table of formats and the documentation; colours and orientation in the newer ones."""

from __future__ import annotations

import io
import pathlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from nst_core.errors import InputTooLarge, InputUnreadable
from nst_core.image_files import boxes, coded_colors, formats
from nst_core.imaging import encoding, images
from tests import more_formats
from tests.corpus import HEIGHT, WIDTH, exif_of, file_of, texture
from tests.nst_core.imaging.pictures import QUARTERS, oriented, swapped_profile

ROOT = pathlib.Path(__file__).parents[3]
GOOD = more_formats.good_files()


def decode(data: bytes) -> images.Picture:
    return images.decode(data, name="x", max_pixels=10**6, max_bytes=10**7)


def size_of_head(data: bytes) -> tuple[int, int] | None:
    return images.header_size(data, name="x", max_pixels=10**6)


def flat(value: tuple[int, int, int]) -> np.ndarray:
    return np.full((64, 96, 3), value, np.uint8)


# The table ----------------------------------------------------------------------------------------


def test_all_that_pillow_opens_is_in_the_table_or_left_out_for_a_reason() -> None:
    formats.register()
    read = [name for one in formats.FORMATS for name in one.pillow]
    assert len(read) == len(set(read))
    opened = set(Image.OPEN) - {"MPO"}
    # Two more need a package that is not here.
    assert opened == (set(read) | set(formats.NOT_READ)) & opened
    assert set(read) <= opened
    assert not set(read) & set(formats.NOT_READ)


def test_an_extension_stands_for_one_format() -> None:
    assert len(formats.EXTENSIONS) == len(set(formats.EXTENSIONS))
    assert all(one == one.lower() and one.startswith(".") for one in formats.EXTENSIONS)


def test_the_documentation_names_the_formats_of_the_table() -> None:
    pictures = " ".join((ROOT / "docs/reference/pictures.md").read_text(encoding="utf-8").split())
    assert f"Inputs are {formats.COMMON}" in pictures
    page = " ".join((ROOT / "docs/formats.md").read_text(encoding="utf-8").split())
    for one in formats.FORMATS:
        row = f"| {one.name} | {' '.join(f'`{name}`' for name in one.extensions)} |"
        assert " ".join(row.split()) in page
    for name, reason in formats.NOT_READ.items():
        assert f"{name}: {reason}" in page


@pytest.mark.parametrize("name", GOOD)
def test_a_mark_tells_the_format(name: str) -> None:
    found = formats.begins_as(GOOD[name])
    extension = "." + name.rpartition(".")[2]
    of_name = next((one for one in formats.FORMATS if extension in one.extensions), None)
    # A TGA file has no mark, and can begin as a cursor does.
    if of_name is not None and of_name.marks:
        assert found is of_name
    else:
        assert found is None or found.name == "ICO"


# Pixels -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        *("colour.jp2", "colour.ppm", "colour.tga", "colour.ico", "colour.psd", "colour.qoi"),
        *("colour.dds", "colour.sgi", "colour.pcx", "colour.im", "colour.dib"),
    ],
)
def test_what_loses_nothing_is_read_to_the_bit(name: str) -> None:
    np.testing.assert_array_equal(decode(GOOD[name]).rgb, texture())


@pytest.mark.parametrize(
    "name", ["colour.avif", "animated.avif", "colour.heic", "deep.heic", "deep12.heic"]
)
def test_what_loses_little_is_read_nearly_so(name: str) -> None:
    found = decode(GOOD[name]).rgb.astype(int)
    assert found.shape == texture().shape
    assert np.abs(found - texture()).mean() < 12


@pytest.mark.parametrize("name", ["grey16.jp2", "grey16.pgm", "floats.pfm", "deep_grey.heic"])
def test_grey_of_more_bits_has_its_range(name: str) -> None:
    found = decode(GOOD[name]).rgb
    grey = np.asarray(Image.fromarray(texture()).convert("L")).astype(int)
    assert np.abs(found[..., 0] - grey).max() <= (12 if name.endswith("heic") else 1)


@pytest.mark.parametrize(
    ("name", "alpha"), [("alpha.avif", 0), ("alpha.heic", 0), ("alpha.jp2", 0), ("packed.tga", 99)]
)
def test_transparency_is_read(name: str, alpha: int) -> None:
    found = decode(GOOD[name]).alpha
    assert found is not None
    assert abs(int(found.min()) - alpha) <= 4


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["AVIF", "HEIF"])
def test_orientation_is_applied_once(kind: str, orientation: int) -> None:
    # Such a file says it twice: in its boxes and in EXIF.
    exif = exif_of(orientation).tobytes()
    data = file_of(oriented(QUARTERS, orientation), kind, exif=exif, quality=95)
    assert (b"irot" in data or b"imir" in data) == (orientation != 1)
    found = decode(data)
    assert np.abs(found.rgb[::8, ::8].astype(int) - QUARTERS[::8, ::8]).mean() < 20
    assert (found.original.width, found.original.height) == (48, 32) == size_of_head(data)


@pytest.mark.parametrize("kind", ["AVIF", "HEIF", "PSD", "JPEG2000"])
def test_a_profile_is_honoured(kind: str) -> None:
    red = flat((200, 20, 20))
    profile = swapped_profile()
    if kind == "PSD":
        data = more_formats.psd(red, resources=((1039, profile),))
    elif kind == "JPEG2000":
        data = with_jp2_profile(file_of(red, kind), profile)
    else:
        data = file_of(red, kind, icc_profile=profile, quality=95)
    found = decode(data).rgb[30, 30].astype(int)
    # The profile takes red for green.
    assert found[1] > 150
    assert found[0] < 80


def with_jp2_profile(data: bytes, profile: bytes) -> bytes:
    """A JP2 file whose colours are those of a profile."""
    start = data.index(b"colr") - 4
    old = int.from_bytes(data[start : start + 4], "big")
    box = (11 + len(profile)).to_bytes(4, "big") + b"colr" + b"\2\0\0" + profile
    place = data.index(b"jp2h") - 4
    whole = int.from_bytes(data[place : place + 4], "big") + len(box) - old
    changed = data[:start] + box + data[start + old :]
    return changed[:place] + whole.to_bytes(4, "big") + changed[place + 4 :]


@pytest.mark.parametrize("name", ["colour.avif", "colour.heic", "deep.heic"])
def test_display_p3_by_code_points_is_as_by_a_profile(name: str) -> None:
    primaries = more_formats.with_colors(GOOD[name], more_formats.DISPLAY_P3)
    plain, wide = decode(GOOD[name]).rgb.astype(int), decode(primaries).rgb.astype(int)
    # Greys stay, colours become stronger.
    assert np.ptp(wide, axis=2).mean() > 1.05 * np.ptp(plain, axis=2).mean()
    assert abs(wide.mean() - plain.mean()) < 6


def test_display_p3_has_the_colours_that_are_published() -> None:
    # CSS Color 4, 10.4: color(display-p3 0 1 0) is outside; 50 % grey and this red are inside.
    colors = np.array([[[234, 51, 35], [128, 128, 128]]], np.uint8)
    found = coded_colors.to_srgb(colors, more_formats.DISPLAY_P3).astype(int)
    assert np.abs(found - [[[255, 0, 0], [128, 128, 128]]]).max() <= 2


@pytest.mark.parametrize(("colors", "white"), [(more_formats.PQ, 0.58), (more_formats.HLG, 0.75)])
def test_high_dynamic_range_is_brought_down_in_order(colors: tuple[int, int], white: float) -> None:
    ramp = np.repeat(np.arange(1024, dtype=np.uint16)[None, :, None], 3, axis=2)
    found = coded_colors.to_srgb(ramp, colors, levels=1024)[0].astype(int)
    assert (np.diff(found[:, 0]) >= 0).all()
    assert (np.ptp(found, axis=1) <= 1).all()
    assert found[0].max() == 0
    # Paper is light, and lamps are lighter (ITU-R BT.2408).
    assert 170 < found[round(1023 * white), 0] < 215
    assert found[-1, 0] == 255


def test_a_10_bit_file_is_rounded_not_cut_off() -> None:
    levels = np.arange(1024, dtype=np.uint16).reshape(1, 1024, 1)
    found = coded_colors.to_srgb(np.repeat(levels, 3, axis=2), None, levels=1024)
    assert np.abs(found[0, :, 0] - np.arange(1024) * 255 / 1023).max() <= 0.5


# Headers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", [name for name in GOOD if name.endswith(("heic", "avif", "psd")) and "anim" not in name]
)
def test_a_size_is_found_in_the_first_bytes(name: str) -> None:
    assert size_of_head(GOOD[name][:1200]) == (96, 64)


@pytest.mark.parametrize(
    ("name", "before"),
    [("colour.avif", b"ispe\0\0\0\0"), ("deep.heic", b"ispe\0\0\0\0"), ("colour.psd", b"\0\3")],
)
def test_a_size_over_the_limit_is_refused_before_anything_is_decoded(
    name: str, before: bytes
) -> None:
    data = GOOD[name]
    place = data.index(before) + len(before)
    huge = data[:place] + b"\0\1\0\0" * 2 + data[place + 8 :]
    for refused in (decode, size_of_head):
        with pytest.raises(InputTooLarge, match=r"^x has 4294967296 pixels .* max_pixels"):
            refused(huge)


def test_boxes_cut_anywhere_or_made_up_are_no_error() -> None:
    for name in ("turned.heic", "alpha.avif"):
        data = GOOD[name]
        for cut in range(0, 900, 7):
            boxes.still(data[:cut])
        generator = np.random.default_rng(3)
        for _ in range(300):
            damaged = bytearray(data)
            for place in generator.integers(0, 700, 3):
                damaged[place] = int(generator.integers(256))
            boxes.still(bytes(damaged))
    boxes.jp2_profile(GOOD["colour.jp2"][:60])


def test_a_photoshop_document_without_its_flattened_image_is_refused() -> None:
    without = more_formats.psd(texture(), resources=((1057, b"\0\0\0\1\0" + bytes(9)),))
    with pytest.raises(InputUnreadable, match=r"^x is a Photoshop .* Maximize Compatibility"):
        decode(without)
    decode(more_formats.psd(texture(), resources=((1057, b"\0\0\0\1\1" + bytes(9)),)))
    with pytest.raises(InputUnreadable, match=r"\(PSD\) of 16 bits a channel; export it as"):
        decode(more_formats.psd(texture(), bits=16))


@pytest.mark.parametrize(
    ("layers", "resources"), [(None, ()), (0, ()), (1, ()), (2, ((1057, b"\0\0\0\1\1"),)), (-1, ())]
)
def test_a_saved_selection_of_a_photoshop_document_is_no_transparency(
    layers: int | None, resources: tuple[tuple[int, bytes], ...]
) -> None:
    selection = np.tile(np.uint8([0, 255]), (HEIGHT, WIDTH // 2))
    data = more_formats.psd(np.dstack([texture(), selection]), layers=layers, resources=resources)
    picture = decode(data)
    if layers == -1:
        assert picture.alpha is not None
        np.testing.assert_array_equal(picture.alpha, selection)
    else:
        assert picture.alpha is None
        np.testing.assert_array_equal(picture.rgb, texture())


def test_credits_come_from_the_new_formats_too() -> None:
    exif = Image.Exif()
    exif[0x013B] = "Ada"
    for kind in ("AVIF", "HEIF"):
        data = file_of(QUARTERS, kind, exif=exif.tobytes(), icc_profile=encoding.srgb_profile())
        assert decode(data).credits.artist == "Ada"
    assert ImageCms.ImageCmsProfile(io.BytesIO(swapped_profile()))
