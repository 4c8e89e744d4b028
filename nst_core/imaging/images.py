"""Images: bytes to upright sRGB arrays, safely; arrays to other sizes."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image, ImageCms
from PIL.ImageFile import ImageFile

from nst_core.canvas import Size
from nst_core.errors import InputTooLarge, InputUnreadable
from nst_core.image_files import boxes, coded_colors, deep_heif, depths, headers, opening, png_gamma
from nst_core.image_files.float_tiff import FloatTiff, float_tiff
from nst_core.imaging.credits import Credits, credits_of
from nst_core.imaging.fitting import RESAMPLE, Shrinking, Wanted
from nst_core.imaging.transparency import filled, onto_surroundings

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_PLAIN_MODES = {"1": "L", "P": "RGBA", "PA": "RGBA", "La": "LA", "RGBa": "RGBA"}
_PROFILE_SPACES = {"L": "GRAY", "RGB": "RGB", "CMYK": "CMYK", "LAB": "Lab"}
# Pillow widens the grey values of these PNG files to 8 bits, or narrows the colours to 8, but
# leaves the transparent colour as it is in the file.
_KEY_SCALES = {"L;2": 85.0, "L;4": 17.0, "RGB;16B": 1 / 256}
_WEBP_HAS_EXIF = 0x08


@dataclass(frozen=True)
class Picture:
    """A decoded image, upright, in sRGB.

    `rgb`: uint8 [H, W, 3], straight colours (not multiplied by alpha), exactly the file's where
    anything shows and the size is the file's; where alpha is 0, the colours around (see
    `transparency.filled`).
    `alpha`: uint8 [H, W], 255 is opaque, perhaps larger than `rgb` (see `Wanted`); None where the
    whole image is opaque.
    `credits`: whose picture it is.
    `source`: its size in the file, upright; None where that is the size of `rgb`.
    """

    rgb: np.ndarray
    alpha: np.ndarray | None
    credits: Credits = field(default_factory=Credits)
    source: Size | None = None

    @property
    def original(self) -> Size:
        """Its size in the file, upright."""
        return self.source or Size(self.rgb.shape[1], self.rgb.shape[0])


def decode(
    data: bytes,
    *,
    name: str,
    max_pixels: int,
    max_bytes: int,
    wanted: Wanted | None = None,
    claim: Callable[[int], None] = lambda _: None,
) -> Picture:
    """The first frame of a file of any format in `formats.FORMATS`, whatever its mode.

    The orientation is the one in the EXIF data before the pixels, as in browsers, or an AVIF's or
    HEIC's own; an embedded profile leads to sRGB unless it is broken or of another colour space,
    and without one a PNG's gamma and primaries or an AVIF's or HEIC's code points do. To be called
    from one thread of a process at a time, since it mutes Python's warnings; `nst_core.decoding`
    is for any thread.

    Args:
        data: the file.
        name: for errors.
        max_pixels, max_bytes: limits, see below.
        wanted: how large the picture is wanted; as large as it is without.
        claim: called with the count of its pixels before they are decoded.

    Raises:
        InputTooLarge: over `max_bytes`, over `max_pixels` (checked before decoding), or more
            than the memory holds.
        InputUnreadable: anything else that is not a whole image of these formats.
    """
    if len(data) > max_bytes:
        raise InputTooLarge(
            f"{name} has {len(data)} bytes, over the limit of {max_bytes}; "
            "raise max_bytes or shrink it."
        )
    with opening.guarded(name, max_pixels, on_warning="ignore"):
        if floats := float_tiff(data):
            opening.check_pixels(floats.size, name, max_pixels)
            claim(floats.size[0] * floats.size[1])
            return _of_floats(floats, data, wanted)
        if size := opening.declared_size(data, name, max_pixels):
            # Opening a WebP file already allocates its canvas.
            claim(size[0] * size[1])
        image = opening.opened(data, name, max_pixels)
        if not size:
            claim(image.size[0] * image.size[1])
        orientation = opening.orientation(image)
        profile = image.info.get("icc_profile") or boxes.jp2_profile(data)
        still = boxes.still(data)
        unprofiled = _unprofiled(image, still)
        known = credits_of(opening.exif_of(image), opening.resolution(image))
        shrinking = _shrinking(image.size, orientation, wanted)
        if still and still.size not in (None, _upright(image.size, orientation)):
            # By which a file was planned must be what it is.
            raise ValueError("its parts name different sizes")
        if deep_heif.is_deep(image):
            color, alpha = deep_heif.read(data, None if profile else unprofiled.coded)
            unprofiled = Unprofiled()
            if color.size != image.size:
                raise ValueError("its pixels have another size than its header says")
        else:
            key = _transparent_color(image)
            color, alpha = _split_alpha(opening.loaded(image, data, shrinking.draft), key)
            if image.format == "PSD" and not headers.psd_has_transparency(data):
                alpha = None
        turn = _TURNS.get(orientation)
        rgb, alpha = _shrunk(color, alpha, shrinking, turn, profile, unprofiled)
        return Picture(rgb, alpha, known, shrinking.source)


@dataclass(frozen=True)
class Unprofiled:
    """What a file without a usable profile says of its colours: a PNG's chunks, code points."""

    chunks: Mapping[Any, Any] = field(default_factory=dict)
    coded: tuple[int, int] | None = None

    @property
    def is_plain(self) -> bool:
        """Whether means of pixels are means of sRGB's."""
        return "gamma" not in self.chunks and coded_colors.is_srgb(self.coded)

    def to_srgb(self, rgb: np.ndarray) -> np.ndarray:
        """uint8 `[H, W, 3]` in sRGB."""
        return coded_colors.to_srgb(png_gamma.to_srgb(rgb, self.chunks), self.coded)


