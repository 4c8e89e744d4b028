"""Input images from storage: their sizes for planning, their pixels for the work."""

from __future__ import annotations

from nst_core import images
from nst_core.canvas import Size
from nst_core.config import StyleConfig
from nst_core.errors import InputNotFound, InputTooLarge, InputUnreadable
from pipeline import storage

# Enough for the headers of most files; longer ones are read whole.
HEADER_BYTES = 65536


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
