"""Input images from storage: their sizes for planning, their pixels for the work."""

from __future__ import annotations

import contextlib
import dataclasses
import functools

import numpy as np

from nst_core.canvas import Size, content_size, size_of
from nst_core.config import StyleConfig
from nst_core.errors import (
    InputNotFound,
    InputTooLarge,
    InputTooSmall,
    InputUnreadable,
    OptionsInvalid,
)
from nst_core.imaging import colors, images
from nst_core.imaging.decoding import decoder
from nst_core.imaging.transparency import onto_surroundings
from nst_core.results import Style
from nst_core.setting_text import URI_SETTINGS
from pipeline import storage
from pipeline.manifest.pairs import Pair, StyleReference

# Enough for the headers of most files; longer ones are read whole.
HEADER_BYTES = 65536
HEADERS_KEPT = 65536
# The longest side, px, that the format can hold.
LONGEST_SIDES = {"webp": 16383, "jpeg": 65500}
# A mask may be so much wider or narrower than its content.
SHAPE_TOLERANCE = 1.02
# Less of the content than this share is none of it.
LEAST_SHARE = 0.001


@dataclasses.dataclass(frozen=True)
class Inputs:
    """What is read for one pair besides its styles.

    `masks` (one for each style) and `keep`: float32 [H, W] in 0…1, of any size, or None.
    `size`: the count of bytes.
    """

    picture: images.Picture
    init: np.ndarray | None
    masks: tuple[np.ndarray | None, ...]
    keep: np.ndarray | None
    size: int

    def seen(self, config: StyleConfig) -> np.ndarray:
        """What the network sees of the picture, uint8 [H, W, 3]: its straight colours.

        Before these are resized, what hardly shows gives way to the colours around it.
        """
        picture = self.picture
        if picture.alpha is None or config.resample == "nearest":
            return picture.rgb
        with contextlib.suppress(InputTooSmall):  # The engine says so, with the picture's name.
            own = size_of(picture.rgb)
            if content_size(own, config, "") != own:
                return onto_surroundings(picture.rgb, picture.alpha)
        return picture.rgb


def read_inputs(pair: Pair, config: StyleConfig) -> Inputs:
    """A pair's content, the start where that is an image, and the masks.

    Raises:
        InputNotFound, InputUnreadable, InputTooLarge: with the reason.
        OptionsInvalid: a mask has another shape than the content, or leaves nothing to do.
    """
    picture, size = read_picture(pair.content, config)
    _check_output(picture, pair.content, config)
    init = None
    if config.init not in URI_SETTINGS["init"]:
        given, init_size = read_picture(config.init, config)
        init, size = given.rgb, size + init_size
    masks: dict[str, np.ndarray] = {}
    wanted = [style.mask or "" for style in pair.styles]
    kept = "" if config.keep in URI_SETTINGS["keep"] else config.keep
    for uri in {*wanted, kept} - {""}:
        masks[uri], mask_size = _read_mask(uri, picture, pair.content, config)
        size += mask_size
    for uri in wanted:
        if uri and masks[uri].mean() < LEAST_SHARE:
            raise OptionsInvalid(
                f"The mask {uri} is black everywhere, so its style would be nowhere; "
                "draw white where it applies, or leave the style out."
            )
    keep = masks.get(kept)
    if keep is not None and keep.mean() > 1 - LEAST_SHARE:
        raise OptionsInvalid(
            f"keep is {config.keep}, which is white everywhere, so the whole content would stay; "
            "draw black where it is to be stylized."
        )
    return Inputs(picture, init, tuple(map(masks.get, wanted)), keep, size)


def _read_mask(
    uri: str, picture: images.Picture, content: str, config: StyleConfig
) -> tuple[np.ndarray, int]:
    """A mask's luminance, 0…1, and the count of bytes; what is transparent counts as black."""
    mask, size = read_picture(uri, config)
    shapes = mask.width * picture.height, mask.height * picture.width
    if max(shapes) > SHAPE_TOLERANCE * min(shapes):
        raise OptionsInvalid(
            f"The mask {uri} is {mask.width}x{mask.height} px, and its content {content} "
            f"{picture.width}x{picture.height} px, which is another shape; "
            "draw the mask on the content."
        )
    values = colors.luminance_of(mask.rgb)
    if mask.alpha is not None:
        values = values * (mask.alpha.astype(np.float32) / 255)
    return np.clip(values / 255, 0, 1).astype(np.float32), size


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
    header_size = functools.partial(
        decoder().header_size,
        name=uri,
        max_pixels=config.max_pixels,
        seconds=config.decode_seconds,
    )
    head = _read(uri, config, first=HEADER_BYTES)
    complete = len(head) < HEADER_BYTES
    size = None
    # A part of a file is not verified: before it fails its pair, the whole is looked at.
    with contextlib.nullcontext() if complete else contextlib.suppress(InputTooLarge):
        size = header_size(head, complete=complete)
    if size is None:
        size = header_size(_read(uri, config), complete=True)
    if size is None:
        raise InputUnreadable(f"{uri} has no size in its header; save it anew as PNG or JPEG.")
    return Size(*size)


class Headers:
    """Sizes from headers, each read once: a catalog has its contents with many styles."""

    def __init__(self) -> None:
        self._sizes: dict[tuple[str, int, int], Size] = {}

    def read_size(self, uri: str, config: StyleConfig) -> Size:
        """See the function of this name."""
        key = (uri, config.max_pixels, config.max_bytes)
        size = self._sizes.get(key)
        if size is None:
            if len(self._sizes) >= HEADERS_KEPT:
                self._sizes.clear()
            size = self._sizes[key] = read_size(uri, config)
        return size


def read_picture(uri: str, config: StyleConfig) -> tuple[images.Picture, int]:
    """An image's pixels, upright sRGB, and the count of bytes read.

    Raises:
        InputNotFound, InputUnreadable, InputTooLarge: with the reason.
    """
    data = _read(uri, config)
    picture = decoder().decode(
        data,
        name=uri,
        max_pixels=config.max_pixels,
        max_bytes=config.max_bytes,
        seconds=config.decode_seconds,
    )
    return picture, len(data)


def style_of(reference: StyleReference, picture: images.Picture) -> Style:
    """A pair's style as the engine takes it, from its picture."""
    return Style(picture.rgb, reference.weight, reference.uri, picture.alpha)


def _read(uri: str, config: StyleConfig, first: int | None = None) -> bytes:
    try:
        return storage.read_bytes(uri, max_bytes=config.max_bytes, first=first)
    except storage.NotFound as error:
        raise InputNotFound(str(error)) from error
    except storage.ABOUT_ONE_FILE as error:
        raise InputUnreadable(str(error)) from error
    except storage.TooLarge as error:
        raise InputTooLarge(str(error)) from error
