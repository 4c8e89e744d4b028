"""Input images from storage: their sizes for planning, their pixels for the work."""

from __future__ import annotations

import dataclasses

import numpy as np

from nst_core import images
from nst_core.canvas import Size
from nst_core.config import URI_SETTINGS, StyleConfig
from nst_core.errors import InputNotFound, InputTooLarge, InputUnreadable
from pipeline import storage
from pipeline.manifest import Pair

# Enough for the headers of most files; longer ones are read whole.
HEADER_BYTES = 65536
# The longest side, px, that the format can hold.
LONGEST_SIDES = {"webp": 16383, "jpeg": 65500}


@dataclasses.dataclass(frozen=True)
class Inputs:
    """What is read for one pair besides its styles; `size` is the count of bytes."""

    picture: images.Picture
    init: np.ndarray | None
    size: int


def read_inputs(pair: Pair, config: StyleConfig) -> Inputs:
    """A pair's content, and the start where that is an image.

    Raises:
        InputNotFound, InputUnreadable, InputTooLarge: with the reason.
    """
    picture, size = read_picture(pair.content, config)
    _check_output(picture, pair.content, config)
    init = None
    if config.init not in URI_SETTINGS["init"]:
        given, init_size = read_picture(config.init, config)
        init, size = given.rgb, size + init_size
    return Inputs(picture, init, size)


def _check_output(picture: images.Picture, name: str, config: StyleConfig) -> None:
    longest = LONGEST_SIDES.get(config.output_format)
    if config.output_size == "original" and longest and longest < max(picture.rgb.shape):
        raise InputTooLarge(
            f"{name} is {picture.width}x{picture.height} px, and {config.output_format} holds at "
            f"most {longest} px a side; set another output_format, or output_size to canvas."
        )


def read_size(uri: str, config: StyleConfig) -> Size:
    """Width and height of an image, upright, from its header.

    Raises:
        InputNotFound, InputUnreadable, InputTooLarge: with the reason.
    """
    head = _read(uri, config, first=HEADER_BYTES)
    complete = len(head) < HEADER_BYTES
    size = images.header_size(head, name=uri, max_pixels=config.max_pixels, complete=complete)
    if size is None:
        whole = _read(uri, config)
        size = images.header_size(whole, name=uri, max_pixels=config.max_pixels, complete=True)
    if size is None:
        raise InputUnreadable(f"{uri} has no size in its header; save it anew as PNG or JPEG.")
    return Size(*size)


def read_picture(uri: str, config: StyleConfig) -> tuple[images.Picture, int]:
    """An image's pixels, upright sRGB, and the count of bytes read.

    Raises:
        InputNotFound, InputUnreadable, InputTooLarge: with the reason.
    """
    data = _read(uri, config)
    limits = {"max_pixels": config.max_pixels, "max_bytes": config.max_bytes}
    return images.decode(data, name=uri, **limits), len(data)


def _read(uri: str, config: StyleConfig, first: int | None = None) -> bytes:
    try:
        return storage.read_bytes(uri, max_bytes=config.max_bytes, first=first)
    except storage.NotFound as error:
        raise InputNotFound(str(error)) from error
    except storage.AccessDenied as error:
        raise InputUnreadable(str(error)) from error
    except storage.TooLarge as error:
        raise InputTooLarge(str(error)) from error