def _unprofiled(image: ImageFile, still: boxes.Still | None) -> Unprofiled:
    if image.format == "PNG":
        return Unprofiled(dict(image.info))
    return Unprofiled(coded=still.colors if still else None)


def _shrinking(stored: tuple[int, int], orientation: int, wanted: Wanted | None) -> Shrinking:
    source = Size(*_upright(stored, orientation))
    return Shrinking(wanted, source, is_turned=orientation >= 5)


def _shrunk(
    color: Image.Image,
    alpha: np.ndarray | None,
    shrinking: Shrinking,
    turn: Image.Transpose | None,
    profile: Any,
    unprofiled: Unprofiled,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Colours in sRGB and transparency, of the size that is wanted, upright."""
    if shrinking.is_nearest and turn is not None:
        # Which of two pixels is nearest depends on the direction.
        color = color.transpose(turn)
        alpha = _turned(alpha, turn)
        turn = None
    if alpha is None or alpha.min() == 255:
        # Means of what is linear in light would be others than those of sRGB.
        reduced = shrinking.reduced(color) if unprofiled.is_plain else color
        rgb = shrinking.finished(_to_srgb(reduced, profile, unprofiled))
        return _turned(rgb, turn), None
    rgb = filled(_to_srgb(color, profile, unprofiled), alpha)
    wanted = shrinking.wanted
    if wanted.over_surroundings and shrinking.changes and not shrinking.is_nearest:
        rgb = onto_surroundings(rgb, alpha)
    if not wanted.whole_alpha:
        alpha = shrinking.finished(alpha)
    return _turned(shrinking.finished(rgb), turn), _turned(alpha, turn)


def _turned(pixels: Any, turn: Image.Transpose | None) -> Any:
    if pixels is None or turn is None:
        return pixels
    return np.asarray(Image.fromarray(pixels).transpose(turn))


def _of_floats(floats: FloatTiff, data: bytes, wanted: Wanted | None) -> Picture:
    values = floats.read(data)
    colors, alpha = values[..., :3], None
    highest = depths.white(colors)
    if floats.has_alpha:
        opacity = depths.scaled(values[..., 3], depths.white(values[..., 3]))
        alpha = to_8_bit(opacity)
        if floats.is_multiplied:
            colors = depths.straight(colors, np.clip(opacity, 0, 255))
    color = Image.fromarray(to_8_bit(depths.scaled(colors, highest)))
    exif = Image.Exif()
    with contextlib.suppress(Exception):
        # A TIFF file is made like EXIF data; whatever is wrong there spoils no pixel.
        exif.load(data)
    shrinking = _shrinking(floats.size, floats.orientation, wanted)
    turn = _TURNS.get(floats.orientation)
    rgb, alpha = _shrunk(color, alpha, shrinking, turn, floats.profile, Unprofiled())
    return Picture(rgb, alpha, credits_of(exif, None), shrinking.source)


def header_size(
    head: bytes, *, name: str, max_pixels: int, complete: bool = False
) -> tuple[int, int] | None:
    """Width and height of the upright image, px, from a file's first bytes; nothing is decoded.

    None: these bytes do not suffice; call again with all of them and `complete`.

    Raises:
        InputTooLarge: over `max_pixels`.
        InputUnreadable: the bytes are `complete`, and not the header of an image.
    """
    # A TIFF directory that is cut off is read in part, with no more than a warning.
    strict = head.startswith((b"II", b"MM")) and not complete
    try:
        with opening.guarded(name, max_pixels, on_warning="error" if strict else "ignore"):
            if floats := float_tiff(head):
                opening.check_pixels(floats.size, name, max_pixels)
                return _upright(floats.size, floats.orientation)
            if told := _told_size(head, complete=complete):
                opening.check_pixels(told, name, max_pixels)
                return told
            image = opening.opened(head, name, max_pixels)
            return _upright(image.size, opening.orientation(image))
    except InputUnreadable:
        if complete:
            raise
        return None


def _told_size(head: bytes, *, complete: bool) -> tuple[int, int] | None:
    """The upright size that Pillow need not be asked for, of files that it reads whole only."""
    webp = headers.webp_header(head)
    if webp and not webp[2] & _WEBP_HAS_EXIF:
        return webp[0], webp[1]
    if complete:
        return None
    still = boxes.still(head)
    return (still and still.size) or headers.psd_size(head)


def _upright(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    return size if orientation < 5 else (size[1], size[0])


def _transparent_color(image: ImageFile) -> np.ndarray | None:
    """The one colour that is transparent in a PNG without alpha, as Pillow shows the pixels."""
    key = image.info.get("transparency")
    if key is None or image.mode == "P" or not image.tile:
        return None
    scale = _KEY_SCALES.get(str(image.tile[0].args), 1.0)
    return (np.asarray(key) * scale).astype(np.int64)


def _split_alpha(
    image: Image.Image, key: np.ndarray | None
) -> tuple[Image.Image, np.ndarray | None]:
    """The colours, 8 bits a channel, and the alpha channel or None."""
    if image.mode in _PLAIN_MODES:
        image = image.convert(_PLAIN_MODES[image.mode])
    image.info.pop("transparency", None)
    if image.mode in ("LA", "RGBA"):
        return image.convert(image.mode[:-1]), np.asarray(image.getchannel("A"))
    alpha = None
    if key is not None:
        same = np.asarray(image) == key
        alpha = np.where(same.all(axis=-1) if same.ndim == 3 else same, 0, 255).astype(np.uint8)
    if image.mode.startswith("I") or image.mode == "F":
        image = Image.fromarray(to_8_bit(depths.grey(image)))
    return image, alpha


def _to_srgb(image: Image.Image, profile: Any, unprofiled: Unprofiled) -> np.ndarray:
    """RGB in sRGB; without a usable profile of its colour space, as Pillow converts the mode."""
    if profile:
        with contextlib.suppress(ImageCms.PyCMSError, OSError, TypeError, ValueError):
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            if source.profile.xcolor_space.strip() == _PROFILE_SPACES.get(image.mode):
                transform = ImageCms.buildTransform(
                    source,
                    ImageCms.createProfile("sRGB"),
                    image.mode,
                    "RGB",
                    ImageCms.Intent.RELATIVE_COLORIMETRIC,
                    ImageCms.Flags.BLACKPOINTCOMPENSATION,
                )
                return np.asarray(transform.apply(image))
    return unprofiled.to_srgb(np.asarray(image.convert("RGB")))


def to_8_bit(values: np.ndarray) -> np.ndarray:
    """Values rounded and clipped to 0…255, uint8."""
    rounded: np.ndarray = np.rint(np.clip(values, 0, 255)).astype(np.uint8)
    return rounded


def resize(rgb: np.ndarray, width: int, height: int, resample: str) -> np.ndarray:
    """float32 [height, width, 3] or [height, width], values in 0..255.

    rgb: uint8 or float32 [H, W, 3] or [H, W] in 0..255. `resample`: `lanczos`, or `nearest` as
    in Keras's `load_img`.
    """
    return np.asarray(resize_in_kind(rgb, width, height, resample), np.float32)


def resize_in_kind(rgb: np.ndarray, width: int, height: int, resample: str) -> np.ndarray:
    """See `resize`; uint8, rounded, where the picture is, else float32."""
    method = RESAMPLE[resample]
    if rgb.dtype == np.uint8:
        if rgb.shape[:2] == (height, width):
            return rgb
        return np.asarray(Image.fromarray(rgb).resize((width, height), method))
    if rgb.shape[:2] == (height, width):
        return np.asarray(np.clip(rgb, 0, 255), np.float32)
    channels = rgb.astype(np.float32).reshape(*rgb.shape[:2], -1)
    resized: np.ndarray = np.stack(
        [
            np.asarray(Image.fromarray(channels[..., index]).resize((width, height), method))
            for index in range(channels.shape[-1])
        ],
        axis=-1,
    )
    resized = np.clip(resized, 0, 255)
    return resized.reshape(height, width, *rgb.shape[2:])


def pad_reflect(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """[h, w, 3] padded at the bottom and the right to [height, width, 3] by reflection.

    Padding wider than the image reflects again and again; a single row or column is repeated.
    """
    below, right = height - image.shape[0], width - image.shape[1]
    if not below and not right:
        return image
    return np.pad(image, ((0, below), (0, right), (0, 0)), mode="reflect")
