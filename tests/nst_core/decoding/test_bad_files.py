"""Files from anywhere: each is a good image or one refusal, and none harms who decodes it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from nst_core.decoding import Decoder, limits
from nst_core.errors import InputTooLarge, InputUnreadable, PairError
from nst_core.image_files import formats
from nst_core.imaging import encoding, images
from tests import corpus, more_formats

FLIPS = 6
GOOD = corpus.good_files() | more_formats.good_files()


def decode(decoder: Decoder, data: bytes, seconds: float = 60) -> images.Picture:
    return decoder.decode(data, name="x", max_pixels=10**6, max_bytes=10**8, seconds=seconds)


def outcome(decoder: Decoder, data: bytes) -> images.Picture | PairError:
    try:
        return decode(decoder, data)
    except (InputTooLarge, InputUnreadable) as error:
        refusal = error
    sentence = str(refusal)
    assert sentence.startswith("x ")
    assert sentence.endswith(".")
    assert "\n" not in sentence
    return refusal


def size(decoder: Decoder, data: bytes) -> tuple[int, int] | None:
    return decoder.header_size(data, name="x", max_pixels=10**6, complete=True, seconds=60)


# The corpus ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", GOOD)
def test_every_format_and_mode_is_read_cut_off_or_not(name: str, decoder: Decoder) -> None:
    data = GOOD[name]
    whole = decode(decoder, data)
    assert (
        (whole.original.width, whole.original.height)
        == (corpus.WIDTH, corpus.HEIGHT)
        == size(decoder, data)
    )
    cuts = [*range(0, len(data), max(1024, len(data) // 8)), len(data) - 1]
    for cut in cuts:
        part = outcome(decoder, data[:cut])
        if isinstance(part, images.Picture):
            # Only what comes after the pixels may be missing.
            np.testing.assert_array_equal(part.rgb, whole.rgb)
    # Within the first picture, also where there are several.
    assert isinstance(outcome(decoder, data[: len(data) // 4]), InputUnreadable)


@pytest.mark.parametrize("name", GOOD)
def test_flipped_bits_give_an_image_or_a_refusal_and_the_decoder_lives_on(
    name: str, decoder: Decoder
) -> None:
    data = GOOD[name]
    generator = np.random.default_rng(len(data))
    decode(decoder, data)
    pids = decoder.pids
    for number in range(FLIPS):
        damaged = bytearray(data)
        # Every other time in the header, where a bit can mean a size.
        reach = min(len(data), 200) if number % 2 else len(data)
        for place in generator.integers(0, 8 * reach, 1 + number % 3):
            damaged[place // 8] ^= 1 << int(place % 8)
        found = outcome(decoder, bytes(damaged))
        if isinstance(found, images.Picture):
            assert size(decoder, bytes(damaged)) == (found.original.width, found.original.height)
    assert decoder.pids == pids


@pytest.mark.parametrize(("name", "bad"), corpus.bad_files().items())
def test_what_is_no_image_is_refused_with_its_status(
    name: str, bad: tuple[bytes, str], decoder: Decoder
) -> None:
    data, status = bad
    found = outcome(decoder, data)
    if status == "input_too_small":
        # An image all the same: only the network is too large for it.
        assert isinstance(found, images.Picture), name
    else:
        assert isinstance(found, PairError), name
        assert found.status == status


def test_every_other_format_that_pillow_writes_is_refused(decoder: Decoder) -> None:
    formats.register()
    tried = 0
    for file_format in sorted(Image.SAVE.keys() & formats.NOT_READ.keys()):
        for mode in ("RGB", "L"):
            with contextlib.suppress(OSError):  # Not without a program or library.
                data = corpus.file_of(Image.new(mode, (32, 32), 1), file_format)
                assert isinstance(outcome(decoder, data), InputUnreadable), file_format
                tried += 1
    assert tried


# Bombs --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bomb", [corpus.directory_bomb, corpus.exif_bomb, corpus.text_bomb])
def test_a_bomb_takes_no_more_than_the_memory_that_is_configured(
    bomb: Callable[[], bytes], decoder: Decoder
) -> None:
    data = bomb()
    assert len(data) < 300_000
    assert isinstance(outcome(decoder, data), PairError)
    (process,) = decoder.pids
    # In KiB; only where there is such a file.
    with open(f"/proc/{process}/status", encoding="utf-8") as file:
        peak = next(int(line.split()[1]) for line in file if line.startswith("VmHWM"))
    allowed = limits.BASE_BYTES + limits.BYTES_PER_PIXEL * 10**6
    assert 1024 * peak < allowed + limits.BYTES_PER_BYTE * len(data)
    assert decode(decoder, GOOD["colour.png"]).original.width == corpus.WIDTH


@pytest.mark.parametrize("bomb", [corpus.scans_bomb, corpus.strips_bomb])
def test_a_decoding_without_end_is_ended_inside_the_library(
    bomb: Callable[[], bytes], decoder: Decoder
) -> None:
    with pytest.raises(InputTooLarge, match=r"^x takes more than 0\.5 s .* raise decode_seconds"):
        decoder.decode(bomb(), name="x", max_pixels=10**7, max_bytes=10**8, seconds=0.5)
    assert decode(decoder, GOOD["colour.png"]).original.width == corpus.WIDTH


def test_the_largest_picture_allowed_has_the_memory_that_it_takes(decoder: Decoder) -> None:
    side = 2000
    alpha = np.dstack([corpus.texture(100, 100), np.full((100, 100), 99, np.uint8)])
    alpha = np.tile(alpha, (side // 100, side // 100, 1))
    data = corpus.file_of(
        alpha, "TIFF", exif=corpus.exif_of(6), icc_profile=encoding.srgb_profile()
    )
    limits = {"max_pixels": side * side, "max_bytes": len(data), "seconds": 600.0}
    picture = decoder.decode(data, name="x", **limits)
    assert picture.alpha is not None
    alone = images.decode(data, name="x", max_pixels=side * side, max_bytes=len(data))
    np.testing.assert_array_equal(picture.rgb, alone.rgb)
