"""Pillow's own test suite: each of its files is an image or a named failure."""

from __future__ import annotations

import io
import os
import pathlib
import warnings

import pytest
from PIL import Image

from nst_core.config import PIXELS_CEILING
from nst_core.decoding import Decoder
from nst_core.errors import InputTooLarge, InputUnreadable
from nst_core.image_files import formats
from nst_core.imaging import images

VARIABLE = "NST_PILLOW_TESTS"
FOLDER = os.environ.get(VARIABLE)
# As a worker has it by default.
SECONDS = 60.0


@pytest.mark.timeout(1800)
@pytest.mark.skipif(
    not FOLDER,
    reason=f"{VARIABLE} names no folder, such as Tests/images of Pillow's source distribution",
)
def test_every_file_ends_as_an_image_or_a_named_failure(decoder: Decoder) -> None:
    files = [path for path in sorted(pathlib.Path(FOLDER or "").rglob("*")) if path.is_file()]
    assert files, FOLDER
    for path in files:
        data = path.read_bytes()
        picture = outcome(decoder, data)
        if isinstance(picture, str):
            assert picture.startswith("x "), path
            assert "ends the decoder" not in picture, path
            assert not opens(data), f"{path}: {picture}"
            continue
        # Planned by its header, from the first bytes or from all of them.
        found = picture.original.width, picture.original.height
        for part, complete in ((data[:65536], len(data) <= 65536), (data, True)):
            size = decoder.header_size(
                part, name="x", max_pixels=PIXELS_CEILING, complete=complete, seconds=SECONDS
            )
            assert size in (found, *([] if complete else [None])), path


def outcome(decoder: Decoder, data: bytes) -> images.Picture | str:
    """The picture, or the sentence that refuses it."""
    try:
        return decoder.decode(
            data, name="x", max_pixels=PIXELS_CEILING, max_bytes=10**9, seconds=SECONDS
        )
    except (InputTooLarge, InputUnreadable) as refusal:
        return str(refusal)


def opens(data: bytes) -> bool:
    """Whether Pillow has a still picture of these bytes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(io.BytesIO(data)) as image:
                image.load()
                return image.format not in formats.NOT_READ
        except Exception:  # Whatever is wrong with it.
            return False
