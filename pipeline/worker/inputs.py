"""Input images from storage: their sizes for planning, their pixels for the work."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator

import numpy as np

from nst_core.canvas import Fit, Size, content_size, size_of
from nst_core.config import StyleConfig
from nst_core.decoding import decoder
from nst_core.errors import (
    InputNotFound,
    InputTooLarge,
    InputUnreadable,
    OptionsInvalid,
)
from nst_core.imaging import colors, images
from nst_core.imaging.fitting import Wanted
from nst_core.imaging.transparency import onto_surroundings
from nst_core.results import Style
from nst_core.setting_text import URI_SETTINGS
from pipeline import storage
from pipeline.pairs.parsing import Pair
from pipeline.records.identities import Identity, identity_of

# Enough for the headers of most files; longer ones are read whole.
HEADER_BYTES = 65536
HEADERS_KEPT = 65536
# The longest side, px, that the format can hold.
LONGEST_SIDES = {"webp": 16383, "jpeg": 65500, "avif": 32768}
# A mask may be so much wider or narrower than its content.
SHAPE_TOLERANCE = 1.02
# Less of the content than this share is none of it.
LEAST_SHARE = 0.001


@dataclasses.dataclass(frozen=True)
class ReadImage:
    """An image that was read, upright sRGB, and what identifies its file."""

    picture: images.Picture
    identity: Identity


# A picture from a URI, within the limits of a configuration, no larger than it is wanted.
Read = Callable[[str, StyleConfig, Wanted | None], images.Picture]


@dataclasses.dataclass(frozen=True)
class Inputs:
    """What is read for one pair besides its styles.

    `picture`: the content; no larger than it is stylized, but where its own pixels are in the
    result. `seen`: what the network sees of it, uint8 [H, W, 3]: its straight colours, where these
    will be resized without what hardly shows. `masks` (one for each style) and `keep`: float32
    [H, W] in 0…1, of any size, or None.
    """

    picture: images.Picture
    seen: np.ndarray
    init: np.ndarray | None
    masks: tuple[np.ndarray | None, ...]
    keep: np.ndarray | None

    @property
    def nbytes(self) -> int:
        """Bytes of all pixels."""
        arrays = {
            id(array): array.nbytes
            for array in (
                *(self.picture.rgb, self.picture.alpha, self.seen),
                *(self.init, self.keep, *self.masks),
            )
            if array is not None
        }
        return sum(arrays.values())


def read_picture(uri: str, config: StyleConfig, wanted: Wanted | None = None) -> ReadImage:
    """An image's pixels, and what identifies its file.

    Raises:
        InputNotFound, InputUnreadable, InputTooLarge: with the reason.
    """
    with _of_this_pair():
        data, version = storage.read_version(uri, max_bytes=config.max_bytes)
    picture = decoder().decode(
        data,
        name=uri,
        max_pixels=config.max_pixels,
        max_bytes=config.max_bytes,
        seconds=config.decode_seconds,
        wanted=wanted,
    )
    return ReadImage(picture, identity_of(uri, data, version))


def _just_read(uri: str, config: StyleConfig, wanted: Wanted | None) -> images.Picture:
    return read_picture(uri, config, wanted).picture


def read_styles(pair: Pair, config: StyleConfig, read: Read = _just_read) -> list[Style]:
    """A pair's styles, no larger than the network sees them.

    Raises:
        InputNotFound, InputUnreadable, InputTooLarge: with the reason.
    """
    wanted = None
    if config.style_fit == "keep":
        wanted = Wanted(Fit.of(config, config.style_scale), config.resample)
    found = []
    for style in pair.styles:
        picture = read(style.uri, config, wanted)
        found.append(Style(picture.rgb, style.weight, style.uri, picture.alpha, picture.original))
    return found


def read_inputs(pair: Pair, config: StyleConfig, read: Read = _just_read) -> Inputs:
    """A pair's content, the start where that is an image, and the masks.

    Raises:
        InputNotFound, InputUnreadable, InputTooLarge: with the reason.
        InputTooSmall: the content is too small, or of too extreme a shape.
        OptionsInvalid: a mask has another shape than the content, or leaves nothing to do.
    """
    is_original = config.output_size == "original"
    wanted = Wanted(
        Fit.of(config), config.resample, whole_alpha=is_original, over_surroundings=True
    )
    picture = read(pair.content, config, None if _is_whole(config) else wanted)
    _check_output(picture, pair.content, config)
    size = content_size(picture.original, config, pair.content)
    beside = Wanted(Fit(size=size), config.resample)
    init = None
    if config.init not in URI_SETTINGS["init"]:
        init = read(config.init, config, beside).rgb
    masks: dict[str, np.ndarray] = {}
    wanted_masks = [style.mask or "" for style in pair.styles]
    kept = "" if config.keep in URI_SETTINGS["keep"] else config.keep
    for uri in {*wanted_masks, kept} - {""}:
        mask = read(uri, config, None if is_original else beside)
        masks[uri] = _mask_of(mask, uri, picture, pair.content)
    for uri in wanted_masks:
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
    seen = _seen(picture, size, config)
    return Inputs(picture, seen, init, tuple(map(masks.get, wanted_masks)), keep)


def _seen(picture: images.Picture, size: Size, config: StyleConfig) -> np.ndarray:
    """The picture's colours, ready to be resized: what hardly shows gives way to those around."""
    if picture.alpha is None or config.resample == "nearest" or not _is_whole(config):
        return picture.rgb
    if size == size_of(picture.rgb):
        return picture.rgb
    return onto_surroundings(picture.rgb, picture.alpha)


def _is_whole(config: StyleConfig) -> bool:
    """Whether the content's own pixels are in the result."""
    return config.output_size == "original" and (
        config.preserve_colors == "luminance" or config.keep not in URI_SETTINGS["keep"]
    )


def _mask_of(mask: images.Picture, uri: str, picture: images.Picture, content: str) -> np.ndarray:
    """A mask's luminance, 0…1; what is transparent counts as black."""
    own, whole = mask.original, picture.original
    shapes = own.width * whole.height, own.height * whole.width
    if max(shapes) > SHAPE_TOLERANCE * min(shapes):
        raise OptionsInvalid(
            f"The mask {uri} is {own} px, and its content {content} {whole} px, "
            "which is another shape; draw the mask on the content."
        )
    values = colors.luminance_of(mask.rgb)
    if mask.alpha is not None:
        values = values * (mask.alpha.astype(np.float32) / 255)
    return np.clip(values / 255, 0, 1).astype(np.float32)


def _check_output(picture: images.Picture, name: str, config: StyleConfig) -> None:
    size = picture.original
    longest = LONGEST_SIDES.get(config.output_format)
    if config.output_size == "original" and longest and longest < max(size.width, size.height):
        raise InputTooLarge(
            f"{name} is {size} px, and {config.output_format} holds at "
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


def _read(uri: str, config: StyleConfig, first: int | None = None) -> bytes:
    with _of_this_pair():
        return storage.read_bytes(uri, max_bytes=config.max_bytes, first=first)


@contextlib.contextmanager
def _of_this_pair() -> Iterator[None]:
    """Trouble with a file that a pair reads is that pair's."""
    try:
        yield
    except storage.NotFound as error:
        raise InputNotFound(str(error)) from error
    except storage.ABOUT_ONE_FILE as error:
        raise InputUnreadable(str(error)) from error
    except storage.TooLarge as error:
        raise InputTooLarge(str(error)) from error
